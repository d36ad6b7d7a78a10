//! The lease book: authorization as a synchronous state machine.
//!
//! A node spends only what the store has durably reserved for it: its leases. The book keeps what
//! of each lease is under open holds, and grants a hold on every budget of a call at once or not at
//! all. It does no I/O and reads no clock: events and the time go in, a [`Decision`] comes back, and
//! what the shell must do next is read from [`LeaseBook::take_orders`].
//!
//! ```text
//! authorize ─► Held                                  settled ─► lease shrinks by the charge
//!           ├► Refused                               released ─► lease is as before
//!           └► Waiting ─► Order::Lease ─► granted ─► Order::Decided
//!
//! recall ─► Order::GiveBack ─► returned              no answer ─► unanswered ─► the same order again
//! ```
//!
//! Several nodes are several books over one store; nothing in here knows how many there are. Of
//! each budget one message to the store is under way at a time, and it is repeated under its number
//! until it is answered: so lost, repeated and late messages change nothing.

mod account;
mod decision;
mod policy;
mod slice;

use std::collections::{BTreeMap, BTreeSet};

use time::Duration;

use crate::budget::{Amount, BudgetScope};
use crate::id::{AccountId, CallId, NodeId};
use crate::lease::{LeaseGrant, LeaseSeq};
use crate::steady::Steady;
use account::{Account, Desk};
pub use decision::{Decision, HoldAsk, Order, Refusal, RefusalCause};
pub use policy::{LeasePolicy, Sizing, StaleRule, Staleness};

/// An account that is looked at again and again is looked at no more often than this.
const BREATH: Duration = Duration::milliseconds(10);

/// The leases of one node and the holds against them.
#[derive(Debug)]
pub struct LeaseBook {
    policy: LeasePolicy,
    /// The id under which this node takes leases.
    node: NodeId,
    accounts: BTreeMap<AccountId, Account>,
    /// When which account is to be looked at; each stands here once.
    agenda: BTreeSet<(Steady, AccountId)>,
    seq: LeaseSeq,
    fresh_until: Option<Steady>,
    orders: Vec<Order>,
}

impl LeaseBook {
    /// An empty book of a node that takes leases under this id.
    pub const fn new(policy: LeasePolicy, node: NodeId) -> Self {
        Self {
            policy,
            node,
            accounts: BTreeMap::new(),
            agenda: BTreeSet::new(),
            seq: LeaseSeq::new(0),
            fresh_until: None,
            orders: Vec::new(),
        }
    }

    /// The id under which this node takes leases now.
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// Holds what a call asks for, or lets it wait, or refuses it.
    ///
    /// A call that fits is never refused while the store's confirmation of this node is fresh. One
    /// that does not fit waits where that may help: for a lease that the store may grant, for what
    /// other nodes may give back, or for holds of other calls that may turn out too large.
    pub fn authorize(&mut self, mut ask: HoldAsk, now: Steady) -> Decision {
        ask.demands.retain(|(_, amount)| !amount.is_zero());
        let id = ask.account;
        let (accounts, mut desk) = self.at_desk(now);
        let account = accounts.entry(id).or_insert_with(|| Account::new(id, now));
        account.used_at = now;
        let wait_until = ask.wait_until;
        let decision = if account.try_hold(&ask, &desk) {
            Decision::Held
        } else {
            match account.prospect(&ask, &desk) {
                Err(refusal) => Decision::Refused(refusal),
                Ok(short) if ask.wait_until <= now && !short.store_may_help => {
                    Decision::Refused(short.refusal(RefusalCause::Busy))
                }
                Ok(short) if account.waiting.len() >= desk.policy.max_waiting => {
                    Decision::Refused(short.refusal(RefusalCause::Busy))
                }
                Ok(_) => {
                    account.order_leases(&ask, &mut desk);
                    // A call that is under way goes before those that have not begun.
                    if account.holds.contains_key(&ask.call) {
                        account.waiting.push_front(ask);
                    } else {
                        account.waiting.push_back(ask);
                    }
                    Decision::Waiting
                }
            }
        };
        let due = match decision {
            Decision::Waiting => account.due_for(wait_until).max(now.saturating_add(BREATH)),
            Decision::Held | Decision::Refused(_) => {
                now.saturating_add(self.policy.idle_after.min(self.policy.hold_for))
            }
        };
        self.remind(id, due);
        decision
    }

    /// A call was settled: its hold ends, and each lease shrinks by what was taken from it.
    ///
    /// `held` is what the settlement said was held, and under which id; `used` what the books drew.
    /// What was held under an earlier id did not come out of the leases of now.
    pub fn settled(
        &mut self,
        id: AccountId,
        call: CallId,
        held: Held<'_>,
        used: &[(BudgetScope, Amount)],
        now: Steady,
    ) {
        let (policy, node) = (self.policy, self.node);
        let Some(account) = self.accounts.get_mut(&id) else {
            return;
        };
        account.end_hold(call, node);
        account.waiting.retain(|ask| ask.call != call);
        for (scope, part) in held.parts.iter().filter(|_| held.node == node) {
            let taken = part_of(used, *scope).min(*part);
            if let Some(slice) = account.slices.get_mut(scope) {
                slice.spend(taken, policy, now);
            }
        }
        self.serve(id, now);
    }

    /// A call is over and was told what it will be charged, at most; its settlement comes later. Of
    /// its hold it keeps so much until then, and the rest is free.
    pub fn promised(&mut self, id: AccountId, call: CallId, most: Amount, now: Steady) {
        let node = self.node;
        let Some(account) = self.accounts.get_mut(&id) else {
            return;
        };
        account.cut_hold(call, most, node);
        self.serve(id, now);
    }

    /// A call ended without a settlement: its hold ends and nothing was taken.
    pub fn released(&mut self, id: AccountId, call: CallId, now: Steady) {
        let node = self.node;
        let Some(account) = self.accounts.get_mut(&id) else {
            return;
        };
        account.end_hold(call, node);
        account.waiting.retain(|ask| ask.call != call);
        self.serve(id, now);
    }

    /// The store answered an [`Order::Lease`]. An answer that is not the one awaited, because it
    /// came twice or too late, changes nothing.
    pub fn granted(
        &mut self,
        id: AccountId,
        scope: BudgetScope,
        seq: LeaseSeq,
        grant: LeaseGrant,
        now: Steady,
    ) {
        let policy = self.policy;
        let slice = self
            .accounts
            .get_mut(&id)
            .and_then(|a| a.slices.get_mut(&scope));
        if slice.is_some_and(|slice| slice.grant(seq, grant, policy, now)) {
            self.serve(id, now);
            self.plan(id, now);
        }
    }

    /// The store answered an [`Order::GiveBack`].
    pub fn returned(&mut self, id: AccountId, scope: BudgetScope, seq: LeaseSeq, now: Steady) {
        let Some(account) = self.accounts.get_mut(&id) else {
            return;
        };
        let slice = account.slices.get_mut(&scope);
        if slice.is_some_and(|slice| slice.returned(seq)) {
            account.may_roll_over(scope);
            self.serve(id, now);
            self.plan(id, now);
        }
    }

    /// The store did not answer an order, or not in time. Calls that wait for this budget are
    /// refused, and the order will be given again: it may have been carried out.
    pub fn unanswered(&mut self, id: AccountId, scope: BudgetScope, seq: LeaseSeq, now: Steady) {
        let (accounts, mut desk) = self.at_desk(now);
        let Some(account) = accounts.get_mut(&id) else {
            return;
        };
        let slice = account.slices.get_mut(&scope);
        let repeats = slice.and_then(|s| s.unanswered(seq, desk.policy, now));
        if repeats.is_some() {
            account.refuse_unanswered(scope, &mut desk);
            self.plan(id, now);
        }
    }

    /// Something about an account has changed in the store: what was known to be empty may not be.
    pub fn changed(&mut self, id: AccountId, now: Steady) {
        let Some(account) = self.accounts.get_mut(&id) else {
            return;
        };
        for slice in account.slices.values_mut() {
            slice.doubt();
        }
        self.serve(id, now);
    }

    /// Something may have changed about every account.
    pub fn all_changed(&mut self, now: Steady) {
        let ids: Vec<AccountId> = self.accounts.keys().copied().collect();
        for id in ids {
            self.changed(id, now);
        }
    }

    /// Gives back what of a lease is not held, for a node that has more need of it.
    pub fn recall(&mut self, id: AccountId, scope: BudgetScope, wanted: Amount, now: Steady) {
        let slice = self
            .accounts
            .get_mut(&id)
            .and_then(|a| a.slices.get_mut(&scope));
        if let Some(slice) = slice {
            slice.recall(wanted);
            self.serve(id, now);
        }
    }

    /// The store confirmed, at an instant, that this node is alive and has heard all news.
    pub fn confirmed(&mut self, at: Steady) {
        let until = self
            .policy
            .staleness
            .map(|staleness| at.saturating_add(staleness.fresh_for));
        // Two confirmations may be told in the other order.
        self.fresh_until = self.fresh_until.max(until);
    }

    /// The node was fenced and takes leases under another id from now on. It spends nothing more of
    /// those that it had; they are kept for the calls that hold them, which go on, settle under the
    /// id that they began with, and can have no more. What waiting calls need is asked for again.
    /// Answers to what was asked before no longer count.
    pub fn fenced(&mut self, node: NodeId, now: Steady) {
        self.node = node;
        let (accounts, mut desk) = self.at_desk(now);
        for account in accounts.values_mut() {
            account.slices.clear();
            account.ask_anew(&mut desk);
        }
    }

    /// Lets time pass: refuses calls that waited long enough, repeats what the store did not
    /// answer, ends holds that nobody ended, and gives back the leases of accounts that have gone
    /// quiet. Costs nothing for accounts of which none of this is due.
    pub fn tick(&mut self, now: Steady) {
        while let Some((at, id)) = self.agenda.first().copied() {
            if at > now {
                return;
            }
            self.agenda.pop_first();
            if let Some(account) = self.accounts.get_mut(&id) {
                account.due = None;
                self.attend(id, now);
            }
        }
    }

    /// Gives back every lease that is not held, for a node that stops.
    pub fn give_all_back(&mut self, now: Steady) {
        let ids: Vec<AccountId> = self.accounts.keys().copied().collect();
        for id in ids {
            if let Some(account) = self.accounts.get_mut(&id) {
                for slice in account.slices.values_mut() {
                    slice.recall(Amount::MAX);
                }
            }
            self.serve(id, now);
        }
    }

    /// What the shell must do now, in order. Empty until the next event.
    pub fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// What a call holds.
    pub fn held_by(&self, id: AccountId, call: CallId) -> Option<Held<'_>> {
        let hold = self.accounts.get(&id)?.holds.get(&call)?;
        Some(Held {
            node: hold.node,
            parts: &hold.parts,
        })
    }

    /// How many calls hold leases that the node has, or had, under an id.
    pub fn holds_under(&self, node: NodeId) -> usize {
        let holds = self.accounts.values().flat_map(|a| a.holds.values());
        holds.filter(|hold| hold.node == node).count()
    }

    /// What is leased of a budget, and what of it is held.
    pub fn leased(&self, id: AccountId, scope: BudgetScope) -> (Amount, Amount) {
        let slice = self.accounts.get(&id).and_then(|a| a.slices.get(&scope));
        slice.map_or((Amount::ZERO, Amount::ZERO), |s| (s.leased(), s.held()))
    }

    /// What of a lease no call holds.
    pub fn free(&self, id: AccountId, scope: BudgetScope) -> Amount {
        let (leased, held) = self.leased(id, scope);
        leased.less(held)
    }

    /// How many accounts, open holds and waiting calls there are.
    pub fn size(&self) -> BookSize {
        self.accounts
            .values()
            .fold(BookSize::default(), |size, account| BookSize {
                accounts: size.accounts.saturating_add(1),
                holds: size.holds.saturating_add(account.holds.len()),
                waiting: size.waiting.saturating_add(account.waiting.len()),
            })
    }

    /// The first invariant that does not hold, in words: each lease covers its holds, what is held
    /// is the sum of the open holds, and every account will be looked at again.
    pub fn broken_invariant(&self) -> Option<String> {
        self.accounts.iter().find_map(|(id, account)| {
            if account
                .due
                .is_none_or(|at| !self.agenda.contains(&(at, *id)))
            {
                return Some(format!("{id} is not on the agenda"));
            }
            account.slices.iter().find_map(|(scope, slice)| {
                let holds = account.holds.values().filter(|h| h.node == self.node);
                let sum = holds
                    .flat_map(|h| &h.parts)
                    .filter(|(s, _)| s == scope)
                    .fold(Amount::ZERO, |sum, (_, amount)| sum.plus(*amount));
                (slice.held() != sum || slice.leased() < slice.held())
                    .then(|| format!("{id} {scope}: {slice:?} but open holds sum to {sum}"))
            })
        })
    }

    /// Decides for waiting calls what can be decided now.
    fn serve(&mut self, id: AccountId, now: Steady) {
        let (accounts, mut desk) = self.at_desk(now);
        if let Some(account) = accounts.get_mut(&id) {
            account.serve(&mut desk);
        }
    }

    /// Does what time has made due for one account.
    fn attend(&mut self, id: AccountId, now: Steady) {
        let (accounts, mut desk) = self.at_desk(now);
        let Some(account) = accounts.get_mut(&id) else {
            return;
        };
        account.end_lapsed(desk.node, now);
        account.refuse_late(&mut desk);
        account.resend(&mut desk);
        account.serve(&mut desk);
        let is_quiet = account.used_at.saturating_add(desk.policy.idle_after) <= now;
        if is_quiet && account.is_still() {
            for slice in account.slices.values_mut() {
                slice.recall(Amount::MAX);
            }
            account.serve(&mut desk);
            // What was given back is under way until the store has it.
            if account.is_still() {
                accounts.remove(&id);
                return;
            }
        }
        self.plan(id, now);
    }

    /// The accounts, and what decisions about one of them are made with.
    const fn at_desk(&mut self, now: Steady) -> (&mut BTreeMap<AccountId, Account>, Desk<'_>) {
        let desk = Desk {
            now,
            node: self.node,
            policy: self.policy,
            seq: &mut self.seq,
            fresh_until: self.fresh_until,
            orders: &mut self.orders,
        };
        (&mut self.accounts, desk)
    }

    /// Puts an account on the agenda for when time makes a difference to it.
    fn plan(&mut self, id: AccountId, now: Steady) {
        if let Some(account) = self.accounts.get(&id) {
            let due = account.next_due(self.policy, now);
            self.remind(id, due.max(now.saturating_add(BREATH)));
        }
    }

    /// Puts an account on the agenda, unless it is there for an earlier time.
    fn remind(&mut self, id: AccountId, at: Steady) {
        let Some(account) = self.accounts.get_mut(&id) else {
            return;
        };
        if account.due.is_some_and(|due| due <= at) {
            return;
        }
        if let Some(due) = account.due.replace(at) {
            self.agenda.remove(&(due, id));
        }
        self.agenda.insert((at, id));
    }
}

fn part_of(parts: &[(BudgetScope, Amount)], scope: BudgetScope) -> Amount {
    let part = parts.iter().find(|(s, _)| *s == scope);
    part.map_or(Amount::ZERO, |(_, amount)| *amount)
}

/// What a call holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held<'a> {
    /// The id under which the node has the leases that cover it.
    pub node: NodeId,
    /// How much of each budget.
    pub parts: &'a [(BudgetScope, Amount)],
}

/// How much a book keeps in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BookSize {
    /// Accounts with a lease, a hold or a waiting call.
    pub accounts: usize,
    /// Open holds.
    pub holds: usize,
    /// Calls that wait for one.
    pub waiting: usize,
}
