//! How a book takes leases and how patient it is.

use time::Duration;

use crate::budget::{Amount, BudgetScope};

/// How a book takes leases and how patient it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasePolicy {
    /// How much is asked for beyond need.
    pub sizing: Sizing,
    /// How long the store's word that a budget is empty is believed, where no other node has any
    /// of it. News of the account ends it.
    pub dry_for: Duration,
    /// How soon the store is asked again for what other nodes have on lease.
    pub recheck_after: Duration,
    /// How soon an ask or return that was not answered is repeated; doubled each time, up to 32
    /// times of it: so a store that is back is found out in seconds.
    pub repeat_after: Duration,
    /// How many calls of one account may wait at a time.
    pub max_waiting: usize,
    /// After how long without a call an account's leases are given back and forgotten.
    pub idle_after: Duration,
    /// How long a hold lasts when nobody settles or releases it.
    pub hold_for: Duration,
    /// What is admitted while the node is cut off from the store; `None` never looks, which is
    /// right where no other node can take this one for dead.
    pub staleness: Option<Staleness>,
}

/// How much is asked for beyond need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizing {
    /// Everything there is: for a node that is alone.
    All,
    /// What the account is likely to use until then, seen from what it used in as long a time.
    Demand {
        /// How far ahead.
        horizon: Duration,
    },
}

/// What is admitted on leases and knowledge that the store has not confirmed for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Staleness {
    /// How long a confirmation holds. Less than the silence after which a node is taken for dead.
    pub fresh_for: Duration,
    /// For wallets.
    pub wallet: StaleRule,
    /// For the limits of keys and members.
    pub limits: StaleRule,
    /// For plan quotas.
    pub quotas: StaleRule,
}

impl Staleness {
    pub(super) const fn rule(&self, scope: BudgetScope) -> StaleRule {
        match scope {
            BudgetScope::Wallet => self.wallet,
            BudgetScope::KeyLimit { .. } | BudgetScope::MemberLimit { .. } => self.limits,
            BudgetScope::Quota { .. } | BudgetScope::CallLimit { .. } => self.quotas,
            // Never held: what only counts stops nobody.
            BudgetScope::Tier { .. }
            | BudgetScope::TierCharge { .. }
            | BudgetScope::TierOverrun { .. } => StaleRule::Refuse,
        }
    }
}

/// What is admitted of one budget without a fresh confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleRule {
    /// Nothing.
    Refuse,
    /// Up to so much under hold at a time, within the lease. If the node was taken for dead
    /// meanwhile, what others spent of it since is the house's risk.
    UpTo(Amount),
}

impl Default for LeasePolicy {
    fn default() -> Self {
        Self {
            sizing: Sizing::All,
            dry_for: Duration::seconds(1),
            recheck_after: Duration::milliseconds(50),
            repeat_after: Duration::milliseconds(100),
            max_waiting: 4096,
            idle_after: Duration::minutes(10),
            hold_for: Duration::hours(2),
            staleness: None,
        }
    }
}
