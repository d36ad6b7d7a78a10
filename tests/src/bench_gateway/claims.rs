//! What must hold. Each bound is a promise of `docs/reference/performance.md`.

use super::idle::Idle;
use super::report::{
    Closed, Half, TOLLGATES, added, against_nginx, flushes_long, megabytes, tenths, thousandths,
};
use super::round::{Kind, Round, Target};
use crate::proof::Findings;

/// CPU of a call that is not streamed, in thousandths of nginx's, from 64 connections on.
const PLAIN_CPU: u64 = 2000;
/// CPU of a paced stream, likewise.
const PACED_CPU: u64 = 1200;
/// Calls a second, at least this many thousandths of nginx's.
const LEAST_RPS: u64 = 500;
/// What is added to the first byte of a stream at half load, in microseconds.
const FIRST_P50: u64 = 200;
const FIRST_P99: u64 = 1000;
/// Resident memory, in kilobytes.
const IDLE_KB: u64 = 40 * 1024;
const LOAD_KB: u64 = 100 * 1024;
/// Of a silent stream, in tenths of a kilobyte.
const STREAM_TENTHS_KB: u64 = 250;
/// Flushes that the end of a call waits for at p99. Each commit is one.
const FLUSHES: u64 = 2;
/// How many flushes long that takes at p99, in thousandths.
const FLUSHES_LONG: u64 = 2000;
/// With fewer connections there is nothing to share a commit with.
const SHARED_FROM: usize = 64;

/// Checks all claims but those on memory under load.
pub(super) fn check(cases: &[Closed], halves: &[Half], idle: &Idle, findings: &mut Findings) {
    for (case, rounds) in cases {
        no_errors(&case.to_string(), rounds, findings);
        if case.connections >= SHARED_FROM {
            for target in TOLLGATES {
                cost(
                    &format!("{target}, {case}"),
                    case.kind,
                    rounds,
                    target,
                    findings,
                );
            }
        }
    }
    for half in halves {
        let case = half.case;
        no_errors(&case.to_string(), &half.rounds, findings);
        for target in TOLLGATES {
            latency(&format!("{target}, {case}"), half, target, findings);
        }
    }
    findings.check(idle.before_kb <= IDLE_KB, || {
        format!(
            "idle memory is {} MB, at most 40",
            megabytes(idle.before_kb)
        )
    });
    findings.check(idle.stream_tenths_kb <= STREAM_TENTHS_KB, || {
        let each = tenths(idle.stream_tenths_kb);
        format!("a silent stream takes {each} KB, at most 25")
    });
    findings.check(idle.streams > 0, || {
        "no silent stream was opened".to_owned()
    });
}

/// Checks that calls of accounts on plans and in tiers end without errors.
pub(super) fn check_on_plan(cases: &[Closed], findings: &mut Findings) {
    for (case, rounds) in cases {
        no_errors(&case.to_string(), rounds, findings);
    }
}

/// Checks the memory of processes that were under load.
pub(super) fn check_load_memory(targets: &[&Target], findings: &mut Findings) {
    for target in targets {
        let peak = target.peak_kb();
        findings.check((1..=LOAD_KB).contains(&peak), || {
            let peak = megabytes(peak);
            format!("{}: up to {peak} MB under load, at most 100", target.name)
        });
    }
}

fn no_errors(case: &str, rounds: &[Round], findings: &mut Findings) {
    for round in rounds {
        findings.check(round.errors == 0 && round.rps > 0, || {
            let (target, errors, first) = (round.target, round.errors, &round.first_error);
            format!("{target}, {case}: {errors} errors, the first: {first}")
        });
    }
}

fn cost(name: &str, kind: Kind, rounds: &[Round], target: &str, findings: &mut Findings) {
    let most = match kind {
        Kind::Plain => PLAIN_CPU,
        Kind::Paced => PACED_CPU,
    };
    let cpu = against_nginx(rounds, target, |r| r.cpu_nanos);
    findings.check(cpu <= most, || {
        let (cpu, most) = (thousandths(cpu), thousandths(most));
        format!("{name}: CPU is {cpu} times nginx's, at most {most}")
    });
    let rps = against_nginx(rounds, target, |r| r.rps);
    findings.check(rps >= LEAST_RPS, || {
        format!(
            "{name}: {} of nginx's calls a second, at least 0.5",
            thousandths(rps)
        )
    });
}

fn latency(name: &str, half: &Half, target: &str, findings: &mut Findings) {
    if half.case.kind == Kind::Paced {
        let rounds = &half.rounds;
        let p50 = added(rounds, target, "upstream", |r| r.first_p50);
        let p99 = added(rounds, target, "upstream", |r| r.first_p99);
        findings.check(p50 <= FIRST_P50 && p99 <= FIRST_P99, || {
            format!(
                "{name}: {p50} us are added to the first byte, {p99} at p99; at most 200 and 1000"
            )
        });
    }
    let waits = half.waits_of(target);
    let within = waits.map_or(0, |w| w.share_up_to(FLUSHES));
    let p99 = waits.and_then(super::waits::Waits::p99);
    findings.check(p99.is_some_and(|p99| p99 <= FLUSHES), || {
        let within = thousandths(within);
        format!("{name}: {within} of the ends wait for two flushes at most, of 0.99 at least")
    });
    let long = flushes_long(&half.rounds, target, half.flush);
    findings.check(long <= FLUSHES_LONG, || {
        let long = thousandths(long);
        format!("{name}: the end takes {long} flushes at p99, at most 2")
    });
}
