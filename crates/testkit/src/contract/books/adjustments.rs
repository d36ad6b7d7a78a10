//! Rules of the books for what is given back or charged afterwards.

use billing_core::adjustment::{Adjustment, CallPart};
use billing_core::id::{CallId, LotId};
use billing_core::money::{Currency, Nanos};
use billing_core::port::books::BooksError;
use billing_core::wallet::LotKind;

use super::WALLET;
use crate::World;
use crate::world::NOON;

fn adjustment(world: &World, amount: i64, calls: &[(CallId, i64)]) -> Adjustment {
    Adjustment {
        key: format!("correct:{}", world.number()),
        amount: Nanos::new(amount),
        currency: Currency::USD,
        lot: LotId::new(world.number()),
        kind: LotKind::Paid,
        calls: calls
            .iter()
            .map(|(call, part)| CallPart {
                call: *call,
                amount: Nanos::new(*part),
                after: 0,
                window: None,
            })
            .collect(),
        note: "a wrong price".to_owned(),
        takes_what_is_there: true,
    }
}

/// The record of the calls stays as it is.
pub async fn what_is_given_back_can_be_spent_and_names_its_calls(world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, 500).await.unwrap();
    let [one, two] = [world.call(100, 60), world.call(100, 40)];
    let ids = [one.call, two.call];
    world.settle(one).await;
    world.settle(two).await;
    let given = adjustment(&world, -30, &[(ids[0], -20), (ids[1], -10)]);
    let adjusted = world
        .books()
        .adjust(world.account, given, NOON)
        .await
        .unwrap();
    assert_eq!(adjusted.balance, Nanos::new(930));
    let mut more = adjustment(&world, -5, &[(ids[0], -5)]);
    // What was worked out before the one above is overtaken by it.
    let adjust = async |more: &Adjustment| {
        world
            .books()
            .adjust(world.account, more.clone(), NOON)
            .await
    };
    let overtaken = adjust(&more).await;
    assert!(
        matches!(overtaken, Err(BooksError::AdjustedMeanwhile(call)) if call == ids[0]),
        "{overtaken:?}"
    );
    more.calls[0].after = 1;
    adjust(&more).await.unwrap();
    assert!(adjust(&more).await.unwrap().replayed);
    let calls = [ids[0], ids[1], CallId::new(7)];
    let sums = world
        .books()
        .adjustments(world.account, &calls)
        .await
        .unwrap();
    let sums: Vec<_> = sums
        .into_iter()
        .map(|(call, so_far)| (call, so_far.amount.get(), so_far.times))
        .collect();
    assert_eq!(sums, [(ids[0], -25, 2), (ids[1], -10, 1)]);
    let call = world
        .ports
        .reports
        .call(world.account, ids[0])
        .await
        .unwrap();
    assert_eq!(call.unwrap().charge, Nanos::new(60));
    world.assert_sound().await;
    // It is drawn like any other credit.
    world.lease(WALLET, 435).await.unwrap();
    let settled = world.settle(world.call(935, 935)).await;
    assert_eq!(settled.call.charge, Nanos::new(935));
    assert_eq!(settled.call.balance_after, Nanos::ZERO);
    world.assert_sound().await;
}

/// What nodes have on lease is spoken for, and nothing is owed beyond credit.
pub async fn a_later_charge_takes_what_is_free_and_no_more(world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, 700).await.unwrap();
    let leased = i64::try_from(world.balance().await.1).unwrap();
    let later = adjustment(&world, 2_000, &[]);
    let adjusted = world
        .books()
        .adjust(world.account, later, NOON)
        .await
        .unwrap();
    assert_eq!(adjusted.balance, Nanos::new(leased));
    assert_eq!(adjusted.uncollected, Nanos::new(1_000 + leased));
    world.assert_sound().await;
    let none = adjustment(&world, 1, &[]);
    let adjusted = world
        .books()
        .adjust(world.account, none, NOON)
        .await
        .unwrap();
    assert_eq!((adjusted.txn, adjusted.uncollected), (None, Nanos::new(1)));
    world.assert_sound().await;
}

/// However often it is asked for.
pub async fn an_adjustment_is_made_once_for_its_key(world: World) {
    world.top_up(1000).await;
    let given = adjustment(&world, -30, &[]);
    let first = world
        .books()
        .adjust(world.account, given.clone(), NOON)
        .await
        .unwrap();
    let again = world
        .books()
        .adjust(world.account, given.clone(), NOON)
        .await
        .unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!((first.txn, first.balance), (again.txn, again.balance));
    let other = Adjustment {
        amount: Nanos::new(-31),
        ..given
    };
    let refused = world.books().adjust(world.account, other, NOON).await;
    assert!(matches!(refused, Err(BooksError::KeyReused)), "{refused:?}");
    world.assert_sound().await;
}

/// A node that has all of it on lease gives it back for this.
pub async fn a_later_charge_recalls_what_is_on_lease(world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, u64::MAX).await.unwrap();
    let later = Adjustment {
        takes_what_is_there: false,
        ..adjustment(&world, 300, &[])
    };
    let adjust = async || {
        world
            .books()
            .adjust(world.account, later.clone(), NOON)
            .await
    };
    assert!(matches!(adjust().await, Err(BooksError::OnLease)));
    let recalls = world.books().recalls(world.node).await.unwrap();
    let wanted: Vec<u64> = recalls.iter().map(|r| r.wanted.get()).collect();
    assert_eq!(wanted, [300]);
    world.give_back(WALLET, 300).await;
    let adjusted = adjust().await.unwrap();
    assert_eq!(
        (adjusted.balance, adjusted.uncollected),
        (Nanos::new(700), Nanos::ZERO)
    );
    assert!(world.books().recalls(world.node).await.unwrap().is_empty());
    world.assert_sound().await;
}
