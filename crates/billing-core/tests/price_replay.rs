//! Past calls under other prices: both sides are sums over the same calls, windows closed on both.
#![expect(clippy::unwrap_used, reason = "a test may fall over")]

use std::sync::Arc;

use billing_core::budget::Amount;
use billing_core::call::UsageSource;
use billing_core::charge_model::{Percent, Quantity, Tier, Tiers};
use billing_core::id::{AccountId, CallId, KeyId, PriceVersionId, TierScheduleId};
use billing_core::meter::{Meter, Usage};
use billing_core::money::{Currency, Nanos};
use billing_core::port::reports::CallDetail;
use billing_core::price::{ModelName, PriceVersion, Rate, ServiceTier};
use billing_core::price_book::{ModelFacts, PriceBook, PricedModel};
use billing_core::price_replay::{Replay, ReplayReport, Replayed};
use billing_core::reach::{Audience, Buyer, ModelScope, Reach};
use billing_core::terms::{RatingRecord, TierRecord};
use billing_core::tier_schedule::{
    Measure, TierPrice, TierPricing, TierSchedule, TierTerms, TierWindow,
};
use billing_core::zone::Zone;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const MONDAY: OffsetDateTime = datetime!(2026-11-02 00:00 UTC);
const TOMORROW: OffsetDateTime = datetime!(2026-12-01 00:00 UTC);
const SCHEDULE: TierScheduleId = TierScheduleId::new(1);
const BUYER: Buyer = Buyer {
    account: AccountId::new(1),
    plan: None,
    discount: None,
};

/// A model at a nano a token, and from tomorrow on at two.
fn book() -> PriceBook {
    let version = |(id, from, price): (i64, OffsetDateTime, &str)| {
        let rate = Rate {
            meter: Meter::Output,
            tier: ServiceTier::Standard,
            above: None,
            price: price.parse().unwrap(),
        };
        let (id, model) = (PriceVersionId::new(id), ModelName::new("m"));
        Arc::new(PriceVersion::new(id, model, Currency::USD, from, vec![rate]).unwrap())
    };
    let epoch = OffsetDateTime::UNIX_EPOCH;
    let versions = [(1, epoch, "0.000000001"), (2, TOMORROW, "0.000000002")].map(version);
    let facts = ModelFacts {
        provider: "p".to_owned(),
        mode: "chat".to_owned(),
        max_input_tokens: None,
        max_output_tokens: None,
    };
    PriceBook::new([PricedModel::new(
        ModelName::new("m"),
        facts,
        versions.into(),
    )])
}

/// Half off everything in a month in which more than a hundred tokens are used.
fn by_volume() -> TierSchedule {
    let discount = |percent| TierPrice::Discount(Percent::whole(percent));
    let tiers = vec![
        Tier::up_to(Quantity::whole(100), discount(0)),
        Tier::open(discount(50)),
    ];
    let terms = TierTerms {
        currency: Currency::USD,
        measure: Measure::Tokens,
        window: TierWindow::Month,
        zone: Zone::utc(),
        pricing: TierPricing::Volume(Tiers::new(tiers).unwrap()),
        minimum: None,
    };
    terms.check().unwrap();
    TierSchedule {
        id: SCHEDULE,
        reach: Reach {
            audience: Audience::Everyone,
            models: ModelScope::All,
        },
        terms: Some(Arc::new(terms)),
        effective_from: OffsetDateTime::UNIX_EPOCH,
    }
}

/// A call of so many tokens at list price, an hour after the one before it.
fn call(number: i64, tokens: u64) -> CallDetail {
    let price = Amount::new(tokens).money();
    CallDetail {
        id: CallId::new(number),
        account: BUYER.account,
        key: KeyId::new(1),
        endpoint: String::new(),
        model: "m".to_owned(),
        channel: String::new(),
        outcome: String::new(),
        streamed: false,
        status: 200,
        usage: Usage::NONE.with(Meter::Output, tokens),
        source: Some(UsageSource::Provider),
        tier: ServiceTier::Standard,
        price_version: PriceVersionId::new(1),
        rating: RatingRecord::default(),
        plan: None,
        cost: Some(price),
        held: price,
        charge: price,
        overrun: Nanos::ZERO,
        covered: None,
        used: Vec::new(),
        quarantined: false,
        on_credit: Nanos::ZERO,
        draws: Vec::new(),
        balance_after: Nanos::ZERO,
        ledger_txn: None,
        started_at: MONDAY + Duration::hours(number),
        settled_at: MONDAY + Duration::hours(number),
        first_byte_ms: None,
        latency_ms: 1,
        upstream_id: None,
        finish_reason: None,
        attempts: Vec::new(),
    }
}

fn in_window(call: CallDetail, position: u64) -> CallDetail {
    let window_start = datetime!(2026-11-01 00:00 UTC).unix_timestamp();
    let tiers = Some(TierRecord {
        schedule: SCHEDULE,
        window_start,
        position: Amount::new(position),
    });
    let rating = RatingRecord {
        tiers,
        ..RatingRecord::default()
    };
    CallDetail { rating, ..call }
}

fn replayed(book: &PriceBook, from: OffsetDateTime, calls: &[CallDetail]) -> ReplayReport {
    let mut replay = Replay::new(book, from, Currency::USD);
    for call in calls {
        replay.call(&BUYER, call, Nanos::ZERO);
    }
    replay.report()
}

#[test]
fn a_later_price_changes_what_comes_after_and_nothing_before() {
    let mut void = call(3, 0);
    (void.source, void.cost) = (None, None);
    let mut unknown = call(4, 10);
    unknown.model = "unknown".to_owned();
    let report = replayed(
        &book(),
        TOMORROW,
        &[call(1, 70), call(2, 30), void, unknown],
    );
    let sums = Replayed {
        calls: 3,
        unpriced: 0,
        revenue: [100, 200],
        cost: [100, 200],
    };
    assert_eq!(report.by_model["m"], sums);
    assert_eq!(report.by_model["unknown"].unpriced, 1);
    let all = Replayed {
        calls: 4,
        unpriced: 1,
        revenue: [110, 200],
        cost: [110, 200],
    };
    assert_eq!(
        (report.total, report.by_account[&BUYER.account]),
        (all, all)
    );
    assert_eq!(report.true_ups, [0, 0]);
}

#[test]
fn prices_by_volume_are_trued_up_on_both_sides() {
    let book = book().with_tiers([by_volume()]);
    let calls = [in_window(call(1, 70), 0), in_window(call(2, 50), 70)];
    let report = replayed(&book, MONDAY, &calls);
    // The same prices: what closing gives back is as much as it was.
    assert_eq!(report.true_ups, [-60, -60]);
    assert_eq!(report.total.revenue, [60, 60]);
    // The models have what their calls paid at first.
    assert_eq!(report.by_model["m"].revenue, [120, 120]);
    // Calls that were in no tiers had nothing to close.
    let report = replayed(&book, MONDAY, &[call(1, 70), call(2, 50)]);
    assert_eq!(report.true_ups, [0, -60]);
    assert_eq!(report.total.revenue, [120, 60]);
}

#[test]
fn what_the_house_bore_it_would_bear_again() {
    let mut short = call(1, 70);
    (short.charge, short.overrun) = (Nanos::new(50), Nanos::new(20));
    let report = replayed(&book(), MONDAY, &[short.clone()]);
    assert_eq!(report.total.revenue, [50, 50]);
    let book = book().with_tiers([by_volume()]);
    let calls = [in_window(short, 0), in_window(call(2, 50), 70)];
    let report = replayed(&book, MONDAY, &calls);
    // All of it costs 60. Of the 120 only 100 were paid, so 40 go back.
    assert_eq!(report.true_ups, [-40, -40]);
    assert_eq!(report.total.revenue, [60, 60]);
}

#[test]
fn what_was_is_what_the_books_have_corrections_and_minimums_in_part_included() {
    let mut schedule = by_volume();
    let terms = schedule.terms.take().unwrap();
    let minimum = Some(Nanos::new(3_000));
    schedule.terms = Some(Arc::new(TierTerms {
        minimum,
        ..(*terms).clone()
    }));
    // In force for the last day of thirty.
    schedule.effective_from = datetime!(2026-11-30 00:00 UTC);
    let book = book().with_tiers([schedule]);
    let mut replay = Replay::new(&book, TOMORROW - Duration::HOUR, Currency::USD);
    replay.call(&BUYER, &in_window(call(1, 70), 0), Nanos::new(-20));
    let report = replay.report();
    assert_eq!(report.true_ups, [50, 2_930]);
    assert_eq!(report.total.revenue, [100, 3_000]);
}

#[test]
fn what_is_in_another_currency_is_in_no_sum() {
    let book = book();
    let mut replay = Replay::new(&book, MONDAY, Currency::parse("EUR").unwrap());
    replay.call(&BUYER, &call(1, 70), Nanos::ZERO);
    let report = replay.report();
    assert_eq!(report.total.revenue, [70, 0]);
    assert_eq!(report.total.cost, [0, 0]);
    assert_eq!(report.total.unpriced, 1);
}
