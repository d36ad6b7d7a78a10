//! A statement of a prepaid wallet as a document.

use billing_core::invoice::{LineUnit, Locale, Movement, MovementKind, Statement};
use billing_core::zone::Zone;

use crate::bill::{column, fact, party, total};
use crate::document::{Cell, Column, Document, Row, Side, TotalKind};
use crate::figures::{Hand, aligned};
use crate::words::Word;

impl Document {
    /// A statement: what moved in a wallet, between its balance before and after.
    pub fn statement(statement: &Statement, locale: Locale, zone: &Zone) -> Self {
        let hand = Hand { locale, zone };
        let currency = statement.currency;
        let plain = |word, value| total(hand.word(word), value, TotalKind::Plain);
        let movements = statement.movements.iter();
        let is_counted = movements.clone().any(|movement| movement.calls.is_some());
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
            columns: columns(is_counted, hand),
            rows: rows
                .map(|(m, amount)| row((m, is_counted), amount, hand))
                .collect(),
            totals: vec![
                plain(Word::Open, opening),
                total(hand.word(Word::Close), closing, TotalKind::Sum),
            ],
            notes: Vec::new(),
        }
    }
}

/// There is one of quantities where anything has one.
fn columns(is_counted: bool, hand: Hand<'_>) -> Vec<Column> {
    let counted = is_counted.then_some((Word::Quantity, Side::Right));
    let all = [
        Some((Word::Description, Side::Left)),
        Some((Word::Date, Side::Left)),
        counted,
        Some((Word::Amount, Side::Right)),
    ];
    let all = all.into_iter().flatten();
    all.map(|(word, side)| column(hand.word(word), side))
        .collect()
}

fn row((movement, is_counted): (&Movement, bool), amount: String, hand: Hand<'_>) -> Row {
    let word = hand.word(match movement.kind {
        MovementKind::TopUp => Word::TopUp,
        MovementKind::Promo => Word::Promo,
        MovementKind::Usage => Word::Usage,
        MovementKind::Adjustment => Word::Adjustment,
        MovementKind::Expiry => Word::Expiry,
        MovementKind::Invoice => Word::InvoicePaid,
        MovementKind::Payment => Word::Payment,
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
    let date = movement.at.map(|at| hand.date(at)).unwrap_or_default();
    let mut cells = vec![Cell::from(text), date.into()];
    if is_counted {
        cells.push(calls.unwrap_or_default().into());
    }
    cells.push(amount.into());
    Row { cells }
}
