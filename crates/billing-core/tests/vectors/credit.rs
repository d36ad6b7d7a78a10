//! Draw-down of credit: which lots a charge takes, and which it goes back to.

use billing_core::budget::Amount;
use billing_core::id::LotId;
use billing_core::money::Nanos;
use billing_core::wallet::{Lot, LotDraw, LotKind, draw, unwind};
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::text;

const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

/// Draws a usage from lots: what each has left, and what none covered.
pub(crate) fn burn(input: &Value, expected: &Value) {
    let grants = input["grants"].as_array().unwrap();
    let mut lots: Vec<Lot> = (1..).zip(grants).map(lot).collect();
    let now = after_all(&lots);
    let (_, overage) = draw(&mut lots, amount(&input["usage"]), now);
    assert_eq!(overage, amount(&expected["overage"]));
    for (n, grant) in (1..).zip(grants) {
        let left = lots
            .iter()
            .find(|lot| lot.id == LotId::new(n))
            .unwrap()
            .remaining;
        assert_eq!(left, amount(&expected["balances"][text(&grant["id"])]));
    }
    assert_eq!(expected["balances"].as_object().unwrap().len(), lots.len());
}

/// Draws all of some lots: in which order they are taken.
pub(crate) fn burn_order(input: &Value, expected: &Value) {
    let grants = input["grants"].as_array().unwrap();
    let mut lots: Vec<Lot> = (1..).zip(grants).map(lot).collect();
    let now = after_all(&lots);
    let (draws, _) = draw(&mut lots, Amount::MAX, now);
    let order: Vec<&Value> = draws
        .iter()
        .map(|drawn| &grants[usize::try_from(drawn.lot.get()).unwrap() - 1]["id"])
        .collect();
    assert_eq!(
        order,
        expected["order"]
            .as_array()
            .unwrap()
            .iter()
            .collect::<Vec<_>>()
    );
}

/// Gives a part of what was drawn back: what each lot gets, in the order of drawing.
pub(crate) fn unwind_draws(input: &Value, expected: &Value) {
    let collected = input["collected"].as_array().unwrap();
    let draws: Vec<LotDraw> = (1..)
        .zip(collected)
        .map(|(n, taken)| LotDraw {
            lot: LotId::new(n),
            kind: LotKind::Paid,
            amount: amount(taken),
        })
        .collect();
    let empty = |drawn: &LotDraw| Lot {
        granted: drawn.amount,
        ..a_lot(drawn.lot, Amount::ZERO)
    };
    let mut lots: Vec<Lot> = draws.iter().map(empty).collect();
    unwind(&mut lots, &draws, amount(&input["correct"]));
    let restored: Vec<Amount> = lots.iter().map(|lot| lot.remaining).collect();
    let wanted = expected["restored"].as_array().unwrap();
    assert_eq!(restored, wanted.iter().map(amount).collect::<Vec<_>>());
}

fn lot((n, grant): (i64, &Value)) -> Lot {
    // `burn_order` speaks of order alone: its lots hold one each.
    let balance = grant.get("balance").map_or(Amount::new(1), amount);
    let kind = match grant["category"].as_str() {
        Some("promotional") => LotKind::Promo,
        Some("paid") | None => LotKind::Paid,
        Some(other) => panic!("unknown category {other}"),
    };
    Lot {
        kind,
        priority: i16::try_from(grant["priority"].as_i64().unwrap()).unwrap(),
        expires_at: grant["expires"].as_str().map(instant),
        created_at: START + Duration::seconds(grant["created"].as_i64().unwrap_or(0)),
        ..a_lot(LotId::new(n), balance)
    }
}

fn a_lot(id: LotId, balance: Amount) -> Lot {
    Lot {
        id,
        kind: LotKind::Paid,
        priority: 0,
        effective_at: START,
        expires_at: None,
        created_at: START,
        granted: balance,
        remaining: balance,
    }
}

/// An instant, or a month and a day of one year.
fn instant(text: &str) -> OffsetDateTime {
    let whole = if text.len() == 5 {
        format!("2024-{text}T00:00:00Z")
    } else {
        text.to_owned()
    };
    OffsetDateTime::parse(&whole, &Rfc3339).unwrap()
}

/// When every lot has been created.
fn after_all(lots: &[Lot]) -> OffsetDateTime {
    lots.iter().map(|lot| lot.created_at).max().unwrap_or(START)
}

fn amount(value: &Value) -> Amount {
    Amount::of(Nanos::parse(text(value)).unwrap())
}
