//! One lease of one budget: what is leased, what of it is held, and what the store last said.

use time::OffsetDateTime;

use super::{Refusal, RefusalCause};
use crate::budget::{Amount, BudgetScope};
use crate::port::books::LeaseGrant;

/// A node's share of one budget.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slice {
    /// Reserved for this node in the store and not charged yet.
    leased: Amount,
    /// The part of `leased` that is under open holds.
    held: Amount,
    /// A request to the store is under way.
    asked: bool,
    /// What the store said was still available, and until when that is believed.
    answer: Option<(Amount, OffsetDateTime)>,
}

impl Slice {
    pub(super) const fn leased(&self) -> Amount {
        self.leased
    }

    pub(super) const fn held(&self) -> Amount {
        self.held
    }

    pub(super) const fn is_asked(&self) -> bool {
        self.asked
    }

    pub(super) const fn free(&self) -> Amount {
        self.leased.less(self.held)
    }

    pub(super) const fn hold(&mut self, amount: Amount) {
        self.held = self.held.plus(amount);
    }

    pub(super) const fn free_up(&mut self, amount: Amount) {
        self.held = self.held.less(amount);
    }

    /// A part of the lease was charged. What is held is covered first.
    pub(super) fn spend(&mut self, amount: Amount) {
        self.leased = self.leased.less(amount).max(self.held);
    }

    pub(super) const fn grant(&mut self, grant: LeaseGrant, believed_until: OffsetDateTime) {
        self.leased = self.leased.plus(grant.granted);
        self.asked = false;
        self.answer = Some((grant.available, believed_until));
    }

    pub(super) const fn forget_answer(&mut self) {
        self.asked = false;
        self.answer = None;
    }

    /// The store may have more than it said.
    pub(super) const fn doubt(&mut self) {
        self.answer = None;
    }

    pub(super) fn give_back(&mut self, wanted: Amount) -> Amount {
        let amount = self.free().min(wanted);
        self.leased = self.leased.less(amount);
        if !amount.is_zero() {
            // The store has more now than it said.
            self.doubt();
        }
        amount
    }

    /// What the store is known to have, while its word is believed.
    fn known_available(&self, now: OffsetDateTime) -> Option<Amount> {
        self.answer
            .filter(|(_, until)| now < *until)
            .map(|(available, _)| available)
    }

    /// What is missing for a demand of a call that holds `own` already; `None` when it fits.
    pub(super) fn shortfall(
        &self,
        scope: BudgetScope,
        needed: Amount,
        own: Amount,
        now: OffsetDateTime,
    ) -> Option<Shortfall> {
        if self.free() >= needed {
            return None;
        }
        let known = self.known_available(now);
        let missing = needed.less(self.free());
        let store_may_help = self.asked || known.is_none_or(|available| available >= missing);
        // What the call itself holds does not come free while it goes on.
        let left = self.leased.less(own).plus(known.unwrap_or_default());
        Some(Shortfall {
            scope,
            needed,
            left,
            store_may_help,
        })
    }

    /// What to ask the store for so that a demand fits; `None` when asking is of no use now.
    pub(super) fn wish(
        &mut self,
        needed: Amount,
        slice: Amount,
        now: OffsetDateTime,
    ) -> Option<(Amount, Amount)> {
        let missing = needed.less(self.free());
        let known = self.known_available(now);
        let hopeless = known.is_some_and(|available| available < missing);
        if missing.is_zero() || self.asked || hopeless {
            return None;
        }
        self.asked = true;
        // Whatever there is helps: the rest may come free from holds that turn out too large.
        Some((Amount::new(1), missing.max(slice)))
    }
}

/// What keeps a demand from being held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shortfall {
    scope: BudgetScope,
    needed: Amount,
    left: Amount,
    /// Whether the store has more, or may have.
    pub(super) store_may_help: bool,
}

impl Shortfall {
    pub(super) const fn none(scope: BudgetScope) -> Self {
        let nothing = Amount::ZERO;
        Self {
            scope,
            needed: nothing,
            left: nothing,
            store_may_help: true,
        }
    }

    /// Whether neither the store nor the end of other calls can bring what is needed.
    pub(super) fn is_final(&self) -> bool {
        !self.store_may_help && self.left < self.needed
    }

    pub(super) const fn refusal(&self, cause: RefusalCause) -> Refusal {
        Refusal {
            scope: self.scope,
            needed: self.needed,
            left: self.left,
            cause,
        }
    }
}
