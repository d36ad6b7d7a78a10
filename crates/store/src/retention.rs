//! Calls are kept for as long as the operator says. The journal and the roll-ups are kept for ever.
//!
//! What was settled long after it began stays until its transaction is proved by the journal alone.
//! A call that is deleted is no longer known as charged. So none is charged that is older than all
//! that are kept: see [`kept_from`].
//!
//! On SQLite calls lie in order of time, so the oldest are deleted first. On PostgreSQL they lie in
//! order of accounts: a round goes through all accounts, some at a time, and the next one begins
//! when the line has moved by an hour. Either way a step reads as many rows as it deletes, and one
//! look-up for each account that it passes.

use std::ops::Range;

use billing_core::id::first_id_at;
use sea_orm::ConnectionTrait;
use time::OffsetDateTime;

use crate::db;
use crate::error::StoreError;
use crate::instant::{get, micros};
use crate::open::Store;
use crate::rows::BatchSql;
use crate::rows::Kind::Int;
use crate::verify;

/// How many accounts are passed in one step on PostgreSQL.
const ACCOUNTS: i64 = 1000;
/// How many calls are deleted in one step on PostgreSQL, where nobody waits for it.
const CALLS: i64 = 2000;
/// And on SQLite, where settlements wait for the one writer.
const CALLS_EMBEDDED: i64 = 250;
/// By how much the line moves between two rounds.
const ROUND_US: i64 = 3_600_000_000;
/// A call's id may be a little older than its start, by the clock of another node: what began so
/// long before is surely over the line.
const MARGIN_MS: i64 = 3_600_000;

/// How long calls are kept at least: what began later need not be compared with the line. The
/// setting is a day or more, and a node's clock is never so far off.
const SURELY_KEPT_MS: i64 = 12 * 3_600_000;

const OLDEST: &str =
    "SELECT account_id, id FROM call WHERE id < ? AND settled_at < ? ORDER BY id LIMIT ?";
const VISITED: &str = "SELECT COUNT(*) AS visited, MAX(account_id) AS last FROM \
    (SELECT account_id FROM wallet WHERE account_id > ? ORDER BY account_id LIMIT ?) w";
/// An account with many calls is not read as one with as many as the others.
const BY_KEY: &str = "SET LOCAL enable_bitmapscan = off";
const OLD: &str = "SELECT o.account_id, o.id FROM \
    (SELECT account_id FROM wallet WHERE account_id > ? AND account_id <= ? ORDER BY account_id) w \
    CROSS JOIN LATERAL (SELECT c.account_id, c.id FROM call c \
    WHERE c.account_id = w.account_id AND c.id < ? AND c.settled_at < ? ORDER BY c.id LIMIT ?) o \
    ORDER BY w.account_id LIMIT ?";

/// What is deleted of each call; the call itself is the last.
static DELETED: [BatchSql; 3] = [
    of_calls(
        "DELETE FROM call_attempt WHERE (call_id, account_id) IN \
         (SELECT v.id, v.account_id FROM {rows} v)",
    ),
    of_calls(
        "DELETE FROM call_idempotency WHERE (account_id, call_id) IN \
         (SELECT v.account_id, v.id FROM {rows} v)",
    ),
    of_calls(
        "DELETE FROM call WHERE (id, account_id) IN (SELECT v.id, v.account_id FROM {rows} v)",
    ),
];
/// On PostgreSQL the list is the table of calls.
static UNLISTED: BatchSql = of_calls(
    "DELETE FROM account_call WHERE (account_id, call_id) IN \
     (SELECT v.account_id, v.id FROM {rows} v)",
);

const fn of_calls(template: &'static str) -> BatchSql {
    BatchSql::new(&[("account_id", Int), ("id", Int)], template)
}

/// How far retention has come.
#[derive(Debug, Clone, Copy)]
struct Line {
    /// Calls are kept from here on, in microseconds since the Unix epoch.
    since: i64,
    /// The last account that this round has passed.
    passed_account: i64,
    /// The line of the last round that is over.
    passed_since: i64,
}

/// The ids of calls that are surely not deleted, whatever the line is.
pub(crate) fn surely_kept(now: OffsetDateTime) -> Range<i64> {
    let now_ms = micros(now) / 1000;
    let id_at = |off_ms| first_id_at(now_ms.saturating_add(off_ms));
    id_at(-SURELY_KEPT_MS)..id_at(SURELY_KEPT_MS)
}

/// The least id of a call that is not deleted; below everything where none ever was. The line stays
/// where it is until the transaction ends, so that no call is deleted that it takes for kept.
pub(crate) async fn kept_from<C: ConnectionTrait>(tx: &C) -> Result<i64, StoreError> {
    let text = "SELECT r.calls_since FROM retention r WHERE r.id = 1{share}";
    let row = db::one(tx, text, Vec::new()).await?;
    row.map_or(Ok(i64::MIN), |row| {
        Ok(first_deleted_no_more(get(&row, "calls_since")?))
    })
}

/// A call to be deleted: its account and its id.
type Old = (i64, i64);

impl Store {
    /// Deletes calls that began before an instant, with their attempts and keys: a bounded number in
    /// one step. Answers with how many calls are gone and whether nothing is left to do for now;
    /// until then it is to be called again. Any number of nodes may do so. On PostgreSQL a call may
    /// stay for an hour longer. One that was settled more than a day or two after it began stays
    /// for so much longer.
    ///
    /// The line never goes back: calls are not kept from earlier on again. Proofs of the books
    /// believe the journal about what lies before it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn expire_calls(&self, since: OffsetDateTime) -> Result<(u64, bool), StoreError> {
        db::patiently(async {
            let line = self.draw_line(micros(since)).await?;
            if self.is_embedded() {
                self.expire_oldest(line).await
            } else {
                self.expire_of_next_accounts(line).await
            }
        })
        .await
    }

    /// Moves the line. It is known before the first call is gone, so that no proof misses one.
    async fn draw_line(&self, since: i64) -> Result<Line, StoreError> {
        let text = "INSERT INTO retention (id, calls_since, passed_account) VALUES (1, ?, ?) \
            ON CONFLICT (id) DO UPDATE SET calls_since = excluded.calls_since \
            WHERE retention.calls_since < excluded.calls_since";
        let values = vec![since.into(), i64::MIN.into()];
        db::run(&self.db.writer, text, values).await?;
        let text = "SELECT calls_since, passed_account, passed_since FROM retention WHERE id = 1";
        let row = db::one(&self.db.writer, text, Vec::new()).await?;
        let row = row.ok_or_else(|| StoreError::unreadable("retention", "it is gone"))?;
        Ok(Line {
            since: get(&row, "calls_since")?,
            passed_account: get(&row, "passed_account")?,
            passed_since: get(&row, "passed_since")?,
        })
    }

    async fn expire_oldest(&self, line: Line) -> Result<(u64, bool), StoreError> {
        let values = vec![
            line.first_id().into(),
            line.settled_before().into(),
            CALLS_EMBEDDED.into(),
        ];
        let old = old(&self.db.reader, OLDEST, values).await?;
        let tx = self.db.begin().await?;
        let result = delete(&tx, &old).await;
        let gone = db::finish(tx, result).await?;
        Ok((gone, is_fewer(old.len(), CALLS_EMBEDDED)))
    }

    async fn expire_of_next_accounts(&self, line: Line) -> Result<(u64, bool), StoreError> {
        let begins = line.passed_account == i64::MIN;
        if begins && line.since.saturating_sub(line.passed_since) < ROUND_US {
            return Ok((0, true));
        }
        let values = vec![line.passed_account.into(), ACCOUNTS.into()];
        let visited = db::one(&self.db.reader, VISITED, values).await?;
        let visited = visited.ok_or_else(|| StoreError::unreadable("wallet", "no count"))?;
        let count: i64 = get(&visited, "visited")?;
        let last: Option<i64> = get(&visited, "last")?;
        let last = last.unwrap_or(i64::MAX);
        let tx = self.db.begin().await?;
        let result = async {
            db::run(&tx, BY_KEY, Vec::new()).await?;
            let values = vec![
                line.passed_account.into(),
                last.into(),
                line.first_id().into(),
                line.settled_before().into(),
                CALLS.into(),
                CALLS.into(),
            ];
            let old = old(&tx, OLD, values).await?;
            let gone = delete(&tx, &old).await?;
            let are_all = is_fewer(old.len(), CALLS);
            let is_over = are_all && count < ACCOUNTS;
            // The account at which a full batch ends may have more: it is visited again.
            let passed = match old.last() {
                Some((account, _)) if !are_all => account.saturating_sub(1),
                _ => last,
            };
            let (passed, round) = if is_over {
                (i64::MIN, line.since)
            } else {
                (passed, line.passed_since)
            };
            let text = "UPDATE retention SET passed_account = ?, passed_since = ? WHERE id = 1";
            db::run(&tx, text, vec![passed.into(), round.into()]).await?;
            Ok::<_, StoreError>((gone, is_over))
        };
        let result = result.await;
        db::finish(tx, result).await
    }
}

async fn old<C: ConnectionTrait>(
    db: &C,
    text: &str,
    values: Vec<sea_orm::Value>,
) -> Result<Vec<Old>, StoreError> {
    let rows = db::all(db, text, values).await?;
    let read = |row| Ok((get(row, "account_id")?, get(row, "id")?));
    rows.iter().map(read).collect()
}

impl Line {
    /// Calls with smaller ids go, as far as they were settled soon.
    fn first_id(&self) -> i64 {
        first_deleted_no_more(self.since)
    }

    /// What was settled later stays: a proof compares its transaction with it.
    fn settled_before(&self) -> i64 {
        let compared = self.since.saturating_add(verify::SETTLED_WITHIN_US);
        compared.saturating_sub(MARGIN_MS.saturating_mul(1000))
    }
}

/// The first id that a line spares, in microseconds since the Unix epoch.
fn first_deleted_no_more(since: i64) -> i64 {
    first_id_at((since / 1000).saturating_sub(MARGIN_MS))
}

fn is_fewer(found: usize, most: i64) -> bool {
    i64::try_from(found).is_ok_and(|found| found < most)
}

async fn delete<C: ConnectionTrait>(tx: &C, old: &[Old]) -> Result<u64, StoreError> {
    let backend = tx.get_database_backend();
    let is_embedded = backend == sea_orm::DbBackend::Sqlite;
    let lists = Some(&UNLISTED).filter(|_| is_embedded);
    let mut gone = 0;
    for statement in lists.into_iter().chain(&DELETED) {
        let mut rows = statement.rows(backend);
        for (account, id) in old {
            rows.push([(*account).into(), (*id).into()]);
        }
        gone = rows.run(tx).await?;
    }
    Ok(gone)
}
