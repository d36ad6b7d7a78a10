//! A credit note as a document.

use billing_core::invoice::{CreditNote, CreditTo, CreditedLine, Invoice, Locale, TaxRate};
use billing_core::money::Minor;
use billing_core::zone::Zone;

use crate::bill::{column, description, fact, party, total};
use crate::document::{Cell, Document, Row, Side, Total, TotalKind};
use crate::figures::{Hand, amount, money};
use crate::words::Word;

impl Document {
    /// A credit note of an invoice.
    pub fn credit_note(note: &CreditNote, invoice: &Invoice, locale: Locale, zone: &Zone) -> Self {
        let hand = Hand { locale, zone };
        let head = &invoice.content.head;
        let currency = format!("{} ({})", hand.word(Word::Amount), note.currency);
        let mut facts = vec![
            fact(hand, Word::Number, note.number.to_string()),
            fact(hand, Word::Issued, hand.date(note.issued_at)),
            fact(hand, Word::ForInvoice, note.invoice_number.to_string()),
            fact(hand, Word::Account, note.account.to_string()),
        ];
        if !note.reason.is_empty() {
            facts.push(fact(hand, Word::Reason, note.reason.clone()));
        }
        Self {
            locale,
            title: hand.word(Word::CreditNote),
            number: note.number.to_string(),
            stamp: None,
            seller: party(&head.seller, Word::From, hand),
            buyer: party(&head.buyer, Word::BilledTo, hand),
            facts,
            columns: vec![
                column(hand.word(Word::Description), Side::Left),
                column(hand.word(Word::Tax), Side::Right),
                column(currency, Side::Right),
            ],
            rows: note
                .lines
                .iter()
                .map(|line| row(line, note, invoice, hand))
                .collect(),
            totals: totals(note, hand),
            notes: Vec::new(),
        }
    }
}

fn row(credited: &CreditedLine, note: &CreditNote, invoice: &Invoice, hand: Hand<'_>) -> Row {
    let line = invoice.content.lines.get(credited.line);
    let period = line.and_then(|line| line.item.period);
    let rates = credited
        .taxes
        .iter()
        .map(|tax| format!("{}%", tax.rate.percent));
    let rates: Vec<String> = rates.collect();
    Row {
        cells: vec![
            Cell {
                text: line.map(|line| description(line, hand)).unwrap_or_default(),
                details: period
                    .map(|period| hand.period(period))
                    .into_iter()
                    .collect(),
            },
            rates.join(" + ").into(),
            amount(credited.amount, note.currency).into(),
        ],
    }
}

fn totals(note: &CreditNote, hand: Hand<'_>) -> Vec<Total> {
    let currency = note.currency;
    let net = amount(note.net, currency);
    let mut totals = vec![total(hand.word(Word::Net), net, TotalKind::Plain)];
    let mut taxes: Vec<(&TaxRate, Minor)> = Vec::new();
    for tax in note.lines.iter().flat_map(|line| &line.taxes) {
        match taxes.iter_mut().find(|(rate, _)| **rate == tax.rate) {
            Some((_, sum)) => *sum = sum.plus(tax.amount).unwrap_or(*sum),
            None => taxes.push((&tax.rate, tax.amount)),
        }
    }
    for (rate, tax) in taxes {
        let tax = amount(tax, currency);
        totals.push(total(hand.tax(rate), tax, TotalKind::Plain));
    }
    let all = money(note.total, currency);
    totals.push(total(hand.word(Word::Total), all, TotalKind::Sum));
    let to = match note.to {
        CreditTo::Balance => Word::ToBalance,
        CreditTo::Wallet(_) => Word::ToWallet,
        CreditTo::Refund => Word::Refunded,
    };
    for (word, part) in [(Word::Offset, note.offset), (to, note.back)] {
        if !part.is_zero() {
            let part = amount(part, currency);
            totals.push(total(hand.word(word), part, TotalKind::Part));
        }
    }
    totals
}
