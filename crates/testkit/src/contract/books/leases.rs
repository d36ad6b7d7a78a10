//! What leases promise: asked for, given back, recalled.

use std::sync::Arc;

use billing_core::budget::Amount;
use time::Duration;
use tokio::task::JoinSet;

use super::{WALLET, back};
use crate::World;

/// What is needed as far as there is any; beyond need at most half of what is there.
pub async fn a_lease_takes_what_is_needed_and_leaves_half_of_the_rest(world: World) {
    world.top_up(1000).await;
    let lease = |needed, wanted| world.books().lease(world.ask(WALLET, needed, wanted));
    let first = lease(100, 700).await.unwrap();
    assert_eq!((first.granted.get(), first.available.get()), (500, 500));
    let second = lease(300, 300).await.unwrap();
    assert_eq!((second.granted.get(), second.available.get()), (300, 200));
    let part = lease(201, 700).await.unwrap();
    assert_eq!((part.granted.get(), part.available.get()), (200, 0));
    assert_eq!(world.balance().await, (1000, 1000));
    world.assert_sound().await;
}

/// One node that is alone need not ask twice.
pub async fn who_wants_everything_gets_everything(world: World) {
    world.top_up(1000).await;
    let all = world.books().lease(world.ask(WALLET, 1, u64::MAX)).await;
    assert_eq!(all.unwrap().granted.get(), 1000);
    assert_eq!(world.balance().await, (1000, 1000));
}

/// P3 for leases: an ask that comes again, alone or in company, is answered as before and grants
/// nothing more; one that was overtaken grants nothing.
pub async fn a_repeated_ask_grants_once(world: World) {
    world.top_up(1000).await;
    let early = world.ask(WALLET, 10, 10);
    let ask = world.ask(WALLET, 300, 300);
    let mut tasks = JoinSet::new();
    for (_, books) in (0..12).zip(world.ports.books.iter().cycle()) {
        let books = Arc::clone(books);
        tasks.spawn(async move { books.lease(ask).await.unwrap().granted.get() });
    }
    assert!(tasks.join_all().await.into_iter().all(|g| g == 300));
    let overtaken = world.books().lease(early).await.unwrap();
    assert!(overtaken.granted.is_zero());
    assert_eq!(world.balance().await, (1000, 300));
    world.assert_sound().await;
}

/// A return that comes again frees nothing more, also when the lease has grown since.
pub async fn a_repeated_return_frees_once(world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, 300).await.unwrap();
    let back = back(&world, 100);
    world.books().give_back(back).await.unwrap();
    world.books().give_back(back).await.unwrap();
    assert_eq!(world.balance().await, (1000, 200));
    world.lease(WALLET, 300).await.unwrap();
    world.books().give_back(back).await.unwrap();
    assert_eq!(world.balance().await, (1000, 500));
    world.assert_sound().await;
}

/// Who is short while another node has the funds is told that they are elsewhere; that node is
/// told that they are wanted, until they are not.
pub async fn what_another_node_lacks_is_recalled(mut world: World) {
    world.top_up(1000).await;
    let holder = world.node;
    world.lease(WALLET, 900).await.unwrap();
    world.node = world.join("another node").await;
    let claimant = world.node;
    let short = world.lease(WALLET, 300).await.unwrap();
    assert_eq!((short.granted.get(), short.available.get()), (100, 0));
    assert_eq!(short.elsewhere.get(), 900);
    let wanted = world.books().recalls(holder).await.unwrap();
    let wanted: Vec<_> = wanted
        .iter()
        .map(|r| (r.account, r.scope, r.wanted))
        .collect();
    assert_eq!(wanted, [(world.account, WALLET, Amount::new(200))]);
    assert!(world.books().recalls(claimant).await.unwrap().is_empty());
    world.node = holder;
    let back = back(&world, 200);
    world.books().give_back(back).await.unwrap();
    world.node = claimant;
    let rest = world.lease(WALLET, 200).await.unwrap();
    assert_eq!(rest.granted.get(), 200);
    assert!(world.books().recalls(holder).await.unwrap().is_empty());
    assert_eq!(world.balance().await, (1000, 1000));
    world.assert_sound().await;
}

/// What comes free is kept for the oldest claim; a claim that is not renewed lapses.
pub async fn the_oldest_claim_goes_first(mut world: World) {
    world.top_up(1000).await;
    let holder = world.node;
    world.lease(WALLET, 1000).await.unwrap();
    let (older, younger) = (world.join("older").await, world.join("younger").await);
    world.node = older;
    world.lease(WALLET, 300).await.unwrap();
    world.ports.clock.advance(Duration::milliseconds(10));
    world.node = younger;
    world.lease(WALLET, 100).await.unwrap();
    world.node = holder;
    let back = back(&world, 350);
    world.books().give_back(back).await.unwrap();
    world.node = younger;
    let behind = world.lease(WALLET, 100).await.unwrap();
    assert_eq!((behind.granted.get(), behind.elsewhere.get()), (50, 950));
    world.ports.clock.advance(billing_core::lease::CLAIM_FOR);
    // A database of its own goes by its own clock, which takes as long as it takes.
    let mut granted = 0;
    while granted == 0 {
        granted = world.lease(WALLET, 100).await.unwrap().granted.get();
    }
    assert_eq!(granted, 100);
    world.assert_sound().await;
}

/// P1, for leases: whoever asks when, no more is granted than there is, and all of that.
pub async fn leases_that_race_never_pass_the_balance(mut world: World) {
    world.top_up(1000).await;
    let mut asks = Vec::new();
    for i in 0..16 {
        world.node = world.join(&format!("node {i}")).await;
        asks.push(world.ask(WALLET, 70, 90));
    }
    let mut tasks = JoinSet::new();
    for (ask, books) in asks.into_iter().zip(world.ports.books.iter().cycle()) {
        let books = Arc::clone(books);
        tasks.spawn(async move { books.lease(ask).await.unwrap().granted.get() });
    }
    assert_eq!(tasks.join_all().await.into_iter().sum::<u64>(), 1000);
    assert_eq!(world.balance().await, (1000, 1000));
    world.assert_sound().await;
}

/// P1, whole: lease, settle, give back; more is asked for than there is.
pub async fn spending_that_races_never_passes_the_balance(mut world: World) {
    world.top_up(1000).await;
    let mut spenders = Vec::new();
    for i in 0..24_u64 {
        world.node = world.join(&format!("node {i}")).await;
        let (ask, call) = (world.ask(WALLET, 90, 90), world.call(90, 40 + i));
        spenders.push((ask, call, back(&world, 90)));
    }
    let mut tasks = JoinSet::new();
    for ((ask, call, back), books) in spenders.into_iter().zip(world.ports.books.iter().cycle()) {
        let books = Arc::clone(books);
        tasks.spawn(async move {
            let mut spent = 0;
            if books.lease(ask).await.unwrap().granted.get() == 90 {
                let settled = books.settle(Arc::new(call)).await.unwrap();
                assert!(settled.call.overrun.is_zero());
                spent = settled.call.charge.get();
            }
            books.give_back(back).await.unwrap();
            spent
        });
    }
    let spent: i64 = tasks.join_all().await.into_iter().sum();
    assert!((1..=1000).contains(&spent), "{spent}");
    assert_eq!(world.balance().await, (1000 - spent, 0));
    world.assert_sound().await;
}

/// A return never frees what other leases hold.
pub async fn more_than_the_lease_holds_gives_back_the_lease(mut world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, 100).await.unwrap();
    world.node = world.join("another node").await;
    world.lease(WALLET, 200).await.unwrap();
    for _ in 0..2 {
        let back = back(&world, 5000);
        world.books().give_back(back).await.unwrap();
        assert_eq!(world.balance().await, (1000, 100));
    }
    world.assert_sound().await;
}
