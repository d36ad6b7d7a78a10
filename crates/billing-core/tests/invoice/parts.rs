//! What invoices of these tests are put together from.

use std::collections::{BTreeMap, BTreeSet};

use billing_core::budget::Amount;
use billing_core::charge_model::Quantity;
use billing_core::id::{AccountId, InvoiceId, LotId, PlanId, PriceVersionId};
use billing_core::invoice::{
    Carried, Component, Discount, DocumentNumber, Draft, InvoiceHead, InvoiceParts, Issue,
    LineItem, LineUnit, Locale, Off, Party, TaxCategory, TaxRate, TaxTreatment,
};
use billing_core::ledger::{Entry, LedgerCode};
use billing_core::money::{Currency, Minor, Nanos};
use billing_core::period::Period;
use billing_core::wallet::{LotDraw, LotKind};
use proptest::prelude::*;
use time::{Duration, OffsetDateTime};

pub(crate) const EPOCH: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

pub(crate) fn currency(code: &str) -> Currency {
    Currency::parse(code).unwrap()
}

pub(crate) fn category(name: &str) -> TaxCategory {
    name.parse().unwrap()
}

pub(crate) fn rate(name: &str, percent: &str, included: bool) -> TaxRate {
    TaxRate {
        name: name.to_owned(),
        jurisdiction: "XX".to_owned(),
        percent: percent.parse().unwrap(),
        included,
    }
}

pub(crate) fn taxed(rates: &[TaxRate]) -> TaxTreatment {
    TaxTreatment::Taxed {
        rates: rates.to_vec(),
    }
}

/// One way of taxing each kind: alone, together with another, included, none.
pub(crate) fn treatments() -> BTreeMap<TaxCategory, TaxTreatment> {
    let (vat, city) = (rate("VAT", "19", false), rate("City", "1.25", false));
    let inside = [rate("增值税", "6", true), rate("附加", "0.72", true)];
    let exempt = TaxTreatment::Exempt {
        reason: "education".to_owned(),
    };
    BTreeMap::from([
        (category("standard"), taxed(std::slice::from_ref(&vat))),
        (category("local"), taxed(&[vat, city])),
        (category("inside"), taxed(&inside[..1])),
        (category("inside_two"), taxed(&inside)),
        (category("exempt"), exempt),
        (category("reverse"), TaxTreatment::ReverseCharge),
    ])
}

fn party(name: &str) -> Party {
    Party {
        name: name.to_owned(),
        address: vec!["1 Example Road".to_owned()],
        country: "DE".parse().unwrap(),
        region: None,
        tax_id: None,
        email: None,
    }
}

pub(crate) fn head(currency: Currency) -> InvoiceHead {
    InvoiceHead {
        id: InvoiceId::new(1),
        account: AccountId::new(1),
        currency,
        seller: party("Seller"),
        buyer: party("买方"),
        locale: Locale::En,
        period: None,
        notes: Vec::new(),
    }
}

/// Parts of an invoice in a currency, with nothing listed yet.
pub(crate) fn parts(currency: Currency) -> InvoiceParts {
    InvoiceParts {
        head: head(currency),
        items: Vec::new(),
        minimum: None,
        carried: None,
        discounts: Vec::new(),
        promo: Minor::ZERO,
        treatments: treatments(),
    }
}

pub(crate) fn item(key: &str, component: Component, exact: Nanos) -> LineItem {
    LineItem {
        key: key.to_owned(),
        component,
        subject: "gpt-4o".to_owned(),
        period: Some(Period {
            start: EPOCH,
            end: EPOCH + Duration::days(30),
        }),
        quantity: Quantity::whole(1),
        unit: LineUnit::Calls,
        unit_price: None,
        meters: Vec::new(),
        exact,
        tax_category: category("exempt"),
        discountable: true,
        plan: None,
    }
}

pub(crate) fn usage(key: &str, exact: Nanos) -> LineItem {
    let component = Component::Usage {
        model: "gpt-4o".to_owned(),
        price_version: PriceVersionId::new(1),
    };
    item(key, component, exact)
}

pub(crate) fn number(series: &str) -> DocumentNumber {
    let series: billing_core::invoice::Series = series.parse().unwrap();
    series.after(None)
}

pub(crate) fn issue() -> Issue {
    Issue {
        number: number("INV-"),
        at: EPOCH,
        due_at: EPOCH + Duration::days(14),
    }
}

/// Given credit from two lots.
pub(crate) fn draws(amount: Minor, currency: Currency) -> Vec<LotDraw> {
    drawn(amount, currency, LotKind::Promo)
}

pub(crate) fn drawn(amount: Minor, currency: Currency, kind: LotKind) -> Vec<LotDraw> {
    let all = amount.nanos(currency).unwrap().get();
    [(1, all / 3), (2, all - all / 3)]
        .into_iter()
        .filter(|(_, part)| *part > 0)
        .map(|(lot, part)| LotDraw {
            lot: LotId::new(lot),
            kind,
            amount: Amount::of(Nanos::new(part)),
        })
        .collect()
}

pub(crate) fn entries_balance(entries: &[Entry]) -> bool {
    Nanos::total(entries.iter().map(|entry| entry.amount)) == 0
}

pub(crate) fn total_of(entries: &[Entry], code: LedgerCode) -> i128 {
    let of = entries.iter().filter(|entry| entry.code == code);
    Nanos::total(of.map(|entry| entry.amount))
}

/// What rounding had left before an invoice: what it leaves, less what its lines left.
pub(crate) fn carried_in(draft: &Draft) -> Nanos {
    let currency = draft.head.currency;
    let mut carried = draft.totals.carried;
    for line in &draft.lines {
        let settled = matches!(
            line.item.component,
            Component::Usage { .. } | Component::ProgressiveCredit { .. }
        );
        if settled {
            let residue = line.item.exact.minus(line.amount.nanos(currency).unwrap());
            carried = carried.minus(residue.unwrap()).unwrap();
        }
        if line.item.component == Component::Carried {
            let charged = line.amount.nanos(currency).unwrap();
            carried = carried.plus(charged).unwrap();
        }
    }
    carried
}

/// Any component with an amount that suits it.
fn any_charge() -> impl Strategy<Value = (Component, Nanos)> {
    let usage = Component::Usage {
        model: "gpt-4o".to_owned(),
        price_version: PriceVersionId::new(1),
    };
    let small = prop_oneof![0..30_000_000_i64, 0..2_000_000_000_000_i64];
    let credit = (1..9_000_000_000_i64, 1..9_000_000_000_i64);
    prop_oneof![
        4 => (Just(usage), small.clone()),
        2 => (Just(Component::PlanFee), small.clone()),
        1 => (Just(Component::AddOn), small.clone()),
        1 => (Just(Component::TopUp { lot: LotId::new(9) }), small.clone()),
        1 => (Just(Component::ProrationCharge), small.clone()),
        1 => credit.clone().prop_map(|(unearned, exact)| {
            let unearned = Nanos::new(unearned);
            (Component::ProrationCredit { unearned }, -exact)
        }),
        1 => credit.prop_map(|(exact, residue)| {
            let (invoice, billed) = (InvoiceId::new(2), Minor::new(exact / 10_000_000));
            let residue = residue % 5_000_000;
            let component = Component::ProgressiveCredit { invoice, billed };
            (component, -(exact / 10_000_000 * 10_000_000 + residue))
        }),
    ]
    .prop_map(|(component, exact)| (component, Nanos::new(exact)))
}

fn any_discount() -> impl Strategy<Value = Discount> {
    let percent = (0..=110_u32)
        .prop_map(|percent| Off::Percent(billing_core::charge_model::Percent::whole(percent)));
    let amount = (0..100_000_i64).prop_map(|amount| Off::Amount(Minor::new(amount)));
    let minimum = proptest::option::of((0..50_000_i64).prop_map(Minor::new));
    (prop_oneof![percent, amount], minimum, any::<bool>()).prop_map(|(off, minimum, of_plan)| {
        Discount {
            name: "Spring".to_owned(),
            code: None,
            off,
            minimum,
            plans: if of_plan {
                BTreeSet::from([PlanId::new(1)])
            } else {
                BTreeSet::new()
            },
        }
    })
}

pub(crate) fn any_parts() -> impl Strategy<Value = InvoiceParts> {
    let categories: Vec<TaxCategory> = treatments().into_keys().collect();
    let category = proptest::sample::select(categories);
    let line = (any_charge(), category.clone(), any::<bool>(), any::<bool>());
    let discounts = proptest::collection::vec(any_discount(), 0..3);
    let carried = proptest::option::of((-40_000_000..40_000_000_i64, category));
    let code = proptest::sample::select(vec!["JPY", "USD", "KWD"]);
    let promo = prop_oneof![Just(0), 0..20_000_i64];
    (
        proptest::collection::vec(line, 1..12),
        discounts,
        promo,
        carried,
        code,
    )
        .prop_map(|(lines, discounts, promo, carried, code)| {
            let of = |(at, (charge, category, discountable, of_plan))| {
                let (component, exact): (Component, Nanos) = charge;
                let at: usize = at;
                LineItem {
                    tax_category: category,
                    discountable,
                    plan: Option::from(of_plan)
                        .filter(|of| *of)
                        .map(|_: bool| PlanId::new(1)),
                    ..item(&format!("line:{at}"), component, exact)
                }
            };
            InvoiceParts {
                items: lines.into_iter().enumerate().map(of).collect(),
                discounts,
                promo: Minor::new(promo),
                carried: carried.map(|(amount, tax_category)| Carried {
                    amount: Nanos::new(amount),
                    tax_category,
                }),
                ..parts(currency(code))
            }
        })
}
