//! One round: the generator against one target.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::Failure;

/// The size of each prompt.
pub(super) const PROMPT_BYTES: &str = "1024";
/// An answer in one piece.
const PLAIN_MODEL: &str = "sim/echo";
/// 50 events, each as soon after the one before as the upstream's timer allows: about 2.4 ms.
const PACED_MODEL: &str = "sim/slow?first_ms=0&chunk_ms=1&tokens=46";
/// What a call still does after its last byte is part of its cost.
const AFTERWARDS: Duration = Duration::from_millis(300);

/// A place that answers calls.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: &'static str,
    /// Where calls that are not streamed go.
    pub(super) plain: String,
    /// Where streams go.
    pub(super) stream: String,
    pub(super) key: String,
    pub(super) pid: u32,
}

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An answer in one piece.
    Plain,
    /// A stream whose events come one after the other.
    Paced,
}

/// What is called, and how hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) kind: Kind,
    /// Connections that call again and again.
    pub(super) connections: usize,
    /// Or calls in a second, whatever becomes of them.
    pub(super) rate: u64,
}

impl Case {
    pub(super) fn closed(kind: Kind, connections: usize) -> Self {
        Self {
            kind,
            connections,
            rate: 0,
        }
    }

    pub(super) fn paced(kind: Kind, rate: u64) -> Self {
        Self {
            kind,
            connections: 0,
            rate,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.name();
        if self.rate > 0 {
            write!(f, "{kind} at {}/s", self.rate)
        } else {
            write!(f, "{kind} on {} connections", self.connections)
        }
    }
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "whole",
            Self::Paced => "paced stream",
        }
    }
}

/// What one round of one target gave. Times are in microseconds.
#[derive(Debug, Clone)]
pub(super) struct Round {
    pub(super) target: &'static str,
    pub(super) rps: u64,
    pub(super) cpu_nanos: u64,
    pub(super) first_p50: u64,
    pub(super) first_p99: u64,
    pub(super) last_p50: u64,
    pub(super) last_p99: u64,
    pub(super) errors: u64,
    pub(super) first_error: Value,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>8} {} calls/s, {} ns CPU, first byte {}/{} us, last byte {}/{} us, {} errors",
            self.target,
            self.rps,
            self.cpu_nanos,
            self.first_p50,
            self.first_p99,
            self.last_p50,
            self.last_p99,
            self.errors
        )
    }
}

/// Runs the generator against a target.
pub(super) fn run(target: &Target, case: Case, seconds: u64) -> Result<Round, Failure> {
    let (base, model) = match case.kind {
        Kind::Plain => (&target.plain, PLAIN_MODEL),
        Kind::Paced => (&target.stream, PACED_MODEL),
    };
    let mut command = generator(base, model, &target.key)?;
    command
        .args(
            (case.rate > 0)
                .then(|| ["--rate".to_owned(), case.rate.to_string()])
                .into_iter()
                .flatten(),
        )
        .args(
            (case.rate == 0)
                .then(|| ["--connections".to_owned(), case.connections.to_string()])
                .into_iter()
                .flatten(),
        )
        .args(["--seconds", &seconds.to_string()])
        .args((case.kind == Kind::Paced).then_some("--stream"));
    let before = target.cpu_nanos();
    let output = command.stderr(Stdio::inherit()).output()?;
    sleep(AFTERWARDS);
    let cpu = target.cpu_nanos().saturating_sub(before);
    if !output.status.success() {
        return Err(format!("the load generator failed: {}", output.status).into());
    }
    let seen: Value = serde_json::from_slice(&output.stdout)?;
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let (first, last) = (&seen["first_byte_us"], &seen["last_byte_us"]);
    Ok(Round {
        target: target.name,
        rps: number(&seen["rps"]),
        cpu_nanos: cpu / number(&seen["requests"]).max(1),
        first_p50: number(&first["p50"]),
        first_p99: number(&first["p99"]),
        last_p50: number(&last["p50"]),
        last_p99: number(&last["p99"]),
        errors: number(&seen["errors"]),
        first_error: seen["first_error"].clone(),
    })
}

/// The load generator, which stands beside the running executable.
pub(super) fn generator(base: &str, model: &str, key: &str) -> Result<Command, Failure> {
    let own = std::env::current_exe()?;
    let load: PathBuf = own.with_file_name("load");
    let mut command = Command::new(&load);
    command
        .args(["--url", &format!("{base}/chat/completions")])
        .args(["--model", model, "--key", key])
        .args(["--prompt-bytes", PROMPT_BYTES]);
    Ok(command)
}
