//! Measures lanes: how long boosted calls take beside standard ones that saturate their channel, and
//! what the standard ones lose by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Failure;
use crate::call::{Ask, Caller};
use crate::proof::{Findings, say};
use crate::served::{Payer, Served};

/// How long the upstream takes for a call.
const MODEL: &str = "sim/echo?first_ms=100";
/// How many calls the channel takes at once.
const PLACES: usize = 40;
/// How many call at once without a boost: three for each place.
const CROWD: usize = 120;
/// How many with one: no more than places are kept for them.
const BOOSTED: usize = 2;
/// More than a run costs.
const FUNDS: i128 = 1_000_000_000_000;
/// The p99 of boosted calls beside a crowd, in hundredths of what it is without one.
const SLOWER: u128 = 130;
/// What standard calls a second are at least, in hundredths of what they are without lanes.
const THROUGHPUT: u64 = 90;

/// What a phase came to.
#[derive(Debug, Default)]
struct Times {
    /// How long each call took, in microseconds.
    took: Vec<u128>,
    /// Calls that got no answer.
    refused: u64,
}

impl Times {
    fn percentile(&self, percent: usize) -> u128 {
        let mut took = self.took.clone();
        took.sort_unstable();
        let place = (took.len() * percent / 100).min(took.len().saturating_sub(1));
        took.get(place).copied().unwrap_or_default()
    }

    fn per_second(&self, period: Duration) -> u64 {
        let calls = u128::try_from(self.took.len()).unwrap_or(u128::MAX);
        let per_second = calls * 1000 / period.as_millis().max(1);
        u64::try_from(per_second).unwrap_or(u64::MAX)
    }

    fn shown(&self) -> Value {
        let us = |percent| u64::try_from(self.percentile(percent)).unwrap_or(u64::MAX);
        json!({
            "calls": self.took.len(), "refused": self.refused, "p50_us": us(50), "p99_us": us(99),
        })
    }
}

/// Runs it.
///
/// # Errors
/// Something does not start, or a call fails.
pub async fn run(period: Duration) -> Result<(Value, Findings), Failure> {
    let open = config(Some((0, 0)));
    say("bench-lanes: standard calls alone, all places theirs");
    let served = Served::start(&open, FUNDS).await?;
    let (without, _) = beside(&served, CROWD, None, period).await?;
    let served = served.again(&config(None)).await?;
    let payer = served.payer("boosted", FUNDS).await?;
    say("bench-lanes: two callers alone");
    let (_, unloaded) = beside(&served, 0, Some(&payer), period).await?;
    say("bench-lanes: two callers without a boost beside the crowd");
    let (_, plain) = beside(&served, CROWD, Some(&payer), period).await?;
    served.boost(&payer)?;
    say("bench-lanes: two callers with a boost beside the crowd");
    let (with, boosted) = beside(&served, CROWD, Some(&payer), period).await?;
    let mut findings = Findings::default();
    let refused = [&without, &unloaded, &plain, &with, &boosted];
    let refused: u64 = refused.iter().map(|times| times.refused).sum();
    findings.check(refused == 0, || format!("{refused} calls got no answer"));
    let slower = |times: &Times| times.percentile(99) * 100 / unloaded.percentile(99).max(1);
    findings.check(slower(&boosted) <= SLOWER, || {
        format!(
            "boosted calls take {} % of their p99 alone",
            slower(&boosted)
        )
    });
    // Else the crowd is none, and nothing is shown.
    findings.check(slower(&plain) > SLOWER, || {
        format!(
            "calls without a boost take {} % of their p99 alone",
            slower(&plain)
        )
    });
    let [before, after] = [&without, &with].map(|times| times.per_second(period));
    let kept = after * 100 / before.max(1);
    findings.check(kept >= THROUGHPUT, || {
        format!("{after} standard calls a second, {before} without lanes")
    });
    served.gate.verify_ledger()?;
    let line = json!({
        "bench": "lanes", "places": PLACES, "crowd": CROWD, "boosted_callers": BOOSTED,
        "seconds": period.as_secs(),
        "alone": unloaded.shown(), "boosted": boosted.shown(), "without_a_boost": plain.shown(),
        "boosted_p99_percent": u64::try_from(slower(&boosted))?, "boosted_p99_percent_max": u64::try_from(SLOWER)?,
        "standard_per_second": after, "standard_per_second_without_lanes": before,
        "standard_percent": kept, "standard_percent_min": THROUGHPUT,
    });
    Ok((line, findings))
}

/// Calls of a crowd of standard callers, and of the others beside them.
async fn beside(
    served: &Served,
    crowd: usize,
    others: Option<&Payer>,
    period: Duration,
) -> Result<(Times, Times), Failure> {
    let is_over = Arc::new(AtomicBool::new(false));
    let (mut standard, mut other) = (JoinSet::new(), JoinSet::new());
    for _ in 0..crowd {
        standard.spawn(calls(served.payer.caller.clone(), Arc::clone(&is_over)));
    }
    // The crowd is there before anything is measured.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let from = Instant::now();
    for payer in others
        .iter()
        .flat_map(|payer| std::iter::repeat_n(*payer, BOOSTED))
    {
        other.spawn(calls(payer.caller.clone(), Arc::clone(&is_over)));
    }
    tokio::time::sleep(period).await;
    is_over.store(true, Ordering::Relaxed);
    let sum = |all: Vec<Vec<(Instant, Option<Duration>)>>| {
        let mut times = Times::default();
        let within = all.into_iter().flatten();
        for (_, took) in within.filter(|(end, _)| *end >= from && *end < from + period) {
            match took {
                Some(took) => times.took.push(took.as_micros()),
                None => times.refused += 1,
            }
        }
        times
    };
    Ok((sum(standard.join_all().await), sum(other.join_all().await)))
}

/// Calls one after the other until it is over: when each ended, and how long it took if it was
/// answered.
async fn calls(caller: Caller, is_over: Arc<AtomicBool>) -> Vec<(Instant, Option<Duration>)> {
    let ask = Ask::of(MODEL).at_most(10);
    let mut ended = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let answer = caller.call(&ask).await;
        let took = answer.is_complete().then_some(answer.took);
        ended.push((Instant::now(), took));
    }
    ended
}

/// One channel that takes so many calls; of its places so many are kept for each lane.
fn config(kept: Option<(usize, usize)>) -> String {
    let kept = kept.map_or_else(String::new, |(boosted, standard)| {
        format!(", boosted = {boosted}, standard = {standard}")
    });
    format!(
        "[[channel]]\nname = \"simulated\"\nprotocol = \"simulated\"\nmodels = [\"sim/*\"]\n\
         lanes = {{ concurrent = {PLACES}, waiting = {CROWD}, wait_ms = 60000{kept} }}\n"
    )
}
