//! Invoices, credit notes and what they book, for any lines, taxes and discounts.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what should not have failed"
)]

#[path = "invoice/carry.rs"]
mod carry;
#[path = "invoice/fees.rs"]
mod fees;
#[path = "invoice/lifecycle.rs"]
mod lifecycle;
#[path = "invoice/parts.rs"]
mod parts;

use std::collections::BTreeMap;

use billing_core::charge_model::minor::{included_in, share_of};
use billing_core::invoice::{
    AssemblyError, CreditAsk, CreditLine, CreditNote, CreditTo, Draft, Invoice, TaxRate, assemble,
};
use billing_core::ledger::{Entry, LedgerCode as Code};
use billing_core::money::{Minor, Nanos};
use parts::{draws, entries_balance, issue, number};
use proptest::prelude::*;
use time::OffsetDateTime;

/// A minimal case is printed, not kept in a file.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_global_rejects: 100_000,
        ..ProptestConfig::default()
    }
}

fn sum(amounts: impl IntoIterator<Item = Minor>) -> i64 {
    amounts.into_iter().map(Minor::get).sum()
}

/// The invoice of any parts; those whose credits exceed their charges make none.
fn drafts() -> impl Strategy<Value = Draft> {
    parts::any_parts().prop_filter_map("credits exceed charges", |parts| {
        match assemble(parts.clone()) {
            Ok(draft) => Some(draft),
            Err(AssemblyError::CreditsExceedCharges(_)) => None,
            Err(other) => panic!("{other}: {parts:?}"),
        }
    })
}

fn finalized(draft: Draft) -> (Invoice, Vec<Entry>) {
    let promo = draws(draft.totals.promo, draft.head.currency);
    let booked = draft.finalize(issue(), &promo).unwrap();
    booked.invoice.check().unwrap();
    (booked.invoice, booked.entries)
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn lines_less_discounts_plus_taxes_are_the_total(draft in drafts()) {
        draft.check().unwrap();
        let totals = draft.totals;
        let mut added = 0;
        for tax in &draft.taxes {
            let parts = draft.lines.iter().flat_map(|line| &line.taxes);
            let parts = parts.filter(|part| part.rate == tax.rate).map(|part| part.amount);
            prop_assert_eq!(sum(parts), tax.amount.get(), "{}", &tax.rate.name);
            added += if tax.rate.included { 0 } else { tax.amount.get() };
        }
        let shown = sum(draft.lines.iter().map(|line| line.amount));
        let off = totals.discount.get() + totals.promo.get();
        prop_assert_eq!(shown - off + added, totals.total.get());
        prop_assert_eq!(totals.net.get() + totals.tax.get(), totals.total.get());
        prop_assert!(!totals.total.is_negative() && !totals.tax.is_negative());
    }

    /// What several included rates come to depends on which of them a line is under, so each of
    /// those sets is rounded once.
    #[test]
    fn a_tax_is_rounded_once(draft in drafts()) {
        for tax in &draft.taxes {
            if !tax.rate.included {
                let due = share_of(tax.taxable.get(), tax.rate.percent).unwrap();
                prop_assert_eq!(tax.amount.get(), due);
                continue;
            }
            let under = |rates: &[TaxRate]| rates.contains(&tax.rate);
            let mut alone = 0;
            let mut sets = draft.treatments.values().filter(|t| under(t.rates()));
            if sets.any(|treatment| treatment.rates().len() > 1) {
                continue;
            }
            for line in &draft.lines {
                if line.taxes.iter().any(|part| part.rate == tax.rate) {
                    alone += line.charged().unwrap().get();
                }
            }
            prop_assert_eq!(tax.amount.get(), included_in(alone, tax.rate.percent).unwrap());
        }
    }

    #[test]
    fn finalizing_balances_and_leaves_what_rounding_left(draft in drafts()) {
        let (carried, totals) = (draft.totals.carried, draft.totals);
        let rounding_before = parts::carried_in(&draft);
        let currency = draft.head.currency;
        let (invoice, entries) = finalized(draft);
        prop_assert!(entries_balance(&entries));
        let of = |code| parts::total_of(&entries, code);
        let asked = totals.total.nanos(currency).unwrap().get();
        prop_assert_eq!(of(Code::Receivable) + of(Code::ReceivableUsage), i128::from(asked));
        let tax = totals.tax.nanos(currency).unwrap().get();
        prop_assert_eq!(of(Code::TaxPayable), -i128::from(tax));
        let rounding = i128::from(rounding_before.get()) + of(Code::Rounding);
        prop_assert_eq!(rounding, i128::from(carried.get()));
        prop_assert_eq!(invoice.owed.total().unwrap(), totals.total);
    }

    /// However an invoice is given back, in whatever parts and order, and paid or not: no more than
    /// it charged, in amount and in each tax; and all of it, once every line is given back.
    #[test]
    fn credit_notes_never_exceed_the_invoice(
        draft in drafts(),
        paid in any::<bool>(),
        steps in proptest::collection::vec((0..12_usize, 1..=100_i64), 0..12),
    ) {
        let (mut invoice, _) = finalized(draft);
        let due = invoice.owed.total().unwrap();
        if paid && !due.is_zero() {
            invoice = invoice.pay(due, OffsetDateTime::UNIX_EPOCH).unwrap().invoice;
        }
        let mut notes: Vec<CreditNote> = Vec::new();
        let whole = invoice.content.creditable().unwrap();
        let all = (0..whole.len()).map(|line| (line, 100));
        for (line, share) in steps.into_iter().chain(all) {
            let Some(creditable) = whole.get(line) else { continue };
            let given = notes.iter().flat_map(|n| &n.lines).filter(|l| l.line == line);
            let left = creditable.amount.get() - sum(given.map(|l| l.amount));
            let ask = |amount: i64| credit_ask(line, Minor::new(amount));
            prop_assert!(invoice.credit(&notes, ask(left + 1)).is_err());
            let amount = (left * share).div_euclid(100);
            if amount == 0 {
                continue;
            }
            let issued = invoice.credit(&notes, ask(amount)).unwrap();
            prop_assert!(entries_balance(&issued.entries));
            issued.invoice.check().unwrap();
            invoice = issued.invoice;
            notes.push(issued.note);
            exceeds_nothing(&invoice, &notes)?;
        }
        let total = sum(notes.iter().map(|note| note.total));
        let tax = sum(notes.iter().map(|note| note.tax));
        let totals = invoice.content.totals;
        prop_assert_eq!((total, tax), (totals.total.get(), totals.tax.get()));
        prop_assert!(invoice.owed.total().unwrap().is_zero());
    }

    #[test]
    fn voiding_undoes_all_that_was_booked(draft in drafts()) {
        let (invoice, booked) = finalized(draft);
        let voided = invoice.void(&booked, Nanos::ZERO, OffsetDateTime::UNIX_EPOCH).unwrap();
        voided.invoice.check().unwrap();
        let mut totals = BTreeMap::new();
        for entry in booked.iter().chain(&voided.entries) {
            *totals.entry((entry.code, entry.lot)).or_insert(0) += i128::from(entry.amount.get());
        }
        prop_assert!(totals.values().all(|total| *total == 0));
    }
}

fn credit_ask(line: usize, amount: Minor) -> CreditAsk {
    CreditAsk {
        id: billing_core::id::CreditNoteId::new(1),
        number: number("CN-"),
        at: OffsetDateTime::UNIX_EPOCH,
        reason: String::new(),
        lines: vec![CreditLine {
            line,
            amount,
            unused: Nanos::MAX,
        }],
        to: CreditTo::Balance,
    }
}

fn exceeds_nothing(invoice: &Invoice, notes: &[CreditNote]) -> Result<(), TestCaseError> {
    let totals = invoice.content.totals;
    prop_assert!(sum(notes.iter().map(|n| n.total)) <= totals.total.get());
    prop_assert!(sum(notes.iter().map(|n| n.net)) <= totals.net.get());
    for tax in &invoice.content.taxes {
        let lines = notes.iter().flat_map(|note| &note.lines);
        let given = lines.flat_map(|line| &line.taxes);
        let given = given.filter(|part| part.rate == tax.rate);
        let given = sum(given.map(|part| part.amount));
        prop_assert!(given <= tax.amount.get(), "{}: {given}", tax.rate.name);
    }
    Ok(())
}
