//! Restarts three nodes behind a balancer, one after the other, under load.
//!
//! `rolling [--short] [--times N] [--seed N]`: behind nginx as `docs/how-to/scale-out.md` has it,
//! and behind a balancer that asks for `/readyz`, every node three times (short: once, behind the
//! latter). See [`acceptance::rolling`] for what must hold. Ends with one line of JSON and says by
//! its exit code whether it did.

use std::process::ExitCode;

use acceptance::Failure;
use acceptance::arguments::Arguments;
use acceptance::proof::{self, Findings, say};
use acceptance::rolling::{Before, restart_in_turn};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> ExitCode {
    proof::end("rolling", rolling().await)
}

async fn rolling() -> Result<(Value, Findings), Failure> {
    let arguments = Arguments::of_process(&["--short"], &["--times", "--seed"])?;
    let short = arguments.has("--short");
    let times = arguments.value("--times", if short { 1 } else { 3 })?;
    let seed = arguments.value("--seed", 1)?;
    say(&format!(
        "rolling: 3 nodes, each {times} times, seed {seed}"
    ));
    let balancers = [Before::Readyz, Before::Nginx];
    let mut findings = Findings::default();
    let mut runs = Vec::new();
    for before in balancers.into_iter().take(if short { 1 } else { 2 }) {
        let line = restart_in_turn(before, times, seed, &mut findings).await?;
        say(&format!("rolling: {line}"));
        runs.push(line);
    }
    let line = json!({ "proof": "rolling", "seed": seed, "runs": runs });
    Ok((line, findings))
}
