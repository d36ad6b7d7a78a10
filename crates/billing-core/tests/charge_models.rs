//! What charge models promise for any tiers and any usage, not only for published cases.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at what should not have failed"
)]

use billing_core::charge_model::minor::{Discounted, Tax, prorated, spread};
use billing_core::charge_model::{
    AllTiers, AtPeriodEnd, Block, Blocks, ChargeError, ChargeModel, Conversion, Graduated,
    Incremental, Operation, Package, PerEvent, PerUnit, Percent, Percentage, Progress,
    Proportional, Quantity, Rounding, StatedTier, Thresholds, Tier, TierError, Tiers, TopTier,
    Volume, ZeroUsage, minimum_true_up, within_maximum,
};
use billing_core::money::Exact;
use billing_core::price::UnitPrice;
use proptest::prelude::*;
use rust_decimal::Decimal;

/// A minimal case is printed, not kept in a file.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Whole and fractional quantities, small and up to 2⁶³.
fn quantity() -> impl Strategy<Value = Quantity> {
    prop_oneof![
        2 => Just(Quantity::ZERO),
        6 => (0_u64..300).prop_map(Quantity::whole),
        4 => (0_u64..300_000).prop_map(thousandths),
        1 => (0_u64..=1 << 63).prop_map(Quantity::whole),
    ]
}

/// Quantities of a few tiers' size.
fn small() -> impl Strategy<Value = Quantity> {
    (0_u64..400_000).prop_map(thousandths)
}

fn thousandths(n: u64) -> Quantity {
    format!("{}.{:03}", n / 1000, n % 1000).parse().unwrap()
}

/// Prices from 10⁻¹² to about 10⁻⁸, of which 2⁶⁴ still fit an amount, and free ones.
fn price() -> impl Strategy<Value = UnitPrice> {
    let stated = (1_i64..10_000).prop_map(|n| UnitPrice::per_unit(Decimal::new(n, 12)).unwrap());
    prop_oneof![9 => stated, 1 => Just(UnitPrice::FREE)]
}

/// Fees, of the size of what a few units cost, and none.
fn fee() -> impl Strategy<Value = Exact> {
    prop_oneof![
        Just(Exact::ZERO),
        (0_i128..1_000_000).prop_map(|n| Exact::new(n * 1_000_000_000_000_000))
    ]
}

fn percent() -> impl Strategy<Value = Percent> {
    (0_u32..=100).prop_map(Percent::whole)
}

/// Lengths of tiers, in thousandths.
fn lengths() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(1_u64..120_000, 0..5)
}

fn ends(lengths: &[u64]) -> Vec<Option<Quantity>> {
    let mut end = 0;
    let mut ends: Vec<_> = lengths
        .iter()
        .map(|length| {
            end += length;
            Some(thousandths(end))
        })
        .collect();
    ends.push(None);
    ends
}

/// Tiers with a price of some kind and fees.
fn tiers<T: std::fmt::Debug + Clone>(
    price: impl Strategy<Value = T> + Clone + 'static,
) -> impl Strategy<Value = Tiers<T>> {
    lengths().prop_flat_map(move |lengths| {
        let ends = ends(&lengths);
        let each = prop::collection::vec((price.clone(), fee()), ends.len());
        each.prop_map(move |each| {
            let tiers = ends.iter().zip(each).map(|(up_to, (price, flat))| Tier {
                up_to: *up_to,
                price,
                flat,
                cap: None,
            });
            Tiers::new(tiers.collect()).unwrap()
        })
    })
}

fn graduated() -> impl Strategy<Value = Graduated<UnitPrice>> {
    let zero = prop_oneof![Just(ZeroUsage::Nothing), Just(ZeroUsage::FirstFlat)];
    (tiers(price().boxed()), zero)
        .prop_map(|(tiers, zero)| Graduated::new(tiers).with_zero_usage(zero))
}

fn capped() -> impl Strategy<Value = Graduated<UnitPrice>> {
    (tiers(price().boxed()), prop::collection::vec(fee(), 5)).prop_map(|(tiers, caps)| {
        let capped = tiers.all().iter().zip(caps.iter().cycle());
        let capped = capped.map(|(tier, cap)| tier.clone().with_cap(*cap));
        Graduated::new(Tiers::new(capped.collect()).unwrap())
    })
}

fn package() -> impl Strategy<Value = Package> {
    let round = prop_oneof![
        Just(Rounding::Up),
        Just(Rounding::Down),
        Just(Rounding::HalfUp)
    ];
    (1_u64..50_000, price(), small(), round).prop_map(|(size, price, free, round)| {
        let package = Package::new(thousandths(size), price).unwrap();
        package.with_free(free).rounded(round)
    })
}

fn blocks() -> impl Strategy<Value = Blocks> {
    let block = || {
        (1_u64..20_000, price()).prop_map(|(size, price)| Block {
            size: thousandths(size),
            price,
        })
    };
    let tiers = prop::collection::vec((block(), 1_u64..8), 0..4);
    (tiers, block()).prop_map(|(tiers, last)| Blocks::new(&tiers, last).unwrap())
}

/// Any model that is charged line by line.
fn incremental() -> impl Strategy<Value = Box<dyn Model>> {
    prop_oneof![
        4 => graduated().prop_map(|model| Box::new(model) as Box<dyn Model>),
        2 => capped().prop_map(|model| Box::new(model) as Box<dyn Model>),
        2 => tiers(percent().boxed()).prop_map(|tiers| {
            Box::new(Graduated::new(tiers)) as Box<dyn Model>
        }),
        1 => price().prop_map(|price| Box::new(PerUnit(price)) as Box<dyn Model>),
        2 => package().prop_map(|model| Box::new(model) as Box<dyn Model>),
        2 => blocks().prop_map(|blocks| Box::new(AllTiers(blocks)) as Box<dyn Model>),
    ]
}

trait Model: Incremental + std::fmt::Debug {}
impl<T: Incremental + std::fmt::Debug> Model for T {}

fn sum(amounts: impl IntoIterator<Item = Exact>) -> Exact {
    let zero = Exact::ZERO;
    amounts.into_iter().fold(zero, |a, b| a.plus(b).unwrap())
}

fn total(quantities: &[Quantity]) -> Quantity {
    let zero = Quantity::ZERO;
    quantities.iter().fold(zero, |a, b| a.plus(*b).unwrap())
}

/// Charges lines one after the other.
fn charge(model: &dyn Model, lines: &[Quantity]) -> Exact {
    let mut position = Quantity::ZERO;
    let charged = lines.iter().map(|line| {
        let amount = model.between(position, *line).unwrap();
        position = position.plus(*line).unwrap();
        amount
    });
    sum(charged)
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn parts_lie_end_to_end_and_each_in_its_own_tier(
        tiers in tiers(price().boxed()), position in quantity(), line in quantity(),
    ) {
        let mut at = position;
        for part in tiers.split(position, line) {
            prop_assert_eq!(part.position, at);
            prop_assert!(!part.quantity.is_zero());
            prop_assert_eq!(part.tier, &tiers.all()[part.index]);
            prop_assert_eq!(tiers.next_after(at), part.index);
            prop_assert_eq!(part.enters(), part.within.is_zero());
            at = at.plus(part.quantity).unwrap();
            prop_assert_eq!(tiers.reached_by(at), part.index);
            prop_assert!(tiers.until_next(part.position).is_none_or(|left| part.quantity <= left));
        }
        prop_assert_eq!(at, position.plus(line).unwrap());
    }

    #[test]
    fn more_graduated_usage_never_costs_less(model in graduated(), a in quantity(), b in quantity()) {
        let [low, high] = [a.min(b), a.max(b)].map(|q| model.price(q).unwrap());
        prop_assert!(low <= high);
    }

    #[test]
    fn what_falls_in_price_grows_ever_more_slowly(
        tiers in tiers(price().boxed()), at in prop::array::uniform2(small()), step in small(),
    ) {
        let mut prices: Vec<_> = tiers.all().iter().map(|tier| tier.price).collect();
        prices.sort_unstable();
        let falling = tiers.all().iter().map(|tier| {
            let price = prices.pop().unwrap();
            Tier { up_to: tier.up_to, price, flat: Exact::ZERO, cap: None }
        });
        let model = Graduated::new(Tiers::new(falling.collect()).unwrap());
        let [early, late] = [at[0].min(at[1]), at[0].max(at[1])];
        prop_assert!(model.between(late, step).unwrap() <= model.between(early, step).unwrap());
    }

    #[test]
    fn lines_add_up_to_the_price_of_the_whole_however_split(
        model in incremental(),
        mut lines in prop::collection::vec(quantity(), 1..6),
        moved in any::<prop::sample::Index>(),
    ) {
        let whole = total(&lines);
        // Without usage there is no line, and what is due then is no sum of lines.
        let (false, Ok(price)) = (whole.is_zero(), model.price(whole)) else {
            // The percentages of 2⁶³ do not fit an amount.
            return Ok(());
        };
        prop_assert_eq!(charge(&*model, &lines), price);
        let moved = moved.index(lines.len());
        lines.rotate_left(moved);
        prop_assert_eq!(charge(&*model, &lines), price);
        lines.sort_unstable();
        prop_assert_eq!(charge(&*model, &lines), price);
        prop_assert_eq!(charge(&*model, &[whole]), price);
    }

    #[test]
    fn a_line_costs_the_difference_of_two_prices(
        model in incremental(), before in small(), line in small(),
    ) {
        prop_assume!(!before.is_zero());
        let both = model.price(before.plus(line).unwrap()).unwrap();
        let difference = both.minus(model.price(before).unwrap()).unwrap();
        prop_assert_eq!(model.between(before, line).unwrap(), difference);
    }

    #[test]
    fn no_usage_has_a_negative_price(model in incremental(), before in small(), line in small()) {
        prop_assert!(model.price(line).unwrap() >= Exact::ZERO);
        prop_assert!(model.between(before, line).unwrap() >= Exact::ZERO);
    }

    #[test]
    fn nothing_costs_nothing_at_any_position(model in incremental(), before in small()) {
        prop_assert_eq!(model.between(before, Quantity::ZERO).unwrap(), Exact::ZERO);
        prop_assert_eq!(model.worst(before, Quantity::ZERO).unwrap(), Exact::ZERO);
    }

    #[test]
    fn the_worst_bounds_what_a_line_costs_wherever_it_lands(
        model in incremental(), from in small(), later in small(), line in small(),
    ) {
        let worst = model.worst(from, line).unwrap();
        let position = from.plus(later).unwrap();
        prop_assert!(model.between(position, line).unwrap() <= worst);
        prop_assert!(model.worst(position, line).unwrap() <= worst);
    }

    /// The bound is reached: within a step of the smallest quantity, at one of the thresholds.
    #[test]
    fn the_worst_of_graduated_tiers_is_what_some_place_costs(
        tiers in tiers(price().boxed()), from in small(), line in (1_u64..400_000).prop_map(thousandths),
    ) {
        let model = Graduated::new(tiers);
        let worst = model.worst(from, line).unwrap();
        let step: Quantity = "0.000000000001".parse().unwrap();
        let mut places = vec![from, from.plus(step).unwrap()];
        for threshold in model.tiers().thresholds() {
            let ending = threshold.beyond(line);
            places.extend([threshold, ending, ending.plus(step).unwrap()]);
        }
        places.retain(|place| *place >= from);
        let costs = places.into_iter().map(|place| model.between(place, line).unwrap());
        let dearest = costs.max().unwrap();
        // A step costs no more than a trillionth of 10⁻⁸.
        prop_assert!(worst.minus(dearest).unwrap() <= "0.00000000000000000001".parse().unwrap());
    }

    #[test]
    fn one_tier_prices_all_that_volume_counts(
        tiers in tiers(price().boxed()), total in quantity(), line in small(), before in small(),
    ) {
        let tier = &tiers.all()[tiers.reached_by(total)];
        let expected = if total.is_zero() {
            Exact::ZERO
        } else {
            tier.price.of(total).unwrap().plus(tier.flat).unwrap()
        };
        let first = PerUnit(tiers.all()[0].price);
        let fee = if before.is_zero() && !line.is_zero() { tiers.all()[0].flat } else { Exact::ZERO };
        let model = Volume::new(tiers.clone());
        prop_assert_eq!(model.price(total).unwrap(), expected);
        // In the period usage is charged as in the first tier; at its end both are made even.
        let charged = model.provisional(before, line).unwrap();
        prop_assert_eq!(charged, first.price(line).unwrap().plus(fee).unwrap());
        let true_up = model.true_up(total, charged).unwrap();
        prop_assert_eq!(charged.plus(true_up).unwrap(), expected);
    }

    #[test]
    fn blocks_of_the_top_tier_cover_everything(blocks in blocks(), total in small(), line in small()) {
        let model = TopTier(blocks.clone());
        prop_assert!(model.price(total).unwrap() >= Exact::ZERO);
        let charged = model.provisional(total, line).unwrap();
        prop_assert!(charged >= Exact::ZERO);
        let true_up = model.true_up(total, charged).unwrap();
        prop_assert_eq!(charged.plus(true_up).unwrap(), model.price(total).unwrap());
    }

    #[test]
    fn packages_hold_all_that_is_not_free(
        package in package(), used in prop_oneof![small(), (0..1_u64 << 50).prop_map(Quantity::whole)],
    ) {
        let packages = package.count(used).unwrap();
        prop_assert!(packages.is_whole());
        prop_assert!(!packages.is_zero() || package.price(used).unwrap() == Exact::ZERO);
        prop_assert!(packages <= package.rounded(Rounding::Up).count(used).unwrap());
        prop_assert!(packages >= package.rounded(Rounding::Down).count(used).unwrap());
    }

    #[test]
    fn what_is_free_is_free_and_never_pays_back(
        used in small(), events in 0_u64..9, free in small(), free_events in 0_u64..9,
    ) {
        let model = Percentage {
            rate: Percent::whole(3),
            fixed: Exact::new(1_000),
            free_amount: free,
            free_events,
        };
        let price = model.price(used, events).unwrap();
        prop_assert!(price >= Exact::ZERO);
        if used <= free && events <= free_events {
            prop_assert_eq!(price, Exact::ZERO);
        }
    }

    #[test]
    fn an_event_costs_nothing_or_within_its_bounds(
        events in prop::collection::vec(small(), 1..8), free in prop_oneof![Just(Quantity::ZERO), small()],
        free_events in 0_u64..4, bounds in prop::array::uniform2(fee()),
    ) {
        let [least, most] = [bounds[0].min(bounds[1]), bounds[0].max(bounds[1])];
        let percentage = Percentage {
            rate: Percent::whole(3), fixed: Exact::ZERO, free_amount: free, free_events,
        };
        let model = PerEvent::new(percentage, Some(least), Some(most)).unwrap();
        let price = model.price(events.iter().copied()).unwrap();
        let count = i128::try_from(events.len()).unwrap();
        prop_assert!(Exact::ZERO <= price && price.get() <= most.get() * count);
        let all_free = !free.is_zero() && total(&events) <= free;
        prop_assert!(!all_free || price == Exact::ZERO);
        if let (true, Some(_)) = (least < most, PerEvent::new(percentage, Some(most), Some(least)).ok()) {
            prop_assert!(false, "bounds that exclude each other are refused");
        }
    }

    #[test]
    fn a_conversion_there_and_back_changes_nothing(used in small(), factor in 1_u64..1_000_000) {
        let factor = thousandths(factor);
        let [times, over] = [Operation::Multiply, Operation::Divide]
            .map(|operation| Conversion::new(operation, factor).unwrap());
        let more = times.of(used).unwrap();
        prop_assert_eq!(over.of(more).unwrap(), used);
        // Rounded down and up, what was divided lies between.
        let whole = |rounding| over.rounded(rounding, 0).unwrap().of(used).unwrap();
        let [down, near, up] = [Rounding::Down, Rounding::HalfUp, Rounding::Up].map(whole);
        prop_assert!(down <= near && near <= up && up.beyond(down) <= Quantity::whole(1));
        prop_assert!(times.of(down).unwrap() <= used && used <= times.of(up).unwrap());
    }

    #[test]
    fn tiers_are_accepted_exactly_when_they_lie_end_to_end(
        ends in prop::collection::vec(prop::option::weighted(0.8, 0_u64..6), 0..5),
    ) {
        let tiers = ends.iter().map(|end| Tier {
            up_to: end.map(Quantity::whole),
            price: (),
            flat: Exact::ZERO,
            cap: None,
        });
        let made = Tiers::new(tiers.collect());
        let closed = ends.split_last();
        let sound = closed.is_some_and(|(last, before)| {
            let rising = std::iter::once(&Some(0)).chain(before).collect::<Vec<_>>();
            last.is_none()
                && before.iter().all(Option::is_some)
                && rising.windows(2).all(|pair| pair[0] < pair[1])
        });
        prop_assert_eq!(made.is_ok(), sound, "{:?}", made);
    }

    #[test]
    fn stated_beginnings_leave_no_gap_and_no_overlap(from in 0_u64..30, end in 1_u64..30) {
        let tier = |from, up_to| StatedTier {
            from,
            up_to,
            price: (),
            flat: Exact::ZERO,
            cap: None,
        };
        let [begin, end] = [from, end].map(Quantity::whole);
        let made = Tiers::stated(vec![tier(None, Some(end)), tier(Some(begin), None)]);
        match made {
            Ok(_) => prop_assert_eq!(begin, end),
            Err(TierError::Gap { tier: 2, .. }) => prop_assert!(begin > end),
            Err(TierError::BeginsWithin { tier: 2, .. }) => prop_assert!(begin < end),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn a_period_costs_at_least_its_minimum_and_at_most_its_maximum(
        lines in prop::collection::vec(fee(), 0..6), bounds in prop::array::uniform3(fee()),
    ) {
        let [billed, minimum, maximum] = bounds;
        let capped = within_maximum(billed, &lines, maximum).unwrap();
        for (line, capped) in lines.iter().zip(&capped) {
            prop_assert_eq!(capped.total.plus(capped.discount).unwrap(), *line);
            prop_assert!(capped.total >= Exact::ZERO && capped.discount >= Exact::ZERO);
        }
        let paid = sum(capped.iter().map(|line| line.total)).plus(billed).unwrap();
        let used = sum(lines.iter().copied()).plus(billed).unwrap();
        prop_assert_eq!(paid, used.min(maximum.max(billed)));
        let true_up = minimum_true_up(paid, minimum).unwrap();
        prop_assert_eq!(paid.plus(true_up).unwrap(), paid.max(minimum));
    }

    #[test]
    fn invoices_of_a_period_add_up_to_what_was_used(
        amounts in prop::collection::vec(fee(), 0..8), mut thresholds in prop::collection::vec(fee(), 0..4),
    ) {
        thresholds.retain(|threshold| *threshold > Exact::ZERO);
        thresholds.sort_unstable();
        thresholds.dedup();
        let last = thresholds.last().copied();
        let thresholds = Thresholds::new(thresholds).unwrap();
        let mut progress = Progress::NONE;
        let mut invoices: Vec<_> = amounts
            .iter()
            .filter_map(|amount| progress.used(*amount, &thresholds).unwrap())
            .collect();
        let rest = progress.rest().unwrap();
        prop_assert!(invoices.iter().all(|invoice| *invoice > Exact::ZERO));
        invoices.push(rest);
        let used = sum(amounts);
        prop_assert_eq!(sum(invoices), used);
        prop_assert!(last.is_none_or(|last| used < last || rest <= used.minus(last).unwrap()));
    }

    #[test]
    fn what_is_spread_adds_up_and_no_part_is_a_unit_off(
        amount in -1_000_000_i64..1_000_000, items in prop::collection::vec(0_i64..1_000_000, 1..8),
    ) {
        let parts = spread(amount, &items).unwrap();
        prop_assert_eq!(parts.iter().sum::<i64>(), amount);
        let whole: i64 = items.iter().sum();
        for (part, item) in parts.iter().zip(&items).filter(|_| whole > 0) {
            let [part, item, amount, whole] = [*part, *item, amount, whole].map(i128::from);
            prop_assert!((part * whole - amount * item).abs() < whole);
        }
    }

    #[test]
    fn discounts_and_taxes_neither_lose_nor_make_a_cent(
        items in prop::collection::vec(0_i64..10_000_000, 1..6), percent in 0_u32..200, off in 0_i64..9_000_000,
    ) {
        let rate = Percent::whole(percent);
        let tax = Tax::on(&items, rate).unwrap();
        prop_assert_eq!(tax.of_items.iter().sum::<i64>(), tax.total);
        prop_assert_eq!(tax.of_items.len(), items.len());
        for item in items {
            for cut in [Discounted::percent(item, rate).unwrap(), Discounted::fixed(item, off).unwrap()] {
                prop_assert_eq!(cut.discount + cut.rest, item);
                prop_assert!(cut.rest >= 0 && cut.discount >= 0);
            }
            prop_assert_eq!(prorated(item, percent.into(), 200).unwrap() >= 0, true);
        }
    }
}

#[test]
fn quantities_of_two_to_the_63_never_wrap() {
    let all = Quantity::whole(1 << 63);
    let price: UnitPrice = "0.00000001".parse().unwrap();
    let tiers = Tiers::new(vec![
        Tier::up_to(Quantity::whole(1_000_000), price),
        Tier::open(price),
    ]);
    let model = Graduated::new(tiers.unwrap());
    let whole = model.price(all).unwrap();
    assert_eq!(whole.to_string(), "92233720368.54775808");
    assert_eq!(model.between(all, all).unwrap(), whole);
    // A dear line far out has a price, although all of it would not fit an amount.
    let dear = Graduated::new(Tiers::single("1".parse::<UnitPrice>().unwrap()));
    let line = Quantity::whole(7);
    assert_eq!(dear.between(all, line).unwrap().to_string(), "7");
    assert_eq!(dear.worst(all, line).unwrap().to_string(), "7");
    let refused = dear.price(all).unwrap_err().to_string();
    assert_eq!(refused, "amount is out of range");
    assert!(matches!(
        Quantity::MAX.plus(Quantity::whole(1)),
        Err(ChargeError::QuantityOutOfRange)
    ));
    let tiny = Package::new(thousandths(1), price).unwrap();
    assert_eq!(tiny.count(all), Err(ChargeError::QuantityOutOfRange));
}

#[test]
fn a_cap_holds_where_the_uncapped_amount_would_not_fit() {
    let dear = "1000000".parse::<UnitPrice>().unwrap();
    let capped = Tier::open(dear).with_cap("3".parse().unwrap());
    let model = Graduated::new(Tiers::new(vec![capped]).unwrap());
    let all = Quantity::whole(1 << 63);
    assert_eq!(model.price(all).unwrap().to_string(), "3");
    assert_eq!(model.between(all, all).unwrap(), Exact::ZERO);
}

#[test]
fn a_third_has_no_end_in_decimals_unless_it_is_rounded() {
    let thirds = Conversion::new(Operation::Divide, Quantity::whole(3)).unwrap();
    let refused = thirds.of(Quantity::whole(10)).unwrap_err().to_string();
    assert!(refused.contains("say how to round it"), "{refused}");
    let of = |rounding, places| {
        let rounded = thirds.rounded(rounding, places).unwrap();
        rounded.of(Quantity::whole(10)).unwrap().to_string()
    };
    assert_eq!(of(Rounding::Down, 0), "3");
    assert_eq!(of(Rounding::Up, 2), "3.34");
    assert_eq!(of(Rounding::HalfUp, 9), "3.333333333");
    assert!(thirds.rounded(Rounding::Up, 10).is_err());
    assert!(Conversion::new(Operation::Multiply, Quantity::ZERO).is_err());
}

#[test]
fn models_of_nothing_are_refused() {
    let free = UnitPrice::FREE;
    let nothing = Block {
        size: Quantity::ZERO,
        price: free,
    };
    let one = Block {
        size: Quantity::whole(1),
        price: free,
    };
    assert!(Package::new(Quantity::ZERO, free).is_err());
    assert!(Blocks::new(&[], nothing).is_err());
    assert!(Blocks::new(&[(one, 0)], one).is_err());
    assert!(Thresholds::new(vec![Exact::new(2), Exact::new(2)]).is_err());
    assert!(prorated(1, 1, 0).is_err());
    let package = serde_json::from_str::<Package>(r#"{"size":"0","price":"1"}"#);
    assert!(
        package
            .unwrap_err()
            .to_string()
            .contains("a package of zero")
    );
}

#[test]
fn models_read_back_from_what_they_wrote() {
    let text = r#"{"tiers":[{"up_to":"10","price":"0.5","flat":"2"},{"up_to":null,"price":"0.25"}],"zero_usage":"first_flat"}"#;
    let model: Graduated<UnitPrice> = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&model).unwrap(), text);
    assert_eq!(model.price(Quantity::ZERO).unwrap().to_string(), "2");
    let package: Package = serde_json::from_str(r#"{"size":10,"price":"2","free":"5"}"#).unwrap();
    let text = serde_json::to_string(&package).unwrap();
    assert_eq!(text, r#"{"size":"10","price":"2","free":"5","round":"up"}"#);
    let volume: Volume<Percent> = serde_json::from_str(r#"{"tiers":[{"price":"2.9"}]}"#).unwrap();
    let four = volume.price(Quantity::whole(4)).unwrap();
    assert_eq!(four.to_string(), "0.116");
}
