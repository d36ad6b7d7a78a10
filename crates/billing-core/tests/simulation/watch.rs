//! When a node takes another for dead: by the real rule, or by one that is wrong.

use billing_core::id::NodeId;
use billing_core::node::Pulse;
use billing_core::node_watch::{NodeWatch, WatchPolicy};
use billing_core::steady::Steady;
use time::Duration;

use super::message::Peer;
use super::setup::{Micros, SILENCE};

/// A watch that has seen nobody.
pub(crate) const fn new() -> NodeWatch {
    let silence = Duration::microseconds(SILENCE);
    NodeWatch::new(WatchPolicy {
        silence,
        gap: silence,
    })
}

/// The store was asked and answered at these instants of the node's steady clock. Answers with who
/// is to be fenced, if the pulse is that one still.
pub(crate) fn saw(
    watch: &mut NodeWatch,
    (asked, answered): (Steady, Steady),
    peers: &[Peer],
) -> Vec<(NodeId, Pulse)> {
    watch.saw(asked, answered, living(peers))
}

/// Whose last sign of life is too old by what two wall clocks show: the rule that is wrong.
pub(crate) fn late(wall: Micros, peers: &[Peer]) -> Vec<(NodeId, Pulse)> {
    let late = peers.iter().filter(|peer| wall - peer.clock >= SILENCE);
    living(late).collect()
}

fn living<'a>(peers: impl IntoIterator<Item = &'a Peer>) -> impl Iterator<Item = (NodeId, Pulse)> {
    let living = peers.into_iter().filter(|peer| !peer.fenced);
    living.map(|peer| (peer.node, peer.pulse))
}
