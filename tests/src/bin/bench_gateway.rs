//! Times Tollgate beside nginx on one simulated upstream: see [`acceptance::bench_gateway`].
//!
//! `bench_gateway [--rounds 3] [--seconds 3] [--connections 1,64,256] [--idle 10000]`
//!
//! Ends with one line of JSON and fails when a bound does not hold.

use std::process::ExitCode;

use acceptance::Failure;
use acceptance::bench_gateway::{Settings, run};
use acceptance::proof::{self, Findings};
use serde_json::Value;

#[tokio::main]
async fn main() -> ExitCode {
    proof::end("bench-gateway", measured().await)
}

async fn measured() -> Result<(Value, Findings), Failure> {
    run(&Settings::of_process()?).await
}
