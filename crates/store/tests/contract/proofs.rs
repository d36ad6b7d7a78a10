//! What proofs carry over from one to the next.

use billing_core::budget::BudgetScope;
use billing_core::port::books::{AccountProof, Books};
use billing_core::port::proofs::Depth;
use sea_orm::{ConnectionTrait, Database};
use testkit::World;
use testkit::world::NOON;
use time::Duration;

use crate::open::on_both;

const WALLET: BudgetScope = BudgetScope::Wallet;

on_both! {
    a_proof_goes_on_where_the_last_one_ended
    what_comes_late_is_no_fault_of_the_books
    what_was_remembered_in_another_form_is_not_used
    a_row_that_was_proved_is_proved_again_from_the_beginning
}

async fn world(url: &str, keep: impl std::any::Any + Send + Sync) -> World {
    let clock = testkit::ManualClock::at(NOON);
    let store = crate::open::store(url, &clock).await;
    let world = World::new(crate::open::ports(&[store], clock, keep)).await;
    world.top_up(1_000_000).await;
    world.lease(WALLET, 500_000).await.unwrap();
    world
}

async fn prove(world: &World, depth: Depth) -> AccountProof {
    let proofs = &world.ports.proofs;
    let proved = proofs.prove(&[world.account], depth, world.now()).await;
    proved.unwrap().remove(0)
}

/// And says of the whole what a proof from the beginning says.
async fn a_proof_goes_on_where_the_last_one_ended(world: World, _: String) {
    for _ in 0..30 {
        world.settle(world.call(100, 40)).await;
    }
    let first = prove(&world, Depth::SinceLast).await;
    assert_eq!((first.calls, first.transactions), (30, 31));
    // Nothing is final yet.
    let again = prove(&world, Depth::SinceLast).await;
    assert_eq!(again.transactions, 31);
    world.ports.clock.advance(Duration::hours(2));
    assert_eq!(prove(&world, Depth::SinceLast).await.transactions, 31);
    let idle = prove(&world, Depth::SinceLast).await;
    assert_eq!((idle.calls, idle.transactions), (0, 0));
    for _ in 0..5 {
        world.settle(world.call(100, 40)).await;
    }
    world.top_up(7).await;
    let more = prove(&world, Depth::SinceLast).await;
    assert_eq!((more.calls, more.transactions), (5, 6));
    assert!(more.broken.is_empty(), "{:?}", more.broken);
    let full = prove(&world, Depth::Full).await;
    assert_eq!((full.calls, full.transactions), (35, 37));
    assert_eq!(prove(&world, Depth::FullUpTo(10)).await.transactions, 6);
    assert_eq!(prove(&world, Depth::FullUpTo(1000)).await.transactions, 37);
}

/// A call that ran for hours, and a node whose clock is far behind.
async fn what_comes_late_is_no_fault_of_the_books(world: World, url: String) {
    let early = world.call(100, 40);
    world.settle(world.call(100, 40)).await;
    world.ports.clock.advance(Duration::hours(3));
    assert!(prove(&world, Depth::SinceLast).await.broken.is_empty());
    world.settle(early).await;
    let proof = prove(&world, Depth::SinceLast).await;
    assert!(proof.broken.is_empty(), "{:?}", proof.broken);
    assert_eq!(proof.calls, 2, "from the beginning");
    let behind = testkit::ManualClock::at(NOON - Duration::minutes(10));
    let other = crate::open::store(&url, &behind).await;
    other.settle(world.call(100, 40).into()).await.unwrap();
    let proof = prove(&world, Depth::SinceLast).await;
    assert!(proof.broken.is_empty(), "{:?}", proof.broken);
    assert_eq!(proof.calls, 3, "from the beginning");
    assert_eq!(prove(&world, Depth::SinceLast).await.calls, 0);
}

async fn what_was_remembered_in_another_form_is_not_used(world: World, url: String) {
    world.settle(world.call(100, 40)).await;
    world.ports.clock.advance(Duration::hours(2));
    prove(&world, Depth::SinceLast).await;
    let back_door = Database::connect(url).await.unwrap();
    let text = "UPDATE account_proof SET carried = '{\"form\":0}'";
    back_door.execute_unprepared(text).await.unwrap();
    let proof = prove(&world, Depth::SinceLast).await;
    assert_eq!((proof.calls, proof.broken.len()), (1, 0));
}

/// What an incremental proof passes over is not lost to a full one, and what is remembered of a
/// broken account stays as it was.
async fn a_row_that_was_proved_is_proved_again_from_the_beginning(world: World, url: String) {
    world.settle(world.call(100, 40)).await;
    world.ports.clock.advance(Duration::hours(2));
    prove(&world, Depth::SinceLast).await;
    let back_door = Database::connect(url).await.unwrap();
    let bend = "UPDATE ledger_entry SET amount = amount + 1 WHERE code = 'payment_clearing'";
    back_door.execute_unprepared(bend).await.unwrap();
    assert!(prove(&world, Depth::SinceLast).await.broken.is_empty());
    let full = prove(&world, Depth::Full).await;
    assert_eq!(full.broken.len(), 1, "{:?}", full.broken);
    assert!(full.broken[0].contains("sums to zero"), "{:?}", full.broken);
}
