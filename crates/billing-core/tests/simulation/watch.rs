//! When a node takes another for dead: the rule of the node watch, and two that are wrong.

use std::collections::BTreeMap;

use billing_core::id::NodeId;

use super::flaw::Flaw;
use super::message::Peer;
use super::setup::{Micros, SILENCE};

/// What a node saw of its peers, by its own clock.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    looked: Option<Micros>,
    peers: BTreeMap<NodeId, (u64, Micros)>,
}

impl Watch {
    /// The store was asked and answered at these instants. Answers with who is to be fenced, if the
    /// pulse is that one still.
    pub(crate) fn saw(
        &mut self,
        (asked, answered): (Micros, Micros),
        peers: &[Peer],
        flaw: Flaw,
    ) -> Vec<(NodeId, u64)> {
        let unbroken = self
            .looked
            .is_some_and(|before| answered - before <= SILENCE);
        self.looked = Some(answered);
        let before = std::mem::take(&mut self.peers);
        let mut dead = Vec::new();
        for peer in peers.iter().filter(|peer| !peer.fenced) {
            let seen = before
                .get(&peer.node)
                .filter(|(pulse, _)| unbroken && *pulse == peer.pulse);
            let since = seen.map_or(answered, |(_, since)| *since);
            let silent = if flaw == Flaw::FencesByWallClock {
                answered - peer.clock
            } else {
                asked - since
            };
            if silent >= SILENCE {
                dead.push((peer.node, peer.pulse));
            }
            self.peers.insert(peer.node, (peer.pulse, since));
        }
        dead
    }
}
