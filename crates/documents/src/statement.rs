//! A statement of a prepaid wallet as a document.

use billing_core::invoice::{LineUnit, Locale, Movement, MovementKind, Statement};
use billing_core::zone::Zone;

use crate::bill::{column, fact, party, total};
use crate::document::{Cell, Document, Row, Side, TotalKind};
use crate::figures::{Hand, aligned};
use crate::words::Word;

impl Document {
    /// A statement: what moved in a wallet, between its balance before and after.
    pub fn statement(statement: &Statement, locale: Locale, zone: &Zone) -> Self {
        let hand = Hand { locale, zone };
        let currency = statement.currency;
        let plain = |word, value| total(hand.word(word), value, TotalKind::Plain);
        let movements = statement.movements.iter();
        let mut amounts: Vec<_> = movements.map(|movement| movement.amount).collect();
        amounts.extend([statement.opening, statement.closing]);
        let mut amounts = aligned(&amounts);
        let closing = format!("{currency} {}", amounts.pop().unwrap_or_default());
        let opening = amounts.pop().unwrap_or_default();
        let rows = statement.movements.iter().zip(amounts);
        Self {
            locale,
            title: hand.word(Word::Statement),
            number: hand.period(statement.period),
            stamp: None,
            seller: party(&statement.seller, Word::From, hand),
            buyer: party(&statement.buyer, Word::BilledTo, hand),
            facts: vec![
                fact(hand, Word::Period, hand.period(statement.period)),
                fact(hand, Word::Account, statement.account.to_string()),
                fact(hand, Word::Currency, currency.to_string()),
            ],
            columns: vec![
                column(hand.word(Word::Description), Side::Left),
                column(hand.word(Word::Date), Side::Left),
                column(hand.word(Word::Quantity), Side::Right),
                column(hand.word(Word::Amount), Side::Right),
            ],
            rows: rows.map(|(m, amount)| row(m, amount, hand)).collect(),
            totals: vec![
                plain(Word::Open, opening),
                total(hand.word(Word::Close), closing, TotalKind::Sum),
            ],
            notes: Vec::new(),
        }
    }
}

fn row(movement: &Movement, amount: String, hand: Hand<'_>) -> Row {
    let word = hand.word(match movement.kind {
        MovementKind::TopUp => Word::TopUp,
        MovementKind::Promo => Word::Promo,
        MovementKind::Usage => Word::Usage,
        MovementKind::Adjustment => Word::Adjustment,
        MovementKind::Expiry => Word::Expiry,
        MovementKind::Invoice => Word::InvoicePaid,
        MovementKind::Refund => Word::Refund,
    });
    let text = match (movement.subject.is_empty(), hand.locale) {
        (true, _) => word,
        (false, Locale::En) => format!("{word}: {}", movement.subject),
        (false, Locale::ZhCn) => format!("{word}：{}", movement.subject),
    };
    let calls = movement
        .calls
        .map(|calls| hand.quantity(calls, LineUnit::Calls));
    Row {
        cells: vec![
            Cell::from(text),
            movement
                .at
                .map(|at| hand.date(at))
                .unwrap_or_default()
                .into(),
            calls.unwrap_or_default().into(),
            amount.into(),
        ],
    }
}
