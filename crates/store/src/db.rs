//! Connections and statements.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, IsolationLevel, QueryResult,
    Statement, TransactionOptions, TransactionTrait, Value,
};

use crate::error::StoreError;
use crate::writer::{Tx, Writer};

/// How long PostgreSQL may be silent about a statement. The connection to a server that is gone
/// without a word looks like one to a server that thinks, and nothing else would end the wait.
const ANSWER: Duration = Duration::from_secs(5);

/// How long it may be silent about a statement of a report, a proof or retention: a large account's
/// takes longer, and no call waits for it.
const REPORT: Duration = Duration::from_mins(1);

tokio::task_local! {
    /// How long a statement may take, where that is not [`ANSWER`].
    static PATIENCE: Duration;
}

#[cfg(test)]
tokio::task_local! {
    /// What was sent by a test's task, so that it can be explained.
    pub(crate) static SENT: std::sync::Mutex<Vec<Statement>>;
}

/// Whether a statement was ever not answered in time.
static WAS_SILENT: AtomicBool = AtomicBool::new(false);

/// Waits for what was asked of a database, as long as one that is there can take.
pub(crate) async fn answered<T>(
    backend: DbBackend,
    asked: impl Future<Output = Result<T, DbErr>>,
) -> Result<T, StoreError> {
    if backend == DbBackend::Sqlite {
        return Ok(asked.await?);
    }
    let wait = PATIENCE.try_with(|wait| *wait).unwrap_or(ANSWER);
    if let Ok(answer) = tokio::time::timeout(wait, asked).await {
        return Ok(answer?);
    }
    WAS_SILENT.store(true, Ordering::Relaxed);
    Err(StoreError::Silent)
}

/// Does work for which no call waits: its statements may take longer.
pub(crate) async fn patiently<T>(work: impl Future<Output = T>) -> T {
    PATIENCE.scope(REPORT, work).await
}

/// Whether connections of this process may be dead without knowing it.
pub(crate) fn was_silent() -> bool {
    WAS_SILENT.load(Ordering::Relaxed)
}

/// The two sides of a database: one connection writes on SQLite, several read.
#[derive(Debug, Clone)]
pub(crate) struct Db {
    pub(crate) reader: DatabaseConnection,
    pub(crate) writer: Writer,
    /// For signs of life and news, which must not wait behind other work. On SQLite it is the
    /// writer.
    pub(crate) signs: Writer,
}

impl Db {
    pub(crate) fn backend(&self) -> DbBackend {
        self.writer.get_database_backend()
    }

    /// A transaction that writes.
    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        self.writer.begin().await
    }

    /// A transaction in which all reads see one state.
    pub(crate) async fn snapshot(&self) -> Result<Tx, StoreError> {
        let mut options = TransactionOptions::default();
        if self.backend() == DbBackend::Postgres {
            options.isolation_level = Some(IsolationLevel::RepeatableRead);
            options.access_mode = Some(AccessMode::ReadOnly);
        }
        let begun = answered(self.backend(), self.reader.begin_with_options(options)).await;
        begun.map(Tx::reading)
    }
}

/// Commits what went well; else rolls back at once, because the one writer is waited for.
pub(crate) async fn finish<T, E: From<StoreError>>(tx: Tx, result: Result<T, E>) -> Result<T, E> {
    let backend = tx.get_database_backend();
    match result {
        Ok(done) => {
            answered(backend, tx.commit()).await?;
            Ok(done)
        }
        Err(error) => {
            if let Err(rollback) = answered(backend, tx.rollback()).await {
                tracing::debug!(error = %rollback, "a transaction could not be rolled back");
            }
            Err(error)
        }
    }
}

/// A statement with `?` for each value; `{lock}` locks the rows read, where rows can be locked.
fn statement(backend: DbBackend, text: &str, values: Vec<Value>) -> Statement {
    let statement = Statement::from_sql_and_values(backend, dialect(backend, text), values);
    note(&statement);
    statement
}

/// Notes what is sent, for tests that look at it.
#[cfg_attr(
    not(test),
    expect(clippy::missing_const_for_fn, reason = "not in tests")
)]
pub(crate) fn note(statement: &Statement) {
    #[cfg(test)]
    let _ = SENT.try_with(|sent| sent.lock().unwrap().push(statement.clone()));
    #[cfg(not(test))]
    let _ = statement;
}

fn dialect(backend: DbBackend, text: &str) -> String {
    if backend == DbBackend::Sqlite {
        return text.replace("{lock}", "").replace("{share}", "");
    }
    let text = text
        .replace("{lock}", " FOR UPDATE")
        .replace("{share}", " FOR SHARE");
    let mut numbered = String::with_capacity(text.len().saturating_add(16));
    for (i, part) in text.split('?').enumerate() {
        if i > 0 {
            numbered.push('$');
            numbered.push_str(&i.to_string());
        }
        numbered.push_str(part);
    }
    numbered
}

pub(crate) async fn all<C: ConnectionTrait>(
    db: &C,
    text: &str,
    values: Vec<Value>,
) -> Result<Vec<QueryResult>, StoreError> {
    let backend = db.get_database_backend();
    let statement = statement(backend, text, values);
    answered(backend, db.query_all_raw(statement)).await
}

pub(crate) async fn one<C: ConnectionTrait>(
    db: &C,
    text: &str,
    values: Vec<Value>,
) -> Result<Option<QueryResult>, StoreError> {
    let backend = db.get_database_backend();
    let statement = statement(backend, text, values);
    answered(backend, db.query_one_raw(statement)).await
}

/// How many rows it changed.
pub(crate) async fn run<C: ConnectionTrait>(
    db: &C,
    text: &str,
    values: Vec<Value>,
) -> Result<u64, StoreError> {
    let backend = db.get_database_backend();
    let statement = statement(backend, text, values);
    let done = answered(backend, db.execute_raw(statement)).await?;
    Ok(done.rows_affected())
}

/// Notes that something changed which nodes have in memory; the last statement of a transaction.
///
/// Positions become visible in order: on PostgreSQL those who note changes wait for each other,
/// so that nobody reads past one that is not committed yet. See `docs/decisions`.
pub(crate) async fn note_change<C: ConnectionTrait>(
    db: &C,
    subject: &str,
    account: Option<i64>,
    at: i64,
) -> Result<(), StoreError> {
    // The position is taken after the lock: a row's defaults are made when its turn has come. Nodes
    // that listen are told when the transaction commits. One statement, because others wait for it.
    let text = if db.get_database_backend() == DbBackend::Postgres {
        "INSERT INTO change_feed (subject, account_id, at) \
         SELECT CAST(? AS TEXT), CAST(? AS BIGINT), CAST(? AS BIGINT) \
         FROM (SELECT pg_advisory_xact_lock(7405170001), pg_notify('tollgate_news', '') \
         OFFSET 0) AS turn"
    } else {
        "INSERT INTO change_feed (subject, account_id, at) VALUES (?, ?, ?)"
    };
    run(db, text, vec![subject.into(), account.into(), at.into()]).await?;
    Ok(())
}
