//! The journal of an account, before and after it is put into the account's list.

use std::sync::Arc;

use billing_core::budget::BudgetScope;
use billing_core::id::first_id_at;
use billing_core::port::books::{AccountProof, Books};
use billing_core::port::proofs::{Depth, Proofs};
use billing_core::port::reports::{CallFilter, LedgerLine, Reports};
use migrations::Migrator;
use sea_orm::{ConnectionTrait, Database, TransactionTrait};
use store::{Listed, Store, StoreConfig};
use testkit::world::{NOON, credit};
use testkit::{ManualClock, World};
use time::Duration;
use tokio::task::JoinSet;

use crate::store::{Scene, on_both, postgres, settle_many, sqlite};

on_both! {
    transactions_are_found_before_and_after_they_are_listed
    a_round_that_ends_in_the_middle_does_no_harm
    what_is_booked_with_an_older_id_is_found
    what_is_booked_with_an_older_id_while_a_round_goes_on_is_found
    a_transaction_with_an_id_that_is_taken_is_refused
    proofs_go_on_over_what_was_listed_meanwhile
    a_proof_goes_on_behind_a_call_that_is_listed_and_gone
    nothing_is_lost_while_calls_settle_and_two_list
}

/// All legs of the account's journal, by small pages.
async fn journal(scene: &Scene) -> Vec<LedgerLine> {
    let mut lines: Vec<LedgerLine> = Vec::new();
    loop {
        let before = lines.last().map(|line| line.txn);
        let page = scene.store.ledger(scene.world.account, before, 4).await;
        let page = page.unwrap();
        if page.is_empty() {
            return lines;
        }
        lines.extend(page);
    }
}

async fn list(store: &Store) -> Listed {
    let mut all = Listed::default();
    loop {
        let listed = store.list_settled(1000).await.unwrap();
        if !listed.is_some() {
            return all;
        }
        all.calls += listed.calls;
        all.txns += listed.txns;
    }
}

async fn settle(scene: &Scene, calls: usize) {
    for _ in 0..calls {
        scene.world.settle(scene.world.call(10, 10)).await;
    }
}

async fn transactions_are_found_before_and_after_they_are_listed(scene: Scene) {
    settle(&scene, 10).await;
    scene.world.top_up(7).await;
    let before = journal(&scene).await;
    assert_eq!(before.len(), 24);
    assert!(before.is_sorted_by(|a, b| a.txn >= b.txn));
    // Only SQLite has a list.
    let new = |n: u64| if scene.store.is_embedded() { n } else { 0 };
    let unlisted = async || scene.store.look().await.unwrap().unlisted_txns;
    assert_eq!(unlisted().await, new(12));
    for (most, listed) in [(5, 5), (100, 7), (100, 0)] {
        let done = scene.store.list_settled(most).await.unwrap();
        assert_eq!(done.txns, new(listed));
        assert_eq!(journal(&scene).await, before);
        scene.world.assert_sound().await;
    }
    assert_eq!(unlisted().await, 0);
    settle(&scene, 3).await;
    let after = journal(&scene).await;
    assert_eq!(after.len(), 30);
    assert!(after.ends_with(&before));
    // A receipt reads one.
    for line in &after {
        let next = billing_core::id::LedgerTxnId::new(line.txn.get() + 1);
        let one = scene.store.ledger(scene.world.account, Some(next), 1).await;
        assert!(one.unwrap().contains(line));
    }
    scene.world.assert_sound().await;
}

async fn a_round_that_ends_in_the_middle_does_no_harm(scene: Scene) {
    settle(&scene, 10).await;
    let before = journal(&scene).await;
    if scene.store.is_embedded() {
        let back_door = Database::connect(&scene.url).await.unwrap();
        for text in [
            "UPDATE txn_listed SET until = (SELECT MAX(id) FROM ledger_txn)",
            "INSERT INTO account_txn SELECT account_id, id FROM ledger_txn ORDER BY id LIMIT 4",
        ] {
            back_door.execute_unprepared(text).await.unwrap();
        }
        let left = scene.store.look().await.unwrap().unlisted_txns;
        assert_eq!(left, 7);
    }
    assert_eq!(journal(&scene).await, before);
    scene.world.assert_sound().await;
    settle(&scene, 1).await;
    list(&scene.store).await;
    let after = journal(&scene).await;
    assert!(after.len() == before.len() + 2 && after.ends_with(&before));
    scene.world.assert_sound().await;
}

/// By a process whose clock is behind.
async fn what_is_booked_with_an_older_id_is_found(scene: Scene) {
    settle(&scene, 3).await;
    list(&scene.store).await;
    let behind = ManualClock::at(NOON - Duration::minutes(10));
    let other = crate::open::store(&scene.url, &behind).await;
    other.settle(scene.world.call(10, 10).into()).await.unwrap();
    let given = credit(scene.world.number(), 70, "given");
    let early = NOON - Duration::minutes(10);
    let credited = other.add_credit(scene.world.account, given.clone(), early);
    let txn = credited.await.unwrap().txn;
    let lines = journal(&scene).await;
    assert_eq!(lines.len(), 12);
    assert_eq!(lines.iter().filter(|line| line.txn == txn).count(), 2);
    assert_eq!(lines[0].txn.max(txn), lines[0].txn);
    let again = scene.store.add_credit(scene.world.account, given, NOON);
    let again = again.await.unwrap();
    assert!(again.replayed && again.txn == txn);
    scene.world.assert_sound().await;
    list(&scene.store).await;
    assert_eq!(journal(&scene).await, lines);
    scene.world.assert_sound().await;
}

/// A round has drawn its line and read what lies below it. What comes then it does not see.
async fn what_is_booked_with_an_older_id_while_a_round_goes_on_is_found(scene: Scene) {
    settle(&scene, 3).await;
    list(&scene.store).await;
    let back_door = Database::connect(&scene.url).await.unwrap();
    let line = first_id_at((NOON + Duration::hours(1)).unix_timestamp() * 1000);
    let draws = format!("UPDATE txn_listed SET until = {line}");
    let ends = "UPDATE txn_listed SET upto = until";
    if scene.store.is_embedded() {
        back_door.execute_unprepared(&draws).await.unwrap();
    }
    settle(&scene, 2).await;
    let before = journal(&scene).await;
    assert_eq!(before.len(), 12);
    if scene.store.is_embedded() {
        back_door.execute_unprepared(ends).await.unwrap();
    }
    assert_eq!(journal(&scene).await, before);
    scene.world.assert_sound().await;
}

async fn a_transaction_with_an_id_that_is_taken_is_refused(scene: Scene) {
    let back_door = Database::connect(&scene.url).await.unwrap();
    let again = "INSERT INTO ledger_txn (account_id, id, kind, booked_at, balance_after, note) \
                 SELECT account_id, id, kind, booked_at, balance_after, note FROM ledger_txn";
    for _ in 0..2 {
        assert!(back_door.execute_unprepared(again).await.is_err());
        list(&scene.store).await;
    }
    assert_eq!(journal(&scene).await.len(), 2);
}

async fn proofs_go_on_over_what_was_listed_meanwhile(scene: Scene) {
    let moved = async || {
        let accounts = scene.store.to_prove(None, 100).await.unwrap();
        accounts.iter().any(|a| a.moved)
    };
    let prove = async |depth| -> AccountProof {
        let accounts = [scene.world.account];
        let proofs = scene.store.prove(&accounts, depth, NOON).await;
        proofs.unwrap().remove(0)
    };
    for listed_first in [true, false, true] {
        settle(&scene, 2).await;
        assert!(moved().await);
        if listed_first {
            list(&scene.store).await;
            assert!(moved().await);
        }
        assert!(prove(Depth::SinceLast).await.broken.is_empty());
        assert!(!moved().await);
        list(&scene.store).await;
        assert!(!moved().await);
        assert!(prove(Depth::SinceLast).await.broken.is_empty());
        assert!(!moved().await);
    }
    let full = prove(Depth::Full).await;
    assert_eq!((full.calls, full.transactions), (6, 7));
}

/// As retention leaves it that deletes a call while it is put into the list.
async fn a_proof_goes_on_behind_a_call_that_is_listed_and_gone(scene: Scene) {
    settle_many(&scene, 1100).await;
    list(&scene.store).await;
    if scene.store.is_embedded() {
        let back_door = Database::connect(&scene.url).await.unwrap();
        let gone = "INSERT INTO account_call (account_id, call_id) \
                    SELECT account_id, MIN(call_id) - 1 FROM account_call GROUP BY account_id";
        back_door.execute_unprepared(gone).await.unwrap();
    }
    let accounts = [scene.world.account];
    let proofs = scene.store.prove(&accounts, Depth::Full, NOON).await;
    let proof = proofs.unwrap().remove(0);
    assert!(proof.broken.is_empty(), "{:?}", proof.broken);
    assert_eq!(proof.calls, 1100);
}

async fn nothing_is_lost_while_calls_settle_and_two_list(scene: Scene) {
    let mut listers = JoinSet::new();
    let (ended, is_over) = tokio::sync::watch::channel(false);
    for most in [7, 1000] {
        let (store, is_over) = (scene.store.clone(), is_over.clone());
        listers.spawn(async move {
            while !*is_over.borrow() {
                store.list_settled(most).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
    }
    for _ in 0..20 {
        settle_many(&scene, 10).await;
        scene.world.assert_sound().await;
    }
    ended.send(true).unwrap();
    listers.join_all().await;
    list(&scene.store).await;
    let look = scene.store.look().await.unwrap();
    assert_eq!((look.unlisted, look.unlisted_txns), (0, 0));
    let all = CallFilter::default();
    let calls = scene.store.calls(scene.world.account, all, None, 1000);
    assert_eq!(calls.await.unwrap().len(), 200);
    scene.world.assert_sound().await;
}

/// A journal that was written in order of accounts.
#[test]
fn a_journal_of_an_earlier_version_is_kept() {
    testkit::contract::run(async {
        let folder = tempfile::tempdir().unwrap();
        let url = crate::open::sqlite_url(&folder);
        let clock = ManualClock::at(NOON);
        let config = StoreConfig::new(&*url, Arc::new(clock.clone()));
        let store = Store::open(config).await.unwrap();
        migrate_to(&url, "m20261123_000017_journal").await;
        let back_door = Database::connect(&url).await.unwrap();
        // What settles here writes more than what settled then.
        let since = async |is_there: bool| {
            for (column, kind) in LATER_COLUMNS {
                let text = if is_there {
                    format!("ALTER TABLE call ADD COLUMN {column} {kind}")
                } else {
                    format!("ALTER TABLE call DROP COLUMN {column}")
                };
                back_door.execute_unprepared(&text).await.unwrap();
            }
        };
        since(true).await;
        let ports = crate::open::ports(std::slice::from_ref(&store), clock, folder);
        let world = World::new(ports).await;
        let given = credit(world.number(), 1000, "given");
        let account = world.account;
        let first = store.add_credit(account, given.clone(), NOON);
        let first = first.await.unwrap();
        world.lease(BudgetScope::Wallet, 900).await.unwrap();
        for _ in 0..20 {
            world.settle(world.call(10, 10)).await;
        }
        let legs = async || {
            let text = "SELECT * FROM ledger_leg ORDER BY account_id, txn_id, leg";
            let rows = back_door.query_all_raw(sea_orm::Statement::from_string(
                sea_orm::DbBackend::Sqlite,
                text,
            ));
            let rows = rows.await.unwrap();
            let id = |row: &sea_orm::QueryResult| -> (i64, i64) {
                (
                    row.try_get("", "txn_id").unwrap(),
                    row.try_get("", "amount").unwrap(),
                )
            };
            rows.iter().map(id).collect::<Vec<_>>()
        };
        let before = legs().await;
        assert_eq!(before.len(), 42);
        since(false).await;
        store.migrate(|_, _, _| ()).await.unwrap();
        assert_eq!(legs().await, before);
        world.assert_sound().await;
        let again = store.add_credit(account, given, NOON).await.unwrap();
        assert!(again.replayed && again.txn == first.txn);
        // All of it is listed; what comes next is listed as ever.
        assert_eq!(store.look().await.unwrap().unlisted_txns, 0);
        world.settle(world.call(10, 10)).await;
        assert_eq!(list(&store).await.txns, 1);
        let lines = store.ledger(account, None, 100).await.unwrap();
        assert_eq!(lines.len(), 44);
        world.assert_sound().await;
    });
}

/// What calls have got since.
const LATER_COLUMNS: [(&str, &str); 4] = [
    ("cost", "INTEGER"),
    ("rating", "TEXT"),
    ("covered", "INTEGER"),
    ("plan_version_id", "INTEGER"),
];

/// Takes all steps before one.
async fn migrate_to(url: &str, step: &str) {
    let db = Database::connect(url).await.unwrap();
    let tx = db.begin().await.unwrap();
    while Migrator::pending(&tx).await.unwrap()[0] != step {
        Migrator::step(&tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    db.close().await.unwrap();
}
