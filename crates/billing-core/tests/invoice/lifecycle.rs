//! An invoice from its draft to the end, and what each step books.

use billing_core::id::{CreditNoteId, InvoiceId, LotId};
use billing_core::invoice::{
    AppliedCredit, AssemblyError, Booked, Component, CreditAsk, CreditError, CreditLine,
    CreditNote, CreditTo, Discount, Draft, Invoice, InvoiceError, InvoiceParts, InvoiceStatus,
    LineItem, Minimum, Off, assemble, wallet_change,
};
use billing_core::ledger::LedgerCode as Code;
use billing_core::money::{Currency, Minor, Nanos};
use billing_core::wallet::LotKind;
use time::Duration;

use crate::parts::{
    EPOCH, category, drawn, entries_balance, issue, item, number, parts, total_of, usage,
};

const CENT: i64 = 10_000_000;

fn cents(cents: i64) -> Nanos {
    Nanos::new(cents * CENT)
}

fn in_category(name: &str, item: LineItem) -> LineItem {
    LineItem {
        tax_category: category(name),
        ..item
    }
}

fn with(items: Vec<LineItem>) -> InvoiceParts {
    InvoiceParts {
        items,
        ..parts(Currency::USD)
    }
}

fn draft(items: Vec<LineItem>) -> Draft {
    assemble(with(items)).unwrap()
}

fn finalized(items: Vec<LineItem>) -> Booked {
    draft(items).finalize(issue(), &[]).unwrap()
}

fn fee(exact: Nanos) -> LineItem {
    in_category("standard", item("fee", Component::PlanFee, exact))
}

#[test]
fn the_order_of_assembly_is_that_of_the_rules() {
    let progressive = Component::ProgressiveCredit {
        invoice: InvoiceId::new(2),
        billed: Minor::new(400),
    };
    let mut parts = with(vec![
        item("progressive", progressive, cents(-400)),
        usage("usage", cents(1000)),
        item("fee", Component::PlanFee, cents(2000)),
    ]);
    parts.minimum = Some(Minimum {
        item: item("minimum", Component::MinimumTrueUp, cents(1500)),
        met: cents(100),
    });
    parts.discounts = vec![Discount {
        name: "half".to_owned(),
        code: None,
        off: Off::Percent("50".parse().unwrap()),
        minimum: None,
        plans: std::collections::BTreeSet::new(),
    }];
    parts.promo = Minor::new(300);
    let draft = assemble(parts).unwrap();
    let keys: Vec<&str> = draft.lines.iter().map(|l| l.item.key.as_str()).collect();
    assert_eq!(keys, ["usage", "fee", "minimum", "progressive"]);
    // 1000 + 2000 + (1500 − 100 − 1000) − 400, half of it off, then 300 of given credit.
    let totals = draft.totals;
    assert_eq!(totals.lines, Minor::new(3000));
    assert_eq!(totals.discount, Minor::new(1500));
    assert_eq!(totals.total, Minor::new(1200));
}

#[test]
fn a_discount_lowers_tax_and_a_minimum_that_is_not_reached_skips_it() {
    let mut parts = with(vec![fee(cents(10_000))]);
    let discount = Discount {
        name: "Spring".to_owned(),
        code: Some("SPRING".parse().unwrap()),
        off: Off::Amount(Minor::new(2000)),
        minimum: Some(Minor::new(10_000)),
        plans: std::collections::BTreeSet::new(),
    };
    parts.discounts = vec![discount.clone()];
    let draft = assemble(parts.clone()).unwrap();
    assert_eq!(draft.totals.tax, Minor::new(1520));
    assert_eq!(draft.totals.total, Minor::new(9520));
    parts.discounts[0].minimum = Some(Minor::new(10_001));
    let draft = assemble(parts).unwrap();
    assert_eq!(draft.totals.total, Minor::new(11_900));
    assert_eq!(draft.skipped.len(), 1);
}

#[test]
fn usage_counts_against_the_credit_limit_until_it_is_paid() {
    let exact = Nanos::new(100 * CENT + 4_000_000);
    let Booked { invoice, entries } = finalized(vec![usage("usage", exact), fee(cents(1000))]);
    assert!(entries_balance(&entries));
    assert_eq!(total_of(&entries, Code::Unbilled), -i128::from(exact.get()));
    assert_eq!(total_of(&entries, Code::Rounding), 4_000_000);
    // Only what was rounded away is free again; a later invoice charges it.
    assert_eq!(wallet_change(&entries), 4_000_000);
    assert_eq!(invoice.owed.usage, Minor::new(100));
    assert_eq!(invoice.owed.other, Minor::new(1190));
    // Fees and taxes are paid first.
    let Booked { invoice, entries } = invoice.pay(Minor::new(1200), EPOCH).unwrap();
    assert_eq!(wallet_change(&entries), i128::from(10 * CENT));
    let Booked { invoice, entries } = invoice.pay(Minor::new(90), EPOCH).unwrap();
    assert_eq!(wallet_change(&entries), i128::from(90 * CENT));
    assert_eq!(invoice.status, InvoiceStatus::Paid(EPOCH));
    invoice.check().unwrap();
}

#[test]
fn credit_of_the_customer_pays_before_payments() {
    let Booked { invoice, .. } = finalized(vec![usage("usage", cents(1000))]);
    let Booked { invoice, entries } = invoice
        .apply(AppliedCredit::Notes(Minor::new(250)), EPOCH)
        .unwrap();
    assert_eq!(
        total_of(&entries, Code::CustomerCredit),
        i128::from(250 * CENT)
    );
    let draws = drawn(Minor::new(500), Currency::USD, LotKind::Paid);
    let Booked { invoice, entries } = invoice.apply(AppliedCredit::Wallet(draws), EPOCH).unwrap();
    assert!(entries_balance(&entries));
    // What leaves the wallet pays what counted against it.
    assert_eq!(wallet_change(&entries), 0);
    let paid = invoice.pay(Minor::new(250), EPOCH).unwrap().invoice;
    assert_eq!(paid.status, InvoiceStatus::Paid(EPOCH));
    paid.check().unwrap();
}

#[test]
fn what_cannot_be_paid_is_refused_and_changes_nothing() {
    let Booked { invoice, .. } = finalized(vec![usage("usage", cents(1000))]);
    let refused = |result: Result<Booked, InvoiceError>| result.unwrap_err();
    let pay = |amount| invoice.clone().pay(Minor::new(amount), EPOCH);
    assert_eq!(refused(pay(0)), InvoiceError::Nothing);
    assert_eq!(refused(pay(-5)), InvoiceError::Nothing);
    assert!(matches!(refused(pay(1001)), InvoiceError::TooMuch { .. }));
    let promo = drawn(Minor::new(5), Currency::USD, LotKind::Promo);
    let given = invoice.clone().apply(AppliedCredit::Wallet(promo), EPOCH);
    assert_eq!(refused(given), InvoiceError::WrongLot);
    let paid = pay(1000).unwrap().invoice;
    let again = paid.clone().pay(Minor::new(1), EPOCH);
    assert!(matches!(refused(again), InvoiceError::NotOpen(_, "paid")));
    let void = paid.void(&[], Nanos::ZERO, EPOCH);
    assert!(matches!(refused(void), InvoiceError::Touched(_)));
}

#[test]
fn a_void_invoice_keeps_its_number_and_its_usage_waits_for_another() {
    let items = vec![usage("usage", Nanos::new(12_345_678)), fee(cents(1000))];
    let Booked { invoice, entries } = finalized(items);
    let earned = cents(250);
    let number = invoice.number.clone();
    let voided = invoice.void(&entries, earned, EPOCH).unwrap();
    assert!(entries_balance(&voided.entries));
    let unbilled = total_of(&voided.entries, Code::Unbilled);
    assert_eq!(unbilled, 12_345_678);
    let deferred = total_of(&voided.entries, Code::DeferredSubscription);
    assert_eq!(deferred, i128::from(750 * CENT));
    assert_eq!(voided.invoice.number, number);
    let twice = voided.invoice.clone().void(&entries, earned, EPOCH);
    assert!(matches!(twice, Err(InvoiceError::NotOpen(_, "void"))));
    assert!(matches!(
        voided.invoice.pay(Minor::new(1), EPOCH),
        Err(InvoiceError::NotOpen(..))
    ));
}

#[test]
fn fees_are_earned_as_time_passes_and_sum_to_what_was_deferred() {
    let items = vec![fee(cents(3000)), usage("usage", cents(5))];
    let draft = draft(items);
    let deferrals = draft.deferrals().unwrap();
    let [(0, deferral)] = deferrals[..] else {
        panic!("{deferrals:?}")
    };
    let (earned, rest) = deferral.earned(EPOCH + Duration::days(10));
    assert_eq!((earned, rest.left), (cents(1000), cents(2000)));
    let booked = draft.finalize(issue(), &[]).unwrap();
    let deferred = total_of(&booked.entries, Code::DeferredSubscription);
    assert_eq!(deferred, -i128::from(3000 * CENT));
}

#[test]
fn progressive_invoices_and_the_last_one_charge_a_period_once() {
    // 12.346 was used until the first invoice, 20.004 in all.
    let (first, all) = (Nanos::new(12_346_000_000), Nanos::new(20_004_000_000));
    let early = draft(vec![usage("early", first)]);
    assert_eq!(early.totals.total, Minor::new(1235));
    let billed = early.totals.lines;
    let invoice = InvoiceId::new(2);
    let component = Component::ProgressiveCredit { invoice, billed };
    let credit = item("progressive", component, first.negated().unwrap());
    let mut last = with(vec![usage("all", all), credit]);
    last.carried = Some(billing_core::invoice::Carried {
        amount: early.totals.carried,
        tax_category: category("exempt"),
    });
    let last = assemble(last).unwrap();
    assert_eq!(last.totals.total, Minor::new(765));
    assert_eq!(last.totals.carried, Nanos::new(4_000_000));
}

#[test]
fn bought_credit_is_taxed_when_it_is_bought() {
    let lot = LotId::new(7);
    let top_up = in_category(
        "inside",
        item("top-up", Component::TopUp { lot }, cents(10_600)),
    );
    let Booked { invoice, entries } = finalized(vec![top_up]);
    let paid_in = entries.iter().find(|e| e.lot == Some(lot)).unwrap();
    assert_eq!(
        (paid_in.code, paid_in.amount),
        (Code::WalletPaid, cents(-10_000))
    );
    assert_eq!(
        total_of(&entries, Code::TaxPayable),
        -i128::from(600 * CENT)
    );
    let invoice = invoice.pay(Minor::new(10_600), EPOCH).unwrap().invoice;
    // Half of it is used: no more than the rest can be given back.
    let ask = |amount| credit_ask(0, amount, cents(5000), CreditTo::Refund);
    let refused = invoice.credit(&[], ask(5302)).unwrap_err();
    assert!(matches!(refused, CreditError::Used { line: 0, .. }));
    let issued = invoice.credit(&[], ask(5300)).unwrap();
    assert_eq!(issued.note.tax, Minor::new(300));
}

fn credit_ask(line: usize, amount: i64, unused: Nanos, to: CreditTo) -> CreditAsk {
    CreditAsk {
        id: CreditNoteId::new(1),
        number: number("CN-"),
        at: EPOCH,
        reason: "canceled".to_owned(),
        lines: vec![CreditLine {
            line,
            amount: Minor::new(amount),
            unused,
        }],
        to,
    }
}

fn credited(invoice: &Invoice, notes: &[CreditNote], ask: CreditAsk) -> (CreditNote, Invoice) {
    let issued = invoice.credit(notes, ask).unwrap();
    assert!(entries_balance(&issued.entries));
    issued.invoice.check().unwrap();
    (issued.note, issued.invoice)
}

#[test]
fn a_credit_note_lowers_what_is_owed_before_it_gives_back() {
    let Booked { invoice, .. } = finalized(vec![fee(cents(10_000))]);
    let invoice = invoice.pay(Minor::new(10_000), EPOCH).unwrap().invoice;
    // 19 % on top: 1900 are still owed.
    let ask = credit_ask(0, 5000, cents(3000), CreditTo::Balance);
    let issued = invoice.credit(&[], ask).unwrap();
    let note = &issued.note;
    assert_eq!((note.total, note.tax), (Minor::new(5950), Minor::new(950)));
    assert_eq!(
        (note.offset, note.back),
        (Minor::new(1900), Minor::new(4050))
    );
    assert_eq!(issued.invoice.status, InvoiceStatus::Paid(EPOCH));
    let of = |code| total_of(&issued.entries, code);
    assert_eq!(of(Code::DeferredSubscription), i128::from(3000 * CENT));
    assert_eq!(of(Code::RevenueSubscription), i128::from(2000 * CENT));
    assert_eq!(of(Code::CustomerCredit), -i128::from(4050 * CENT));
}

#[test]
fn refunds_never_exceed_payments() {
    let Booked { invoice, .. } = finalized(vec![usage("usage", cents(1000))]);
    let draws = drawn(Minor::new(600), Currency::USD, LotKind::Paid);
    let invoice = invoice
        .apply(AppliedCredit::Wallet(draws), EPOCH)
        .unwrap()
        .invoice;
    let invoice = invoice.pay(Minor::new(400), EPOCH).unwrap().invoice;
    let ask = |amount, to| credit_ask(0, amount, Nanos::ZERO, to);
    let (first, invoice) = credited(&invoice, &[], ask(300, CreditTo::Refund));
    let notes = [first];
    let refused = invoice
        .credit(&notes, ask(101, CreditTo::Refund))
        .unwrap_err();
    assert!(matches!(refused, CreditError::NotPaid { .. }));
    let (second, invoice) = credited(&invoice, &notes, ask(700, CreditTo::Wallet(LotId::new(3))));
    let notes = [notes[0].clone(), second];
    let refused = invoice
        .credit(&notes, ask(1, CreditTo::Balance))
        .unwrap_err();
    assert!(matches!(refused, CreditError::TooMuch { .. }));
}

#[test]
fn what_is_no_invoice_is_refused_by_name() {
    let refused = |parts| assemble(parts).unwrap_err();
    assert_eq!(refused(with(Vec::new())), AssemblyError::NoLines);
    let twice = with(vec![usage("a", cents(1)), usage("a", cents(2))]);
    assert_eq!(refused(twice), AssemblyError::SameKey("a".to_owned()));
    let negative = with(vec![fee(cents(-1))]);
    assert_eq!(
        refused(negative),
        AssemblyError::WrongSign("fee".to_owned())
    );
    let unknown = with(vec![in_category("books", usage("a", cents(1)))]);
    assert_eq!(
        refused(unknown),
        AssemblyError::NoTreatment(category("books"))
    );
    let unearned = Nanos::ZERO;
    let credit = item("credit", Component::ProrationCredit { unearned }, cents(-5));
    let credits = with(vec![credit, usage("a", cents(3))]);
    assert_eq!(
        refused(credits),
        AssemblyError::CreditsExceedCharges("0.02".to_owned())
    );
    let mut nameless = with(vec![usage("a", cents(1))]);
    nameless.head.buyer.name = String::new();
    assert!(matches!(refused(nameless), AssemblyError::Buyer(_)));
}

#[test]
fn a_draft_that_was_tampered_with_is_never_finalized() {
    let whole = draft(vec![usage("usage", cents(1000)), fee(cents(50))]);
    for tamper in [
        (|draft: &mut Draft| draft.totals.total = Minor::new(1)) as fn(&mut Draft),
        |draft| draft.lines[0].amount = Minor::new(999),
        |draft| draft.lines[0].discount = Minor::new(1),
        |draft| draft.taxes[0].amount = Minor::new(9),
        |draft| drop(draft.lines.pop()),
    ] {
        let mut draft = whole.clone();
        tamper(&mut draft);
        let refused = draft.finalize(issue(), &[]).unwrap_err();
        let expected = matches!(
            refused,
            InvoiceError::Assembly(AssemblyError::Contradiction(_))
        );
        assert!(expected, "{refused}");
    }
}
