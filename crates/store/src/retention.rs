//! Calls are kept for as long as the operator says. The journal and the roll-ups are kept for ever.

use billing_core::id::first_id_at;
use sea_orm::ConnectionTrait;
use time::OffsetDateTime;

use crate::db;
use crate::error::StoreError;
use crate::instant::{get, micros};
use crate::open::Store;

/// How many accounts are visited at a time.
const ACCOUNTS: i64 = 500;
/// How many calls are deleted in one transaction.
const CALLS: usize = 1000;
/// A call's id may be a little older than its start, by the clock of another node: what began so
/// long before is surely over the line.
const MARGIN_MS: i64 = 3_600_000;

const VISITED: &str =
    "SELECT account_id FROM wallet WHERE account_id > ? ORDER BY account_id LIMIT ?";
const OLD: &str = "SELECT call_id FROM account_call WHERE account_id = ? AND call_id < ? \
                   ORDER BY call_id LIMIT ?";
const ATTEMPTS: &str = "DELETE FROM call_attempt WHERE (call_id, account_id) IN \
    (SELECT call_id, account_id FROM account_call WHERE account_id = ? AND call_id <= ?)";
const DELETED: &str = "DELETE FROM call WHERE (id, account_id) IN \
    (SELECT call_id, account_id FROM account_call WHERE account_id = ? AND call_id <= ?)";
const KEYS: &str = "DELETE FROM call_idempotency WHERE account_id = ? AND call_id <= ?";
/// On PostgreSQL the list is the table of calls.
const LISTED: &str = "DELETE FROM account_call WHERE account_id = ? AND call_id <= ?";

impl Store {
    /// Deletes calls that began before an instant, with their attempts and keys: those of the next
    /// accounts, at most 1000 of each. Answers with how many calls are gone and whether the round
    /// through all accounts is over. To be called now and then, by any number of nodes.
    ///
    /// The line never goes back: calls are not kept from earlier on again. Proofs of the books
    /// believe the journal about what lies before it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn expire_calls(&self, since: OffsetDateTime) -> Result<(u64, bool), StoreError> {
        // Known before the first call is gone, so that no proof misses it.
        let text = "INSERT INTO retention (id, calls_since, passed_account) VALUES (1, ?, ?) \
            ON CONFLICT (id) DO UPDATE SET calls_since = CASE \
            WHEN retention.calls_since > excluded.calls_since THEN retention.calls_since \
            ELSE excluded.calls_since END";
        let values = vec![micros(since).into(), i64::MIN.into()];
        db::run(&self.db.writer, text, values).await?;
        let text = "SELECT passed_account FROM retention WHERE id = 1";
        let row = db::one(&self.db.writer, text, Vec::new()).await?;
        let passed = row.map_or(Ok(i64::MIN), |row| get(&row, "passed_account"))?;
        let values = vec![passed.into(), ACCOUNTS.into()];
        let rows = db::all(&self.db.reader, VISITED, values).await?;
        let line = first_id_at((micros(since) / 1000).saturating_sub(MARGIN_MS));
        let mut gone = 0_u64;
        let mut last = i64::MIN;
        for row in &rows {
            last = get(row, "account_id")?;
            gone = gone.saturating_add(self.expire_some(last, line).await?);
        }
        let is_over = i64::try_from(rows.len()).unwrap_or(i64::MAX) < ACCOUNTS;
        let next = if is_over { i64::MIN } else { last };
        let text = "UPDATE retention SET passed_account = ? WHERE id = 1";
        db::run(&self.db.writer, text, vec![next.into()]).await?;
        Ok((gone, is_over))
    }

    /// Each account in a transaction of its own, so that settlements wait for none of them long.
    async fn expire_some(&self, account: i64, line: i64) -> Result<u64, StoreError> {
        let most = i64::try_from(CALLS).unwrap_or(i64::MAX);
        let values = vec![account.into(), line.into(), most.into()];
        let old = db::all(&self.db.reader, OLD, values).await?;
        let Some(last) = old.last() else {
            return Ok(0);
        };
        let upto: i64 = get(last, "call_id")?;
        let tx = self.db.begin().await?;
        let result = self.delete(&tx, account, upto, old.len() < CALLS).await;
        db::finish(tx, result).await
    }

    async fn delete<C: ConnectionTrait>(
        &self,
        tx: &C,
        account: i64,
        upto: i64,
        is_last: bool,
    ) -> Result<u64, StoreError> {
        let values = || vec![account.into(), upto.into()];
        db::run(tx, ATTEMPTS, values()).await?;
        let gone = db::run(tx, DELETED, values()).await?;
        if self.is_embedded() {
            db::run(tx, LISTED, values()).await?;
        }
        // They are looked through from the first to the last, so only once.
        if is_last {
            db::run(tx, KEYS, values()).await?;
        }
        Ok(gone)
    }
}
