//! What a store remembers of books is not believed once somebody else has changed them.

use billing_core::budget::{Amount, BudgetScope};
use billing_core::lease::LeaseReturn;
use billing_core::port::books::Books;
use billing_core::wallet::LotKind;
use testkit::World;
use testkit::world::{NOON, credit};

use crate::open::on_both;

async fn settlements_see_what_others_did_to_the_books(world: World, url: String) {
    world.top_up(1000).await;
    world.lease(BudgetScope::Wallet, 500).await.unwrap();
    let first = world.settle(world.call(100, 40)).await;
    assert_eq!(first.call.balance_after.get(), 960);
    let other = crate::open::store(&url, &world.ports.clock).await;
    let mut given = credit(world.number(), 70, "given");
    (given.kind, given.priority) = (LotKind::Promo, -1);
    other
        .add_credit(world.account, given.clone(), NOON)
        .await
        .unwrap();
    let elsewhere = other.settle(world.call(100, 50).into()).await.unwrap();
    assert_eq!(elsewhere.call.balance_after.get(), 980);
    // The first lot is as it was, but it is no longer the first one.
    let next = world.settle(world.call(100, 30)).await;
    assert_eq!(next.call.balance_after.get(), 950);
    let draws: Vec<_> = next.call.draws.iter().map(|d| (d.kind, d.amount)).collect();
    let expected = [
        (LotKind::Promo, Amount::new(20)),
        (LotKind::Paid, Amount::new(10)),
    ];
    assert_eq!(draws, expected);
    // What is remembered now is right, and so is what the other one knows of it.
    for _ in 0..3 {
        world.settle(world.call(100, 10)).await;
        other.settle(world.call(100, 10).into()).await.unwrap();
    }
    let wallet = other.wallet(world.account).await.unwrap();
    assert_eq!((wallet.posted.get(), wallet.leased.get()), (890, 320));
    world.assert_sound().await;
}

/// A lease that was taken back meanwhile covers nothing.
async fn settlements_see_that_a_lease_is_gone(world: World, url: String) {
    world.top_up(1000).await;
    world.lease(BudgetScope::Wallet, 1000).await.unwrap();
    world.settle(world.call(100, 40)).await;
    let other = crate::open::store(&url, &world.ports.clock).await;
    let back = LeaseReturn {
        node: world.node,
        account: world.account,
        scope: BudgetScope::Wallet,
        seq: world.seq(),
        amount: Amount::new(960),
    };
    other.give_back(back).await.unwrap();
    let mut ask = world.ask(BudgetScope::Wallet, 960, 960);
    ask.node = billing_core::id::NodeId::new(world.number());
    assert_eq!(other.lease(ask).await.unwrap().granted, Amount::new(960));
    let late = world.settle(world.call(100, 40)).await;
    assert_eq!((late.call.charge.get(), late.call.overrun.get()), (0, 40));
    world.assert_sound().await;
}

on_both! {
    settlements_see_what_others_did_to_the_books
    settlements_see_that_a_lease_is_gone
}

async fn world(url: &str, keep: impl std::any::Any + Send + Sync) -> World {
    let clock = testkit::ManualClock::at(NOON);
    let store = crate::open::store(url, &clock).await;
    World::new(crate::open::ports(&[store], clock, keep)).await
}
