//! This node among the others: joining, signs of life, news.
//!
//! [`enter`] is how a node starts: under which name, and whether the one that had it is dead.
//! [`life`] shows signs of life and judges those of others; [`news`] hears what others
//! changed, and [`ears`] when there are any.
//! The rules are in `billing_core::node` and `billing_core::node_watch`.

pub(crate) mod ears;
pub(crate) mod enter;
pub(crate) mod life;
pub(crate) mod news;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use billing_core::id::NodeId;
use billing_core::node::clock_skew;
use billing_core::port::clock::{Clock, SteadyClock};
use billing_core::port::nodes::{Nodes, NodesError};
use billing_core::port::spool::Spool;
use billing_core::steady::Steady;
use time::OffsetDateTime;

use crate::config;
use crate::gate::Leases;
use crate::ids::Ids;

/// How often a node shows a sign of life.
const BEAT: Duration = Duration::from_secs(1);

/// How a node behaves among others.
#[derive(Debug, Clone)]
pub(crate) struct NodeSettings {
    /// Its name.
    pub(crate) name: String,
    /// How long a pulse must stand still for its node to be taken for dead.
    pub(crate) silence: Duration,
    /// How long the leases of a node that was taken for dead are kept for what it has to settle.
    pub(crate) keep_leases: Duration,
    /// How far the clock may be from the store's.
    pub(crate) max_skew: Duration,
    /// How often it shows a sign of life.
    pub(crate) beat: Duration,
}

impl From<&config::Node> for NodeSettings {
    fn from(node: &config::Node) -> Self {
        Self {
            name: node.name.clone(),
            silence: Duration::from_secs(node.silence_s.into()),
            keep_leases: Duration::from_secs(node.keep_leases_s.into()),
            max_skew: Duration::from_secs(node.max_clock_skew_s.into()),
            beat: BEAT,
        }
    }
}

/// This node.
#[derive(Debug)]
pub(crate) struct ThisNode {
    settings: NodeSettings,
    nodes: Arc<dyn Nodes>,
    clock: Arc<dyn Clock>,
    /// What its silence and that of others is measured by.
    steady: Arc<dyn SteadyClock>,
    ids: Arc<Ids>,
    /// Remembers the id on this node's disk, so that the next life knows that this one has ended.
    spool: Arc<dyn Spool>,
    /// Whether the clock was too far off when it was last compared.
    clock_is_off: AtomicBool,
    confirmed: Mutex<Confirmed>,
    /// The ids under which it was fenced and may have calls to settle, and those of ended lives that
    /// the store does not know to have left.
    earlier: Mutex<Vec<NodeId>>,
}

/// Until when what this node knows is known to be complete.
#[derive(Debug, Default)]
struct Confirmed {
    /// When the last sign of life was sent that was answered with "alive".
    alive: Option<Steady>,
    /// When the news were last asked for that were then read to their end.
    news: Option<Steady>,
    /// How many others were alive when the store last answered.
    peers: usize,
}

/// How far this node is behind the store, and whom it sees there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lag {
    /// How long ago the last sign of life was sent that the store took; `None` before the first.
    pub(crate) beat: Option<Duration>,
    /// How long ago the news were asked for that were then read to their end; `None` before the
    /// first time.
    pub(crate) news: Option<Duration>,
    /// How many other nodes are alive.
    pub(crate) peers: usize,
}

impl ThisNode {
    /// Not joined yet.
    pub(crate) fn new(
        settings: NodeSettings,
        nodes: Arc<dyn Nodes>,
        (clock, steady): (Arc<dyn Clock>, Arc<dyn SteadyClock>),
        ids: Arc<Ids>,
        spool: Arc<dyn Spool>,
    ) -> Self {
        Self {
            settings,
            nodes,
            clock,
            steady,
            ids,
            spool,
            clock_is_off: AtomicBool::new(false),
            confirmed: Mutex::default(),
            earlier: Mutex::default(),
        }
    }

    /// Whether the clock is too far from the store's for calls to be let in.
    pub(crate) fn clock_is_off(&self) -> bool {
        self.clock_is_off.load(Ordering::Relaxed)
    }

    /// How far behind the store it is now.
    pub(crate) fn lag(&self) -> Lag {
        let now = self.steady.steady();
        let ago = |at: Steady| now.since(at).unsigned_abs();
        let confirmed = self.confirmed();
        Lag {
            beat: confirmed.alive.map(ago),
            news: confirmed.news.map(ago),
            peers: confirmed.peers,
        }
    }

    /// So many others are alive.
    fn sees(&self, peers: usize) {
        self.confirmed().peers = peers;
    }

    /// Says that this node stops for good and has nothing left to settle, so that its name and its
    /// leases are free at once.
    pub(crate) async fn leave(&self, node: NodeId) -> Result<(), NodesError> {
        let earlier = std::mem::take(&mut *self.earlier());
        let mut first = Ok(());
        for node in earlier.into_iter().chain([node]) {
            let left = self.nodes.leave(node, self.clock.now()).await;
            first = first.and(left);
        }
        first
    }

    /// It has, or had, leases under that id, and has not left under it.
    fn had_id(&self, node: NodeId) {
        self.earlier().push(node);
    }

    /// Leaves under the ids of before, where the last call that began under one is settled, and
    /// asks to be waited for where it is not.
    async fn leave_earlier_ids(&self, leases: &Leases) {
        let earlier = self.earlier().clone();
        for node in earlier {
            let now = self.clock.now();
            let is_settled = leases.owe_nothing_under(node);
            let told = if is_settled {
                self.nodes.leave(node, now).await
            } else {
                self.nodes.still_settles(node, now).await
            };
            match told {
                Ok(()) if is_settled => {
                    self.earlier().retain(|id| *id != node);
                    tracing::info!(%node, "all calls that began under an earlier id are settled");
                }
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(%node, %error, "the others do not know how far an earlier id is");
                }
            }
        }
    }

    fn earlier(&self) -> MutexGuard<'_, Vec<NodeId>> {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store said that this node is alive, in answer to what was sent then.
    fn is_alive_at(&self, sent: Steady, leases: &Arc<Leases>) {
        self.confirm(leases, |confirmed| confirmed.alive = Some(sent));
    }

    /// The news were read to their end; they were asked for then.
    fn heard_all_at(&self, asked: Steady, leases: &Arc<Leases>) {
        self.confirm(leases, |confirmed| confirmed.news = Some(asked));
    }

    /// Leases may be spent only as long as both are fresh.
    fn confirm(&self, leases: &Arc<Leases>, note: impl FnOnce(&mut Confirmed)) {
        let both = {
            let mut confirmed = self.confirmed();
            note(&mut confirmed);
            confirmed.alive.zip(confirmed.news)
        };
        if let Some((alive, news)) = both {
            leases.confirmed(alive.min(news));
        }
    }

    fn confirmed(&self) -> MutexGuard<'_, Confirmed> {
        self.confirmed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// By how much the clock is off, where that is too much.
    fn skew(
        &self,
        asked: OffsetDateTime,
        answered: OffsetDateTime,
        store: Option<OffsetDateTime>,
    ) -> Option<Skew> {
        let skew = clock_skew(asked, answered, store?);
        let off = skew.unsigned_abs();
        (off > self.settings.max_skew).then_some(Skew {
            off,
            is_ahead: skew.is_positive(),
            allowed: self.settings.max_skew,
        })
    }
}

/// How wrong a clock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Skew {
    off: Duration,
    is_ahead: bool,
    allowed: Duration,
}

impl std::fmt::Display for Skew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way = if self.is_ahead { "ahead of" } else { "behind" };
        write!(
            f,
            "the clock of this machine is {:.1} s {way} the database's, and at most {} s are \
             allowed (node.max_clock_skew_s): set it, for instance with NTP (`timedatectl set-ntp \
             true`)",
            self.off.as_secs_f64(),
            self.allowed.as_secs()
        )
    }
}
