//! Which nodes are dead, as one node may judge it: from what it has itself seen, by its own clock.
//!
//! A node takes a peer for dead when it has seen the peer's pulse stand still for as long as
//! silence must last, and has itself reached the store all that time. So clocks of different nodes
//! are never compared, and when the store was away nobody is fenced before everyone has had that
//! long to come back: a gap in the watcher's own sight begins the watch anew.
//!
//! Time is the watcher's steady clock. As it goes on while a machine is suspended, a watcher that
//! was suspended finds a gap in its sight and begins anew.

use std::collections::BTreeMap;

use time::Duration;

use crate::id::NodeId;
use crate::node::Pulse;
use crate::steady::Steady;

/// How a node judges others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchPolicy {
    /// For how long a pulse must stand still.
    pub silence: Duration,
    /// How long the watcher may go without an answer of the store and still trust what it saw
    /// before.
    pub gap: Duration,
}

/// What one node has seen of the others.
#[derive(Debug)]
pub struct NodeWatch {
    policy: WatchPolicy,
    looked: Option<Steady>,
    peers: BTreeMap<NodeId, Sighting>,
}

/// A pulse, and when it was first seen.
#[derive(Debug, Clone, Copy)]
struct Sighting {
    pulse: Pulse,
    since: Steady,
}

impl NodeWatch {
    /// Nobody was seen yet.
    pub const fn new(policy: WatchPolicy) -> Self {
        Self {
            policy,
            looked: None,
            peers: BTreeMap::new(),
        }
    }

    /// The store was asked and answered at these instants, and said who is alive with which pulse,
    /// the watcher itself left out. Answers with those that must be fenced, if their pulse is that
    /// one still.
    pub fn saw(
        &mut self,
        asked: Steady,
        answered: Steady,
        peers: impl IntoIterator<Item = (NodeId, Pulse)>,
    ) -> Vec<(NodeId, Pulse)> {
        let unbroken = self
            .looked
            .is_some_and(|before| answered.since(before) <= self.policy.gap);
        self.looked = Some(answered);
        let before = std::mem::take(&mut self.peers);
        let mut dead = Vec::new();
        for (node, pulse) in peers {
            let stood_still = before.get(&node).filter(|s| unbroken && s.pulse == pulse);
            let since = stood_still.map_or(answered, |sighting| sighting.since);
            if asked.since(since) >= self.policy.silence {
                dead.push((node, pulse));
            }
            self.peers.insert(node, Sighting { pulse, since });
        }
        dead
    }
}
