//! Joining, and what a node does about a clock that is off, over the ports in memory.

use std::sync::Arc;
use std::time::Duration;

use billing_core::id::NodeId;
use billing_core::node::NodeState;
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

    async fn is_alive(&self, node: NodeId) -> bool {
        let all = self.nodes.nodes().await.unwrap();
        let record = all.iter().find(|r| r.node == node);
        record.is_some_and(|r| r.state == NodeState::Alive)
    }
}

#[tokio::test]
async fn a_life_that_has_certainly_ended_is_replaced_at_once() {
    let mut scene = Scene::new();
    scene.settings.beat = Duration::from_hours(1);
    let before = scene.holder().await;
    let node = scene.node().enter(Some(before)).await.unwrap();
    assert!(scene.is_alive(node).await);
    assert!(!scene.is_alive(before).await);
}

#[tokio::test]
async fn a_node_that_is_silent_is_replaced_after_a_look() {
    let scene = Scene::new();
    let before = scene.holder().await;
    let node = scene.node().enter(None).await.unwrap();
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
        joined = node.enter(None) => joined.unwrap_err(),
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
        let refused = scene.node().enter(None).await.unwrap_err().to_string();
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
    scene.node().enter(None).await.unwrap();
}
