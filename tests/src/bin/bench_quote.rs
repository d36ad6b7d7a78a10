//! Times `tollgate quote`: see [`acceptance::bench_quote`].
//!
//! `bench_quote [--usages 1000000] [--rounds 5]`
//!
//! Ends with one line of JSON and fails when its bound does not hold.

use std::process::ExitCode;

use acceptance::Failure;
use acceptance::arguments::Arguments;
use acceptance::bench_quote::{Settings, run};
use acceptance::proof::{self, Findings};
use serde_json::Value;

fn main() -> ExitCode {
    proof::end("bench-quote", measured())
}

fn measured() -> Result<(Value, Findings), Failure> {
    let arguments = Arguments::of_process(&[], &["--usages", "--rounds"])?;
    run(&Settings {
        usages: arguments.value("--usages", 1_000_000)?,
        rounds: arguments.value("--rounds", 5)?,
    })
}
