//! `commitments_progressive` and `rounding_tax_discount`: what becomes of charges on invoices.

use billing_core::charge_model::minor::{Discounted, Tax, prorated_true_up, share_of};
use billing_core::charge_model::{
    Incremental, PerUnit, Percent, Progress, Quantity, Thresholds, minimum_true_up, within_maximum,
};
use billing_core::money::Exact;
use billing_core::price::UnitPrice;
use serde_json::Value;

use crate::text;

/// Minor units of amounts with two decimal places.
const PER_CENT: i128 = 10_i128.pow(25);

pub(crate) fn min_commit(input: &Value, expected: &Value) {
    let last = input["last_line_of_period"].as_bool().unwrap_or(true);
    let true_up = minimum_true_up(exact(&input["billed"]), exact(&input["minimum"])).unwrap();
    // Before the period's last line nobody knows what is missing.
    let true_up = if last { true_up } else { Exact::ZERO };
    assert_eq!(true_up, exact(&expected["true_up"]));
}

pub(crate) fn max_commit(input: &Value, expected: &Value) {
    let capped = within_maximum(
        exact(&input["previously_billed"]),
        &list(&input["lines"]),
        exact(&input["maximum"]),
    )
    .unwrap();
    let (discounts, totals): (Vec<_>, Vec<_>) = capped
        .iter()
        .map(|line| (line.discount, line.total))
        .unzip();
    assert_eq!(discounts, list(&expected["discounts"]));
    assert_eq!(totals, list(&expected["totals"]));
}

pub(crate) fn prorated_minimum(input: &Value, expected: &Value) {
    let days = |key: &str| input[key].as_u64().unwrap();
    let true_up = prorated_true_up(
        cents(&input["minimum_cents"]),
        (days("days_used"), days("days_in_period")),
        cents(&input["usage_cents"]),
    );
    assert_eq!(true_up, Ok(cents(&expected["true_up_cents"])));
}

pub(crate) fn progressive(input: &Value, expected: &Value) {
    let in_cents = |value: &Value| Exact::new(i128::from(cents(value)) * PER_CENT);
    let thresholds = input["thresholds_cents"].as_array().unwrap();
    let thresholds = Thresholds::new(thresholds.iter().map(in_cents).collect()).unwrap();
    let model = PerUnit(text(&input["unit_price"]).parse::<UnitPrice>().unwrap());
    let (mut progress, mut position) = (Progress::NONE, Quantity::ZERO);
    let mut invoices = Vec::new();
    for event in input["events"].as_array().unwrap() {
        let line: Quantity = text(event).parse().unwrap();
        let amount = model.between(position, line).unwrap();
        invoices.extend(progress.used(amount, &thresholds).unwrap());
        position = position.plus(line).unwrap();
    }
    let sent = expected["progressive_invoices_cents"].as_array().unwrap();
    assert_eq!(invoices, sent.iter().map(in_cents).collect::<Vec<_>>());
    let last = progress.rest().unwrap();
    let fee = in_cents(&input["subscription_fee_cents"]);
    assert_eq!(
        last.plus(fee),
        Ok(in_cents(&expected["final_invoice_cents"]))
    );
}

pub(crate) fn percent_discount(input: &Value, expected: &Value) {
    let places = input["dp"].as_u64().unwrap_or(2);
    let minor = |value: &Value| minor(value, places);
    let off = text(&input["percent"]).parse::<Percent>().unwrap();
    let outcome = Discounted::percent(minor(&input["amount"]), off).unwrap();
    assert_eq!(outcome.discount, minor(&expected["discount"]));
    assert_eq!(outcome.rest, minor(&expected["final"]));
}

pub(crate) fn fixed_discount(input: &Value, expected: &Value) {
    let minor = |value: &Value| minor(value, 2);
    let outcome = Discounted::fixed(minor(&input["amount"]), minor(&input["off"])).unwrap();
    assert_eq!(outcome.discount, minor(&expected["discount"]));
    assert_eq!(outcome.rest, minor(&expected["final"]));
}

/// Tax on the sum, and the sum of taxes on each item, which can drift apart by a cent.
pub(crate) fn tax_allocation(input: &Value, expected: &Value) {
    let items = input["items_cents"].as_array().unwrap();
    let items: Vec<i64> = items.iter().map(cents).collect();
    let rate = text(&input["tax_percent"]).parse::<Percent>().unwrap();
    let tax = Tax::on(&items, rate).unwrap();
    let net: i64 = items.iter().sum();
    assert_eq!(net + tax.total, cents(&expected["invoice_total_cents"]));
    assert_eq!(tax.of_items.iter().sum::<i64>(), tax.total);
    let naive = items
        .iter()
        .map(|item| item + share_of(*item, rate).unwrap());
    let stated = &expected["naive_sum_of_item_totals_cents"];
    assert!(stated.is_null() || naive.sum::<i64>() == cents(stated));
}

fn list(value: &Value) -> Vec<Exact> {
    value.as_array().unwrap().iter().map(exact).collect()
}

fn exact(value: &Value) -> Exact {
    text(value).parse().unwrap()
}

fn cents(value: &Value) -> i64 {
    text(value).parse().unwrap()
}

/// An amount of so many decimal places as minor units.
fn minor(value: &Value, places: u64) -> i64 {
    let step = 10_i128.pow(27 - u32::try_from(places).unwrap());
    let steps = exact(value).get();
    assert_eq!(steps % step, 0, "{value} has more than {places} places");
    i64::try_from(steps / step).unwrap()
}
