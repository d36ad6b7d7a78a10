//! Puts what was settled into its accounts' lists, beside the hot path.
//!
//! On SQLite calls and transactions lie in order of time, so that a batch of settlements writes few
//! pages whichever accounts it is of. A round takes what came since the last one in order of
//! accounts, so that each page of a list is written once for all that is new on it. A long one writes
//! in steps, because settlements wait for the one writer; a short one is one transaction.
//!
//! A round that ends in the middle does no harm: what it listed is found in the list, the rest is
//! found as before, and the next round takes all of it again. On PostgreSQL the lists are the keys
//! of the tables, and there is nothing to do.

use sea_orm::{ConnectionTrait, DbBackend, Value};

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
        let reader = &self.db.reader;
        let new = New {
            calls: Queued::read(reader, most).await?,
            txns: Beyond::read(reader, most).await?,
        };
        if new.is_little() {
            // One flush for all of it, which settlements would wait for each time.
            let tx = self.db.begin().await?;
            let result = new.list(&tx, &tx).await;
            db::finish(tx, result).await
        } else {
            new.list(reader, &self.db.writer).await
        }
    }
}

/// What came since the last round.
struct New {
    calls: Option<Queued>,
    txns: Option<Beyond>,
}

impl New {
    fn is_little(&self) -> bool {
        let calls = self.calls.as_ref().map_or(0, |calls| calls.entries.len());
        calls.max(self.txns.map_or(0, |txns| txns.count)) <= STEP.0
    }

    async fn list<R: ConnectionTrait, W: ConnectionTrait>(
        self,
        reader: &R,
        writer: &W,
    ) -> Result<Listed, StoreError> {
        let mut listed = Listed::default();
        if let Some(calls) = self.calls {
            listed.calls = calls.list(writer).await?;
        }
        if let Some(txns) = self.txns {
            listed.txns = txns.list(reader, writer).await?;
        }
        Ok(listed)
    }
}

/// Calls in the queue.
struct Queued {
    entries: Vec<Entry>,
    /// The position of the first.
    first: i64,
    /// The position of the last, its account and its id.
    last: [i64; 3],
}

impl Queued {
    async fn read<C: ConnectionTrait>(reader: &C, most: i64) -> Result<Option<Self>, StoreError> {
        let text = "SELECT position, account_id, call_id FROM call_unlisted \
                    ORDER BY position LIMIT ?";
        let rows = db::all(reader, text, vec![most.into()]).await?;
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Ok(None);
        };
        Ok(Some(Self {
            entries: entries(&rows, "call_id")?,
            first: get(first, "position")?,
            last: [
                get(last, "position")?,
                get(last, "account_id")?,
                get(last, "call_id")?,
            ],
        }))
    }

    async fn list<W: ConnectionTrait>(self, writer: &W) -> Result<u64, StoreError> {
        let count = self.entries.len();
        enter(writer, &CALLS, self.entries).await?;
        dequeue(writer, self.first, self.last, step_of(count)).await?;
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }
}

/// Transactions beyond the line.
#[derive(Clone, Copy)]
struct Beyond {
    count: usize,
    /// The last id of them.
    last: i64,
}

impl Beyond {
    async fn read<C: ConnectionTrait>(reader: &C, most: i64) -> Result<Option<Self>, StoreError> {
        let text = "SELECT MAX(id) AS last, COUNT(*) AS n FROM (SELECT id FROM ledger_txn \
                    WHERE id > (SELECT upto FROM txn_listed WHERE id = 1) ORDER BY id LIMIT ?)";
        let row = db::one(reader, text, vec![most.into()]).await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let last: Option<i64> = get(&row, "last")?;
        let count = usize::try_from(get::<i64>(&row, "n")?).unwrap_or(usize::MAX);
        Ok(last.map(|last| Self { count, last }))
    }

    async fn list<R: ConnectionTrait, W: ConnectionTrait>(
        self,
        reader: &R,
        writer: &W,
    ) -> Result<u64, StoreError> {
        let last = self.last;
        // From here on what is booked with an older id is listed by who books it.
        let text = "UPDATE txn_listed SET until = ? WHERE id = 1 AND until < ?";
        db::run(writer, text, vec![last.into(), last.into()]).await?;
        let text = "SELECT account_id, id FROM ledger_txn \
                    WHERE id > (SELECT upto FROM txn_listed WHERE id = 1) AND id <= ?";
        let rows = db::all(reader, text, vec![last.into()]).await?;
        let txns = entries(&rows, "id")?;
        drop(rows);
        let count = txns.len();
        enter(writer, &TXNS, txns).await?;
        let text = "UPDATE txn_listed SET upto = ? WHERE id = 1 AND upto < ?";
        db::run(writer, text, vec![last.into(), last.into()]).await?;
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }
}

/// Takes calls out of the queue, as long as the last of them is there: if it is not, somebody else
/// has taken them, and their positions may be those of others by now.
async fn dequeue<W: ConnectionTrait>(
    writer: &W,
    first: i64,
    last: [i64; 3],
    step: usize,
) -> Result<(), StoreError> {
    let [end, account, call] = last;
    let step = i64::try_from(step).unwrap_or(i64::MAX).saturating_mul(4);
    let text = "DELETE FROM call_unlisted WHERE position <= ? AND EXISTS (SELECT 1 \
                FROM call_unlisted l WHERE l.position = ? AND l.account_id = ? \
                AND l.call_id = ?)";
    let mut upto = first.saturating_sub(1);
    while upto < end {
        upto = upto.saturating_add(step).min(end);
        let values = [upto, end, account, call].map(Value::from);
        db::run(writer, text, values.to_vec()).await?;
    }
    Ok(())
}

/// Writes entries of a list, in order of accounts.
async fn enter<W: ConnectionTrait>(
    writer: &W,
    list: &'static BatchSql,
    mut new: Vec<Entry>,
) -> Result<(), StoreError> {
    new.sort_unstable();
    for step in new.chunks(step_of(new.len())) {
        let mut rows = list.rows(DbBackend::Sqlite);
        for (account, id) in step {
            rows.push([(*account).into(), (*id).into()]);
        }
        rows.run(writer).await?;
    }
    Ok(())
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
