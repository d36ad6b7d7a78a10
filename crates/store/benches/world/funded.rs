//! Accounts in bulk, each with a wallet, a lot and its booking; and a node's leases on them.

use std::sync::Arc;

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::{AccountId, NodeId};
use billing_core::lease::{LeaseAsk, LeaseSeq};
use billing_core::port::books::Books;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend};
use store::{Store, StoreConfig};
use testkit::world::NOON;
use testkit::{ManualClock, Ports, World};
use tokio::task::JoinSet;

/// The account before the first one.
const BASE: i64 = 1_000_000;
/// What each account has, in nanos.
const FUNDS: i64 = 4_000_000_000_000;
/// What of it is on lease.
const LEASE: u64 = 2_000_000_000_000;

/// The accounts by number, the first is 1.
pub(crate) fn account(number: i64) -> AccountId {
    AccountId::new(BASE + number)
}

/// The numbers from 1 on, as a table `n` with a column `i`.
pub(crate) fn numbers(db: &DatabaseConnection, last: i64) -> String {
    if db.get_database_backend() == DbBackend::Postgres {
        return format!("generate_series(1::bigint, {last}::bigint) AS n (i)");
    }
    format!(
        "(WITH RECURSIVE m (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM m WHERE i < {last}) \
         SELECT i FROM m) AS n"
    )
}

/// A connection that fills tables.
pub(crate) async fn connect(url: &str) -> DatabaseConnection {
    let mut options = sea_orm::ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}

/// Makes so many accounts.
pub(crate) async fn make_accounts(db: &DatabaseConnection, accounts: i64) {
    let n = numbers(db, accounts);
    let a = format!("{BASE} + i");
    for text in [
        format!(
            "INSERT INTO account (id, name, currency, zone, status, credit_limit, created_at) \
             SELECT {a}, 'Ada''s', 'USD', 'UTC', 'active', 0, 0 FROM {n}"
        ),
        format!(
            "INSERT INTO wallet (account_id, currency, posted, leased, credit_limit, status) \
             SELECT {a}, 'USD', {FUNDS}, 0, 0, 'active' FROM {n}"
        ),
        format!(
            "INSERT INTO lot (account_id, id, kind, priority, effective_at, created_at, granted, \
             remaining) SELECT {a}, {a}, 'paid', 0, 0, 0, {FUNDS}, {FUNDS} FROM {n}"
        ),
        format!(
            "INSERT INTO ledger_txn (account_id, id, kind, booked_at, balance_after, note) \
             SELECT {a}, 1, 'top_up', 0, {FUNDS}, '' FROM {n}"
        ),
        format!(
            "INSERT INTO ledger_entry (account_id, txn_id, leg, code, amount, lot_id) \
             SELECT {a}, 1, 0, 'payment_clearing', {FUNDS}, NULL FROM {n}"
        ),
        format!(
            "INSERT INTO ledger_entry (account_id, txn_id, leg, code, amount, lot_id) \
             SELECT {a}, 1, 1, 'wallet_paid', -{FUNDS}, {a} FROM {n}"
        ),
    ] {
        db.execute_unprepared(&text).await.unwrap();
    }
    if db.get_database_backend() == DbBackend::Sqlite {
        for text in [
            "INSERT INTO account_txn (account_id, txn_id) \
             SELECT account_id, id FROM ledger_txn ORDER BY account_id",
            "UPDATE txn_listed SET upto = 1, until = 1",
        ] {
            db.execute_unprepared(text).await.unwrap();
        }
    }
}

/// Opens the store at `url` with the clock at noon.
pub(crate) async fn open(url: &str, batch: Option<usize>) -> (Store, ManualClock) {
    let clock = ManualClock::at(NOON);
    let mut config = StoreConfig::new(url, Arc::new(clock.clone()));
    config.batch = batch.unwrap_or(config.batch);
    (Store::open(config).await.unwrap(), clock)
}

/// The world around a store; `keep` lives as long.
pub(crate) async fn world(
    store: &Store,
    clock: ManualClock,
    keep: impl std::any::Any + Send + Sync,
) -> World {
    let shared = Arc::new(store.clone());
    let ports = Ports::of(shared, clock, keep);
    World::new(ports).await
}

/// Takes a lease on each of these accounts.
pub(crate) async fn take_leases(store: &Store, node: NodeId, accounts: &[AccountId]) {
    let mut tasks = JoinSet::new();
    for chunk in accounts.chunks(accounts.len().div_ceil(256).max(1)) {
        let (store, chunk) = (store.clone(), chunk.to_vec());
        tasks.spawn(async move {
            for account in chunk {
                let ask = LeaseAsk {
                    node,
                    account,
                    scope: BudgetScope::Wallet,
                    seq: LeaseSeq::new(1),
                    needed: Amount::new(LEASE),
                    wanted: Amount::new(LEASE),
                    under_way: false,
                };
                assert_eq!(store.lease(ask).await.unwrap().granted.get(), LEASE);
            }
        });
    }
    tasks.join_all().await;
}
