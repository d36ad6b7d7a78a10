//! Proration: what a part of a period costs.

use billing_core::period::Period;
use billing_core::proration::{ProrationUnit, Share, capped_credit};
use billing_core::zone::Zone;
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::Value;

use crate::anchors::{utc, zone};
use crate::text;

fn number(value: &Value) -> i64 {
    value
        .as_i64()
        .unwrap_or_else(|| text(value).parse().unwrap())
}

fn count(value: &Value) -> u64 {
    u64::try_from(number(value)).unwrap()
}

fn period(start: &Value, end: &Value) -> Period {
    let (start, end) = (utc(start), utc(end));
    Period { start, end }
}

pub(crate) fn by_second(input: &Value, expected: &Value) {
    let period = period(&input["start"], &input["end"]);
    let at = utc(&input["at"]);
    let share = Share::left(period, at, ProrationUnit::Second, &Zone::utc());
    let price = number(&input["amount_cents"]);
    assert_eq!(share.of(price), Ok(number(&expected["cents"])));
}

fn of_days(input: &Value) -> Share {
    Share::new(count(&input["days"]), count(&input["period_days"]))
}

pub(crate) fn days(input: &Value, expected: &Value) {
    let price = number(&input["amount_cents"]);
    assert_eq!(of_days(input).of(price), Ok(number(&expected["cents"])));
}

pub(crate) fn days_of_money(input: &Value, expected: &Value) {
    let [unit, quantity]: [Decimal; 2] =
        ["unit_price", "quantity"].map(|name| text(&input[name]).parse().unwrap());
    let places = u32::try_from(number(&input["dp"])).unwrap();
    let minor = Decimal::from(10_i64.pow(places));
    let price = i64::try_from(unit * quantity * minor).unwrap();
    let amount = of_days(input).of(price).unwrap();
    assert_eq!(
        Decimal::new(amount, places),
        text(&expected["amount"]).parse().unwrap()
    );
}

pub(crate) fn day_ratio(input: &Value, expected: &Value) {
    let period = period(&input["start"], &input["end"]);
    let share = Share::left(period, utc(&input["at"]), ProrationUnit::Day, &Zone::utc());
    assert_eq!(share.part(), count(&expected["numerator"]));
    assert_eq!(share.whole(), count(&expected["denominator"]));
}

pub(crate) fn cap_credit(input: &Value, expected: &Value) {
    let [potential, paid, credited] =
        ["potential", "original_paid", "already_credited"].map(|name| number(&input[name]));
    let credit = capped_credit(potential, paid, credited);
    assert_eq!(credit, number(&expected["credit"]));
}

pub(crate) fn local_days(input: &Value, expected: &Value) {
    let zone = zone(input);
    let [start, end] = ["start", "end"].map(|name| utc(&input[name]));
    assert_eq!(
        zone.days_between(start, end),
        number(&expected["local_days"])
    );
}

fn ratio_text(share: Share) -> String {
    let exact = Decimal::from(share.part()) / Decimal::from(share.whole());
    let rounded = exact.round_dp_with_strategy(9, RoundingStrategy::MidpointAwayFromZero);
    format!("{rounded:.9}")
}

pub(crate) fn ratio(input: &Value, expected: &Value) {
    let whole = period(&input["period_start"], &input["period_end"]);
    let part = period(&input["from"], &input["to"]);
    let share = Share::of_part(part, whole, ProrationUnit::Day, &Zone::utc());
    assert_eq!(ratio_text(share), text(&expected["ratio"]));
}

/// Of a month of thirty days, whatever month it is.
pub(crate) fn thirty_days(input: &Value, expected: &Value) {
    let part = period(&input["from"], &input["to"]);
    let month = period(&Value::from("2023-01-01"), &Value::from("2023-02-01"));
    let share = Share::of_part(part, month, ProrationUnit::Day30, &Zone::utc());
    assert_eq!(share.whole(), count(&input["fixed_days_in_month"]));
    assert_eq!(share.part(), count(&expected["days"]));
    assert_eq!(ratio_text(share), text(&expected["ratio"]));
}
