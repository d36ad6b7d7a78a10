//! How a node joins the others: with a clock that is right, and a name that is its own.

use billing_core::id::NodeId;
use billing_core::node::NodeRecord;
use billing_core::port::nodes::{NodeJoin, NodesError, Replaces};
use thiserror::Error;
use time::format_description::well_known::Rfc3339;

use super::{Skew, ThisNode};

/// How many beats a node is watched before another takes its name.
const WATCHED_BEATS: f64 = 2.5;
/// How often joining is tried anew with a new id.
const TRIES: u32 = 5;

/// Why a node cannot join.
#[derive(Debug, Error)]
pub(crate) enum EnterError {
    /// The clock is wrong.
    #[error("{0}; then start again")]
    Clock(Skew),
    /// Another node has the name and is alive.
    #[error(
        "another node is running under the name \"{name}\" ({node}, since {since}, last seen \
         {seen}). Give this one a name of its own (node.name in tollgate.toml, or \
         TOLLGATE__NODE__NAME), or stop the other one; one SQLite file is for one node"
    )]
    NameInUse {
        /// The name.
        name: String,
        /// Who has it.
        node: NodeId,
        /// Since when.
        since: String,
        /// When it last showed a sign of life.
        seen: String,
    },
    /// The record of nodes.
    #[error("{}", with_cause(.0))]
    Nodes(#[from] NodesError),
}

fn with_cause(error: &NodesError) -> String {
    match error {
        NodesError::Unavailable(cause) => format!("{error}: {cause}"),
        NodesError::NameTaken(_) | NodesError::IdUsed | NodesError::Full => error.to_string(),
    }
}

impl EnterError {
    /// Whether it may go away by itself: the database cannot be reached.
    pub(crate) const fn is_away(&self) -> bool {
        matches!(self, Self::Nodes(NodesError::Unavailable(_)))
    }

    fn name_in_use(holder: NodeRecord) -> Self {
        let text = |at: time::OffsetDateTime| at.format(&Rfc3339).unwrap_or_default();
        Self::NameInUse {
            since: text(holder.started_at),
            seen: text(holder.seen_at),
            name: holder.name,
            node: holder.node,
        }
    }
}

impl ThisNode {
    /// Joins. Whoever has the name already is replaced if its id is the first of `ended`, or if its
    /// pulse stands still for more than two beats; else this node may not start.
    ///
    /// The lives under all these ids are known to have ended, and what they had to settle is settled:
    /// they leave.
    pub(crate) async fn enter(&self, ended: &[NodeId]) -> Result<NodeId, EnterError> {
        self.compare_clocks().await?;
        let last = ended.first().copied();
        let mut replaces = last.map_or(Replaces::Nobody, Replaces::Ended);
        for _ in 0..TRIES {
            let node = self.new_id();
            let started = tokio::time::Instant::now();
            match self.join(node, replaces).await {
                Ok(()) => {
                    self.leave_ended(ended).await;
                    self.note_life(node).await;
                    return Ok(node);
                }
                Err(NodesError::NameTaken(holder)) => {
                    let watched = matches!(replaces, Replaces::Silent(..));
                    if watched {
                        return Err(EnterError::name_in_use(*holder));
                    }
                    tracing::info!(
                        name = %holder.name, node = %holder.node,
                        "a node of this name did not say that it stops; looking whether it lives"
                    );
                    // A database that answers slowly slows the other's beats as well.
                    let beat = self.settings.beat + started.elapsed();
                    tokio::time::sleep(beat.mul_f64(WATCHED_BEATS)).await;
                    replaces = Replaces::Silent(holder.node, holder.pulse);
                }
                Err(NodesError::IdUsed) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(NodesError::IdUsed.into())
    }

    /// Compares the clock with the database's, before anything is dated by it.
    ///
    /// # Errors
    /// [`EnterError::Clock`] where it is too far off.
    pub(crate) async fn compare_clocks(&self) -> Result<(), EnterError> {
        let asked = self.clock.now();
        let store = self.nodes.store_time().await?;
        let skew = self.skew(asked, self.clock.now(), store);
        skew.map_or(Ok(()), |skew| Err(EnterError::Clock(skew)))
    }

    /// An id that no node had.
    pub(super) fn new_id(&self) -> NodeId {
        NodeId::new(self.ids.next())
    }

    /// Joins under an id, and makes ids with the number that it gets.
    pub(super) async fn join(&self, node: NodeId, replaces: Replaces) -> Result<(), NodesError> {
        let join = NodeJoin {
            node,
            name: self.settings.name.clone(),
            replaces,
            now: self.clock.now(),
        };
        let number = self.nodes.join(join).await?;
        self.ids.renumber(number);
        Ok(())
    }

    /// Leaves under the ids of lives that have ended. One that the store does not hear of now is told
    /// it with a sign of life.
    async fn leave_ended(&self, ended: &[NodeId]) {
        for id in ended {
            if let Err(error) = self.nodes.leave(*id, self.clock.now()).await {
                tracing::warn!(node = %id, %error, "what an ended life had on lease is not free yet");
                self.had_id(*id);
            }
        }
    }

    /// Has the disk remember under which ids this node has leases, or may have.
    pub(super) async fn note_life(&self, node: NodeId) {
        let earlier = self.earlier().clone();
        if let Err(error) = self.spool.set_life(node, &earlier).await {
            tracing::warn!(%error, "the spool does not know under which id this node joined; after \
                a crash the next start takes some seconds longer");
        }
    }
}
