//! Adjustments: what was charged wrongly is given back or charged afterwards. What is on record of a
//! call never changes; an adjustment stands beside it.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::budget::Amount;
use crate::id::{AccountId, CallId, LotId, TierScheduleId};
use crate::ledger::{Entry, LedgerCode, LedgerError, LedgerHead, LedgerKind, LedgerTxn};
use crate::money::{Currency, MoneyError, Nanos};
use crate::settlement::{Booking, code_of};
use crate::wallet::{Lot, LotKind, Wallet, draw};

/// What is given back to an account, or charged afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    /// The key under which it is recorded once.
    pub key: String,
    /// Above zero it is charged, below zero it is given back; never nothing.
    pub amount: Nanos,
    /// Its currency, which must be the wallet's.
    pub currency: Currency,
    /// The lot that will hold what is given back.
    pub lot: LotId,
    /// What that lot is made of: what the calls had been paid with.
    pub kind: LotKind,
    /// The calls that it corrects. They may be none.
    pub calls: Vec<CallPart>,
    /// What the statement says of it.
    pub note: String,
    /// Whether it charges what there is, rather than wait for what nodes have on lease.
    pub takes_what_is_there: bool,
}

/// What of an adjustment corrects one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallPart {
    /// The call.
    pub call: CallId,
    /// Its part of the whole.
    pub amount: Nanos,
    /// How many adjustments of the call this one comes after. Where there are more by then, it was
    /// worked out from what is no longer so, and is not made.
    pub after: u32,
    /// The window of price tiers that the call counted in.
    pub window: Option<(TierScheduleId, i64)>,
}

/// What a call was adjusted by so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AdjustedSoFar {
    /// The sum.
    pub amount: Nanos,
    /// How often.
    pub times: u32,
}

/// The first call that was adjusted by others since its part was worked out.
pub fn overtaken(parts: &[CallPart], so_far: &BTreeMap<CallId, AdjustedSoFar>) -> Option<CallId> {
    let times = |call| so_far.get(call).map_or(0, |so_far| so_far.times);
    let overtaken = parts.iter().find(|part| times(&part.call) != part.after);
    overtaken.map(|part| part.call)
}

/// What an adjustment changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdjustmentChanges {
    /// The wallet after it.
    pub wallet: Wallet,
    /// The lots after it, in the order in which they are drawn, without a new one.
    pub lots: Vec<Lot>,
    /// A lot that is new.
    pub new_lot: Option<Lot>,
    /// What was booked; `None` where the account has nothing that could be charged.
    pub txn: Option<LedgerTxn>,
    /// What of it each call was corrected by. Where funds did not cover everything, the first calls
    /// are corrected and the rest are not: they can be again.
    pub calls: Vec<CallPart>,
    /// What of a charge the account's funds did not cover. It is not booked: nothing is owed beyond
    /// what was agreed to.
    pub uncollected: Nanos,
    /// What of that nodes have on lease and can be recalled; nothing where it does not wait.
    pub on_lease: Amount,
}

/// Why an adjustment cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AdjustmentError {
    /// It changes nothing.
    #[error("an adjustment of nothing")]
    Nothing,
    /// Its parts are not the whole.
    #[error("the parts of the calls add up to {parts}, not to {amount}")]
    Parts {
        /// What they add up to.
        parts: Nanos,
        /// The whole.
        amount: Nanos,
    },
    /// The entries do not balance or do not fit.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The currencies differ, or an amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// Adjusts the books of an account. What is given back is a new lot, which never lapses; what is
/// charged takes from lots and credit what nobody has on lease, and no more.
///
/// # Errors
/// [`AdjustmentError`]. Nothing has changed then.
pub fn adjust(
    account: AccountId,
    mut wallet: Wallet,
    mut lots: Vec<Lot>,
    adjustment: &Adjustment,
    booking: Booking,
) -> Result<AdjustmentChanges, AdjustmentError> {
    check(&wallet, adjustment)?;
    lots.sort_by_key(Lot::draw_order);
    let mut entries = Vec::new();
    let mut new_lot = None;
    let mut uncollected = Nanos::ZERO;
    let mut calls = adjustment.calls.clone();
    let leg = |code, amount, lot| Entry { code, amount, lot };
    if adjustment.amount.is_negative() {
        let back = adjustment.amount.negated()?;
        let lot = Lot {
            id: adjustment.lot,
            kind: adjustment.kind,
            priority: 0,
            effective_at: booking.now,
            expires_at: None,
            created_at: booking.now,
            granted: Amount::of(back),
            remaining: Amount::of(back),
        };
        entries.push(leg(code_of(lot.kind), adjustment.amount, Some(lot.id)));
        entries.push(leg(LedgerCode::RevenueAdjustment, back, None));
        wallet.posted = wallet.posted.plus(back)?;
        new_lot = Some(lot);
    } else {
        let wanted = Amount::of(adjustment.amount);
        let taken = wanted.min(wallet.available());
        uncollected = wanted.less(taken).money();
        calls = covered(&adjustment.calls, taken.money())?;
        let (draws, on_credit) = draw(&mut lots, taken, booking.now);
        for drawn in &draws {
            let amount = drawn.amount.money();
            entries.push(leg(code_of(drawn.kind), amount, Some(drawn.lot)));
        }
        entries.push(leg(LedgerCode::Unbilled, on_credit.money(), None));
        let revenue = taken.money().negated()?;
        entries.push(leg(LedgerCode::RevenueAdjustment, revenue, None));
        wallet.posted = wallet.posted.minus(taken.money())?;
    }
    let head = LedgerHead {
        id: booking.txn,
        account,
        currency: wallet.currency,
        kind: LedgerKind::Adjustment,
        key: adjustment.key.clone(),
        booked_at: booking.now,
    };
    let is_due = entries.iter().any(|entry| !entry.amount.is_zero());
    let txn = is_due.then(|| LedgerTxn::new(head, entries)).transpose()?;
    let on_lease = if adjustment.takes_what_is_there {
        Amount::ZERO
    } else {
        Amount::of(uncollected).min(wallet.leased)
    };
    Ok(AdjustmentChanges {
        wallet,
        lots,
        new_lot,
        txn,
        calls,
        uncollected,
        on_lease,
    })
}

/// The parts that an amount covers: call after call, those that give something back in full.
fn covered(parts: &[CallPart], taken: Nanos) -> Result<Vec<CallPart>, MoneyError> {
    let back = parts.iter().map(|part| part.amount.min(Nanos::ZERO));
    let back = back.into_iter().try_fold(Nanos::ZERO, Nanos::plus)?;
    let mut left = taken.minus(back)?;
    let mut covered = Vec::with_capacity(parts.len());
    for part in parts {
        let amount = if part.amount.is_negative() {
            part.amount
        } else {
            part.amount.min(left)
        };
        left = left.minus(amount.max(Nanos::ZERO))?;
        if !amount.is_zero() {
            covered.push(CallPart { amount, ..*part });
        }
    }
    Ok(covered)
}

fn check(wallet: &Wallet, adjustment: &Adjustment) -> Result<(), AdjustmentError> {
    if adjustment.amount.is_zero() {
        return Err(AdjustmentError::Nothing);
    }
    if adjustment.currency != wallet.currency {
        let (ours, theirs) = (wallet.currency, adjustment.currency);
        return Err(MoneyError::CurrencyMismatch(ours, theirs).into());
    }
    let parts = adjustment.calls.iter().map(|part| part.amount);
    let parts = parts.into_iter().try_fold(Nanos::ZERO, Nanos::plus)?;
    let amount = adjustment.amount;
    if !adjustment.calls.is_empty() && parts != amount {
        return Err(AdjustmentError::Parts { parts, amount });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LedgerTxnId;
    use crate::wallet::AccountStatus;
    use time::OffsetDateTime;

    const EPOCH: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn lot(id: i64, remaining: u64) -> Lot {
        Lot {
            id: LotId::new(id),
            kind: LotKind::Paid,
            priority: 0,
            effective_at: EPOCH,
            expires_at: None,
            created_at: EPOCH,
            granted: Amount::new(100),
            remaining: Amount::new(remaining),
        }
    }

    fn adjusted(amount: i64, leased: u64) -> Result<AdjustmentChanges, AdjustmentError> {
        let wallet = Wallet {
            currency: Currency::USD,
            posted: Nanos::new(50),
            leased: Amount::new(leased),
            credit_limit: Amount::new(20),
            status: AccountStatus::Active,
        };
        let adjustment = Adjustment {
            key: "k".to_owned(),
            amount: Nanos::new(amount),
            currency: Currency::USD,
            lot: LotId::new(9),
            kind: LotKind::Paid,
            calls: vec![CallPart {
                call: CallId::new(1),
                amount: Nanos::new(amount),
                after: 0,
                window: None,
            }],
            note: String::new(),
            takes_what_is_there: false,
        };
        let booking = Booking {
            txn: LedgerTxnId::new(1),
            now: EPOCH,
        };
        adjust(
            AccountId::new(1),
            wallet,
            vec![lot(1, 50)],
            &adjustment,
            booking,
        )
    }

    #[test]
    fn what_is_given_back_is_a_new_lot() {
        let changes = adjusted(-30, 0).unwrap();
        assert_eq!(changes.wallet.posted, Nanos::new(80));
        assert_eq!(changes.new_lot.unwrap().remaining, Amount::new(30));
        assert_eq!(changes.lots, [lot(1, 50)]);
    }

    #[test]
    fn a_later_charge_takes_what_is_free_and_no_more() {
        let changes = adjusted(60, 0).unwrap();
        assert_eq!(changes.wallet.posted, Nanos::new(-10));
        assert_eq!(changes.lots, [lot(1, 0)]);
        assert_eq!(changes.uncollected, Nanos::ZERO);
        let changes = adjusted(60, 40).unwrap();
        assert_eq!(changes.wallet.posted, Nanos::new(20));
        assert_eq!(changes.uncollected, Nanos::new(30));
        assert_eq!(changes.on_lease, Amount::new(30));
        let changes = adjusted(60, 70).unwrap();
        assert_eq!((changes.txn, changes.uncollected), (None, Nanos::new(60)));
    }

    #[test]
    fn what_was_not_collected_corrects_no_call() {
        let part = |call, amount| CallPart {
            call: CallId::new(call),
            amount: Nanos::new(amount),
            after: 0,
            window: None,
        };
        let parts = [part(1, 30), part(2, -10), part(3, 40)];
        let amounts = |taken| -> Vec<(i64, i64)> {
            let covered = covered(&parts, Nanos::new(taken)).unwrap();
            let covered = covered.into_iter();
            covered.map(|p| (p.call.get(), p.amount.get())).collect()
        };
        assert_eq!(amounts(60), [(1, 30), (2, -10), (3, 40)]);
        assert_eq!(amounts(25), [(1, 30), (2, -10), (3, 5)]);
        assert_eq!(amounts(0), [(1, 10), (2, -10)]);
    }

    #[test]
    fn an_adjustment_of_nothing_is_refused() {
        assert_eq!(adjusted(0, 0), Err(AdjustmentError::Nothing));
    }
}
