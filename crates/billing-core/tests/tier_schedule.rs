//! Prices that fall with use: however calls split what was used and in whatever order they come,
//! together they cost the closed form, and no hold is too small.
#![expect(clippy::unwrap_used, reason = "a test may fall over")]

use std::sync::Arc;

use billing_core::budget::Amount;
use billing_core::charge::{Charge, charge};
use billing_core::charge_model::{Package, Percent, Quantity, Rounding, Tier, Tiers};
use billing_core::id::{AccountId, PriceVersionId, TierScheduleId};
use billing_core::meter::{Meter, Usage};
use billing_core::money::{Currency, Exact, Nanos};
use billing_core::price::{
    Circumstances, Foreseen, ModelName, PriceVersion, Rate, ServiceTier, UnitPrice,
};
use billing_core::reach::{Audience, Reach, Rules};
use billing_core::terms::{InTiers, Terms};
use billing_core::tier_schedule::{
    CALLS_MEANWHILE, Close, Measure, TierPrice, TierPricing, TierSchedule, TierTerms, TierWindow,
};
use billing_core::zone::Zone;
use proptest::prelude::*;
use time::OffsetDateTime;
use time::macros::datetime;

const EPOCH: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
const NANO: i128 = 1_000_000_000_000_000_000;

fn rate(meter: Meter, price: &str) -> Rate {
    Rate {
        meter,
        tier: ServiceTier::Standard,
        above: None,
        price: price.parse().unwrap(),
    }
}

/// A nano for each token of output and two for each of input.
fn price() -> Arc<PriceVersion> {
    let rates = vec![
        rate(Meter::Input, "0.000000002"),
        rate(Meter::Output, "0.000000001"),
    ];
    let (id, model) = (PriceVersionId::new(1), ModelName::new("m"));
    Arc::new(PriceVersion::new(id, model, Currency::USD, EPOCH, rates).unwrap())
}

fn terms(measure: Measure, pricing: TierPricing, known: u64) -> Terms {
    let terms = TierTerms {
        currency: Currency::USD,
        measure,
        window: TierWindow::Month,
        zone: Zone::utc(),
        pricing,
        minimum: None,
    };
    terms.check().unwrap();
    Terms::listed(price()).in_tiers(Some(InTiers {
        schedule: TierScheduleId::new(1),
        terms: Arc::new(terms),
        window_start: 0,
        known: Amount::new(known),
    }))
}

fn charged(terms: &Terms, output: u64, position: u64) -> Charge {
    let usage = Usage::NONE.with(Meter::Output, output);
    let at = Circumstances::new(ServiceTier::Standard, EPOCH);
    charge(&usage, terms, &at, Amount::new(position)).unwrap()
}

/// Tiers of so many tokens each, with a percentage off and a fee in nanos for each.
fn tiers(widths: &[u64], percents: &[u32], fees: &[u64]) -> Tiers<TierPrice> {
    let mut end = 0;
    let ends = widths.iter().map(|width| {
        end += width;
        Some(end)
    });
    let ends: Vec<Option<u64>> = ends.chain([None]).collect();
    let tiers = ends
        .iter()
        .zip(percents)
        .zip(fees)
        .map(|((end, percent), fee)| {
            let price = TierPrice::Discount(Percent::whole(*percent));
            let tier = match end {
                Some(end) => Tier::up_to(Quantity::whole(*end), price),
                None => Tier::open(price),
            };
            tier.with_flat(Exact::new(i128::from(*fee) * NANO))
        });
    Tiers::new(tiers.collect()).unwrap()
}

/// What so much costs in all, tier by tier, in 10⁻²⁷.
fn closed_form(widths: &[u64], percents: &[u32], fees: &[u64], total: u64) -> i128 {
    let mut left = total;
    let mut sum = 0;
    for (place, percent) in percents.iter().enumerate() {
        if left == 0 {
            break;
        }
        let within = widths.get(place).map_or(left, |width| left.min(*width));
        left -= within;
        sum += i128::from(within) * NANO / 100 * i128::from(100 - percent);
        sum += i128::from(fees[place]) * NANO;
    }
    sum
}

fn widths() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(1_u64..500, 4)
}

fn percents() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0_u32..=100, 5)
}

fn fees() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(0_u64..50, 5)
}

fn calls() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(0_u64..700, 1..12)
}

/// What a tier says: more or less than the list, or something else altogether.
fn said(measure: Measure) -> impl Strategy<Value = TierPrice> {
    let price = |thousandths: u32| format!("0.000000{thousandths:06}");
    let discount = (0_u32..=100).prop_map(|percent| TierPrice::Discount(Percent::whole(percent)));
    let meters = prop::sample::subsequence(vec![Meter::Input, Meter::Output], 1..=2);
    let rates = (meters, 1_u32..9_000).prop_map(move |(meters, thousandths)| {
        let rates = meters.into_iter();
        TierPrice::Rates(
            rates
                .map(|meter| rate(meter, &price(thousandths)))
                .collect(),
        )
    });
    let per_unit = (1_u32..900_000).prop_map(move |thousandths| {
        // A call costs more than a token.
        TierPrice::PerUnit(price(thousandths).parse().unwrap())
    });
    if measure == Measure::Spend {
        prop_oneof![discount, rates].boxed()
    } else {
        prop_oneof![discount, rates, per_unit].boxed()
    }
}

fn priced() -> impl Strategy<Value = (Measure, TierPricing)> {
    let measures = [Measure::Calls, Measure::Tokens, Measure::Spend];
    prop::sample::select(measures.to_vec()).prop_flat_map(|measure| {
        let tiers = (
            widths(),
            prop::collection::vec((said(measure), 0_u64..50), 5),
        );
        let graduated = tiers.prop_map(move |(widths, said)| {
            let mut end = 0;
            let ends = widths.into_iter().map(|width| {
                end += width;
                Some(end)
            });
            let ends: Vec<Option<u64>> = ends.chain([None]).collect();
            let tiers = ends.into_iter().zip(said).map(|(end, (price, fee))| {
                let tier = match (end, measure) {
                    (None, _) => Tier::open(price),
                    (Some(end), Measure::Spend) => {
                        Tier::up_to(Quantity::of_money(Amount::new(end).money()), price)
                    }
                    (Some(end), Measure::Calls | Measure::Tokens) => {
                        Tier::up_to(Quantity::whole(end), price)
                    }
                };
                tier.with_flat(Exact::new(i128::from(fee) * NANO))
            });
            TierPricing::Graduated(Tiers::new(tiers.collect()).unwrap())
        });
        let package = (
            1_u64..400,
            0_u64..90,
            1_u32..900,
            any::<bool>(),
            any::<bool>(),
        );
        let package = package.prop_map(|(size, free, nanos, is_per_call, is_down)| {
            let price = format!("0.{nanos:09}").parse().unwrap();
            let package = Package::new(Quantity::whole(size), price).unwrap();
            let rounding = if is_down {
                Rounding::Down
            } else {
                Rounding::Up
            };
            let package = package.with_free(Quantity::whole(free)).rounded(rounding);
            if is_per_call {
                TierPricing::PerCall(package)
            } else {
                TierPricing::Package(package)
            }
        });
        let pricing = match measure {
            Measure::Spend => graduated.boxed(),
            Measure::Calls | Measure::Tokens => prop_oneof![3 => graduated, 1 => package].boxed(),
        };
        pricing.prop_map(move |pricing| (measure, pricing))
    })
}

proptest! {
    /// By tokens and by spend, which are the same here: a token costs a nano.
    #[test]
    fn calls_together_cost_the_closed_form(
        widths in widths(), percents in percents(), fees in fees(), calls in calls(),
        by_spend in any::<bool>(),
    ) {
        let measure = if by_spend { Measure::Spend } else { Measure::Tokens };
        let tiers = tiers(&widths, &percents, &fees);
        // Thresholds of spend are in the major unit, of which a nano is the billionth.
        let tiers = if by_spend { in_major_units(&tiers) } else { tiers };
        let terms = terms(measure, TierPricing::Graduated(tiers), 0);
        for calls in [calls.clone(), calls.iter().rev().copied().collect()] {
            let (mut position, mut sum) = (0, 0);
            for tokens in calls {
                let charge = charged(&terms, tokens, position);
                let tiered = charge.tiers.clone().unwrap();
                prop_assert_eq!(tiered.exact().unwrap(), charge.exact);
                prop_assert_eq!(tiered.counted, Amount::new(tokens));
                prop_assert!(charge.exact >= Exact::ZERO);
                position += tokens;
                sum += charge.exact.get();
            }
            prop_assert_eq!(sum, closed_form(&widths, &percents, &fees, position));
        }
    }

    /// Wherever a call will stand that is authorized after so much was known to be used, and whose
    /// like are not settled more than a hundred times meanwhile.
    #[test]
    fn no_hold_is_too_small(
        widths in widths(), percents in percents(), fees in fees(),
        known in 0_u64..3_000, later in 0_u64..3_000, ceiling in 0_u64..700, used in 0_u64..700,
    ) {
        let graduated = TierPricing::Graduated(tiers(&widths, &percents, &fees));
        let terms = terms(Measure::Tokens, graduated, known);
        let most = Usage::NONE.with(Meter::Output, ceiling);
        let held = terms.worst_case(&most, &Foreseen::new(&[], EPOCH)).unwrap();
        let later = later.min(CALLS_MEANWHILE * ceiling);
        let due = charged(&terms, used.min(ceiling), known + later).amount;
        prop_assert!(due <= held, "{due} of {held}");
    }

    /// Whatever is counted, whatever the tiers say, and whichever tier is the dearest.
    #[test]
    fn no_hold_is_too_small_whatever_is_counted_and_said(
        (measure, pricing) in priced(),
        (known, later) in (0_u64..3_000, 0_u64..3_000),
        (input, output) in (0_u64..700, 0_u64..700), (read, written) in (0_u64..=100, 0_u64..=100),
    ) {
        let terms = terms(measure, pricing, known);
        let ceiling = Usage::NONE.with(Meter::Input, input).with(Meter::Output, output);
        let held = terms.worst_case(&ceiling, &Foreseen::new(&[], EPOCH)).unwrap();
        let used = Usage::NONE
            .with(Meter::Input, input * read / 100)
            .with(Meter::Output, output * written / 100);
        let at = Circumstances::new(ServiceTier::Standard, EPOCH);
        let most = match measure {
            Measure::Calls => 1,
            Measure::Tokens => input + output,
            // Two nanos for a token of input, or one of what it may become; one for one of output.
            Measure::Spend => 2 * input + output,
        };
        let later = later.min(CALLS_MEANWHILE * most);
        let due = charge(&used, &terms, &at, Amount::new(known + later)).unwrap().amount;
        prop_assert!(due <= held, "{due} of {held}");
    }

    /// A fee that is far off keeps nobody from calling; one that is near is held.
    #[test]
    fn a_fee_is_held_once_a_hundred_calls_would_reach_its_tier(
        (size, ceiling) in (1_u64..1_000, 1_u64..1_000), known in 0_u64..200_000,
    ) {
        let begin = 100_000 + size;
        let tiers = tiers(&[begin], &[0, 0], &[0, 1_000_000]);
        let terms = terms(Measure::Tokens, TierPricing::Graduated(tiers), known);
        let most = Usage::NONE.with(Meter::Output, ceiling);
        let held = terms.worst_case(&most, &Foreseen::new(&[], EPOCH)).unwrap();
        let is_near = (known..=known + CALLS_MEANWHILE * ceiling).contains(&begin);
        let fee = if is_near { 1_000_000 } else { 0 };
        prop_assert_eq!(u64::try_from(held.get()).unwrap(), ceiling + fee);
    }

    /// By volume the list price until the window is over, and then what the reached tier says.
    #[test]
    fn a_window_by_volume_is_trued_up_to_its_tier(
        widths in widths(), percents in percents(), fees in fees(), calls in calls(),
    ) {
        let tiers = tiers(&widths, &percents, &fees);
        let total: u64 = calls.iter().sum();
        let reached = tiers.reached_by(Quantity::whole(total));
        let terms = terms(Measure::Tokens, TierPricing::Volume(tiers), 0);
        let (mut position, mut sum) = (0, 0);
        for tokens in calls {
            let charge = charged(&terms, tokens, position);
            prop_assert!(charge.tiers.as_ref().unwrap().is_provisional);
            position += tokens;
            sum += charge.amount.get();
        }
        prop_assert_eq!(u64::try_from(sum).unwrap(), total);
        let window = Close {
            overrun: Amount::ZERO,
            adjusted: Nanos::ZERO,
            used: Amount::new(total),
            charged: Amount::new(total),
            trued_up: Nanos::ZERO,
        };
        let closed = terms.tiers.as_ref().unwrap().terms.close(&window).unwrap();
        let whole = i128::from(total) * NANO / 100 * i128::from(100 - percents[reached]);
        let fee = if total == 0 { 0 } else { i128::from(fees[reached]) * NANO };
        let total = Exact::new(whole + fee).settle().unwrap();
        prop_assert_eq!(closed.total, total);
        prop_assert_eq!(closed.true_up, total.minus(Nanos::new(sum)).unwrap());
        // Closed again, with what was booked, nothing is left.
        let again = Close { trued_up: closed.true_up, ..window };
        let again = terms.tiers.as_ref().unwrap().terms.close(&again).unwrap();
        prop_assert_eq!(again.true_up, Nanos::ZERO);
    }
}

fn in_major_units(tiers: &Tiers<TierPrice>) -> Tiers<TierPrice> {
    let tiers = tiers.all().iter().map(|tier| Tier {
        up_to: tier.up_to.map(|end| {
            let nanos = i64::try_from(end.units().unwrap()).unwrap();
            Quantity::of_money(Nanos::new(nanos))
        }),
        ..tier.clone()
    });
    Tiers::new(tiers.collect()).unwrap()
}

#[test]
fn own_rates_and_unit_prices_stand_instead_of_the_list() {
    let own = vec![rate(Meter::Output, "0.0000000005")];
    let unit: UnitPrice = "0.000000003".parse().unwrap();
    let tiers = vec![
        Tier::up_to(Quantity::whole(10), TierPrice::Rates(own)),
        Tier::open(TierPrice::PerUnit(unit)),
    ];
    let pricing = TierPricing::Graduated(Tiers::new(tiers).unwrap());
    let terms = terms(Measure::Tokens, pricing, 0);
    assert_eq!(charged(&terms, 10, 0).amount, Nanos::new(5));
    assert_eq!(charged(&terms, 10, 10).amount, Nanos::new(30));
    // Half of the call in each.
    assert_eq!(charged(&terms, 20, 0).amount, Nanos::new(35));
    assert_eq!(charged(&terms, 20, 0).tiers.unwrap().lines.len(), 2);
}

#[test]
fn what_is_not_counted_stands_where_the_next_unit_would() {
    let tiers = tiers(&[10], &[0, 50], &[0, 0]);
    let terms = terms(Measure::Tokens, TierPricing::Graduated(tiers), 0);
    for (position, tier) in [(0, 1), (9, 1), (10, 2)] {
        let lines = charged(&terms, 0, position).tiers.unwrap().lines;
        assert_eq!(lines.len(), 1);
        let number = match &lines[0].step {
            billing_core::tier_schedule::TierStep::Tier { number, .. } => *number,
            billing_core::tier_schedule::TierStep::Packages { .. } => 0,
        };
        assert_eq!(number, tier, "{position}");
    }
}

/// A minimum is owed in each window that the schedule was in force in, for as much of it as it was,
/// whether or not anything was used.
#[test]
fn a_minimum_is_owed_in_every_window_and_for_the_time_it_was_agreed_for() {
    let account = AccountId::new(7);
    let terms = |minimum| TierTerms {
        currency: Currency::USD,
        measure: Measure::Tokens,
        window: TierWindow::Month,
        zone: Zone::utc(),
        pricing: TierPricing::Volume(
            Tiers::new(vec![Tier::open(TierPrice::Discount(Percent::whole(0)))]).unwrap(),
        ),
        minimum: Some(Nanos::new(minimum)),
    };
    let schedule = |id, from, terms: Option<TierTerms>| TierSchedule {
        id: TierScheduleId::new(id),
        reach: Reach {
            audience: Audience::Account(account),
            models: "*".parse().unwrap(),
        },
        terms: terms.map(Arc::new),
        effective_from: from,
    };
    let first = schedule(1, datetime!(2026-01-16 12:00 UTC), Some(terms(3_100)));
    let last = schedule(2, datetime!(2026-04-11 00:00 UTC), None);
    let rules = Rules::new([first.clone(), last.clone()]);
    let in_force = rules.in_force(&first);
    assert_eq!(in_force.end, last.effective_from);
    assert_eq!(first.committed(), Some(account));
    let months = [
        datetime!(2026-01-01 00:00 UTC),
        datetime!(2026-02-01 00:00 UTC),
        datetime!(2026-03-01 00:00 UTC),
        datetime!(2026-04-01 00:00 UTC),
    ]
    .map(OffsetDateTime::unix_timestamp);
    let over = |known, now| first.windows_over(in_force, known, now);
    assert_eq!(over(None, datetime!(2026-01-31 23:59 UTC)), []);
    assert_eq!(over(None, datetime!(2026-03-02 00:00 UTC)), months[..2]);
    assert_eq!(over(None, datetime!(2027-03-02 00:00 UTC)), months);
    let later = datetime!(2027-03-02 00:00 UTC);
    assert_eq!(over(Some(months[1]), later), months[2..]);
    let unused = Close {
        used: Amount::ZERO,
        charged: Amount::ZERO,
        overrun: Amount::ZERO,
        adjusted: Nanos::ZERO,
        trued_up: Nanos::ZERO,
    };
    let owed = |start| {
        first
            .close(in_force, start, &unused)
            .unwrap()
            .unwrap()
            .true_up
            .get()
    };
    // 15.5 of 31 days, whole months, 10 of 30 days.
    assert_eq!(months.map(owed), [1_550, 3_100, 3_100, 1_033]);
    let used = Close {
        charged: Amount::new(1_000),
        ..unused
    };
    let rest = first.close(in_force, months[3], &used).unwrap().unwrap();
    assert_eq!(rest.true_up.get(), 33);
}
