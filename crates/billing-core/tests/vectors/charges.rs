//! `charge_models`: what quantities cost.

use std::fmt::Debug;
use std::str::FromStr;

use billing_core::charge_model::{
    AllTiers, Block, Blocks, ChargeModel, Conversion, Graduated, Incremental, Operation, Package,
    PerEvent, PerUnit, Percent, Percentage, Quantity, Rounding, Tier, Tiers, TopTier, Volume,
    ZeroUsage, per_group,
};
use billing_core::money::Exact;
use billing_core::price::UnitPrice;
use serde_json::Value;

use crate::text;

pub(crate) fn per_unit(input: &Value, expected: &Value) {
    let model = PerUnit(price(&input["unit_price"]));
    costs(model.price(read(&input["quantity"])), expected);
}

pub(crate) fn graduated(input: &Value, expected: &Value) {
    costs(
        graduated_model(input).price(read(&input["quantity"])),
        expected,
    );
}

/// What was rated before has been charged: where that is nothing, the line is the first.
pub(crate) fn graduated_delta(input: &Value, expected: &Value) {
    let model = graduated_model(input);
    let [before, line] = ["already_rated", "new_units"].map(|key| read(&input[key]));
    let amount = if before == Quantity::ZERO {
        model.price(line)
    } else {
        model.between(before, line)
    };
    costs(amount, expected);
}

pub(crate) fn bucketed(input: &Value, expected: &Value) {
    let buckets = input["buckets"].as_array().unwrap().iter().map(read);
    costs(per_group(&graduated_model(input), buckets), expected);
}

pub(crate) fn graduated_percentage(input: &Value, expected: &Value) {
    let tiers = tiers(input, |tier| read::<Percent>(&tier["rate_percent"]));
    let model = Graduated::new(tiers).with_zero_usage(zero_usage(input));
    costs(model.price(read(&input["quantity"])), expected);
}

pub(crate) fn volume(input: &Value, expected: &Value) {
    let tiers = tiers(input, |tier| price(&tier["unit"]));
    let model = Volume::new(tiers).with_zero_usage(zero_usage(input));
    costs(model.price(read(&input["quantity"])), expected);
}

pub(crate) fn package(input: &Value, expected: &Value) {
    let package = Package::new(read(&input["package_size"]), price(&input["package_price"]));
    let package = package
        .unwrap()
        .with_free(read_or(&input["free_units"], Quantity::ZERO))
        .rounded(rounding(&input["round"]).unwrap_or_default());
    costs(package.price(read(&input["quantity"])), expected);
}

pub(crate) fn package_count(input: &Value, expected: &Value) {
    let package = Package::new(read(&input["package_size"]), UnitPrice::FREE).unwrap();
    let package = package
        .with_free(read_or(&input["free_units"], Quantity::ZERO))
        .rounded(rounding(&input["round"]).unwrap_or_default());
    let packages = package.count(read(&input["quantity"])).unwrap();
    assert_eq!(packages, read(&expected["packages"]));
}

pub(crate) fn percentage(input: &Value, expected: &Value) {
    let events = &input["event_count"];
    let events = events.as_u64().unwrap_or_else(|| read(events));
    let model = percentage_model(input, "free_units");
    costs(model.price(read(&input["quantity"]), events), expected);
}

pub(crate) fn percentage_per_event(input: &Value, expected: &Value) {
    let bound = |key: &str| (!input[key].is_null()).then(|| read::<Exact>(&input[key]));
    let model = PerEvent::new(
        percentage_model(input, "free_amount"),
        bound("min_per_event"),
        bound("max_per_event"),
    );
    let events = input["events"].as_array().unwrap().iter().map(read);
    costs(model.unwrap().price(events), expected);
}

pub(crate) fn all_tiers(input: &Value, expected: &Value) {
    let model = AllTiers(blocks(input));
    costs(model.price(read(&input["quantity"])), expected);
}

pub(crate) fn top_tier(input: &Value, expected: &Value) {
    let model = TopTier(blocks(input));
    costs(model.price(read(&input["quantity"])), expected);
}

pub(crate) fn unit_config(input: &Value, expected: &Value) {
    let operation = match text(&input["operation"]) {
        "divide" => Operation::Divide,
        "multiply" => Operation::Multiply,
        other => panic!("no operation {other}"),
    };
    let places = input["precision"].as_u64().unwrap_or(0);
    let conversion = Conversion::new(operation, read(&input["factor"])).unwrap();
    let conversion = match rounding(&input["rounding"]) {
        Some(rounding) => conversion.rounded(rounding, places.try_into().unwrap()),
        None => Ok(conversion),
    };
    let converted = conversion.unwrap().of(read(&input["quantity"]));
    assert_eq!(converted, Ok(read(&expected["quantity"])));
}

fn graduated_model(input: &Value) -> Graduated<UnitPrice> {
    let tiers = tiers(input, |tier| price(&tier["unit"]));
    Graduated::new(tiers).with_zero_usage(zero_usage(input))
}

fn tiers<T>(input: &Value, price: impl Fn(&Value) -> T) -> Tiers<T> {
    let tiers = input["tiers"].as_array().unwrap().iter().map(|tier| Tier {
        up_to: (!tier["up_to"].is_null()).then(|| read(&tier["up_to"])),
        price: price(tier),
        flat: read_or(&tier["flat"], Exact::ZERO),
        cap: (!tier["cap"].is_null()).then(|| read(&tier["cap"])),
    });
    Tiers::new(tiers.collect()).unwrap()
}

fn zero_usage(input: &Value) -> ZeroUsage {
    match input["zero_usage"].as_str() {
        Some("first_tier_flat") => ZeroUsage::FirstFlat,
        Some("zero") | None => ZeroUsage::Nothing,
        Some(other) => panic!("no rule for zero usage is called {other}"),
    }
}

fn percentage_model(input: &Value, free: &str) -> Percentage {
    Percentage {
        rate: read(&input["rate_percent"]),
        fixed: read_or(&input["fixed_per_event"], Exact::ZERO),
        free_amount: read_or(&input[free], Quantity::ZERO),
        free_events: read_or(&input["free_events"], 0),
    }
}

/// Some sources give the last tier an end too, and bill what passes it as if it had none.
fn blocks(input: &Value) -> Blocks {
    let stated = input["blocks"].as_array().unwrap();
    let block = |tier: &Value| Block {
        size: read(&tier["block_size"]),
        price: price(&tier["block_price"]),
    };
    let (last, tiers) = stated.split_last().unwrap();
    let tiers: Vec<_> = tiers
        .iter()
        .map(|tier| (block(tier), read(&tier["max_blocks"])))
        .collect();
    Blocks::new(&tiers, block(last)).unwrap()
}

fn rounding(word: &Value) -> Option<Rounding> {
    match word.as_str() {
        Some("up" | "ceil" | "ceiling") => Some(Rounding::Up),
        Some("down" | "floor") => Some(Rounding::Down),
        Some("half_up" | "nearest") => Some(Rounding::HalfUp),
        Some("none") | None => None,
        Some(other) => panic!("no rounding is called {other}"),
    }
}

/// A price that may be zero: the cases do not say `free`.
fn price(value: &Value) -> UnitPrice {
    match read::<Exact>(value) {
        Exact::ZERO => UnitPrice::FREE,
        _ => read(value),
    }
}

fn read_or<T: FromStr<Err: Debug>>(value: &Value, absent: T) -> T {
    if value.is_null() { absent } else { read(value) }
}

/// Reads decimal text, or a whole number.
fn read<T: FromStr<Err: Debug>>(value: &Value) -> T {
    match value.as_u64() {
        Some(number) => number.to_string().parse().unwrap(),
        None => text(value).parse().unwrap(),
    }
}

fn costs<E: Debug>(amount: Result<Exact, E>, expected: &Value) {
    assert_eq!(amount.unwrap(), read(&expected["amount"]));
}
