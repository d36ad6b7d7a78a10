//! Amounts below a minor unit are carried from invoice to invoice, and none is lost or charged twice.

use billing_core::invoice::{Carried, assemble};
use billing_core::money::{Currency, Minor, Money, Nanos};
use proptest::prelude::*;

use crate::cases;
use crate::parts::{category, currency, parts, usage};

/// What a year of months came to.
struct Year {
    /// What invoices charged.
    billed: Minor,
    /// What rounding has left in the books.
    carried: Nanos,
    /// What was used and is on no invoice.
    unbilled: Nanos,
    invoices: u32,
}

/// Invoices each month for what its models were used for, unless it comes to less than the least.
fn year(currency: Currency, months: &[Vec<i64>], least: Minor) -> Year {
    let mut year = Year {
        billed: Minor::ZERO,
        carried: Nanos::ZERO,
        unbilled: Nanos::ZERO,
        invoices: 0,
    };
    let mut waiting: Vec<i64> = Vec::new();
    for month in months {
        waiting.resize(waiting.len().max(month.len()), 0);
        for (sum, used) in waiting.iter_mut().zip(month) {
            *sum += used;
        }
        let mut parts = parts(currency);
        let lines = waiting.iter().enumerate();
        parts.items = lines
            .map(|(model, used)| usage(&format!("model:{model}"), Nanos::new(*used)))
            .collect();
        parts.carried = Some(Carried {
            amount: year.carried,
            tax_category: category("exempt"),
        });
        let draft = assemble(parts).unwrap();
        if draft.may_wait(least) {
            continue;
        }
        waiting.clear();
        year.billed = year.billed.plus(draft.totals.total).unwrap();
        year.carried = draft.totals.carried;
        year.invoices += 1;
    }
    year.unbilled = Nanos::new(waiting.iter().sum());
    year
}

#[test]
fn a_third_of_a_cent_a_month_is_four_cents_a_year() {
    let months = vec![vec![3_333_333]; 12];
    let year = year(Currency::USD, &months, Minor::new(1));
    let left = year.carried.plus(year.unbilled).unwrap();
    assert_eq!(year.billed, Minor::new(4));
    assert_eq!(left, Nanos::new(12 * 3_333_333 - 40_000_000));
}

#[test]
fn many_models_of_a_tenth_of_a_cent_are_charged_together() {
    // Each line of forty shows nothing; what they leave is charged by the next invoice that is due.
    let mut months = vec![vec![1_000_000; 40]; 3];
    months[0].push(10_000_000);
    months[1].push(10_000_000);
    months[2].push(10_000_000);
    let year = year(Currency::USD, &months, Minor::new(1));
    assert_eq!(year.billed, Minor::new(3 + 2 * 4));
    assert_eq!(year.carried, Nanos::new(40_000_000));
    assert_eq!(year.invoices, 3);
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_year_loses_nothing(
        code in proptest::sample::select(vec!["JPY", "USD", "KWD"]),
        months in proptest::collection::vec(
            proptest::collection::vec(prop_oneof![0..12_000_000_i64, 0..3_000_000_000_i64], 1..6),
            12,
        ),
        least in prop_oneof![Just(1), Just(50)],
    ) {
        let currency = currency(code);
        let year = year(currency, &months, Minor::new(least));
        let used: i64 = months.iter().flatten().sum();
        let billed = year.billed.nanos(currency).unwrap();
        let kept = billed.plus(year.carried).unwrap().plus(year.unbilled).unwrap();
        prop_assert_eq!(kept, Nanos::new(used));
        // An invoice leaves at most half a minor unit for each of its lines, one of them the carry.
        let unit = Minor::new(1).nanos(currency).unwrap().get();
        prop_assert!(year.carried.get().abs() <= unit / 2 * 6 + unit);
        let exact = Money::new(year.carried, currency);
        prop_assert!(Minor::within(exact).get().abs() <= 4);
    }
}
