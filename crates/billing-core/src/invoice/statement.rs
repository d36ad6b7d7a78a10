//! Statements: what moved in a prepaid wallet during a period. They ask for nothing.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use time::{Date, Month, OffsetDateTime};

use super::house::{BillingDetails, Invoicing};
use super::party::{Locale, Party, PartyError, check_line, shown_line};
use crate::charge_model::Quantity;
use crate::id::AccountId;
use crate::ledger::LedgerKind;
use crate::money::{Currency, MoneyError, Nanos};
use crate::period::Period;
use crate::port::reports::ReportedDay;
use crate::zone::Zone;

/// The most that a statement lists beside usage; a wallet in which more is booked in a month is told by
/// the journal.
pub const MOST_BOOKED: u32 = 10_000;

/// A month of a calendar, as in `2026-11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatementMonth {
    year: i32,
    month: u8,
}

/// Whose statement it is, and of which time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementOf {
    /// Whose.
    pub account: AccountId,
    /// The currency of the wallet.
    pub currency: Currency,
    /// To whom it is written.
    pub buyer: BillingDetails,
    /// The period.
    pub period: Period,
}

/// What the books say of a wallet in a period.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moved {
    /// The balance at its first instant.
    pub opening: Nanos,
    /// What calls changed on each of its days on which they changed anything.
    pub usage: Vec<(ReportedDay, Nanos)>,
    /// What else was booked, in order.
    pub booked: Vec<MovedBy>,
    /// The balance at its end.
    pub closing: Nanos,
}

/// A transaction that is no settlement of calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedBy {
    /// When.
    pub at: OffsetDateTime,
    /// What it records.
    pub kind: LedgerKind,
    /// What is said of it.
    pub note: String,
    /// How it changed the balance.
    pub amount: Nanos,
}

/// What moved in a wallet during a period. Amounts are exact, as the wallet keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Whose.
    pub account: AccountId,
    /// The currency of every amount.
    pub currency: Currency,
    /// Who sells.
    pub seller: Party,
    /// Who buys.
    pub buyer: Party,
    /// The language that it is written in.
    pub locale: Locale,
    /// The period.
    pub period: Period,
    /// The balance at its first instant.
    pub opening: Nanos,
    /// What moved.
    pub movements: Vec<Movement>,
    /// The balance at its end.
    pub closing: Nanos,
}

/// Something that moved in a wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// When; of usage the first instant of the day. `None` for what is the sum of a period.
    pub at: Option<OffsetDateTime>,
    /// What it was.
    pub kind: MovementKind,
    /// What it is called: the model, the payment.
    pub subject: String,
    /// Of usage, how many calls.
    pub calls: Option<Quantity>,
    /// Above zero what came in.
    pub amount: Nanos,
}

/// What moved in a wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MovementKind {
    /// Credit was bought.
    TopUp,
    /// Credit was given.
    Promo,
    /// Calls of a model.
    Usage,
    /// A correction.
    Adjustment,
    /// Credit lapsed.
    Expiry,
    /// An invoice was paid from it.
    Invoice,
    /// A payment for usage that an invoice asks for.
    Payment,
    /// Bought credit was refunded.
    Refund,
}

/// Why something is no statement.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StatementError {
    /// The seller cannot stand on it.
    #[error("the seller: {0}")]
    Seller(#[source] PartyError),
    /// The buyer cannot stand on it.
    #[error("the buyer: {0}")]
    Buyer(#[source] PartyError),
    /// More was booked than a statement lists.
    #[error("more than {MOST_BOOKED} transactions beside usage; read the journal instead")]
    TooLong,
    /// A text cannot stand on it.
    #[error(transparent)]
    Text(PartyError),
    /// The text is no month.
    #[error("\"{0}\" is no month; give one such as 2026-11")]
    NotAMonth(String),
    /// The balances differ by something else than what moved.
    #[error("{opening} and what moved make {reached}, not {closing}")]
    DoesNotAddUp {
        /// The balance before.
        opening: Nanos,
        /// What that and the movements make.
        reached: Nanos,
        /// The balance after.
        closing: Nanos,
    },
    /// An amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

impl StatementMonth {
    /// The month that a day is in.
    pub fn of(day: Date) -> Self {
        Self {
            year: day.year(),
            month: day.month().into(),
        }
    }

    /// The month after it; `None` at the end of the calendar.
    pub fn next(self) -> Option<Self> {
        let (year, month) = match self.month.checked_add(1) {
            Some(month) if month <= 12 => (self.year, month),
            Some(_) | None => (self.year.checked_add(1)?, 1),
        };
        let next = Self { year, month };
        next.first_day().map(|_| next)
    }

    /// From its first instant in a zone up to the first of the next month there; `None` at the end of
    /// the calendar.
    pub fn period(self, zone: &Zone) -> Option<Period> {
        Some(Period {
            start: zone.start_of_day(self.first_day()?),
            end: zone.start_of_day(self.next()?.first_day()?),
        })
    }

    fn first_day(self) -> Option<Date> {
        let month = Month::try_from(self.month).ok()?;
        Date::from_calendar_date(self.year, month, 1).ok()
    }
}

impl FromStr for StatementMonth {
    type Err = StatementError;

    fn from_str(text: &str) -> Result<Self, StatementError> {
        let wrong = || StatementError::NotAMonth(text.chars().take(40).collect());
        let (year, month) = text.split_once('-').ok_or_else(wrong)?;
        let is_written = year.len() == 4 && month.len() == 2;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_written || !digits(year) || !digits(month) {
            return Err(wrong());
        }
        let year = year.parse().map_err(|_| wrong())?;
        let month = Self {
            year,
            month: month.parse().map_err(|_| wrong())?,
        };
        month.first_day().map(|_| month).ok_or_else(wrong)
    }
}

impl fmt::Display for StatementMonth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl Invoicing {
    /// A statement of what moved, of whom it says who sells.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn statement(&self, of: StatementOf, moved: Moved) -> Result<Statement, StatementError> {
        let most = usize::try_from(MOST_BOOKED).unwrap_or(usize::MAX);
        if moved.booked.len() > most {
            return Err(StatementError::TooLong);
        }
        // What calls took of a day stands at the day's end, after what paid for them.
        let usage = moved.usage.iter().map(|(day, amount)| {
            let of_day = Movement {
                at: Some(day.start),
                kind: MovementKind::Usage,
                subject: String::new(),
                calls: None,
                amount: *amount,
            };
            (day.end, of_day)
        });
        let booked = moved.booked.into_iter().map(|by| (by.at, by.movement()));
        let mut movements: Vec<(OffsetDateTime, Movement)> = usage.chain(booked).collect();
        movements.retain(|(_, movement)| !movement.amount.is_zero());
        movements.sort_by_key(|(order, _)| *order);
        let movements = movements.into_iter().map(|(_, movement)| movement);
        let statement = Statement {
            account: of.account,
            currency: of.currency,
            seller: self.seller.clone(),
            buyer: of.buyer.party,
            locale: of.buyer.locale,
            period: of.period,
            opening: moved.opening,
            movements: movements.collect(),
            closing: moved.closing,
        };
        statement.check()?;
        Ok(statement)
    }
}

impl MovedBy {
    fn movement(self) -> Movement {
        let kind = match self.kind {
            LedgerKind::TopUp => MovementKind::TopUp,
            LedgerKind::Promo => MovementKind::Promo,
            LedgerKind::Settlement => MovementKind::Usage,
            LedgerKind::Expiry => MovementKind::Expiry,
            LedgerKind::Fee | LedgerKind::Invoice | LedgerKind::InvoiceCredit => {
                MovementKind::Invoice
            }
            LedgerKind::InvoicePayment => MovementKind::Payment,
            LedgerKind::FeeCredit | LedgerKind::CreditNote => MovementKind::Refund,
            LedgerKind::Adjustment
            | LedgerKind::InvoiceVoid
            | LedgerKind::WriteOff
            | LedgerKind::Recognition => MovementKind::Adjustment,
        };
        // What a person noted. The other notes are for the journal.
        let is_said = matches!(
            self.kind,
            LedgerKind::TopUp | LedgerKind::Promo | LedgerKind::Adjustment
        );
        let subject = if is_said {
            shown_line(&self.note)
        } else {
            String::new()
        };
        Movement {
            at: Some(self.at),
            kind,
            subject,
            calls: None,
            amount: self.amount,
        }
    }
}

impl MovementKind {
    /// The wire name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TopUp => "top_up",
            Self::Promo => "promo",
            Self::Usage => "usage",
            Self::Adjustment => "adjustment",
            Self::Expiry => "expiry",
            Self::Invoice => "invoice",
            Self::Payment => "payment",
            Self::Refund => "refund",
        }
    }
}

impl Statement {
    /// Proves that what moved explains the balances, and that it can be set on paper.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn check(&self) -> Result<(), StatementError> {
        self.seller.check().map_err(StatementError::Seller)?;
        self.buyer.check().map_err(StatementError::Buyer)?;
        for movement in &self.movements {
            check_line("line", &movement.subject).map_err(StatementError::Text)?;
        }
        let amounts = self.movements.iter().map(|movement| movement.amount);
        let reached = amounts.into_iter().try_fold(self.opening, Nanos::plus)?;
        let (opening, closing) = (self.opening, self.closing);
        if reached != closing {
            return Err(StatementError::DoesNotAddUp {
                opening,
                reached,
                closing,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;
    use time::macros::datetime;

    #[test]
    fn what_moved_explains_the_balances() {
        let party = Party {
            name: "Example".to_owned(),
            address: Vec::new(),
            country: "DE".parse().unwrap(),
            region: None,
            tax_id: None,
            email: None,
        };
        let movement = |kind, amount| Movement {
            at: None,
            kind,
            subject: String::new(),
            calls: None,
            amount: Nanos::new(amount),
        };
        let start = OffsetDateTime::UNIX_EPOCH;
        let mut statement = Statement {
            account: AccountId::new(1),
            currency: Currency::USD,
            seller: party.clone(),
            buyer: party,
            locale: Locale::En,
            period: Period {
                start,
                end: start.saturating_add(Duration::days(30)),
            },
            opening: Nanos::new(5),
            movements: vec![
                movement(MovementKind::TopUp, 100),
                movement(MovementKind::Usage, -40),
            ],
            closing: Nanos::new(65),
        };
        assert_eq!(statement.check(), Ok(()));
        statement.closing = Nanos::new(64);
        assert!(statement.check().is_err());
    }

    #[test]
    fn a_month_is_cut_by_its_zone() {
        let month: StatementMonth = "2026-12".parse().unwrap();
        let zone: Zone = "Asia/Shanghai".parse().unwrap();
        let period = month.period(&zone).unwrap();
        assert_eq!(period.start, datetime!(2026-11-30 16:00 UTC));
        assert_eq!(period.end, datetime!(2026-12-31 16:00 UTC));
        assert_eq!(month.next().unwrap().to_string(), "2027-01");
        for wrong in [
            "2026-13",
            "2026-00",
            "2026-1",
            "26-01",
            "+026-01",
            "2026/01",
            "2026-01-01",
            "",
        ] {
            let refused = wrong.parse::<StatementMonth>();
            assert_eq!(refused, Err(StatementError::NotAMonth(wrong.to_owned())));
        }
    }

    #[test]
    fn what_was_booked_is_listed_in_order_and_what_moved_nothing_is_not() {
        let zone = Zone::utc();
        let (from, to) = (
            datetime!(2026-11-01 0:00 UTC),
            datetime!(2026-11-03 0:00 UTC),
        );
        let days = ReportedDay::of_period(&zone, from, to);
        let by = |kind, at, note: &str, amount| MovedBy {
            at,
            kind,
            note: note.to_owned(),
            amount: Nanos::new(amount),
        };
        let moved = Moved {
            opening: Nanos::new(10),
            usage: vec![(days[1], Nanos::new(-30))],
            booked: vec![
                by(
                    LedgerKind::TopUp,
                    datetime!(2026-11-01 8:00 UTC),
                    "transfer\n7",
                    100,
                ),
                by(
                    LedgerKind::Recognition,
                    datetime!(2026-11-02 0:00 UTC),
                    "",
                    0,
                ),
                by(LedgerKind::Fee, datetime!(2026-11-02 9:00 UTC), "fee", -50),
            ],
            closing: Nanos::new(30),
        };
        let of = StatementOf {
            account: AccountId::new(1),
            currency: Currency::USD,
            buyer: Invoicing::default().unnamed_buyer(AccountId::new(1), "Example"),
            period: Period {
                start: from,
                end: to,
            },
        };
        let made = Invoicing::default().statement(of.clone(), moved.clone());
        let made = made.unwrap();
        let listed = made
            .movements
            .iter()
            .map(|m| (m.kind.name(), m.subject.as_str(), m.amount.get()));
        let wanted = [
            ("top_up", "transfer 7", 100),
            ("invoice", "", -50),
            ("usage", "", -30),
        ];
        assert_eq!(listed.collect::<Vec<_>>(), wanted);
        let wrong = Moved {
            closing: Nanos::new(31),
            ..moved
        };
        assert!(matches!(
            Invoicing::default().statement(of, wrong),
            Err(StatementError::DoesNotAddUp { .. })
        ));
    }
}
