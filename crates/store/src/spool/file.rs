//! The spool's file: SQLite, with its own tables, written by one connection.

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use billing_core::call_record::CallRecord;
use billing_core::id::{CallId, NodeId};
use billing_core::port::spool::{Backlog, Parked, SpoolPosition, Waiting};
use sea_orm::sqlx::sqlite::{SqliteAutoVacuum, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};

use super::SpoolOpenError;
use crate::db;
use crate::deployment::DeploymentId;
use crate::error::StoreError;
use crate::instant::{get, instant};

/// What marks a SQLite file as a spool: "TolS".
const APPLICATION: i64 = 0x546f_6c53;
/// The version of its tables.
const VERSION: i64 = 1;
const PAGE: u64 = 4096;
const TABLE: &str = "spool entry";

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS header (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS entry (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    call_id INTEGER NOT NULL UNIQUE,
    since INTEGER NOT NULL,
    record TEXT NOT NULL,
    parked_at INTEGER,
    why TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS entry_parked ON entry (position) WHERE parked_at IS NOT NULL;
";

/// What stands at the head of a spool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpoolHeader {
    /// Whose calls it holds; `None` as long as none were put.
    pub deployment: Option<DeploymentId>,
    /// The name of the node that writes it.
    pub node_name: Option<String>,
    /// Under which id that node took leases last.
    pub life: Option<NodeId>,
    /// Under which it did so before and may still have some.
    pub earlier_lives: Vec<NodeId>,
    /// The lock under which that was noted.
    pub(super) life_lock: Option<String>,
}

/// Makes the file, for its owner's eyes only, so that SQLite finds it.
pub(super) fn make(path: &Path) -> Result<(), SpoolOpenError> {
    let failed = |source| SpoolOpenError::Io {
        path: path.to_owned(),
        source,
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let file = options.mode(0o600).open(path).map_err(failed)?;
    let owner_only = std::fs::Permissions::from_mode(0o600);
    file.set_permissions(owner_only).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    // A new name is durable when its folder is.
    let folder = std::fs::File::open(folder).map_err(failed)?;
    folder.sync_all().map_err(failed)
}

fn options(
    path: &Path,
    adapt: impl Fn(Sqlite) -> Sqlite + Send + Sync + 'static,
) -> ConnectOptions {
    let path = path.to_owned();
    let mut options = ConnectOptions::new("sqlite://spool");
    options
        .max_connections(1)
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(10))
        .idle_timeout(None)
        .max_lifetime(None)
        .map_sqlx_sqlite_opts(move |sqlite| {
            adapt(sqlite.filename(&path).busy_timeout(Duration::from_secs(10)))
        });
    options
}

type Sqlite = sea_orm::sqlx::sqlite::SqliteConnectOptions;

/// The connection that writes. It never grows the file beyond its bound.
pub(super) async fn writer(path: &Path, max_bytes: u64) -> Result<DatabaseConnection, StoreError> {
    let pages = (max_bytes / PAGE).max(16).to_string();
    let options = options(path, move |sqlite| {
        sqlite
            .create_if_missing(true)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("max_page_count", pages.clone())
    });
    Ok(Database::connect(options).await?)
}

/// A connection that only reads. It makes no file.
pub(super) async fn reader(path: &Path) -> Result<DatabaseConnection, StoreError> {
    let options = options(path, |sqlite| sqlite.pragma("query_only", "on"));
    Ok(Database::connect(options).await?)
}

/// The connection that writes, to a spool that has its tables.
pub(super) async fn prepared(
    path: &Path,
    max_bytes: u64,
) -> Result<DatabaseConnection, SpoolOpenError> {
    let writer = writer(path, max_bytes).await?;
    prepare(&writer, path).await?;
    Ok(writer)
}

/// Makes the tables of a new spool, and refuses a file that is something else.
async fn prepare(db: &DatabaseConnection, path: &Path) -> Result<(), SpoolOpenError> {
    let tables = number(db, "SELECT count(*) AS n FROM sqlite_master").await?;
    let application = number(db, "SELECT application_id AS n FROM pragma_application_id").await?;
    if application != APPLICATION && (application != 0 || tables != 0) {
        return Err(SpoolOpenError::NotASpool(path.to_owned()));
    }
    let version = number(db, "SELECT user_version AS n FROM pragma_user_version").await?;
    if version > VERSION {
        return Err(SpoolOpenError::Newer(path.to_owned()));
    }
    // Nothing is written into one that has its tables, of which this is the last: its disk may be
    // full.
    let last = "SELECT count(*) AS n FROM sqlite_master WHERE name = 'entry_parked'";
    if application == APPLICATION && version == VERSION && number(db, last).await? > 0 {
        return Ok(());
    }
    // The mark first: a start that was cut short is begun again.
    let mark = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}");
    for text in [mark.as_str(), SCHEMA] {
        db.execute_unprepared(text)
            .await
            .map_err(StoreError::from)?;
    }
    Ok(())
}

async fn number(db: &DatabaseConnection, text: &str) -> Result<i64, StoreError> {
    let row = db::one(db, text, Vec::new()).await?;
    row.map_or(Ok(0), |row| get(&row, "n"))
}

pub(super) async fn header(db: &DatabaseConnection) -> Result<SpoolHeader, StoreError> {
    let mut header = SpoolHeader::default();
    for row in db::all(db, "SELECT name, value FROM header", Vec::new()).await? {
        let (name, value): (String, String) = (get(&row, "name")?, get(&row, "value")?);
        let unreadable = |_| StoreError::unreadable("spool header", value.clone());
        match name.as_str() {
            "deployment" => header.deployment = Some(value.parse()?),
            "node_name" => header.node_name = Some(value),
            "life" => header.life = Some(value.parse().map_err(unreadable)?),
            "earlier_lives" => {
                let ids = value.split_whitespace().map(str::parse);
                header.earlier_lives = ids.collect::<Result<_, _>>().map_err(unreadable)?;
            }
            "life_lock" => header.life_lock = Some(value),
            _ => {}
        }
    }
    Ok(header)
}

/// What is in it, counted.
pub(super) async fn backlog(db: &DatabaseConnection) -> Result<Backlog, StoreError> {
    let text =
        "SELECT count(*) - count(parked_at) AS entries, count(parked_at) AS parked FROM entry";
    let row = db::one(db, text, Vec::new()).await?;
    let count = |name| {
        let counted = row.as_ref().map_or(Ok(0), |row| get::<i64>(row, name));
        counted.map(|n| u64::try_from(n).unwrap_or(0))
    };
    let (entries, parked) = (count("entries")?, count("parked")?);
    let (oldest, pages) = (oldest(db).await?, pages(db).await?);
    Ok(Backlog {
        entries,
        oldest,
        parked,
        bytes: pages.saturating_mul(PAGE),
        full: false,
    })
}

/// Since when the first of the waiting calls waits.
pub(super) async fn oldest(
    db: &DatabaseConnection,
) -> Result<Option<time::OffsetDateTime>, StoreError> {
    let text = "SELECT since FROM entry WHERE parked_at IS NULL ORDER BY position LIMIT 1";
    let row = db::one(db, text, Vec::new()).await?;
    row.map(|row| instant(TABLE, get(&row, "since")?))
        .transpose()
}

/// How many pages are in use.
async fn pages(db: &DatabaseConnection) -> Result<u64, StoreError> {
    let text = "SELECT page_count - freelist_count AS n \
                FROM pragma_page_count, pragma_freelist_count";
    Ok(u64::try_from(number(db, text).await?).unwrap_or(0))
}

/// How many pages of the file hold nothing.
pub(super) async fn free_pages(db: &DatabaseConnection) -> Result<i64, StoreError> {
    number(db, "SELECT freelist_count AS n FROM pragma_freelist_count").await
}

/// How many bytes the file and its log take of the disk.
pub(super) fn on_disk(path: &Path) -> u64 {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |facts| facts.len());
    bytes(path).saturating_add(bytes(Path::new(&log)))
}

/// How many bytes of the file are in use.
pub(super) async fn bytes(db: &DatabaseConnection) -> Result<u64, StoreError> {
    Ok(pages(db).await?.saturating_mul(PAGE))
}

pub(super) async fn waiting(
    db: &DatabaseConnection,
    after: SpoolPosition,
    most: u32,
) -> Result<Vec<Waiting>, StoreError> {
    let text = "SELECT position, call_id, since, record FROM entry \
                WHERE parked_at IS NULL AND position > ? ORDER BY position LIMIT ?";
    let rows = db::all(db, text, vec![after.0.into(), i64::from(most).into()]).await?;
    rows.iter()
        .map(|row| {
            let record: String = get(row, "record")?;
            Ok(Waiting {
                position: SpoolPosition(get(row, "position")?),
                call: CallId::new(get(row, "call_id")?),
                since: instant(TABLE, get(row, "since")?)?,
                record: serde_json::from_str::<CallRecord>(&record).map_err(|e| e.to_string()),
            })
        })
        .collect()
}

pub(super) async fn parked(db: &DatabaseConnection, most: u32) -> Result<Vec<Parked>, StoreError> {
    let text = "SELECT position, call_id, since, parked_at, why FROM entry \
                WHERE parked_at IS NOT NULL ORDER BY position LIMIT ?";
    let rows = db::all(db, text, vec![i64::from(most).into()]).await?;
    rows.iter()
        .map(|row| {
            Ok(Parked {
                position: SpoolPosition(get(row, "position")?),
                call: CallId::new(get(row, "call_id")?),
                since: instant(TABLE, get(row, "since")?)?,
                parked_at: instant(TABLE, get(row, "parked_at")?)?,
                why: get::<Option<String>>(row, "why")?.unwrap_or_default(),
            })
        })
        .collect()
}
