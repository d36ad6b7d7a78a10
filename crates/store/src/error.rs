//! What goes wrong in here, and what a port makes of it.

use std::error::Error;
use std::sync::Arc;

use billing_core::port::books::BooksError;
use billing_core::port::catalogue::CatalogueError;
use billing_core::port::clock::MoveError;
use billing_core::port::coupons::CouponsError;
use billing_core::port::directory::DirectoryError;
use billing_core::port::invoices::InvoicesError;
use billing_core::port::messages::MessagesError;
use billing_core::port::nodes::NodesError;
use billing_core::port::plans::PlansError;
use billing_core::port::reports::ReportError;
use billing_core::port::spool::SpoolError;
use billing_core::port::subscriptions::RecordError;
use billing_core::subscription_order::OrderError;
use sea_orm::sqlx::error::{DatabaseError, ErrorKind};
use sea_orm::{DbErr, RuntimeErr, SqlErr};
use thiserror::Error as ThisError;

/// Why the store did not do what was asked.
#[derive(Debug, ThisError)]
pub enum StoreError {
    /// The database refused, or cannot be reached.
    #[error("database: {0}")]
    Database(#[from] DbErr),
    /// SQLite refused on the connection that settles.
    #[error("database: {0}")]
    Embedded(#[from] rusqlite::Error),
    /// The database has a statement and says nothing.
    #[error("the database does not answer")]
    Silent,
    /// A newer version has migrated the database.
    #[error(
        "the database was migrated by a newer version of Tollgate (it has {}, which this one does \
         not know): start that version, or a newer one, on this node; nothing was changed",
        .0.join(", ")
    )]
    Newer(Vec<String>),
    /// A stored row is not what it should be.
    #[error("a stored {table} cannot be read: {why}")]
    Unreadable {
        /// The table.
        table: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The URL names no database that the store knows.
    #[error("\"{0}\" is not a database: expected sqlite:///path/file.db or postgres://…")]
    UnknownUrl(String),
    /// The folder of a SQLite file cannot be made.
    #[error("cannot make the folder {folder}: {source}")]
    Folder {
        /// The folder.
        folder: String,
        /// Why.
        source: std::io::Error,
    },
    /// The operating system gave no thread or no randomness.
    #[error("the store cannot start: {0}")]
    Start(String),
    /// The store is closing.
    #[error("the store is closed")]
    Closed,
    /// The books of an account are not as they were believed to be.
    #[error("the books of an account have changed")]
    Stale,
    /// The same failure as for others of the batch.
    #[error(transparent)]
    Shared(Arc<StoreError>),
}

impl StoreError {
    pub(crate) fn unreadable(table: &'static str, why: impl Into<String>) -> Self {
        let why = why.into();
        Self::Unreadable { table, why }
    }

    /// Whether a row with the same key is there already.
    pub(crate) fn is_duplicate(&self) -> bool {
        if let Self::Embedded(error) = self {
            return is_taken(error);
        }
        let Self::Database(error) = self else {
            return matches!(self, Self::Shared(e) if e.is_duplicate());
        };
        let refusal = error.sql_err();
        matches!(refusal, Some(SqlErr::UniqueConstraintViolation(_)))
    }

    /// Whether the books of an account were not as the batch began with them.
    pub(crate) fn is_stale(&self) -> bool {
        if let Self::Embedded(error) = self {
            return lacks_a_version(error);
        }
        let Self::Database(DbErr::Exec(RuntimeErr::SqlxError(error))) = self else {
            return matches!(self, Self::Stale);
        };
        let refusal = error.as_database_error();
        refusal.is_some_and(|refusal| {
            let is_null = refusal.kind() == ErrorKind::NotNullViolation;
            is_null && refusal.message().contains("version")
        })
    }

    /// Whether it is what was written that is at fault, so that repeating it is in vain.
    pub(crate) fn is_poison(&self) -> bool {
        match self {
            Self::Database(DbErr::Exec(e) | DbErr::Query(e)) => is_refusal(e),
            Self::Database(DbErr::Type(_) | DbErr::TryIntoErr { .. }) | Self::Unreadable { .. } => {
                true
            }
            Self::Embedded(e) => matches!(embedded_code(e), Some(19 | 20)),
            Self::Shared(e) => e.is_poison(),
            Self::Database(_)
            | Self::Silent
            | Self::Stale
            | Self::UnknownUrl(_)
            | Self::Folder { .. }
            | Self::Newer(_)
            | Self::Start(_)
            | Self::Closed => false,
        }
    }
}

impl StoreError {
    /// Whether the database cannot be reached, so that asking again may help: no connection, or one
    /// that is shutting down, starting up or taken.
    pub fn is_away(&self) -> bool {
        let error = match self {
            Self::Database(DbErr::ConnectionAcquire(_)) | Self::Silent => return true,
            Self::Database(DbErr::Conn(error) | DbErr::Exec(error) | DbErr::Query(error)) => error,
            Self::Embedded(error) => return matches!(embedded_code(error), Some(5 | 6)),
            Self::Shared(error) => return error.is_away(),
            Self::Database(_)
            | Self::Unreadable { .. }
            | Self::Stale
            | Self::UnknownUrl(_)
            | Self::Folder { .. }
            | Self::Newer(_)
            | Self::Start(_)
            | Self::Closed => return false,
        };
        let RuntimeErr::SqlxError(error) = error else {
            return false;
        };
        match error.as_database_error().and_then(DatabaseError::code) {
            Some(code) if code.len() == 5 => ["08", "53", "57"]
                .iter()
                .any(|class| code.starts_with(class)),
            // SQLite: busy, locked.
            Some(code) => code
                .parse::<u32>()
                .is_ok_and(|code| matches!(code & 0xff, 5 | 6)),
            None => matches!(
                **error,
                sea_orm::sqlx::Error::Io(_) | sea_orm::sqlx::Error::PoolTimedOut
            ),
        }
    }

    /// Whether SQLite found no room, within its bound or on the disk.
    pub(crate) fn is_full(&self) -> bool {
        let Self::Database(DbErr::Exec(error) | DbErr::Query(error)) = self else {
            return false;
        };
        sqlite_code(error) == Some(13)
    }
}

/// SQLite's primary result code, on the connection that settles.
fn embedded_code(error: &rusqlite::Error) -> Option<i32> {
    let code = error.sqlite_error()?.extended_code;
    Some(code & 0xff)
}

/// Whether a key is taken: SQLite's result 19 for a primary key, a unique one or a row id.
fn is_taken(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|e| e.extended_code);
    matches!(code, Some(1555 | 2067 | 2579))
}

/// Whether a version would have been null: SQLite's result 19 for a column that is not.
fn lacks_a_version(error: &rusqlite::Error) -> bool {
    let rusqlite::Error::SqliteFailure(code, Some(said)) = error else {
        return false;
    };
    code.extended_code == 1299 && said.contains("version")
}

/// SQLite's primary result code.
fn sqlite_code(error: &RuntimeErr) -> Option<u32> {
    let RuntimeErr::SqlxError(error) = error else {
        return None;
    };
    let code = error.as_database_error().and_then(DatabaseError::code)?;
    Some(code.parse::<u32>().ok()? & 0xff)
}

/// Constraints and values: SQLSTATE classes 22 and 23, SQLite's result 19 and 20.
fn is_refusal(error: &RuntimeErr) -> bool {
    let RuntimeErr::SqlxError(error) = error else {
        return false;
    };
    let Some(code) = error.as_database_error().and_then(DatabaseError::code) else {
        return false;
    };
    let is_sqlstate = code.len() == 5;
    if is_sqlstate {
        return code.starts_with("22") || code.starts_with("23");
    }
    code.parse::<u32>()
        .is_ok_and(|code| matches!(code & 0xff, 19 | 20))
}

fn boxed(error: StoreError) -> Box<dyn Error + Send + Sync> {
    Box::new(error)
}

impl From<StoreError> for BooksError {
    fn from(error: StoreError) -> Self {
        if error.is_poison() {
            Self::Inconsistent(error.to_string())
        } else {
            Self::Unavailable(boxed(error))
        }
    }
}

impl From<StoreError> for NodesError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(boxed(error))
    }
}

impl From<StoreError> for MoveError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(boxed(error))
    }
}

impl From<StoreError> for DirectoryError {
    fn from(error: StoreError) -> Self {
        if let StoreError::Unreadable { table, why } = error {
            return Self::Unreadable { table, why };
        }
        Self::Unavailable(boxed(error))
    }
}

impl From<StoreError> for ReportError {
    fn from(error: StoreError) -> Self {
        if let StoreError::Unreadable { table, why } = error {
            return Self::Unreadable { table, why };
        }
        Self::Unavailable(boxed(error))
    }
}

impl From<StoreError> for PlansError {
    fn from(error: StoreError) -> Self {
        if let StoreError::Unreadable { table, why } = error {
            return Self::Unreadable { table, why };
        }
        Self::Unavailable(boxed(error))
    }
}

impl From<StoreError> for RecordError {
    fn from(error: StoreError) -> Self {
        if error.is_poison() {
            Self::Inconsistent(error.to_string())
        } else {
            Self::Unavailable(boxed(error))
        }
    }
}

impl From<StoreError> for OrderError {
    fn from(error: StoreError) -> Self {
        RecordError::from(error).into()
    }
}

impl From<StoreError> for InvoicesError {
    fn from(error: StoreError) -> Self {
        if error.is_poison() {
            Self::Inconsistent(error.to_string())
        } else {
            Self::Unavailable(boxed(error))
        }
    }
}

impl From<StoreError> for CouponsError {
    fn from(error: StoreError) -> Self {
        if error.is_poison() {
            Self::Inconsistent(error.to_string())
        } else {
            Self::Unavailable(boxed(error))
        }
    }
}

impl From<StoreError> for MessagesError {
    fn from(error: StoreError) -> Self {
        if error.is_poison() {
            Self::Unreadable(error.to_string())
        } else {
            Self::Unavailable(boxed(error))
        }
    }
}

impl From<StoreError> for SpoolError {
    fn from(error: StoreError) -> Self {
        if error.is_full() {
            return Self::Full;
        }
        Self::Unavailable(boxed(error))
    }
}

impl From<StoreError> for CatalogueError {
    fn from(error: StoreError) -> Self {
        if let StoreError::Unreadable { table, why } = error {
            return Self::Unreadable {
                model: table.to_owned(),
                why,
            };
        }
        Self::Unavailable(boxed(error))
    }
}
