//! Rates under conditions: which of them apply, and that a hold covers whichever does.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use billing_core::charge::rate;
use billing_core::id::PriceVersionId;
use billing_core::meter::{Meter, Usage};
use billing_core::money::Currency;
use billing_core::price::{
    Attribute, Attributes, Circumstances, ContextThreshold, Foreseen, ModelName, PriceError,
    PriceVersion, Prospect, Rate, ServiceTier, Variant, When,
};
use billing_core::terms::Terms;
use proptest::prelude::*;
use time::OffsetDateTime;
use time::macros::datetime;

const NIGHT: OffsetDateTime = datetime!(2026-11-23 22:30 UTC);
const NOON: OffsetDateTime = datetime!(2026-11-23 12:00 UTC);

fn per_unit(meter: Meter, price: &str) -> Rate {
    Rate {
        meter,
        tier: ServiceTier::Standard,
        above: None,
        price: price.parse().unwrap(),
    }
}

fn variant(when: &str, rates: Vec<Rate>) -> Variant {
    Variant::new(when.parse().unwrap(), rates).unwrap()
}

fn version(rates: Vec<Rate>, variants: Vec<Variant>) -> PriceVersion {
    let from = OffsetDateTime::UNIX_EPOCH;
    let (id, model) = (PriceVersionId::new(1), ModelName::new("m"));
    let version = PriceVersion::new(id, model, Currency::USD, from, rates).unwrap();
    version.with_variants(variants).unwrap()
}

fn with(attributes: &[(Attribute, &str)], at: OffsetDateTime) -> Circumstances {
    let none = Circumstances::new(ServiceTier::Standard, at);
    attributes
        .iter()
        .fold(none, |all, (name, value)| Circumstances {
            attributes: all.attributes.clone().with(*name, value),
            ..all
        })
}

/// The amount and the conditions of its lines.
fn charged(usage: &Usage, price: &PriceVersion, circumstances: &Circumstances) -> (String, String) {
    let charge = rate(usage, price, circumstances).unwrap();
    let conditions = charge.lines.iter().filter_map(|line| line.when.as_ref());
    let conditions: Vec<String> = conditions.map(ToString::to_string).collect();
    (charge.amount.to_string(), conditions.join(" / "))
}

#[test]
fn the_condition_that_asks_for_most_decides_and_is_named() {
    let price = version(
        vec![per_unit(Meter::Input, "1"), per_unit(Meter::Output, "2")],
        vec![
            variant("region=us", vec![per_unit(Meter::Input, "1.1")]),
            variant(
                "speed=fast",
                vec![per_unit(Meter::Input, "3"), per_unit(Meter::Output, "4")],
            ),
            variant("region=us, speed=fast", vec![per_unit(Meter::Input, "3.3")]),
            variant("region!=global", vec![per_unit(Meter::Input, "1.2")]),
        ],
    );
    let usage = Usage::NONE.with(Meter::Input, 1);
    let (region, speed) = (Attribute::Region, Attribute::Speed);
    for (attributes, amount, condition) in [
        (&[][..], "1.00", ""),
        (&[(region, "us")], "1.10", "region=us"),
        (&[(region, "asia")], "1.20", "region!=global"),
        (&[(region, "global")], "1.00", ""),
        (&[(speed, "fast")], "3.00", "speed=fast"),
        (&[(speed, "slow")], "1.00", ""),
        (
            &[(region, "us"), (speed, "fast")],
            "3.30",
            "region=us, speed=fast",
        ),
    ] {
        let found = charged(&usage, &price, &with(attributes, NOON));
        assert_eq!(found, (amount.to_owned(), condition.to_owned()));
    }
    // A condition without a rate of the meter leaves it to the next one that has.
    let output = Usage::NONE.with(Meter::Output, 1);
    let both = with(&[(region, "us"), (speed, "fast")], NOON);
    assert_eq!(charged(&output, &price, &both).1, "speed=fast");
    assert_eq!(
        charged(&output, &price, &with(&[(region, "us")], NOON)).1,
        ""
    );
}

#[test]
fn a_class_without_a_price_costs_what_its_parent_costs_under_the_condition() {
    let price = version(
        vec![per_unit(Meter::Input, "1")],
        vec![variant("region=eu", vec![per_unit(Meter::Input, "1.1")])],
    );
    let usage = Usage::NONE.with(Meter::CacheRead, 10);
    let charge = rate(&usage, &price, &with(&[(Attribute::Region, "eu")], NOON)).unwrap();
    assert_eq!(charge.amount.to_string(), "11.00");
    assert!(charge.lines[0].inherited);
}

#[test]
fn hours_and_quantities_are_conditions_too() {
    let price = version(
        vec![
            per_unit(Meter::Output, "2"),
            per_unit(Meter::VideoInputTime, "0.5"),
        ],
        vec![
            variant(
                "during UTC mon-fri 22:00-06:00",
                vec![per_unit(Meter::Output, "1")],
            ),
            variant(
                "video_input_time>8000",
                vec![per_unit(Meter::VideoInputTime, "1")],
            ),
            variant(
                "video_input_time>15000",
                vec![per_unit(Meter::VideoInputTime, "2")],
            ),
        ],
    );
    let output = Usage::NONE.with(Meter::Output, 1);
    let at = |at| charged(&output, &price, &with(&[], at)).0;
    assert_eq!(
        (at(NIGHT), at(NOON)),
        ("1.00".to_owned(), "2.00".to_owned())
    );
    for (ms, amount) in [(8000, "4.00"), (10_000, "10.00"), (20_000, "40.00")] {
        let usage = Usage::NONE.with(Meter::VideoInputTime, ms);
        assert_eq!(charged(&usage, &price, &with(&[], NOON)).0, amount);
    }
}

/// What is certain narrows the hold, what is open does not, and what no call can have costs nothing.
#[test]
fn a_hold_covers_what_may_be_known_of_the_call_and_no_more() {
    let price = version(
        vec![per_unit(Meter::Input, "1"), per_unit(Meter::Output, "2")],
        vec![
            variant("region=eu", vec![per_unit(Meter::Input, "3")]),
            variant("region=us", vec![per_unit(Meter::Input, "5")]),
            variant("speed=fast", vec![per_unit(Meter::Input, "7")]),
        ],
    );
    let ceiling = Usage::NONE.with(Meter::Input, 1);
    let region = |value| Attributes::NONE.with(Attribute::Region, value);
    let through = |given: &Attributes, states: &[Attribute]| Prospect::through(given, states);
    let [eu, us] = ["eu", "us"].map(|value| through(&region(value), &[]));
    let asia = through(&region("asia"), &[]);
    let states_speed = through(&region("eu"), &[Attribute::Speed]);
    let states_region = through(&region("eu"), &[Attribute::Region]);
    for (prospect, most) in [
        (Prospect::default(), "1.00"),
        (eu.clone(), "3.00"),
        (asia.clone(), "1.00"),
        // One way or the other: any region may come out.
        (eu.or(&us), "5.00"),
        (asia.or(&eu), "5.00"),
        (eu.or(&eu), "3.00"),
        (states_region, "5.00"),
        (states_speed.clone(), "7.00"),
        (asia.or(&states_speed), "7.00"),
    ] {
        let worst = price.worst_case(&ceiling, &prospect.foreseen(&[], NOON));
        assert_eq!(worst.unwrap().to_string(), most, "{prospect:?}");
    }
}

#[test]
fn two_variants_for_one_condition_are_refused() {
    let plain = version(vec![per_unit(Meter::Input, "1")], Vec::new());
    let one = || variant("region=eu", vec![per_unit(Meter::Input, "2")]);
    let refused = plain.clone().with_variants(vec![one(), one()]);
    assert_eq!(
        refused,
        Err(PriceError::TwoVariants("region=eu".to_owned()))
    );
    let input = per_unit(Meter::Input, "1");
    let twice = Variant::new("region=eu".parse().unwrap(), vec![input, input]);
    assert_eq!(
        twice,
        Err(PriceError::Twice(Meter::Input, ServiceTier::Standard))
    );
    let empty = Variant::new("region=eu".parse().unwrap(), Vec::new());
    assert_eq!(empty, Err(PriceError::Empty));
    assert_eq!(
        Variant::new(When::default(), vec![input]),
        Err(PriceError::NoCondition)
    );
}

fn meter() -> impl Strategy<Value = Meter> {
    prop::sample::select(
        &[
            Meter::Input,
            Meter::CacheRead,
            Meter::CacheWrite5m,
            Meter::Output,
            Meter::Reasoning,
        ][..],
    )
}

fn rates(least: usize) -> impl Strategy<Value = Vec<Rate>> {
    let tier = prop::sample::select(&[ServiceTier::Standard, ServiceTier::Flex][..]);
    let above = prop::option::of(prop::sample::select(&[1_000_u64, 50_000][..]));
    let one = (meter(), tier, above, 1_u32..1000);
    prop::collection::vec(one, least..6).prop_map(|rates| {
        let mut seen = std::collections::BTreeSet::new();
        rates
            .into_iter()
            .map(|(meter, tier, above, price)| Rate {
                meter,
                tier,
                above: above.map(|prompt_tokens| ContextThreshold {
                    prompt_tokens,
                    inclusive: false,
                }),
                price: format!("0.{price:06}").parse().unwrap(),
            })
            .filter(|rate| seen.insert((rate.meter, rate.tier, rate.above)))
            .collect()
    })
}

const CONDITIONS: [&str; 7] = [
    "region=us",
    "region!=global",
    "speed=fast",
    "region=us, speed=fast",
    "during UTC daily 22:00-06:00",
    "region=us, during UTC daily 00:00-23:00",
    "output>40000",
];

fn any_version() -> impl Strategy<Value = PriceVersion> {
    let conditions = prop::sample::subsequence(CONDITIONS.to_vec(), 0..=CONDITIONS.len());
    (
        rates(0),
        conditions,
        prop::collection::vec(rates(1), CONDITIONS.len()),
    )
        .prop_map(|(mut base, conditions, rates)| {
            base.retain(|r| {
                !matches!(r.meter, Meter::Input | Meter::Output)
                    || r.above.is_some()
                    || r.tier != ServiceTier::Standard
            });
            base.push(per_unit(Meter::Input, "0.000007"));
            base.push(per_unit(Meter::Output, "0.00003"));
            let variants = conditions.iter().zip(rates);
            version(
                base,
                variants.map(|(when, rates)| variant(when, rates)).collect(),
            )
        })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let region = prop::option::of(prop::sample::select(&["us", "eu", "global"][..]));
    let speed = prop::option::of(prop::sample::select(&["fast", "standard"][..]));
    (region, speed).prop_map(|(region, speed)| {
        let region = region.map(|value| (Attribute::Region, value.into()));
        let speed = speed.map(|value| (Attribute::Speed, value.into()));
        region.into_iter().chain(speed).collect()
    })
}

fn states() -> impl Strategy<Value = Vec<Attribute>> {
    prop::sample::subsequence(vec![Attribute::Region, Attribute::Speed], 0..=2)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_worst_case_covers_every_variant_that_comes_to_apply(
        price in any_version(),
        region in prop::option::of(prop::sample::select(&["us", "eu", "global"][..])),
        speed in prop::option::of(Just("fast")),
        region_is_known: bool,
        at in prop::sample::select(&[NIGHT, NOON][..]),
        tier in prop::sample::select(&[ServiceTier::Standard, ServiceTier::Flex][..]),
        (input, cached, output, thought) in (0_u64..60_000, 0_u64..60_000, 0_u64..60_000, 0_u64..60_000),
    ) {
        let known = |value: Option<&str>, name| {
            value.map_or(Attributes::NONE, |value| Attributes::NONE.with(name, value))
        };
        let region_alone = known(region, Attribute::Region);
        let whole = speed.map_or_else(
            || region_alone.clone(),
            |speed| region_alone.clone().with(Attribute::Speed, speed),
        );
        let open: &[Attribute] = if region_is_known {
            &[Attribute::Speed]
        } else {
            &[Attribute::Speed, Attribute::Region]
        };
        let foreseen = Foreseen {
            tiers: &[tier],
            at,
            attributes: if region_is_known { &region_alone } else { &Attributes::NONE },
            open,
        };
        let ceiling = Usage::NONE
            .with(Meter::Input, input + cached)
            .with(Meter::Output, output + thought);
        let worst = price.worst_case(&ceiling, &foreseen).unwrap();
        let usage = Usage::NONE
            .with(Meter::Input, input)
            .with(Meter::CacheRead, cached)
            .with(Meter::Output, output)
            .with(Meter::Reasoning, thought);
        let circumstances = Circumstances { tier, at, attributes: whole };
        let charge = rate(&usage, &price, &circumstances).unwrap();
        prop_assert!(charge.amount <= worst, "{} > {worst}", charge.amount);
        let sum: billing_core::money::Exact = charge.lines.iter().map(|l| l.amount).sum();
        prop_assert_eq!(sum, charge.exact);
    }

    /// Whichever upstream serves it, and whatever its reply states of what it may.
    #[test]
    fn no_hold_is_too_small_whatever_comes_to_be_known_of_the_call(
        price in any_version(),
        upstreams in prop::collection::vec((attributes(), states()), 1..4),
        (which, said) in (any::<prop::sample::Index>(), attributes()),
        at in prop::sample::select(&[NIGHT, NOON][..]),
        (word, got) in (
            prop::sample::select(&[None, Some("auto"), Some("flex"), Some("priority")][..]),
            any::<prop::sample::Index>(),
        ),
        (input, output) in (0_u64..60_000, 0_u64..60_000),
    ) {
        let prospects = upstreams.iter().map(|(given, states)| Prospect::through(given, states));
        let prospect = prospects.reduce(|all, one| all.or(&one)).unwrap();
        let ceiling = Usage::NONE.with(Meter::Input, input).with(Meter::Output, output);
        let asked = ServiceTier::foreseen_of(word);
        let tier = asked[got.index(asked.len())];
        let held = price.worst_case(&ceiling, &prospect.foreseen(asked, at)).unwrap();
        let (given, states) = &upstreams[which.index(upstreams.len())];
        let stated = said.iter().filter(|(name, _)| states.contains(name));
        let stated: Attributes = stated.map(|(name, value)| (name, value.into())).collect();
        let circumstances = Circumstances { tier, at, attributes: stated.or(given) };
        let charge = rate(&ceiling, &price, &circumstances).unwrap();
        prop_assert!(charge.amount <= held, "{} > {held}", charge.amount);
        // What is on record of it rates it again, bit for bit.
        let record = serde_json::to_string(&circumstances.attributes).unwrap();
        let attributes = serde_json::from_str(&record).unwrap();
        let again = rate(&ceiling, &price, &Circumstances { attributes, ..circumstances });
        prop_assert_eq!(again.unwrap(), charge);
    }

    #[test]
    fn a_hold_that_was_extended_covers_the_longer_answer(
        price in any_version(),
        at in prop::sample::select(&[NIGHT, NOON][..]),
        tier in prop::sample::select(&[ServiceTier::Standard, ServiceTier::Flex][..]),
        (input, first) in (0_u64..60_000, 0_u64..20_000),
        more in prop::collection::vec(0_u64..20_000, 1..4),
        thought in 0_u64..=100,
    ) {
        let terms = Terms::listed(Arc::new(price));
        let asked = [tier];
        let foreseen = Foreseen::new(&asked, at);
        let mut ceiling = Usage::NONE.with(Meter::Input, input).with(Meter::Output, first);
        let mut held = terms.worst_case(&ceiling, &foreseen).unwrap();
        for more in more {
            let extension = terms.extension(&ceiling, more, &foreseen).unwrap();
            held = held.plus(extension).unwrap();
            ceiling = ceiling.with(Meter::Output, ceiling.get(Meter::Output) + more);
        }
        prop_assert_eq!(held, terms.worst_case(&ceiling, &foreseen).unwrap());
        let output = ceiling.get(Meter::Output);
        let thought = output * thought / 100;
        let usage = ceiling.with(Meter::Output, output - thought).with(Meter::Reasoning, thought);
        let charge = rate(&usage, &terms.price, &Circumstances::new(tier, at)).unwrap();
        prop_assert!(charge.amount <= held, "{} > {held}", charge.amount);
    }
}
