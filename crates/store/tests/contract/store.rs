//! What only a database can break: closing, reopening, batches, migrations.

use std::sync::Arc;
use std::time::Duration;

use billing_core::budget::BudgetScope;
use billing_core::id::{NodeId, UserId};
use billing_core::port::books::{Books, BooksError};
use billing_core::port::directory::Directory;
use billing_core::port::nodes::{NodeJoin, Nodes, Replaces};
use billing_core::port::reports::{CallFilter, Reports};
use sea_orm::{ConnectionTrait, Database};
use store::{Store, StoreConfig};
use testkit::world::{NOON, hash, user};
use testkit::{ManualClock, Ports, World};
use tokio::task::JoinSet;

const WALLET: BudgetScope = BudgetScope::Wallet;

/// A world on a database, the store under it, and the database's address.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) store: Store,
    pub(crate) url: String,
}

pub(crate) async fn sqlite() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let url = crate::open::sqlite_url(&folder);
    scene(url, folder).await
}

pub(crate) async fn postgres() -> Scene {
    let database = testkit::postgres::database();
    scene(database.url().to_owned(), database).await
}

async fn scene(url: String, keep: impl std::any::Any + Send + Sync) -> Scene {
    let clock = ManualClock::at(NOON);
    let store = crate::open::store(&url, &clock).await;
    let ports: Ports = crate::open::ports(std::slice::from_ref(&store), clock, keep);
    let world = World::new(ports).await;
    world.top_up(1_000_000).await;
    world.lease(WALLET, 500_000).await.unwrap();
    Scene { world, store, url }
}

/// Each rule on both databases.
macro_rules! on_both {
    ($($rule:ident)*) => {
        mod on_sqlite {
            $(#[test] fn $rule() {
                testkit::contract::run(async { super::$rule(super::sqlite().await).await });
            })*
        }
        mod on_postgres {
            $(#[test] fn $rule() {
                testkit::contract::run(async { super::$rule(super::postgres().await).await });
            })*
        }
    };
}

pub(crate) use on_both;

on_both! {
    what_was_settled_survives_reopening
    settlements_that_wait_share_a_commit
    what_is_queued_when_the_store_closes_is_committed
    a_call_that_the_database_refuses_fails_alone
    calls_are_found_before_and_after_they_are_listed
    a_purge_deletes_what_nobody_needs
    a_purge_deletes_a_bounded_number
    the_journal_is_proved_page_by_page
    migrating_again_changes_nothing
    a_database_of_a_newer_version_is_refused_and_left_alone
    an_overspent_wallet_is_refused_by_the_database_itself
}

async fn what_was_settled_survives_reopening(scene: Scene) {
    let Scene { world, store, url } = scene;
    let call = world.call(100, 40);
    let settled = world.settle(call.clone()).await;
    store.close().await;
    let closed = world.books().settle(world.call(1, 1).into()).await;
    assert!(matches!(closed, Err(BooksError::Unavailable(_))));
    let again = crate::open::store(&url, &world.ports.clock).await;
    let wallet = again.wallet(world.account).await.unwrap();
    assert_eq!(
        (wallet.posted.get(), wallet.leased.get()),
        (999_960, 499_960)
    );
    let replayed = again.settle(call.into()).await.unwrap();
    assert!(replayed.replayed);
    assert_eq!(replayed.call, settled.call);
    let proofs = again.verify(None, 10).await.unwrap();
    assert!(proofs.iter().all(|p| p.broken.is_empty()), "{proofs:?}");
    // The node starts again under its name and has its lease back.
    let join = NodeJoin {
        node: NodeId::new(77_777),
        name: "node".to_owned(),
        replaces: Replaces::Ended(world.node),
        now: NOON,
    };
    again.join(join).await.unwrap();
    assert_eq!(again.reclaim(10).await.unwrap().leases, 1);
}

async fn settlements_that_wait_share_a_commit(scene: Scene) {
    let before = scene.store.committed();
    settle_many(&scene, 200).await;
    let after = scene.store.committed();
    assert_eq!(after.operations - before.operations, 200);
    let commits = after.transactions - before.transactions;
    assert!((1..100).contains(&commits), "{commits} commits");
    let (counts, before_counts) = (after.waited.iter(), before.waited.iter());
    let waited = counts.sum::<u64>() - before_counts.sum::<u64>();
    assert_eq!(waited, 200, "each has waited for its own commit at least");
    assert!(after.waited_in_all - before.waited_in_all >= 200);
    scene.world.assert_sound().await;
}

pub(crate) async fn settle_many(scene: &Scene, calls: usize) {
    let mut tasks = JoinSet::new();
    for _ in 0..calls {
        let (store, call) = (scene.store.clone(), scene.world.call(10, 10));
        tasks.spawn(async move { store.settle(call.into()).await.unwrap() });
    }
    tasks.join_all().await;
}

async fn what_is_queued_when_the_store_closes_is_committed(scene: Scene) {
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let (store, call) = (scene.store.clone(), scene.world.call(10, 10));
        tasks.spawn(async move { store.settle(call.into()).await });
    }
    tokio::time::sleep(Duration::from_millis(2)).await;
    scene.store.clone().close().await;
    let answers = tasks.join_all().await;
    let settled = answers.iter().filter(|a| a.is_ok()).count();
    let again = crate::open::store(&scene.url, &scene.world.ports.clock).await;
    let wallet = again.wallet(scene.world.account).await.unwrap();
    let spent = i64::try_from(settled).unwrap() * 10;
    assert_eq!(wallet.posted.get(), 1_000_000 - spent);
}

async fn a_call_that_the_database_refuses_fails_alone(scene: Scene) {
    let Scene { world, store, url } = scene;
    let mut bad = world.call(10, 10);
    let attempt = bad.facts.attempts[0].clone();
    bad.facts.attempts.push(attempt);
    let back_door = Database::connect(&url).await.unwrap();
    let (account, call) = (world.account.get(), bad.call.get());
    let text = format!(
        "INSERT INTO call_attempt (account_id, call_id, seq, channel, outcome, latency_ms) \
         VALUES ({account}, {call}, 0, 'x', 'x', 1)"
    );
    back_door.execute_unprepared(&text).await.unwrap();
    let mut tasks = JoinSet::new();
    let good = (0..20).map(|_| world.call(10, 10));
    for call in good.chain([bad]) {
        let store = store.clone();
        tasks.spawn(async move { store.settle(call.into()).await });
    }
    let answers = tasks.join_all().await;
    assert_eq!(answers.iter().filter(|a| a.is_ok()).count(), 20);
    let refused = answers.into_iter().find_map(Result::err).unwrap();
    assert!(
        matches!(refused, BooksError::Inconsistent(_)),
        "{refused:?}"
    );
    assert_eq!(world.balance().await, (999_800, 499_800));
    world.assert_sound().await;
}

async fn calls_are_found_before_and_after_they_are_listed(scene: Scene) {
    let (world, store) = (&scene.world, &scene.store);
    settle_many(&scene, 30).await;
    let list = async |before| {
        let all = CallFilter::default();
        let calls = store.calls(world.account, all, before, 12).await.unwrap();
        calls.iter().map(|c| c.id).collect::<Vec<_>>()
    };
    let before = list(None).await;
    assert_eq!(before.len(), 12);
    // Only SQLite has a queue.
    let queued = |n: u64| if store.is_embedded() { n } else { 0 };
    let listed = async |most| store.list_settled(most).await.unwrap().calls;
    assert_eq!(listed(20).await, queued(20));
    assert_eq!(list(None).await, before);
    settle_many(&scene, 5).await;
    assert_eq!(listed(100).await, queued(15));
    assert_eq!(listed(100).await, 0);
    let mut all = list(None).await;
    while let Some(next) = all.last().copied() {
        let more = list(Some(next)).await;
        if more.is_empty() {
            break;
        }
        all.extend(more);
    }
    assert_eq!(all.len(), 35);
    assert!(all.is_sorted_by(|a, b| a > b));
    world.assert_sound().await;
}

async fn a_purge_deletes_what_nobody_needs(scene: Scene) {
    let (mut world, store) = (scene.world, scene.store);
    let ada = user(UserId::new(world.number()), "ada@example.org");
    store.create_user(ada.clone(), "x").await.unwrap();
    for (number, hours) in [(5, 1), (6, 50)] {
        let end = NOON + time::Duration::hours(hours);
        let open = store.open_session(hash(number), ada.id, NOON, end);
        open.await.unwrap();
    }
    let newest = store.newest_change().await.unwrap();
    assert!(newest > 1);
    // Fenced, one with a lease that nobody took back yet.
    let first = world.node;
    world.node = world.join("other").await;
    world.lease(WALLET, 10).await.unwrap();
    let back_door = Database::connect(&scene.url).await.unwrap();
    let noon = NOON.unix_timestamp() * 1_000_000;
    let fence = format!("UPDATE node SET fenced_at = {noon}");
    back_door.execute_unprepared(&fence).await.unwrap();
    let keep = format!("DELETE FROM lease WHERE node_id = {}", first.get());
    back_door.execute_unprepared(&keep).await.unwrap();
    let free = "UPDATE wallet SET leased = 10";
    back_door.execute_unprepared(free).await.unwrap();
    assert_eq!(store.purge(NOON, NOON).await.unwrap(), 0);
    let day = NOON + time::Duration::days(1);
    let later = day + time::Duration::seconds(1);
    // A date that was moved makes nothing old that nodes have told each other.
    let gone = store.purge(later, NOON).await.unwrap();
    assert_eq!(gone, 1, "the session that ended");
    assert!(store.session(hash(6), day).await.unwrap().is_some());
    let changes = store.changes(0, 100).await.unwrap().len();
    let gone = store.purge(later, later).await.unwrap();
    assert_eq!(gone, u64::try_from(changes).unwrap(), "a node, old changes");
    let left = store.changes(0, 100).await.unwrap();
    assert_eq!(
        left.iter().map(|c| c.position).collect::<Vec<_>>(),
        [newest]
    );
    assert_eq!(store.newest_change().await.unwrap(), newest);
    assert_eq!(store.purge(later, later).await.unwrap(), 0);
    world.assert_sound().await;
}

async fn a_purge_deletes_a_bounded_number(scene: Scene) {
    let back_door = Database::connect(&scene.url).await.unwrap();
    let text = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) \
                INSERT INTO change_feed (subject, account_id, at) SELECT 'prices', NULL, 0 FROM n";
    back_door.execute_unprepared(text).await.unwrap();
    let day = NOON + time::Duration::days(2);
    assert_eq!(scene.store.purge(day, day).await.unwrap(), 1000);
    assert!(scene.store.purge(day, day).await.unwrap() >= 499);
    assert_eq!(scene.store.changes(0, 9).await.unwrap().len(), 1);
}

/// Also where the pages meet.
async fn the_journal_is_proved_page_by_page(scene: Scene) {
    let account = scene.world.account.get();
    let back_door = Database::connect(&scene.url).await.unwrap();
    let n = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2100)";
    for text in [
        format!(
            "{n} INSERT INTO ledger_txn \
             (account_id, id, kind, booked_at, balance_after, note) \
             SELECT {account}, i, 'top_up', 0, 0, '' FROM n"
        ),
        format!(
            "{n} INSERT INTO ledger_entry (account_id, txn_id, leg, code, amount) \
             SELECT {account}, i, leg, 'payment_clearing', 5 - 10 * leg FROM n \
             CROSS JOIN (SELECT 0 AS leg UNION ALL SELECT 1) l"
        ),
    ] {
        back_door.execute_unprepared(&text).await.unwrap();
    }
    scene.world.assert_sound().await;
    let proof = scene.store.verify(None, 1).await.unwrap().remove(0);
    assert_eq!(proof.transactions, 2101);
    for txn in [1000, 1001, 2000] {
        let bend = |by: i64| {
            format!(
                "UPDATE ledger_entry SET amount = amount + {by} WHERE txn_id = {txn} AND leg = 0"
            )
        };
        back_door.execute_unprepared(&bend(1)).await.unwrap();
        let proof = scene.store.verify(None, 1).await.unwrap().remove(0);
        assert_eq!(proof.broken.len(), 1, "{:?}", proof.broken);
        back_door.execute_unprepared(&bend(-1)).await.unwrap();
    }
    let bare = "DELETE FROM ledger_entry WHERE txn_id IN (1000, 1001)";
    back_door.execute_unprepared(bare).await.unwrap();
    let proof = scene.store.verify(None, 1).await.unwrap().remove(0);
    assert_eq!(proof.broken.len(), 2, "{:?}", proof.broken);
}

async fn migrating_again_changes_nothing(scene: Scene) {
    assert!(scene.store.pending_migrations().await.unwrap().is_empty());
    let mut steps = 0;
    let taken = scene.store.migrate(|_, _, _| steps += 1).await.unwrap();
    assert_eq!((taken, steps), (0, 0));
}

async fn a_database_of_a_newer_version_is_refused_and_left_alone(scene: Scene) {
    let back_door = Database::connect(&scene.url).await.unwrap();
    let future = "INSERT INTO seaql_migrations (version, applied_at) \
                  VALUES ('m20991231_000099_wings', 0)";
    back_door.execute_unprepared(future).await.unwrap();
    let store = &scene.store;
    let refused = [
        store.refuse_newer_schema().await.unwrap_err(),
        store.pending_migrations().await.unwrap_err(),
        store.migrate(|_, _, _| ()).await.unwrap_err(),
    ];
    for error in refused {
        let text = error.to_string();
        assert!(text.contains("m20991231_000099_wings"), "{text}");
        assert!(text.contains("newer version of Tollgate"), "{text}");
    }
    // Who began before the step was taken goes on.
    scene.world.settle(scene.world.call(10, 10)).await;
}

/// Nodes that start together on an empty database.
#[test]
fn who_migrates_at_the_same_time_takes_every_step_once() {
    testkit::contract::run(async {
        let database = testkit::postgres::database();
        let clock = ManualClock::at(NOON);
        let mut tasks = JoinSet::new();
        for _ in 0..4 {
            let config = StoreConfig::new(database.url(), Arc::new(clock.clone()));
            tasks.spawn(async move {
                let store = Store::open(config).await.unwrap();
                store.refuse_newer_schema().await.unwrap();
                let taken = store.migrate(|_, _, _| ()).await.unwrap();
                assert!(store.pending_migrations().await.unwrap().is_empty());
                taken
            });
        }
        let mut taken = tasks.join_all().await;
        taken.sort_unstable();
        assert_eq!(taken[..3], [0, 0, 0]);
        assert!(taken[3] > 7, "{taken:?}");
    });
}

async fn an_overspent_wallet_is_refused_by_the_database_itself(scene: Scene) {
    let back_door = Database::connect(&scene.url).await.unwrap();
    for wrong in [
        "UPDATE wallet SET posted = posted - 600000",
        "UPDATE wallet SET leased = -1",
        "UPDATE lot SET remaining = granted + 1",
        "UPDATE lease SET amount = -1",
    ] {
        assert!(
            back_door.execute_unprepared(wrong).await.is_err(),
            "{wrong}"
        );
    }
    scene.world.assert_sound().await;
}

#[test]
fn a_sum_that_became_a_float_is_refused_by_sqlite() {
    testkit::contract::run(async {
        let scene = sqlite().await;
        let back_door = Database::connect(&scene.url).await.unwrap();
        let text = "UPDATE wallet SET credit_limit = 9223372036854775807 + 9223372036854775807";
        assert!(back_door.execute_unprepared(text).await.is_err());
    });
}

#[test]
fn every_step_of_a_migration_is_told() {
    testkit::contract::run(async {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(NOON));
        let config = StoreConfig::new(crate::open::sqlite_url(&folder), clock);
        let store = Store::open(config).await.unwrap();
        let pending = store.pending_migrations().await.unwrap();
        let mut told = Vec::new();
        let taken = store.migrate(|step, done, all| told.push((step.to_owned(), done, all)));
        assert_eq!(taken.await.unwrap(), pending.len());
        let expected = pending.iter().enumerate();
        let expected = expected.map(|(i, step)| (step.clone(), i, pending.len()));
        assert_eq!(told, expected.collect::<Vec<_>>());
        store.ping().await.unwrap();
    });
}

#[test]
fn nodes_that_start_together_migrate_once() {
    testkit::contract::run(async {
        let database = testkit::postgres::database();
        let clock = Arc::new(ManualClock::at(NOON));
        let mut tasks = JoinSet::new();
        for _ in 0..4 {
            let config = StoreConfig::new(database.url(), clock.clone());
            tasks.spawn(async move {
                let store = Store::open(config).await.unwrap();
                store.migrate(|_, _, _| ()).await.unwrap()
            });
        }
        let mut taken = tasks.join_all().await;
        taken.sort_unstable();
        assert_eq!((taken[0], taken[2]), (0, 0));
        assert!(taken[3] > 0);
    });
}

#[test]
fn an_address_that_names_no_database_is_refused_without_its_password() {
    testkit::contract::run(async {
        let clock = Arc::new(ManualClock::at(NOON));
        for url in ["mysql://u:secret@h/d", "sqlite://", "secret"] {
            let config = StoreConfig::new(url, clock.clone());
            let error = Store::open(config).await.unwrap_err().to_string();
            assert!(error.contains("expected sqlite"), "{error}");
            assert!(!error.contains("secret@"), "{error}");
        }
    });
}
