//! The committer: puts all settlements and leases that wait into one durable transaction.
//!
//! It has its own thread, so that it outlives the workers that feed it: when the store closes, what
//! is queued is still committed. A full queue makes its senders wait; nothing is dropped. An answer
//! is sent after the commit, never before.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use billing_core::call::Settlement;
use billing_core::id::AccountId;
use billing_core::lease::{LeaseAsk, LeaseGrant, LeaseReturn};
use billing_core::port::books::{BooksError, Settled};
use billing_core::port::clock::Clock;
use sea_orm::ConnectOptions;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};

use super::shelf::Shelf;
use crate::embedded::Embedded;
use crate::error::StoreError;
use crate::open::connect;
use crate::txn_ids::TxnIds;
use crate::writer::Writer;
use desk::Desk;
use log::Log;
use op::{Op, Reply};
use pace::{GLANCE, Pace};
use turns::Turns;

mod desk;
mod log;
mod op;
mod pace;
mod turns;

/// How many may wait before senders wait too.
const QUEUE: usize = 4096;
/// How many go into one transaction.
pub(crate) const BATCH: usize = 2048;
/// How many batches are worked on at once: while one waits for the disk, another one is charged. On
/// SQLite only one of them is written at a time.
const LANES: usize = 2;
/// A connection for each lane.
pub(crate) const CONNECTIONS: u32 = 2;
/// From how many waiting on it is worth committing a second batch beside the first.
const SPLIT: usize = 256;

/// The way to the committer.
#[derive(Debug, Clone)]
pub(crate) struct Committer {
    queue: mpsc::Sender<Message>,
    shelf: Arc<Shelf>,
    counted: Arc<Counted>,
    /// Its other end is dropped when all is over.
    ended: watch::Receiver<()>,
}

/// What was committed since the start.
#[derive(Debug, Default)]
struct Counted {
    transactions: AtomicU64,
    operations: AtomicU64,
    waited: [AtomicU64; WAITED.len() + 1],
    waited_in_all: AtomicU64,
}

/// Bounds of [`Committed::waited`].
pub const WAITED: [u64; 5] = [1, 2, 3, 4, 8];

/// How much the committer has done since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Transactions that were committed.
    pub transactions: u64,
    /// Settlements, leases and returns that were in them.
    pub operations: u64,
    /// Settlements by how many commits ended while they waited, their own included: up to each of
    /// [`WAITED`], and more. A commit under way when a settlement comes is one, its own another.
    pub waited: [u64; WAITED.len() + 1],
    /// The sum of what they waited for.
    pub waited_in_all: u64,
}

impl Counted {
    /// A batch is committed.
    fn note_batch(&self, ops: &[Op]) {
        let count = u64::try_from(ops.len()).unwrap_or(u64::MAX);
        self.operations.fetch_add(count, Ordering::Relaxed);
        let ended = self
            .transactions
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        for asked in ops.iter().filter_map(Op::settle_asked_after) {
            let waited = ended.saturating_sub(asked);
            self.waited_in_all.fetch_add(waited, Ordering::Relaxed);
            let place = WAITED.partition_point(|bound| *bound < waited);
            if let Some(count) = self.waited.get(place) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Committed {
    /// [`Committed::waited`], each with its bound; the last has none.
    pub fn waits(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = WAITED.into_iter().map(Some).chain([None]);
        bounds.zip(self.waited)
    }
}

#[derive(Debug)]
enum Message {
    Do(Op),
    Stop,
}

impl Committer {
    pub(crate) async fn settle(&self, settlement: Arc<Settlement>) -> Result<Settled, BooksError> {
        self.ask(|reply| Op::Settle(settlement, reply)).await
    }

    pub(crate) async fn lease(&self, ask: LeaseAsk) -> Result<LeaseGrant, BooksError> {
        self.ask(|reply| Op::Lease(ask, reply)).await
    }

    pub(crate) async fn give_back(&self, back: LeaseReturn) -> Result<(), BooksError> {
        self.ask(|reply| Op::GiveBack(back, reply)).await
    }

    async fn ask<T>(&self, op: impl FnOnce(Reply<T>) -> Op) -> Result<T, BooksError> {
        let closed = || BooksError::from(StoreError::Closed);
        let (reply, answer) = Reply::channel(self.committed_transactions());
        self.queue
            .send(Message::Do(op(reply)))
            .await
            .map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Lets go of what is remembered of books that something else has changed.
    pub(crate) fn forget(&self, account: AccountId) {
        self.shelf.forget(account);
    }

    fn committed_transactions(&self) -> u64 {
        self.counted.transactions.load(Ordering::Relaxed)
    }

    pub(crate) fn committed(&self) -> Committed {
        Committed {
            transactions: self.committed_transactions(),
            operations: self.counted.operations.load(Ordering::Relaxed),
            waited: self
                .counted
                .waited
                .each_ref()
                .map(|n| n.load(Ordering::Relaxed)),
            waited_in_all: self.counted.waited_in_all.load(Ordering::Relaxed),
        }
    }

    /// Commits what is queued, then ends.
    pub(crate) async fn stop(&self) {
        // Who asks again, or after it broke down, finds nobody to tell, and need not wait either.
        drop(self.queue.send(Message::Stop).await);
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}

/// What a committer needs.
pub(crate) struct Start {
    pub(crate) writer: ConnectOptions,
    pub(crate) checkpointer: Option<ConnectOptions>,
    /// The file, where SQLite is settled on its own connection.
    pub(crate) embedded: Option<String>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: TxnIds,
    pub(crate) linger: Duration,
    /// How many go into one transaction; at least one.
    pub(crate) batch: usize,
}

/// Starts a committer on its own thread; answers with the way to it and its connection.
pub(crate) async fn start(start: Start) -> Result<(Committer, Writer), StoreError> {
    let (queue, receiver) = mpsc::channel(QUEUE);
    let counted = Arc::new(Counted::default());
    let counts = Arc::clone(&counted);
    let shelf = Arc::new(Shelf::new());
    let shelved = Arc::clone(&shelf);
    let (ready, started) = oneshot::channel();
    let (running, ended) = watch::channel(());
    let body = move || {
        let _running = running;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(run(start, shelved, counts, receiver, ready)),
            Err(error) => {
                let error = StoreError::Start(error.to_string());
                // Nobody waits any more when the opening was given up.
                drop(ready.send(Err(error)));
            }
        }
    };
    std::thread::Builder::new()
        .name("committer".to_owned())
        .spawn(body)
        .map_err(|e| StoreError::Start(e.to_string()))?;
    let writer = started.await.map_err(|_| StoreError::Closed)??;
    let committer = Committer {
        queue,
        shelf,
        counted,
        ended,
    };
    Ok((committer, writer))
}

async fn run(
    start: Start,
    shelf: Arc<Shelf>,
    counted: Arc<Counted>,
    receiver: mpsc::Receiver<Message>,
    ready: oneshot::Sender<Result<Writer, StoreError>>,
) {
    let opened = async {
        let writer = Writer::new(connect(start.writer).await?);
        let embedded = start.embedded.as_deref().map(Embedded::open).transpose()?;
        let checkpointer = match start.checkpointer {
            Some(options) => Some(connect(options).await?),
            None => None,
        };
        Ok((writer, embedded, checkpointer))
    };
    let (writer, embedded, checkpointer) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            drop(ready.send(Err(error)));
            return;
        }
    };
    if ready.send(Ok(writer.clone())).is_err() {
        return;
    }
    let desk = Arc::new(Desk {
        writer,
        embedded: embedded.map(|e| Arc::new(Mutex::new(e))),
        clock: start.clock,
        ids: start.ids,
        shelf,
        counted,
    });
    let log = Log::new(checkpointer);
    let pace = Pace::new(start.linger);
    serve(desk, log, receiver, start.batch, pace).await;
}

async fn serve(
    desk: Arc<Desk>,
    mut log: Log,
    mut receiver: mpsc::Receiver<Message>,
    largest: usize,
    mut pace: Pace,
) {
    let mut messages = Vec::new();
    let mut running = JoinSet::new();
    let mut turns = Turns::default();
    loop {
        let waiting = receiver.len().saturating_add(turns.waiting());
        if running.len() == LANES || (!running.is_empty() && waiting < SPLIT) {
            tokio::select! {
                done = running.join_next_with_id() => {
                    pace.note_commit(ended(done, &mut turns), receiver.len());
                    log.note_commit();
                }
                () = tokio::time::sleep(GLANCE), if running.len() < LANES => {}
            }
            continue;
        }
        let found_nobody = running.is_empty() && waiting == 0;
        let has_gathered = pace.linger(&receiver, turns.waiting()).await;
        if turns.waiting() == 0 && receiver.recv_many(&mut messages, largest).await == 0 {
            break;
        }
        if found_nobody && !has_gathered {
            // Timers of the runtime are too coarse for it, and nothing else is to be done here.
            std::thread::sleep(pace.company());
        }
        let room = largest.saturating_sub(turns.waiting());
        while messages.len() < room
            && let Ok(message) = receiver.try_recv()
        {
            messages.push(message);
        }
        let mut ops = Vec::with_capacity(messages.len());
        for message in messages.drain(..) {
            match message {
                Message::Do(op) => {
                    pace.note_from(op.waits_at());
                    ops.push(op);
                }
                // What was sent before is still received; who sends now is told that it is closed.
                Message::Stop => receiver.close(),
            }
        }
        let ops = turns.next(ops, largest);
        pace.note_batch(ops.len());
        if !ops.is_empty() {
            let accounts = ops.iter().map(Op::account).collect();
            let desk = Arc::clone(&desk);
            let batch = running.spawn(async move {
                let begun = Instant::now();
                desk.commit(ops).await;
                begun.elapsed()
            });
            turns.begin(batch.id(), accounts);
        } else if !running.is_empty() {
            // All that wait are behind what is under way.
            let done = running.join_next_with_id().await;
            pace.note_commit(ended(done, &mut turns), receiver.len());
            log.note_commit();
        }
    }
    while running.join_next().await.is_some() {}
    log.finish().await;
}

/// Ends the turn of a batch that is over; says how long it took, if it ended well.
fn ended(done: Option<Result<(Id, Duration), JoinError>>, turns: &mut Turns) -> Option<Duration> {
    let (batch, took) = match done? {
        Ok((batch, took)) => (batch, Some(took)),
        Err(error) => (error.id(), None),
    };
    turns.end(batch);
    took
}
