//! Lots in memory, and what becomes of those whose time is over.

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::AccountId;
use billing_core::lapse::lapse;
use billing_core::lease::{Claim, HOUSE, HOUSE_CLAIM_FOR};
use billing_core::ledger::{LedgerKind, LedgerTxn};
use billing_core::port::books::{BooksError, Lapsed, Lapsing};
use billing_core::settlement::Booking;
use billing_core::wallet::Lot;
use time::OffsetDateTime;

use super::{Booked, Page, State};

impl State {
    pub(super) fn lapsing(&self, by: OffsetDateTime, after: Option<AccountId>) -> Vec<Lapsing> {
        let pages = self.books.iter().filter(|(id, _)| Some(**id) > after);
        let lapsing = pages.filter_map(|(account, page)| {
            let over = page.lots.iter().filter(|lot| lot.is_over(by));
            let amount = over.fold(Amount::ZERO, |sum, lot| sum.plus(lot.remaining));
            (!amount.is_zero()).then(|| Lapsing {
                account: *account,
                currency: page.wallet.currency,
                amount: amount.money(),
            })
        });
        lapsing.collect()
    }
}

impl Page {
    pub(super) fn lapse(
        &mut self,
        account: AccountId,
        booking: Booking,
    ) -> Result<Lapsed, BooksError> {
        let after = lapse(account, self.wallet, self.lots.clone(), booking)
            .map_err(|e| BooksError::Inconsistent(e.to_string()))?;
        let house = (HOUSE, BudgetScope::Wallet);
        if after.on_lease.is_zero() {
            self.claims.remove(&house);
        } else {
            let claim = Claim {
                node: HOUSE,
                since: booking.now,
                wanted: after.on_lease,
                expires_at: booking.now + HOUSE_CLAIM_FOR,
            };
            self.claims.insert(house, claim);
        }
        let txn = after.txn.as_ref().map(LedgerTxn::id);
        self.journal.extend(after.txn.map(|txn| Booked {
            txn,
            note: String::new(),
        }));
        self.wallet = after.wallet;
        self.lots = after.lots;
        Ok(Lapsed {
            amount: after.lapsed.money(),
            on_lease: after.on_lease,
            txn,
            balance: self.wallet.posted,
        })
    }

    /// Lots that hold something, in the order in which they are drawn.
    pub(super) fn held_lots(&self) -> Vec<Lot> {
        let lots = self.lots.iter().copied();
        let mut held: Vec<Lot> = lots.filter(|lot| !lot.remaining.is_zero()).collect();
        held.sort_by_key(Lot::draw_order);
        held
    }

    /// All that ever lapsed.
    pub(super) fn lapsed(&self) -> i128 {
        let lapsed = self.journal.iter().map(|booked| &booked.txn);
        let lapsed = lapsed.filter(|txn| txn.kind() == LedgerKind::Expiry);
        let legs = lapsed.flat_map(LedgerTxn::entries);
        let of_lots = legs.filter(|entry| entry.lot.is_some());
        of_lots.map(|entry| i128::from(entry.amount.get())).sum()
    }
}
