//! The spool's writer: puts all that waits into one durable statement.
//!
//! It has its own thread, as the committer has. Every fact is one statement, which SQLite makes
//! durable or leaves undone as a whole, so that a disk that fails leaves no transaction open.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use billing_core::port::spool::{Backlog, SpoolError, SpoolPosition};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use tokio::sync::{mpsc, oneshot};

use super::file;
use super::reserve::Reserve;
use crate::db;
use crate::error::StoreError;
use crate::instant::get;

/// How many may wait before senders wait too.
const QUEUE: usize = 4096;
/// How many go into one statement.
const BATCH: usize = 512;
/// From how many bytes on disk on a spool in which nothing waits gives them back.
const WORTH_SHRINKING: u64 = 1 << 20;
/// A step of that: some tens of milliseconds, and more than the log holds that was never moved into
/// the file, so that nothing needs to grow for it.
const VACUUM: &str = "PRAGMA incremental_vacuum(4096)";

type Reply<T> = oneshot::Sender<Result<T, SpoolError>>;

/// What the desk is asked for.
#[derive(Debug)]
pub(super) enum Op {
    Put(Put, Reply<SpoolPosition>),
    Forget(Vec<SpoolPosition>, Reply<()>),
    Park {
        position: SpoolPosition,
        why: String,
        at: i64,
        reply: Reply<()>,
    },
    Unpark(Reply<u64>),
    Head(Vec<(&'static str, String)>, Reply<()>),
    Stop(oneshot::Sender<()>),
}

/// A call to be put.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) call: i64,
    pub(super) since: i64,
    pub(super) record: String,
}

/// What the desk knows of the spool, shared with who asks for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Counted(Arc<Mutex<Backlog>>);

impl Counted {
    pub(super) fn of(backlog: Backlog) -> Self {
        Self(Arc::new(Mutex::new(backlog)))
    }

    pub(super) fn get(&self) -> Backlog {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Backlog> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a desk works with.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) path: PathBuf,
    pub(super) max_bytes: u64,
    /// `None` after the disk failed, until it is opened again.
    pub(super) writer: Option<DatabaseConnection>,
    pub(super) counted: Counted,
    /// What is given up when the disk is full.
    pub(super) reserve: Reserve,
    /// Whether a spool in which nothing waits takes more of the disk than it needs.
    pub(super) is_bloated: bool,
}

/// Starts a desk on a thread of its own.
pub(super) fn start(mut desk: Desk) -> Result<mpsc::Sender<Op>, StoreError> {
    let (queue, receiver) = mpsc::channel(QUEUE);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| StoreError::Start(e.to_string()))?;
    std::thread::Builder::new()
        .name("spool".to_owned())
        .spawn(move || runtime.block_on(desk.serve(receiver)))
        .map_err(|e| StoreError::Start(e.to_string()))?;
    Ok(queue)
}

impl Desk {
    async fn serve(&mut self, mut receiver: mpsc::Receiver<Op>) {
        let mut ops = Vec::with_capacity(BATCH);
        let mut stopped = None;
        loop {
            // As long as nobody waits for anything.
            while stopped.is_none() && self.is_bloated && receiver.is_empty() && self.shrink().await
            {
            }
            if receiver.recv_many(&mut ops, BATCH).await == 0 {
                break;
            }
            let mut puts = Vec::new();
            for op in ops.drain(..) {
                match op {
                    Op::Put(put, reply) => puts.push((put, reply)),
                    Op::Forget(positions, reply) => {
                        let forgot = self.forget(&positions).await;
                        answer(reply, forgot);
                    }
                    Op::Park {
                        position,
                        why,
                        at,
                        reply,
                    } => answer(reply, self.park(position, why, at).await),
                    Op::Unpark(reply) => answer(reply, self.unpark().await),
                    Op::Head(lines, reply) => answer(reply, self.head(&lines).await),
                    Op::Stop(told) => {
                        receiver.close();
                        stopped = Some(told);
                    }
                }
            }
            if !puts.is_empty() {
                self.put(puts).await;
            }
        }
        if let Some(writer) = self.writer.take()
            && let Err(error) = writer.close().await
        {
            tracing::debug!(%error, "the spool was not closed well");
        }
        if let Some(told) = stopped
            && told.send(()).is_err()
        {
            tracing::debug!("nobody waits for the spool to close any more");
        }
    }

    /// Puts calls. Where not all of them find room, as many do as fit.
    async fn put(&mut self, puts: Vec<(Put, Reply<SpoolPosition>)>) {
        let mut groups = vec![puts];
        while let Some(mut group) = groups.pop() {
            match self.insert(&group).await {
                Ok(places) => {
                    for (put, reply) in group {
                        let place = places.get(&put.call).copied();
                        answer(reply, place.ok_or_else(|| closed("a call found no place")));
                    }
                }
                Err(SpoolError::Full) if group.len() > 1 => {
                    let rest = group.split_off(group.len() / 2);
                    groups.push(rest);
                    groups.push(group);
                }
                Err(error) => {
                    let is_full = matches!(error, SpoolError::Full);
                    let error = Arc::new(error);
                    for (_, reply) in group {
                        let error = if is_full {
                            SpoolError::Full
                        } else {
                            SpoolError::Unavailable(Box::new(Arc::clone(&error)))
                        };
                        answer(reply, Err(error));
                    }
                }
            }
        }
    }

    /// Where each of the calls is now, by id.
    async fn insert(
        &mut self,
        puts: &[(Put, Reply<SpoolPosition>)],
    ) -> Result<HashMap<i64, SpoolPosition>, SpoolError> {
        let rows: Vec<_> = puts
            .iter()
            .map(|(put, _)| (put.call, put.since, put.record.as_str()))
            .collect();
        let rows =
            serde_json::to_string(&rows).map_err(|e| SpoolError::Unavailable(Box::new(e)))?;
        let text = "INSERT INTO entry (call_id, since, record) \
                    SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE true \
                    ON CONFLICT DO NOTHING RETURNING position, call_id";
        let new = self.places(text, rows.clone()).await;
        let new = new.inspect_err(|_| self.counted.lock().full = true)?;
        let text = "SELECT position, call_id FROM entry WHERE call_id IN \
                    (SELECT value ->> 0 FROM json_each(?))";
        let count = new.len();
        let places = if count == puts.len() {
            new
        } else {
            self.places(text, rows).await?
        };
        let oldest = puts.iter().map(|(put, _)| put.since).min();
        {
            let mut counted = self.counted.lock();
            counted.entries = counted
                .entries
                .saturating_add(u64::try_from(count).unwrap_or(0));
            if counted.oldest.is_none() && count > 0 {
                counted.oldest = oldest.and_then(|at| crate::instant::instant("entry", at).ok());
            }
            counted.full = false;
        }
        self.measure().await?;
        Ok(places)
    }

    async fn places(
        &mut self,
        text: &str,
        rows: String,
    ) -> Result<HashMap<i64, SpoolPosition>, SpoolError> {
        let writer = self.writer().await?;
        let read = async {
            let mut places = HashMap::new();
            for row in db::all(&writer, text, vec![rows.into()]).await? {
                places.insert(get(&row, "call_id")?, SpoolPosition(get(&row, "position")?));
            }
            Ok(places)
        };
        let read = read.await;
        self.judged(read)
    }

    async fn forget(&mut self, positions: &[SpoolPosition]) -> Result<(), SpoolError> {
        let rows: Vec<i64> = positions.iter().map(|p| p.0).collect();
        let rows =
            serde_json::to_string(&rows).map_err(|e| SpoolError::Unavailable(Box::new(e)))?;
        let text = "DELETE FROM entry WHERE parked_at IS NULL AND position IN \
                    (SELECT value FROM json_each(?))";
        let gone = match self.run(text, vec![rows.clone().into()]).await {
            Ok(gone) => gone,
            // In part it cannot be done on a full disk, nor would it free anything.
            Err(_) if self.are_all_that_wait(rows).await? => self.forget_all().await?,
            Err(error) => return Err(error),
        };
        let is_empty = {
            let mut counted = self.counted.lock();
            counted.entries = counted.entries.saturating_sub(gone);
            counted.full = false;
            counted.entries == 0
        };
        self.look().await?;
        if is_empty && file::on_disk(&self.path) >= WORTH_SHRINKING {
            self.is_bloated = true;
            self.shrink().await;
        }
        if is_empty || self.reserve.is_due() {
            self.reserve.keep();
        }
        Ok(())
    }

    /// Whether nothing waits but these positions.
    async fn are_all_that_wait(&mut self, rows: String) -> Result<bool, SpoolError> {
        let text = "SELECT position FROM entry WHERE parked_at IS NULL AND position NOT IN \
                    (SELECT value FROM json_each(?)) LIMIT 1";
        let writer = self.writer().await?;
        let other = db::one(&writer, text, vec![rows.into()]).await;
        Ok(self.judged(other)?.is_none())
    }

    /// Forgets all that waits, with the room that is kept for it.
    async fn forget_all(&mut self) -> Result<u64, SpoolError> {
        // Without a condition SQLite drops the pages as they are; with one it needs room for each.
        // So the table is asked first. Nobody else writes to it.
        let text = "SELECT position FROM entry WHERE parked_at IS NOT NULL LIMIT 1";
        let writer = self.writer().await?;
        let apart = db::one(&writer, text, Vec::new()).await;
        let text = if self.judged(apart)?.is_none() {
            "DELETE FROM entry"
        } else {
            "DELETE FROM entry WHERE parked_at IS NULL"
        };
        let gone = self.run_in_need(text, Vec::new()).await?;
        tracing::info!(calls = gone, "the spool is emptied on a full disk");
        Ok(gone)
    }

    async fn park(
        &mut self,
        position: SpoolPosition,
        why: String,
        at: i64,
    ) -> Result<(), SpoolError> {
        let text = "UPDATE entry SET parked_at = ?, why = ? \
                    WHERE position = ? AND parked_at IS NULL";
        let values = vec![at.into(), why.into(), position.0.into()];
        let moved = self.run_in_need(text, values).await?;
        {
            let mut counted = self.counted.lock();
            counted.entries = counted.entries.saturating_sub(moved);
            counted.parked = counted.parked.saturating_add(moved);
        }
        self.look().await
    }

    async fn unpark(&mut self) -> Result<u64, SpoolError> {
        let text = "UPDATE entry SET parked_at = NULL, why = NULL WHERE parked_at IS NOT NULL";
        let moved = self.run(text, Vec::new()).await?;
        {
            let mut counted = self.counted.lock();
            counted.parked = counted.parked.saturating_sub(moved);
            counted.entries = counted.entries.saturating_add(moved);
        }
        self.look().await?;
        Ok(moved)
    }

    async fn head(&mut self, lines: &[(&'static str, String)]) -> Result<(), SpoolError> {
        let rows =
            serde_json::to_string(lines).map_err(|e| SpoolError::Unavailable(Box::new(e)))?;
        let text = "INSERT INTO header (name, value) \
                    SELECT value ->> 0, value ->> 1 FROM json_each(?) WHERE true \
                    ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.run_in_need(text, vec![rows.into()]).await?;
        Ok(())
    }

    /// Runs a statement; where the disk has no room for it, in that which is kept.
    async fn run_in_need(
        &mut self,
        text: &str,
        values: Vec<sea_orm::Value>,
    ) -> Result<u64, SpoolError> {
        match self.run(text, values.clone()).await {
            Err(_) if self.reserve.give_up() => self.run(text, values).await,
            done => done,
        }
    }

    async fn run(&mut self, text: &str, values: Vec<sea_orm::Value>) -> Result<u64, SpoolError> {
        let writer = self.writer().await?;
        let changed = db::run(&writer, text, values).await;
        self.judged(changed)
    }

    /// Renews what is known of the oldest call and of the size.
    async fn look(&mut self) -> Result<(), SpoolError> {
        let writer = self.writer().await?;
        let oldest = file::oldest(&writer).await;
        let oldest = self.judged(oldest)?;
        self.counted.lock().oldest = oldest;
        self.measure().await
    }

    /// Says that it is full while calls that have begun still find room.
    async fn measure(&mut self) -> Result<(), SpoolError> {
        let writer = self.writer().await?;
        let bytes = file::bytes(&writer).await;
        let bytes = self.judged(bytes)?;
        let mut counted = self.counted.lock();
        counted.bytes = bytes;
        counted.full |= bytes >= self.max_bytes / 16 * 15;
        Ok(())
    }

    /// Gives the disk back some of what a spool does not need in which nothing waits. Says whether
    /// there is more to be done at once.
    async fn shrink(&mut self) -> bool {
        let Ok(writer) = self.writer().await else {
            return false;
        };
        let shrunk = async {
            let before = file::free_pages(&writer).await?;
            writer.execute_unprepared(VACUUM).await?;
            writer
                .execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)")
                .await?;
            let left = file::free_pages(&writer).await?;
            Ok::<_, StoreError>((before, left))
        };
        match shrunk.await {
            Ok((before, left)) => {
                self.is_bloated = left > 0;
                left > 0 && left < before
            }
            Err(error) => {
                tracing::debug!(%error, "the spool keeps its size for now");
                false
            }
        }
    }

    async fn writer(&mut self) -> Result<DatabaseConnection, SpoolError> {
        if let Some(writer) = &self.writer {
            return Ok(writer.clone());
        }
        let opened = file::writer(&self.path, self.max_bytes).await;
        let opened = opened.map_err(|e| SpoolError::Unavailable(Box::new(e)))?;
        Ok(self.writer.insert(opened).clone())
    }

    /// A connection whose disk failed is not used again: what it knows may not be so.
    fn judged<T>(&mut self, result: Result<T, StoreError>) -> Result<T, SpoolError> {
        result.map_err(|error| {
            if error.is_full() {
                return SpoolError::Full;
            }
            self.writer = None;
            SpoolError::Unavailable(Box::new(error))
        })
    }
}

fn answer<T>(reply: Reply<T>, answer: Result<T, SpoolError>) {
    if reply.send(answer).is_err() {
        tracing::debug!("nobody waits for the spool's answer any more");
    }
}

/// An answer for what cannot be.
pub(super) fn closed(why: &str) -> SpoolError {
    SpoolError::Unavailable(Box::new(StoreError::Start(why.to_owned())))
}
