//! The leases, holds and waiting calls of one account.

use std::collections::{BTreeMap, VecDeque};

use super::decision::{Decision, HoldAsk, Order, Refusal, RefusalCause};
use super::policy::{LeasePolicy, StaleRule};
use super::slice::{Shortfall, Slice};
use crate::budget::{Amount, BudgetScope};
use crate::id::{AccountId, CallId, NodeId};
use crate::lease::LeaseSeq;
use crate::steady::Steady;

/// What a decision is made with, beside the account.
pub(super) struct Desk<'a> {
    pub(super) now: Steady,
    /// The id under which the node takes leases.
    pub(super) node: NodeId,
    pub(super) policy: LeasePolicy,
    /// The number of the last ask or return of the book.
    pub(super) seq: &'a mut LeaseSeq,
    /// Until when the store's confirmation of this node holds.
    pub(super) fresh_until: Option<Steady>,
    pub(super) orders: &'a mut Vec<Order>,
}

impl Desk<'_> {
    fn is_stale(&self) -> bool {
        self.policy.staleness.is_some() && self.fresh_until.is_none_or(|until| until <= self.now)
    }
}

#[derive(Debug)]
pub(super) struct Account {
    id: AccountId,
    pub(super) slices: BTreeMap<BudgetScope, Slice>,
    pub(super) holds: BTreeMap<CallId, Hold>,
    pub(super) waiting: VecDeque<HoldAsk>,
    pub(super) used_at: Steady,
    /// When the book looks at it next without being asked.
    pub(super) due: Option<Steady>,
}

#[derive(Debug)]
pub(super) struct Hold {
    /// The id under which the node has the leases that cover it.
    pub(super) node: NodeId,
    pub(super) parts: Vec<(BudgetScope, Amount)>,
    pub(super) expires_at: Steady,
}

impl Account {
    pub(super) const fn new(id: AccountId, now: Steady) -> Self {
        Self {
            id,
            slices: BTreeMap::new(),
            holds: BTreeMap::new(),
            waiting: VecDeque::new(),
            used_at: now,
            due: None,
        }
    }

    /// Whether nothing of it is under way.
    pub(super) fn is_still(&self) -> bool {
        self.holds.is_empty()
            && self.waiting.is_empty()
            && self.slices.values().all(|slice| !slice.is_asked())
    }

    /// The store has back what this node had of a window. It may roll over into another window of the
    /// quota, so that what the store said of those no longer holds.
    pub(super) fn may_roll_over(&mut self, returned: BudgetScope) {
        let BudgetScope::Quota { quota, .. } = returned else {
            return;
        };
        let windows = self.slices.iter_mut().filter(|(scope, _)| {
            **scope != returned
                && matches!(scope, BudgetScope::Quota { quota: of, .. } if *of == quota)
        });
        for (_, slice) in windows {
            slice.doubt();
        }
    }

    /// Whether a call waits because this budget has too little free.
    pub(super) fn lacks(&self, ask: &HoldAsk, scope: BudgetScope) -> bool {
        let free = self.slices.get(&scope).map_or(Amount::ZERO, Slice::free);
        free < ask.needs(scope)
    }

    /// Whether the store is being asked for a budget that a call lacks.
    fn awaits_store(&self, ask: &HoldAsk) -> bool {
        ask.demands.iter().any(|(scope, _)| {
            let slice = self.slices.get(scope).copied().unwrap_or_default();
            slice.is_asked() && self.lacks(ask, *scope)
        })
    }

    /// Takes everything asked for from the leases, or nothing.
    pub(super) fn try_hold(&mut self, ask: &HoldAsk, desk: &Desk<'_>) -> bool {
        let fits = |(scope, _): &(BudgetScope, Amount)| {
            self.slices
                .get(scope)
                .is_some_and(|slice| slice.free() >= ask.needs(*scope))
        };
        let may = self.too_stale(ask, desk).is_none() && !self.is_of_earlier_id(ask, desk);
        if !may || !ask.demands.iter().all(fits) {
            return false;
        }
        for (scope, amount) in &ask.demands {
            if let Some(slice) = self.slices.get_mut(scope) {
                slice.hold(*amount);
            }
        }
        let expires_at = desk.now.saturating_add(desk.policy.hold_for);
        let hold = self.holds.entry(ask.call).or_insert_with(|| Hold {
            node: desk.node,
            parts: Vec::new(),
            expires_at,
        });
        for (scope, amount) in &ask.demands {
            match hold.parts.iter_mut().find(|(s, _)| s == scope) {
                Some((_, part)) => *part = part.plus(*amount),
                None => hold.parts.push((*scope, *amount)),
            }
        }
        true
    }

    /// The budget that may not be held on while the store has not confirmed this node for long.
    fn too_stale(&self, ask: &HoldAsk, desk: &Desk<'_>) -> Option<BudgetScope> {
        if !desk.is_stale() {
            return None;
        }
        let staleness = desk.policy.staleness?;
        let mut scopes = ask.demands.iter().map(|(scope, _)| *scope);
        scopes.find(|scope| match staleness.rule(*scope) {
            StaleRule::Refuse => true,
            StaleRule::UpTo(most) => {
                let held = self.slices.get(scope).map_or(Amount::ZERO, Slice::held);
                held.plus(ask.needs(*scope)) > most
            }
        })
    }

    /// Whether a call that asks for more holds leases that the node had before it was fenced: a
    /// settlement draws on the leases of one id, so it can have nothing of those of now.
    fn is_of_earlier_id(&self, ask: &HoldAsk, desk: &Desk<'_>) -> bool {
        let hold = self.holds.get(&ask.call);
        !ask.demands.is_empty() && hold.is_some_and(|hold| hold.node != desk.node)
    }

    /// What keeps a call from being held: refused for good, or short of something that may come.
    pub(super) fn prospect(&self, ask: &HoldAsk, desk: &Desk<'_>) -> Result<Shortfall, Refusal> {
        if let Some(scope) = self.too_stale(ask, desk) {
            return Err(self.refusal(ask, scope, RefusalCause::Unavailable));
        }
        if let (Some((scope, _)), true) = (ask.demands.first(), self.is_of_earlier_id(ask, desk)) {
            return Err(self.refusal(ask, *scope, RefusalCause::Unavailable));
        }
        let mut first = None;
        for (scope, _) in &ask.demands {
            let slice = self.slices.get(scope).copied().unwrap_or_default();
            let own = self.held_by(ask.call, *scope);
            let Some(short) = slice.shortfall(*scope, ask.needs(*scope), own, desk.now) else {
                continue;
            };
            if slice.is_cut_off() {
                return Err(short.refusal(RefusalCause::Unavailable));
            }
            if short.is_final() {
                return Err(short.refusal(RefusalCause::Insufficient));
            }
            first.get_or_insert(short);
        }
        // Nothing is short only when the call fits, and then it has been held already.
        Ok(first.unwrap_or_else(|| Shortfall::none(BudgetScope::Wallet)))
    }

    /// Asks the store for what a call lacks.
    pub(super) fn order_leases(&mut self, ask: &HoldAsk, desk: &mut Desk<'_>) {
        let under_way = self.holds.contains_key(&ask.call);
        for (scope, _) in &ask.demands {
            let slice = self.slices.entry(*scope).or_default();
            let needs = (ask.needs(*scope), under_way);
            let errand = slice.ask(needs, desk.policy, desk.now, desk.seq);
            desk.orders.extend(errand.map(|e| e.order(self.id, *scope)));
        }
    }

    /// Asks the store again for all that waiting calls lack, under another id than before. Calls
    /// that hold something under that one are refused.
    pub(super) fn ask_anew(&mut self, desk: &mut Desk<'_>) {
        for ask in std::mem::take(&mut self.waiting) {
            match self.prospect(&ask, desk) {
                Err(refusal) if self.is_of_earlier_id(&ask, desk) => {
                    let (call, decision) = (ask.call, Decision::Refused(refusal));
                    desk.orders.push(Order::Decided { call, decision });
                }
                Ok(_) | Err(_) => {
                    self.order_leases(&ask, desk);
                    self.waiting.push_back(ask);
                }
            }
        }
    }

    /// Decides for waiting calls what can be decided now, the longest waiting first; then gives
    /// back what others want and no call here can use.
    pub(super) fn serve(&mut self, desk: &mut Desk<'_>) {
        for ask in std::mem::take(&mut self.waiting) {
            let decision = if self.try_hold(&ask, desk) {
                Decision::Held
            } else if let Err(refusal) = self.prospect(&ask, desk) {
                Decision::Refused(refusal)
            } else {
                self.order_leases(&ask, desk);
                self.waiting.push_back(ask);
                continue;
            };
            let call = ask.call;
            desk.orders.push(Order::Decided { call, decision });
        }
        let waits_with = self.waits_with();
        for (scope, slice) in &mut self.slices {
            let kept = waits_with.iter().find(|(s, _)| s == scope);
            let kept = kept.map_or(Amount::ZERO, |(_, amount)| *amount);
            let errand = slice.give_back(kept, desk.now, desk.seq);
            desk.orders.extend(errand.map(|e| e.order(self.id, *scope)));
        }
    }

    /// What the first call in line has of what it needs, in the order of budgets, up to the first
    /// that it lacks. As every node keeps them in this order, no two keep from each other what both
    /// need.
    fn waits_with(&self) -> Vec<(BudgetScope, Amount)> {
        let Some(ask) = self.waiting.front() else {
            return Vec::new();
        };
        let mut scopes: Vec<BudgetScope> = ask.demands.iter().map(|(scope, _)| *scope).collect();
        scopes.sort_unstable();
        let had = scopes.into_iter().take_while(|s| !self.lacks(ask, *s));
        had.map(|scope| (scope, ask.needs(scope))).collect()
    }

    /// Refuses the calls that waited long enough. The store's word is waited for in any case: it
    /// comes soon, or the asking fails.
    pub(super) fn refuse_late(&mut self, desk: &mut Desk<'_>) {
        for ask in std::mem::take(&mut self.waiting) {
            if ask.wait_until > desk.now || self.awaits_store(&ask) {
                self.waiting.push_back(ask);
                continue;
            }
            let refusal = match self.prospect(&ask, desk) {
                Ok(short) => short.refusal(RefusalCause::Busy),
                Err(refusal) => refusal,
            };
            let decision = Decision::Refused(refusal);
            let call = ask.call;
            desk.orders.push(Order::Decided { call, decision });
        }
    }

    /// Refuses the calls that lack a budget of which the store does not answer.
    pub(super) fn refuse_unanswered(&mut self, scope: BudgetScope, desk: &mut Desk<'_>) {
        for ask in std::mem::take(&mut self.waiting) {
            if !self.lacks(&ask, scope) {
                self.waiting.push_back(ask);
                continue;
            }
            let refusal = self.refusal(&ask, scope, RefusalCause::Unavailable);
            let decision = Decision::Refused(refusal);
            let call = ask.call;
            desk.orders.push(Order::Decided { call, decision });
        }
    }

    fn refusal(&self, ask: &HoldAsk, scope: BudgetScope, cause: RefusalCause) -> Refusal {
        let left = self.slices.get(&scope).map_or(Amount::ZERO, Slice::leased);
        Refusal {
            scope,
            needed: ask.needs(scope),
            left,
            cause,
        }
    }

    fn held_by(&self, call: CallId, scope: BudgetScope) -> Amount {
        let parts = self.holds.get(&call).map(|hold| hold.parts.as_slice());
        let part = parts.unwrap_or_default().iter().find(|(s, _)| *s == scope);
        part.map_or(Amount::ZERO, |(_, amount)| *amount)
    }

    /// Ends the holds that nobody ended in time.
    pub(super) fn end_lapsed(&mut self, node: NodeId, now: Steady) {
        let late = self.holds.iter().filter(|(_, hold)| hold.expires_at <= now);
        let late: Vec<CallId> = late.map(|(call, _)| *call).collect();
        for call in late {
            self.end_hold(call, node);
        }
    }

    /// Leaves a call so much of its hold on each budget that it is paid from. What its quotas give is
    /// no part of that. What is free by it under an earlier id nobody spends.
    pub(super) fn cut_hold(&mut self, call: CallId, most: Amount, node: NodeId) {
        let Some(hold) = self.holds.get_mut(&call) else {
            return;
        };
        let is_own = hold.node == node;
        let pays = |(scope, _): &&mut (BudgetScope, Amount)| scope.is_payer();
        for (scope, amount) in hold.parts.iter_mut().filter(pays) {
            let freed = amount.less(most);
            *amount = amount.less(freed);
            if let Some(slice) = self.slices.get_mut(scope).filter(|_| is_own) {
                slice.free_up(freed);
            }
        }
    }

    /// Ends a call's hold. What it held under this id is free again; of an earlier id there is
    /// nothing left to spend.
    pub(super) fn end_hold(&mut self, call: CallId, node: NodeId) {
        let Some(hold) = self.holds.remove(&call).filter(|h| h.node == node) else {
            return;
        };
        for (scope, amount) in &hold.parts {
            if let Some(slice) = self.slices.get_mut(scope) {
                slice.free_up(*amount);
            }
        }
    }

    /// Repeats what the store has not answered and gives back what others want.
    pub(super) fn resend(&mut self, desk: &mut Desk<'_>) {
        for (scope, slice) in &mut self.slices {
            let errand = slice.repeat(desk.now);
            desk.orders.extend(errand.map(|e| e.order(self.id, *scope)));
        }
    }

    /// When time alone makes a difference next.
    pub(super) fn next_due(&self, policy: LeasePolicy, now: Steady) -> Steady {
        // What is under way is looked at when it ends; an account that is still, when it was idle.
        let from = if self.is_still() { self.used_at } else { now };
        let idle = from.saturating_add(policy.idle_after);
        let lapse = self.holds.values().map(|hold| hold.expires_at);
        let repeat = self.slices.values().filter_map(Slice::repeat_due);
        let soonest = lapse.chain(repeat).chain(self.waiting_due()).min();
        soonest.map_or(idle, |soonest| soonest.min(idle))
    }

    /// When time alone makes a difference to the calls that wait.
    fn waiting_due(&self) -> Option<Steady> {
        let late = self.waiting.iter().map(|ask| ask.wait_until).min()?;
        let words = self.slices.values().filter_map(Slice::due);
        Some(words.fold(late, Steady::min))
    }

    /// The same, when one call was the last to wait.
    pub(super) fn due_for(&self, wait_until: Steady) -> Steady {
        let words = self.slices.values().filter_map(Slice::due);
        words.fold(wait_until, Steady::min)
    }
}
