//! The arithmetic of money, prices and rating holds for any numbers, not only for chosen ones.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at what should not have failed"
)]

use std::cmp::Reverse;
use std::collections::BTreeMap;

use billing_core::charge::{Charge, rate};
use billing_core::id::PriceVersionId;
use billing_core::meter::{Meter, Usage};
use billing_core::money::{Currency, Exact, Money, MoneyError, Nanos};
use billing_core::price::{
    Circumstances, ContextThreshold, Foreseen, ModelName, PriceVersion, Rate, RatingError,
    ServiceTier, UnitPrice,
};
use proptest::prelude::*;
use rust_decimal::Decimal;
use time::OffsetDateTime;

const EXACT_PER_NANO: i128 = 1_000_000_000_000_000_000;

/// A minimal case is printed, not kept in a file.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Amounts of any size, with the extremes often.
fn nanos() -> impl Strategy<Value = Nanos> {
    prop_oneof![
        4 => any::<i64>(),
        2 => -1_000_000_000_000_i64..1_000_000_000_000,
        1 => prop_oneof![Just(0), Just(1), Just(-1), Just(i64::MAX), Just(i64::MIN)],
    ]
    .prop_map(Nanos::new)
}

/// Exact amounts that fit nanos, often on or beside the half between two.
fn exact() -> impl Strategy<Value = Exact> {
    let beside = prop_oneof![Just(-1_i128), Just(0), Just(1)];
    let near_half = (-1_000_000_000_i128..1_000_000_000, beside)
        .prop_map(|(n, d)| n * EXACT_PER_NANO + EXACT_PER_NANO / 2 + d);
    let anywhere = -9_000_000_000_000_000_000_i128..9_000_000_000_000_000_000;
    let whole = (anywhere, 0..EXACT_PER_NANO).prop_map(|(n, rest)| n * EXACT_PER_NANO + rest);
    prop_oneof![near_half, whole].prop_map(Exact::new)
}

/// Prices from 10⁻²⁴ to about a thousand of the major unit, and free ones.
fn price() -> impl Strategy<Value = UnitPrice> {
    let stated = (1_i64..1_000_000_000, 6_u32..=24)
        .prop_map(|(mantissa, scale)| UnitPrice::per_unit(Decimal::new(mantissa, scale)).unwrap());
    prop_oneof![9 => stated, 1 => Just(UnitPrice::FREE)]
}

fn of(tier: ServiceTier) -> Circumstances {
    Circumstances::new(tier, OffsetDateTime::UNIX_EPOCH)
}

fn plainly() -> Circumstances {
    of(ServiceTier::Standard)
}

fn tier() -> impl Strategy<Value = ServiceTier> {
    prop::sample::select(ServiceTier::ALL)
}

fn meter() -> impl Strategy<Value = Meter> {
    prop::sample::select(Meter::ALL)
}

fn threshold() -> impl Strategy<Value = Option<ContextThreshold>> {
    let some = (1_u64..40_000, any::<bool>()).prop_map(|(prompt_tokens, inclusive)| {
        Some(ContextThreshold {
            prompt_tokens,
            inclusive,
        })
    });
    prop_oneof![2 => Just(None), 1 => some]
}

fn version(rates: Vec<Rate>) -> PriceVersion {
    // One rate for each place: the last one given.
    let places: BTreeMap<_, _> = rates
        .into_iter()
        .map(|r| ((r.meter, r.tier, Reverse(r.above)), r))
        .collect();
    let (id, from) = (PriceVersionId::new(1), OffsetDateTime::UNIX_EPOCH);
    let rates = places.into_values().collect();
    PriceVersion::new(id, ModelName::new("m"), Currency::USD, from, rates).unwrap()
}

const fn plain(meter: Meter, price: UnitPrice) -> Rate {
    Rate {
        meter,
        tier: ServiceTier::Standard,
        above: None,
        price,
    }
}

/// A version that prices some of the meters plainly: no tiers, no thresholds, no request.
fn plain_version() -> impl Strategy<Value = PriceVersion> {
    let rates = prop::collection::vec((meter(), price()), 0..12);
    (price(), price(), rates).prop_map(|(input, output, rates)| {
        let mut all = vec![plain(Meter::Input, input), plain(Meter::Output, output)];
        all.extend(rates.into_iter().map(|(m, p)| plain(m, p)));
        all.retain(|r| r.meter != Meter::Request);
        version(all)
    })
}

/// A version with tiers and thresholds; input and output always have a plain rate.
fn any_version() -> impl Strategy<Value = PriceVersion> {
    let classes = prop_oneof![
        3 => prop::sample::select(vec![
            Meter::Input,
            Meter::CacheRead,
            Meter::CacheWrite5m,
            Meter::Output,
            Meter::Reasoning,
        ]),
        1 => meter(),
    ];
    let one = (classes, tier(), threshold(), price());
    let rates = prop::collection::vec(one, 0..16);
    (price(), price(), rates).prop_map(|(input, output, rates)| {
        let mut all: Vec<Rate> = rates
            .into_iter()
            .map(|(meter, tier, above, price)| Rate {
                meter,
                tier,
                above,
                price,
            })
            .collect();
        all.push(plain(Meter::Input, input));
        all.push(plain(Meter::Output, output));
        version(all)
    })
}

/// Quantities of a few meters.
fn usage() -> impl Strategy<Value = Usage> {
    prop::collection::vec((meter(), 0_u64..2_000_000), 0..6).prop_map(|quantities| {
        let set = |usage: Usage, (meter, quantity)| usage.with(meter, quantity);
        quantities.into_iter().fold(Usage::NONE, set)
    })
}

/// The usage without the meters that a version does not price.
fn priced(usage: &Usage, price: &PriceVersion) -> Usage {
    let is_priced = |meter: Meter| price.under(usage, &plainly()).rate_for(meter).is_some();
    usage
        .iter()
        .filter(|(m, _)| is_priced(*m))
        .fold(Usage::NONE, |sum, (m, q)| sum.with(m, q))
}

fn standard(usage: &Usage, price: &PriceVersion) -> Charge {
    rate(usage, price, &plainly()).unwrap()
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn nanos_read_back_from_their_text(amount in nanos()) {
        prop_assert_eq!(Nanos::parse(&amount.to_string()), Ok(amount));
    }

    #[test]
    fn an_amount_of_more_than_nine_places_is_refused(
        amount in -1_000_000_000_i64..1_000_000_000,
        more in "(0{0,40}|[0-9]{0,40})[1-9]",
    ) {
        let text = format!("{}.{:09}{more}", amount / 7, amount.unsigned_abs());
        prop_assert!(matches!(Nanos::parse(&text), Err(MoneyError::Malformed(_))), "{}", text);
    }

    #[test]
    fn minus_undoes_plus(a in nanos(), b in nanos()) {
        match a.plus(b) {
            Ok(sum) => {
                prop_assert_eq!(sum.minus(b), Ok(a));
                prop_assert_eq!(sum.minus(a), Ok(b));
                prop_assert_eq!(b.plus(a), Ok(sum));
                prop_assert_eq!(i128::from(sum.get()), Nanos::total([a, b]));
            }
            Err(error) => {
                prop_assert_eq!(error, MoneyError::OutOfRange);
                prop_assert!(i64::try_from(Nanos::total([a, b])).is_err());
            }
        }
        prop_assert_eq!(Nanos::ZERO.minus(a), a.negated());
    }

    #[test]
    fn minor_units_are_the_nearest_half_away_from_zero(
        amount in -1_000_000_000_000_000_i64..1_000_000_000_000_000,
    ) {
        let minor = |currency| Money::new(Nanos::new(amount), currency).to_minor();
        let step = 10_000_000;
        let cents = minor(Currency::USD);
        let miss = i128::from(amount) - i128::from(cents) * step;
        prop_assert!(miss.abs() * 2 <= step);
        if miss.abs() * 2 == step {
            prop_assert!(miss.signum() != i128::from(amount.signum()));
        }
        let opposite = Money::new(Nanos::new(-amount), Currency::USD);
        prop_assert_eq!(opposite.to_minor(), -cents);
    }

    #[test]
    fn settling_misses_by_at_most_half_a_nano_and_a_half_goes_to_even(amount in exact()) {
        let settled = amount.settle().unwrap();
        let miss = amount.get() - i128::from(settled.get()) * EXACT_PER_NANO;
        prop_assert!(miss.abs() * 2 <= EXACT_PER_NANO);
        if miss.abs() * 2 == EXACT_PER_NANO {
            prop_assert_eq!(settled.get() % 2, 0);
        }
    }

    #[test]
    fn the_ceiling_is_the_least_that_covers_the_exact_and_the_settled(amount in exact()) {
        let ceiling = amount.ceiling().unwrap();
        let over = i128::from(ceiling.get()) * EXACT_PER_NANO - amount.get();
        prop_assert!((0..EXACT_PER_NANO).contains(&over));
        prop_assert!(ceiling >= amount.settle().unwrap());
    }

    #[test]
    fn settling_keeps_the_order(a in exact(), b in exact()) {
        let (low, high) = (a.min(b), a.max(b));
        prop_assert!(low.settle().unwrap() <= high.settle().unwrap());
        prop_assert!(low.ceiling().unwrap() <= high.ceiling().unwrap());
    }

    #[test]
    fn prices_read_back_from_their_text(price in price()) {
        prop_assert_eq!(price.to_string().parse::<UnitPrice>(), Ok(price));
        if !price.is_free() {
            let million: Decimal = price.per_million_text().parse().unwrap();
            prop_assert_eq!(UnitPrice::per_million(million), Ok(price));
        }
        let json = serde_json::to_string(&price).unwrap();
        prop_assert_eq!(serde_json::from_str::<UnitPrice>(&json).unwrap(), price);
    }

    #[test]
    fn a_price_of_a_quantity_is_their_product(
        price in price(), meter in meter(), quantity in 0_u64..10_000_000,
    ) {
        let amount = price.times(meter, quantity).unwrap();
        let steps = i128::from(meter.unit().steps_per_unit());
        let one = price.times(meter, meter.unit().steps_per_unit().into()).unwrap();
        prop_assert_eq!(amount.get() * steps, one.get() * i128::from(quantity));
    }

    #[test]
    fn a_charge_is_the_sum_of_its_lines(usage in usage(), price in any_version(), tier in tier()) {
        let usage = priced(&usage, &price);
        let Ok(charge) = rate(&usage, &price, &of(tier)) else { return Ok(()) };
        let sum: Exact = charge.lines.iter().map(|l| l.amount).sum();
        prop_assert_eq!(sum, charge.exact);
        prop_assert_eq!(charge.exact.settle(), Ok(charge.amount));
        prop_assert!(!charge.amount.is_negative());
        for line in &charge.lines {
            prop_assert_eq!(line.rate.price.times(line.meter, line.quantity), Ok(line.amount));
            if line.meter != Meter::Request {
                prop_assert_eq!(usage.get(line.meter), line.quantity);
                prop_assert_eq!(line.inherited, line.rate.meter != line.meter);
            }
        }
    }

    #[test]
    fn what_has_no_price_is_refused_and_the_rest_is_charged(
        usage in usage(), price in plain_version(),
    ) {
        let own = |m: Meter| price.under(&usage, &plainly()).rate_for(m);
        let billable: Vec<Meter> =
            usage.iter().map(|(m, _)| m).filter(|m| *m != Meter::Request).collect();
        let refused = billable.iter().any(|m| own(*m).is_none());
        match rate(&usage, &price, &plainly()) {
            Ok(charge) => {
                prop_assert!(!refused);
                prop_assert_eq!(charge.lines.len(), billable.len());
            }
            Err(error) => {
                prop_assert!(refused);
                let unpriced = matches!(error, RatingError::NoRate { .. });
                prop_assert!(unpriced);
            }
        }
    }

    #[test]
    fn using_more_never_costs_less(
        usage in usage(), price in plain_version(), meter in meter(), more in 0_u64..1_000_000,
    ) {
        let usage = priced(&usage, &price);
        let larger = priced(&usage.with(meter, usage.get(meter) + more), &price);
        let (before, after) = (standard(&usage, &price), standard(&larger, &price));
        prop_assert!(after.exact >= before.exact);
        prop_assert!(after.amount >= before.amount);
    }

    #[test]
    fn nothing_used_costs_nothing_but_the_request(price in any_version(), tier in tier()) {
        let charge = rate(&Usage::NONE, &price, &of(tier)).unwrap();
        match price.under(&Usage::NONE, &of(tier)).rate_for(Meter::Request) {
            None => {
                prop_assert_eq!(charge.exact, Exact::ZERO);
                prop_assert!(charge.lines.is_empty());
            }
            Some(applied) => {
                prop_assert_eq!(applied.rate.price.times(Meter::Request, 1), Ok(charge.exact));
            }
        }
    }

    #[test]
    fn a_usage_split_in_two_costs_exactly_the_same(
        usage in usage(), price in plain_version(), part in 0_u64..=1000,
    ) {
        let usage = priced(&usage, &price);
        let mut halves = (Usage::NONE, Usage::NONE);
        for (meter, quantity) in usage.iter() {
            let first = quantity * part / 1000;
            halves.0.set(meter, first);
            halves.1.set(meter, quantity - first);
        }
        let (first, second) = (standard(&halves.0, &price), standard(&halves.1, &price));
        prop_assert_eq!(first.exact.plus(second.exact), Ok(standard(&usage, &price).exact));
    }
}

/// How a ceiling of input and output tokens is really used, in thousandths.
#[derive(Debug, Clone, Copy)]
struct Turn {
    input: u64,
    cache_read: u64,
    cache_write: u64,
    output: u64,
    reasoning: u64,
}

fn turn() -> impl Strategy<Value = Turn> {
    let parts = || 0_u64..=1000;
    (parts(), parts(), parts(), parts(), parts()).prop_map(|(a, b, c, d, e)| {
        // Each is a share of what the ones before it left over.
        let (cache_read, cache_write) = (b * (1000 - a) / 1000, c * (1000 - a) / 1000);
        Turn {
            input: a,
            cache_read: cache_read.min(1000 - a),
            cache_write: cache_write.min((1000 - a).saturating_sub(cache_read)),
            output: d,
            reasoning: e * (1000 - d) / 1000,
        }
    })
}

impl Turn {
    /// The usage of a call bounded by this many tokens.
    fn usage(self, input: u64, output: u64) -> Usage {
        let share = |of: u64, part: u64| of * part / 1000;
        Usage::NONE
            .with(Meter::Input, share(input, self.input))
            .with(Meter::CacheRead, share(input, self.cache_read))
            .with(Meter::CacheWrite5m, share(input, self.cache_write))
            .with(Meter::Output, share(output, self.output))
            .with(Meter::Reasoning, share(output, self.reasoning))
    }
}

proptest! {
    #![proptest_config(cases(2048))]

    #[test]
    fn the_worst_case_covers_whatever_the_call_turns_out_to_be(
        price in any_version(),
        tiers in prop::collection::vec(tier(), 1..4),
        (input, output) in (0_u64..100_000, 0_u64..100_000),
        turn in turn(),
    ) {
        let ceiling = Usage::NONE.with(Meter::Input, input).with(Meter::Output, output);
        let worst = price.worst_case(&ceiling, &Foreseen::new(&tiers, OffsetDateTime::UNIX_EPOCH)).unwrap();
        let usage = turn.usage(input, output);
        prop_assert!(usage.prompt_tokens() <= input && usage.answer_tokens() <= output);
        for tier in &tiers {
            let charge = rate(&usage, &price, &of(*tier)).unwrap();
            let (amount, covered) = (charge.amount, charge.amount <= worst);
            prop_assert!(covered, "{:?} in {}: {} > {}", usage, tier, amount, worst);
        }
    }

    #[test]
    fn the_worst_case_covers_the_ceiling_itself_in_any_meters(
        price in any_version(), usage in usage(), tiers in prop::collection::vec(tier(), 1..4),
    ) {
        for tier in &tiers {
            let Ok(charge) = rate(&usage, &price, &of(*tier)) else { return Ok(()) };
            let worst = price.worst_case(&usage, &Foreseen::new(&tiers, OffsetDateTime::UNIX_EPOCH));
            let covered = worst.as_ref().is_ok_and(|worst| *worst >= charge.amount);
            prop_assert!(covered, "{:?} in {}: {} > {:?}", usage, tier, charge.amount, worst);
        }
    }
}
