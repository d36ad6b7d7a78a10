//! The books: settlements, leases, credit and their proof.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use billing_core::adjustment::{AdjustedSoFar, Adjustment};
use billing_core::call::Settlement;
use billing_core::id::{AccountId, CallId, NodeId, TierScheduleId};
use billing_core::lease::{LeaseAsk, LeaseGrant, LeaseReturn, Recall};
use billing_core::port::books::{
    AccountProof, Adjusted, Books, BooksError, Credited, Lapsed, Lapsing, OpenWindow, Settled,
};
use billing_core::settlement::Booking;
use billing_core::tier_schedule::TierSchedule;
use billing_core::wallet::{Credit, Lot, Wallet};
use time::OffsetDateTime;

pub(crate) mod adjust;
mod carry;
pub(crate) mod committer;
pub(crate) mod credit;
pub(crate) mod keyed;
mod lapse;
pub(crate) mod lease;
pub(crate) mod load;
pub(crate) mod lots;
pub(crate) mod reclaim;
pub(crate) mod save;
pub(crate) mod settle;
pub(crate) mod shelf;
pub(crate) mod windows;

use crate::db;
use crate::open::Store;
use crate::verify;

#[async_trait]
impl Books for Store {
    async fn lease(&self, ask: LeaseAsk) -> Result<LeaseGrant, BooksError> {
        if self.is_embedded() {
            return self.committer.lease(ask).await;
        }
        let tx = self.db.begin().await?;
        let result = lease::lease(&tx, &ask, self.clock.now()).await;
        let result = db::finish(tx, result.map_err(BooksError::from)).await;
        self.committer.forget(ask.account);
        result?
    }

    async fn give_back(&self, back: LeaseReturn) -> Result<(), BooksError> {
        if self.is_embedded() {
            return self.committer.give_back(back).await;
        }
        let tx = self.db.begin().await?;
        let result = lease::give_back(&tx, &back, self.clock.now()).await;
        let result = db::finish(tx, result).await;
        self.committer.forget(back.account);
        Ok(result?)
    }

    async fn recalls(&self, node: NodeId) -> Result<Vec<Recall>, BooksError> {
        Ok(lease::recalls(&self.db.reader, node, self.clock.now()).await?)
    }

    async fn settle(&self, settlement: Arc<Settlement>) -> Result<Settled, BooksError> {
        self.committer.settle(settlement).await
    }

    async fn add_credit(
        &self,
        account: AccountId,
        credit: Credit,
        now: OffsetDateTime,
    ) -> Result<Credited, BooksError> {
        let tx = self.db.begin().await?;
        let id = self.ids.next(now);
        let result = credit::add_credit(&tx, account, &credit, id, now).await;
        let result = db::finish(tx, result).await;
        self.committer.forget(account);
        result
    }

    async fn adjust(
        &self,
        account: AccountId,
        adjustment: Adjustment,
        now: OffsetDateTime,
    ) -> Result<Adjusted, BooksError> {
        let tx = self.db.begin().await?;
        let txn = self.ids.next(now);
        let booking = Booking { txn, now };
        let result = adjust::adjust_books(&tx, account, &adjustment, booking).await;
        let result = db::finish(tx, result).await;
        self.committer.forget(account);
        result?.ok_or(BooksError::OnLease)
    }

    async fn lapsing(
        &self,
        by: OffsetDateTime,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<Lapsing>, BooksError> {
        Ok(lapse::due(&self.db.reader, by, after, limit).await?)
    }

    async fn lapse(&self, account: AccountId, now: OffsetDateTime) -> Result<Lapsed, BooksError> {
        let tx = self.db.begin().await?;
        let txn = self.ids.next(now);
        let result = lapse::lapse_lots(&tx, account, Booking { txn, now }).await;
        let result = db::finish(tx, result).await;
        self.committer.forget(account);
        result
    }

    async fn lots(&self, account: AccountId, limit: u32) -> Result<Vec<Lot>, BooksError> {
        let mut held = lots::holding(&self.db.reader, account).await?;
        held.sort_by_key(Lot::draw_order);
        held.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(held)
    }

    async fn adjustments(
        &self,
        account: AccountId,
        calls: &[CallId],
    ) -> Result<BTreeMap<CallId, AdjustedSoFar>, BooksError> {
        Ok(adjust::of_calls(&self.db.reader, account, calls).await?)
    }

    async fn open_windows(
        &self,
        schedule: TierScheduleId,
        before: i64,
        limit: u32,
    ) -> Result<Vec<OpenWindow>, BooksError> {
        Ok(windows::open(&self.db.reader, schedule, before, limit).await?)
    }

    async fn last_closed(
        &self,
        account: AccountId,
        schedule: TierScheduleId,
    ) -> Result<Option<i64>, BooksError> {
        Ok(windows::last_closed(&self.db.reader, account, schedule).await?)
    }

    async fn note_windows(
        &self,
        account: AccountId,
        schedule: &TierSchedule,
        window_starts: &[i64],
    ) -> Result<(), BooksError> {
        let tx = self.db.begin().await?;
        let result = windows::note_used(&tx, account, schedule, window_starts).await;
        Ok(db::finish(tx, result).await?)
    }

    async fn close_window(
        &self,
        window: &OpenWindow,
        adjustment: Option<Adjustment>,
        now: OffsetDateTime,
    ) -> Result<Option<Adjusted>, BooksError> {
        let tx = self.db.begin().await?;
        let txn = self.ids.next(now);
        let booking = Booking { txn, now };
        let result = windows::close(&tx, window, adjustment.as_ref(), booking).await;
        let result = db::finish(tx, result).await;
        self.committer.forget(window.account);
        result?.ok_or(BooksError::OnLease)
    }

    async fn wallet(&self, account: AccountId) -> Result<Wallet, BooksError> {
        let text = "SELECT * FROM wallet WHERE account_id = ?";
        let row = db::one(&self.db.reader, text, vec![account.get().into()]).await?;
        let row = row.ok_or(BooksError::NoSuchBudget)?;
        Ok(load::wallet(&row)?)
    }

    async fn verify(
        &self,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<AccountProof>, BooksError> {
        Ok(verify::accounts(self, after, limit).await?)
    }
}

impl Store {
    /// How much was committed since the store was opened: what shows how many settlements share a
    /// commit.
    pub fn committed(&self) -> committer::Committed {
        self.committer.committed()
    }
}
