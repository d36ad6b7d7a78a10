//! The ports in memory, for tests: the same rules, no database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use billing_core::adjustment::AdjustedSoFar;
use billing_core::budget::{Amount, BudgetScope};
use billing_core::call::Settlement;
use billing_core::id::{
    AccountId, CallId, IdSequence, KeyId, LedgerTxnId, NodeId, TierScheduleId, UserId,
};
use billing_core::lease::{Claim, LeaseSeq};
use billing_core::ledger::LedgerTxn;
use billing_core::money::Nanos;
use billing_core::node::NodeRecord;
use billing_core::port::clock::Clock;
use billing_core::port::directory::{
    Account, ApiKey, Change, ChangeSubject, Role, SecretHash, User,
};
use billing_core::price_book::PriceBook;
use billing_core::settlement::{BudgetUse, SettledCall};
use billing_core::subscription::Dunning;
use billing_core::tier_schedule::Close;
use billing_core::wallet::{Lot, Wallet};
use time::OffsetDateTime;

mod books;
mod catalogue;
mod corrections;
mod coupons;
mod directory;
mod invoices;
mod lapse;
mod leases;
mod messages;
mod nodes;
mod orders;
mod plans;
mod proofs;
mod reports;
mod spool;
mod subscriptions;

pub use spool::MemorySpool;

/// All ports, in memory.
#[derive(Debug)]
pub struct Memory {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    ids: IdSequence,
    books: BTreeMap<AccountId, Page>,
    nodes: BTreeMap<NodeId, NodeRecord>,
    accounts: BTreeMap<AccountId, Account>,
    keys: BTreeMap<KeyId, (ApiKey, SecretHash)>,
    users: BTreeMap<UserId, (User, String)>,
    members: BTreeMap<(AccountId, UserId), Role>,
    sessions: Vec<(SecretHash, UserId, OffsetDateTime)>,
    proofs: proofs::Remembered,
    changes: Vec<ChangeSubject>,
    plans: Vec<plans::Published>,
    /// What people call plans, by code.
    plan_names: BTreeMap<String, String>,
    subscriptions: Vec<plans::Held>,
    billed: subscriptions::Billed,
    /// By which it is reckoned when what is owed is looked at.
    dunning: Dunning,
    ordered: orders::Ordered,
    documents: invoices::Documents,
    coupons: coupons::Given,
    told: messages::Told,
    prices: PriceBook,
    price_ids: BTreeSet<i64>,
}

/// The books of one account.
#[derive(Debug)]
struct Page {
    wallet: Wallet,
    lots: Vec<Lot>,
    uses: BTreeMap<BudgetScope, BudgetUse>,
    /// What came into a window and went out of it.
    carried: BTreeMap<BudgetScope, (Amount, Amount)>,
    leases: BTreeMap<(NodeId, BudgetScope), Amount>,
    /// The last ask or return that was heard of a lease, and what it granted.
    heard: BTreeMap<(NodeId, BudgetScope), (LeaseSeq, Amount)>,
    claims: BTreeMap<(NodeId, BudgetScope), Claim>,
    calls: BTreeMap<CallId, Recorded>,
    journal: Vec<Booked>,
    keys: BTreeMap<String, (String, LedgerTxnId, Nanos)>,
    /// What calls were adjusted by.
    adjusted: BTreeMap<CallId, AdjustedSoFar>,
    /// The same, one by one.
    parts: Vec<(CallId, LedgerTxnId, Nanos)>,
    /// What calls of a window were adjusted by.
    adjusted_windows: BTreeMap<(TierScheduleId, i64), Nanos>,
    /// Windows that were closed: as they stood, with what was booked, and how often.
    closed: BTreeMap<(TierScheduleId, i64), (Option<Close>, i64, Nanos)>,
}

#[derive(Debug, Clone)]
struct Recorded {
    settlement: Settlement,
    settled: SettledCall,
    txn: Option<LedgerTxnId>,
    settled_at: OffsetDateTime,
}

#[derive(Debug)]
struct Booked {
    txn: LedgerTxn,
    note: String,
}

impl Memory {
    /// Empty books.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Mutex::new(State {
                ids: IdSequence::new(0),
                books: BTreeMap::new(),
                nodes: BTreeMap::new(),
                accounts: BTreeMap::new(),
                keys: BTreeMap::new(),
                users: BTreeMap::new(),
                members: BTreeMap::new(),
                sessions: Vec::new(),
                proofs: proofs::Remembered::default(),
                changes: Vec::new(),
                plans: Vec::new(),
                plan_names: BTreeMap::new(),
                subscriptions: Vec::new(),
                billed: subscriptions::Billed::default(),
                dunning: Dunning::default(),
                ordered: orders::Ordered::default(),
                documents: invoices::Documents::default(),
                coupons: coupons::Given::default(),
                told: messages::Told::default(),
                prices: PriceBook::default(),
                price_ids: BTreeSet::new(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn txn_id(&mut self, now: OffsetDateTime) -> LedgerTxnId {
        let ms = i64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap();
        LedgerTxnId::new(self.ids.next(ms))
    }

    /// What was noted after a position; positions count from one.
    fn changes_after(&self, after: i64) -> impl Iterator<Item = Change> + '_ {
        let noted = (1..).zip(&self.changes);
        let noted = noted.map(|(position, subject)| Change {
            position,
            subject: *subject,
        });
        noted.filter(move |change| change.position > after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::invoices::invoicing;
    use crate::world::NOON;
    use crate::{ManualClock, Ports};

    #[expect(clippy::unused_async, reason = "an opener is async")]
    async fn open() -> Ports {
        let clock = ManualClock::at(NOON);
        let memory = Arc::new(Memory::new(Arc::new(clock.clone())).invoicing(invoicing()));
        Ports::of(memory, clock, ())
    }

    #[expect(clippy::unused_async, reason = "an opener is async")]
    async fn open_spool() -> crate::contract::spool::SpoolCase {
        crate::contract::spool::SpoolCase {
            spool: Arc::new(MemorySpool::new(500)),
            keep: Box::new(()),
        }
    }

    crate::spool_contract!(spool_in_memory, super::open_spool);
    crate::books_contract!(books_in_memory, super::open);
    crate::nodes_contract!(nodes_in_memory, super::open);
    crate::directory_contract!(directory_in_memory, super::open);
    crate::catalogue_contract!(catalogue_in_memory, super::open);
    crate::plans_contract!(plans_in_memory, super::open);
    crate::subscriptions_contract!(subscriptions_in_memory, super::open);
    crate::invoices_contract!(invoices_in_memory, super::open);
    crate::coupons_contract!(coupons_in_memory, super::open);
    crate::messages_contract!(messages_in_memory, super::open);
    crate::orders_contract!(orders_in_memory, super::open);

    #[test]
    fn a_thousand_changes_cost_what_was_shown() {
        crate::contract::run(async {
            let world = crate::World::new(open().await).await;
            crate::contract::orders::random_changes(&world, 1_000).await;
        });
    }

    crate::reports_contract!(reports_in_memory, super::open);
    crate::proofs_contract!(proofs_in_memory, super::open);
}
