//! `commitments_progressive` and `rounding_tax_discount`: what becomes of charges on invoices.

use std::collections::{BTreeMap, BTreeSet};

use billing_core::charge_model::minor::{Discounted, Tax, prorated, prorated_true_up, share_of};
use billing_core::charge_model::{
    Incremental, PerUnit, Percent, Progress, Quantity, Thresholds, minimum_true_up, within_maximum,
};
use billing_core::id::{AccountId, CreditNoteId, InvoiceId};
use billing_core::invoice::{
    Component, CreditAsk, CreditLine, CreditNote, CreditTo, Discount, DocumentNumber, Invoice,
    InvoiceHead, InvoiceParts, Issue, LineItem, LineUnit, Locale, Off, Party, Series, TaxRate,
    TaxTreatment, assemble,
};
use billing_core::money::{Currency, Exact, Minor, Nanos};
use billing_core::price::UnitPrice;
use serde_json::Value;
use time::OffsetDateTime;

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
    let invoice = invoiced(&[minor(&input["amount"])], Some(Off::Percent(off)), None);
    let totals = invoice.content.totals;
    assert_eq!(totals.discount.get(), minor(&expected["discount"]));
    assert_eq!(totals.total.get(), minor(&expected["final"]));
}

pub(crate) fn fixed_discount(input: &Value, expected: &Value) {
    let minor = |value: &Value| minor(value, 2);
    let outcome = Discounted::fixed(minor(&input["amount"]), minor(&input["off"])).unwrap();
    assert_eq!(outcome.discount, minor(&expected["discount"]));
    assert_eq!(outcome.rest, minor(&expected["final"]));
    let off = Off::Amount(Minor::new(minor(&input["off"])));
    let invoice = invoiced(&[minor(&input["amount"])], Some(off), None);
    let totals = invoice.content.totals;
    assert_eq!(totals.discount.get(), minor(&expected["discount"]));
    assert_eq!(totals.total.get(), minor(&expected["final"]));
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
    let mut invoice = invoiced(&items, None, Some(rate));
    let total = invoice.content.totals.total;
    assert_eq!(total.get(), cents(&expected["invoice_total_cents"]));
    let mut notes = Vec::new();
    for (line, item) in items.iter().enumerate() {
        let (note, after) = credited(&invoice, &notes, line, *item);
        notes.push(note);
        invoice = after;
    }
    let given: i64 = notes.iter().map(|note| note.total.get()).sum();
    assert_eq!(given, total.get());
}

/// A paid fee of which the days that are not used are given back, with their tax.
pub(crate) fn credit_note(input: &Value, expected: &Value) {
    let days = |key: &str| input[key].as_u64().unwrap();
    let fee = cents(&input["amount_cents"]);
    let rate = text(&input["tax_percent"]).parse::<Percent>().unwrap();
    let back = prorated(fee, days("days"), days("period_days")).unwrap();
    let invoice = invoiced(&[fee], None, Some(rate));
    let total = invoice.content.totals.total;
    let at = OffsetDateTime::UNIX_EPOCH;
    let invoice = invoice.pay(total, at).unwrap().invoice;
    let (note, _) = credited(&invoice, &[], 0, back);
    assert_eq!(note.net.get(), cents(&expected["sub_cents"]));
    assert_eq!(note.tax.get(), cents(&expected["tax_cents"]));
    assert_eq!(note.total.get(), cents(&expected["total_cents"]));
    assert_eq!(note.back, note.total);
}

/// A final invoice of fees in cents.
fn invoiced(items: &[i64], off: Option<Off>, rate: Option<Percent>) -> Invoice {
    let category: billing_core::invoice::TaxCategory = "standard".parse().unwrap();
    let treatment = match rate {
        None => TaxTreatment::ReverseCharge,
        Some(percent) => TaxTreatment::Taxed {
            rates: vec![TaxRate {
                name: "VAT".to_owned(),
                jurisdiction: "XX".to_owned(),
                percent,
                included: false,
            }],
        },
    };
    let line = |(at, cents): (usize, &i64)| LineItem {
        key: at.to_string(),
        component: Component::PlanFee,
        subject: "plan".to_owned(),
        period: None,
        quantity: Quantity::whole(1),
        unit: LineUnit::Periods,
        unit_price: None,
        meters: Vec::new(),
        exact: Minor::new(*cents).nanos(Currency::USD).unwrap(),
        tax_category: category.clone(),
        discountable: true,
        plan: None,
    };
    let discount = off.map(|off| Discount {
        name: "discount".to_owned(),
        code: None,
        off,
        minimum: None,
        plans: BTreeSet::new(),
    });
    let parts = InvoiceParts {
        head: head(),
        items: items.iter().enumerate().map(line).collect(),
        minimum: None,
        carried: None,
        discounts: discount.into_iter().collect(),
        promo: Minor::ZERO,
        treatments: BTreeMap::from([(category.clone(), treatment)]),
    };
    let issue = Issue {
        number: number("INV-"),
        at: OffsetDateTime::UNIX_EPOCH,
        due_at: OffsetDateTime::UNIX_EPOCH,
    };
    assemble(parts)
        .unwrap()
        .finalize(issue, &[])
        .unwrap()
        .invoice
}

fn head() -> InvoiceHead {
    let party = |name: &str| Party {
        name: name.to_owned(),
        address: Vec::new(),
        country: "FR".parse().unwrap(),
        region: None,
        tax_id: None,
        email: None,
    };
    InvoiceHead {
        id: InvoiceId::new(1),
        account: AccountId::new(1),
        currency: Currency::USD,
        seller: party("seller"),
        buyer: party("buyer"),
        locale: Locale::En,
        period: None,
        notes: Vec::new(),
    }
}

fn number(series: &str) -> DocumentNumber {
    series.parse::<Series>().unwrap().after(None)
}

/// Gives cents of a line back.
fn credited(
    invoice: &Invoice,
    notes: &[CreditNote],
    line: usize,
    cents: i64,
) -> (CreditNote, Invoice) {
    let ask = CreditAsk {
        id: CreditNoteId::new(1),
        number: number("CN-"),
        at: OffsetDateTime::UNIX_EPOCH,
        reason: "canceled".to_owned(),
        lines: vec![CreditLine {
            line,
            amount: Minor::new(cents),
            unused: Nanos::ZERO,
        }],
        to: CreditTo::Balance,
    };
    let issued = invoice.credit(notes, ask).unwrap();
    (issued.note, issued.invoice)
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
