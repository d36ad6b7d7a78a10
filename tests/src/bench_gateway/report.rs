//! Medians, and the report's parts.

use serde_json::{Value, json};

use super::flush::Flush;
use super::round::{Case, Kind, Round};
use super::waits::Waits;

/// A case and all its rounds.
pub(super) type Closed = (Case, Vec<Round>);
/// A case at half load.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) case: Case,
    pub(super) rounds: Vec<Round>,
    /// What the disk took meanwhile.
    pub(super) flush: Flush,
    /// For how many commits the ends of calls waited, by target.
    pub(super) waits: Vec<(&'static str, Waits)>,
}

impl Half {
    /// Of a target that is Tollgate.
    pub(super) fn waits_of(&self, target: &str) -> Option<&Waits> {
        let found = self.waits.iter().find(|(name, _)| *name == target);
        found.map(|(_, waits)| waits)
    }
}

/// The targets that are Tollgate.
pub(super) const TOLLGATES: [&str; 2] = ["sqlite", "postgres"];

/// The median of a figure over the rounds of a target.
pub(super) fn median(rounds: &[Round], target: &str, figure: impl Fn(&Round) -> u64) -> u64 {
    let mut found: Vec<u64> = rounds
        .iter()
        .filter(|round| round.target == target)
        .map(figure)
        .collect();
    found.sort_unstable();
    found.get(found.len() / 2).copied().unwrap_or(0)
}

/// A target's figure against nginx's, in thousandths.
pub(super) fn against_nginx(rounds: &[Round], target: &str, figure: fn(&Round) -> u64) -> u64 {
    against(rounds, target, "nginx", figure)
}

/// A target's figure against another's, in thousandths.
pub(super) fn against(
    rounds: &[Round],
    target: &str,
    other: &str,
    figure: fn(&Round) -> u64,
) -> u64 {
    median(rounds, target, figure) * 1000 / median(rounds, other, figure).max(1)
}

/// What a target adds to a time of another's.
pub(super) fn added(
    rounds: &[Round],
    target: &str,
    beside: &str,
    figure: fn(&Round) -> u64,
) -> u64 {
    median(rounds, target, figure).saturating_sub(median(rounds, beside, figure))
}

/// The most calls a second that each Tollgate was seen to bear, and the least of those.
pub(super) fn least_rps(cases: &[Closed], kind: Kind) -> u64 {
    let most = |target: &&str| {
        let of_kind = cases.iter().filter(|(case, _)| case.kind == kind);
        of_kind
            .map(|(_, rounds)| median(rounds, target, |r| r.rps))
            .max()
    };
    TOLLGATES.iter().filter_map(most).min().unwrap_or(0)
}

/// One case on connections that call again and again.
pub(super) fn closed((case, rounds): &Closed) -> Value {
    let mut report = json!({ "kind": case.kind.name(), "connections": case.connections });
    for name in ["nginx", "sqlite", "postgres"] {
        report[name] = json!({
            "rps": median(rounds, name, |r| r.rps),
            "cpu_us": thousandths(median(rounds, name, |r| r.cpu_nanos)),
            "cpu_ratio": thousandths(against_nginx(rounds, name, |r| r.cpu_nanos)),
            "rps_ratio": thousandths(against_nginx(rounds, name, |r| r.rps)),
            "last_byte_us": {
                "p50": median(rounds, name, |r| r.last_p50),
                "p99": median(rounds, name, |r| r.last_p99),
            },
        });
    }
    report
}

/// One case at half load.
pub(super) fn half(half: &Half) -> Value {
    let Half {
        case,
        rounds,
        flush,
        ..
    } = half;
    let mut report = json!({
        "kind": case.kind.name(),
        "rate": case.rate,
        "flush_us": { "p50": flush.p50, "p99": flush.p99 },
    });
    for name in ["upstream", "nginx", "sqlite", "postgres"] {
        report[name] = json!({
            "rps": median(rounds, name, |r| r.rps),
            "cpu_us": thousandths(median(rounds, name, |r| r.cpu_nanos)),
            "first_byte_us": {
                "p50": median(rounds, name, |r| r.first_p50),
                "p99": median(rounds, name, |r| r.first_p99),
            },
            "last_byte_us": {
                "p50": median(rounds, name, |r| r.last_p50),
                "p99": median(rounds, name, |r| r.last_p99),
            },
            "added_first_byte_us": {
                "p50": added(rounds, name, "upstream", |r| r.first_p50),
                "p99": added(rounds, name, "upstream", |r| r.first_p99),
            },
            "end_takes_flushes_p99": thousandths(flushes_long(rounds, name, *flush)),
        });
        if let Some(waits) = half.waits_of(name) {
            report[name]["end_waits_for_commits"] = json!({
                "p99": waits.p99(),
                "up_to_2": thousandths(waits.share_up_to(2)),
            });
        }
    }
    report
}

/// How many flushes long, in thousandths, the end of a call takes at p99: what is added to its last
/// byte beyond what a proxy adds, divided by what a flush took at p99 meanwhile. It holds the wait
/// for the processor too.
pub(super) fn flushes_long(rounds: &[Round], target: &str, flush: Flush) -> u64 {
    added(rounds, target, "nginx", |r| r.last_p99) * 1000 / flush.p99.max(1)
}

/// A count of thousandths as a number for a report.
pub(super) fn thousandths(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / 1000.0
}

/// A count of tenths as a number for a report.
pub(super) fn tenths(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / 10.0
}

/// Kilobytes as megabytes for a report.
pub(super) fn megabytes(kilobytes: u64) -> f64 {
    tenths(kilobytes * 10 / 1024)
}
