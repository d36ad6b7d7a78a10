//! The nodes: who shares the store, who of them is dead, and what the dead leave behind.

use std::error::Error;
use std::fmt::Debug;

use async_trait::async_trait;
use thiserror::Error as ThisError;
use time::{Duration, OffsetDateTime};

use crate::id::NodeId;
use crate::node::{IdNumber, NodeRecord, Pulse};

/// The record of nodes.
///
/// Who is dead is decided by [`crate::node_watch`], never here and never by comparing clocks. A
/// store with a clock of its own dates everything by it; `now` is for one that has none.
#[async_trait]
pub trait Nodes: Send + Sync + Debug {
    /// What time it is by the store's clock, where that is another than the node's.
    ///
    /// # Errors
    /// [`NodesError::Unavailable`].
    async fn store_time(&self) -> Result<Option<OffsetDateTime>, NodesError>;

    /// Makes a node known under its name and gives it a number for its ids. The node that
    /// `replaces` names is fenced in the same step; one of which it says that it has ended has left,
    /// also if it was fenced before. May be repeated until it answers.
    ///
    /// # Errors
    /// [`NodesError::NameTaken`] when a living node other than the replaced one has the name;
    /// [`NodesError::IdUsed`], [`NodesError::Full`], [`NodesError::Unavailable`].
    async fn join(&self, join: NodeJoin) -> Result<IdNumber, NodesError>;

    /// Says that the node is alive, and tells who else is.
    ///
    /// # Errors
    /// [`NodesError::Unavailable`].
    async fn beat(&self, node: NodeId, now: OffsetDateTime) -> Result<Beat, NodesError>;

    /// Takes a node for dead if its pulse is this one still. What it had on lease stays reserved
    /// for what it may still have to settle, until it has left. Says whether it is fenced.
    ///
    /// # Errors
    /// [`NodesError::Unavailable`].
    async fn fence(
        &self,
        node: NodeId,
        seen: Pulse,
        now: OffsetDateTime,
    ) -> Result<bool, NodesError>;

    /// Says that nothing more will be settled under a node's id: it stops, or it was fenced and all
    /// its calls are settled. Its name is free, and so are its leases as soon as they are reclaimed.
    ///
    /// # Errors
    /// [`NodesError::Unavailable`].
    async fn leave(&self, node: NodeId, now: OffsetDateTime) -> Result<(), NodesError>;

    /// Says that calls which began under the id of a node that was fenced are still under way: it is
    /// waited for anew. Of one that has left it changes nothing.
    ///
    /// # Errors
    /// [`NodesError::Unavailable`].
    async fn still_settles(&self, node: NodeId, now: OffsetDateTime) -> Result<(), NodesError>;

    /// Gives up the nodes that were taken for dead so long ago, have not said since that they still
    /// settle, and are not known to have left: from now on they have. Says how many.
    ///
    /// # Errors
    /// [`NodesError::Unavailable`].
    async fn give_up(&self, fenced_for: Duration, now: OffsetDateTime) -> Result<u64, NodesError>;

    /// Frees what nodes that have left still have on lease, and those of which nothing is on
    /// record, in at most so many accounts, in order of account. To be called again and again, by
    /// any number of nodes.
    ///
    /// # Errors
    /// [`NodesError::Unavailable`].
    async fn reclaim(&self, most_accounts: u32) -> Result<Reclaimed, NodesError>;

    /// Every node on record, in order of id, those that are gone for less than a day included.
    ///
    /// # Errors
    /// [`NodesError::Unavailable`].
    async fn nodes(&self) -> Result<Vec<NodeRecord>, NodesError>;
}

/// Why the record of nodes did not do what was asked.
#[derive(Debug, ThisError)]
pub enum NodesError {
    /// A living node has the name.
    #[error("another node has the name \"{}\"", .0.name)]
    NameTaken(Box<NodeRecord>),
    /// The id belongs to a node that is gone, or to one of another name: take a new one.
    #[error("the id of this node was used before")]
    IdUsed,
    /// As many nodes are alive as can be.
    #[error(
        "{} nodes are alive, which is as many as can be",
        crate::node::MOST_NODES
    )]
    Full,
    /// The store cannot be reached or did not commit. Repeating is safe.
    #[error("the store is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

/// What a node says of itself when it joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeJoin {
    /// Its id, new at each start.
    pub node: NodeId,
    /// Its name, the same after each restart.
    pub name: String,
    /// Whom of its name it replaces.
    pub replaces: Replaces,
    /// The present instant.
    pub now: OffsetDateTime,
}

/// Whom a node replaces: why the one that had its name must be dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaces {
    /// Nobody.
    Nobody,
    /// A life that has certainly ended, such as the one that had the lock that this one holds.
    Ended(NodeId),
    /// One whose pulse was seen to stand still, if it still does.
    Silent(NodeId, Pulse),
}

impl Replaces {
    /// Whether it allows to fence the living node with this id and pulse.
    pub fn is(self, node: NodeId, pulse: Pulse) -> bool {
        match self {
            Self::Nobody => false,
            Self::Ended(ended) => ended == node,
            Self::Silent(silent, seen) => silent == node && seen == pulse,
        }
    }
}

/// The answer to a sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beat {
    /// The node is alive.
    Alive {
        /// Every other living node.
        peers: Vec<(NodeId, Pulse)>,
        /// What time it is by the store's clock, where that is another than the node's.
        store_time: Option<OffsetDateTime>,
    },
    /// It was taken for dead: it gets no more leases, and must join again under a new id.
    Fenced,
}

/// What reclaiming freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reclaimed {
    /// How many leases.
    pub leases: u64,
    /// Whether there may be more.
    pub more: bool,
}
