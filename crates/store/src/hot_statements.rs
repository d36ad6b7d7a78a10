//! What every statement of the hot path keeps to, so that its tables can be distributed by account:
//! it names the account of each row that it touches, and each table's key holds the account. And it
//! finds what it looks for by a key.
//!
//! The statements are not listed anywhere: those are checked that were really sent.

use std::collections::BTreeSet;
use std::sync::Mutex;

use async_trait::async_trait;
use billing_core::budget::BudgetScope;
use billing_core::lease::LeaseReturn;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement};
use testkit::world::{NOON, credit};
use testkit::{ManualClock, Ports, World};

use crate::books::settle::{Batch, Record};
use crate::books::shelf::Shelf;
use crate::books::{credit, lease};
use crate::writer::Tx;
use crate::{Store, StoreConfig};

/// Tables that are the same for all accounts, so that every place has a copy; they are only read.
const COPIED: [&str; 6] = [
    "api_key",
    "membership",
    "plan_quota",
    "plan_version",
    "retention",
    "subscription",
];
/// The order in which nodes hear of changes is one for all. A top-up is noted, a call is not.
const NEWS: &str = "change_feed";
/// A queue that SQLite alone has, and SQLite is not distributed.
const QUEUE: &str = "call_unlisted";
/// What must have been touched, so that nothing is checked in vain.
const TOUCHED: [&str; 13] = [
    "call",
    "call_attempt",
    "call_idempotency",
    "ledger_entry",
    "ledger_txn",
    "lease",
    "lease_claim",
    "lot",
    "membership",
    "plan_rollup",
    "quota_usage",
    "usage_rollup",
    "wallet",
];

/// Passes statements on, and keeps them.
struct Recorder {
    tx: Tx,
    sent: Mutex<Vec<Statement>>,
}

impl Recorder {
    fn keep(&self, statement: &Statement) {
        self.sent.lock().unwrap().push(statement.clone());
    }
}

#[async_trait]
impl ConnectionTrait for Recorder {
    fn get_database_backend(&self) -> DbBackend {
        self.tx.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.keep(&statement);
        self.tx.execute_raw(statement).await
    }

    async fn execute_unprepared(&self, text: &str) -> Result<ExecResult, DbErr> {
        self.keep(&Statement::from_string(self.get_database_backend(), text));
        self.tx.execute_unprepared(text).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.keep(&statement);
        self.tx.query_one_raw(statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.keep(&statement);
        self.tx.query_all_raw(statement).await
    }
}

#[test]
fn hot_statements_name_their_accounts_on_sqlite() {
    testkit::contract::run(async {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/hot.db", folder.path().display());
        check(&url, folder).await;
    });
}

#[test]
fn hot_statements_name_their_accounts_on_postgresql() {
    testkit::contract::run(async {
        let database = testkit::postgres::database();
        let url = database.url().to_owned();
        check(&url, database).await;
    });
}

async fn check(url: &str, keep: impl std::any::Any + Send + Sync) {
    let clock = ManualClock::at(NOON);
    let config = StoreConfig::new(url, std::sync::Arc::new(clock.clone()));
    let store = Store::open(config).await.unwrap();
    store.migrate(|_, _, _| ()).await.unwrap();
    let shared = std::sync::Arc::new(store.clone());
    let ports = Ports::of(shared, clock, keep);
    let mut world = World::new(ports).await;
    let sent = play(&store, &mut world).await;
    let mut touched = BTreeSet::new();
    for statement in &sent {
        for part in parts(&statement.sql) {
            assert_eq!(nameless(&part), Vec::<String>::new(), "{part}");
            touched.extend(tables(&part).into_iter().map(|t| t.name));
        }
    }
    for name in TOUCHED {
        assert!(touched.contains(name), "{name} was not touched");
    }
    for name in &touched {
        let key = primary_key(&store, name).await;
        assert!(!key.is_empty(), "{name} is no table");
        let is_queue = store.is_embedded() && name == QUEUE;
        let is_of_all = is_queue || name == NEWS || COPIED.contains(&name.as_str());
        let holds = key.contains("account_id");
        assert!(is_of_all || holds, "the key of {name} is {key:?}");
    }
    let tx = store.db.begin().await.unwrap();
    let backend = tx.get_database_backend();
    let without_key = "SELECT * FROM lot l WHERE l.remaining = 5";
    let found = scans(&tx, &Statement::from_string(backend, without_key)).await;
    assert_eq!(found.len(), 1, "{found:?}");
    for statement in sent {
        let scans = scans(&tx, &statement).await;
        assert_eq!(scans, Vec::<String>::new(), "{}", statement.sql);
    }
}

/// Goes the whole way of money: credit, leases of several budgets, calls of every kind, returns.
pub(crate) async fn play(store: &Store, world: &mut World) -> Vec<Statement> {
    let limited = world.new_key(world.account, Some(1_000_000)).await;
    let budget = BudgetScope::KeyLimit {
        key: limited,
        window_start: 0,
    };
    let recorder = Recorder {
        tx: store.db.begin().await.unwrap(),
        sent: Mutex::new(Vec::new()),
    };
    let tx = &recorder;
    let bought = credit(world.number(), 1_000_000, "bought");
    let id = store.ids.next(NOON);
    credit::add_credit(tx, world.account, &bought, id, NOON)
        .await
        .unwrap();
    for (scope, nanos) in [
        (BudgetScope::Wallet, 5000),
        (budget, 5000),
        // More than there is, so that it is claimed from others.
        (BudgetScope::Wallet, 9_000_000),
    ] {
        let ask = world.ask(scope, nanos, nanos);
        lease::lease(tx, &ask, NOON).await.unwrap().unwrap();
        let other = billing_core::lease::LeaseAsk {
            node: billing_core::id::NodeId::new(world.number()),
            seq: world.seq(),
            ..ask
        };
        lease::lease(tx, &other, NOON).await.unwrap().unwrap();
    }
    let mut call = world.call(500, 100);
    call.held
        .push((budget, billing_core::budget::Amount::new(500)));
    call.facts.idempotency_key = Some("once".to_owned());
    call.terms.plan = Some(billing_core::id::PlanVersionId::new(5));
    call.facts.attempts.push(call.facts.attempts[0].clone());
    let shelf = Shelf::new();
    for record in [Record::Unseen, Record::Seen] {
        let (other, backend) = (world.call(100, 50), tx.get_database_backend());
        let calls = [&call, &other];
        let batch = Batch::new(&calls, record, &shelf, &store.ids, NOON, backend.into()).unwrap();
        let done = batch.write(tx).await.unwrap();
        assert!(done.answers.iter().all(Result::is_ok), "{done:?}");
        shelf.put(done.left);
    }
    for scope in [BudgetScope::Wallet, budget] {
        let back = LeaseReturn {
            node: world.node,
            account: world.account,
            scope,
            seq: world.seq(),
            amount: billing_core::budget::Amount::new(100),
        };
        lease::give_back(tx, &back, NOON).await.unwrap();
    }
    let Recorder { tx, sent } = recorder;
    tx.rollback().await.unwrap();
    sent.into_inner().unwrap()
}

/// The statements that were sent as one.
fn parts(text: &str) -> Vec<String> {
    let mut text = text.to_owned();
    for i in 0..16 {
        text = text
            .replace(&format!(") p{i}"), ")\u{0}")
            .replace(&format!("w{i} AS ("), "\u{0}(");
    }
    let parts = text.replace(";\n", "\u{0}");
    parts.split('\u{0}').map(str::to_owned).collect()
}

/// A table that a statement touches.
#[derive(Debug)]
struct Touched {
    name: String,
    alias: String,
    verb: String,
}

fn words(text: &str) -> Vec<String> {
    let mut spaced = String::new();
    for c in text.chars() {
        if c.is_alphanumeric() || "_.$?".contains(c) {
            spaced.push(c);
        } else {
            spaced.push(' ');
            spaced.push(c);
            spaced.push(' ');
        }
    }
    spaced.split_whitespace().map(str::to_owned).collect()
}

fn tables(text: &str) -> Vec<Touched> {
    let words = words(text);
    let at = |i: usize| words.get(i).map_or("", String::as_str);
    let mut found = Vec::new();
    for (i, verb) in words.iter().enumerate() {
        let mut next = i + 1;
        match verb.as_str() {
            "FROM" | "JOIN" | "INTO" => {}
            "UPDATE" if i == 0 || !matches!(at(i - 1), "FOR" | "DO") => {
                if at(next) == "OR" {
                    next += 2;
                }
            }
            _ => continue,
        }
        let name = at(next);
        let is_call = at(next + 1) == "(" && verb != "INTO";
        if name == "(" || name.is_empty() || is_call {
            continue;
        }
        let alias = at(next + 1);
        let is_alias = alias
            .chars()
            .all(|c| c.is_lowercase() || c.is_numeric() || c == '_');
        found.push(Touched {
            name: name.to_owned(),
            alias: if is_alias && !alias.is_empty() {
                alias
            } else {
                name
            }
            .to_owned(),
            verb: verb.clone(),
        });
    }
    found
}

/// The tables of a statement of which it does not name the account.
fn nameless(text: &str) -> Vec<String> {
    let words = words(text).join(" ");
    let names_it = |touched: &Touched| {
        let Touched { name, alias, verb } = touched;
        if name == NEWS {
            return verb == "INTO";
        }
        if COPIED.contains(&name.as_str()) {
            return verb == "FROM" || verb == "JOIN";
        }
        if verb == "INTO" {
            let columns = words.split(&format!("INTO {name} ( ")).nth(1).unwrap_or("");
            let columns = columns.split(" )").next().unwrap_or("");
            return columns.split(" , ").any(|c| c == "account_id");
        }
        let mut forms = vec![
            format!("{alias}.account_id = v.account_id"),
            format!("{alias}.account_id IN ( SELECT v.account_id"),
        ];
        if alias == name {
            forms.extend([" account_id = $".to_owned(), " account_id = ?".to_owned()]);
        }
        forms.iter().any(|form| words.contains(form.as_str()))
    };
    let touched = tables(text).into_iter();
    touched.filter(|t| !names_it(t)).map(|t| t.name).collect()
}

async fn primary_key(store: &Store, table: &str) -> BTreeSet<String> {
    let text = if store.is_embedded() {
        "SELECT name FROM pragma_table_info(?) WHERE pk > 0"
    } else {
        "SELECT a.attname::text AS name FROM pg_index i JOIN pg_attribute a \
         ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) \
         WHERE i.indisprimary AND i.indrelid = to_regclass(?)"
    };
    let rows = crate::db::all(&store.db.reader, text, vec![table.into()]).await;
    let rows = rows.unwrap();
    rows.iter()
        .map(|r| r.try_get("", "name").unwrap())
        .collect()
}

/// The tables that a statement would read from one end to the other.
async fn scans(tx: &Tx, statement: &Statement) -> Vec<String> {
    let is_sqlite = tx.get_database_backend() == DbBackend::Sqlite;
    let mut found = Vec::new();
    let explain = if is_sqlite {
        "EXPLAIN QUERY PLAN "
    } else {
        tx.execute_unprepared("SET LOCAL enable_seqscan = off")
            .await
            .unwrap();
        "EXPLAIN "
    };
    if is_sqlite && statement.sql.contains(";\n") {
        // The last one's plan is that of the last statement only, so each by itself.
        let values = statement.values.clone().map_or_else(Vec::new, |v| v.0);
        for (text, value) in statement.sql.split(";\n").zip(values) {
            let alone = Statement::from_sql_and_values(DbBackend::Sqlite, text, [value]);
            found.extend(Box::pin(scans(tx, &alone)).await);
        }
        return found;
    }
    let mut plan = statement.clone();
    plan.sql = format!("{explain}{}", statement.sql);
    for row in tx.query_all_raw(plan).await.unwrap() {
        let line: String = row.try_get_by_index(if is_sqlite { 3 } else { 0 }).unwrap();
        let is_scan = if is_sqlite {
            let of = line.strip_prefix("SCAN ").unwrap_or("");
            let made = [
                "jsonb_each",
                "CONSTANT",
                "(",
                "t0",
                "t1",
                "t2",
                "t3",
                "p",
                "v",
            ];
            !of.is_empty() && !made.iter().any(|m| of.starts_with(m))
        } else {
            line.contains("Seq Scan on")
        };
        if is_scan {
            found.push(line);
        }
    }
    found
}

#[test]
fn a_statement_that_names_no_account_is_found() {
    for (text, expected) in [
        ("SELECT * FROM call WHERE id = $1", "call"),
        ("UPDATE wallet SET leased = 0", "wallet"),
        ("DELETE FROM lease WHERE node_id = ?", "lease"),
        ("INSERT INTO lot (id, kind) VALUES (?, ?)", "lot"),
        (
            "UPDATE api_key SET name = ? WHERE account_id = ?",
            "api_key",
        ),
        (
            "SELECT 1 FROM wallet w JOIN lot l ON l.id = w.posted WHERE w.account_id = v.account_id",
            "lot",
        ),
    ] {
        assert_eq!(nameless(text), [expected], "{text}");
    }
    for text in [
        "SELECT * FROM wallet WHERE account_id = $1 FOR UPDATE",
        "INSERT OR FAIL INTO lot (account_id, id) SELECT account_id, id FROM (SELECT 1) v",
        "SELECT 1 FROM (SELECT 2) v CROSS JOIN lot l WHERE l.account_id = v.account_id",
    ] {
        assert_eq!(nameless(text), Vec::<String>::new(), "{text}");
    }
}
