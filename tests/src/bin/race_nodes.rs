//! Races calls through several nodes against purses that cannot pay for all of them.
//!
//! `race_nodes [--short] [--seed N] [--nodes N]`: three nodes on one PostgreSQL; against a wallet
//! of $1 and against a key's limit of $1, streaming and not, 3,000 concurrent calls (short: 900,
//! not streamed against the wallet and streamed against the limit); and as many against a plan's
//! quota of 100 calls and 10,000 tokens, with an empty wallet and with one that pays the rest at the
//! price of a tier. See [`acceptance::race_nodes`] and [`acceptance::race::OnPlan`] for what must
//! hold. Ends with one line of JSON and says by its exit code whether it did.

use std::process::ExitCode;

use acceptance::Failure;
use acceptance::arguments::Arguments;
use acceptance::proof::{self, Findings, say};
use acceptance::race::{OnPlan, PURSES, Plan, Purse};
use acceptance::race_nodes::RaceNodes;
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> ExitCode {
    proof::end("race-nodes", race().await)
}

async fn race() -> Result<(Value, Findings), Failure> {
    let arguments = Arguments::of_process(&["--short"], &["--seed", "--nodes"])?;
    let nodes = arguments.value("--nodes", 3)?;
    let seed = arguments.value("--seed", 1)?;
    let short = arguments.has("--short");
    let (plan, runs) = if short {
        let runs = vec![(Purse::Wallet, false), (Purse::KeyLimit, true)];
        (Plan::NODES_SHORT, runs)
    } else {
        let purses = [Purse::Wallet, Purse::KeyLimit];
        let runs = purses.into_iter().flat_map(|p| [(p, false), (p, true)]);
        (Plan::NODES, runs.collect())
    };
    let plan = Plan { seed, ..plan };
    say(&format!("race-nodes: {nodes} nodes, seed {seed}"));
    let race = RaceNodes::start(nodes).await?;
    let mut findings = Findings::default();
    let mut lines = Vec::new();
    for run in runs {
        let line = race.run(&plan, run, &mut findings).await?;
        say(&format!("race-nodes: {line}"));
        lines.push(line);
    }
    let on_plan: &[(OnPlan, bool)] = if short { &OnPlan::SHORT } else { &OnPlan::FULL };
    for run in on_plan.iter().copied() {
        let line = race.run_on_plan(plan.calls, run, &mut findings).await?;
        say(&format!("race-nodes: {line}"));
        lines.push(line);
    }
    race.end(&mut findings).await?;
    let line = json!({
        "proof": "race-nodes",
        "seed": seed,
        "nodes": nodes,
        "funds": plan.funds_text(),
        "purses": PURSES,
        "runs": lines,
    });
    Ok((line, findings))
}
