//! What calls ask of the book, what they are told, and what the shell must do.

use crate::budget::{Amount, BudgetScope};
use crate::id::{AccountId, CallId};
use crate::lease::LeaseSeq;
use crate::steady::Steady;

/// What a call wants to hold, on all its budgets at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldAsk {
    /// Whose budgets.
    pub account: AccountId,
    /// For which call. A second ask for a call that already holds extends its hold.
    pub call: CallId,
    /// How much of each budget; zero amounts are left out.
    pub demands: Vec<(BudgetScope, Amount)>,
    /// Until when it may wait for funds that other calls hold, or other nodes. An answer of the
    /// store that was asked for is waited for beyond it.
    pub wait_until: Steady,
}

impl HoldAsk {
    /// How much of a budget it wants, all demands of it together.
    pub(super) fn needs(&self, scope: BudgetScope) -> Amount {
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
    /// What is left of it, what other calls and nodes hold included.
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
    /// The store could not be asked, or has not confirmed this node's leases for too long.
    Unavailable,
}

/// What the shell must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Ask the store for a lease, and answer with [`LeaseBook::granted`] or
    /// [`LeaseBook::unanswered`].
    ///
    /// [`LeaseBook::granted`]: super::LeaseBook::granted
    /// [`LeaseBook::unanswered`]: super::LeaseBook::unanswered
    Lease {
        /// Whose budget.
        account: AccountId,
        /// Which budget.
        scope: BudgetScope,
        /// The number of the ask.
        seq: LeaseSeq,
        /// What calls lack now.
        needed: Amount,
        /// What is wanted, need included.
        wanted: Amount,
        /// Whether a call that is under way needs it.
        under_way: bool,
    },
    /// Give a part of a lease back to the store, and answer with [`LeaseBook::returned`] or
    /// [`LeaseBook::unanswered`]. The book has already forgotten it.
    ///
    /// [`LeaseBook::returned`]: super::LeaseBook::returned
    /// [`LeaseBook::unanswered`]: super::LeaseBook::unanswered
    GiveBack {
        /// Whose budget.
        account: AccountId,
        /// Which budget.
        scope: BudgetScope,
        /// The number of the return.
        seq: LeaseSeq,
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
