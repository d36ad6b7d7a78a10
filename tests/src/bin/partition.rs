//! Cuts links between callers, nodes and their database under load, heals them, and compares the
//! books with what clients hold.
//!
//! `scripts/namespace.sh partition [--short] [--rounds N] [--nodes N] [--seed N]`: three nodes and
//! one PostgreSQL, each in a network namespace of its own, 50 rounds (short: 4), and one in which
//! the database's machine is lost and its synchronous standby takes over its address. See
//! [`acceptance::rounds`] for what must hold. Ends with one line of JSON and says by its exit code
//! whether it did.

use std::process::ExitCode;
use std::time::Instant;

use acceptance::Failure;
use acceptance::arguments::Arguments;
use acceptance::partition::Partition;
use acceptance::proof::{self, Findings, say};
use serde_json::Value;

#[tokio::main]
async fn main() -> ExitCode {
    proof::end("partition", partition().await)
}

async fn partition() -> Result<(Value, Findings), Failure> {
    let arguments = Arguments::of_process(&["--short"], &["--rounds", "--nodes", "--seed"])?;
    let rounds = arguments.value("--rounds", if arguments.has("--short") { 4 } else { 50 })?;
    let nodes = arguments.value("--nodes", 3)?;
    let seed = arguments.value("--seed", 1)?;
    say(&format!(
        "partition: {nodes} nodes, {rounds} rounds, seed {seed}"
    ));
    let start = Instant::now();
    let mut partition = Partition::start(nodes, seed).await?;
    let mut findings = Findings::default();
    for _ in 0..rounds {
        partition.round(&mut findings).await?;
    }
    partition.lose_database(&mut findings).await?;
    let mut line = partition.line();
    line["proof"] = "partition".into();
    line["seed"] = seed.into();
    line["nodes"] = nodes.into();
    line["seconds"] = start.elapsed().as_secs().into();
    Ok((line, findings))
}
