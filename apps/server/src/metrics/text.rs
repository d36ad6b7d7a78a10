//! The numbers in the text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write};
use std::time::Duration;

use gateway_core::lanes::Lane;

use super::{LATENCY_MS, METRICS, read};

/// What a number is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// It only grows while the process runs.
    Counter,
    /// It goes up and down.
    Gauge,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// The text, as it grows.
#[derive(Debug, Default)]
pub(crate) struct Page(String);

impl Page {
    /// A family of numbers that differ in one label.
    pub(crate) fn family<N: Display>(
        &mut self,
        (name, kind, help): (&str, Kind, &str),
        label: &str,
        numbers: impl IntoIterator<Item = (N, u64)>,
    ) {
        self.head(name, kind.name(), help);
        for (value, number) in numbers {
            let value = escaped(&value.to_string());
            self.line(format_args!(
                "tollgate_{name}{{{label}=\"{value}\"}} {number}"
            ));
        }
    }

    /// A family of numbers of the lanes of channels.
    pub(crate) fn lanes(
        &mut self,
        (name, kind, help): (&str, Kind, &str),
        numbers: impl IntoIterator<Item = (String, Lane, u64)>,
    ) {
        self.head(name, kind.name(), help);
        for (channel, lane, number) in numbers {
            let (channel, lane) = (escaped(&channel), lane.name());
            self.line(format_args!(
                "tollgate_{name}{{channel=\"{channel}\",lane=\"{lane}\"}} {number}"
            ));
        }
    }

    /// One number.
    pub(crate) fn one(&mut self, (name, kind, help): (&str, Kind, &str), number: u64) {
        self.head(name, kind.name(), help);
        self.line(format_args!("tollgate_{name} {number}"));
    }

    /// A time that has passed, in seconds; nothing where it is not known.
    pub(crate) fn seconds(&mut self, name: &str, help: &str, passed: Option<Duration>) {
        let Some(passed) = passed else { return };
        self.head(name, Kind::Gauge.name(), help);
        let (s, ms) = (passed.as_secs(), passed.subsec_millis());
        self.line(format_args!("tollgate_{name} {s}.{ms:03}"));
    }

    /// How often a count was seen, up to each bound, and up to none; with the sum of the counts.
    pub(crate) fn counts(
        &mut self,
        (name, help): (&str, &str),
        seen: impl IntoIterator<Item = (Option<u64>, u64)>,
        sum: u64,
    ) {
        self.head(name, "histogram", help);
        let mut count = 0;
        for (bound, times) in seen {
            count += times;
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
            self.line(format_args!(
                "tollgate_{name}_bucket{{le=\"{bound}\"}} {count}"
            ));
        }
        self.line(format_args!("tollgate_{name}_sum {sum}"));
        self.line(format_args!("tollgate_{name}_count {count}"));
    }

    fn latency(&mut self, name: &str, help: &str, latency: &super::Latency) {
        self.head(name, "histogram", help);
        let mut count = 0;
        for (bucket, bound) in latency.buckets.iter().zip(LATENCY_MS) {
            count += read(bucket);
            let (s, ms) = (bound / 1000, bound % 1000);
            self.line(format_args!(
                "tollgate_{name}_bucket{{le=\"{s}.{ms:03}\"}} {count}"
            ));
        }
        count += latency.buckets.last().map_or(0, read);
        let us = read(&latency.sum_us);
        let (s, us) = (us / 1_000_000, us % 1_000_000);
        self.line(format_args!(
            "tollgate_{name}_bucket{{le=\"+Inf\"}} {count}"
        ));
        self.line(format_args!("tollgate_{name}_sum {s}.{us:06}"));
        self.line(format_args!("tollgate_{name}_count {count}"));
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP tollgate_{name} {help}"));
        self.line(format_args!("# TYPE tollgate_{name} {kind}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        if writeln!(self.0, "{line}").is_err() {
            tracing::debug!("a string takes what is written to it");
        }
    }

    /// The text.
    pub(crate) fn finish(self) -> String {
        self.0
    }
}

/// What this process has counted by itself.
pub(crate) fn own(page: &mut Page) {
    use Kind::{Counter, Gauge};

    let m = &METRICS;
    page.family(
        (
            "calls_total",
            Counter,
            "Calls that were settled, by how they ended.",
        ),
        "outcome",
        m.calls.named(),
    );
    page.family(
        (
            "refusals_total",
            Counter,
            "Requests that were refused, by cause.",
        ),
        "cause",
        m.refusals.named(),
    );
    let help = "From the end of a call until its charge is durable.";
    page.latency("settle_seconds", help, &m.settle);
    let help = "How long boosted calls that found no place at a channel waited for one.";
    page.latency("boosted_wait_seconds", help, &m.waited_boosted);
    let help = "How long standard calls that found no place at a channel waited for one.";
    page.latency("standard_wait_seconds", help, &m.waited_standard);
    let help = "Calls that are over and whose charge is not durable yet.";
    page.one(("settling", Gauge, help), read(&m.settling));
    let help = "Accounts that this node has proved.";
    page.one(("proofs_total", Counter, help), read(&m.proofs));
    let help = "Accounts that this node has parked because their books did not hold.";
    page.one(
        ("proofs_failed_total", Counter, help),
        read(&m.proofs_failed),
    );
    let help = "When this node last proved an account whose books hold; 0 for never.";
    page.one(
        ("last_proof_timestamp_seconds", Gauge, help),
        read(&m.last_proof_s),
    );
    let help = "Accounts that are parked because their books did not hold.";
    page.one(("parked_accounts", Gauge, help), read(&m.parked_accounts));
    let help = "Accounts whose books were never proved.";
    page.one(
        ("unproved_accounts", Gauge, help),
        read(&m.unproved_accounts),
    );
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_has_help_and_type_and_labels_are_escaped() {
        let mut page = Page::default();
        let family = ("x_total", Kind::Counter, "What it is.");
        page.family(family, "channel", [("a\"b\\c\nd", 3)]);
        assert_eq!(
            page.finish(),
            "# HELP tollgate_x_total What it is.\n# TYPE tollgate_x_total counter\n\
             tollgate_x_total{channel=\"a\\\"b\\\\c\\nd\"} 3\n"
        );
    }

    #[test]
    fn counts_are_counted_up_to_all_of_them() {
        let seen = [(Some(1), 8), (Some(2), 4), (Some(8), 2), (None, 1)];
        let mut page = Page::default();
        page.counts(("t", "Commits."), seen, 41);
        let text = page.finish();
        for line in [
            "tollgate_t_bucket{le=\"1\"} 8",
            "tollgate_t_bucket{le=\"2\"} 12",
            "tollgate_t_bucket{le=\"8\"} 14",
            "tollgate_t_bucket{le=\"+Inf\"} 15",
            "tollgate_t_sum 41",
            "tollgate_t_count 15",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }

    #[test]
    fn a_histogram_counts_up_to_its_sum() {
        let latency = super::super::Latency::default();
        for ms in [1, 3, 70_000] {
            latency.note(Duration::from_millis(ms));
        }
        let mut page = Page::default();
        page.latency("t_seconds", "Time.", &latency);
        let text = page.finish();
        for line in [
            "tollgate_t_seconds_bucket{le=\"0.001\"} 1",
            "tollgate_t_seconds_bucket{le=\"0.005\"} 2",
            "tollgate_t_seconds_bucket{le=\"15.000\"} 2",
            "tollgate_t_seconds_bucket{le=\"+Inf\"} 3",
            "tollgate_t_seconds_sum 70.004000",
            "tollgate_t_seconds_count 3",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }
}
