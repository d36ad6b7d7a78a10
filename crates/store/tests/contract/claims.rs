//! What one node lacks the others are told, however their clocks differ.

use billing_core::budget::{Amount, BudgetScope};
use billing_core::port::books::Books;
use testkit::ManualClock;
use testkit::World;
use testkit::world::NOON;
use time::Duration;

const WALLET: BudgetScope = BudgetScope::Wallet;

/// A claim lasts half a second; these differ by more than nodes may differ from their database.
#[test]
fn a_claim_counts_for_a_node_whose_clock_is_seconds_ahead_or_behind() {
    testkit::contract::run(async {
        let database = testkit::postgres::database();
        let clock = ManualClock::at(NOON);
        let holders = crate::open::store(database.url(), &clock).await;
        let off = ManualClock::at(NOON);
        let claimants = crate::open::store(database.url(), &off).await;
        let ports = crate::open::ports(std::slice::from_ref(&holders), clock, database);
        let mut world = World::new(ports).await;
        world.top_up(1000).await;
        let holder = world.node;
        world.lease(WALLET, 1000).await.unwrap();
        world.node = world.join("claimant").await;
        for (seconds, lacks) in [(-60, 100), (120, 200)] {
            off.step(Duration::seconds(seconds));
            let ask = world.ask(WALLET, lacks, lacks);
            claimants.lease(ask).await.unwrap();
            let recalled = holders.recalls(holder).await.unwrap();
            let wanted: Vec<_> = recalled.iter().map(|recall| recall.wanted).collect();
            assert_eq!(wanted, [Amount::new(lacks)], "after {seconds} s");
        }
    });
}
