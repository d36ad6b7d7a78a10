//! What is counted while the process runs: plain atomics, to be added to from anywhere without a
//! lock or an allocation. [`text`] is what Prometheus reads of them.
//!
//! To add a number: a field of [`Metrics`], a line where it happens
//! (`metrics::add(&METRICS.name, 1)`), a line in [`text::own`], and one in
//! `docs/reference/metrics.md`, which a test compares with the code.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gateway_core::lanes::Lane;
use gateway_core::outcome::Outcome;

pub(crate) mod listener;
pub(crate) mod text;

/// A number that is counted up or set.
pub(crate) type Number = AtomicU64;

/// Up to how many milliseconds each bucket of a latency reaches.
pub(crate) const LATENCY_MS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 250, 500, 1_000, 5_000, 15_000];

/// How long something took, by bucket, with the sum.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    /// One for each of [`LATENCY_MS`], and one for what took longer.
    pub(crate) buckets: [Number; LATENCY_MS.len() + 1],
    pub(crate) sum_us: Number,
}

impl Latency {
    const fn new() -> Self {
        Self {
            buckets: [const { Number::new(0) }; LATENCY_MS.len() + 1],
            sum_us: Number::new(0),
        }
    }

    /// Counts one in.
    pub(crate) fn note(&self, took: Duration) {
        let ms = took.as_millis();
        let place = LATENCY_MS.partition_point(|bound| u128::from(*bound) < ms);
        if let Some(bucket) = self.buckets.get(place) {
            add(bucket, 1);
        }
        add(&self.sum_us, u64::try_from(took.as_micros()).unwrap_or(0));
    }
}

macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $name { $($(#[$field_doc])* pub(crate) $field: Number,)* }

        impl $name {
            const fn new() -> Self {
                Self { $($field: Number::new(0),)* }
            }

            /// Each with its name.
            pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), &self.$field),)*]
                    .into_iter()
                    .map(|(name, number)| (name, number.load(Ordering::Relaxed)))
            }
        }
    };
}

numbers! {
    /// Calls by how they ended.
    Outcomes {
        completed,
        upstream_rejected,
        upstream_failed,
        upstream_timeout,
        cut_mid_stream,
        client_gone_before_first_byte,
        client_gone_mid_stream,
        funds_exhausted_mid_stream,
    }
}

impl Outcomes {
    /// Where calls with an outcome are counted.
    pub(crate) fn of(&self, outcome: Outcome) -> &Number {
        match outcome {
            Outcome::Completed => &self.completed,
            Outcome::UpstreamRejected { .. } => &self.upstream_rejected,
            Outcome::UpstreamFailed { .. } => &self.upstream_failed,
            Outcome::UpstreamTimeout => &self.upstream_timeout,
            Outcome::CutMidStream => &self.cut_mid_stream,
            Outcome::ClientGoneBeforeFirstByte => &self.client_gone_before_first_byte,
            Outcome::ClientGoneMidStream => &self.client_gone_mid_stream,
            Outcome::FundsExhaustedMidStream => &self.funds_exhausted_mid_stream,
        }
    }
}

numbers! {
    /// Refusals by cause: what a call was told instead of an answer.
    Refusals {
        invalid_key,
        account_suspended,
        account_parked,
        bad_request,
        model_not_allowed,
        unknown_model,
        unpriced,
        no_channel,
        insufficient_funds,
        funds_in_use,
        books_unavailable,
        idempotency_key,
        not_found,
        upstream,
        overloaded,
        no_place,
        rate_limited,
        spool_full,
        clock_off,
        stopping,
    }
}

/// Everything that is counted in this process.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Calls that were settled, by outcome.
    pub(crate) calls: Outcomes,
    /// Calls that were refused, by cause.
    pub(crate) refusals: Refusals,
    /// From the end of a call until its charge was durable.
    pub(crate) settle: Latency,
    /// How long boosted calls waited for a place at a channel, of those that had to.
    pub(crate) waited_boosted: Latency,
    /// And standard ones.
    pub(crate) waited_standard: Latency,
    /// Settlements that wait to be durable.
    pub(crate) settling: Number,
    /// Accounts that were proved.
    pub(crate) proofs: Number,
    /// Accounts that were parked by this node because their books did not hold.
    pub(crate) proofs_failed: Number,
    /// When the last proof that held was made, in seconds since the Unix epoch.
    pub(crate) last_proof_s: Number,
    /// Accounts that are parked now.
    pub(crate) parked_accounts: Number,
    /// Accounts that were never proved.
    pub(crate) unproved_accounts: Number,
}

impl Metrics {
    /// How long calls of a lane waited for a place.
    pub(crate) const fn waited(&self, lane: Lane) -> &Latency {
        match lane {
            Lane::Boosted => &self.waited_boosted,
            Lane::Standard => &self.waited_standard,
        }
    }
}

/// The numbers of this process.
pub(crate) static METRICS: Metrics = Metrics {
    calls: Outcomes::new(),
    refusals: Refusals::new(),
    settle: Latency::new(),
    waited_boosted: Latency::new(),
    waited_standard: Latency::new(),
    settling: Number::new(0),
    proofs: Number::new(0),
    proofs_failed: Number::new(0),
    last_proof_s: Number::new(0),
    parked_accounts: Number::new(0),
    unproved_accounts: Number::new(0),
};

/// Counts up.
pub(crate) fn add(number: &Number, more: u64) {
    number.fetch_add(more, Ordering::Relaxed);
}

/// Counts down.
pub(crate) fn take(number: &Number, less: u64) {
    number.fetch_sub(less, Ordering::Relaxed);
}

/// Sets.
pub(crate) fn set(number: &Number, value: u64) {
    number.store(value, Ordering::Relaxed);
}

/// Reads.
pub(crate) fn read(number: &Number) -> u64 {
    number.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_falls_into_the_first_bucket_that_reaches_it() {
        let latency = Latency::new();
        for ms in [0, 1, 2, 3, 15_000, 60_000] {
            latency.note(Duration::from_millis(ms));
        }
        let counts: Vec<u64> = latency.buckets.iter().map(read).collect();
        assert_eq!(counts[..3], [2, 1, 1]);
        assert_eq!(counts[11..], [1, 1]);
        assert_eq!(read(&latency.sum_us), 75_006_000);
    }

    #[test]
    fn every_outcome_is_counted_under_its_name() {
        let outcomes = Outcomes::new();
        for outcome in [
            Outcome::Completed,
            Outcome::UpstreamFailed { status: None },
            Outcome::FundsExhaustedMidStream,
        ] {
            add(outcomes.of(outcome), 7);
            let counted = outcomes.named().find(|(name, _)| *name == outcome.name());
            assert_eq!(counted, Some((outcome.name(), 7)));
        }
    }
}
