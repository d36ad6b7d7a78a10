//! Statements on the wire.

use billing_core::invoice::{Movement, Statement};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::http::api::csv::{self, Cell};
use crate::http::api::wire::{MoneyDto, instant};
use crate::statements::StatedMonth;

/// A month of which there is a statement.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatedMonthDto {
    /// The month.
    #[schema(example = "2026-11")]
    month: String,
    /// Its first instant, by the account's zone.
    #[schema(example = "2026-11-01T00:00:00Z")]
    start: String,
    /// The first instant of the next month.
    #[schema(example = "2026-12-01T00:00:00Z")]
    end: String,
    /// Whether it is not over, so that more may be added to its statement.
    is_open: bool,
}

/// What moved in the wallet of an account in a month.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatementDto {
    /// Whose.
    #[schema(example = "acc_0001fv5kz4y00")]
    account: String,
    #[serde(flatten)]
    month: StatedMonthDto,
    /// The balance at its first instant.
    opening: MoneyDto,
    /// What moved, in order.
    movements: Vec<MovementDto>,
    /// The balance at its end, or now. It is the opening balance and all that moved.
    closing: MoneyDto,
}

/// Something that moved in a wallet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MovementDto {
    /// When; of usage the first instant of the day that it is the sum of.
    #[schema(example = "2026-11-22T00:00:00Z")]
    at: Option<String>,
    /// `top_up`, `promo`, `usage` (of a day), `adjustment`, `expiry`, `invoice` (paid from the wallet),
    /// `payment` (of an invoice for usage), `refund`.
    #[schema(example = "usage")]
    kind: &'static str,
    /// What was noted of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    subject: String,
    /// Above zero what came in.
    amount: MoneyDto,
}

impl StatedMonthDto {
    pub(crate) fn of(stated: &StatedMonth, now: OffsetDateTime) -> Self {
        Self {
            month: stated.month.to_string(),
            start: instant(stated.period.start),
            end: instant(stated.period.end),
            is_open: stated.is_open(now),
        }
    }
}

impl StatementDto {
    pub(crate) fn of(stated: &StatedMonth, statement: &Statement, now: OffsetDateTime) -> Self {
        let money = |amount| MoneyDto::of(amount, statement.currency);
        let moved = |movement: &Movement| MovementDto {
            at: movement.at.map(instant),
            kind: movement.kind.name(),
            subject: movement.subject.clone(),
            amount: money(movement.amount),
        };
        Self {
            account: statement.account.to_string(),
            month: StatedMonthDto::of(stated, now),
            opening: money(statement.opening),
            movements: statement.movements.iter().map(moved).collect(),
            closing: money(statement.closing),
        }
    }
}

/// A statement as comma-separated values: each movement, between the balances.
pub(crate) fn csv(statement: &Statement) -> String {
    let currency = statement.currency.code();
    let (start, end) = (
        instant(statement.period.start),
        instant(statement.period.end),
    );
    let row = |at: &str, kind: &str, subject: &str, amount| {
        csv::line([
            Cell::Text(at),
            Cell::Text(kind),
            Cell::Text(subject),
            Cell::Money(amount),
            Cell::Text(currency),
        ])
    };
    let mut text = csv::line(["at", "kind", "subject", "amount", "currency"].map(Cell::Text));
    text.push_str(&row(&start, "opening", "", statement.opening));
    for movement in &statement.movements {
        let at = movement.at.map(instant).unwrap_or_default();
        let kind = movement.kind.name();
        text.push_str(&row(&at, kind, &movement.subject, movement.amount));
    }
    text.push_str(&row(&end, "closing", "", statement.closing));
    text
}
