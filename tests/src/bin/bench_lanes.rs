//! Measures lanes: see [`acceptance::bench_lanes`].
//!
//! `bench_lanes [--seconds 20]`
//!
//! Ends with one line of JSON and fails when a claim does not hold.

use std::process::ExitCode;
use std::time::Duration;

use acceptance::Failure;
use acceptance::arguments::Arguments;
use acceptance::bench_lanes::run;
use acceptance::proof::{self, Findings};
use serde_json::Value;

#[tokio::main]
async fn main() -> ExitCode {
    proof::end("bench-lanes", measured().await)
}

async fn measured() -> Result<(Value, Findings), Failure> {
    let arguments = Arguments::of_process(&[], &["--seconds"])?;
    run(Duration::from_secs(arguments.value("--seconds", 20)?)).await
}
