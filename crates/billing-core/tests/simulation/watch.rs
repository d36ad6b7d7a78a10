//! When a node takes another for dead: by the real rule, or by one that is wrong.

use billing_core::id::NodeId;
use billing_core::node::Pulse;
use billing_core::node_watch::{NodeWatch, WatchPolicy};
use time::Duration;

use super::flaw::Flaw;
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

/// The store was asked and answered at these instants of the node's clock. Answers with who is to
/// be fenced, if the pulse is that one still.
pub(crate) fn saw(
    watch: &mut NodeWatch,
    (asked, answered): (Micros, Micros),
    peers: &[Peer],
    flaw: Flaw,
) -> Vec<(NodeId, Pulse)> {
    let alive = peers.iter().filter(|peer| !peer.fenced);
    if flaw == Flaw::FencesByWallClock {
        let silent = alive.filter(|peer| answered - peer.clock >= SILENCE);
        return silent.map(|peer| (peer.node, peer.pulse)).collect();
    }
    let [asked, answered] = [asked, answered].map(Duration::microseconds);
    watch.saw(asked, answered, alive.map(|peer| (peer.node, peer.pulse)))
}
