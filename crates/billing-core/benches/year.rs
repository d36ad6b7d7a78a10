//! The year at length: `./just year [--accounts N] [--seeds M] [--seed S]`.
//!
//! Runs year after year, says how far it is, and ends with one line of JSON. A promise that is broken
//! ends it with the seed that breaks it; `--seed` runs that one again.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a proof may fall over"
)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what it found is what a proof is for"
)]

#[path = "../tests/year/world.rs"]
mod world;

use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let [mut accounts, mut seeds, mut first] = [2_000_u64, 3, 1];
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(arg) = args.next() {
        let place = match arg.as_str() {
            "--accounts" => &mut accounts,
            "--seeds" => &mut seeds,
            "--seed" => {
                seeds = 1;
                &mut first
            }
            _ => return usage(),
        };
        match args.next().and_then(|number| number.parse().ok()) {
            Some(number) => *place = number,
            None => return usage(),
        }
    }
    let started = Instant::now();
    let mut last = String::new();
    for seed in first..first + seeds {
        let (_, figures) = world::year(seed, accounts);
        eprintln!("{figures}");
        last = figures;
    }
    let seconds = started.elapsed().as_secs_f32();
    println!(
        "{{\"years\":{seeds},\"accounts\":{accounts},\"seconds\":{seconds:.1},\"last\":{last},\"pass\":true}}"
    );
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: year [--accounts N] [--seeds M] [--seed S]");
    ExitCode::from(2)
}
