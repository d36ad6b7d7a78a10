//! Rules of statements.

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::AccountId;
use billing_core::invoice::{MovementKind, Statement, StatementMonth};
use billing_core::money::Nanos;
use billing_core::port::directory::Account;
use billing_core::port::invoices::InvoicesError;
use billing_core::wallet::{Credit, LotKind};
use time::Duration;
use time::macros::datetime;

use crate::World;
use crate::contract::subscriptions::{NINE, begin, days, monthly, run};
use crate::world::{account, credit};

/// An account of Shanghai, whose days begin eight hours before those of UTC.
async fn in_shanghai(world: &mut World) {
    let id = AccountId::new(world.number());
    let made = Account {
        zone: "Asia/Shanghai".to_owned(),
        ..account(id, 0)
    };
    world.ports.directory.create_account(made).await.unwrap();
    world.account = id;
    world.key = world.new_key(id, None).await;
}

async fn statement(world: &World, month: &str) -> Statement {
    let month: StatementMonth = month.parse().unwrap();
    let zone = "Asia/Shanghai".parse().unwrap();
    let period = month.period(&zone).unwrap();
    let invoices = &world.ports.invoices;
    let made = invoices.statement(world.account, period, world.now()).await;
    made.unwrap()
}

/// What moved, in its order: day and hour of UTC, what it was, how much.
fn moved(statement: &Statement) -> Vec<(u8, u8, MovementKind, i64)> {
    let movements = statement.movements.iter();
    let moved = movements.map(|m| {
        let at = m.at.unwrap();
        (at.day(), at.hour(), m.kind, m.amount.get())
    });
    moved.collect()
}

/// Usage by the account's days, and everything else when it was booked; balances before and after, as
/// the wallet had them.
pub async fn a_statement_explains_a_balance(mut world: World) {
    in_shanghai(&mut world).await;
    world.top_up(1_000).await;
    world.lease_and_settle(100, 80).await;
    world.settle(world.call(20, 15)).await;
    // Four hours later it is the next day there.
    world.ports.clock.advance(Duration::hours(4));
    let given = Credit {
        kind: LotKind::Promo,
        expires_at: Some(world.now() + Duration::HOUR),
        ..credit(world.number(), 50, "welcome")
    };
    let books = world.books();
    let added = books.add_credit(world.account, given, world.now()).await;
    added.unwrap();
    world.lease_and_settle(40, 30).await;
    let (posted, leased) = world.balance().await;
    world.give_back(BudgetScope::Wallet, leased).await;
    world.ports.clock.advance(Duration::HOUR);
    let lapsed = books.lapse(world.account, world.now()).await.unwrap();
    assert_eq!((lapsed.amount.get(), lapsed.on_lease), (20, Amount::ZERO));
    let november = statement(&world, "2026-11").await;
    assert_eq!(
        moved(&november),
        [
            (22, 12, MovementKind::TopUp, 1_000),
            (21, 16, MovementKind::Usage, -95),
            (22, 16, MovementKind::Promo, 50),
            (22, 16, MovementKind::Usage, -30),
            (22, 17, MovementKind::Expiry, -20),
        ]
    );
    assert_eq!(november.opening, Nanos::ZERO);
    assert_eq!(november.closing, Nanos::new(posted - 20));
    assert_eq!(november.period.end, world.now());
    assert_eq!(november.check(), Ok(()));
    let october = statement(&world, "2026-10").await;
    assert_eq!(
        (october.opening, october.closing),
        (Nanos::ZERO, Nanos::ZERO)
    );
    assert_eq!(moved(&october), []);
    world.assert_sound().await;
}

/// The month after begins where it ended, whatever has happened since.
pub async fn statements_follow_upon_one_another(mut world: World) {
    in_shanghai(&mut world).await;
    world.top_up(NINE + 500).await;
    begin(&world, monthly()).await;
    run(&world).await;
    world.lease_and_settle(100, 80).await;
    let (_, leased) = world.balance().await;
    world.give_back(BudgetScope::Wallet, leased).await;
    days(&world, 9).await;
    world.top_up(7).await;
    let november = statement(&world, "2026-11").await;
    let december = statement(&world, "2026-12").await;
    let of = |kind| {
        let moved = november.movements.iter().filter(move |m| m.kind == kind);
        moved.map(|m| m.amount.get()).collect::<Vec<_>>()
    };
    assert_eq!(of(MovementKind::TopUp), [NINE + 500]);
    assert_eq!(of(MovementKind::Invoice), [-NINE]);
    assert_eq!(of(MovementKind::Usage), [-80]);
    assert_eq!(november.closing, Nanos::new(420));
    assert_eq!(november.period.end, datetime!(2026-11-30 16:00 UTC));
    assert_eq!(december.opening, november.closing);
    assert_eq!(december.closing, Nanos::new(427));
    assert_eq!(december.closing.get(), world.balance().await.0);
    world.assert_sound().await;
}

/// Whoever asks.
pub async fn nobody_has_a_statement_of_an_account_that_is_not_there(world: World) {
    let month: StatementMonth = "2026-11".parse().unwrap();
    let period = month.period(&"UTC".parse().unwrap()).unwrap();
    let unknown = AccountId::new(world.number());
    let refused = world
        .ports
        .invoices
        .statement(unknown, period, world.now())
        .await;
    assert!(
        matches!(refused, Err(InvoicesError::NoSuchAccount)),
        "{refused:?}"
    );
}
