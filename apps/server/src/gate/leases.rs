//! The shell around the lease book: locks, waits, and does what the book orders.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::{AccountId, CallId, NodeId};
use billing_core::lease_book::{
    Decision, HoldAsk, LeaseBook, LeasePolicy, Order, Refusal, RefusalCause,
};
use billing_core::port::books::{Books, BooksError, LeaseAsk, LeaseGrant, LeaseReturn};
use billing_core::port::clock::Clock;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

/// How many books the accounts are spread over, so that workers seldom wait for one another.
const SHARDS: usize = 16;
/// How long the store may take to answer a wish for a lease, before calls are told it is away.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the store grants of a budget that does not exist.
const NOTHING: LeaseGrant = LeaseGrant {
    granted: Amount::ZERO,
    available: Amount::ZERO,
};

/// This node's leases, shared by all workers.
#[derive(Debug)]
pub(crate) struct Leases {
    shards: Vec<Mutex<Shard>>,
    books: Arc<dyn Books>,
    clock: Arc<dyn Clock>,
    tracker: TaskTracker,
}

#[derive(Debug)]
struct Shard {
    /// The id under which this node takes leases. It stands beside the book, so that both change
    /// under one lock when the node was fenced.
    node: NodeId,
    book: LeaseBook,
    waiting: HashMap<CallId, oneshot::Sender<Decision>>,
}

impl Leases {
    /// No lease yet; the node has joined under this id.
    pub(crate) fn new(
        books: Arc<dyn Books>,
        clock: Arc<dyn Clock>,
        tracker: TaskTracker,
        node: NodeId,
        policy: LeasePolicy,
    ) -> Self {
        let shard = || Shard {
            node,
            book: LeaseBook::new(policy),
            waiting: HashMap::new(),
        };
        let shards = (0..SHARDS).map(|_| Mutex::new(shard())).collect();
        Self {
            shards,
            books,
            clock,
            tracker,
        }
    }

    /// The id under which this node takes leases now.
    pub(crate) fn node(&self) -> NodeId {
        let first = self.shards.first();
        first.map_or(NodeId::new(0), |shard| locked(shard).node)
    }

    /// The id under which this node has the leases of an account.
    pub(crate) fn node_of(&self, account: AccountId) -> NodeId {
        self.lock(account).node
    }

    /// Holds what a call needs on all its budgets, waiting as long as the ask allows.
    pub(crate) async fn hold(self: &Arc<Self>, ask: HoldAsk) -> Result<(), Refusal> {
        let (account, call) = (ask.account, ask.call);
        let fallback = ask.demands.first().copied();
        let (decision, later) =
            self.with_shard(account, |shard, now| match shard.book.authorize(ask, now) {
                Decision::Waiting => {
                    let (tell, later) = oneshot::channel();
                    shard.waiting.insert(call, tell);
                    (Decision::Waiting, Some(later))
                }
                decided @ (Decision::Held | Decision::Refused(_)) => (decided, None),
            });
        let decision = match later {
            Some(later) => later.await.unwrap_or(decision),
            None => decision,
        };
        match decision {
            Decision::Held => Ok(()),
            Decision::Refused(refusal) => Err(refusal),
            // Only a book that is gone leaves a call waiting for ever.
            Decision::Waiting => {
                let (scope, needed) = fallback.unwrap_or((BudgetScope::Wallet, Amount::ZERO));
                let cause = RefusalCause::Unavailable;
                Err(Refusal {
                    scope,
                    needed,
                    left: Amount::ZERO,
                    cause,
                })
            }
        }
    }

    /// What a call holds.
    pub(crate) fn held_by(&self, account: AccountId, call: CallId) -> Vec<(BudgetScope, Amount)> {
        let shard = self.lock(account);
        shard
            .book
            .held_by(account, call)
            .map(<[_]>::to_vec)
            .unwrap_or_default()
    }

    /// A call was settled.
    pub(crate) fn settled(
        self: &Arc<Self>,
        account: AccountId,
        call: CallId,
        held: &[(BudgetScope, Amount)],
        used: &[(BudgetScope, Amount)],
    ) {
        self.with_shard(account, |shard, now| {
            shard.waiting.remove(&call);
            shard.book.settled(account, call, held, used, now);
        });
    }

    /// A call ended without a settlement.
    pub(crate) fn released(self: &Arc<Self>, account: AccountId, call: CallId) {
        self.with_shard(account, |shard, now| {
            shard.waiting.remove(&call);
            shard.book.released(account, call, now);
        });
    }

    /// Something about an account changed in the store.
    pub(crate) fn changed(self: &Arc<Self>, account: AccountId) {
        self.with_shard(account, |shard, now| shard.book.changed(account, now));
    }

    /// Lets time pass in every book.
    pub(crate) fn tick(self: &Arc<Self>) {
        for shard in &self.shards {
            self.apply(shard, |shard, now| shard.book.tick(now));
        }
    }

    /// The node was fenced and has joined again under another id.
    pub(crate) fn rejoined(self: &Arc<Self>, node: NodeId) {
        for shard in &self.shards {
            self.apply(shard, |shard, _| {
                shard.node = node;
                shard.book.fenced();
            });
        }
    }

    /// Gives back what is not held, for a node that stops.
    pub(crate) fn give_all_back(self: &Arc<Self>) {
        for shard in &self.shards {
            self.apply(shard, |shard, _| shard.book.give_all_back());
        }
    }

    fn shard_of(&self, account: AccountId) -> &Mutex<Shard> {
        // The low bits of an id count within a millisecond and are mostly zero.
        let mixed = account
            .get()
            .unsigned_abs()
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            >> 32;
        let index = usize::try_from(mixed).unwrap_or(0) % self.shards.len();
        &self.shards[index]
    }

    fn lock(&self, account: AccountId) -> MutexGuard<'_, Shard> {
        self.shard_of(account)
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn with_shard<T>(
        self: &Arc<Self>,
        account: AccountId,
        event: impl FnOnce(&mut Shard, time::OffsetDateTime) -> T,
    ) -> T {
        self.apply(self.shard_of(account), event)
    }

    /// Hands an event to a book and does what it orders, outside the lock.
    fn apply<T>(
        self: &Arc<Self>,
        shard: &Mutex<Shard>,
        event: impl FnOnce(&mut Shard, time::OffsetDateTime) -> T,
    ) -> T {
        let now = self.clock.now();
        let (answer, orders, node) = {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = event(&mut shard, now);
            let mut orders = shard.book.take_orders();
            orders.retain(|order| {
                let Order::Decided { call, decision } = *order else {
                    return true;
                };
                if let Some(tell) = shard.waiting.remove(&call)
                    && tell.send(decision).is_err()
                {
                    tracing::debug!(call = %call, "a decided call no longer waits");
                }
                false
            });
            (answer, orders, shard.node)
        };
        for order in orders {
            let leases = Arc::clone(self);
            self.tracker
                .spawn(async move { leases.carry_out(node, order).await });
        }
        answer
    }

    async fn carry_out(self: &Arc<Self>, node: NodeId, order: Order) {
        match order {
            Order::Lease {
                account,
                scope,
                at_least,
                at_most,
            } => {
                let ask = LeaseAsk {
                    node,
                    account,
                    scope,
                    at_least,
                    at_most,
                };
                let mut asked = std::pin::pin!(self.books.lease(ask));
                let answer = tokio::time::timeout(PATIENCE, &mut asked).await;
                let answer = if let Ok(answer) = answer {
                    answer
                } else {
                    tracing::warn!(account = %account, budget = %scope, "no lease in time");
                    self.tell(node, account, scope, None);
                    // The store may grant it all the same, and then it is this node's.
                    asked.await
                };
                self.tell(node, account, scope, granted(account, scope, answer));
            }
            Order::GiveBack {
                account,
                scope,
                amount,
            } => {
                let lease = LeaseReturn {
                    node,
                    account,
                    scope,
                    amount,
                };
                self.give_back(lease).await;
            }
            Order::Decided { .. } => {}
        }
    }

    /// Tells a book what the store answered, unless the node was fenced since it asked.
    fn tell(
        self: &Arc<Self>,
        node: NodeId,
        account: AccountId,
        scope: BudgetScope,
        grant: Option<LeaseGrant>,
    ) {
        self.with_shard(account, |shard, now| {
            if shard.node != node {
                return;
            }
            match grant {
                Some(grant) => shard.book.granted(account, scope, grant, now),
                None => shard.book.lease_failed(account, scope),
            }
        });
    }

    /// Gives a lease back, as often as it takes: the book has forgotten it already.
    async fn give_back(&self, lease: LeaseReturn) {
        let mut pause = Duration::from_millis(100);
        while let Err(error) = self.books.give_back(lease).await {
            tracing::warn!(account = %lease.account, budget = %lease.scope, %error,
                "a lease is not given back yet");
            if !matches!(error, BooksError::Unavailable(_)) {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }
}

fn locked(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an answer of the store grants; `None` when it could not say.
fn granted(
    account: AccountId,
    scope: BudgetScope,
    answer: Result<LeaseGrant, BooksError>,
) -> Option<LeaseGrant> {
    match answer {
        Ok(grant) => Some(grant),
        // Nothing is available in a budget that is not there.
        Err(BooksError::NoSuchBudget) => Some(NOTHING),
        Err(error) => {
            tracing::warn!(account = %account, budget = %scope, %error, "no lease");
            None
        }
    }
}
