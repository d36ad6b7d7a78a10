//! The shell around the lease book: locks, waits, and does what the book orders.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
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
    node: AtomicI64,
}

#[derive(Debug)]
struct Shard {
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
            book: LeaseBook::new(policy),
            waiting: HashMap::new(),
        };
        let shards = (0..SHARDS).map(|_| Mutex::new(shard())).collect();
        Self {
            shards,
            books,
            clock,
            tracker,
            node: AtomicI64::new(node.get()),
        }
    }

    /// The id under which this node takes leases now.
    pub(crate) fn node(&self) -> NodeId {
        NodeId::new(self.node.load(Ordering::Acquire))
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
            shard.book.settled(account, call, held, used, now);
        });
    }

    /// A call ended without a settlement.
    pub(crate) fn released(self: &Arc<Self>, account: AccountId, call: CallId) {
        self.with_shard(account, |shard, now| {
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
        self.node.store(node.get(), Ordering::Release);
        for shard in &self.shards {
            self.apply(shard, |shard, _| shard.book.fenced());
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
        let (answer, orders) = {
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
            (answer, orders)
        };
        for order in orders {
            let leases = Arc::clone(self);
            self.tracker
                .spawn(async move { leases.carry_out(order).await });
        }
        answer
    }

    async fn carry_out(self: &Arc<Self>, order: Order) {
        let node = self.node();
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
                let answer = match tokio::time::timeout(PATIENCE, self.books.lease(ask)).await {
                    Ok(Ok(grant)) => Some(grant),
                    // Nothing is available in a budget that is not there.
                    Ok(Err(BooksError::NoSuchBudget)) => Some(NOTHING),
                    Ok(Err(error)) => {
                        tracing::warn!(account = %account, budget = %scope, %error, "no lease");
                        None
                    }
                    Err(_) => {
                        tracing::warn!(account = %account, budget = %scope, "no lease in time");
                        None
                    }
                };
                self.with_shard(account, |shard, now| {
                    // What a node was granted before it was fenced is not its any more.
                    if self.node() != node {
                        return;
                    }
                    match answer {
                        Some(grant) => shard.book.granted(account, scope, grant, now),
                        None => shard.book.lease_failed(account, scope),
                    }
                });
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
                if let Err(error) = self.books.give_back(lease).await {
                    // The store still counts it as this node's; joining again frees it.
                    tracing::warn!(account = %account, budget = %scope, %error, "lease not returned");
                }
            }
            Order::Decided { .. } => {}
        }
    }
}
