//! Rules of credit whose time is over.

use std::sync::Arc;

use billing_core::budget::{Amount, BudgetScope};
use billing_core::ledger::{LedgerCode, LedgerKind};
use billing_core::money::{Currency, Nanos};
use billing_core::port::books::{BooksError, Lapsed, Lapsing};
use billing_core::wallet::{Credit, LotKind};
use time::Duration;
use tokio::task::JoinSet;

use crate::World;
use crate::world::credit;

/// Gives credit of a kind that lapses in an hour.
async fn give(world: &World, kind: LotKind, nanos: i64) {
    let number = world.number();
    let given = Credit {
        kind,
        expires_at: Some(world.now() + Duration::HOUR),
        ..credit(number, nanos, &format!("lapses:{number}"))
    };
    let books = world.books();
    let added = books.add_credit(world.account, given, world.now()).await;
    added.unwrap();
}

async fn lapsing(world: &World) -> Vec<Lapsing> {
    let all = world.books().lapsing(world.now(), None, 10).await.unwrap();
    let of_world = all.into_iter().filter(|l| l.account == world.account);
    of_world.collect()
}

async fn lapse(world: &World) -> Lapsed {
    let books = world.books();
    books.lapse(world.account, world.now()).await.unwrap()
}

/// Whoever does it, and however many at once; nothing that is not over.
pub async fn credit_lapses_once_when_its_time_is_over(world: World) {
    world.top_up(100).await;
    give(&world, LotKind::Promo, 50).await;
    world.ports.clock.advance(Duration::minutes(59));
    assert_eq!(lapsing(&world).await, []);
    assert_eq!(lapse(&world).await.amount, Nanos::ZERO);
    assert_eq!(world.balance().await, (150, 0));
    world.ports.clock.advance(Duration::minutes(1));
    let due = Lapsing {
        account: world.account,
        currency: Currency::USD,
        amount: Nanos::new(50),
    };
    assert_eq!(lapsing(&world).await, [due]);
    let mut tasks = JoinSet::new();
    for books in world.ports.books.iter().cycle().take(8) {
        let (books, account, now) = (Arc::clone(books), world.account, world.now());
        tasks.spawn(async move { books.lapse(account, now).await.unwrap() });
    }
    let all = tasks.join_all().await;
    let took = all.iter().filter(|lapsed| !lapsed.amount.is_zero());
    assert_eq!(took.map(|l| l.amount.get()).collect::<Vec<_>>(), [50]);
    assert!(all.iter().all(|lapsed| lapsed.balance == Nanos::new(100)));
    assert_eq!(world.balance().await, (100, 0));
    assert_eq!(lapsing(&world).await, []);
    let held = world.books().lots(world.account, 10).await.unwrap();
    let held: Vec<_> = held.iter().map(|l| (l.kind, l.remaining.get())).collect();
    assert_eq!(held, [(LotKind::Paid, 100)]);
    world.assert_sound().await;
}

/// It pays what it was held for; what comes back of it lapses.
pub async fn what_a_call_holds_does_not_lapse(world: World) {
    give(&world, LotKind::Promo, 100).await;
    world.lease(BudgetScope::Wallet, 70).await.unwrap();
    world.ports.clock.advance(Duration::HOUR);
    let leased = world.balance().await.1;
    let first = lapse(&world).await;
    assert_eq!(first.amount.get(), 100 - i64::try_from(leased).unwrap());
    assert_eq!(first.on_lease, Amount::new(leased));
    let recalls = world.books().recalls(world.node).await.unwrap();
    assert!(recalls.iter().any(|recall| recall.account == world.account));
    let settled = world.settle(world.call(70, 40)).await;
    let drawn = settled.call.draws.iter().map(|d| (d.kind, d.amount.get()));
    assert_eq!(drawn.collect::<Vec<_>>(), [(LotKind::Promo, 40)]);
    world.give_back(BudgetScope::Wallet, leased - 40).await;
    let rest = lapse(&world).await;
    assert_eq!(rest.amount.get(), i64::try_from(leased).unwrap() - 40);
    assert_eq!(rest.on_lease, Amount::ZERO);
    assert_eq!(world.balance().await, (0, 0));
    assert_eq!(lapsing(&world).await, []);
    world.assert_sound().await;
}

/// What was given is an expense no more.
pub async fn bought_credit_that_lapses_is_income(world: World) {
    give(&world, LotKind::Paid, 30).await;
    give(&world, LotKind::Promo, 20).await;
    world.ports.clock.advance(Duration::HOUR);
    let lapsed = lapse(&world).await;
    let lines = world.ports.reports.ledger(world.account, None, 1);
    let lines = lines.await.unwrap();
    assert!(lines.iter().all(|l| Some(l.txn) == lapsed.txn));
    assert!(lines.iter().all(|l| l.kind == LedgerKind::Expiry));
    let mut legs: Vec<_> = lines.iter().map(|l| (l.code, l.amount.get())).collect();
    legs.sort();
    let mut wanted = [
        (LedgerCode::WalletPaid, 30),
        (LedgerCode::Breakage, -30),
        (LedgerCode::WalletPromo, 20),
        (LedgerCode::PromoExpense, -20),
    ];
    wanted.sort();
    assert_eq!(legs, wanted);
    world.assert_sound().await;
}

/// A key stands for one content, and when it lapses is part of that.
pub async fn another_end_under_the_same_key_is_refused(world: World) {
    let ends = [None, Some(world.now() + Duration::DAY)];
    let add = async |end| {
        let credit = Credit {
            expires_at: end,
            ..credit(7, 50, "pi_1")
        };
        world
            .books()
            .add_credit(world.account, credit, world.now())
            .await
    };
    add(ends[1]).await.unwrap();
    assert!(add(ends[1]).await.unwrap().replayed);
    let refused = add(ends[0]).await;
    assert!(matches!(refused, Err(BooksError::KeyReused)), "{refused:?}");
    assert_eq!(world.balance().await, (50, 0));
    world.assert_sound().await;
}
