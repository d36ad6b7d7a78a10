//! Joining, and what a node does about a clock that is off, over the ports in memory.

use std::sync::Arc;
use std::time::Duration;

use billing_core::id::NodeId;
use billing_core::node::{NodeRecord, NodeState};
use billing_core::port::nodes::{NodeJoin, Nodes, Replaces};
use testkit::memory::MemorySpool;
use testkit::world::NOON;
use testkit::{ManualClock, Memory};

mod steps;

use super::enter::EnterError;
use super::{NodeSettings, ThisNode};
use crate::ids::Ids;

/// The others' store, whose clock is not the node's.
struct Scene {
    nodes: Arc<Memory>,
    clock: ManualClock,
    settings: NodeSettings,
}

impl Scene {
    fn new() -> Self {
        Self {
            nodes: Arc::new(Memory::new(Arc::new(ManualClock::at(NOON)))),
            clock: ManualClock::at(NOON),
            settings: NodeSettings {
                name: "a".to_owned(),
                silence: Duration::from_secs(10),
                keep_leases: Duration::from_mins(2),
                max_skew: Duration::from_secs(5),
                beat: Duration::from_millis(20),
            },
        }
    }

    fn node(&self) -> ThisNode {
        let clock = Arc::new(self.clock.clone());
        ThisNode::new(
            self.settings.clone(),
            self.nodes.clone(),
            (clock.clone(), clock.clone()),
            Arc::new(Ids::new(700, clock)),
            Arc::new(MemorySpool::new(10)),
        )
    }

    /// Somebody who has the name already.
    async fn holder(&self) -> NodeId {
        let join = NodeJoin {
            node: NodeId::new(5),
            name: "a".to_owned(),
            replaces: Replaces::Nobody,
            now: NOON,
        };
        self.nodes.join(join).await.unwrap();
        NodeId::new(5)
    }

    /// Somebody who was taken for dead.
    async fn fenced(&self, id: i64, name: &str) -> NodeId {
        let node = NodeId::new(id);
        let join = NodeJoin {
            node,
            name: name.to_owned(),
            replaces: Replaces::Nobody,
            now: NOON,
        };
        self.nodes.join(join).await.unwrap();
        let record = self.record(node).await;
        assert!(self.nodes.fence(node, record.pulse, NOON).await.unwrap());
        node
    }

    async fn record(&self, node: NodeId) -> NodeRecord {
        let all = self.nodes.nodes().await.unwrap();
        all.into_iter().find(|r| r.node == node).unwrap()
    }

    async fn state(&self, node: NodeId) -> NodeState {
        self.record(node).await.state
    }

    async fn is_alive(&self, node: NodeId) -> bool {
        self.state(node).await == NodeState::Alive
    }
}

#[tokio::test]
async fn a_life_that_has_certainly_ended_is_replaced_at_once() {
    let mut scene = Scene::new();
    scene.settings.beat = Duration::from_hours(1);
    let before = scene.holder().await;
    let node = scene.node().enter(&[before]).await.unwrap();
    assert!(scene.is_alive(node).await);
    assert!(!scene.is_alive(before).await);
}

/// The last life was fenced twice and had calls under each id, which its spool held.
#[tokio::test]
async fn a_life_that_has_certainly_ended_leaves_under_all_its_ids() {
    let mut scene = Scene::new();
    scene.settings.beat = Duration::from_hours(1);
    let last = scene.holder().await;
    let mut ended = vec![last];
    for (id, name) in [(6, "b"), (7, "c"), (8, "another node")] {
        ended.push(scene.fenced(id, name).await);
    }
    let another = ended.pop().unwrap();
    scene.node().enter(&ended).await.unwrap();
    for id in ended {
        assert!(matches!(scene.state(id).await, NodeState::Left(_)), "{id}");
    }
    assert!(matches!(scene.state(another).await, NodeState::Fenced(_)));
}

#[tokio::test]
async fn a_node_that_is_silent_is_replaced_after_a_look() {
    let scene = Scene::new();
    let before = scene.holder().await;
    let node = scene.node().enter(&[]).await.unwrap();
    assert!(scene.is_alive(node).await);
    assert!(!scene.is_alive(before).await);
}

#[tokio::test]
async fn a_node_that_beats_keeps_its_name_and_the_second_is_told_what_to_do() {
    let scene = Scene::new();
    let holder = scene.holder().await;
    let beating = async {
        loop {
            scene.nodes.beat(holder, NOON).await.unwrap();
            tokio::time::sleep(scene.settings.beat).await;
        }
    };
    let node = scene.node();
    let refused = tokio::select! {
        joined = node.enter(&[]) => joined.unwrap_err(),
        () = beating => return,
    };
    assert!(matches!(refused, EnterError::NameInUse { .. }));
    let text = refused.to_string();
    for part in ["\"a\"", "nod_", "node.name", "stop the other one"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(scene.is_alive(holder).await);
}

#[tokio::test]
async fn a_clock_that_is_off_keeps_a_node_out_and_says_by_how_much() {
    for (minutes, way) in [(10, "ahead of"), (-10, "behind")] {
        let scene = Scene::new();
        scene.clock.step(time::Duration::minutes(minutes));
        let refused = scene.node().enter(&[]).await.unwrap_err().to_string();
        for part in ["600.0 s", way, "node.max_clock_skew_s", "NTP"] {
            assert!(refused.contains(part), "no {part} in {refused}");
        }
        assert!(scene.nodes.nodes().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_clock_that_is_a_little_off_is_none_of_anybodys_business() {
    let scene = Scene::new();
    scene.clock.step(time::Duration::seconds(-4));
    scene.node().enter(&[]).await.unwrap();
}
