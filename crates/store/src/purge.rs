//! Deletes what nobody can need any more, a bounded number of rows at a time.

use time::OffsetDateTime;

use crate::db;
use crate::error::StoreError;
use crate::instant::micros;
use crate::open::Store;

const DAY_US: i64 = 86_400_000_000;
const HOUR_US: i64 = 3_600_000_000;

/// Sessions that have ended.
const SESSIONS: &str = "DELETE FROM session WHERE hash IN \
    (SELECT hash FROM session WHERE expires_at <= ? ORDER BY hash LIMIT 1000{lock})";

/// Of the oldest changes those that every node has heard of. The newest stays: it is the position
/// from which a node that starts goes on.
const CHANGES: &str = "DELETE FROM change_feed WHERE at < ? AND position IN \
    (SELECT position FROM change_feed \
     WHERE position < (SELECT MAX(position) FROM change_feed) \
     ORDER BY position LIMIT 1000{lock})";

/// Fenced nodes, once their leases are taken back. They get no new ones.
const NODES: &str = "DELETE FROM node WHERE id IN \
    (SELECT id FROM node WHERE fenced_at < ? AND id NOT IN (SELECT node_id FROM lease) \
     ORDER BY id LIMIT 1000{lock})";

/// Leases that are used up, once no message about them can still be under way.
const LEASES: &str = "DELETE FROM lease WHERE amount = 0 AND (account_id, node_id, kind, subject, \
    unit, window_start) IN (SELECT account_id, node_id, kind, subject, unit, window_start \
     FROM lease WHERE amount = 0 AND asked_at < ? LIMIT 1000)";

/// Claims that nobody renews.
const CLAIMS: &str = "DELETE FROM lease_claim WHERE expires_at < ?";

impl Store {
    /// Deletes sessions that have ended, leases that have been empty for an hour, and changes and
    /// fenced nodes that are older than a day: at most 1000 rows of each. Answers with how many rows
    /// are gone. To be called now and then, by any number of nodes.
    ///
    /// Sessions go by the deployment's `date`. What nodes tell each other goes by the `machine`'s,
    /// which is the store's within what clocks may differ by: a date that is moved makes none of it
    /// old.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purge(
        &self,
        date: OffsetDateTime,
        machine: OffsetDateTime,
    ) -> Result<u64, StoreError> {
        let (date, machine) = (micros(date), micros(machine));
        let yesterday = machine.saturating_sub(DAY_US);
        let an_hour_ago = machine.saturating_sub(HOUR_US);
        let mut gone = 0_u64;
        // Each in a transaction of its own, so that settlements wait for none of them long.
        for (text, before) in [
            (SESSIONS, date),
            (CLAIMS, an_hour_ago),
            (LEASES, an_hour_ago),
            (CHANGES, yesterday),
            (NODES, yesterday),
        ] {
            let deleted = db::run(&self.db.writer, text, vec![before.into()]).await?;
            gone = gone.saturating_add(deleted);
        }
        Ok(gone)
    }
}
