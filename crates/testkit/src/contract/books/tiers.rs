//! Rules of the books for prices that fall with use, and that differ from what the house pays.

use std::sync::Arc;

use billing_core::adjustment::{Adjustment, CallPart};
use billing_core::budget::{Amount, BudgetScope, BudgetUnit};
use billing_core::call::{Basis, Settlement};
use billing_core::charge_model::{Percent, Quantity, Tier, Tiers};
use billing_core::id::{AccountId, LotId, SaleRuleId, TierScheduleId};
use billing_core::money::{Currency, Nanos};
use billing_core::port::books::OpenWindow;
use billing_core::port::catalogue::PriceEdition;
use billing_core::port::reports::CallFilter;
use billing_core::reach::{Audience, Reach};
use billing_core::sale::{SalePrice, SaleRule};
use billing_core::terms::{InTiers, Terms};
use billing_core::tier_schedule::{
    Measure, TierPrice, TierPricing, TierSchedule, TierTerms, TierWindow,
};
use billing_core::wallet::LotKind;
use billing_core::zone::Zone;
use time::OffsetDateTime;

use super::{WALLET, settle_at_once};
use crate::World;
use crate::world::NOON;

fn reach() -> Reach {
    Reach {
        audience: Audience::Everyone,
        models: "*".parse().unwrap(),
    }
}

fn discount(percent: u32) -> TierPrice {
    TierPrice::Discount(Percent::whole(percent))
}

/// A schedule over the tokens of a month, on record.
async fn schedule(world: &World, pricing: TierPricing) -> TierSchedule {
    schedule_with(world, pricing, None).await
}

async fn schedule_with(
    world: &World,
    pricing: TierPricing,
    minimum: Option<Nanos>,
) -> TierSchedule {
    let terms = TierTerms {
        currency: Currency::USD,
        measure: Measure::Tokens,
        window: TierWindow::Month,
        zone: Zone::utc(),
        pricing,
        minimum,
    };
    terms.check().unwrap();
    let schedule = TierSchedule {
        id: TierScheduleId::new(world.number()),
        reach: reach(),
        terms: Some(Arc::new(terms)),
        effective_from: NOON,
    };
    let edition = PriceEdition {
        tiers: vec![schedule.clone()],
        ..PriceEdition::default()
    };
    let catalogue = &world.ports.catalogue;
    catalogue.record(edition, NOON).await.unwrap();
    let book = catalogue.price_book().await.unwrap();
    let kept = book.tiers().get(schedule.id.get()).unwrap();
    assert_eq!(**kept, schedule);
    schedule
}

/// Ten percent off above a hundred tokens, half off above two hundred.
fn graduated() -> TierPricing {
    let tiers = vec![
        Tier::up_to(Quantity::whole(100), discount(0)),
        Tier::up_to(Quantity::whole(200), discount(10)),
        Tier::open(discount(50)),
    ];
    TierPricing::Graduated(Tiers::new(tiers).unwrap())
}

/// Half off everything above a hundred tokens in all.
fn by_volume() -> TierPricing {
    let tiers = vec![
        Tier::up_to(Quantity::whole(100), discount(0)),
        Tier::open(discount(50)),
    ];
    TierPricing::Volume(Tiers::new(tiers).unwrap())
}

fn in_tiers(call: Settlement, schedule: &TierSchedule) -> Settlement {
    let window =
        |at: OffsetDateTime| -> Option<InTiers> { schedule.window(at, None, |_| Amount::ZERO) };
    let tiers = window(call.facts.started_at);
    let terms = call.terms.clone().in_tiers(tiers);
    Settlement { terms, ..call }
}

/// Each token above a threshold costs what the tier above it says, whatever call it is of.
pub async fn a_call_that_crosses_a_threshold_is_split_at_it(world: World) {
    let schedule = schedule(&world, graduated()).await;
    world.top_up(10_000).await;
    world.lease(WALLET, 5_000).await.unwrap();
    let mut costs = Vec::new();
    for tokens in [90, 30, 200] {
        let settled = world
            .settle(in_tiers(world.call(500, tokens), &schedule))
            .await;
        costs.push((
            settled.call.position.unwrap().get(),
            settled.call.charge.get(),
        ));
    }
    // 10 + 20 x 0.9; then 80 x 0.9 + 120 x 0.5.
    assert_eq!(costs, [(0, 90), (90, 28), (120, 132)]);
    let detail = world
        .ports
        .reports
        .calls(world.account, CallFilter::default(), None, 10);
    let positions = detail.await.unwrap();
    let positions: Vec<u64> = positions.iter().map(|call| call.position().get()).collect();
    assert_eq!(positions, [120, 90, 0]);
    world.assert_sound().await;
}

/// What the books counted can be looked up, scope by scope, and nobody else's.
pub async fn what_was_used_of_tiers_can_be_looked_up(world: World) {
    let schedule = schedule(&world, graduated()).await;
    world.top_up(10_000).await;
    world.lease(WALLET, 5_000).await.unwrap();
    let window = schedule.window(NOON, None, |_| Amount::ZERO).unwrap();
    let other = BudgetScope::Tier {
        schedule: schedule.id,
        unit: BudgetUnit::Tokens,
        window_start: window.window_start - 1,
    };
    let reports = &world.ports.reports;
    let scopes = [other, window.position()];
    let used = |account| reports.used(account, &scopes);
    assert_eq!(used(world.account).await.unwrap(), [Amount::ZERO; 2]);
    for tokens in [90, 30] {
        let call = in_tiers(world.call(500, tokens), &schedule);
        world.settle(call).await;
    }
    let now = used(world.account).await.unwrap();
    assert_eq!(now, [Amount::ZERO, Amount::new(120)]);
    let stranger = AccountId::new(9_999);
    assert_eq!(used(stranger).await.unwrap(), [Amount::ZERO; 2]);
    assert_eq!(reports.used(world.account, &[]).await.unwrap(), []);
}

/// Whichever is settled first, by whichever handle, together they cost what their sum costs.
pub async fn calls_that_race_over_thresholds_cost_the_closed_form(world: World) {
    const CALLS: u64 = 48;
    const TOKENS: u64 = 1_700;
    // Every thousand tokens another price, so that every call crosses a threshold or two, and lies
    // anywhere between them.
    let tiers = (1..=CALLS * 2).map(|n| {
        let percent = u32::try_from(n % 2 * 10).unwrap();
        Tier::up_to(Quantity::whole(n * 1000), discount(percent))
    });
    let tiers: Vec<_> = tiers.chain([Tier::open(discount(50))]).collect();
    let pricing = TierPricing::Graduated(Tiers::new(tiers).unwrap());
    let schedule = schedule(&world, pricing).await;
    world.top_up(10_000_000).await;
    world.lease(WALLET, 5_000_000).await.unwrap();
    let call = |_| in_tiers(world.call(10_000, TOKENS), &schedule);
    let calls: Vec<_> = (0..CALLS).map(call).collect();
    let settled = settle_at_once(&world, calls).await;
    let charges = settled
        .into_iter()
        .map(|settled| settled.unwrap().call.charge.get());
    // Of every two thousand one at list price and one at nine tenths of it.
    let (all, price) = (CALLS * TOKENS, |n: u64| 10 - n % 2);
    let whole: u64 = (1..=all / 1_000).map(|n| 100 * price(n)).sum();
    let rest = all % 1_000 / 10 * price(all / 1_000 + 1);
    let total: i64 = charges.sum();
    assert_eq!(u64::try_from(total).unwrap(), whole + rest);
    world.assert_sound().await;
}

/// What the tiers make of it is known when the window is over, and not before.
pub async fn volume_pricing_charges_the_list_until_the_window_is_over(world: World) {
    let schedule = schedule(&world, by_volume()).await;
    world.top_up(10_000).await;
    world.lease(WALLET, 5_000).await.unwrap();
    for tokens in [90, 30] {
        let settled = world
            .settle(in_tiers(world.call(500, tokens), &schedule))
            .await;
        assert_eq!(settled.call.charge.get(), i64::try_from(tokens).unwrap());
    }
    world.assert_sound().await;
}

/// Once, and again for what is settled in it later.
pub async fn a_window_by_volume_is_closed_once_and_again_for_late_calls(world: World) {
    let schedule = schedule(&world, by_volume()).await;
    world.top_up(10_000).await;
    world.lease(WALLET, 500).await.unwrap();
    let close = async || {
        let open = world.books().open_windows(schedule.id, i64::MAX, 10);
        let open = open.await.unwrap();
        let [window] = &open[..] else {
            return (open.len(), 0);
        };
        let terms = schedule.terms.as_ref().unwrap();
        let closed = terms.close(&window.close).unwrap();
        let lot = LotId::new(world.number());
        let adjustment = window.adjustment(&closed, Currency::USD, lot);
        for _ in 0..2 {
            let done = world.books().close_window(window, adjustment.clone(), NOON);
            done.await.unwrap();
        }
        (open.len(), closed.true_up.get())
    };
    for tokens in [90, 30] {
        world
            .settle(in_tiers(world.call(500, tokens), &schedule))
            .await;
    }
    let none = world
        .books()
        .open_windows(schedule.id, 0, 10)
        .await
        .unwrap();
    assert_eq!(none, []);
    assert_eq!(close().await, (1, -60));
    assert_eq!(close().await, (0, 0));
    world.settle(in_tiers(world.call(500, 20), &schedule)).await;
    assert_eq!(close().await, (1, -10));
    assert_eq!(close().await, (0, 0));
    // Who looks at the window sees both, and nothing of other windows.
    let start = schedule.window(NOON, None, |_| Amount::ZERO).unwrap();
    let start = start.window_start;
    let booked = async |account, start| {
        let reports = &world.ports.reports;
        let booked = reports.window_adjustments(account, schedule.id, start);
        let booked = booked.await.unwrap().into_iter();
        booked
            .map(|line| (line.amount.get(), line.booked_at, line.note))
            .collect::<Vec<_>>()
    };
    let line = |amount| {
        let note = format!("{}: its window is over", schedule.id);
        (amount, NOON, note)
    };
    assert_eq!(booked(world.account, start).await, [-60, -10].map(line));
    assert_eq!(booked(world.account, start - 1).await, []);
    assert_eq!(booked(AccountId::new(9_999), start).await, []);
    assert_eq!(world.balance().await.0, 10_000 - 70);
    world.assert_sound().await;
}

/// Two read the window, a call is settled between, and the one that read it first closes it last.
pub async fn a_window_that_others_closed_meanwhile_is_left_to_them(world: World) {
    let schedule = schedule(&world, by_volume()).await;
    world.top_up(10_000).await;
    world.lease(WALLET, 500).await.unwrap();
    let read = async || {
        let open = world.books().open_windows(schedule.id, i64::MAX, 10);
        open.await.unwrap()
    };
    let close = async |window: &OpenWindow| {
        let terms = schedule.terms.as_ref().unwrap();
        let closed = terms.close(&window.close).unwrap();
        let lot = LotId::new(world.number());
        let adjustment = window.adjustment(&closed, Currency::USD, lot);
        let closed = world.books().close_window(window, adjustment, NOON);
        closed.await.unwrap()
    };
    // 90 at list price is what it comes to: nothing is booked.
    world.settle(in_tiers(world.call(500, 90), &schedule)).await;
    let first = read().await;
    world.settle(in_tiers(world.call(500, 30), &schedule)).await;
    let second = read().await;
    assert_eq!(close(&first[0]).await, None);
    // It comes to 60 less by now, but this reading is of before the other was closed.
    assert_eq!(close(&second[0]).await, None);
    assert_eq!(world.balance().await.0, 10_000 - 120);
    let third = read().await;
    assert!(close(&third[0]).await.is_some());
    assert_eq!(read().await, []);
    assert_eq!(world.balance().await.0, 10_000 - 60);
    world.assert_sound().await;
}

/// Reads the one window of a schedule that is open, closes it, and says what that charged.
async fn close_open(world: &World, schedule: &TierSchedule) -> Option<i64> {
    let open = world.books().open_windows(schedule.id, i64::MAX, 10);
    let open = open.await.unwrap();
    let [window] = &open[..] else {
        assert_eq!(open, []);
        return None;
    };
    let terms = schedule.terms.as_ref().unwrap();
    let closed = terms.close(&window.close).unwrap();
    let lot = LotId::new(world.number());
    let adjustment = window.adjustment(&closed, Currency::USD, lot);
    let adjustment = adjustment.map(|adjustment| Adjustment {
        takes_what_is_there: true,
        ..adjustment
    });
    let done = world.books().close_window(window, adjustment, NOON);
    done.await.unwrap();
    Some(closed.true_up.get())
}

/// A correction of a call changes what its window comes to, before and after it was closed.
pub async fn a_window_is_closed_with_what_its_calls_were_corrected_by(world: World) {
    let schedule = schedule(&world, by_volume()).await;
    world.top_up(10_000).await;
    world.lease(WALLET, 500).await.unwrap();
    let call = in_tiers(world.call(500, 200), &schedule);
    let window = (schedule.id, call.terms.tiers.as_ref().unwrap().window_start);
    let id = call.call;
    world.settle(call).await;
    let correct = async |amount, after| {
        let correction = Adjustment {
            key: format!("correct:{}", world.number()),
            amount: Nanos::new(amount),
            currency: Currency::USD,
            lot: LotId::new(world.number()),
            kind: LotKind::Paid,
            calls: vec![CallPart {
                call: id,
                amount: Nanos::new(amount),
                after,
                window: Some(window),
            }],
            note: String::new(),
            takes_what_is_there: true,
        };
        let corrected = world.books().adjust(world.account, correction, NOON);
        corrected.await.unwrap();
    };
    // Its price was 160 and not 200: half of that is due in all.
    correct(-40, 0).await;
    assert_eq!(close_open(&world, &schedule).await, Some(-80));
    assert_eq!(world.balance().await.0, 10_000 - 80);
    assert_eq!(close_open(&world, &schedule).await, None);
    // And 180 after all.
    correct(20, 1).await;
    assert_eq!(close_open(&world, &schedule).await, Some(-10));
    assert_eq!(world.balance().await.0, 10_000 - 90);
    world.assert_sound().await;
}

/// What the house bore of a call the account has not paid, so it does not get it back.
pub async fn what_the_house_bore_is_not_given_back_when_a_window_is_closed(world: World) {
    let schedule = schedule(&world, by_volume()).await;
    world.top_up(120).await;
    world.lease(WALLET, 120).await.unwrap();
    let settled = world
        .settle(in_tiers(world.call(120, 200), &schedule))
        .await;
    assert_eq!(
        (settled.call.charge.get(), settled.call.overrun.get()),
        (120, 80)
    );
    // Half of 200 is due, and 120 was paid.
    assert_eq!(close_open(&world, &schedule).await, Some(-20));
    assert_eq!(world.balance().await.0, 20);
    world.assert_sound().await;
}

/// Nor is it charged for it then.
pub async fn what_the_house_bore_is_not_charged_when_a_window_is_closed(world: World) {
    let schedule = schedule_with(&world, by_volume(), Some(Nanos::new(90))).await;
    world.top_up(70).await;
    world.lease(WALLET, 70).await.unwrap();
    let settled = world.settle(in_tiers(world.call(70, 80), &schedule)).await;
    assert_eq!(settled.call.overrun, Nanos::new(10));
    world.top_up(1_000).await;
    // Of the minimum of 90 the calls were 80, whoever paid them.
    assert_eq!(close_open(&world, &schedule).await, Some(10));
    assert_eq!(world.balance().await.0, 990);
    world.assert_sound().await;
}

/// What funds did not cover is due again as soon as there are any, whether or not anything else is
/// settled in the window.
pub async fn what_closing_could_not_collect_is_collected_when_there_are_funds(world: World) {
    let schedule = schedule_with(&world, by_volume(), Some(Nanos::new(50))).await;
    world.top_up(30).await;
    world.lease(WALLET, 30).await.unwrap();
    world.settle(in_tiers(world.call(10, 10), &schedule)).await;
    world.give_back(WALLET, 20).await;
    assert_eq!(close_open(&world, &schedule).await, Some(40));
    // There is nothing to take, so nothing is tried.
    assert_eq!(close_open(&world, &schedule).await, None);
    world.top_up(5).await;
    assert_eq!(close_open(&world, &schedule).await, Some(20));
    world.top_up(100).await;
    assert_eq!(close_open(&world, &schedule).await, Some(15));
    assert_eq!(world.balance().await.0, 85);
    assert_eq!(close_open(&world, &schedule).await, None);
    world.assert_sound().await;
}

/// What funds did not cover when a window was closed is not taken for paid later.
pub async fn what_closing_a_window_could_not_collect_is_still_due(world: World) {
    let schedule = schedule_with(&world, by_volume(), Some(Nanos::new(50))).await;
    world.top_up(30).await;
    world.lease(WALLET, 30).await.unwrap();
    world.settle(in_tiers(world.call(10, 10), &schedule)).await;
    world.give_back(WALLET, 20).await;
    assert_eq!(close_open(&world, &schedule).await, Some(40));
    assert_eq!(world.balance().await.0, 0);
    world.top_up(100).await;
    world.lease(WALLET, 5).await.unwrap();
    world.settle(in_tiers(world.call(5, 5), &schedule)).await;
    // 30 were paid and 5 more: 15 are left of the minimum.
    assert_eq!(close_open(&world, &schedule).await, Some(15));
    assert_eq!(world.balance().await.0, 80);
    world.assert_sound().await;
}

/// A minimum is owed for a window without a call, and noting one that has calls changes nothing.
pub async fn a_window_in_which_nothing_was_used_is_closed_when_it_is_noted(world: World) {
    let schedule = schedule(&world, by_volume()).await;
    world.top_up(10_000).await;
    world.lease(WALLET, 500).await.unwrap();
    world.settle(in_tiers(world.call(500, 90), &schedule)).await;
    let terms = schedule.terms.as_ref().unwrap();
    let used = terms.window_start(NOON, None);
    let starts = [used - 86_400 * 31, used];
    let (account, id) = (world.account, schedule.id);
    assert_eq!(world.books().last_closed(account, id).await.unwrap(), None);
    for _ in 0..2 {
        let noted = world.books().note_windows(account, &schedule, &starts);
        noted.await.unwrap();
    }
    let open = world.books().open_windows(id, i64::MAX, 10).await.unwrap();
    let found: Vec<_> = open
        .iter()
        .map(|window| (window.window_start, window.close.used.get()))
        .collect();
    assert_eq!(found, [(starts[0], 0), (starts[1], 90)]);
    world
        .books()
        .close_window(&open[0], None, NOON)
        .await
        .unwrap();
    let closed = world.books().last_closed(account, id).await.unwrap();
    assert_eq!(closed, Some(starts[0]));
    world.assert_sound().await;
}

/// Nothing was consumed, or nobody knows what was.
pub async fn a_void_or_disbelieved_call_counts_nothing(world: World) {
    let schedule = schedule(&world, graduated()).await;
    world.top_up(10_000).await;
    world.lease(WALLET, 5_000).await.unwrap();
    let mut void = in_tiers(world.call(500, 90), &schedule);
    void.basis = Basis::Void;
    let mut absurd = in_tiers(world.call(500, 90), &schedule);
    absurd.bounds.answer_tokens = 80;
    assert_eq!(world.settle(void).await.call.charge, Nanos::ZERO);
    assert!(world.settle(absurd).await.call.quarantined);
    let next = world.settle(in_tiers(world.call(500, 90), &schedule)).await;
    assert_eq!(next.call.position, Some(Amount::ZERO));
    world.assert_sound().await;
}

/// With it the margin of a call is known.
pub async fn what_a_call_costs_the_house_is_on_record(world: World) {
    let rule = SaleRule {
        id: SaleRuleId::new(world.number()),
        reach: reach(),
        price: SalePrice::Markup {
            factor: "1.5".parse().unwrap(),
            rates: Vec::new(),
        },
        effective_from: NOON,
    };
    let edition = PriceEdition {
        sales: vec![rule.clone()],
        ..PriceEdition::default()
    };
    world.ports.catalogue.record(edition, NOON).await.unwrap();
    world.top_up(10_000).await;
    world.lease(WALLET, 5_000).await.unwrap();
    let mut call = world.call(500, 100);
    call.terms = Terms::sold(Arc::clone(&world.price), Some(&rule), None).unwrap();
    let settled = world.settle(call.clone()).await;
    assert_eq!(settled.call.charge, Nanos::new(150));
    assert_eq!(settled.call.cost, Some(Nanos::new(100)));
    let found = world.ports.reports.call(world.account, call.call).await;
    let found = found.unwrap().unwrap();
    assert_eq!(found.cost, Some(Nanos::new(100)));
    assert_eq!(found.rating.rule, Some(rule.id));
    world.assert_sound().await;
}

/// What a plan took off is on record with the call, so that it can be rated again.
pub async fn what_a_plan_takes_off_is_on_record(world: World) {
    world.top_up(10_000).await;
    world.lease(WALLET, 5_000).await.unwrap();
    let mut call = world.call(500, 100);
    let off = "25".parse().unwrap();
    call.terms = Terms::sold(Arc::clone(&world.price), None, Some(off)).unwrap();
    let settled = world.settle(call.clone()).await;
    assert_eq!(settled.call.charge, Nanos::new(75));
    assert_eq!(settled.call.cost, Some(Nanos::new(100)));
    let found = world.ports.reports.call(world.account, call.call).await;
    let found = found.unwrap().unwrap();
    assert_eq!(
        (found.rating.rule, found.rating.discount),
        (None, Some(off))
    );
    world.assert_sound().await;
}
