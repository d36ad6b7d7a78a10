//! The log of calls, divided as `docs/how-to/partition-the-call-log.md` says: what is written there
//! is what is run here, and every statement on it reads few parts.

use std::collections::BTreeSet;
use std::sync::Arc;

use billing_core::id::CallId;
use billing_core::port::reports::{CallFilter, Reports};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use testkit::world::NOON;
use testkit::{ManualClock, Ports, World};

use crate::list_plans::filled::{self, LARGE, RARE_KEY};
use crate::{Store, db, hot_statements, list_plans};

const PAGE: &str = include_str!("../../../docs/how-to/partition-the-call-log.md");

#[test]
fn a_divided_log_is_read_and_written_in_part() {
    testkit::contract::run(async {
        let database = testkit::postgres::database();
        let store = filled::empty(database.url()).await;
        run(&store, "divide", "2026-11-19 10:00+00").await;
        run(&store, "ahead", "2026-11-19 10:00+00").await;
        // From noon of the 21st on, a day long.
        filled::fill(&store).await;
        let mut world = world(&store).await;
        settlements_reach_one_part(&store, &mut world).await;
        lists_begin_at_the_newest_part(&store).await;
        list_plans::check_filled(&store).await;
        calls_are_settled_once(&world).await;
        dropped_parts_are_gone_and_the_books_hold(&store, &world).await;
        drop(database);
    });
}

async fn world(store: &Store) -> World {
    let shared = Arc::new(store.clone());
    let ports = Ports::of(shared, ManualClock::at(NOON), ());
    World::new(ports).await
}

/// All parts by which old calls go.
async fn drop_old(store: &Store, now: &str) {
    for part in ["line", "drop", "rest"] {
        run(store, part, now).await;
    }
}

/// Runs one part of the page, as if it were another day.
async fn run(store: &Store, part: &str, now: &str) {
    let sql = sql(part).replace("now()", &format!("timestamptz '{now}'"));
    store.db.writer.execute_unprepared(&sql).await.unwrap();
}

fn sql(part: &str) -> String {
    let begin = format!("```sql\n-- {part}\n");
    let (_, rest) = PAGE.split_once(&begin).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Each statement that a settlement sends.
async fn settlements_reach_one_part(store: &Store, world: &mut World) {
    let sent = hot_statements::play(store, world).await;
    let mut touched = BTreeSet::new();
    let tx = store.db.begin().await.unwrap();
    for statement in sent {
        let parts = parts(&tx, &statement).await;
        assert!(parts.len() <= 1, "{parts:?}: {}", statement.sql);
        touched.extend(parts);
    }
    tx.rollback().await.unwrap();
    // Calls of this world have small ids.
    assert_eq!(touched.into_iter().collect::<Vec<_>>(), ["call_before"]);
}

async fn lists_begin_at_the_newest_part(store: &Store) {
    let of_key = CallFilter {
        key: Some(RARE_KEY),
        ..CallFilter::default()
    };
    for (filter, limit, oldest) in [
        (CallFilter::default(), 50, "call_20261122"),
        (of_key, 15, "call_20261121"),
    ] {
        let listed = store.calls(LARGE, filter, None, limit);
        let (sent, found) = list_plans::heard(listed).await;
        assert_eq!(found.unwrap().len(), usize::try_from(limit).unwrap());
        let mut touched = BTreeSet::new();
        let tx = store.db.begin().await.unwrap();
        for statement in sent {
            touched.extend(parts(&tx, &statement).await);
        }
        tx.rollback().await.unwrap();
        // Those that were made ahead are empty.
        assert_eq!(touched.first().map(String::as_str), Some(oldest));
        assert!(!touched.contains("call_before"));
    }
}

/// The parts of the log that a statement reads or writes.
async fn parts<C: ConnectionTrait>(tx: &C, statement: &Statement) -> BTreeSet<String> {
    let mut plan = statement.clone();
    plan.sql = format!(
        "EXPLAIN (ANALYZE, VERBOSE, TIMING OFF, FORMAT JSON) {}",
        statement.sql
    );
    let row = tx.query_one_raw(plan).await.unwrap().unwrap();
    let plan: serde_json::Value = row.try_get_by_index(0).unwrap();
    let mut found = BTreeSet::new();
    collect(&plan[0]["Plan"], &mut found);
    found
}

fn collect(node: &serde_json::Value, found: &mut BTreeSet<String>) {
    let is_run = node["Actual Loops"].as_f64().unwrap_or(0.0) > 0.0;
    if let Some(table) = node["Relation Name"].as_str()
        && is_run
        && (table == "call_before" || table.starts_with("call_2"))
    {
        found.insert(table.to_owned());
    }
    for part in node["Plans"].as_array().into_iter().flatten() {
        collect(part, found);
    }
}

async fn calls_are_settled_once(world: &World) {
    world.top_up(1000).await;
    let wallet = billing_core::budget::BudgetScope::Wallet;
    world.lease(wallet, 500).await.unwrap();
    let mut call = world.call(100, 40);
    let noon = billing_core::id::first_id_at(filled::noon_ms());
    call.call = CallId::new(noon + call.call.get());
    let settled = world.settle(call.clone()).await;
    let again = world.settle(call.clone()).await;
    assert!(again.replayed && !settled.replayed);
    assert_eq!(again.call, settled.call);
    let found = world.ports.reports.call(world.account, call.call).await;
    assert_eq!(found.unwrap().unwrap().charge, settled.call.charge);
    assert_eq!(world.balance().await, (960, 460));
    // The other accounts of the log have a journal that was not kept by calls.
    let of_world = world.account.get();
    let proofs = world.books().verify(None, 1000).await.unwrap();
    let proof = proofs.iter().find(|p| p.account.get() == of_world);
    assert_eq!(proof.unwrap().broken, Vec::<String>::new());
}

async fn dropped_parts_are_gone_and_the_books_hold(store: &Store, world: &World) {
    let left = async || {
        let text = "SELECT COUNT(*) AS n FROM call";
        let row = db::one(&store.db.reader, text, Vec::new()).await.unwrap();
        crate::instant::get::<i64>(&row.unwrap(), "n").unwrap()
    };
    let before = left().await;
    drop_old(store, "2027-02-18 00:00+00").await;
    assert_eq!(left().await, before, "90 days are not over");
    let text = sql("watch").replace("now()", "timestamptz '2026-11-22 12:00+00'");
    let watched = Statement::from_string(DbBackend::Postgres, text);
    let watched = store.db.reader.query_one_raw(watched).await.unwrap();
    assert!(watched.unwrap().try_get_by_index::<bool>(0).unwrap());
    // All but the 22nd's, of which half a day is there, and the call of this world.
    drop_old(store, "2027-02-20 00:00+00").await;
    let now = left().await;
    assert!(now < before && now > 1, "{now} of {before}");
    for table in ["call_attempt", "call_idempotency"] {
        let text = format!(
            "SELECT COUNT(*) AS n FROM {table} WHERE call_id < call_id_at('2026-11-22 00:00+00')"
        );
        let row = db::one(&store.db.reader, &text, Vec::new()).await.unwrap();
        let n = crate::instant::get::<i64>(&row.unwrap(), "n").unwrap();
        assert_eq!(n, 0, "{table}");
    }
    let tables = "SELECT COUNT(*) AS n FROM pg_inherits WHERE inhparent = 'call'::regclass";
    let row = db::one(&store.db.reader, tables, Vec::new()).await.unwrap();
    let parts: i64 = crate::instant::get(&row.unwrap(), "n").unwrap();
    assert_eq!(parts, 5);
    let kept = store.expire_calls(NOON - time::Duration::days(400)).await;
    assert_eq!(kept.unwrap().0, 0, "the line does not go back");
    let proofs = world.books().verify(None, 1000).await.unwrap();
    let proof = proofs.iter().find(|p| p.account == world.account);
    assert_eq!(proof.unwrap().broken, Vec::<String>::new());
}
