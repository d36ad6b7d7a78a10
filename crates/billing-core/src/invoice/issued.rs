//! An invoice from the moment it has a number: open, paid, void or given up.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use super::assembly::{AssemblyError, Draft};
use super::number::DocumentNumber;
use super::posting::{finalized, leg, owed};
use crate::ledger::{Entry, LedgerCode};
use crate::money::{Minor, Money, MoneyError, Nanos};
use crate::wallet::{LotDraw, LotKind};

/// A final invoice. What it lists never changes again; what is still to be paid does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoice {
    /// What it lists, and what that comes to.
    pub content: Draft,
    /// Its number, which it keeps whatever becomes of it.
    pub number: DocumentNumber,
    /// When it became final.
    pub issued_at: OffsetDateTime,
    /// By when it is to be paid.
    pub due_at: OffsetDateTime,
    /// What is still to be paid.
    pub owed: Owed,
    /// What was paid, and how.
    pub paid: Paid,
    /// What credit notes have given back.
    pub credited: Credited,
    /// What has become of it.
    pub status: InvoiceStatus,
}

/// What has become of a final invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InvoiceStatus {
    /// Something is to be paid.
    Open,
    /// Nothing is, since then.
    Paid(OffsetDateTime),
    /// It does not count, since then. It was never paid.
    Void(OffsetDateTime),
    /// It counts, and was given up then: what is still owed will not be paid.
    Uncollectible(OffsetDateTime),
}

/// What is still to be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Owed {
    /// For used calls. It counts against the credit limit.
    pub usage: Minor,
    /// For everything else, and all taxes. It is paid first.
    pub other: Minor,
}

/// How an invoice was paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Paid {
    /// With the credit of earlier credit notes.
    pub by_credit: Minor,
    /// With bought credit of the wallet.
    pub by_wallet: Minor,
    /// By payments.
    pub by_payment: Minor,
}

/// What credit notes have given back of an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Credited {
    /// By lowering what is to be paid.
    pub offset: Minor,
    /// As credit for later invoices.
    pub to_balance: Minor,
    /// Into the wallet.
    pub to_wallet: Minor,
    /// By refunding payments.
    pub refunded: Minor,
}

/// What makes a draft final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// The next number of the series, taken in the same transaction.
    pub number: DocumentNumber,
    /// Now.
    pub at: OffsetDateTime,
    /// By when it is to be paid.
    pub due_at: OffsetDateTime,
}

/// Credit that pays for an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppliedCredit {
    /// So much of what credit notes have given for later invoices.
    Notes(Minor),
    /// Bought credit, taken from these lots.
    Wallet(Vec<LotDraw>),
}

/// An invoice after something has happened to it, and what that books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booked {
    /// The invoice.
    pub invoice: Invoice,
    /// The entries of one ledger transaction.
    pub entries: Vec<Entry>,
}

/// Why something cannot happen to an invoice. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvoiceError {
    /// It contradicts itself.
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
    /// It is not open.
    #[error("the invoice {0} is {1}; only an open one can be paid, voided or given up")]
    NotOpen(DocumentNumber, &'static str),
    /// Nothing is paid.
    #[error("a payment of nothing")]
    Nothing,
    /// More is paid than is due.
    #[error("{paid} is more than the {due} that is due; put the rest into the wallet")]
    TooMuch {
        /// What was to be paid.
        paid: String,
        /// What is due.
        due: String,
    },
    /// What was taken from lots is not what is to be paid with them.
    #[error("{taken} was taken from lots of the wallet, {wanted} is wanted")]
    Draws {
        /// What was taken.
        taken: Nanos,
        /// What was to be.
        wanted: Nanos,
    },
    /// Credit of the wrong kind.
    #[error(
        "given credit lowers what is taxed, bought credit pays afterwards; this lot is the other"
    )]
    WrongLot,
    /// It was paid, or credited, in part or in full.
    #[error("the invoice {0} was paid or credited; issue a credit note instead of voiding it")]
    Touched(DocumentNumber),
    /// It is due before it is issued.
    #[error("an invoice cannot be due before it is issued")]
    DueTooEarly,
    /// An amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

impl Owed {
    /// All of it.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn total(self) -> Result<Minor, MoneyError> {
        self.usage.plus(self.other)
    }

    /// Takes an amount off, of what is not usage first; says how much of either.
    pub(super) fn less(self, amount: Minor) -> Result<(Self, Self), MoneyError> {
        let other = self.other.min(amount);
        self.less_of(amount.minus(other)?, other)
    }

    /// Takes an amount off, of usage first, but no more of it than so much.
    pub(super) fn less_usage(
        self,
        amount: Minor,
        usage: Minor,
    ) -> Result<(Self, Self), MoneyError> {
        let first = self.usage.min(usage).min(amount);
        let other = self.other.min(amount.minus(first)?);
        self.less_of(amount.minus(other)?, other)
    }

    fn less_of(self, usage: Minor, other: Minor) -> Result<(Self, Self), MoneyError> {
        let rest = Self {
            usage: self.usage.minus(usage)?,
            other: self.other.minus(other)?,
        };
        Ok((rest, Self { usage, other }))
    }
}

impl Paid {
    /// All of it.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn total(self) -> Result<Minor, MoneyError> {
        Minor::total([self.by_credit, self.by_wallet, self.by_payment])
    }
}

impl Credited {
    /// What was given back of what had been paid.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn returned(self) -> Result<Minor, MoneyError> {
        Minor::total([self.to_balance, self.to_wallet, self.refunded])
    }
}

impl InvoiceStatus {
    /// The storage and wire name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paid(_) => "paid",
            Self::Void(_) => "void",
            Self::Uncollectible(_) => "uncollectible",
        }
    }
}

impl Draft {
    /// Makes it final: gives it its number and books it. Given credit is taken from these lots.
    ///
    /// # Errors
    /// [`InvoiceError`].
    pub fn finalize(self, issue: Issue, promo: &[LotDraw]) -> Result<Booked, InvoiceError> {
        self.check()?;
        if issue.due_at < issue.at {
            return Err(InvoiceError::DueTooEarly);
        }
        let wanted = self.totals.promo.nanos(self.head.currency)?;
        check_draws(promo, LotKind::Promo, wanted)?;
        let entries = finalized(&self, promo)?;
        let owed = owed(&self)?;
        let status = if self.totals.total.is_zero() {
            InvoiceStatus::Paid(issue.at)
        } else {
            InvoiceStatus::Open
        };
        let invoice = Invoice {
            content: self,
            number: issue.number,
            issued_at: issue.at,
            due_at: issue.due_at,
            owed,
            paid: Paid::default(),
            credited: Credited::default(),
            status,
        };
        Ok(Booked { invoice, entries })
    }
}

impl Invoice {
    /// The key under which the account's books hold its finalization once.
    pub fn key(&self) -> String {
        format!("invoice:{}", self.content.head.id)
    }

    /// Records a payment.
    ///
    /// # Errors
    /// [`InvoiceError::NotOpen`], [`InvoiceError::Nothing`], [`InvoiceError::TooMuch`],
    /// [`InvoiceError::Money`].
    pub fn pay(mut self, amount: Minor, at: OffsetDateTime) -> Result<Booked, InvoiceError> {
        let currency = self.content.head.currency;
        let mut entries = vec![leg(LedgerCode::PaymentClearing, amount.nanos(currency)?)];
        entries.extend(self.receive(amount, at)?);
        self.paid.by_payment = self.paid.by_payment.plus(amount)?;
        Ok(Booked {
            invoice: self,
            entries,
        })
    }

    /// Pays with credit of the customer: what credit notes have left first, bought credit then,
    /// payments for the rest.
    ///
    /// # Errors
    /// As [`Invoice::pay`]; [`InvoiceError::Draws`], [`InvoiceError::WrongLot`].
    pub fn apply(
        mut self,
        credit: AppliedCredit,
        at: OffsetDateTime,
    ) -> Result<Booked, InvoiceError> {
        let currency = self.content.head.currency;
        let mut entries = Vec::new();
        match credit {
            AppliedCredit::Notes(amount) => {
                let nanos = amount.nanos(currency)?;
                entries.push(leg(LedgerCode::CustomerCredit, nanos));
                entries.extend(self.receive(amount, at)?);
                self.paid.by_credit = self.paid.by_credit.plus(amount)?;
            }
            AppliedCredit::Wallet(draws) => {
                let taken = draws.iter().map(|drawn| drawn.amount.money());
                let taken = taken.into_iter().try_fold(Nanos::ZERO, Nanos::plus)?;
                let amount = Minor::within(Money::new(taken, currency));
                check_draws(&draws, LotKind::Paid, amount.nanos(currency)?)?;
                entries.extend(draws.iter().map(|drawn| Entry {
                    code: LedgerCode::WalletPaid,
                    amount: drawn.amount.money(),
                    lot: Some(drawn.lot),
                }));
                entries.extend(self.receive(amount, at)?);
                self.paid.by_wallet = self.paid.by_wallet.plus(amount)?;
            }
        }
        Ok(Booked {
            invoice: self,
            entries,
        })
    }

    /// Voids it: everything that was booked for it (finalization, applied credit) is undone, and its
    /// usage waits for another invoice. `earned` is what of its fees was recognized since.
    ///
    /// # Errors
    /// [`InvoiceError::Touched`], [`InvoiceError::NotOpen`], [`InvoiceError::Money`].
    pub fn void(
        mut self,
        booked: &[Entry],
        earned: Nanos,
        at: OffsetDateTime,
    ) -> Result<Booked, InvoiceError> {
        if let InvoiceStatus::Void(_) | InvoiceStatus::Uncollectible(_) = self.status {
            return Err(InvoiceError::NotOpen(self.number, self.status.name()));
        }
        if !self.paid.by_payment.is_zero() || self.credited != Credited::default() {
            return Err(InvoiceError::Touched(self.number));
        }
        let mut entries = Vec::with_capacity(booked.len().saturating_add(2));
        for entry in booked {
            entries.push(Entry {
                amount: entry.amount.negated()?,
                ..*entry
            });
        }
        // What was earned is no longer deferred: it is taken back from revenue.
        let deferred = LedgerCode::DeferredSubscription;
        entries.push(leg(deferred, earned.negated()?));
        entries.push(leg(LedgerCode::RevenueSubscription, earned));
        self.owed = Owed::default();
        self.paid = Paid::default();
        self.status = InvoiceStatus::Void(at);
        Ok(Booked {
            invoice: self,
            entries,
        })
    }

    /// Gives up what is owed: it will not be paid. `unearned` is what of its fees is not earned yet:
    /// it never will be, and is no loss.
    ///
    /// # Errors
    /// [`InvoiceError::NotOpen`], [`InvoiceError::Money`].
    pub fn write_off(
        mut self,
        unearned: Nanos,
        at: OffsetDateTime,
    ) -> Result<Booked, InvoiceError> {
        if self.status != InvoiceStatus::Open {
            return Err(InvoiceError::NotOpen(self.number, self.status.name()));
        }
        let currency = self.content.head.currency;
        let usage = self.owed.usage.nanos(currency)?;
        let other = self.owed.other.nanos(currency)?;
        let back = unearned.max(Nanos::ZERO).min(other);
        let entries = vec![
            leg(LedgerCode::DeferredSubscription, back),
            leg(LedgerCode::BadDebt, usage.plus(other)?.minus(back)?),
            leg(LedgerCode::ReceivableUsage, usage.negated()?),
            leg(LedgerCode::Receivable, other.negated()?),
        ];
        self.status = InvoiceStatus::Uncollectible(at);
        Ok(Booked {
            invoice: self,
            entries,
        })
    }

    /// Proves that it is what it lists, and that every minor unit of it is owed, paid or credited.
    ///
    /// # Errors
    /// [`AssemblyError::Contradiction`].
    pub fn check(&self) -> Result<(), AssemblyError> {
        self.content.check()?;
        let due = self.owed.total()?;
        let paid = self.paid.total()?;
        let accounted = Minor::total([due, paid, self.credited.offset])?;
        let owes = matches!(
            self.status,
            InvoiceStatus::Open | InvoiceStatus::Uncollectible(_)
        );
        let holds = match self.status {
            InvoiceStatus::Void(_) => accounted.is_zero(),
            InvoiceStatus::Open | InvoiceStatus::Paid(_) | InvoiceStatus::Uncollectible(_) => {
                accounted == self.content.totals.total
            }
        };
        if !holds || owes == due.is_zero() {
            return Err(AssemblyError::Contradiction("what is owed and paid"));
        }
        if self.credited.returned()? > paid || self.credited.refunded > self.paid.by_payment {
            return Err(AssemblyError::Contradiction("what was given back"));
        }
        Ok(())
    }

    /// Takes an amount off what is owed; answers with the legs of that.
    fn receive(&mut self, amount: Minor, at: OffsetDateTime) -> Result<[Entry; 2], InvoiceError> {
        if self.status != InvoiceStatus::Open {
            return Err(InvoiceError::NotOpen(
                self.number.clone(),
                self.status.name(),
            ));
        }
        let currency = self.content.head.currency;
        let due = self.owed.total()?;
        if amount <= Minor::ZERO {
            return Err(InvoiceError::Nothing);
        }
        if amount > due {
            let (paid, due) = (amount.text(currency), due.text(currency));
            return Err(InvoiceError::TooMuch { paid, due });
        }
        let (rest, off) = self.owed.less(amount)?;
        Ok(self.owe(rest, off, at)?)
    }

    /// Sets what is owed now; answers with the legs of what was taken off.
    pub(super) fn owe(
        &mut self,
        rest: Owed,
        off: Owed,
        at: OffsetDateTime,
    ) -> Result<[Entry; 2], MoneyError> {
        let currency = self.content.head.currency;
        self.owed = rest;
        if self.status == InvoiceStatus::Open && rest == Owed::default() {
            self.status = InvoiceStatus::Paid(at);
        }
        let usage = off.usage.nanos(currency)?.negated()?;
        let other = off.other.nanos(currency)?.negated()?;
        Ok([
            leg(LedgerCode::ReceivableUsage, usage),
            leg(LedgerCode::Receivable, other),
        ])
    }
}

/// Whether lots of one kind gave exactly what is wanted.
fn check_draws(draws: &[LotDraw], kind: LotKind, wanted: Nanos) -> Result<(), InvoiceError> {
    if draws.iter().any(|drawn| drawn.kind != kind) {
        return Err(InvoiceError::WrongLot);
    }
    let amounts = draws.iter().map(|drawn| drawn.amount.money());
    let taken = amounts.into_iter().try_fold(Nanos::ZERO, Nanos::plus)?;
    if taken != wanted {
        return Err(InvoiceError::Draws { taken, wanted });
    }
    Ok(())
}
