//! Memory: of a process that nobody calls, and of streams that are open and silent.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use super::round::{self, Case, Kind, Target};
use crate::Failure;
use crate::proof::say;

/// It says one word and then nothing for ten minutes.
const SILENT_MODEL: &str = "sim/slow?first_ms=0&chunk_ms=600000&tokens=3";
/// How long memory may take to come back.
const RETURN: Duration = Duration::from_secs(20);

/// What was seen.
#[derive(Debug)]
pub(super) struct Idle {
    /// Resident memory before the first call.
    pub(super) before_kb: u64,
    /// And some seconds after the last stream was closed.
    pub(super) after_kb: u64,
    /// How many streams were open.
    pub(super) streams: u64,
    /// What each of them took, in tenths of a kilobyte.
    pub(super) stream_tenths_kb: u64,
}

/// Opens streams, as many as the limit on open files allows, and looks at the memory.
pub(super) async fn measure(target: &Target, streams: usize) -> Result<Idle, Failure> {
    let before_kb = target.memory_kb();
    say(&format!("bench: idle memory {} MB", before_kb / 1024));
    // What the first calls set up once is not a stream's.
    round::run(target, Case::closed(Kind::Paced, 16), 1)?;
    let before = target.memory_kb();
    let wanted = streams.min(places_for_streams());
    let mut command = round::generator(&target.stream, SILENT_MODEL, &target.key)?;
    let mut child = command
        .args(["--hold", &wanted.to_string(), "--max-tokens", "3"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut line)?;
    }
    let held: Value = serde_json::from_str(&line)?;
    let open = held["open"].as_u64().unwrap_or(0);
    sleep(Duration::from_secs(3)).await;
    let with = target.memory_kb();
    // The end of its input is what the generator waits for.
    drop(child.stdin.take());
    child.wait()?;
    let after_kb = lowest(target, before_kb).await;
    let stream_tenths_kb = with.saturating_sub(before) * 10 / open.max(1);
    say(&format!(
        "bench: {open} silent streams ({}) take {} MB; afterwards {} MB",
        held["first_error"],
        with.saturating_sub(before) / 1024,
        after_kb / 1024
    ));
    Ok(Idle {
        before_kb,
        after_kb,
        streams: open,
        stream_tenths_kb,
    })
}

/// The least memory until it is back where it was, or the time is over.
async fn lowest(target: &Target, enough: u64) -> u64 {
    let deadline = Instant::now() + RETURN;
    let mut least = target.memory_kb();
    while least > enough && Instant::now() < deadline {
        sleep(Duration::from_millis(500)).await;
        least = least.min(target.memory_kb());
    }
    least
}

/// Each stream takes two sockets of the gateway; some files are open besides.
fn places_for_streams() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)?.parse::<usize>().ok());
    soft.unwrap_or(1024).saturating_sub(200) / 2
}
