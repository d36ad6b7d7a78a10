//! SQLite's connection that settles, on the thread of who asks.
//!
//! What SeaORM sends goes through another thread, two changes of thread a statement. A batch of
//! settlements is many small statements, so it has a connection of its own. Everything else goes
//! through SeaORM. The two write in turns: see [`crate::writer`].

use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::StoreError;

/// How long another process may be at writing. The committer's thread waits for it, so a batch that
/// finds it at it for longer is tried again over SeaORM, which waits elsewhere.
const BUSY: Duration = Duration::from_millis(25);
/// All statements of a batch, in both forms.
const STATEMENTS: usize = 64;

/// The connection.
#[derive(Debug)]
pub(crate) struct Embedded(Connection);

impl Embedded {
    /// Opens a file that is there already and has a write-ahead log.
    ///
    /// # Errors
    /// [`StoreError::Embedded`].
    pub(crate) fn open(file: &str) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // Its own checkpoints are a last resort, because a commit would wait for them.
        connection.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
             PRAGMA wal_autocheckpoint = 20000; PRAGMA cache_size = -16000; \
             PRAGMA temp_store = MEMORY;",
        )?;
        Ok(Self(connection))
    }

    /// Does the work in a transaction that writes; undoes it where it fails.
    ///
    /// # Errors
    /// Those of the work, and [`StoreError::Embedded`].
    pub(crate) fn transaction<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if !self.0.is_autocommit() {
            // Work that panicked has left its transaction open.
            self.run("ROLLBACK")?;
        }
        self.run("BEGIN IMMEDIATE")?;
        let done = work(&self.0).and_then(|done| {
            self.run("COMMIT")?;
            Ok(done)
        });
        // Some failures have rolled back already, others (as a commit that found no room) have not.
        if done.is_err()
            && !self.0.is_autocommit()
            && let Err(error) = self.run("ROLLBACK")
        {
            tracing::debug!(%error, "a transaction could not be rolled back");
        }
        done
    }

    fn run(&self, text: &str) -> Result<(), StoreError> {
        self.0.prepare_cached(text)?.raw_execute()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(embedded: &Embedded) -> i64 {
        let row = embedded
            .0
            .query_row("SELECT count(*) FROM t", [], |row| row.get(0));
        row.unwrap()
    }

    fn put(connection: &Connection, id: i64) -> Result<(), StoreError> {
        connection.execute("INSERT OR FAIL INTO t VALUES (?1, 1)", [id])?;
        Ok(())
    }

    fn filled(folder: &std::path::Path) -> Embedded {
        let file = folder.join("t.db");
        let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, version INTEGER NOT NULL)";
        let connection = Connection::open(&file).unwrap();
        connection.execute_batch(table).unwrap();
        Embedded::open(file.to_str().unwrap()).unwrap()
    }

    #[test]
    fn what_fails_half_way_leaves_nothing_and_the_next_one_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let embedded = filled(folder.path());
        embedded.transaction(|tx| put(tx, 1)).unwrap();
        let twice = embedded.transaction(|tx| put(tx, 2).and_then(|()| put(tx, 1)));
        let twice = twice.unwrap_err();
        assert!(twice.is_duplicate() && twice.is_poison(), "{twice}");
        assert_eq!(count(&embedded), 1);
        let stale = embedded.transaction(|tx| {
            put(tx, 3)?;
            tx.execute("UPDATE OR FAIL t SET version = NULL WHERE id = 3", [])?;
            Ok(())
        });
        let stale = stale.unwrap_err();
        assert!(stale.is_stale() && !stale.is_duplicate(), "{stale}");
        assert_eq!(count(&embedded), 1);
        embedded.transaction(|tx| put(tx, 4)).unwrap();
        assert_eq!(count(&embedded), 2);
    }

    #[test]
    fn work_that_panics_leaves_nothing_and_the_next_one_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let embedded = filled(folder.path());
        let work = std::panic::AssertUnwindSafe(|| {
            embedded.transaction(|tx| put(tx, 5).map(|()| panic!("in the middle")))
        });
        let panicked: Result<Result<(), _>, _> = std::panic::catch_unwind(work);
        assert!(panicked.is_err());
        embedded.transaction(|tx| put(tx, 6)).unwrap();
        assert_eq!(count(&embedded), 1);
    }

    #[test]
    fn a_file_that_is_missing_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("missing.db");
        assert!(Embedded::open(file.to_str().unwrap()).is_err());
        assert!(!file.exists());
    }
}
