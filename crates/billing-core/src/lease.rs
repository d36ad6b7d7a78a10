//! Leases: the slices of budgets that nodes spend by themselves.
//!
//! The store keeps one [`Lease`] a node and budget. It grows by [`grant`], shrinks by settlements
//! and by [`take_back`]. Each ask and return carries a number of its node that only goes up, and a
//! node sends the next one of a budget only after the last was answered; so the store can tell a
//! repetition, answers it as before, and changes nothing.
//!
//! A node that is still short while others hold leases leaves a [`Claim`]. Who holds what it does
//! not need is told of it ([`recalled`]) and gives that back. Claims are served by age, so that two
//! nodes that each have half of what they need do not wait for each other for ever.

use time::{Duration, OffsetDateTime};

use crate::budget::{Amount, BudgetScope};
use crate::id::{AccountId, NodeId};

/// For how long a claim stands after it was last renewed. Who still waits renews it many times
/// meanwhile; who died or no longer waits does not, and keeps others from what they need for no
/// longer than this.
pub const CLAIM_FOR: Duration = Duration::milliseconds(500);

/// For how long the house's own claim stands: until somebody asks again for what it is for.
pub const HOUSE_CLAIM_FOR: Duration = Duration::seconds(2);

/// How much longer than it has a call that is under way is taken to have waited: it holds what
/// others wait for, so it goes before those that have not begun.
const SENIORITY: Duration = Duration::days(1);

/// The name under which the house itself claims what nodes have on lease.
pub const HOUSE: NodeId = NodeId::new(0);

/// The number of an ask or a return: of one node, later is larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LeaseSeq(u64);

impl LeaseSeq {
    /// The number that a stored value means.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The one after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A node's wish for a slice of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseAsk {
    /// Who wants it.
    pub node: NodeId,
    /// Whose budget.
    pub account: AccountId,
    /// Which budget.
    pub scope: BudgetScope,
    /// The number of this wish. Repeated with the same number until it is answered.
    pub seq: LeaseSeq,
    /// What its calls lack now. A part of it helps too.
    pub needed: Amount,
    /// What it would like to have, need included; [`Amount::MAX`] is everything.
    pub wanted: Amount,
    /// Whether a call that is under way needs it, and not only calls that have not begun.
    pub under_way: bool,
}

/// The answer to a [`LeaseAsk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeaseGrant {
    /// What was reserved.
    pub granted: Amount,
    /// What is still available to this node after it.
    pub available: Amount,
    /// What other nodes have on lease, or have an older claim to. It may come free.
    pub elsewhere: Amount,
}

/// A part of a lease that a node does not need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseReturn {
    /// Who had it.
    pub node: NodeId,
    /// Whose budget.
    pub account: AccountId,
    /// Which budget.
    pub scope: BudgetScope,
    /// The number of this return.
    pub seq: LeaseSeq,
    /// How much is given back.
    pub amount: Amount,
}

/// What others have more need of than the node that has it on lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recall {
    /// Whose budget.
    pub account: AccountId,
    /// Which budget.
    pub scope: BudgetScope,
    /// How much is wanted, at most the lease.
    pub wanted: Amount,
}

/// One node's lease of one budget, as the store keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Who has it.
    pub node: NodeId,
    /// What is left of it: granted, less what was settled or given back.
    pub amount: Amount,
    /// The last ask or return that was heard.
    pub seq: LeaseSeq,
    /// What that granted.
    pub granted: Amount,
}

/// What a node lacks of a budget while others have it on lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Who lacks it.
    pub node: NodeId,
    /// Since when: older claims go first.
    pub since: OffsetDateTime,
    /// How much.
    pub wanted: Amount,
    /// From when on it no longer counts.
    pub expires_at: OffsetDateTime,
}

impl Claim {
    fn is_older_than(&self, other: &Self) -> bool {
        (self.since, self.node) < (other.since, other.node)
    }
}

/// One budget as the store has it, locked by whoever loaded it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeasedBudget {
    /// Whether the account was stopped: nothing more of it may be spent.
    pub stopped: bool,
    /// What is neither used nor on lease.
    pub available: Amount,
    /// What rolls over into it as soon as nodes give it back.
    pub coming: Amount,
    /// The leases of all nodes.
    pub leases: Vec<Lease>,
    /// The claims of all nodes.
    pub claims: Vec<Claim>,
}

/// What [`grant`] decided: the answer, and what the store writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granting {
    /// What the node is told.
    pub answer: LeaseGrant,
    /// The node's lease after it; `None` when nothing is to be written.
    pub lease: Option<Lease>,
    /// What becomes of the node's claim.
    pub claim: ClaimChange,
}

/// What becomes of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimChange {
    /// It stays as it is.
    Keep,
    /// It is written.
    Put(Claim),
    /// It is deleted.
    Drop,
}

/// Grants a slice of a budget.
///
/// What is needed is granted as far as it is available and nobody has an older claim to it. Beyond
/// need, at most half of what is available is granted: so the last of a budget is split ever finer,
/// and nodes that come later find something. A node that wants everything gets everything.
///
/// Of a stopped account nothing is granted, and nobody's claim is noted. What was granted before it
/// was stopped is said again to a node that did not hear it.
pub fn grant(budget: &LeasedBudget, ask: &LeaseAsk, now: OffsetDateTime) -> Granting {
    let own = budget.leases.iter().find(|lease| lease.node == ask.node);
    let others = budget.leases.iter().filter(|lease| lease.node != ask.node);
    let leased = others.fold(Amount::ZERO, |sum, lease| sum.plus(lease.amount));
    let claim = budget.claims.iter().find(|claim| claim.node == ask.node);
    let live = claim.filter(|claim| claim.expires_at > now);
    let available = if budget.stopped {
        Amount::ZERO
    } else {
        budget.available
    };
    let promised = ahead(&budget.claims, ask.node, live, now).min(available);
    let free = available.less(promised);
    let elsewhere = leased.plus(promised).plus(budget.coming);
    if let Some(own) = own.filter(|own| ask.seq <= own.seq) {
        return said_again(own, ask, (free, elsewhere));
    }
    let before = own.map_or(Amount::ZERO, |own| own.amount);
    let written = |granted| Lease {
        node: ask.node,
        amount: before.plus(granted),
        seq: ask.seq,
        granted,
    };
    if budget.stopped {
        return Granting {
            answer: LeaseGrant::default(),
            lease: Some(written(Amount::ZERO)),
            claim: ClaimChange::Keep,
        };
    }
    let fair = if ask.wanted == Amount::MAX {
        free
    } else {
        free.half()
    };
    let granted = free.min(ask.needed.max(ask.wanted.min(fair)));
    let missing = ask.needed.less(granted);
    let claim = if missing.is_zero() || elsewhere.is_zero() {
        claim.map_or(ClaimChange::Keep, |_| ClaimChange::Drop)
    } else {
        ClaimChange::Put(Claim {
            node: ask.node,
            since: since(live, ask, now),
            wanted: missing,
            expires_at: now.saturating_add(CLAIM_FOR),
        })
    };
    Granting {
        answer: LeaseGrant {
            granted,
            available: free.less(granted),
            elsewhere,
        },
        lease: Some(written(granted)),
        claim,
    }
}

/// The answer to an ask that was heard before: what it was granted then, if it was the last one.
fn said_again(own: &Lease, ask: &LeaseAsk, (available, elsewhere): (Amount, Amount)) -> Granting {
    let granted = if ask.seq == own.seq {
        own.granted
    } else {
        Amount::ZERO
    };
    Granting {
        answer: LeaseGrant {
            granted,
            available,
            elsewhere,
        },
        lease: None,
        claim: ClaimChange::Keep,
    }
}

/// Since when a node claims: as long as its claim stands, unless it is no longer, or only now, for a
/// call that is under way.
fn since(live: Option<&Claim>, ask: &LeaseAsk, now: OffsetDateTime) -> OffsetDateTime {
    let senior = now.saturating_sub(SENIORITY);
    let is_senior = |claim: &&Claim| claim.since <= senior;
    match live.filter(|claim| is_senior(claim) == ask.under_way) {
        Some(claim) => claim.since,
        None if ask.under_way => senior,
        None => now,
    }
}

/// Takes a part of a lease back: the lease after it and what came free, at most what it held.
/// `None` when this return, or a later message, was heard before.
pub fn take_back(lease: &Lease, back: &LeaseReturn) -> Option<(Lease, Amount)> {
    if back.seq <= lease.seq {
        return None;
    }
    let freed = back.amount.min(lease.amount);
    let after = Lease {
        node: lease.node,
        amount: lease.amount.less(freed),
        seq: back.seq,
        granted: Amount::ZERO,
    };
    Some((after, freed))
}

/// How much of a lease others have an older claim to. A node that claims itself is only recalled
/// for those who were there before it.
pub fn recalled(lease: &Lease, claims: &[Claim], now: OffsetDateTime) -> Amount {
    let own = claims
        .iter()
        .find(|claim| claim.node == lease.node && claim.expires_at > now);
    ahead(claims, lease.node, own, now).min(lease.amount)
}

/// The live claims that go before those of a node, together.
fn ahead(claims: &[Claim], node: NodeId, own: Option<&Claim>, now: OffsetDateTime) -> Amount {
    claims
        .iter()
        .filter(|claim| claim.node != node && claim.expires_at > now)
        .filter(|claim| own.is_none_or(|own| claim.is_older_than(own)))
        .fold(Amount::ZERO, |sum, claim| sum.plus(claim.wanted))
}
