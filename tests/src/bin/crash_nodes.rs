//! Kills nodes and their database under load, brings them back, and compares the books with what
//! clients hold.
//!
//! `crash_nodes [--short] [--rounds N] [--promotions N] [--nodes N] [--seed N]`: three nodes on one
//! PostgreSQL, 100 rounds; then, on a PostgreSQL with a synchronous standby, 10 rounds in which the
//! standby takes the place of the primary that was killed. Short: 4 rounds and 1. See
//! [`acceptance::crash_nodes`] for what must hold. Ends with one line of JSON and says by its exit
//! code whether it did.

use std::process::ExitCode;
use std::time::Instant;

use acceptance::Failure;
use acceptance::arguments::Arguments;
use acceptance::crash_nodes::CrashNodes;
use acceptance::proof::{self, Findings, say};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> ExitCode {
    proof::end("crash-nodes", crash().await)
}

async fn crash() -> Result<(Value, Findings), Failure> {
    let values = ["--rounds", "--promotions", "--nodes", "--seed"];
    let arguments = Arguments::of_process(&["--short"], &values)?;
    let short = arguments.has("--short");
    let rounds = arguments.value("--rounds", if short { 4 } else { 100 })?;
    let promotions = arguments.value("--promotions", if short { 1 } else { 10 })?;
    let nodes = arguments.value("--nodes", 3)?;
    let seed = arguments.value("--seed", 1)?;
    let mut findings = Findings::default();
    let mut runs = Vec::new();
    for (standby, rounds) in [(false, rounds), (true, promotions)] {
        if rounds == 0 {
            continue;
        }
        say(&format!(
            "crash-nodes: {nodes} nodes, standby {standby}, {rounds} rounds, seed {seed}"
        ));
        let start = Instant::now();
        let mut crash = CrashNodes::start(nodes, standby, seed).await?;
        for _ in 0..rounds {
            crash.round(standby, &mut findings).await?;
        }
        let mut line = crash.line();
        line["standby"] = standby.into();
        line["seconds"] = start.elapsed().as_secs().into();
        runs.push(line);
    }
    let sum = |field: &str| {
        let figures = runs.iter().filter_map(|run| run[field].as_u64());
        figures.sum::<u64>()
    };
    let line = json!({
        "proof": "crash-nodes",
        "seed": seed,
        "nodes": nodes,
        "rounds": sum("rounds"),
        "completed": sum("completed"),
        "lost": sum("lost"),
        "double": sum("double"),
        "runs": runs,
    });
    Ok((line, findings))
}
