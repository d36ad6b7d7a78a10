//! Fees that are paid from the wallet: with bought credit, all of a fee or nothing of it.
//!
//! Given credit pays for calls only: else what a plan gives would pay for the plan. What nodes have
//! on lease is not taken; it can be recalled from them.

use thiserror::Error;
use time::{Duration, OffsetDateTime};

use crate::budget::Amount;
use crate::id::AccountId;
use crate::invoice::{AppliedCredit, Invoice, InvoiceError, InvoiceStatus};
use crate::ledger::{Entry, LedgerCode, LedgerError, LedgerHead, LedgerKind, LedgerTxn};
use crate::money::{Money, MoneyError};
use crate::settlement::{Booking, code_of};
use crate::subscription::Fee;
use crate::wallet::{AccountStatus, Lot, LotDraw, LotKind, Wallet, draw};

/// For how long a fee waits for what nodes have on lease, before it is declined.
pub const FEE_WAITS: Duration = Duration::seconds(10);

/// What came of a fee that was to be paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeePayment {
    /// It is paid.
    Paid(Box<PaidFee>),
    /// There is enough, and so much of it is on lease.
    OnLease(Amount),
    /// There is not enough.
    Short,
    /// Its invoice was voided: nothing is owed for it.
    Forgiven,
}

/// What comes of an amount that is to be taken from a wallet, before anything is booked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reckoned {
    /// It is there.
    Enough(WalletDraw),
    /// There is enough, and so much of it is on lease.
    OnLease(Amount),
    /// There is not enough, or the account is stopped.
    Short,
}

/// An amount that is taken from a wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalletDraw {
    /// The wallet after it.
    pub wallet: Wallet,
    lots: Vec<Lot>,
    draws: Vec<LotDraw>,
    due: Amount,
}

/// The books of an account after a fee was paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaidFee {
    /// The wallet.
    pub wallet: Wallet,
    /// Its lots.
    pub lots: Vec<Lot>,
    /// The fee's invoice, now paid; `None` for a fee that has none.
    pub invoice: Option<Invoice>,
    /// What was booked.
    pub txn: LedgerTxn,
}

/// Why a fee cannot be booked. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FeeError {
    /// It credits something, or nothing.
    #[error("the fee {0} charges nothing")]
    Nothing(String),
    /// The entries do not balance or do not fit.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Its invoice cannot be paid.
    #[error(transparent)]
    Invoice(#[from] InvoiceError),
    /// An amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// The key under which the books hold a fee's payment once.
pub fn payment_key(fee: &Fee) -> String {
    format!("fee:{}", fee.key)
}

/// What of the lots was bought and can be drawn.
pub fn bought(lots: &[Lot], now: OffsetDateTime) -> Amount {
    let bought = lots.iter().filter(|lot| is_bought(lot, now));
    bought.fold(Amount::ZERO, |sum, lot| sum.plus(lot.remaining))
}

fn is_bought(lot: &Lot, now: OffsetDateTime) -> bool {
    lot.kind == LotKind::Paid && lot.effective_at <= now
}

/// Reckons what takes an amount from a wallet: from what was bought, all of it or nothing.
///
/// # Errors
/// [`MoneyError::OutOfRange`].
pub fn reckon(
    mut wallet: Wallet,
    lots: Vec<Lot>,
    due: Amount,
    now: OffsetDateTime,
) -> Result<Reckoned, MoneyError> {
    let owned = Amount::of(wallet.posted);
    let is_enough = bought(&lots, now).min(owned) >= due;
    if !is_enough || wallet.status != AccountStatus::Active {
        return Ok(Reckoned::Short);
    }
    let missing = due.less(owned.less(wallet.leased));
    if !missing.is_zero() {
        return Ok(Reckoned::OnLease(missing));
    }
    let (mut paying, mut lots): (Vec<Lot>, Vec<Lot>) =
        lots.into_iter().partition(|lot| is_bought(lot, now));
    let (draws, _) = draw(&mut paying, due, now);
    lots.append(&mut paying);
    lots.sort_by_key(Lot::draw_order);
    wallet.posted = wallet.posted.minus(due.money())?;
    Ok(Reckoned::Enough(WalletDraw {
        wallet,
        lots,
        draws,
        due,
    }))
}

/// Pays a fee from a wallet: what its invoice asks for, with taxes. A fee that was charged before there
/// were invoices is income of its period, and is booked as deferred.
///
/// # Errors
/// [`FeeError`].
pub fn pay_from_wallet(
    account: AccountId,
    wallet: Wallet,
    lots: Vec<Lot>,
    (fee, invoice): (&Fee, Option<Invoice>),
    booking: Booking,
) -> Result<FeePayment, FeeError> {
    if fee.amount <= 0 {
        return Err(FeeError::Nothing(fee.key.clone()));
    }
    let due = match &invoice {
        Some(invoice) if matches!(invoice.status, InvoiceStatus::Void(_)) => {
            return Ok(FeePayment::Forgiven);
        }
        Some(invoice) => invoice.owed.total()?.get(),
        None => fee.amount,
    };
    let due = Money::of_minor(due, wallet.currency)?.nanos();
    if due.is_zero() {
        return Ok(FeePayment::Forgiven);
    }
    match reckon(wallet, lots, Amount::of(due), booking.now)? {
        Reckoned::Enough(draw) => {
            let paid = draw.pay(account, (fee, invoice), booking)?;
            Ok(FeePayment::Paid(Box::new(paid)))
        }
        Reckoned::OnLease(missing) => Ok(FeePayment::OnLease(missing)),
        Reckoned::Short => Ok(FeePayment::Short),
    }
}

impl WalletDraw {
    /// Pays a fee's invoice with it, which asks for just that.
    ///
    /// # Errors
    /// [`FeeError`].
    pub fn pay(
        self,
        account: AccountId,
        (fee, invoice): (&Fee, Option<Invoice>),
        booking: Booking,
    ) -> Result<PaidFee, FeeError> {
        let (invoice, entries) = match invoice {
            Some(invoice) => {
                let paid = invoice.apply(AppliedCredit::Wallet(self.draws), booking.now)?;
                (Some(paid.invoice), paid.entries)
            }
            None => (None, deferred(self.due, &self.draws)?),
        };
        let head = LedgerHead {
            id: booking.txn,
            account,
            currency: self.wallet.currency,
            kind: LedgerKind::Fee,
            key: payment_key(fee),
            booked_at: booking.now,
        };
        let txn = LedgerTxn::new(head, entries)?;
        Ok(PaidFee {
            wallet: self.wallet,
            lots: self.lots,
            invoice,
            txn,
        })
    }
}

/// What is taken from lots, as income of a period to come.
fn deferred(due: Amount, draws: &[LotDraw]) -> Result<Vec<Entry>, MoneyError> {
    let mut entries = vec![Entry {
        code: LedgerCode::DeferredSubscription,
        amount: due.money().negated()?,
        lot: None,
    }];
    entries.extend(draws.iter().map(|drawn| Entry {
        code: code_of(drawn.kind),
        amount: drawn.amount.money(),
        lot: Some(drawn.lot),
    }));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{LedgerTxnId, LotId};
    use crate::money::{Currency, Nanos};
    use crate::period::Period;
    use crate::subscription::FeeKind;

    const EPOCH: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const CENT: i64 = 10_000_000;

    fn cents(cents: i64) -> Nanos {
        Nanos::new(cents.saturating_mul(CENT))
    }

    fn lot(id: i64, kind: LotKind, held: i64) -> Lot {
        let amount = Amount::of(cents(held));
        Lot {
            id: LotId::new(id),
            kind,
            priority: 0,
            effective_at: EPOCH,
            expires_at: None,
            created_at: EPOCH,
            granted: amount,
            remaining: amount,
        }
    }

    /// What comes of a fee of 100 cents.
    fn paid(lots: &[Lot], posted: i64, leased: i64) -> FeePayment {
        let wallet = Wallet {
            currency: Currency::USD,
            posted: cents(posted),
            leased: Amount::of(cents(leased)),
            credit_limit: Amount::of(cents(1_000)),
            status: AccountStatus::Active,
        };
        let fee = Fee {
            key: "sub_1:0".to_owned(),
            kind: FeeKind::Plan,
            period: Period {
                start: EPOCH,
                end: EPOCH,
            },
            amount: 100,
        };
        let booking = Booking {
            txn: LedgerTxnId::new(1),
            now: EPOCH,
        };
        pay_from_wallet(
            AccountId::new(1),
            wallet,
            lots.to_vec(),
            (&fee, None),
            booking,
        )
        .unwrap()
    }

    #[test]
    fn a_fee_takes_bought_credit_and_leaves_what_was_given() {
        let lots = [lot(1, LotKind::Promo, 80), lot(2, LotKind::Paid, 150)];
        let FeePayment::Paid(paid) = paid(&lots, 230, 130) else {
            panic!("it is not paid");
        };
        assert_eq!(paid.wallet.posted, cents(130));
        let left: Vec<_> = paid.lots.iter().map(|lot| lot.remaining.get()).collect();
        assert_eq!(left, [800_000_000, 500_000_000]);
        let entries = paid.txn.entries().iter();
        let entries: Vec<_> = entries.map(|e| (e.code.name(), e.amount.get())).collect();
        let due = 1_000_000_000;
        assert_eq!(
            entries,
            [("wallet_paid", due), ("deferred_subscription", -due)]
        );
    }

    #[test]
    fn neither_given_credit_nor_a_credit_limit_pays_a_fee() {
        let given = [lot(1, LotKind::Promo, 500), lot(2, LotKind::Paid, 99)];
        assert_eq!(paid(&given, 599, 0), FeePayment::Short);
        // The rest of what was bought is owed already.
        assert_eq!(
            paid(&[lot(2, LotKind::Paid, 150)], 99, 0),
            FeePayment::Short
        );
    }

    #[test]
    fn what_is_on_lease_can_be_recalled() {
        let lots = [lot(1, LotKind::Paid, 150)];
        let missing = Amount::of(cents(30));
        assert_eq!(paid(&lots, 150, 80), FeePayment::OnLease(missing));
    }
}
