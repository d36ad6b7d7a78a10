//! Puts what was settled into its accounts' lists, beside the hot path.
//!
//! On SQLite calls and transactions lie in order of time, so that a batch of settlements writes few
//! pages whichever accounts it is of. A round takes what came since the last one in order of
//! accounts, so that each page of a list is written once for all that is new on it. It writes in
//! steps, because settlements wait for the one writer.
//!
//! A round that ends in the middle does no harm: what it listed is found in the list, the rest is
//! found as before, and the next round takes all of it again. On PostgreSQL the lists are the keys
//! of the tables, and there is nothing to do.

use sea_orm::{DbBackend, Value};

use crate::db;
use crate::error::StoreError;
use crate::instant::get;
use crate::open::Store;
use crate::rows::BatchSql;
use crate::rows::Kind::Int;

/// How many rows a step writes. The longer a round, the denser its rows lie in the lists, and the
/// more of them are written in the same time.
const STEP: (usize, usize) = (1000, 8000);
/// In how many steps a round is done that takes more than the least.
const STEPS: usize = 16;

static CALLS: BatchSql = BatchSql::new(
    &[("account_id", Int), ("call_id", Int)],
    "INSERT OR IGNORE INTO account_call ({columns}) SELECT {columns} FROM {rows} v",
);
static TXNS: BatchSql = BatchSql::new(
    &[("account_id", Int), ("txn_id", Int)],
    "INSERT OR IGNORE INTO account_txn ({columns}) SELECT {columns} FROM {rows} v",
);

/// How much a round has listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Listed {
    /// Calls.
    pub calls: u64,
    /// Transactions of the journal.
    pub txns: u64,
}

impl Listed {
    /// Whether there was anything to list.
    pub fn is_some(self) -> bool {
        self.most() > 0
    }

    /// The larger of the two.
    pub fn most(self) -> u64 {
        self.calls.max(self.txns)
    }
}

/// A row of a list: an account, and what is listed of it.
type Entry = (i64, i64);

impl Store {
    /// Puts calls and transactions that were settled into their accounts' lists, at most so many of
    /// each. To be called again and again beside the hot path; until then who reads a list looks
    /// through all that is new. PostgreSQL has no such lists: there is nothing to do.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_settled(&self, most: u64) -> Result<Listed, StoreError> {
        if !self.is_embedded() {
            return Ok(Listed::default());
        }
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        Ok(Listed {
            calls: self.list_calls(most).await?,
            txns: self.list_txns(most).await?,
        })
    }

    async fn list_calls(&self, most: i64) -> Result<u64, StoreError> {
        let text = "SELECT position, account_id, call_id FROM call_unlisted \
                    ORDER BY position LIMIT ?";
        let rows = db::all(&self.db.reader, text, vec![most.into()]).await?;
        let Some(last) = rows.last() else {
            return Ok(0);
        };
        let last: [i64; 3] = [
            get(last, "position")?,
            get(last, "account_id")?,
            get(last, "call_id")?,
        ];
        let first: i64 = rows.first().map_or(Ok(0), |row| get(row, "position"))?;
        let calls = entries(&rows, "call_id")?;
        let count = calls.len();
        self.enter(&CALLS, calls).await?;
        self.dequeue(first, last, step_of(count)).await?;
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// Takes calls out of the queue, as long as the last of them is there: if it is not, somebody
    /// else has taken them, and their positions may be those of others by now.
    async fn dequeue(&self, first: i64, last: [i64; 3], step: usize) -> Result<(), StoreError> {
        let [end, account, call] = last;
        let step = i64::try_from(step).unwrap_or(i64::MAX).saturating_mul(4);
        let text = "DELETE FROM call_unlisted WHERE position <= ? AND EXISTS (SELECT 1 \
                    FROM call_unlisted l WHERE l.position = ? AND l.account_id = ? \
                    AND l.call_id = ?)";
        let mut upto = first.saturating_sub(1);
        while upto < end {
            upto = upto.saturating_add(step).min(end);
            let values = [upto, end, account, call].map(Value::from);
            db::run(&self.db.writer, text, values.to_vec()).await?;
        }
        Ok(())
    }

    async fn list_txns(&self, most: i64) -> Result<u64, StoreError> {
        let text = "SELECT MAX(id) AS last FROM (SELECT id FROM ledger_txn \
                    WHERE id > (SELECT upto FROM txn_listed WHERE id = 1) ORDER BY id LIMIT ?)";
        let row = db::one(&self.db.reader, text, vec![most.into()]).await?;
        let last = row
            .map(|row| get::<Option<i64>>(&row, "last"))
            .transpose()?;
        let Some(last) = last.flatten() else {
            return Ok(0);
        };
        // From here on what is booked with an older id is listed by who books it.
        let text = "UPDATE txn_listed SET until = ? WHERE id = 1 AND until < ?";
        db::run(&self.db.writer, text, vec![last.into(), last.into()]).await?;
        let text = "SELECT account_id, id FROM ledger_txn \
                    WHERE id > (SELECT upto FROM txn_listed WHERE id = 1) AND id <= ?";
        let rows = db::all(&self.db.reader, text, vec![last.into()]).await?;
        let txns = entries(&rows, "id")?;
        let count = txns.len();
        self.enter(&TXNS, txns).await?;
        let text = "UPDATE txn_listed SET upto = ? WHERE id = 1 AND upto < ?";
        db::run(&self.db.writer, text, vec![last.into(), last.into()]).await?;
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// Writes entries of a list, in order of accounts.
    async fn enter(&self, list: &'static BatchSql, mut new: Vec<Entry>) -> Result<(), StoreError> {
        new.sort_unstable();
        for step in new.chunks(step_of(new.len())) {
            let mut rows = list.rows(DbBackend::Sqlite);
            for (account, id) in step {
                rows.push([(*account).into(), (*id).into()]);
            }
            rows.run(&self.db.writer).await?;
        }
        Ok(())
    }
}

fn step_of(rows: usize) -> usize {
    let (least, most) = STEP;
    (rows / STEPS).clamp(least, most)
}

fn entries(rows: &[sea_orm::QueryResult], id: &str) -> Result<Vec<Entry>, StoreError> {
    let read = |row| Ok((get(row, "account_id")?, get(row, id)?));
    rows.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rusqlite::{Connection, StatementStatus};
    use testkit::ManualClock;
    use testkit::world::NOON;

    use crate::{Store, StoreConfig};

    /// How much work a query is about account 2, which has one transaction.
    fn work(connection: &Connection, text: &str) -> i32 {
        let mut statement = connection.prepare(text).unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut found = 0;
        while rows.next().unwrap().is_some() {
            found += 1;
        }
        drop(rows);
        assert!((1..=2).contains(&found), "{text}: {found}");
        statement.get_status(StatementStatus::VmStep)
    }

    /// Whichever bounds are asked for, those of the account are sought in its list.
    #[test]
    fn what_is_listed_is_not_looked_through() {
        testkit::contract::run(async {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("books.db");
            let url = format!("sqlite://{}", file.display());
            let config = StoreConfig::new(url, Arc::new(ManualClock::at(NOON)));
            let store = Store::open(config).await.unwrap();
            store.migrate(|_, _, _| ()).await.unwrap();
            let connection = Connection::open(&file).unwrap();
            connection
                .execute_batch(
                    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
                     WHERE i < 10000) INSERT INTO ledger_txn (account_id, id, kind, booked_at, \
                     balance_after, note, code, amount) SELECT 1 + (i = 5000), i, 'settlement', \
                     0, 0, '', 'unbilled', 5 FROM n",
                )
                .unwrap();
            let texts = [
                "SELECT id, kind FROM account_journal WHERE account_id = 2 AND id > 7 \
                 ORDER BY id LIMIT 1000",
                "SELECT id, kind FROM account_journal WHERE account_id = 2 AND id < 9000 \
                 ORDER BY id DESC LIMIT 50",
                "SELECT txn_id, code, amount, lot_id FROM ledger_leg WHERE account_id = 2 \
                 AND txn_id > 7 AND txn_id <= 9000",
                "SELECT txn_id, code, amount, lot_id FROM ledger_leg WHERE account_id = 2 \
                 AND txn_id = 5000 ORDER BY txn_id DESC, leg",
            ];
            for text in &texts[..3] {
                assert!(work(&connection, text) > 10_000, "{text}");
            }
            assert!(work(&connection, texts[3]) < 500, "it is sought by its id");
            for has_statistics in [false, true] {
                store.list_settled(100_000).await.unwrap();
                for text in texts {
                    let work = work(&connection, text);
                    assert!(work < 500, "{has_statistics}: {work}: {text}");
                }
                connection.execute_batch("ANALYZE").unwrap();
            }
            store.close().await;
        });
    }
}
