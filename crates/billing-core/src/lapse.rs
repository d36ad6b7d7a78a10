//! Lapse: credit whose time is over is taken away, once.

use time::OffsetDateTime;

use crate::budget::Amount;
use crate::id::AccountId;
use crate::ledger::{Entry, LedgerCode, LedgerError, LedgerHead, LedgerKind, LedgerTxn};
use crate::settlement::{Booking, code_of};
use crate::wallet::{AccountStatus, Lot, LotKind, Wallet};

/// What lapsing changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lapse {
    /// The wallet after it.
    pub wallet: Wallet,
    /// The lots after it, in the order in which they are drawn.
    pub lots: Vec<Lot>,
    /// How much was taken away.
    pub lapsed: Amount,
    /// What was booked; `None` where nothing was taken.
    pub txn: Option<LedgerTxn>,
    /// What is over and nodes have on lease: it can be recalled. What calls hold of it stays theirs,
    /// and lapses when they have not used it.
    pub on_lease: Amount,
}

impl Lot {
    /// Whether it holds something and its time is over.
    pub fn is_over(&self, now: OffsetDateTime) -> bool {
        !self.remaining.is_zero() && self.expires_at.is_some_and(|end| end <= now)
    }
}

/// Takes away what lots hold whose time is over, as far as nobody has it on lease. Given credit was an
/// expense and is none; bought credit becomes income ([`LedgerCode::Breakage`]).
///
/// Repeated, it takes away what has come free since, and otherwise nothing. Of a parked account
/// nothing moves.
///
/// # Errors
/// [`LedgerError`]. Nothing has changed then.
pub fn lapse(
    account: AccountId,
    mut wallet: Wallet,
    mut lots: Vec<Lot>,
    booking: Booking,
) -> Result<Lapse, LedgerError> {
    lots.sort_by_key(Lot::draw_order);
    let mut entries = Vec::new();
    let (mut lapsed, mut on_lease) = (Amount::ZERO, Amount::ZERO);
    let may_move = wallet.status != AccountStatus::Parked;
    let over = lots.iter_mut().filter(|lot| lot.is_over(booking.now));
    for lot in over.filter(|_| may_move) {
        let taken = lot.remaining.min(wallet.available());
        on_lease = on_lease.plus(lot.remaining.less(taken));
        if taken.is_zero() {
            continue;
        }
        lot.remaining = lot.remaining.less(taken);
        wallet.posted = wallet.posted.minus(taken.money())?;
        lapsed = lapsed.plus(taken);
        entries.push(Entry {
            code: code_of(lot.kind),
            amount: taken.money(),
            lot: Some(lot.id),
        });
        entries.push(Entry {
            code: against(lot.kind),
            amount: taken.money().negated()?,
            lot: None,
        });
    }
    let head = LedgerHead {
        id: booking.txn,
        account,
        currency: wallet.currency,
        kind: LedgerKind::Expiry,
        key: format!("expiry:{}", booking.txn),
        booked_at: booking.now,
    };
    let is_due = !lapsed.is_zero();
    let txn = is_due.then(|| LedgerTxn::new(head, entries)).transpose()?;
    Ok(Lapse {
        wallet,
        lots,
        lapsed,
        txn,
        on_lease,
    })
}

/// Where what lapses goes.
const fn against(kind: LotKind) -> LedgerCode {
    match kind {
        LotKind::Paid => LedgerCode::Breakage,
        LotKind::Promo => LedgerCode::PromoExpense,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::Duration;

    use super::*;
    use crate::id::{LedgerTxnId, LotId};
    use crate::money::{Currency, Nanos};

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn lot(id: i64, kind: LotKind, remaining: u64, ends_in_s: Option<i64>) -> Lot {
        Lot {
            id: LotId::new(id),
            kind,
            priority: 0,
            effective_at: NOW.saturating_sub(Duration::DAY),
            expires_at: ends_in_s.map(|s| NOW.saturating_add(Duration::seconds(s))),
            created_at: NOW.saturating_sub(Duration::DAY),
            granted: Amount::new(1_000),
            remaining: Amount::new(remaining),
        }
    }

    fn lapsed(lots: &[Lot], leased: u64, credit: u64) -> Lapse {
        let held = lots.iter().map(|lot| lot.remaining);
        let wallet = Wallet {
            currency: Currency::USD,
            posted: held.fold(Amount::ZERO, Amount::plus).money(),
            leased: Amount::new(leased),
            credit_limit: Amount::new(credit),
            status: AccountStatus::Active,
        };
        let booking = Booking {
            txn: LedgerTxnId::new(1),
            now: NOW,
        };
        lapse(AccountId::new(1), wallet, lots.to_vec(), booking).unwrap()
    }

    fn legs(lapse: &Lapse) -> Vec<(LedgerCode, i64)> {
        let entries = lapse.txn.iter().flat_map(LedgerTxn::entries);
        entries.map(|e| (e.code, e.amount.get())).collect()
    }

    #[test]
    fn what_is_over_is_taken_and_nothing_else() {
        let lots = [
            lot(1, LotKind::Promo, 30, Some(0)),
            lot(2, LotKind::Promo, 40, Some(1)),
            lot(3, LotKind::Paid, 50, Some(-9)),
            lot(4, LotKind::Paid, 60, None),
        ];
        let after = lapsed(&lots, 0, 0);
        assert_eq!(after.lapsed, Amount::new(80));
        assert_eq!(after.wallet.posted, Nanos::new(100));
        let mut left: Vec<_> = after.lots.iter().map(|l| (l.id, l.remaining)).collect();
        left.sort();
        let wanted = [(1, 0), (2, 40), (3, 0), (4, 60)];
        assert_eq!(
            left,
            wanted.map(|(id, held)| (LotId::new(id), Amount::new(held)))
        );
        let mut legs = legs(&after);
        legs.sort();
        let mut wanted = [
            (LedgerCode::WalletPromo, 30),
            (LedgerCode::PromoExpense, -30),
            (LedgerCode::WalletPaid, 50),
            (LedgerCode::Breakage, -50),
        ];
        wanted.sort();
        assert_eq!(legs, wanted);
    }

    #[test]
    fn what_is_on_lease_lapses_when_it_is_free() {
        let lots = [lot(1, LotKind::Promo, 100, Some(0))];
        let after = lapsed(&lots, 70, 0);
        assert_eq!(
            (after.lapsed, after.on_lease),
            (Amount::new(30), Amount::new(70))
        );
        let after = lapsed(&after.lots, 0, 0);
        assert_eq!(
            (after.lapsed, after.on_lease),
            (Amount::new(70), Amount::ZERO)
        );
        let after = lapsed(&after.lots, 0, 0);
        assert_eq!((after.lapsed, after.txn), (Amount::ZERO, None));
    }

    #[test]
    fn who_has_a_credit_limit_goes_on_with_that() {
        let lots = [lot(1, LotKind::Promo, 100, Some(0))];
        let after = lapsed(&lots, 70, 100);
        assert_eq!(
            (after.lapsed, after.on_lease),
            (Amount::new(100), Amount::ZERO)
        );
        assert_eq!(after.wallet.available(), Amount::new(30));
    }

    #[test]
    fn nothing_of_a_parked_account_lapses() {
        let wallet = Wallet {
            currency: Currency::USD,
            posted: Nanos::new(100),
            leased: Amount::ZERO,
            credit_limit: Amount::ZERO,
            status: AccountStatus::Parked,
        };
        let lots = vec![lot(1, LotKind::Promo, 100, Some(0))];
        let booking = Booking {
            txn: LedgerTxnId::new(1),
            now: NOW,
        };
        let after = lapse(AccountId::new(1), wallet, lots.clone(), booking).unwrap();
        assert_eq!((after.lapsed, after.on_lease), (Amount::ZERO, Amount::ZERO));
        assert_eq!((after.txn, after.lots), (None, lots));
    }

    proptest! {
        /// Nothing is taken that is on lease, not over, or not there, and the books say just that.
        #[test]
        fn lapsing_takes_what_is_over_and_free(
            held in prop::collection::vec((any::<bool>(), 0_u64..1_000, -2_i64..3), 0..6),
            leased in 0_u64..2_000,
            credit in 0_u64..500,
        ) {
            let lots: Vec<Lot> = (1..).zip(held).map(|(id, (paid, left, ends))| {
                let kind = if paid { LotKind::Paid } else { LotKind::Promo };
                lot(id, kind, left, (ends < 2).then_some(ends))
            }).collect();
            let sum = |lots: &[Lot]| lots.iter().fold(Amount::ZERO, |all, l| all.plus(l.remaining));
            let leased = leased.min(sum(&lots).get().saturating_add(credit));
            let after = lapsed(&lots, leased, credit);
            let over = lots.iter().filter(|l| l.is_over(NOW)).copied().collect::<Vec<_>>();
            prop_assert_eq!(after.lapsed.plus(after.on_lease), sum(&over));
            prop_assert_eq!(sum(&after.lots).plus(after.lapsed), sum(&lots));
            prop_assert_eq!(after.wallet.posted, sum(&after.lots).money());
            prop_assert!(after.wallet.posted.get().saturating_add_unsigned(credit)
                >= i64::try_from(leased).unwrap());
            let free = sum(&lots).plus(Amount::new(credit)).less(Amount::new(leased));
            prop_assert_eq!(after.lapsed, sum(&over).min(free));
        }
    }
}
