//! Kills the server during a burst of calls, starts it again, and compares its books with what its
//! clients hold.
//!
//! `crash [--short] [--rounds N] [--database sqlite|postgres|both] [--seed N]`: 20 rounds on both
//! databases; short: 3 rounds on SQLite. Of the `completed` answers some went to accounts `on_plan`,
//! and of their calls its quotas paid `by_quota`, whole or a part. Ends with one line of JSON and says by its exit code
//! whether everything held.

use std::process::ExitCode;
use std::time::Instant;

use acceptance::Failure;
use acceptance::crash::{Crash, Tally};
use acceptance::postgres::Postgres;
use acceptance::proof::{self, Findings, say};
use serde_json::{Value, json};

struct Plan {
    rounds: u64,
    databases: Vec<&'static str>,
    seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    proof::end("crash", crash().await)
}

async fn crash() -> Result<(Value, Findings), Failure> {
    let plan = Plan::from_arguments(std::env::args().skip(1))?;
    let server = plan
        .databases
        .contains(&"postgres")
        .then(Postgres::find_or_start)
        .transpose()?;
    let mut findings = Findings::default();
    let mut runs = Vec::new();
    for name in &plan.databases {
        let database = match &server {
            Some(server) if *name == "postgres" => Some(server.database()?),
            _ => None,
        };
        let start = Instant::now();
        let mut crash = Crash::start(database, plan.seed).await?;
        let mut tally = Tally::default();
        for round in 1..=plan.rounds {
            crash.round(&mut tally, &mut findings).await?;
            say(&format!("crash: {name}, round {round}: {tally:?}"));
        }
        runs.push(line(name, &tally, start.elapsed().as_secs()));
    }
    let sum = |field: &str| {
        runs.iter()
            .filter_map(|run| run[field].as_u64())
            .sum::<u64>()
    };
    let line = json!({
        "proof": "crash",
        "seed": plan.seed,
        "rounds": sum("rounds"),
        "completed": sum("completed"),
        "lost": sum("lost"),
        "double": sum("double"),
        "on_plan": sum("on_plan"),
        "by_quota": sum("by_quota"),
        "runs": runs,
    });
    Ok((line, findings))
}

fn line(db: &str, tally: &Tally, seconds: u64) -> Value {
    let mut calls = tally.calls;
    calls.add(tally.on_plan);
    json!({
        "db": db,
        "rounds": tally.rounds,
        "completed": calls.completed,
        "lost": calls.lost,
        "double": calls.double,
        "interrupted": calls.interrupted,
        "interrupted_charged": calls.interrupted_charged,
        "on_plan": tally.on_plan.completed,
        "by_quota": tally.by_quota,
        "top_ups": tally.top_ups,
        "seconds": seconds,
    })
}

impl Plan {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut plan = Self {
            rounds: 20,
            databases: vec!["sqlite", "postgres"],
            seed: 1,
        };
        while let Some(argument) = arguments.next() {
            if argument == "--short" {
                (plan.rounds, plan.databases) = (3, vec!["sqlite"]);
                continue;
            }
            let value = arguments
                .next()
                .ok_or_else(|| format!("{argument} needs a value"))?;
            match (argument.as_str(), value.as_str()) {
                ("--rounds", rounds) => plan.rounds = rounds.parse()?,
                ("--seed", seed) => plan.seed = seed.parse()?,
                ("--database", "sqlite") => plan.databases = vec!["sqlite"],
                ("--database", "postgres") => plan.databases = vec!["postgres"],
                ("--database", "both") => plan.databases = vec!["sqlite", "postgres"],
                _ => return Err(format!("unknown argument {argument} {value}").into()),
            }
        }
        Ok(plan)
    }
}
