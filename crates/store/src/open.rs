//! Opening, migrating and closing a store.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use billing_core::invoice::Invoicing;
use billing_core::port::clock::Clock;
use billing_core::subscription::Dunning;
use migrations::Migrator;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{Connection, Error as SqlxError, PgConnection};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend};

use crate::books::committer::{self, Committer};
use crate::db::{self, Db};
use crate::error::StoreError;
use crate::txn_ids::TxnIds;
use crate::writer::Writer;

/// How long a connection may take to be had. While the server is away it is tried again after a
/// fifth of this at most, so that is what its return goes unnoticed.
pub(crate) const ACQUIRE: Duration = Duration::from_secs(5);
/// How long a connection may take to show that it is alive, where some are dead.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// How PostgreSQL treats a session: one that is silent within a transaction is ended, because it
/// keeps its locks and its process may be frozen or cut off; nobody else's calls wait for it longer.
const SESSION: [(&str, &str); 1] = [("idle_in_transaction_session_timeout", "2s")];

/// How PostgreSQL plans the committer's statements: once, and always account after account by index.
/// So all batches lock wallets in order of account, and none waits in a circle with another.
const IN_ORDER: [(&str, &str); 4] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_seqscan", "off"),
];

/// Where a store is and how it works.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// `sqlite:///path/file.db` (made where it is missing) or `postgres://…`.
    pub url: String,
    /// What time it is when a batch is booked.
    pub clock: Arc<dyn Clock>,
    /// Connections that read on SQLite; all connections but the committer's on PostgreSQL.
    pub connections: u32,
    /// The longest that the committer lets a batch gather; with none, it commits what waits at once.
    pub linger: Duration,
    /// How many settlements and leases share a transaction at most.
    pub batch: usize,
    /// What the house says of itself on invoices, and how it numbers and taxes them.
    pub invoicing: Arc<Invoicing>,
    /// How often a fee is tried again: by this it is reckoned when a subscription is looked at.
    pub dunning: Arc<Dunning>,
    /// Whether messages are to be sent: those that are kept from now on.
    pub sends_messages: bool,
}

impl StoreConfig {
    /// The usual settings for a database.
    pub fn new(url: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        let url = url.into();
        let connections = if url.starts_with("sqlite:") { 4 } else { 16 };
        Self {
            url,
            clock,
            connections,
            linger: Duration::ZERO,
            batch: committer::BATCH,
            invoicing: Arc::new(Invoicing::default()),
            dunning: Arc::new(Dunning::default()),
            sends_messages: false,
        }
    }
}

/// All ports over one database. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) db: Db,
    pub(crate) committer: Committer,
    pub(crate) ids: TxnIds,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) invoicing: Arc<Invoicing>,
    pub(crate) dunning: Arc<Dunning>,
    pub(crate) sends_messages: bool,
}

impl Store {
    /// Connects, and makes the file where it is missing. The schema is left as it is: see
    /// [`Store::migrate`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(config: StoreConfig) -> Result<Self, StoreError> {
        let ids = TxnIds::new()?;
        let target = Target::of(&config)?;
        target.make_folder()?;
        let start = committer::Start {
            writer: target.writer(),
            checkpointer: target.checkpointer(),
            embedded: target.file().map(str::to_owned),
            clock: Arc::clone(&config.clock),
            ids: ids.clone(),
            linger: config.linger,
            batch: config.batch.max(1),
        };
        let (committer, hot) = committer::start(start).await?;
        let general = Database::connect(target.general(config.connections)).await?;
        let (writer, signs) = if hot.get_database_backend() == DbBackend::Sqlite {
            (hot.clone(), hot)
        } else {
            let signs = Database::connect(target.signs()).await?;
            (Writer::new(general.clone()), Writer::new(signs))
        };
        Ok(Self {
            db: Db {
                reader: general,
                writer,
                signs,
            },
            committer,
            ids,
            clock: config.clock,
            invoicing: config.invoicing,
            dunning: config.dunning,
            sends_messages: config.sends_messages,
        })
    }

    /// Whether it is an embedded SQLite file, so that one node uses it alone.
    pub fn is_embedded(&self) -> bool {
        self.db.backend() == DbBackend::Sqlite
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ping(&self) -> Result<(), StoreError> {
        db::one(&self.db.reader, "SELECT 1 AS one", Vec::new()).await?;
        Ok(())
    }

    /// The steps that the schema lacks, in order.
    ///
    /// # Errors
    /// [`StoreError`], [`StoreError::Newer`].
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        refuse_newer(&self.db.writer).await?;
        Ok(Migrator::pending(&self.db.writer).await?)
    }

    /// Whether this version may work on the database: not when a newer one has migrated it. One
    /// that lacks steps passes.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError`].
    pub async fn refuse_newer_schema(&self) -> Result<(), StoreError> {
        refuse_newer(&self.db.writer).await
    }

    /// Takes the schema to this version, all steps or none. Tells of each step before it is taken
    /// (its name, how many are done, how many there are), and answers with how many were taken.
    ///
    /// # Errors
    /// [`StoreError`], [`StoreError::Newer`].
    pub async fn migrate(
        &self,
        mut progress: impl FnMut(&str, usize, usize) + Send,
    ) -> Result<usize, StoreError> {
        // A step may sort a whole table, which is not to be done in memory.
        self.sort_in("file").await?;
        let migrated = self.take_steps(&mut progress).await;
        let sorted = self.sort_in("memory").await;
        migrated.and_then(|steps| sorted.map(|()| steps))
    }

    /// Where SQLite sorts what it writes.
    async fn sort_in(&self, place: &str) -> Result<(), StoreError> {
        if self.is_embedded() {
            let text = format!("PRAGMA temp_store = {place}");
            self.db.writer.execute_unprepared(&text).await?;
        }
        Ok(())
    }

    async fn take_steps(
        &self,
        progress: &mut (impl FnMut(&str, usize, usize) + Send),
    ) -> Result<usize, StoreError> {
        let tx = self.db.begin().await?;
        let work = async {
            if self.db.backend() == DbBackend::Postgres {
                // Nodes that start together migrate one after the other.
                db::one(&tx, "SELECT pg_advisory_xact_lock(7405170002)", Vec::new()).await?;
            }
            refuse_newer(&tx).await?;
            let pending = Migrator::pending(&tx).await?;
            for (done, step) in pending.iter().enumerate() {
                progress(step, done, pending.len());
                Migrator::step(tx.as_transaction()).await?;
            }
            Ok::<_, StoreError>(pending.len())
        };
        let result = work.await;
        db::finish(tx, result).await
    }

    /// Commits what waits and closes all connections.
    pub async fn close(self) {
        self.committer.stop().await;
        let Db {
            reader,
            writer,
            signs,
        } = self.db;
        for connection in [signs.connection(), writer.connection(), &reader] {
            if let Err(error) = connection.clone().close().await {
                tracing::debug!(%error, "a connection was not closed well");
            }
        }
    }
}

async fn refuse_newer<C: ConnectionTrait>(db: &C) -> Result<(), StoreError> {
    let unknown = Migrator::unknown(db).await?;
    if unknown.is_empty() {
        return Ok(());
    }
    Err(StoreError::Newer(unknown))
}

/// Whether a connection that was given back can be used again. The pool asks that by itself, but for
/// as long as it takes: a dead one would keep its place for ever.
async fn is_alive(connection: &mut PgConnection) -> Result<bool, SqlxError> {
    match tokio::time::timeout(SIGN_OF_LIFE, connection.ping()).await {
        Ok(Ok(())) => Ok(true),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(SqlxError::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

async fn is_alive_if_in_doubt(connection: &mut PgConnection) -> Result<bool, SqlxError> {
    if db::was_silent() {
        is_alive(connection).await
    } else {
        Ok(true)
    }
}

enum Target {
    Sqlite { file: String },
    Postgres { url: String },
}

impl Target {
    fn of(config: &StoreConfig) -> Result<Self, StoreError> {
        let url = config.url.as_str();
        if let Some(file) = url.strip_prefix("sqlite://").filter(|f| !f.is_empty()) {
            let file = file.to_owned();
            return Ok(Self::Sqlite { file });
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let url = url.to_owned();
            return Ok(Self::Postgres { url });
        }
        // What stands before a `:` may be shown; what follows may be a password.
        let scheme = url.split(':').next().unwrap_or_default();
        Err(StoreError::UnknownUrl(scheme.to_owned()))
    }

    /// The file of a database that has one.
    fn file(&self) -> Option<&str> {
        match self {
            Self::Sqlite { file } => Some(file),
            Self::Postgres { .. } => None,
        }
    }

    fn make_folder(&self) -> Result<(), StoreError> {
        let Self::Sqlite { file } = self else {
            return Ok(());
        };
        let Some(folder) = Path::new(file).parent() else {
            return Ok(());
        };
        std::fs::create_dir_all(folder).map_err(|source| StoreError::Folder {
            folder: folder.display().to_string(),
            source,
        })
    }

    fn options(&self, connections: u32) -> ConnectOptions {
        let mut options = match self {
            Self::Sqlite { .. } => ConnectOptions::new("sqlite://tollgate"),
            Self::Postgres { url } => ConnectOptions::new(url.clone()),
        };
        options
            .max_connections(connections)
            .sqlx_logging(false)
            .record_stmt_in_spans(false)
            .acquire_timeout(ACQUIRE);
        if matches!(self, Self::Postgres { .. }) {
            options.map_sqlx_postgres_opts(|postgres| postgres.options(SESSION));
            options.map_sqlx_postgres_pool_opts(|pool| {
                pool.after_release(|connection, _| Box::pin(is_alive(connection)))
            });
        }
        options
    }

    fn sqlite(
        &self,
        connections: u32,
        extra: &'static [(&'static str, &'static str)],
    ) -> ConnectOptions {
        let mut options = self.options(connections);
        if let Self::Sqlite { file } = self {
            let file = file.clone();
            options.test_before_acquire(false).idle_timeout(None);
            options.map_sqlx_sqlite_opts(move |sqlite| {
                let sqlite = sqlite
                    .filename(&file)
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(Duration::from_secs(10))
                    .foreign_keys(true)
                    .statement_cache_capacity(200);
                extra
                    .iter()
                    .fold(sqlite, |s, (name, value)| s.pragma(*name, *value))
            });
        }
        options
    }

    /// The committer's connections. On SQLite it is the one that writes; its own checkpoints are a
    /// last resort, because they would hold up whoever waits for the commit.
    fn writer(&self) -> ConnectOptions {
        match self {
            Self::Sqlite { .. } => self.sqlite(
                1,
                &[("wal_autocheckpoint", "20000"), ("temp_store", "memory")],
            ),
            Self::Postgres { .. } => {
                let mut options = self.options(committer::CONNECTIONS);
                // Nobody gives up on a commit but who waits for each answer: a round trip is saved
                // until one of those failed to come.
                options.map_sqlx_postgres_pool_opts(|pool| {
                    pool.after_release(|connection, _| Box::pin(is_alive_if_in_doubt(connection)))
                });
                options.map_sqlx_postgres_opts(|postgres| {
                    postgres.options(SESSION.into_iter().chain(IN_ORDER))
                });
                options
            }
        }
    }

    fn signs(&self) -> ConnectOptions {
        let mut options = self.options(3);
        options.connect_lazy(true);
        options
    }

    fn checkpointer(&self) -> Option<ConnectOptions> {
        match self {
            Self::Sqlite { .. } => Some(self.sqlite(1, &[])),
            Self::Postgres { .. } => None,
        }
    }

    fn general(&self, connections: u32) -> ConnectOptions {
        match self {
            Self::Sqlite { .. } => self.sqlite(connections, &[("query_only", "on")]),
            Self::Postgres { .. } => self.options(connections),
        }
    }
}

/// A connection for the committer's thread.
pub(crate) async fn connect(options: ConnectOptions) -> Result<DatabaseConnection, StoreError> {
    Ok(Database::connect(options).await?)
}
