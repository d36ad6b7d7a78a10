//! The spool over a SQLite file of its own, on the node's local disk.
//!
//! [`SpoolFile`] is the port; opening it takes an exclusive lock, so that no other process has the
//! same one. [`SpoolView`] looks at a file without the lock, beside a node that runs.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use billing_core::call_record::CallRecord;
use billing_core::id::NodeId;
use billing_core::port::spool::{Backlog, Parked, Spool, SpoolError, SpoolPosition, Waiting};
use sea_orm::DatabaseConnection;
use thiserror::Error;
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};

mod desk;
mod file;
mod lock;
mod reserve;

pub use file::SpoolHeader;

use crate::deployment::DeploymentId;
use crate::error::StoreError;
use crate::instant::micros;
use desk::{Counted, Desk, Op, Put, closed};
use lock::SpoolLock;
use reserve::Reserve;

/// Where a spool is and how large it may become.
#[derive(Debug, Clone)]
pub struct SpoolConfig {
    /// Its file. The lock stands beside it.
    pub path: PathBuf,
    /// The most that its file may take, in bytes.
    pub max_bytes: u64,
}

/// Why a spool cannot be opened. The text says what to do.
#[derive(Debug, Error)]
pub enum SpoolOpenError {
    /// Another process has it.
    #[error(
        "the spool {path} is in use by {}: every node needs a spool of its own; \
         set spool.path in its configuration, or stop the other process",
        .by.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")),
        path = .path.display()
    )]
    InUse {
        /// Its file.
        path: PathBuf,
        /// The process, where it said so.
        by: Option<u32>,
    },
    /// Its calls are of other books.
    #[error(
        "the spool {path} holds {calls} calls of another deployment ({theirs}, node \"{node}\"), \
         and this database is {ours}: give the node its own database back, or move the file aside \
         and keep it until those calls are charged; `tollgate spool show` lists them",
        path = .path.display()
    )]
    Foreign {
        /// Its file.
        path: PathBuf,
        /// Whose calls it holds.
        theirs: DeploymentId,
        /// Whose books these are.
        ours: DeploymentId,
        /// The node that wrote it.
        node: String,
        /// How many calls wait in it or were set apart.
        calls: u64,
    },
    /// A file that is something else.
    #[error("{} is not a spool: set spool.path to a file that does not exist yet", .0.display())]
    NotASpool(PathBuf),
    /// A later version wrote it.
    #[error(
        "the spool {} was written by a later version: start that version, which empties it",
        .0.display()
    )]
    Newer(PathBuf),
    /// The file or its folder.
    #[error("the spool {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// SQLite refuses it.
    #[error("the spool cannot be used: {0}; move the file aside and keep it, if it is damaged")]
    Store(#[from] StoreError),
    /// It cannot be written.
    #[error("the spool cannot be written: {0}")]
    Spool(#[from] SpoolError),
}

/// A spool that this process alone has. Clones are not made: share it.
#[derive(Debug)]
pub struct SpoolFile {
    path: PathBuf,
    queue: mpsc::Sender<Op>,
    reader: DatabaseConnection,
    counted: Counted,
    header: SpoolHeader,
    lock: SpoolLock,
}

/// A spool that was opened, and what its last user left in it.
#[derive(Debug)]
pub struct Opened {
    /// The spool.
    pub spool: SpoolFile,
    /// Who had it before.
    pub earlier_life: Option<EarlierLife>,
}

/// The life of a node that wrote into a spool before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierLife {
    /// Under which id it took leases.
    pub node: NodeId,
    /// Under which ids it had done so before, or lives before it, and may still have had some.
    pub earlier: Vec<NodeId>,
    /// What the node was called.
    pub name: Option<String>,
    /// Whether it has certainly ended: it held the very lock that is held now. A copy of a spool,
    /// or one whose lock was deleted, proves nothing.
    pub is_over: bool,
}

impl SpoolFile {
    /// Takes the lock, makes the file where it is missing, and counts what is in it.
    ///
    /// # Errors
    /// [`SpoolOpenError`].
    pub async fn open(config: SpoolConfig) -> Result<Opened, SpoolOpenError> {
        let SpoolConfig { path, max_bytes } = config;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| SpoolOpenError::Io {
                path: path.clone(),
                source,
            })?;
        }
        let lock = SpoolLock::take(&path)?;
        file::make(&path)?;
        let mut reserve = Reserve::of(&path, max_bytes);
        let writer = match file::prepared(&path, max_bytes).await {
            Err(SpoolOpenError::Store(_)) if reserve.give_up() => {
                file::prepared(&path, max_bytes).await?
            }
            opened => opened?,
        };
        reserve.keep();
        let header = file::header(&writer).await?;
        let mut backlog = file::backlog(&writer).await?;
        backlog.full = backlog.bytes >= max_bytes / 16 * 15;
        let reader = file::reader(&path).await?;
        let counted = Counted::of(backlog);
        let queue = desk::start(Desk {
            path: path.clone(),
            max_bytes,
            writer: Some(writer),
            counted: counted.clone(),
            reserve,
            is_bloated: false,
        })?;
        let earlier_life = header.life.map(|node| EarlierLife {
            node,
            earlier: header.earlier_lives.clone(),
            name: header.node_name.clone(),
            is_over: header.life_lock.as_deref() == Some(lock.identity()),
        });
        let spool = Self {
            path,
            queue,
            reader,
            counted,
            header,
            lock,
        };
        Ok(Opened {
            spool,
            earlier_life,
        })
    }

    /// Takes it for a node of a deployment. A spool that holds calls of another one is refused;
    /// one that is empty is taken over.
    ///
    /// # Errors
    /// [`SpoolOpenError::Foreign`], [`SpoolOpenError::Spool`].
    pub async fn take_for(&self, ours: DeploymentId, node: &str) -> Result<(), SpoolOpenError> {
        let backlog = self.backlog();
        let calls = backlog.entries.saturating_add(backlog.parked);
        if let Some(theirs) = self.header.deployment.filter(|theirs| *theirs != ours)
            && calls > 0
        {
            return Err(SpoolOpenError::Foreign {
                path: self.path.clone(),
                theirs,
                ours,
                node: self.header.node_name.clone().unwrap_or_default(),
                calls,
            });
        }
        let lines = vec![
            ("deployment", ours.to_string()),
            ("node_name", node.to_owned()),
        ];
        self.ask(|reply| Op::Head(lines, reply)).await?;
        Ok(())
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what waits and closes the file. Later calls are told that it is not available.
    pub async fn close(&self) {
        let (told, stopped) = oneshot::channel();
        if self.queue.send(Op::Stop(told)).await.is_ok() && stopped.await.is_err() {
            tracing::warn!("the spool was not closed well");
        }
        if let Err(error) = self.reader.close_by_ref().await {
            tracing::debug!(%error, "the spool's reader was not closed well");
        }
    }

    async fn ask<T>(
        &self,
        op: impl FnOnce(oneshot::Sender<Result<T, SpoolError>>) -> Op,
    ) -> Result<T, SpoolError> {
        let (reply, answer) = oneshot::channel();
        let gone = "it is closed";
        self.queue.send(op(reply)).await.map_err(|_| closed(gone))?;
        answer.await.map_err(|_| closed(gone))?
    }
}

#[async_trait]
impl Spool for SpoolFile {
    async fn put(
        &self,
        record: &CallRecord,
        now: OffsetDateTime,
    ) -> Result<SpoolPosition, SpoolError> {
        let text = serde_json::to_string(record);
        let put = Put {
            call: record.call().get(),
            since: micros(now),
            record: text.map_err(|e| SpoolError::Unavailable(Box::new(e)))?,
        };
        self.ask(|reply| Op::Put(put, reply)).await
    }

    async fn waiting(&self, after: SpoolPosition, most: u32) -> Result<Vec<Waiting>, SpoolError> {
        Ok(file::waiting(&self.reader, after, most).await?)
    }

    async fn forget(&self, positions: &[SpoolPosition]) -> Result<(), SpoolError> {
        let positions = positions.to_vec();
        self.ask(|reply| Op::Forget(positions, reply)).await
    }

    async fn park(
        &self,
        position: SpoolPosition,
        why: &str,
        now: OffsetDateTime,
    ) -> Result<(), SpoolError> {
        let (why, at) = (why.to_owned(), micros(now));
        self.ask(|reply| Op::Park {
            position,
            why,
            at,
            reply,
        })
        .await
    }

    async fn parked(&self, most: u32) -> Result<Vec<Parked>, SpoolError> {
        Ok(file::parked(&self.reader, most).await?)
    }

    async fn unpark(&self) -> Result<u64, SpoolError> {
        self.ask(Op::Unpark).await
    }

    async fn set_life(&self, node: NodeId, earlier: &[NodeId]) -> Result<(), SpoolError> {
        let lock = self.lock.identity().to_owned();
        let earlier: Vec<String> = earlier.iter().map(NodeId::to_string).collect();
        let lines = vec![
            ("life", node.to_string()),
            ("earlier_lives", earlier.join(" ")),
            ("life_lock", lock),
        ];
        self.ask(|reply| Op::Head(lines, reply)).await
    }

    fn backlog(&self) -> Backlog {
        self.counted.get()
    }
}

/// A spool that is only looked at, whoever has it.
#[derive(Debug)]
pub struct SpoolView {
    reader: DatabaseConnection,
    /// What stands at its head.
    pub header: SpoolHeader,
    /// What is in it.
    pub backlog: Backlog,
}

impl SpoolView {
    /// Looks at a spool; `None` where there is no file.
    ///
    /// # Errors
    /// [`SpoolOpenError`].
    pub async fn of(config: &SpoolConfig) -> Result<Option<Self>, SpoolOpenError> {
        let facts = std::fs::metadata(&config.path);
        if facts.is_err() {
            return Ok(None);
        }
        let reader = file::reader(&config.path).await?;
        let header = file::header(&reader).await?;
        let mut backlog = file::backlog(&reader).await?;
        backlog.full = backlog.bytes >= config.max_bytes / 16 * 15;
        Ok(Some(Self {
            reader,
            header,
            backlog,
        }))
    }

    /// The calls that wait, in order, at most so many.
    ///
    /// # Errors
    /// [`SpoolError::Unavailable`].
    pub async fn waiting(&self, most: u32) -> Result<Vec<Waiting>, SpoolError> {
        Ok(file::waiting(&self.reader, SpoolPosition::default(), most).await?)
    }

    /// The calls that were set apart, in order, at most so many.
    ///
    /// # Errors
    /// [`SpoolError::Unavailable`].
    pub async fn parked(&self, most: u32) -> Result<Vec<Parked>, SpoolError> {
        Ok(file::parked(&self.reader, most).await?)
    }
}
