//! Settlements that the books cannot take now: kept in the spool, and handed in later, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use billing_core::call::Settlement;
use billing_core::call_record::CallRecord;
use billing_core::port::books::{Books, BooksError};
use billing_core::port::clock::Clock;
use billing_core::port::spool::{Backlog, Spool, SpoolError, SpoolPosition, Waiting};
use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Leases, Prices};

/// How many calls are handed in at a time: they share a transaction.
const BATCH: u32 = 256;
/// The shortest and the longest pause before books that were away are tried again.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The way of a settlement through the spool.
#[derive(Debug)]
pub(crate) struct Replay {
    spool: Arc<dyn Spool>,
    books: Arc<dyn Books>,
    prices: Arc<Prices>,
    clock: Arc<dyn Clock>,
    /// How long the books may take for a settlement before it goes to the spool.
    patience: Duration,
    /// Whether settlements go to the spool at once, because the books are known to be away.
    away: AtomicBool,
    put: Notify,
    /// A call has left the spool.
    left: Notify,
}

/// How far a replay has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Calls that the books have taken and the spool has not forgotten yet.
    taken: Vec<SpoolPosition>,
}

/// What came of handing in the first calls of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Round {
    /// Nothing waits.
    Empty,
    /// The books have all that waits, but the disk does not let the spool forget it.
    Kept,
    /// So many left the spool.
    Took(u64),
    /// The books or the disk did not do it; what is left stays.
    Away,
}

impl Replay {
    /// A replay that trusts the books to answer until they do not.
    pub(crate) fn new(
        spool: Arc<dyn Spool>,
        books: Arc<dyn Books>,
        prices: Arc<Prices>,
        clock: Arc<dyn Clock>,
        patience: Duration,
    ) -> Self {
        let away = AtomicBool::new(spool.backlog().entries > 0);
        Self {
            spool,
            books,
            prices,
            clock,
            patience,
            away,
            put: Notify::new(),
            left: Notify::new(),
        }
    }

    /// The price book.
    pub(super) fn prices(&self) -> &Prices {
        &self.prices
    }

    /// The books.
    pub(super) fn books(&self) -> &dyn Books {
        &*self.books
    }

    /// How long the books may take for a settlement before it goes to the spool.
    pub(crate) const fn patience(&self) -> Duration {
        self.patience
    }

    /// Whether the books are known to be away, so that nobody needs to wait for them.
    pub(crate) fn are_books_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Whether a new call could neither be settled nor spooled when it ends.
    pub(crate) fn has_no_room(&self) -> bool {
        self.are_books_away() && self.spool.backlog().full
    }

    /// What is in the spool.
    pub(crate) fn backlog(&self) -> Backlog {
        self.spool.backlog()
    }

    /// The books took a settlement.
    pub(crate) fn books_answered(&self) {
        if self.are_books_away() && self.spool.backlog().entries == 0 {
            self.away.store(false, Ordering::Relaxed);
        }
    }

    /// Makes a settlement durable here. It settles later, as it was promised.
    pub(crate) async fn keep(&self, settlement: &Settlement) -> Result<(), SpoolError> {
        self.away.store(true, Ordering::Relaxed);
        self.put(settlement).await?;
        self.put.notify_one();
        Ok(())
    }

    /// Keeps a settlement that the books refused for good, for a person to look at.
    pub(crate) async fn set_apart(
        &self,
        settlement: &Settlement,
        why: &BooksError,
    ) -> Result<(), SpoolError> {
        let position = self.put(settlement).await?;
        let now = self.clock.now();
        self.spool.park(position, &why.to_string(), now).await?;
        self.left.notify_waiters();
        Ok(())
    }

    async fn put(&self, settlement: &Settlement) -> Result<SpoolPosition, SpoolError> {
        let record = CallRecord::of(settlement);
        let record = record.map_err(|error| SpoolError::Unavailable(Box::new(error)))?;
        self.spool.put(&record, self.clock.now()).await
    }

    /// Replays what is put, until told to stop.
    pub(crate) async fn follow(&self, leases: &Arc<Leases>, stop: &CancellationToken) {
        let work = async {
            let (mut progress, mut pause) = (Progress::default(), PAUSE);
            loop {
                match self.round(&mut progress, Some(leases)).await {
                    Round::Took(_) => pause = PAUSE,
                    Round::Empty => {
                        pause = PAUSE;
                        self.put.notified().await;
                    }
                    Round::Away | Round::Kept => {
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = stop.cancelled() => {}
        }
    }

    /// Waits until whoever follows the spool has emptied it.
    pub(crate) async fn emptied(&self) {
        loop {
            // Before the look, so that what leaves after it is heard.
            let left = self.left.notified();
            if self.backlog().entries == 0 {
                return;
            }
            left.await;
        }
    }

    /// Replays all there is, however long the books are away; says how many calls left the spool.
    pub(crate) async fn empty(&self) -> u64 {
        let (mut progress, mut left, mut pause) = (Progress::default(), 0_u64, PAUSE);
        loop {
            match self.round(&mut progress, None).await {
                Round::Empty | Round::Kept => return left,
                Round::Took(calls) => (left, pause) = (left.saturating_add(calls), PAUSE),
                Round::Away => {
                    let waiting = self.backlog().entries;
                    tracing::warn!(
                        waiting,
                        "the books cannot take what the spool holds; waiting"
                    );
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Hands in the first calls of the spool, and forgets those that the books have taken. A call
    /// that was handed in before answers with what it was charged then.
    pub(crate) async fn round(
        &self,
        progress: &mut Progress,
        leases: Option<&Arc<Leases>>,
    ) -> Round {
        let start = Instant::now();
        if !self.forget(progress).await {
            // The disk is full: what was taken is not handed in again, what follows is.
            tracing::warn!(
                taken = progress.taken.len(),
                "calls that are charged stay in the spool for now"
            );
        }
        let behind = progress.taken.iter().max().copied().unwrap_or_default();
        let waiting = match self.spool.waiting(behind, BATCH).await {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::error!(%error, "the spool cannot be read");
                return Round::Away;
            }
        };
        if waiting.is_empty() {
            self.away.store(false, Ordering::Relaxed);
            return if progress.taken.is_empty() {
                Round::Empty
            } else {
                Round::Kept
            };
        }
        let Some(calls) = self.readable(waiting).await else {
            return Round::Away;
        };
        let settling = calls
            .iter()
            .map(|(_, call)| self.books.settle(Arc::clone(call)));
        let answers = join_all(settling).await;
        let mut took = 0;
        let mut all = true;
        for ((position, call), answer) in calls.iter().zip(answers) {
            match answer {
                Ok(settled) => {
                    took += 1;
                    progress.taken.push(*position);
                    // One of an earlier life has no hold here.
                    if let Some(leases) = leases {
                        leases.settled(call, &settled.call.used);
                    }
                }
                Err(BooksError::Unavailable(error)) => {
                    tracing::debug!(call = %call.call, %error, "a spooled call waits on");
                    all = false;
                }
                Err(error) => {
                    took += u64::from(self.park(*position, call.call, &error.to_string()).await);
                }
            }
        }
        let forgot = self.forget(progress).await;
        if !all || took == 0 {
            return Round::Away;
        }
        tracing::info!(
            calls = took,
            left = self.backlog().entries,
            "spooled calls are charged"
        );
        let is_quick = start.elapsed() <= self.patience;
        if is_quick && forgot && self.backlog().entries <= u64::from(BATCH) {
            // The few that are left go along with those that end now.
            self.away.store(false, Ordering::Relaxed);
        }
        Round::Took(took)
    }

    async fn forget(&self, progress: &mut Progress) -> bool {
        if progress.taken.is_empty() {
            return true;
        }
        match self.spool.forget(&progress.taken).await {
            Ok(()) => {
                progress.taken.clear();
                self.left.notify_waiters();
            }
            Err(error) => {
                tracing::warn!(%error, "the spool does not forget");
                return false;
            }
        }
        true
    }

    /// The settlements of what waits, each with its price; what can never be read is set apart.
    /// `None` when the price book is away.
    async fn readable(
        &self,
        waiting: Vec<Waiting>,
    ) -> Option<Vec<(SpoolPosition, Arc<Settlement>)>> {
        let mut calls = Vec::with_capacity(waiting.len());
        let mut is_fresh = false;
        for entry in waiting {
            let (position, call) = (entry.position, entry.call);
            let record = match entry.record {
                Ok(record) => record,
                Err(why) => {
                    self.park(position, call, &why).await;
                    continue;
                }
            };
            let (model, id) = (record.model().clone(), record.price());
            let rating = record.rating().clone();
            let find = || self.prices.on_record(model.as_str(), id, &rating);
            let mut terms = find();
            if terms.is_none() && !is_fresh {
                if let Err(error) = self.prices.reload().await {
                    tracing::warn!(%error, "the price of a spooled call cannot be read");
                    return None;
                }
                is_fresh = true;
                terms = find();
            }
            let Some(terms) = terms else {
                let why = match rating.rule {
                    None => format!("the price version {id} was never recorded"),
                    Some(rule) => format!("{id} or {rule} was never recorded"),
                };
                self.park(position, call, &why).await;
                continue;
            };
            match record.into_settlement(terms) {
                Ok(settlement) => calls.push((position, Arc::new(settlement))),
                Err(error) => {
                    self.park(position, call, &error.to_string()).await;
                }
            }
        }
        Some(calls)
    }

    /// Sets a call apart; says whether that is durable.
    async fn park(&self, at: SpoolPosition, call: billing_core::id::CallId, why: &str) -> bool {
        tracing::error!(%call, why, "a spooled call cannot be charged; it is set apart");
        match self.spool.park(at, why, self.clock.now()).await {
            Ok(()) => {
                self.left.notify_waiters();
                true
            }
            Err(error) => {
                tracing::warn!(%call, %error, "a call is not set apart yet");
                false
            }
        }
    }
}
