//! What nodes and the store say to each other.

use std::rc::Rc;

use billing_core::call::Settlement;
use billing_core::id::{AccountId, NodeId};
use billing_core::lease::{LeaseAsk, LeaseGrant, LeaseReturn, Recall};
use billing_core::node::Pulse;
use billing_core::settlement::SettledCall;
use billing_core::steady::Steady;

use super::setup::Micros;

/// A message of a node to the store.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: u64,
    /// Which node, and which life of its process.
    pub(crate) who: usize,
    pub(crate) life: u32,
    /// Under which id it spoke.
    pub(crate) node: NodeId,
    /// When, by the node's steady clock.
    pub(crate) sent: Steady,
    pub(crate) body: Body,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Lease(LeaseAsk),
    GiveBack(LeaseReturn),
    Settle {
        handed: Rc<Handed>,
        replay: bool,
    },
    Recalls,
    /// A sign of life, with what the node's wall clock shows and the news it has heard.
    Beat {
        clock: Micros,
        news: u64,
    },
    /// A node makes itself known. The life of its process before this one has ended, and what it
    /// had left to settle is settled.
    Join {
        ended: Option<NodeId>,
    },
    /// Nothing more will be settled under an id.
    Leave(NodeId),
    /// Calls that began under an id are still under way.
    StillSettles(NodeId),
    Fence {
        peer: NodeId,
        pulse: Pulse,
    },
    Reclaim {
        peer: NodeId,
        account: AccountId,
    },
}

impl Body {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Lease(_) => "lease",
            Self::GiveBack(_) => "give back",
            Self::Settle { .. } => "settle",
            Self::Recalls => "recalls",
            Self::Beat { .. } => "beat",
            Self::Join { .. } => "join",
            Self::Leave(_) => "leave",
            Self::StillSettles(_) => "still settles",
            Self::Fence { .. } => "fence",
            Self::Reclaim { .. } => "reclaim",
        }
    }
}

/// A settlement as it is handed in, and what only the simulation knows of it.
#[derive(Debug, Clone)]
pub(crate) struct Handed {
    pub(crate) settlement: Settlement,
    pub(crate) who: usize,
    pub(crate) life: u32,
    /// What the call should cost, tiers apart.
    pub(crate) price: u64,
    /// What it was promised to be covered for.
    pub(crate) covered: u64,
    /// How many tokens it used, and whether they are no more than it asked for.
    pub(crate) tokens: u64,
    pub(crate) fits: bool,
    /// How many it asked for.
    pub(crate) granted: u64,
}

/// An answer of the store.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// What was granted, and when.
    Granted(LeaseGrant, Micros),
    Returned,
    Settled(SettledCall),
    Recalls(Vec<Recall>),
    Alive {
        peers: Vec<Peer>,
        news: u64,
        changed: Vec<AccountId>,
    },
    Done,
    Fenced,
    Unavailable,
}

/// What a node is told of another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) pulse: Pulse,
    /// By the peer's own wall clock, when it was last heard of.
    pub(crate) clock: Micros,
    pub(crate) fenced: bool,
    /// The first account of which it still has a lease.
    pub(crate) leases: Option<AccountId>,
}
