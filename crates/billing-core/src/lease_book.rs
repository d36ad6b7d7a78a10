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
//! ```
//!
//! Several nodes are several books over one store; nothing in here knows how many there are.

mod account;
mod slice;

use std::collections::{BTreeMap, VecDeque};

use time::{Duration, OffsetDateTime};

use crate::budget::{Amount, BudgetScope};
use crate::id::{AccountId, CallId};
use crate::port::books::LeaseGrant;
use account::Account;

/// How a book takes leases and how patient it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasePolicy {
    /// The most that one request asks the store for; [`Amount::MAX`] takes all there is, which is
    /// right for a node that is alone.
    pub slice: Amount,
    /// How long the store's word that a budget is empty is believed. News of the account ends it.
    pub dry_for: Duration,
    /// How many calls of one account may wait at a time.
    pub max_waiting: usize,
    /// After how long without a call an account's leases are given back and forgotten.
    pub idle_after: Duration,
    /// How long a hold lasts when nobody settles or releases it.
    pub hold_for: Duration,
}

impl Default for LeasePolicy {
    fn default() -> Self {
        Self {
            slice: Amount::MAX,
            dry_for: Duration::seconds(1),
            max_waiting: 4096,
            idle_after: Duration::minutes(10),
            hold_for: Duration::hours(2),
        }
    }
}

/// What a call wants to hold, on all its budgets at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldAsk {
    /// Whose budgets.
    pub account: AccountId,
    /// For which call. A second ask for a call that already holds extends its hold.
    pub call: CallId,
    /// How much of each budget; zero amounts are left out.
    pub demands: Vec<(BudgetScope, Amount)>,
    /// Until when it may wait for funds that other calls hold. An answer of the store that was
    /// asked for is waited for beyond it.
    pub wait_until: OffsetDateTime,
}

impl HoldAsk {
    /// How much of a budget it wants, all demands of it together.
    fn needs(&self, scope: BudgetScope) -> Amount {
        let demands = self.demands.iter().filter(|(s, _)| *s == scope);
        demands.fold(Amount::ZERO, |sum, (_, amount)| sum.plus(*amount))
    }
}

/// What became of a [`HoldAsk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Everything asked for is held.
    Held,
    /// Nothing is held yet; an [`Order::Decided`] will follow.
    Waiting,
    /// Nothing is held, and nothing will be.
    Refused(Refusal),
}

/// Why a hold was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The budget that has too little.
    pub scope: BudgetScope,
    /// What the call needs of it.
    pub needed: Amount,
    /// What is left of it, what other calls of this node hold included.
    pub left: Amount,
    /// Whether waiting would have helped.
    pub cause: RefusalCause,
}

/// Whether waiting would have helped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCause {
    /// The budget does not have it.
    Insufficient,
    /// The budget has it, but other calls held it for as long as this one could wait.
    Busy,
    /// The store could not be asked.
    Unavailable,
}

/// What the shell must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Ask the store for a lease, and answer with [`LeaseBook::granted`] or
    /// [`LeaseBook::lease_failed`].
    Lease {
        /// Whose budget.
        account: AccountId,
        /// Which budget.
        scope: BudgetScope,
        /// Less is of no use.
        at_least: Amount,
        /// More is not wanted.
        at_most: Amount,
    },
    /// Give a part of a lease back to the store. The book has already forgotten it.
    GiveBack {
        /// Whose budget.
        account: AccountId,
        /// Which budget.
        scope: BudgetScope,
        /// How much.
        amount: Amount,
    },
    /// Tell a waiting call what was decided: held or refused.
    Decided {
        /// The call.
        call: CallId,
        /// What was decided.
        decision: Decision,
    },
}

/// The leases of one node and the holds against them.
#[derive(Debug)]
pub struct LeaseBook {
    policy: LeasePolicy,
    accounts: BTreeMap<AccountId, Account>,
    orders: Vec<Order>,
}

impl LeaseBook {
    /// An empty book.
    pub const fn new(policy: LeasePolicy) -> Self {
        Self {
            policy,
            accounts: BTreeMap::new(),
            orders: Vec::new(),
        }
    }

    /// Holds what a call asks for, or lets it wait, or refuses it.
    ///
    /// A call that fits is never refused. One that does not waits where that may help: for a lease
    /// that the store may grant, or for holds of other calls that may turn out too large.
    pub fn authorize(&mut self, mut ask: HoldAsk, now: OffsetDateTime) -> Decision {
        ask.demands.retain(|(_, amount)| !amount.is_zero());
        let id = ask.account;
        let account = self.accounts.entry(id).or_insert_with(|| Account::new(now));
        account.used_at = now;
        if account.try_hold(&ask, now, self.policy) {
            return Decision::Held;
        }
        match account.prospect(&ask, now) {
            Err(refusal) => return Decision::Refused(refusal),
            Ok(short) if ask.wait_until <= now && !short.store_may_help => {
                return Decision::Refused(short.refusal(RefusalCause::Busy));
            }
            Ok(short) if account.waiting.len() >= self.policy.max_waiting => {
                return Decision::Refused(short.refusal(RefusalCause::Busy));
            }
            Ok(_) => {}
        }
        account.order_leases(id, &ask, now, self.policy, &mut self.orders);
        // A call that is under way goes before those that have not begun.
        if account.holds.contains_key(&ask.call) {
            account.waiting.push_front(ask);
        } else {
            account.waiting.push_back(ask);
        }
        Decision::Waiting
    }

    /// A call was settled: its hold ends, and each lease shrinks by what was taken from it.
    ///
    /// `held` is what the settlement said was held, `used` what the books drew.
    pub fn settled(
        &mut self,
        id: AccountId,
        call: CallId,
        held: &[(BudgetScope, Amount)],
        used: &[(BudgetScope, Amount)],
        now: OffsetDateTime,
    ) {
        let Some(account) = self.accounts.get_mut(&id) else {
            return;
        };
        account.end_hold(call);
        account.waiting.retain(|ask| ask.call != call);
        for (scope, part) in held {
            let taken = used
                .iter()
                .find(|(s, _)| s == scope)
                .map(|(_, amount)| *amount);
            if let Some(slice) = account.slices.get_mut(scope) {
                slice.spend(taken.unwrap_or_default().min(*part));
            }
        }
        self.serve(id, now);
    }

    /// A call ended without a settlement: its hold ends and nothing was taken.
    pub fn released(&mut self, id: AccountId, call: CallId, now: OffsetDateTime) {
        let Some(account) = self.accounts.get_mut(&id) else {
            return;
        };
        account.end_hold(call);
        account.waiting.retain(|ask| ask.call != call);
        self.serve(id, now);
    }

    /// The store answered an [`Order::Lease`].
    pub fn granted(
        &mut self,
        id: AccountId,
        scope: BudgetScope,
        grant: LeaseGrant,
        now: OffsetDateTime,
    ) {
        let until = now.saturating_add(self.policy.dry_for);
        let account = self.accounts.entry(id).or_insert_with(|| Account::new(now));
        account.slices.entry(scope).or_default().grant(grant, until);
        self.serve(id, now);
    }

    /// The store could not be asked: calls that wait for this budget are refused.
    pub fn lease_failed(&mut self, id: AccountId, scope: BudgetScope) {
        let Some(account) = self.accounts.get_mut(&id) else {
            return;
        };
        if let Some(slice) = account.slices.get_mut(&scope) {
            slice.forget_answer();
        }
        let (refused, kept): (VecDeque<HoldAsk>, VecDeque<HoldAsk>) =
            std::mem::take(&mut account.waiting)
                .into_iter()
                .partition(|ask| account.lacks(ask, scope));
        account.waiting = kept;
        for ask in refused {
            let refusal = account.refusal(&ask, scope, RefusalCause::Unavailable);
            let decision = Decision::Refused(refusal);
            self.orders.push(Order::Decided {
                call: ask.call,
                decision,
            });
        }
    }

    /// Something about an account has changed in the store: what was known to be empty may not be.
    pub fn changed(&mut self, id: AccountId, now: OffsetDateTime) {
        let Some(account) = self.accounts.get_mut(&id) else {
            return;
        };
        for slice in account.slices.values_mut() {
            slice.doubt();
        }
        self.serve(id, now);
    }

    /// Gives back what of a lease is not held, for a node that has more need of it.
    pub fn recall(&mut self, id: AccountId, scope: BudgetScope, wanted: Amount) {
        let slice = self
            .accounts
            .get_mut(&id)
            .and_then(|a| a.slices.get_mut(&scope));
        let amount = slice.map_or(Amount::ZERO, |slice| slice.give_back(wanted));
        if !amount.is_zero() {
            self.orders.push(Order::GiveBack {
                account: id,
                scope,
                amount,
            });
        }
    }

    /// The node was fenced: every lease is gone. Calls under way go on and settle without one; what
    /// waiting calls need is asked for again. Answers to what was asked before no longer count.
    pub fn fenced(&mut self) {
        for (id, account) in &mut self.accounts {
            account.slices.clear();
            for hold in account.holds.values_mut() {
                hold.parts.clear();
            }
            let now = account.used_at;
            let waiting = std::mem::take(&mut account.waiting);
            for ask in &waiting {
                account.order_leases(*id, ask, now, self.policy, &mut self.orders);
            }
            account.waiting = waiting;
        }
    }

    /// Lets time pass: refuses calls that waited long enough, ends holds that nobody ended, and
    /// gives back the leases of accounts that have gone quiet.
    pub fn tick(&mut self, now: OffsetDateTime) {
        let mut quiet = Vec::new();
        let ids: Vec<AccountId> = self.accounts.keys().copied().collect();
        for id in ids {
            self.refuse_late(id, now);
            let Some(account) = self.accounts.get_mut(&id) else {
                continue;
            };
            let calls = account.lapsed(now);
            for call in &calls {
                account.end_hold(*call);
            }
            let quiet_from = account.used_at.saturating_add(self.policy.idle_after);
            if quiet_from <= now && account.is_still() {
                quiet.push(id);
            } else if !calls.is_empty() {
                self.serve(id, now);
            }
        }
        for id in quiet {
            let slices = self
                .accounts
                .remove(&id)
                .map(|a| a.slices)
                .unwrap_or_default();
            self.orders.extend(
                slices
                    .into_iter()
                    .filter(|(_, s)| !s.leased().is_zero())
                    .map(|(scope, s)| Order::GiveBack {
                        account: id,
                        scope,
                        amount: s.leased(),
                    }),
            );
        }
    }

    /// Gives back every lease that is not held, for a node that stops.
    pub fn give_all_back(&mut self) {
        let ids: Vec<(AccountId, BudgetScope)> = self
            .accounts
            .iter()
            .flat_map(|(id, a)| a.slices.keys().map(|scope| (*id, *scope)))
            .collect();
        for (id, scope) in ids {
            self.recall(id, scope, Amount::MAX);
        }
    }

    /// What the shell must do now, in order. Empty until the next event.
    pub fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// What a call holds.
    pub fn held_by(&self, id: AccountId, call: CallId) -> Option<&[(BudgetScope, Amount)]> {
        self.accounts
            .get(&id)?
            .holds
            .get(&call)
            .map(|hold| hold.parts.as_slice())
    }

    /// What is leased of a budget, and what of it is held.
    pub fn leased(&self, id: AccountId, scope: BudgetScope) -> (Amount, Amount) {
        let slice = self.accounts.get(&id).and_then(|a| a.slices.get(&scope));
        slice.map_or((Amount::ZERO, Amount::ZERO), |s| (s.leased(), s.held()))
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

    /// The first invariant that does not hold, in words: each lease covers its holds, and what is
    /// held is the sum of the open holds.
    pub fn broken_invariant(&self) -> Option<String> {
        self.accounts.iter().find_map(|(id, account)| {
            account.slices.iter().find_map(|(scope, slice)| {
                let parts = account.holds.values().flat_map(|h| &h.parts);
                let sum = parts
                    .filter(|(s, _)| s == scope)
                    .fold(Amount::ZERO, |sum, (_, amount)| sum.plus(*amount));
                (slice.held() != sum || slice.leased() < slice.held())
                    .then(|| format!("{id} {scope}: {slice:?} but open holds sum to {sum}"))
            })
        })
    }

    /// Decides for waiting calls what can be decided now, the longest waiting first.
    fn serve(&mut self, id: AccountId, now: OffsetDateTime) {
        let Some(account) = self.accounts.get_mut(&id) else {
            return;
        };
        for ask in std::mem::take(&mut account.waiting) {
            let decision = if account.try_hold(&ask, now, self.policy) {
                Decision::Held
            } else if let Err(refusal) = account.prospect(&ask, now) {
                Decision::Refused(refusal)
            } else {
                account.order_leases(id, &ask, now, self.policy, &mut self.orders);
                account.waiting.push_back(ask);
                continue;
            };
            self.orders.push(Order::Decided {
                call: ask.call,
                decision,
            });
        }
    }

    fn refuse_late(&mut self, id: AccountId, now: OffsetDateTime) {
        let Some(account) = self.accounts.get_mut(&id) else {
            return;
        };
        for ask in std::mem::take(&mut account.waiting) {
            // The store's word is waited for in any case: it comes soon, or the asking fails.
            if ask.wait_until > now || account.awaits_store(&ask) {
                account.waiting.push_back(ask);
                continue;
            }
            let refusal = match account.prospect(&ask, now) {
                Ok(short) => short.refusal(RefusalCause::Busy),
                Err(refusal) => refusal,
            };
            let decision = Decision::Refused(refusal);
            self.orders.push(Order::Decided {
                call: ask.call,
                decision,
            });
        }
    }
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
