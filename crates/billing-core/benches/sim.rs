//! The simulation at length: `./just sim [--seeds N] [--steps M] [--threads T] [--seed S]`.
//!
//! Runs seed after seed on all cores, says how far it is, and ends with one line of JSON. With
//! `--seed` it runs that one alone and writes down its last events; with `--flaws` it runs versions
//! that are broken on purpose, and says how many seeds it took to find each. The exit code is not zero when
//! a promise was broken.
#![expect(clippy::unwrap_used, reason = "a proof may fall over")]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what it found is what a proof is for"
)]

#[path = "../tests/simulation/world.rs"]
mod world;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use world::flaw::Flaw;
use world::run;
use world::tally::Tally;

/// What is asked for on the command line.
struct Wish {
    seeds: u64,
    steps: u64,
    threads: usize,
    seed: Option<u64>,
    flaws: bool,
}

fn main() -> ExitCode {
    let wish = match Wish::of_args(std::env::args().skip(1)) {
        Ok(wish) => wish,
        Err(what) => {
            eprintln!("sim: {what}");
            eprintln!("usage: sim [--seeds N] [--steps M] [--threads T] [--seed S] [--flaws]");
            return ExitCode::from(2);
        }
    };
    match wish.seed {
        _ if wish.flaws => find_flaws(wish.steps),
        Some(seed) => replay(seed, wish.steps),
        None => run_all(&wish),
    }
}

impl Wish {
    fn of_args(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let cores = std::thread::available_parallelism();
        let mut wish = Self {
            seeds: 10_000,
            steps: 2_000,
            threads: cores.map_or(1, std::num::NonZero::get),
            seed: None,
            flaws: false,
        };
        while let Some(arg) = args.next() {
            if arg == "--bench" {
                continue;
            }
            if arg == "--flaws" {
                wish.flaws = true;
                continue;
            }
            let value = args.next().ok_or_else(|| format!("{arg} lacks a value"))?;
            let number: u64 = value
                .parse()
                .map_err(|_| format!("{arg} wants a number, not {value}"))?;
            match arg.as_str() {
                "--seeds" => wish.seeds = number,
                "--steps" => wish.steps = number,
                "--threads" => wish.threads = usize::try_from(number).unwrap_or(1).max(1),
                "--seed" => wish.seed = Some(number),
                _ => return Err(format!("{arg} is not known")),
            }
        }
        Ok(wish)
    }
}

/// Runs one seed and writes down its last events.
fn replay(seed: u64, steps: u64) -> ExitCode {
    let outcome = run(seed, steps, Flaw::None, true);
    for line in &outcome.lines {
        println!("{line}");
    }
    let verdict = if outcome.wrong.is_some() {
        "fail"
    } else {
        "pass"
    };
    if let Some(wrong) = &outcome.wrong {
        println!("broken: {wrong}");
    }
    println!(
        r#"{{"proof":"sim","seed":{seed},"trace":"{:016x}",{},"verdict":"{verdict}"}}"#,
        outcome.hash,
        outcome.tally.members()
    );
    if outcome.wrong.is_some() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Runs each version that is broken on purpose until it is found to be, for a minute at most.
fn find_flaws(steps: u64) -> ExitCode {
    let (mut figures, mut missed) = (Vec::new(), 0_u32);
    for flaw in Flaw::ALL {
        let start = Instant::now();
        let found = (0..)
            .take_while(|_| start.elapsed() < Duration::from_mins(1))
            .find_map(|seed| {
                run(seed, steps, *flaw, false)
                    .wrong
                    .map(|wrong| (seed, wrong))
            });
        let (took, name) = (start.elapsed().as_millis(), format!("{flaw:?}"));
        if let Some((seed, wrong)) = found {
            let first = wrong.lines().next().unwrap_or_default();
            eprintln!("sim: {name}: {} seeds, {took} ms: {first}", seed + 1);
            figures.push(format!(r#""{name}":{}"#, seed + 1));
        } else {
            eprintln!("sim: {name}: not found in {took} ms");
            figures.push(format!(r#""{name}":null"#));
            missed += 1;
        }
    }
    let verdict = if missed == 0 { "pass" } else { "fail" };
    println!(
        r#"{{"proof":"sim_flaws","seeds_to_find":{{{}}},"missed":{missed},"verdict":"{verdict}"}}"#,
        figures.join(",")
    );
    if missed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run_all(wish: &Wish) -> ExitCode {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let total = Mutex::new((Tally::default(), 0_u64));
    let broken: Mutex<Option<(u64, String)>> = Mutex::new(None);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..wish.threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= wish.seeds {
                        break;
                    }
                    let outcome = run(seed, wish.steps, Flaw::None, false);
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    total.0.include(&outcome.tally);
                    total.1 = total.1.wrapping_add(outcome.hash);
                    drop(total);
                    if let Some(wrong) = outcome.wrong {
                        stop.store(true, Ordering::Relaxed);
                        let mut broken = broken.lock().unwrap_or_else(PoisonError::into_inner);
                        broken.get_or_insert((seed, wrong));
                    }
                }
            });
        }
        let mut said = Instant::now();
        while next.load(Ordering::Relaxed) < wish.seeds && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
            if said.elapsed() >= Duration::from_secs(5) {
                said = Instant::now();
                let seeds = next.load(Ordering::Relaxed).min(wish.seeds);
                eprintln!(
                    "sim: {seeds} of {} seeds, {} s",
                    wish.seeds,
                    start.elapsed().as_secs()
                );
            }
        }
    });
    let (tally, hash) = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    let broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some((seed, _)) = &broken {
        replay(*seed, wish.steps);
    }
    let seeds = next.into_inner().min(wish.seeds);
    let (took, verdict) = (
        start.elapsed().as_millis(),
        if broken.is_some() { "fail" } else { "pass" },
    );
    let failed = broken
        .as_ref()
        .map_or("null".to_owned(), |(seed, _)| seed.to_string());
    println!(
        r#"{{"proof":"sim","seeds":{seeds},"steps_per_seed":{},"threads":{},"took_ms":{took},{},"trace":"{hash:016x}","failed_seed":{failed},"verdict":"{verdict}"}}"#,
        wish.steps,
        wish.threads,
        tally.members()
    );
    if let Some((seed, wrong)) = broken {
        eprintln!("sim: seed {seed}: {wrong}");
        eprintln!(
            "sim: again with: ./just sim --seed {seed} --steps {}",
            wish.steps
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
