//! Rules of the record of nodes.

use std::collections::BTreeSet;
use std::sync::Arc;

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::NodeId;
use billing_core::lease::{LeaseAsk, LeaseGrant};
use billing_core::node::{IdNumber, MOST_NODES, NodeRecord, NodeState, Pulse};
use billing_core::port::nodes::{Beat, NodesError, Replaces};
use time::Duration;
use tokio::task::JoinSet;

use crate::World;

/// Every rule of the record of nodes, as tests: `testkit::nodes_contract!(name, opener)`.
#[macro_export]
macro_rules! nodes_contract {
    ($name:ident, $open:expr) => {
        $crate::rules!($name, $open, nodes:
            a_beat_tells_who_else_is_alive
            every_beat_moves_the_pulse
            a_name_belongs_to_one_living_node
            a_node_is_replaced_only_as_long_as_it_is_silent
            nodes_that_join_at_once_get_numbers_of_their_own
            of_nodes_that_join_at_once_under_one_name_one_gets_it
            a_fence_holds_only_where_the_pulse_stood_still
            what_a_fenced_node_has_on_lease_is_kept_until_it_leaves
            an_ended_life_has_left_also_if_it_was_fenced_before
            a_life_that_was_only_silent_is_kept_for
            a_node_that_does_not_come_back_is_given_up
            a_node_that_still_settles_is_waited_for_anew
            what_a_node_that_left_is_granted_all_the_same_is_taken_back
            what_nobody_on_record_has_is_taken_back
            a_node_that_left_frees_its_name_and_its_leases
            a_number_is_not_given_again_at_once
            joining_again_gives_the_same_answer
            leases_are_reclaimed_some_accounts_at_a_time
            leases_that_nodes_reclaim_at_once_are_freed_once
        );
    };
}

const WALLET: BudgetScope = BudgetScope::Wallet;

async fn record(world: &World, node: NodeId) -> NodeRecord {
    let all = world.nodes().nodes().await.unwrap();
    all.into_iter().find(|r| r.node == node).unwrap()
}

async fn peers(world: &World, node: NodeId) -> Option<Vec<(NodeId, Pulse)>> {
    match world.nodes().beat(node, world.now()).await.unwrap() {
        Beat::Alive { peers, .. } => Some(peers),
        Beat::Fenced => None,
    }
}

/// Who has the name, when that is why a node was refused.
fn holder(joined: Result<IdNumber, NodesError>) -> Option<NodeRecord> {
    match joined {
        Err(NodesError::NameTaken(holder)) => Some(*holder),
        Ok(_) | Err(_) => None,
    }
}

async fn fence(world: &World, node: NodeId) {
    let seen = record(world, node).await.pulse;
    let fenced = world.nodes().fence(node, seen, world.now()).await;
    assert!(fenced.unwrap());
}

async fn lease_as(world: &World, node: NodeId, nanos: u64) -> LeaseGrant {
    let ask = LeaseAsk {
        node,
        ..world.ask(WALLET, nanos, nanos)
    };
    world.books().lease(ask).await.unwrap()
}

/// The node itself and those that are gone are left out.
pub async fn a_beat_tells_who_else_is_alive(world: World) {
    let (second, third) = (world.join("b").await, world.join("c").await);
    fence(&world, third).await;
    let seen = peers(&world, world.node).await.unwrap();
    assert_eq!(seen, [(second, record(&world, second).await.pulse)]);
    let ids = |seen: Vec<(NodeId, Pulse)>| seen.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(ids(peers(&world, second).await.unwrap()), [world.node]);
}

/// Also when the clock stands still.
pub async fn every_beat_moves_the_pulse(world: World) {
    let watcher = world.join("watcher").await;
    let mut before = record(&world, world.node).await.pulse;
    for _ in 0..5 {
        peers(&world, world.node).await.unwrap();
        let seen = peers(&world, watcher).await.unwrap();
        assert_eq!(seen.len(), 1);
        assert_ne!(seen[0].1, before);
        before = seen[0].1;
    }
}

/// Who holds it is told.
pub async fn a_name_belongs_to_one_living_node(world: World) {
    let join = world.newcomer("node", Replaces::Nobody);
    let holder = holder(world.nodes().join(join).await).unwrap();
    assert_eq!((holder.node, holder.name.as_str()), (world.node, "node"));
    assert!(peers(&world, world.node).await.unwrap().is_empty());
    // Of another node's death nothing follows for this one.
    let other = world.join("other").await;
    for wrong in [
        Replaces::Ended(other),
        Replaces::Silent(other, holder.pulse),
    ] {
        let refused = world.nodes().join(world.newcomer("node", wrong)).await;
        assert!(matches!(refused, Err(NodesError::NameTaken(_))));
    }
    let ended = Replaces::Ended(world.node);
    let join = world.newcomer("node", ended);
    let later = join.node;
    world.nodes().join(join).await.unwrap();
    assert!(peers(&world, world.node).await.is_none());
    assert_eq!(record(&world, later).await.state, NodeState::Alive);
}

/// A beat in between keeps it.
pub async fn a_node_is_replaced_only_as_long_as_it_is_silent(world: World) {
    let seen = record(&world, world.node).await.pulse;
    peers(&world, world.node).await.unwrap();
    let silent = Replaces::Silent(world.node, seen);
    let refused = world.nodes().join(world.newcomer("node", silent)).await;
    let holder = holder(refused).unwrap();
    assert_ne!(holder.pulse, seen);
    let silent = Replaces::Silent(world.node, holder.pulse);
    let join = world.newcomer("node", silent);
    world.nodes().join(join).await.unwrap();
    assert!(peers(&world, world.node).await.is_none());
}

/// Whatever handle they join by.
pub async fn nodes_that_join_at_once_get_numbers_of_their_own(world: World) {
    let mut tasks = JoinSet::new();
    for (i, nodes) in (0..12).zip(world.ports.nodes.iter().cycle()) {
        let join = world.newcomer(&format!("n{i}"), Replaces::Nobody);
        let nodes = Arc::clone(nodes);
        tasks.spawn(async move { nodes.join(join).await.unwrap() });
    }
    let numbers: BTreeSet<u16> = tasks
        .join_all()
        .await
        .into_iter()
        .map(|n| n.number)
        .collect();
    assert_eq!(numbers.len(), 12);
    assert!(numbers.iter().all(|n| *n < MOST_NODES));
    let own = record(&world, world.node).await.number.unwrap();
    assert!(!numbers.contains(&own));
}

/// The others are told by whom.
pub async fn of_nodes_that_join_at_once_under_one_name_one_gets_it(world: World) {
    let mut tasks = JoinSet::new();
    for (_, nodes) in (0..8).zip(world.ports.nodes.iter().cycle()) {
        let join = world.newcomer("wanted", Replaces::Nobody);
        let nodes = Arc::clone(nodes);
        tasks.spawn(async move { (join.node, nodes.join(join).await) });
    }
    let all = tasks.join_all().await;
    let (won, lost): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, r)| r.is_ok());
    assert_eq!(won.len(), 1);
    for (_, refused) in lost {
        assert_eq!(holder(refused).unwrap().node, won[0].0);
    }
}

/// A sign of life that nobody saw yet counts.
pub async fn a_fence_holds_only_where_the_pulse_stood_still(world: World) {
    let peer = world.join("peer").await;
    let seen = record(&world, peer).await.pulse;
    peers(&world, peer).await.unwrap();
    let now = world.now();
    assert!(!world.nodes().fence(peer, seen, now).await.unwrap());
    assert!(peers(&world, peer).await.is_some());
    fence(&world, peer).await;
    assert!(peers(&world, peer).await.is_none());
    let state = record(&world, peer).await.state;
    assert!(matches!(state, NodeState::Fenced(_)), "{state:?}");
    // A second verdict finds it done.
    assert!(world.nodes().fence(peer, seen, now).await.unwrap());
}

/// A call that has ended there may not have been settled yet.
pub async fn what_a_fenced_node_has_on_lease_is_kept_until_it_leaves(world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, 600).await.unwrap();
    let later = world.join("another").await;
    fence(&world, world.node).await;
    assert!(peers(&world, world.node).await.is_none());
    assert_eq!(world.reclaim().await, 0);
    // What it settles late is charged in full, whatever others do.
    let rest = lease_as(&world, later, 1000).await;
    assert_eq!(rest.granted, Amount::new(400));
    let settled = world.settle(world.call(100, 40)).await;
    assert_eq!(settled.call.charge.get(), 40);
    world.nodes().leave(world.node, world.now()).await.unwrap();
    let state = record(&world, world.node).await.state;
    assert!(matches!(state, NodeState::Left(_)), "{state:?}");
    assert_eq!(world.reclaim().await, 1);
    assert_eq!(world.balance().await, (960, 400));
    world.assert_sound().await;
}

/// Who joins in its place has settled what it left.
pub async fn an_ended_life_has_left_also_if_it_was_fenced_before(world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, 600).await.unwrap();
    fence(&world, world.node).await;
    let other = world.newcomer("another name", Replaces::Ended(world.node));
    world.nodes().join(other).await.unwrap();
    assert_eq!(
        world.reclaim().await,
        0,
        "of another's life one knows nothing"
    );
    let join = world.newcomer("node", Replaces::Ended(world.node));
    world.nodes().join(join).await.unwrap();
    let state = record(&world, world.node).await.state;
    assert!(matches!(state, NodeState::Left(_)), "{state:?}");
    assert_eq!(world.reclaim().await, 1);
    assert_eq!(world.balance().await, (1000, 0));
}

/// Its disk is not the one that its name now has.
pub async fn a_life_that_was_only_silent_is_kept_for(world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, 600).await.unwrap();
    let seen = record(&world, world.node).await.pulse;
    let join = world.newcomer("node", Replaces::Silent(world.node, seen));
    world.nodes().join(join).await.unwrap();
    let state = record(&world, world.node).await.state;
    assert!(matches!(state, NodeState::Fenced(_)), "{state:?}");
    assert_eq!(world.reclaim().await, 0);
    assert_eq!(world.balance().await, (1000, 600));
}

/// The living are never.
pub async fn a_node_that_does_not_come_back_is_given_up(world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, 600).await.unwrap();
    let living = world.join("living").await;
    lease_as(&world, living, 100).await;
    fence(&world, world.node).await;
    let give_up = |after| world.nodes().give_up(after, world.now());
    assert_eq!(give_up(Duration::minutes(1)).await.unwrap(), 0);
    assert_eq!(world.reclaim().await, 0);
    assert_eq!(give_up(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(give_up(Duration::ZERO).await.unwrap(), 0);
    assert_eq!(world.reclaim().await, 1);
    assert_eq!(world.balance().await, (1000, 100));
    assert_eq!(record(&world, living).await.state, NodeState::Alive);
    world.assert_sound().await;
}

/// Neither the living nor those that have left are touched by it.
pub async fn a_node_that_still_settles_is_waited_for_anew(world: World) {
    let (living, gone) = (world.join("living").await, world.join("gone").await);
    world.nodes().leave(gone, world.now()).await.unwrap();
    fence(&world, world.node).await;
    let fenced = record(&world, world.node).await.state;
    world.ports.clock.advance(Duration::minutes(1));
    for node in [world.node, living, gone] {
        let before = record(&world, node).await.state;
        world
            .nodes()
            .still_settles(node, world.now())
            .await
            .unwrap();
        let after = record(&world, node).await.state;
        assert_eq!(before == after, node != world.node, "{after:?}");
    }
    let renewed = record(&world, world.node).await.state;
    assert!(matches!((fenced, renewed), (NodeState::Fenced(a), NodeState::Fenced(b)) if b > a));
    assert_eq!(record(&world, living).await.state, NodeState::Alive);
}

/// Nobody asks of a node that wants a lease whether it lives: that would not be a matter of one
/// account. So a zombie may get one, which it does not learn of or may not use.
pub async fn what_a_node_that_left_is_granted_all_the_same_is_taken_back(world: World) {
    world.top_up(1000).await;
    world.nodes().leave(world.node, world.now()).await.unwrap();
    world.lease(WALLET, 300).await.unwrap();
    assert_eq!(world.reclaim().await, 1);
    assert_eq!(world.balance().await, (1000, 0));
    world.assert_sound().await;
}

/// Such as one that was away for so long that its record was deleted.
pub async fn what_nobody_on_record_has_is_taken_back(mut world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, 200).await.unwrap();
    world.node = NodeId::new(world.number());
    world.lease(WALLET, 300).await.unwrap();
    assert_eq!(world.reclaim().await, 1);
    assert_eq!(world.balance().await, (1000, 200));
    world.assert_sound().await;
}

/// Without anybody's verdict.
pub async fn a_node_that_left_frees_its_name_and_its_leases(mut world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, 600).await.unwrap();
    let now = world.now();
    world.nodes().leave(world.node, now).await.unwrap();
    world.nodes().leave(world.node, now).await.unwrap();
    let state = record(&world, world.node).await.state;
    assert!(matches!(state, NodeState::Left(_)), "{state:?}");
    assert!(peers(&world, world.node).await.is_none());
    let join = world.newcomer("node", Replaces::Nobody);
    world.node = join.node;
    world.nodes().join(join).await.unwrap();
    assert_eq!(world.reclaim().await, 1);
    assert_eq!(world.balance().await, (1000, 0));
    world.lease(WALLET, 1000).await.unwrap();
    world.assert_sound().await;
}

/// Ids that a zombie still makes are nobody else's.
pub async fn a_number_is_not_given_again_at_once(world: World) {
    let mut numbers = BTreeSet::new();
    for _ in 0..20 {
        let node = world.join("restarted").await;
        assert!(numbers.insert(record(&world, node).await.number.unwrap()));
    }
}

/// Until the node is gone, for the same name.
pub async fn joining_again_gives_the_same_answer(world: World) {
    let join = world.newcomer("again", Replaces::Nobody);
    let first = world.nodes().join(join.clone()).await.unwrap();
    let again = world.nodes().join(join.clone()).await.unwrap();
    assert_eq!(first.number, again.number);
    let mut renamed = join.clone();
    "another".clone_into(&mut renamed.name);
    let refused = world.nodes().join(renamed).await;
    assert!(matches!(refused, Err(NodesError::IdUsed)), "{refused:?}");
    fence(&world, join.node).await;
    let refused = world.nodes().join(join).await;
    assert!(matches!(refused, Err(NodesError::IdUsed)), "{refused:?}");
}

/// Each of them whole, and those of the living not at all.
pub async fn leases_are_reclaimed_some_accounts_at_a_time(mut world: World) {
    let living = world.join("living").await;
    for _ in 0..40 {
        world.account = world.new_account(0).await;
        world.key = world.new_key(world.account, Some(70)).await;
        let scope = BudgetScope::KeyLimit {
            key: world.key,
            window_start: 0,
        };
        world.top_up(1000).await;
        world.lease(WALLET, 300).await.unwrap();
        world.lease(scope, 50).await.unwrap();
        let dying = std::mem::replace(&mut world.node, living);
        world.lease(WALLET, 200).await.unwrap();
        world.node = dying;
    }
    world.nodes().leave(world.node, world.now()).await.unwrap();
    assert_eq!(world.nodes().reclaim(0).await.unwrap().leases, 0);
    let some = world.nodes().reclaim(5).await.unwrap();
    assert_eq!((some.leases, some.more), (10, true));
    assert_eq!(world.reclaim().await, 70);
    assert_eq!(world.reclaim().await, 0);
    assert_eq!(world.balance().await, (1000, 200));
    world.assert_sound().await;
}

/// However many nodes sweep.
pub async fn leases_that_nodes_reclaim_at_once_are_freed_once(mut world: World) {
    for _ in 0..20 {
        world.account = world.new_account(0).await;
        world.top_up(1000).await;
        world.lease(WALLET, 300).await.unwrap();
    }
    world.nodes().leave(world.node, world.now()).await.unwrap();
    let mut tasks = JoinSet::new();
    for (_, nodes) in (0..6).zip(world.ports.nodes.iter().cycle()) {
        let nodes = Arc::clone(nodes);
        tasks.spawn(async move { nodes.reclaim(1000).await.unwrap().leases });
    }
    assert_eq!(tasks.join_all().await.into_iter().sum::<u64>(), 20);
    world.assert_sound().await;
}
