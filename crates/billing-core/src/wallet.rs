//! The wallet: a balance made of lots, a credit limit, and the order in which lots are drawn.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::budget::Amount;
use crate::id::LotId;
use crate::money::{Currency, MoneyError, Nanos};

/// The cached balance of an account. Replaying its journal reproduces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wallet {
    /// The currency that it is kept in.
    pub currency: Currency,
    /// Credit of all lots less what was used beyond them. Negative while the account owes.
    pub posted: Nanos,
    /// What nodes hold as leases.
    pub leased: Amount,
    /// How far `posted` may go below zero.
    pub credit_limit: Amount,
    /// Whether calls may be paid from it.
    pub status: AccountStatus,
}

/// Whether an account may make calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    /// It may.
    Active,
    /// An operator has stopped it.
    Suspended,
    /// Its books failed a check; nothing moves until somebody has looked.
    Parked,
}

impl AccountStatus {
    /// The storage and wire name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Parked => "parked",
        }
    }

    /// The status that a name means.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Active, Self::Suspended, Self::Parked]
            .into_iter()
            .find(|s| s.name() == name)
    }
}

/// Why a credit limit cannot be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreditLimitFault {
    /// More is owed already, or it is more than can be stored.
    OutOfRange,
    /// So much of what it would take away is on lease. It can be recalled.
    OnLease(Amount),
}

impl Wallet {
    /// Whether the account may be given this credit limit: neither what is owed nor what nodes
    /// have on lease may pass it.
    ///
    /// # Errors
    /// [`CreditLimitFault`].
    pub fn check_credit_limit(&self, limit: Amount) -> Result<(), CreditLimitFault> {
        let Ok(limit) = i64::try_from(limit.get()) else {
            return Err(CreditLimitFault::OutOfRange);
        };
        let funds = i128::from(self.posted.get()).saturating_add(i128::from(limit));
        let Ok(funds) = u64::try_from(funds) else {
            return Err(CreditLimitFault::OutOfRange);
        };
        let missing = self.leased.less(Amount::new(funds));
        if missing.is_zero() {
            Ok(())
        } else {
            Err(CreditLimitFault::OnLease(missing))
        }
    }

    /// What may still be leased: balance plus credit less what is leased already.
    pub fn available(&self) -> Amount {
        let credit = i128::from(self.credit_limit.get());
        let funds = i128::from(self.posted.get()).saturating_add(credit);
        let free = funds.saturating_sub(i128::from(self.leased.get()));
        Amount::new(u64::try_from(free.max(0)).unwrap_or(u64::MAX))
    }
}

/// What a lot is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LotKind {
    /// Given, not bought.
    Promo,
    /// Bought.
    Paid,
}

impl LotKind {
    /// The storage and wire name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Promo => "promo",
            Self::Paid => "paid",
        }
    }

    /// The kind that a name means.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Promo, Self::Paid]
            .into_iter()
            .find(|k| k.name() == name)
    }
}

/// A part of the balance with its own kind, priority and expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lot {
    /// Its id.
    pub id: LotId,
    /// Given or bought.
    pub kind: LotKind,
    /// Lower is drawn first.
    pub priority: i16,
    /// From when on it may be drawn.
    pub effective_at: OffsetDateTime,
    /// When it lapses; `None` never.
    pub expires_at: Option<OffsetDateTime>,
    /// When it was recorded.
    pub created_at: OffsetDateTime,
    /// What it held at first.
    pub granted: Amount,
    /// What is left of it.
    pub remaining: Amount,
}

impl Lot {
    /// The order of drawing: a total order, so that two lots never tie.
    ///
    /// Lower priority number, earlier expiry (never last), given before bought, effective earlier,
    /// created earlier, lower id.
    pub fn draw_order(&self) -> impl Ord + use<> {
        (
            self.priority,
            self.expires_at.is_none(),
            self.expires_at,
            self.kind,
            self.effective_at,
            self.created_at,
            self.id,
        )
    }
}

/// What was taken from one lot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LotDraw {
    /// The lot.
    pub lot: LotId,
    /// What it is made of.
    pub kind: LotKind,
    /// How much was taken.
    pub amount: Amount,
}

/// Takes an amount from lots in their order; says what was taken and what no lot covered.
///
/// The lots are changed in place and end up sorted. One that is not effective yet, or was used up,
/// gives nothing. Expiry only orders: what has lapsed is taken away by its own posting
/// ([`crate::lapse`]), and until then pays for calls that were authorized before.
pub fn draw(lots: &mut [Lot], amount: Amount, now: OffsetDateTime) -> (Vec<LotDraw>, Amount) {
    lots.sort_by_key(Lot::draw_order);
    let mut rest = amount;
    let mut draws = Vec::new();
    for lot in lots
        .iter_mut()
        .filter(|l| l.effective_at <= now && !l.remaining.is_zero())
    {
        if rest.is_zero() {
            break;
        }
        let taken = lot.remaining.min(rest);
        lot.remaining = lot.remaining.less(taken);
        rest = rest.less(taken);
        draws.push(LotDraw {
            lot: lot.id,
            kind: lot.kind,
            amount: taken,
        });
    }
    (draws, rest)
}

/// Gives an amount back to the lots it was drawn from, the last drawn first.
///
/// The order is that of the records, never computed again from today's priorities. Says what each
/// lot got back.
pub fn unwind(lots: &mut [Lot], draws: &[LotDraw], amount: Amount) -> Vec<LotDraw> {
    let mut rest = amount;
    let mut given = Vec::new();
    for drawn in draws.iter().rev() {
        let back = drawn.amount.min(rest);
        if back.is_zero() {
            continue;
        }
        rest = rest.less(back);
        if let Some(lot) = lots.iter_mut().find(|l| l.id == drawn.lot) {
            lot.remaining = lot.remaining.plus(back);
        }
        given.push(LotDraw {
            amount: back,
            ..*drawn
        });
    }
    given
}

/// Credit to be added to a wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credit {
    /// The lot that will hold it.
    pub lot: LotId,
    /// Bought or given.
    pub kind: LotKind,
    /// How much; more than nothing.
    pub amount: Nanos,
    /// Its currency, which must be the wallet's.
    pub currency: Currency,
    /// Lower is drawn first.
    pub priority: i16,
    /// When it lapses; `None` never.
    pub expires_at: Option<OffsetDateTime>,
    /// The key under which it is recorded once.
    pub key: String,
    /// What the statement says of it.
    pub note: String,
}

impl Credit {
    /// Whether it can be recorded in this wallet.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`]; [`MoneyError::OutOfRange`] for nothing, less than nothing,
    /// or a balance that would not fit.
    pub fn check(&self, wallet: &Wallet) -> Result<Nanos, MoneyError> {
        if self.currency != wallet.currency {
            return Err(MoneyError::CurrencyMismatch(self.currency, wallet.currency));
        }
        if self.amount <= Nanos::ZERO {
            return Err(MoneyError::OutOfRange);
        }
        wallet.posted.plus(self.amount)
    }
}
