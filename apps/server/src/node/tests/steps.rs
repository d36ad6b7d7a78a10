//! A wall clock that is set while calls run changes no admission and no lease; time that passes
//! does, whatever the wall clock shows.

use std::sync::Arc;
use std::time::Duration;

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::CallId;
use billing_core::lease_book::{HoldAsk, LeasePolicy, Refusal, RefusalCause};
use testkit::memory::MemorySpool;
use testkit::world::NOON;
use testkit::{ManualClock, Memory, Ports, World};
use tokio_util::task::TaskTracker;

use super::super::ThisNode;
use crate::config;
use crate::gate::Leases;
use crate::ids::Ids;

/// What each call holds.
const HELD: u64 = 1_000;
/// After how long without a word of the store leases are spent no more: three fifths of the silence.
const FRESH: time::Duration = time::Duration::seconds(6);

fn policy() -> LeasePolicy {
    config::Config::default().lease.shared(10)
}

struct Scene {
    world: World,
    clock: ManualClock,
    node: ThisNode,
    leases: Arc<Leases>,
    orders: TaskTracker,
}

impl Scene {
    /// A node that the store has just confirmed, and an account with funds for a hundred calls.
    async fn new() -> Self {
        let clock = ManualClock::at(NOON);
        let memory = Arc::new(Memory::new(Arc::new(clock.clone())));
        let ports = Ports::of(memory.clone(), clock.clone(), ());
        let world = World::new(ports).await;
        world.top_up(100 * i64::try_from(HELD).unwrap()).await;
        let shown = Arc::new(clock.clone());
        let node = ThisNode::new(
            (&config::Node::default()).into(),
            memory.clone(),
            (shown.clone(), shown.clone()),
            Arc::new(Ids::new(700, shown.clone())),
            Arc::new(MemorySpool::new(10)),
        );
        let orders = TaskTracker::new();
        let leases = Arc::new(Leases::new(
            memory,
            shown,
            orders.clone(),
            world.node,
            policy(),
        ));
        let scene = Self {
            world,
            clock,
            node,
            leases,
            orders,
        };
        scene.confirm();
        scene
    }

    /// The store takes a sign of life and says all news.
    fn confirm(&self) {
        let now = self.leases.now();
        self.node.is_alive_at(now, &self.leases);
        self.node.heard_all_at(now, &self.leases);
    }

    async fn call(&self) -> Result<CallId, Refusal> {
        let call = CallId::new(self.world.number());
        let ask = HoldAsk {
            account: self.world.account,
            call,
            demands: vec![(BudgetScope::Wallet, Amount::new(HELD))],
            wait_until: self.leases.now(),
        };
        self.leases.hold(ask).await.map(|()| call)
    }

    fn holds(&self, call: CallId) -> bool {
        let (node, parts) = self.leases.held_by(self.world.account, call);
        node == self.world.node && parts == [(BudgetScope::Wallet, Amount::new(HELD))]
    }

    /// What the store has on lease for the node.
    async fn leased(&self) -> Amount {
        let wallet = self.world.books().wallet(self.world.account).await;
        wallet.unwrap().leased
    }
}

#[tokio::test]
async fn a_wall_clock_that_is_set_changes_no_admission_and_no_lease() {
    let scene = Scene::new().await;
    let mut running = vec![scene.call().await.unwrap()];
    let leased = scene.leased().await;
    for minutes in [10, -20, 10, 24 * 60, -2 * 24 * 60] {
        scene.clock.step(time::Duration::minutes(minutes));
        scene.leases.tick();
        assert_eq!(scene.leased().await, leased, "{minutes} minutes");
        assert_eq!(scene.node.lag().beat, Some(Duration::ZERO));
        assert!(running.iter().all(|call| scene.holds(*call)));
        let quiet = running.remove(0);
        scene.leases.released(scene.world.account, quiet);
        running.push(scene.call().await.unwrap());
    }
    assert_eq!(scene.leases.node(), scene.world.node);
}

#[tokio::test]
async fn a_wall_clock_that_is_set_back_keeps_no_node_admitting() {
    let scene = Scene::new().await;
    scene.call().await.unwrap();
    scene.clock.advance(FRESH - time::Duration::milliseconds(1));
    scene.clock.step(time::Duration::minutes(-10));
    scene.call().await.unwrap();
    scene.clock.advance(time::Duration::milliseconds(1));
    let refused = scene.call().await.unwrap_err();
    assert_eq!(refused.cause, RefusalCause::Unavailable);
    assert_eq!(scene.node.lag().beat, Some(Duration::from_secs(6)));
    scene.confirm();
    scene.call().await.unwrap();
}

#[tokio::test]
async fn a_quiet_account_is_given_back_when_its_time_has_passed_and_not_when_the_clock_says_so() {
    let scene = Scene::new().await;
    let call = scene.call().await.unwrap();
    scene.leases.released(scene.world.account, call);
    let idle = policy();
    scene.clock.step(idle.idle_after * 10);
    scene.leases.tick();
    assert!(scene.orders.is_empty());
    scene.clock.step(-idle.idle_after * 20);
    scene.clock.advance(idle.idle_after);
    scene.leases.tick();
    scene.orders.close();
    scene.orders.wait().await;
    assert!(scene.leased().await.is_zero());
}
