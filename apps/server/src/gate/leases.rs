//! The shell around the lease book: locks, waits, and does what the book orders.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use billing_core::budget::{Amount, BudgetScope};
use billing_core::call::Settlement;
use billing_core::id::{AccountId, CallId, NodeId};
use billing_core::lease::{LeaseAsk, LeaseReturn, Recall};
use billing_core::lease_book::{
    BookSize, Decision, Held, HoldAsk, LeaseBook, LeasePolicy, Order, Refusal, RefusalCause,
};
use billing_core::port::books::{Books, BooksError};
use billing_core::port::clock::SteadyClock;
use billing_core::steady::Steady;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::checker::MOVED;

/// How many books the accounts are spread over, so that workers seldom wait for one another.
const SHARDS: usize = 16;
/// How long the store may take to answer an ask or a return before it is repeated, and the calls
/// that wait for it are told that the store is away.
const PATIENCE: Duration = Duration::from_secs(5);

/// This node's leases, shared by all workers.
#[derive(Debug)]
pub(crate) struct Leases {
    shards: Vec<Mutex<Shard>>,
    books: Arc<dyn Books>,
    clock: Arc<dyn SteadyClock>,
    tracker: TaskTracker,
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
        clock: Arc<dyn SteadyClock>,
        tracker: TaskTracker,
        node: NodeId,
        policy: LeasePolicy,
    ) -> Self {
        let shard = || Shard {
            book: LeaseBook::new(policy, node),
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
        first.map_or(NodeId::new(0), |shard| locked(shard).book.node())
    }

    /// The present instant of the clock that all of it goes by.
    pub(crate) fn now(&self) -> Steady {
        self.clock.steady()
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

    /// What a call holds, and under which id this node has the leases that cover it.
    pub(crate) fn held_by(
        &self,
        account: AccountId,
        call: CallId,
    ) -> (NodeId, Vec<(BudgetScope, Amount)>) {
        let shard = self.lock(account);
        let held = shard.book.held_by(account, call);
        let none = Held {
            node: shard.book.node(),
            parts: &[],
        };
        let Held { node, parts } = held.unwrap_or(none);
        (node, parts.to_vec())
    }

    /// What a call holds of its account's wallet.
    pub(crate) fn held_of_wallet(&self, account: AccountId, call: CallId) -> Amount {
        let shard = self.lock(account);
        let held = shard.book.held_by(account, call);
        let mut parts = held.iter().flat_map(|held| held.parts);
        let wallet = parts.find(|(scope, _)| *scope == BudgetScope::Wallet);
        wallet.map_or(Amount::ZERO, |(_, amount)| *amount)
    }

    /// What of this node's lease of a budget no call holds.
    pub(crate) fn free(&self, account: AccountId, scope: BudgetScope) -> Amount {
        self.lock(account).book.free(account, scope)
    }

    /// Whether no call holds what this node has, or had, on lease under an id.
    pub(crate) fn owe_nothing_under(&self, node: NodeId) -> bool {
        let mut shards = self.shards.iter();
        shards.all(|shard| locked(shard).book.holds_under(node) == 0)
    }

    /// A call was settled; `used` is what the books drew.
    pub(crate) fn settled(self: &Arc<Self>, call: &Settlement, used: &[(BudgetScope, Amount)]) {
        let (account, id) = (call.account, call.call);
        self.with_shard(account, |shard, now| {
            shard.waiting.remove(&id);
            let (node, parts) = (call.node, call.held.as_slice());
            let held = Held { node, parts };
            shard.book.settled(account, id, held, used, now);
        });
        MOVED.note(account);
    }

    /// A call is over, and it is settled what it will be charged at most.
    pub(crate) fn promised(self: &Arc<Self>, account: AccountId, call: CallId, most: Amount) {
        self.with_shard(account, |shard, now| {
            shard.book.promised(account, call, most, now);
        });
    }

    /// A call ended without a settlement.
    pub(crate) fn released(self: &Arc<Self>, account: AccountId, call: CallId) {
        self.with_shard(account, |shard, now| {
            shard.waiting.remove(&call);
            shard.book.released(account, call, now);
        });
    }

    /// Other nodes want what this one has on lease.
    pub(crate) fn recall(self: &Arc<Self>, recalls: &[Recall]) {
        for recall in recalls {
            self.with_shard(recall.account, |shard, now| {
                let (scope, wanted) = (recall.scope, recall.wanted);
                shard.book.recall(recall.account, scope, wanted, now);
            });
        }
    }

    /// The store confirmed that this node was alive, and had heard all news, at an instant.
    pub(crate) fn confirmed(self: &Arc<Self>, at: Steady) {
        for shard in &self.shards {
            self.apply(shard, |shard, _| shard.book.confirmed(at));
        }
    }

    /// Something about an account changed in the store.
    pub(crate) fn changed(self: &Arc<Self>, account: AccountId) {
        self.with_shard(account, |shard, now| shard.book.changed(account, now));
    }

    /// Funds or limits of any account may have changed.
    pub(crate) fn all_changed(self: &Arc<Self>) {
        for shard in &self.shards {
            self.apply(shard, |shard, now| shard.book.all_changed(now));
        }
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
            self.apply(shard, |shard, now| {
                shard.book.fenced(node, now);
            });
        }
    }

    /// How much is in the books.
    pub(crate) fn size(&self) -> BookSize {
        self.shards.iter().fold(BookSize::default(), |sum, shard| {
            let size = locked(shard).book.size();
            BookSize {
                accounts: sum.accounts + size.accounts,
                holds: sum.holds + size.holds,
                waiting: sum.waiting + size.waiting,
            }
        })
    }

    /// Gives back what is not held, for a node that stops.
    pub(crate) fn give_all_back(self: &Arc<Self>) {
        for shard in &self.shards {
            self.apply(shard, |shard, now| shard.book.give_all_back(now));
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
        event: impl FnOnce(&mut Shard, Steady) -> T,
    ) -> T {
        self.apply(self.shard_of(account), event)
    }

    /// Hands an event to a book and does what it orders, outside the lock.
    fn apply<T>(
        self: &Arc<Self>,
        shard: &Mutex<Shard>,
        event: impl FnOnce(&mut Shard, Steady) -> T,
    ) -> T {
        let now = self.now();
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
            (answer, orders, shard.book.node())
        };
        for order in orders {
            let leases = Arc::clone(self);
            self.tracker
                .spawn(async move { leases.carry_out(node, order).await });
        }
        answer
    }

    /// Does what the book ordered and tells it what came of it.
    async fn carry_out(self: &Arc<Self>, node: NodeId, order: Order) {
        match order {
            Order::Lease {
                account,
                scope,
                seq,
                needed,
                wanted,
                under_way,
            } => {
                let ask = LeaseAsk {
                    node,
                    account,
                    scope,
                    seq,
                    needed,
                    wanted,
                    under_way,
                };
                let answer = in_time(self.books.lease(ask)).await;
                self.tell(node, account, |book, now| match answered(scope, answer) {
                    Some(grant) => book.granted(account, scope, seq, grant, now),
                    None => book.unanswered(account, scope, seq, now),
                });
            }
            Order::GiveBack {
                account,
                scope,
                seq,
                amount,
            } => {
                let back = LeaseReturn {
                    node,
                    account,
                    scope,
                    seq,
                    amount,
                };
                let answer = in_time(self.books.give_back(back)).await;
                self.tell(node, account, |book, now| match answered(scope, answer) {
                    Some(()) => book.returned(account, scope, seq, now),
                    None => book.unanswered(account, scope, seq, now),
                });
            }
            Order::Decided { .. } => {}
        }
    }

    /// Tells a book what the store answered, unless the node was fenced since it asked.
    fn tell(
        self: &Arc<Self>,
        node: NodeId,
        account: AccountId,
        event: impl FnOnce(&mut LeaseBook, Steady),
    ) {
        self.with_shard(account, |shard, now| {
            if shard.book.node() == node {
                event(&mut shard.book, now);
            }
        });
    }
}

fn locked(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the store answers, unless it takes too long.
async fn in_time<T>(
    asking: impl Future<Output = Result<T, BooksError>>,
) -> Option<Result<T, BooksError>> {
    tokio::time::timeout(PATIENCE, asking).await.ok()
}

/// What an answer of the store means to the book; `None` when it did not say, and must be asked
/// again.
fn answered<T: Default>(scope: BudgetScope, answer: Option<Result<T, BooksError>>) -> Option<T> {
    match answer {
        Some(Ok(answer)) => Some(answer),
        // Nothing is available in a budget that is not there, and nothing goes back to it.
        Some(Err(BooksError::NoSuchBudget)) => Some(T::default()),
        Some(Err(error)) => {
            tracing::warn!(budget = %scope, %error, "the store did not answer about a lease");
            None
        }
        None => {
            tracing::warn!(budget = %scope, "the store did not answer about a lease in time");
            None
        }
    }
}
