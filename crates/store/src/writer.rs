//! Who writes, in turns.
//!
//! SQLite lets one connection write at a time, and one that finds another at it can only try again
//! and again. Here whoever wants to write waits in line, so that settlements without end keep nobody
//! out. PostgreSQL has its own locks: there nobody waits.
//!
//! A statement whose caller has left runs to its end all the same, when the turn is over already, and
//! another process does not stand in line. So a turn makes it likely that the file is free, and no
//! more; who finds it taken waits and tries again.

use std::sync::Arc;

use async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult,
    QueryResult, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::db::answered;
use crate::error::StoreError;
use crate::open::ACQUIRE;

/// A turn at writing; it ends where this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _held: Option<OwnedMutexGuard<()>>,
}

impl Turn {
    /// What needs none.
    pub(crate) const FREE: Self = Self { _held: None };
}

/// A connection that writes. Clones share the line.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    connection: DatabaseConnection,
    line: Option<Arc<Mutex<()>>>,
}

impl Writer {
    pub(crate) fn new(connection: DatabaseConnection) -> Self {
        let is_alone = connection.get_database_backend() == DbBackend::Sqlite;
        let line = is_alone.then(|| Arc::new(Mutex::new(())));
        Self { connection, line }
    }

    /// What it writes over; no statement of one's own is to be run there.
    pub(crate) fn connection(&self) -> &DatabaseConnection {
        &self.connection
    }

    /// Waits for a turn. No statement of this writer may be run meanwhile.
    ///
    /// # Errors
    /// [`DbErr::ConnectionAcquire`] where others keep it for too long.
    pub(crate) async fn turn(&self) -> Result<Turn, DbErr> {
        let Some(line) = &self.line else {
            return Ok(Turn::FREE);
        };
        let held = tokio::time::timeout(ACQUIRE, Arc::clone(line).lock_owned());
        let held = held.await.map_err(|_| {
            let kept = sea_orm::ConnAcquireErr::Timeout;
            DbErr::ConnectionAcquire(kept)
        })?;
        Ok(Turn { _held: Some(held) })
    }

    /// A transaction that writes.
    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        let turn = self.turn().await?;
        let mut options = TransactionOptions::default();
        let backend = self.get_database_backend();
        if backend == DbBackend::Sqlite {
            options.sqlite_transaction_mode = Some(SqliteTransactionMode::Immediate);
        }
        let tx = answered(backend, self.connection.begin_with_options(options)).await?;
        Ok(Tx { tx, turn })
    }
}

/// Each statement in a turn of its own.
#[async_trait]
impl ConnectionTrait for Writer {
    fn get_database_backend(&self) -> DbBackend {
        self.connection.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let _turn = self.turn().await?;
        self.connection.execute_raw(statement).await
    }

    async fn execute_unprepared(&self, text: &str) -> Result<ExecResult, DbErr> {
        let _turn = self.turn().await?;
        self.connection.execute_unprepared(text).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let _turn = self.turn().await?;
        self.connection.query_one_raw(statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let _turn = self.turn().await?;
        self.connection.query_all_raw(statement).await
    }
}

/// A transaction, and the turn in which it writes.
#[derive(Debug)]
pub(crate) struct Tx {
    tx: DatabaseTransaction,
    turn: Turn,
}

impl Tx {
    /// One that only reads.
    pub(crate) fn reading(tx: DatabaseTransaction) -> Self {
        let turn = Turn::FREE;
        Self { tx, turn }
    }

    /// As the migrator takes it.
    pub(crate) fn as_transaction(&self) -> &DatabaseTransaction {
        &self.tx
    }

    pub(crate) async fn commit(self) -> Result<(), DbErr> {
        let done = self.tx.commit().await;
        drop(self.turn);
        done
    }

    pub(crate) async fn rollback(self) -> Result<(), DbErr> {
        let done = self.tx.rollback().await;
        drop(self.turn);
        done
    }
}

#[async_trait]
impl ConnectionTrait for Tx {
    fn get_database_backend(&self) -> DbBackend {
        self.tx.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.tx.execute_raw(statement).await
    }

    async fn execute_unprepared(&self, text: &str) -> Result<ExecResult, DbErr> {
        self.tx.execute_unprepared(text).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.tx.query_one_raw(statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.tx.query_all_raw(statement).await
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::Database;

    use super::*;

    #[test]
    fn who_writes_on_sqlite_waits_for_its_turn_and_comes_in_order() {
        testkit::contract::run(async {
            let connection = Database::connect("sqlite::memory:").await.unwrap();
            let writer = Writer::new(connection);
            let held = writer.turn().await.unwrap();
            let mut statement = std::pin::pin!(writer.execute_unprepared("SELECT 1"));
            assert!(waits(&mut statement).await, "it is another one's turn");
            let mut later = std::pin::pin!(writer.begin());
            assert!(waits(&mut later).await);
            drop(held);
            let mut last = std::pin::pin!(writer.turn());
            assert!(waits(&mut last).await, "two have waited for longer");
            statement.await.unwrap();
            later.await.unwrap().rollback().await.unwrap();
            last.await.unwrap();
        });
    }

    /// Whether it waits.
    async fn waits<F: Future>(waiting: &mut std::pin::Pin<&mut F>) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_pending()))
            .await
    }
}
