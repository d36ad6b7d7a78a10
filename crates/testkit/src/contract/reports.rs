//! Rules of the read models.

mod adjustments;
mod groups;

use std::sync::Arc;

use billing_core::call::{Attempt, Basis, Settlement, UsageSource};
use billing_core::id::{AccountId, CallId, PriceVersionId, first_id_at};
use billing_core::ledger::{LedgerCode, LedgerKind};
use billing_core::meter::{Meter, Usage};
use billing_core::money::Nanos;
use billing_core::port::reports::{CallFilter, ReportedDay, UsageGroup};
use billing_core::price::{ModelName, PriceVersion, Rate, ServiceTier};
use billing_core::zone::Zone;
use time::{Duration, OffsetDateTime};

use crate::World;
use crate::world::NOON;

pub use adjustments::*;
pub use groups::*;

/// Every rule of the read models, as tests: `testkit::reports_contract!(name, opener)`.
#[macro_export]
macro_rules! reports_contract {
    ($name:ident, $open:expr) => {
        $crate::rules!($name, $open, reports:
            a_call_reads_back_with_all_that_derives_its_charge
            a_call_reads_back_with_every_attempt
            a_call_is_found_by_its_idempotency_key
            calls_are_listed_newest_first_and_paged
            calls_are_filtered
            rare_calls_are_found_among_many
            totals_are_those_of_the_calls
            totals_stop_at_the_largest_that_fits
            totals_of_nothing_are_zero
            every_grouping_adds_up_to_the_total
            lines_say_what_they_are_of
            what_a_key_spent_counts_from_an_instant
            a_call_shows_what_it_was_adjusted_by
            credits_are_what_came_in_and_went_out
            the_journal_is_paged_by_transaction
        );
    };
}

/// From the moment its charge is durable.
pub async fn a_call_reads_back_with_all_that_derives_its_charge(world: World) {
    world.top_up(100).await;
    world
        .lease(billing_core::budget::BudgetScope::Wallet, 80)
        .await
        .unwrap();
    let call = world.call(80, 30);
    let settled = world.settle(call.clone()).await.call;
    let reports = &world.ports.reports;
    let found = reports
        .call(world.account, call.call)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((found.charge, found.overrun), (settled.charge, Nanos::ZERO));
    assert_eq!(
        (found.held, found.balance_after),
        (Nanos::new(80), Nanos::new(70))
    );
    assert_eq!(found.draws, settled.draws);
    assert_eq!(found.usage, Usage::NONE.with(Meter::Output, 30));
    assert_eq!(found.source, Some(UsageSource::Provider));
    assert_eq!((found.model.as_str(), found.channel.as_str()), ("m", "sim"));
    assert_eq!(found.price_version, world.price.id());
    assert_eq!((found.started_at, found.settled_at), (NOON, NOON));
    assert_eq!((found.first_byte_ms, found.latency_ms), (Some(12), 34));
    assert_eq!((found.status, found.streamed), (200, true));
    assert_eq!(found.upstream_id, call.facts.upstream_id);
    assert_eq!(found.finish_reason, call.facts.finish_reason);
    assert_eq!(found.attempts, call.facts.attempts);
    assert!(found.ledger_txn.is_some());
    let foreign = reports
        .call(AccountId::new(9_999), call.call)
        .await
        .unwrap();
    assert_eq!(foreign, None);
}

/// In order: none, one, and several; no odd text of an upstream's harms the record.
pub async fn a_call_reads_back_with_every_attempt(world: World) {
    let attempt = |channel: &str, status, outcome: &str| Attempt {
        channel: channel.to_owned(),
        status,
        outcome: outcome.to_owned(),
        latency_ms: 9,
    };
    let several = vec![
        attempt("a", None, "timeout"),
        attempt("b", Some(503), "unavailable"),
        attempt("c", Some(200), "ok"),
    ];
    for attempts in [Vec::new(), several[..1].to_vec(), several] {
        let mut call = world.call(0, 0);
        call.facts.attempts = attempts.clone();
        call.facts.upstream_id = Some("\u{0}\"\\\n\u{1f}'ü🦀".to_owned());
        let delivered = attempts.len() == 3;
        if !delivered {
            call.basis = Basis::Void;
        }
        world.settle(call.clone()).await;
        let found = world.ports.reports.call(world.account, call.call).await;
        let found = found.unwrap().unwrap();
        assert_eq!(found.attempts, attempts);
        assert_eq!(found.channel, if delivered { "c" } else { "" });
        assert!(found.upstream_id.unwrap().ends_with("\"\\\n\u{1f}'ü🦀"));
    }
}

/// The first call that had it.
pub async fn a_call_is_found_by_its_idempotency_key(world: World) {
    let mut call = world.call(0, 0);
    call.facts.idempotency_key = Some("order 7".to_owned());
    world.settle(call.clone()).await;
    let find = |account, key| world.ports.reports.call_by_idempotency_key(account, key);
    assert_eq!(
        find(world.account, "order 7").await.unwrap(),
        Some(call.call)
    );
    assert_eq!(find(world.account, "order 8").await.unwrap(), None);
    assert_eq!(find(AccountId::new(9_999), "order 7").await.unwrap(), None);
}

/// Each once, no matter where the page ends.
pub async fn calls_are_listed_newest_first_and_paged(world: World) {
    let mut ids = Vec::new();
    for _ in 0..7 {
        let call = world.call(0, 0);
        ids.push(call.call);
        world.settle(call).await;
    }
    ids.reverse();
    let mut seen = Vec::new();
    while seen.len() < 7 {
        let before = seen.last().copied();
        let all = CallFilter::default();
        let page = world.ports.reports.calls(world.account, all, before, 3);
        seen.extend(page.await.unwrap().iter().map(|c| c.id));
    }
    assert_eq!(seen, ids);
    let all = CallFilter::default();
    let rest = world
        .ports
        .reports
        .calls(world.account, all, seen.last().copied(), 3);
    assert_eq!(rest.await.unwrap(), []);
}

/// By key, model and time, also together.
pub async fn calls_are_filtered(world: World) {
    let other = world.new_key(world.account, None).await;
    let mut calls = Vec::new();
    for (key, model, hour) in [(world.key, "m", 0), (other, "m", 1), (other, "n", 2)] {
        let mut call = world.call(0, 0);
        call.key = key;
        call.model = ModelName::new(model);
        begins(&mut call, NOON + Duration::hours(hour));
        calls.push(call.call);
        world.settle(call).await;
    }
    let list = async |filter| {
        let found = world
            .ports
            .reports
            .calls(world.account, filter, None, 9)
            .await;
        found.unwrap().iter().map(|c| c.id).collect::<Vec<CallId>>()
    };
    let all = CallFilter::default;
    let (key, model) = (Some(other), Some("m".to_owned()));
    assert_eq!(
        list(CallFilter { key, ..all() }).await,
        [calls[2], calls[1]]
    );
    assert_eq!(
        list(CallFilter {
            model: model.clone(),
            ..all()
        })
        .await,
        [calls[1], calls[0]]
    );
    assert_eq!(
        list(CallFilter {
            key,
            model,
            ..all()
        })
        .await,
        [calls[1]]
    );
    let (from, to) = (
        Some(NOON + Duration::hours(1)),
        Some(NOON + Duration::hours(2)),
    );
    assert_eq!(list(CallFilter { from, to, ..all() }).await, [calls[1]]);
}

/// Wherever they lie among others, and page by page.
pub async fn rare_calls_are_found_among_many(world: World) {
    let rare = world.new_key(world.account, None).await;
    let mut expected = Vec::new();
    for minutes in 0..240 {
        let mut call = world.call(0, 0);
        // At both ends, in one quarter hour, across a quarter hour's end, and far apart.
        if [0, 1, 14, 15, 100, 101, 239].contains(&minutes) {
            call.key = rare;
        }
        begins(&mut call, NOON + Duration::minutes(minutes));
        if call.key == rare {
            expected.push(call.call);
        }
        world.settle(call).await;
    }
    expected.reverse();
    let filter = CallFilter {
        key: Some(rare),
        ..CallFilter::default()
    };
    for limit in [1, 2, 3, 9] {
        let mut found: Vec<CallId> = Vec::new();
        loop {
            let reports = &world.ports.reports;
            let before = found.last().copied();
            let page = reports.calls(world.account, filter.clone(), before, limit);
            let page = page.await.unwrap();
            let is_last = page.len() < usize::try_from(limit).unwrap();
            found.extend(page.iter().map(|call| call.id));
            if is_last {
                break;
            }
        }
        assert_eq!(found, expected, "by {limit}");
    }
}

/// As a node makes them: its id and its start are of one moment.
fn begins(call: &mut Settlement, at: OffsetDateTime) {
    let ms = i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap();
    call.call = CallId::new(first_id_at(ms) + call.call.get());
    call.facts.started_at = at;
}

/// Grouped, and bounded by whole quarter hours.
pub async fn totals_are_those_of_the_calls(world: World) {
    world.top_up(1000).await;
    world
        .lease(billing_core::budget::BudgetScope::Wallet, 900)
        .await
        .unwrap();
    for (model, minutes, output) in [("m", 0, 10), ("m", 14, 20), ("n", 15, 40), ("m", 1440, 80)] {
        let mut call = world.call(100, 0);
        call.model = ModelName::new(model);
        let usage = Usage::NONE
            .with(Meter::CacheRead, 1)
            .with(Meter::Output, output);
        call.basis = Basis::Delivered {
            usage,
            source: UsageSource::Provider,
        };
        call.facts.started_at = NOON + Duration::minutes(minutes);
        world.settle(call).await;
    }
    let mut void = world.call(100, 0);
    void.basis = Basis::Void;
    world.settle(void).await;
    let usage = async |from, to, group| {
        let (from, to) = (NOON + Duration::minutes(from), NOON + Duration::minutes(to));
        let lines = world
            .ports
            .reports
            .usage(world.account, from, to, group)
            .await;
        let lines = lines.unwrap().into_iter();
        let line = lines.map(|l| (l.group, l.calls, l.answer_tokens, l.charge.get()));
        line.collect::<Vec<_>>()
    };
    let named = |name: &str, calls, tokens, charge| (name.to_owned(), calls, tokens, charge);
    let total = usage(0, 2000, UsageGroup::Total).await;
    assert_eq!(total, [named("", 5, 150, 158)]);
    let models = usage(0, 2000, UsageGroup::Model).await;
    assert_eq!(models, [named("m", 4, 110, 116), named("n", 1, 40, 42)]);
    let by_day = async |zone: &str| {
        let (zone, end) = (
            zone.parse::<Zone>().unwrap(),
            NOON + Duration::minutes(2000),
        );
        let days = ReportedDay::of_period(&zone, NOON, end);
        let lines = world.ports.reports.usage_by_day(world.account, &days).await;
        let lines = lines.unwrap().into_iter();
        let line = lines.map(|l| (l.group, l.calls, l.answer_tokens, l.charge.get()));
        line.collect::<Vec<_>>()
    };
    // Where the clocks show thirteen hours more, it is the next day.
    for (zone, first, second) in [
        ("UTC", "2026-11-22", "2026-11-23"),
        ("Pacific/Auckland", "2026-11-23", "2026-11-24"),
    ] {
        let lines = [named(first, 4, 70, 76), named(second, 1, 80, 82)];
        assert_eq!(by_day(zone).await, lines, "{zone}");
    }
    let keys = usage(7, 15, UsageGroup::Key).await;
    assert_eq!(keys, [named(&world.key.to_string(), 3, 30, 34)]);
    let line = world.ports.reports.usage(
        world.account,
        NOON,
        NOON + Duration::days(9),
        UsageGroup::Total,
    );
    let line = line.await.unwrap().remove(0);
    assert_eq!(
        (line.void_calls, line.prompt_tokens, line.cache_read_tokens),
        (1, 4, 4)
    );
}

/// Usages that are believed and absurd, such as of a model without bounds.
pub async fn totals_stop_at_the_largest_that_fits(world: World) {
    for minutes in [0, 0, 15, 30] {
        let mut call = world.call(0, 0);
        let usage = Usage::NONE.with(Meter::CacheRead, u64::MAX);
        call.basis = Basis::Delivered {
            usage: usage.with(Meter::AudioCacheRead, 5),
            source: UsageSource::Provider,
        };
        call.bounds.prompt_tokens = u64::MAX;
        call.terms.price = cheap(&world);
        call.facts.started_at = NOON + Duration::minutes(minutes);
        assert!(!world.settle(call).await.call.quarantined);
    }
    let reports = &world.ports.reports;
    let end = NOON + Duration::hours(1);
    let usage = reports.usage(world.account, NOON, end, UsageGroup::Model);
    let line = usage.await.unwrap().remove(0);
    let most = i64::MAX.unsigned_abs();
    assert_eq!((line.calls, line.prompt_tokens), (4, most));
    assert_eq!((line.cache_read_tokens, line.answer_tokens), (most, 0));
}

/// A price of next to nothing, not on record.
fn cheap(world: &World) -> Arc<PriceVersion> {
    let rate = |meter| Rate {
        meter,
        tier: ServiceTier::Standard,
        above: None,
        price: "0.000000000001".parse().unwrap(),
    };
    let rates = [
        Meter::Input,
        Meter::CacheRead,
        Meter::AudioCacheRead,
        Meter::Output,
    ]
    .map(rate);
    let (id, model) = (PriceVersionId::new(901), ModelName::new("m"));
    let cheap = PriceVersion::new(id, model, world.price.currency(), NOON, rates.to_vec());
    Arc::new(cheap.unwrap())
}

/// One line for all, even then.
pub async fn totals_of_nothing_are_zero(world: World) {
    let usage = |group| world.ports.reports.usage(world.account, NOON, NOON, group);
    let total = usage(UsageGroup::Total).await.unwrap();
    assert_eq!(total, [billing_core::port::reports::UsageLine::default()]);
    for group in [UsageGroup::Model, UsageGroup::Plan, UsageGroup::Quota] {
        assert_eq!(usage(group).await.unwrap(), []);
    }
}

/// Of its window.
pub async fn what_a_key_spent_counts_from_an_instant(world: World) {
    world.top_up(1000).await;
    for hours in [-1, 0, 1] {
        let mut call = world.call(0, 100);
        call.facts.started_at = NOON + Duration::hours(hours);
        world.settle(call).await;
    }
    let spent = async |key, since| {
        let spent = world
            .ports
            .reports
            .key_spend(world.account, key, since)
            .await;
        spent.unwrap().get()
    };
    assert_eq!(spent(world.key, NOON).await, 200);
    assert_eq!(spent(world.key, NOON - Duration::days(9)).await, 300);
    let other = world.new_key(world.account, None).await;
    assert_eq!(spent(other, NOON - Duration::days(9)).await, 0);
}

/// The difference is the balance.
pub async fn credits_are_what_came_in_and_went_out(world: World) {
    world.top_up(700).await;
    world.top_up(300).await;
    world.lease_and_settle(50, 40).await;
    let totals = world.ports.reports.credits(world.account).await.unwrap();
    assert_eq!(totals.credited, Nanos::new(1000));
    assert_eq!(totals.charged, Nanos::new(40));
    assert_eq!(totals.balance, Nanos::new(960));
    let nobody = world
        .ports
        .reports
        .credits(AccountId::new(9_999))
        .await
        .unwrap();
    assert_eq!(nobody.credited, Nanos::ZERO);
}

/// Its legs stay together.
pub async fn the_journal_is_paged_by_transaction(world: World) {
    world.top_up(1000).await;
    world.ports.clock.advance(Duration::seconds(1));
    world.lease_and_settle(100, 150).await;
    let ledger = |before| world.ports.reports.ledger(world.account, before, 1);
    let newest = ledger(None).await.unwrap();
    let legs: Vec<_> = newest.iter().map(|l| (l.code, l.amount.get())).collect();
    let (paid, revenue) = (LedgerCode::WalletPaid, LedgerCode::RevenueUsage);
    assert_eq!(legs, [(paid, 150), (revenue, -150)]);
    assert!(newest.iter().all(|l| l.kind == LedgerKind::Settlement));
    let first = ledger(Some(newest[0].txn)).await.unwrap();
    assert_eq!(first.len(), 2);
    assert!(
        first
            .iter()
            .all(|l| l.kind == LedgerKind::TopUp && l.note == "thanks")
    );
    assert_eq!(first[0].booked_at, NOON);
    assert_eq!(ledger(Some(first[0].txn)).await.unwrap(), []);
}
