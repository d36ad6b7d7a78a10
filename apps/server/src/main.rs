//! Tollgate: billing for AI model traffic, in the request path.

mod billing;
mod catalogue;
mod checker;
mod cli;
mod clock;
mod config;
mod delivery;
mod gate;
mod http;
mod ids;
mod jobs;
mod lapses;
mod metrics;
mod moving;
mod node;
mod orders;
mod price_list;
mod quote;
mod recall;
mod secrets;
mod statements;
mod tier_windows;
mod wiring;

use std::process::ExitCode;

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
