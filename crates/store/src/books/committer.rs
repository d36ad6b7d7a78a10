//! The committer: puts all settlements and leases that wait into one durable transaction.
//!
//! It has its own thread, so that it outlives the workers that feed it: when the store closes, what
//! is queued is still committed. A full queue makes its senders wait; nothing is dropped. An answer
//! is sent after the commit, never before.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use billing_core::call::Settlement;
use billing_core::id::AccountId;
use billing_core::lease::{LeaseAsk, LeaseGrant, LeaseReturn};
use billing_core::port::books::{BooksError, Settled};
use billing_core::port::clock::Clock;
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, DbBackend};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};

use super::settle::{Left, Record};
use super::shelf::Shelf;
use super::{lease, settle};
use crate::db;
use crate::error::StoreError;
use crate::open::{TxnIds, connect};

/// How many may wait before senders wait too.
const QUEUE: usize = 4096;
/// How many go into one transaction.
pub(crate) const BATCH: usize = 2048;
/// From how many in the last batch on it is worth waiting for more.
const LARGE: usize = 16;
/// How many commits lie between two checkpoints of SQLite's log.
const CHECKPOINT_EVERY: u32 = 128;
/// How often a batch is tried while the database fails.
const TRIES: u32 = 4;
/// How many batches are committed at once on PostgreSQL: while one waits for the disk, another one
/// is worked on. SQLite has one writer.
const LANES: usize = 2;
/// A connection for each lane.
pub(crate) const CONNECTIONS: u32 = 2;
/// From how many waiting on it is worth committing a second batch beside the first.
const SPLIT: usize = 256;
/// How often it is looked whether so many wait.
const GLANCE: Duration = Duration::from_millis(1);

/// The way to the committer.
#[derive(Debug, Clone)]
pub(crate) struct Committer {
    queue: mpsc::Sender<Message>,
    shelf: Arc<Shelf>,
    counted: Arc<Counted>,
}

/// What was committed since the start.
#[derive(Debug, Default)]
struct Counted {
    transactions: AtomicU64,
    operations: AtomicU64,
}

/// How much the committer has done since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Transactions that were committed.
    pub transactions: u64,
    /// Settlements, leases and returns that were in them.
    pub operations: u64,
}

#[derive(Debug)]
enum Message {
    Do(Op),
    Stop,
}

type Reply<T> = oneshot::Sender<Result<T, BooksError>>;

#[derive(Debug)]
enum Op {
    Settle(Box<Settlement>, Reply<Settled>),
    Lease(LeaseAsk, Reply<LeaseGrant>),
    GiveBack(LeaseReturn, Reply<()>),
}

impl Committer {
    pub(crate) async fn settle(&self, settlement: Settlement) -> Result<Settled, BooksError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Op::Settle(Box::new(settlement), reply), answer)
            .await
    }

    pub(crate) async fn lease(&self, ask: LeaseAsk) -> Result<LeaseGrant, BooksError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Op::Lease(ask, reply), answer).await
    }

    pub(crate) async fn give_back(&self, back: LeaseReturn) -> Result<(), BooksError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Op::GiveBack(back, reply), answer).await
    }

    async fn ask<T>(
        &self,
        op: Op,
        answer: oneshot::Receiver<Result<T, BooksError>>,
    ) -> Result<T, BooksError> {
        let closed = || BooksError::from(StoreError::Closed);
        self.queue
            .send(Message::Do(op))
            .await
            .map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Lets go of what is remembered of books that something else has changed.
    pub(crate) fn forget(&self, account: AccountId) {
        self.shelf.forget(account);
    }

    pub(crate) fn committed(&self) -> Committed {
        Committed {
            transactions: self.counted.transactions.load(Ordering::Relaxed),
            operations: self.counted.operations.load(Ordering::Relaxed),
        }
    }

    /// Commits what is queued, then ends.
    pub(crate) async fn stop(&self) {
        if self.queue.send(Message::Stop).await.is_ok() {
            self.queue.closed().await;
        }
    }
}

/// What a committer needs.
pub(crate) struct Start {
    pub(crate) writer: ConnectOptions,
    pub(crate) checkpointer: Option<ConnectOptions>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: TxnIds,
    pub(crate) linger: Duration,
    /// How many go into one transaction; at least one.
    pub(crate) batch: usize,
}

/// Starts a committer on its own thread; answers with the way to it and its connection.
pub(crate) async fn start(start: Start) -> Result<(Committer, DatabaseConnection), StoreError> {
    let (queue, receiver) = mpsc::channel(QUEUE);
    let counted = Arc::new(Counted::default());
    let counts = Arc::clone(&counted);
    let shelf = Arc::new(Shelf::new());
    let shelved = Arc::clone(&shelf);
    let (ready, started) = oneshot::channel();
    let body = move || {
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
    };
    Ok((committer, writer))
}

async fn run(
    start: Start,
    shelf: Arc<Shelf>,
    counted: Arc<Counted>,
    receiver: mpsc::Receiver<Message>,
    ready: oneshot::Sender<Result<DatabaseConnection, StoreError>>,
) {
    let opened = async {
        let writer = connect(start.writer).await?;
        let checkpointer = match start.checkpointer {
            Some(options) => Some(connect(options).await?),
            None => None,
        };
        Ok((writer, checkpointer))
    };
    let (writer, checkpointer) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            drop(ready.send(Err(error)));
            return;
        }
    };
    if ready.send(Ok(writer.clone())).is_err() {
        return;
    }
    let has_lanes = writer.get_database_backend() == DbBackend::Postgres;
    let desk = Arc::new(Desk {
        writer,
        clock: start.clock,
        ids: start.ids,
        shelf,
        counted,
    });
    let log = Log {
        checkpointer,
        commits: 0,
        running: JoinSet::new(),
    };
    let pace = Pace {
        lanes: if has_lanes { LANES } else { 1 },
        linger: start.linger,
        batch: start.batch,
    };
    serve(desk, log, receiver, pace).await;
}

/// How fast batches follow each other.
struct Pace {
    /// How many are committed at once.
    lanes: usize,
    linger: Duration,
    batch: usize,
}

impl Pace {
    /// Waits until as many are there again as came the last time, but not for long.
    async fn linger(&self, receiver: &mpsc::Receiver<Message>, as_many: usize) {
        let mut left = self.linger;
        while !left.is_zero() && receiver.len() < as_many && !receiver.is_closed() {
            let glance = GLANCE.min(left);
            tokio::time::sleep(glance).await;
            left = left.saturating_sub(glance);
        }
    }
}

async fn serve(desk: Arc<Desk>, mut log: Log, mut receiver: mpsc::Receiver<Message>, pace: Pace) {
    let mut messages = Vec::new();
    let mut running = JoinSet::new();
    let mut turns = Turns::default();
    let mut last = 0;
    loop {
        let waiting = receiver.len().saturating_add(turns.waiting());
        if running.len() == pace.lanes || (!running.is_empty() && waiting < SPLIT) {
            tokio::select! {
                done = running.join_next_with_id() => {
                    turns.end(done);
                    log.note_commit();
                }
                () = tokio::time::sleep(GLANCE), if running.len() < pace.lanes => {}
            }
            continue;
        }
        if last >= LARGE {
            pace.linger(&receiver, last).await;
        }
        if turns.waiting() == 0 {
            if receiver.recv_many(&mut messages, pace.batch).await == 0 {
                break;
            }
        } else {
            let room = pace.batch.saturating_sub(turns.waiting());
            while messages.len() < room
                && let Ok(message) = receiver.try_recv()
            {
                messages.push(message);
            }
        }
        let mut ops = Vec::with_capacity(messages.len());
        for message in messages.drain(..) {
            match message {
                Message::Do(op) => ops.push(op),
                // What was sent before is still received; who sends now is told that it is closed.
                Message::Stop => receiver.close(),
            }
        }
        let ops = turns.next(ops, pace.batch);
        last = ops.len();
        if !ops.is_empty() {
            let accounts: Vec<AccountId> = ops.iter().map(Op::account).collect();
            let desk = Arc::clone(&desk);
            let batch = running.spawn(async move { desk.commit(ops).await });
            turns.begin(batch.id(), accounts);
        } else if !running.is_empty() {
            // All that wait are behind what is under way.
            turns.end(running.join_next_with_id().await);
            log.note_commit();
        }
    }
    while running.join_next().await.is_some() {}
    log.finish().await;
}

/// Whose turn it is: an account is in one batch at a time. So no batch waits for the locks of another,
/// and what one leaves on the shelf is there for the next.
#[derive(Debug, Default)]
struct Turns {
    /// What is of accounts that are under way, and what no longer fitted; in order.
    aside: Vec<Op>,
    under_way: HashSet<AccountId>,
    batches: HashMap<Id, Vec<AccountId>>,
}

impl Turns {
    fn waiting(&self) -> usize {
        self.aside.len()
    }

    /// The next batch: what waited, then what came, without those whose turn it is not.
    fn next(&mut self, come: Vec<Op>, most: usize) -> Vec<Op> {
        if self.under_way.is_empty() && self.aside.is_empty() {
            return come;
        }
        let mut ops = Vec::with_capacity(most.min(self.aside.len().saturating_add(come.len())));
        for op in std::mem::take(&mut self.aside).into_iter().chain(come) {
            if ops.len() < most && !self.under_way.contains(&op.account()) {
                ops.push(op);
            } else {
                self.aside.push(op);
            }
        }
        ops
    }

    fn begin(&mut self, batch: Id, accounts: Vec<AccountId>) {
        self.under_way.extend(&accounts);
        self.batches.insert(batch, accounts);
    }

    fn end(&mut self, batch: Option<Result<(Id, ()), JoinError>>) {
        let batch = batch.map(|ended| ended.map_or_else(|error| error.id(), |(id, ())| id));
        let accounts = batch.and_then(|batch| self.batches.remove(&batch));
        for account in accounts.into_iter().flatten() {
            self.under_way.remove(&account);
        }
    }
}

/// SQLite's write-ahead log, moved into the file beside the commits rather than within them.
struct Log {
    checkpointer: Option<DatabaseConnection>,
    commits: u32,
    running: JoinSet<()>,
}

impl Log {
    fn note_commit(&mut self) {
        let Some(connection) = &self.checkpointer else {
            return;
        };
        self.commits = self.commits.saturating_add(1);
        while self.running.try_join_next().is_some() {}
        if self.commits < CHECKPOINT_EVERY || !self.running.is_empty() {
            return;
        }
        self.commits = 0;
        let connection = connection.clone();
        self.running.spawn(async move {
            let passive = "PRAGMA wal_checkpoint(PASSIVE)";
            if let Err(error) = connection.execute_unprepared(passive).await {
                tracing::warn!(%error, "the log of the database was not checkpointed");
            }
        });
    }

    async fn finish(mut self) {
        while self.running.join_next().await.is_some() {}
        if let Some(connection) = self.checkpointer
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "the checkpointer was not closed well");
        }
    }
}

/// Where batches are committed.
struct Desk {
    writer: DatabaseConnection,
    clock: Arc<dyn Clock>,
    ids: TxnIds,
    shelf: Arc<Shelf>,
    counted: Arc<Counted>,
}

/// What came of one [`Op`].
enum Answer {
    Settled(Result<Settled, BooksError>),
    Granted(Result<LeaseGrant, BooksError>),
    Returned,
}

impl Desk {
    /// Commits and answers. A batch that the database refuses is taken apart until what it refuses
    /// stands alone, so that nobody else suffers from it.
    async fn commit(&self, ops: Vec<Op>) {
        let mut groups = vec![ops];
        while let Some(group) = groups.pop() {
            match self.persist(&group).await {
                Ok(answers) => {
                    for (op, answer) in group.into_iter().zip(answers) {
                        op.answer(answer);
                    }
                }
                Err(error) if error.is_poison() && group.len() > 1 => {
                    tracing::error!(%error, calls = group.len(), "a batch was refused; taking it apart");
                    groups.extend(apart(group));
                }
                Err(error) => {
                    tracing::error!(%error, waiting = group.len(), "settlements were not committed");
                    let error = Arc::new(error);
                    for op in group {
                        op.fail(StoreError::Shared(Arc::clone(&error)).into());
                    }
                }
            }
        }
    }

    /// Tries until the database answers, a bounded number of times. From the second time on a look
    /// is taken for what is on record: the first may have been committed and its answer lost.
    async fn persist(&self, ops: &[Op]) -> Result<Vec<Answer>, StoreError> {
        let mut pause = Duration::from_millis(20);
        let mut tries = 1;
        let mut record = Record::Unseen;
        loop {
            let was = std::mem::replace(&mut record, Record::Seen);
            match self.attempt(ops, was).await {
                Err(error) if error.is_duplicate() && was == Record::Unseen => {}
                Err(error) if error.is_stale() && was == Record::Unseen => self.shelf.was_wrong(),
                Err(error) if !error.is_poison() && tries < TRIES => {
                    tracing::warn!(%error, tries, "a batch was not committed; trying again");
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(4);
                    tries = tries.saturating_add(1);
                }
                other => return other,
            }
        }
    }

    async fn attempt(&self, ops: &[Op], record: Record) -> Result<Vec<Answer>, StoreError> {
        let tx = db::begin(&self.writer).await?;
        let result = self.write(&tx, ops, record).await;
        let (answers, left) = db::finish(tx, result).await?;
        self.shelf.put(left);
        let count = u64::try_from(ops.len()).unwrap_or(u64::MAX);
        self.counted.transactions.fetch_add(1, Ordering::Relaxed);
        self.counted.operations.fetch_add(count, Ordering::Relaxed);
        Ok(answers)
    }

    /// What is given back first, then settlements, then leases, which see what became free.
    async fn write<C: ConnectionTrait>(
        &self,
        tx: &C,
        ops: &[Op],
        record: Record,
    ) -> Result<(Vec<Answer>, Left), StoreError> {
        let now = self.clock.now();
        let leased = ops.iter().filter_map(Op::leased);
        let leased: BTreeSet<AccountId> = leased.inspect(|a| self.shelf.forget(*a)).collect();
        for op in ops {
            if let Op::GiveBack(back, _) = op {
                lease::give_back(tx, back, now).await?;
            }
        }
        let settlements: Vec<&Settlement> = ops.iter().filter_map(Op::settlement).collect();
        let done =
            settle::settle_all(tx, &settlements, record, &self.shelf, &self.ids, now).await?;
        let mut left = done.left;
        left.books.retain(|(account, _)| !leased.contains(account));
        let mut settled = done.answers.into_iter();
        let mut answers = Vec::with_capacity(ops.len());
        for op in ops {
            answers.push(match op {
                Op::Settle(..) => {
                    Answer::Settled(settled.next().unwrap_or(Err(StoreError::Closed.into())))
                }
                Op::Lease(ask, _) => Answer::Granted(lease::lease(tx, ask, now).await?),
                Op::GiveBack(..) => Answer::Returned,
            });
        }
        Ok((answers, left))
    }
}

/// By account; what is of one account already, one by one.
fn apart(group: Vec<Op>) -> Vec<Vec<Op>> {
    let mut by_account: BTreeMap<AccountId, Vec<Op>> = BTreeMap::new();
    for op in group {
        by_account.entry(op.account()).or_default().push(op);
    }
    if by_account.len() > 1 {
        return by_account.into_values().collect();
    }
    // The last first, because groups are taken from the end.
    let singles = by_account.into_values().flatten().map(|op| vec![op]);
    let mut singles: Vec<Vec<Op>> = singles.collect();
    singles.reverse();
    singles
}

impl Op {
    fn account(&self) -> AccountId {
        match self {
            Self::Settle(settlement, _) => settlement.account,
            Self::Lease(ask, _) => ask.account,
            Self::GiveBack(back, _) => back.account,
        }
    }

    /// The account whose leases it changes.
    fn leased(&self) -> Option<AccountId> {
        let is_lease = !matches!(self, Self::Settle(..));
        is_lease.then(|| self.account())
    }

    fn settlement(&self) -> Option<&Settlement> {
        match self {
            Self::Settle(settlement, _) => Some(settlement),
            Self::Lease(..) | Self::GiveBack(..) => None,
        }
    }

    /// Whoever asked may have left; the commit stands all the same.
    fn answer(self, answer: Answer) {
        match (self, answer) {
            (Self::Settle(_, reply), Answer::Settled(answer)) => drop(reply.send(answer)),
            (Self::Lease(_, reply), Answer::Granted(answer)) => drop(reply.send(answer)),
            (Self::GiveBack(_, reply), Answer::Returned) => drop(reply.send(Ok(()))),
            (op, _) => op.fail(StoreError::Closed.into()),
        }
    }

    fn fail(self, error: BooksError) {
        match self {
            Self::Settle(_, reply) => drop(reply.send(Err(error))),
            Self::Lease(_, reply) => drop(reply.send(Err(error))),
            Self::GiveBack(_, reply) => drop(reply.send(Err(error))),
        }
    }
}
