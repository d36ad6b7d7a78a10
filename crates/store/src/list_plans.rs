//! What lists and reports read: a page, not the account and not the table.
//!
//! The statements are those that were really sent, explained on a log of calls that is long enough
//! to make a difference.

use billing_core::id::{CallId, KeyId, LedgerTxnId, UserId, first_id_at};
use billing_core::port::proofs::Proofs;
use billing_core::port::reports::{CallFilter, ReportedDay, Reports, UsageGroup};
use billing_core::zone::Zone;
use sea_orm::{ConnectionTrait, DbBackend, QueryTrait, Statement, Value};
use testkit::world::NOON;
use time::Duration;

use self::filled::{CALLS, CLOSED, LARGE, PAST_MS, RARE_KEY, RARE_MODEL, noon_ms};
use crate::{Store, db, directory};

pub(crate) mod filled;

const PAGE: u32 = 50;
/// More rows than a page and the roll-ups of a day, fewer than an hour's calls of the account.
const FEW: i64 = 1000;
/// What a step of retention reads: what it deletes.
const STEP: i64 = 2500;
const EXPLAIN: &str = "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON)";

#[test]
fn lists_read_their_page_on_sqlite() {
    testkit::contract::run(async {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/plans.db", folder.path().display());
        check(&url).await;
    });
}

#[test]
fn lists_read_their_page_on_postgresql() {
    testkit::contract::run(async {
        let database = testkit::postgres::database();
        check(database.url()).await;
    });
}

async fn check(url: &str) {
    let store = filled::empty(url).await;
    filled::fill(&store).await;
    check_filled(&store).await;
    check_retention(&store).await;
}

/// That lists and reports of a filled store read their page.
pub(crate) async fn check_filled(store: &Store) {
    let without_index = Statement::from_string(
        store.db.backend(),
        "SELECT * FROM call WHERE status = 500 ORDER BY charge",
    );
    let found = faults(store, &[], &without_index, FEW).await;
    assert!(!found.is_empty(), "a scan is not found");
    for (what, sent) in sent(store).await {
        assert_few(store, what, sent, FEW).await;
    }
}

/// Where it begins: half a day of calls goes, and one step reads what it deletes.
async fn check_retention(store: &Store) {
    let since = NOON - Duration::hours(12);
    let sent = heard(store.expire_calls(since)).await.0;
    assert_few(store, "retention", sent, STEP).await;
}

async fn assert_few(store: &Store, what: &str, sent: Vec<Statement>, most: i64) {
    assert!(!sent.is_empty(), "{what}: nothing was sent");
    let (settings, sent): (Vec<_>, Vec<_>) = sent
        .into_iter()
        .partition(|s| s.sql.starts_with("SET LOCAL"));
    let settings: Vec<String> = settings.into_iter().map(|s| s.sql).collect();
    for statement in sent {
        let faults = faults(store, &settings, &statement, most).await;
        assert_eq!(faults, Vec::<String>::new(), "{what}: {}", statement.sql);
    }
}

/// What is looked up, and the statements that did it.
async fn sent(store: &Store) -> Sent {
    let mut sent = calls(store).await;
    sent.extend(totals(store).await);
    let newest = CallFilter::default();
    let newest = store.calls(LARGE, newest, None, 1).await.unwrap().remove(0);
    sent.push(("a call", heard(store.call(LARGE, newest.id)).await.0));
    let by_key = store.call_by_idempotency_key(LARGE, "key-7");
    let (statements, found) = heard(by_key).await;
    assert!(found.unwrap().is_some());
    sent.push(("a call by its key", statements));
    let page = store.calls(LARGE, CallFilter::default(), None, PAGE).await;
    let page: Vec<CallId> = page.unwrap().iter().map(|call| call.id).collect();
    let (statements, found) = heard(store.call_adjustments(LARGE, &page)).await;
    assert_eq!(found.unwrap().len(), page.len());
    sent.push(("what calls were adjusted by", statements));
    let (statements, found) = heard(store.window_adjustments(LARGE, CLOSED, 0)).await;
    // Both legs are of this code here.
    assert_eq!(found.unwrap().len(), 38);
    sent.push(("what closing a window booked", statements));
    let to_prove = store.to_prove(Some(LARGE), PAGE);
    sent.push(("accounts to prove", heard(to_prove).await.0));
    let backend = store.db.backend();
    for of in [None, Some(UserId::new(1))] {
        let accounts = directory::accounts(of, Some(LARGE), PAGE);
        sent.push(("accounts", vec![accounts.build(backend)]));
    }
    let keys = directory::keys(LARGE, Some(KeyId::new(1)), PAGE);
    sent.push(("keys", vec![keys.build(backend)]));
    sent
}

type Sent = Vec<(&'static str, Vec<Statement>)>;

async fn calls(store: &Store) -> Sent {
    let middle = Some(CallId::new(first_id_at(noon_ms() - PAST_MS / 2)));
    let all = CallFilter::default;
    let of_key = |key| CallFilter {
        key: Some(KeyId::new(key)),
        ..all()
    };
    let of_model = CallFilter {
        model: Some(RARE_MODEL.to_owned()),
        ..all()
    };
    let of_hour = CallFilter {
        from: Some(NOON - Duration::hours(15)),
        to: Some(NOON - Duration::hours(14)),
        ..all()
    };
    let mut sent = Vec::new();
    for (what, filter, before, expected) in [
        ("calls", all(), None, 50),
        ("calls, deep", all(), middle, 50),
        ("calls of a key", of_key(6), None, 50),
        ("calls of a rare key", of_key(RARE_KEY.get()), None, 15),
        (
            "calls of a rare key, deep",
            of_key(RARE_KEY.get()),
            middle,
            7,
        ),
        ("calls of a key without any", of_key(8), None, 0),
        ("calls of a rare model", of_model, None, 15),
        ("calls of an hour", of_hour.clone(), None, 50),
        ("calls of an hour, to the end", of_hour, middle, 50),
    ] {
        let (statements, found) = heard(store.calls(LARGE, filter, before, PAGE)).await;
        assert_eq!(found.unwrap().len(), expected, "{what}");
        sent.push((what, statements));
    }
    sent
}

async fn totals(store: &Store) -> Sent {
    let (start, noon) = (NOON - Duration::days(30), NOON);
    let mut sent = Vec::new();
    for group in [
        UsageGroup::Total,
        UsageGroup::Model,
        UsageGroup::Key,
        UsageGroup::Member,
        UsageGroup::Plan,
        UsageGroup::Quota,
    ] {
        let usage = heard(store.usage(LARGE, start, noon, group)).await;
        assert!(!usage.1.unwrap().is_empty());
        sent.push(("usage", usage.0));
    }
    let days = ReportedDay::of_period(&Zone::utc(), start, noon);
    let usage = heard(store.usage_by_day(LARGE, &days)).await;
    assert!(!usage.1.unwrap().is_empty());
    sent.push(("usage of days", usage.0));
    let spend = store.key_spend(LARGE, RARE_KEY, start);
    sent.push(("spend", heard(spend).await.0));
    sent.push(("credits", heard(store.credits(LARGE)).await.0));
    for before in [None, Some(LedgerTxnId::new(CALLS / 2))] {
        let (statements, lines) = heard(store.ledger(LARGE, before, PAGE)).await;
        assert_eq!(lines.unwrap().len(), 100);
        sent.push(("journal", statements));
    }
    sent
}

/// What a future sends, and its answer.
pub(crate) async fn heard<T>(asked: impl Future<Output = T>) -> (Vec<Statement>, T) {
    let heard = async {
        let answer = asked.await;
        let sent = db::SENT.with(|sent| std::mem::take(&mut *sent.lock().unwrap()));
        (sent, answer)
    };
    db::SENT.scope(std::sync::Mutex::default(), heard).await
}

/// What a statement should not do.
async fn faults(
    store: &Store,
    settings: &[String],
    statement: &Statement,
    most: i64,
) -> Vec<String> {
    if store.is_embedded() {
        // The queue of a moment's calls is emptied all the time; the legs of a page of transactions
        // come from two tables and are put in order together.
        let are_few = ["FROM call_unlisted", "FROM ledger_leg"];
        if are_few.iter().any(|few| statement.sql.contains(few)) {
            let lines = lines(store, statement).await;
            return lines.into_iter().filter(|line| is_scan(line)).collect();
        }
        let lines = lines(store, statement).await;
        return lines.into_iter().filter(|line| is_fault(line)).collect();
    }
    // Deletes are explained too; what they would do is taken back.
    let tx = store.db.begin().await.unwrap();
    for setting in settings {
        tx.execute_unprepared(setting).await.unwrap();
    }
    let mut plan = statement.clone();
    plan.sql = format!("{EXPLAIN} {}", statement.sql);
    let mut faults = explained(&tx, plan, most).await;
    // And as it is planned once it has been sent often, whatever its values are.
    if let Some(literals) = literals(statement) {
        for text in [
            "SET LOCAL plan_cache_mode = force_generic_plan".to_owned(),
            format!("PREPARE often AS {}", statement.sql),
        ] {
            tx.execute_unprepared(&text).await.unwrap();
        }
        let plan = format!("{EXPLAIN} EXECUTE often {literals}");
        let plan = Statement::from_string(DbBackend::Postgres, plan);
        faults.extend(explained(&tx, plan, most).await);
        tx.execute_unprepared("DEALLOCATE often").await.unwrap();
    }
    tx.rollback().await.unwrap();
    faults
}

async fn explained<C: ConnectionTrait>(tx: &C, plan: Statement, most: i64) -> Vec<String> {
    let row = tx.query_one_raw(plan).await.unwrap().unwrap();
    let plan: serde_json::Value = row.try_get_by_index(0).unwrap();
    let mut faults = Vec::new();
    let read = rows_read(&plan[0]["Plan"], most, &mut faults);
    if read > most {
        faults.push(format!("{read} rows are read: {plan}"));
    }
    faults
}

/// The values of a statement as they are written; `None` where it has none or arrays.
fn literals(statement: &Statement) -> Option<String> {
    let values = statement.values.as_ref()?.0.iter();
    let literals = values.map(|value| {
        if let Value::BigInt(Some(number)) = value {
            Some(number.to_string())
        } else if let Value::BigUnsigned(Some(number)) = value {
            Some(number.to_string())
        } else if let Value::String(Some(text)) = value {
            Some(format!("'{text}'"))
        } else {
            None
        }
    });
    let literals: Option<Vec<String>> = literals.collect();
    let literals = literals.filter(|l| !l.is_empty())?;
    Some(format!("({})", literals.join(", ")))
}

/// How SQLite would go about it.
async fn lines(store: &Store, statement: &Statement) -> Vec<String> {
    let mut plan = statement.clone();
    plan.sql = format!("EXPLAIN QUERY PLAN {}", statement.sql);
    let rows = store.db.reader.query_all_raw(plan).await.unwrap();
    rows.iter()
        .map(|r| r.try_get_by_index(3).unwrap())
        .collect()
}

/// Whether SQLite would go through a table, or sort what it found.
fn is_fault(line: &str) -> bool {
    is_scan(line) || line.contains("TEMP B-TREE FOR ORDER BY")
}

/// Whether it would go through a long table; they are named as the statements call them.
fn is_scan(line: &str) -> bool {
    let long = [
        "account",
        "account_call",
        "account_txn",
        "api_key",
        "c",
        "call",
        "call_idempotency",
        "e",
        "j",
        "k",
        "ledger_entry",
        "ledger_txn",
        "lot",
        "plan_rollup",
        "r",
        "t",
        "usage_rollup",
        "w",
        "wallet",
    ];
    let scanned = line.strip_prefix("SCAN ");
    let table = scanned.and_then(|line| line.split(' ').next());
    table.is_some_and(|table| long.contains(&table))
}

/// The rows that were found or passed over in tables and indices; whole tables of calls are faults.
fn rows_read(node: &serde_json::Value, most: i64, faults: &mut Vec<String>) -> i64 {
    let number = |name: &str| node[name].as_f64().unwrap_or(0.0);
    let mut read = 0;
    if let Some(table) = node["Relation Name"].as_str() {
        let passed = [
            "Actual Rows",
            "Rows Removed by Filter",
            "Rows Removed by Index Recheck",
        ];
        let rows = passed.map(number).iter().sum::<f64>() * number("Actual Loops").max(1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::as_conversions,
            reason = "a count"
        )]
        let rows = rows as i64;
        read += rows;
        if node["Node Type"] == "Seq Scan" && rows > most {
            faults.push(format!("{table} is read from one end to the other"));
        }
    }
    let parts = node["Plans"].as_array().into_iter().flatten();
    read + parts.map(|part| rows_read(part, most, faults)).sum::<i64>()
}
