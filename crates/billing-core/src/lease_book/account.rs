//! The leases, holds and waiting calls of one account.

use std::collections::{BTreeMap, VecDeque};

use time::OffsetDateTime;

use super::slice::{Shortfall, Slice};
use super::{HoldAsk, LeasePolicy, Order, Refusal, RefusalCause};
use crate::budget::{Amount, BudgetScope};
use crate::id::{AccountId, CallId};

#[derive(Debug)]
pub(super) struct Account {
    pub(super) slices: BTreeMap<BudgetScope, Slice>,
    pub(super) holds: BTreeMap<CallId, Hold>,
    pub(super) waiting: VecDeque<HoldAsk>,
    pub(super) used_at: OffsetDateTime,
}

#[derive(Debug)]
pub(super) struct Hold {
    pub(super) parts: Vec<(BudgetScope, Amount)>,
    pub(super) expires_at: OffsetDateTime,
}

impl Account {
    pub(super) const fn new(now: OffsetDateTime) -> Self {
        Self {
            slices: BTreeMap::new(),
            holds: BTreeMap::new(),
            waiting: VecDeque::new(),
            used_at: now,
        }
    }

    pub(super) fn is_still(&self) -> bool {
        self.holds.is_empty()
            && self.waiting.is_empty()
            && self.slices.values().all(|slice| !slice.is_asked())
    }

    /// Whether a call waits because this budget has too little free.
    pub(super) fn lacks(&self, ask: &HoldAsk, scope: BudgetScope) -> bool {
        let free = self.slices.get(&scope).map_or(Amount::ZERO, Slice::free);
        free < ask.needs(scope)
    }

    /// Whether the store is being asked for a budget that a call lacks.
    pub(super) fn awaits_store(&self, ask: &HoldAsk) -> bool {
        ask.demands.iter().any(|(scope, _)| {
            let slice = self.slices.get(scope).copied().unwrap_or_default();
            slice.is_asked() && self.lacks(ask, *scope)
        })
    }

    /// Takes everything asked for from the leases, or nothing.
    pub(super) fn try_hold(
        &mut self,
        ask: &HoldAsk,
        now: OffsetDateTime,
        policy: LeasePolicy,
    ) -> bool {
        let fits = |(scope, _): &(BudgetScope, Amount)| {
            self.slices
                .get(scope)
                .is_some_and(|slice| slice.free() >= ask.needs(*scope))
        };
        if !ask.demands.iter().all(fits) {
            return false;
        }
        for (scope, amount) in &ask.demands {
            if let Some(slice) = self.slices.get_mut(scope) {
                slice.hold(*amount);
            }
        }
        let expires_at = now.saturating_add(policy.hold_for);
        let hold = self.holds.entry(ask.call).or_insert_with(|| Hold {
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

    /// What keeps a call from being held: refused for good, or short of something that may come.
    pub(super) fn prospect(
        &self,
        ask: &HoldAsk,
        now: OffsetDateTime,
    ) -> Result<Shortfall, Refusal> {
        let mut first = None;
        for (scope, _) in &ask.demands {
            let slice = self.slices.get(scope).copied().unwrap_or_default();
            let own = self.held_by(ask.call, *scope);
            let Some(short) = slice.shortfall(*scope, ask.needs(*scope), own, now) else {
                continue;
            };
            if short.is_final() {
                return Err(short.refusal(RefusalCause::Insufficient));
            }
            first.get_or_insert(short);
        }
        // Nothing is short only when the call fits, and then it has been held already.
        Ok(first.unwrap_or_else(|| Shortfall::none(BudgetScope::Wallet)))
    }

    pub(super) fn order_leases(
        &mut self,
        id: AccountId,
        ask: &HoldAsk,
        now: OffsetDateTime,
        policy: LeasePolicy,
        orders: &mut Vec<Order>,
    ) {
        for (scope, _) in &ask.demands {
            let slice = self.slices.entry(*scope).or_default();
            if let Some((at_least, at_most)) = slice.wish(ask.needs(*scope), policy.slice, now) {
                orders.push(Order::Lease {
                    account: id,
                    scope: *scope,
                    at_least,
                    at_most,
                });
            }
        }
    }

    pub(super) fn refusal(
        &self,
        ask: &HoldAsk,
        scope: BudgetScope,
        cause: RefusalCause,
    ) -> Refusal {
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

    /// The calls whose hold nobody ended in time.
    pub(super) fn lapsed(&self, now: OffsetDateTime) -> Vec<CallId> {
        let late = self.holds.iter().filter(|(_, hold)| hold.expires_at <= now);
        late.map(|(call, _)| *call).collect()
    }

    pub(super) fn end_hold(&mut self, call: CallId) {
        let Some(hold) = self.holds.remove(&call) else {
            return;
        };
        for (scope, amount) in hold.parts {
            if let Some(slice) = self.slices.get_mut(&scope) {
                slice.free_up(amount);
            }
        }
    }
}
