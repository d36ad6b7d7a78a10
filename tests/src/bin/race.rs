//! Races calls against purses that cannot pay for all of them.
//!
//! `race [--short] [--seed N]`: on each database, against a wallet and against the limit of a key,
//! streaming and not, 1,000 concurrent calls (short: 200) for $1 (short: $0.20). The worst case of
//! each is much dearer than what it turns out to cost. And 1,000 (short: 200) against a plan's quota
//! of 100 calls and 10,000 tokens, with an empty wallet and with one that pays the rest at the price
//! of a tier (short: the one not streamed, the other streamed). Ends with one line of JSON and says
//! by its exit code whether everything held.

use std::process::ExitCode;

use acceptance::proof::{self, Findings, say};
use acceptance::race::{OnPlan, PURSES, Plan, Purse, Race, Run};
use acceptance::{Failure, postgres::Postgres};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> ExitCode {
    proof::end("race", race().await)
}

async fn race() -> Result<(Value, Findings), Failure> {
    let mut plan = Plan::FULL;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--short" => {
                plan = Plan {
                    seed: plan.seed,
                    ..Plan::SHORT
                }
            }
            "--seed" => plan.seed = arguments.next().ok_or("--seed needs a number")?.parse()?,
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    let on_plan: &[(OnPlan, bool)] = if plan.calls == Plan::SHORT.calls {
        &OnPlan::SHORT
    } else {
        &OnPlan::FULL
    };
    let postgres = Postgres::find_or_start()?;
    let mut findings = Findings::default();
    let mut runs = Vec::new();
    for (name, database) in [("sqlite", None), ("postgres", Some(postgres.database()?))] {
        let race = Race::start(database).await?;
        for purse in [Purse::Wallet, Purse::KeyLimit] {
            for stream in [false, true] {
                let run = race.run(&plan, (purse, stream), &mut findings).await?;
                let line = line(name, purse, stream, &run);
                say(&format!("race: {line}"));
                runs.push(line);
            }
        }
        for run in on_plan.iter().copied() {
            let mut line = race.run_on_plan(plan.calls, run, &mut findings).await?;
            line["db"] = name.into();
            say(&format!("race: {line}"));
            runs.push(line);
        }
        race.end(&mut findings).await?;
    }
    let line = json!({
        "proof": "race",
        "seed": plan.seed,
        "funds": plan.funds_text(),
        "purses": PURSES,
        "runs": runs,
    });
    Ok((line, findings))
}

fn line(db: &str, purse: Purse, stream: bool, run: &Run) -> Value {
    json!({
        "db": db,
        "budget": purse.name(),
        "stream": stream,
        "calls": run.calls,
        "served": run.served,
        "refused_402": run.refused_402,
        "refused_429": run.refused_429,
        "charged": run.charged,
        "balance": run.balance,
        "seconds": run.seconds,
    })
}
