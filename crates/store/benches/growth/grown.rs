//! A database with so many accounts, keys and calls, made in bulk.

use std::time::Instant;

use billing_core::id::{AccountId, first_id_at};
use billing_core::port::directory::SecretHash;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};
use testkit::world::NOON;

use crate::funded;

/// How much there is of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) accounts: i64,
    pub(crate) calls: i64,
}

impl Size {
    /// Three keys an account.
    pub(crate) const fn keys(self) -> i64 {
        self.accounts * 3
    }

    /// Every tenth call is of the first account, so that one list is long.
    pub(crate) const fn calls_of_first(self) -> i64 {
        self.calls / 10
    }
}

/// The first account's key that few of its calls were made with: forty in all.
pub(crate) const RARE_KEY: i64 = 100_000_002;

/// How far back the log of calls goes, in milliseconds: 90 days.
const PAST_MS: i64 = 90 * 86_400_000;

/// The hash of a key's secret: eight hexadecimal digits without a pattern, four times, and its
/// number.
pub(crate) fn hash(key: i64) -> SecretHash {
    let mixed = (key * 1_103_515_245 + 12_345) % 2_147_483_648;
    let text = format!("{mixed:08x}{key:024x}");
    let mut hash = [0; 32];
    hash.copy_from_slice(text.as_bytes());
    SecretHash(hash)
}

/// Fills a migrated database.
pub(crate) async fn fill(url: &str, size: Size) {
    let db = funded::connect(url).await;
    let is_postgres = db.get_database_backend() == DbBackend::Postgres;
    let prelude: &[&str] = if is_postgres {
        &[
            "SET synchronous_commit = off",
            "SET maintenance_work_mem = '1GB'",
            // Built at once when all rows are there.
            "ALTER TABLE call DROP CONSTRAINT call_pkey",
            "ALTER TABLE api_key DROP CONSTRAINT api_key_hash_key",
            "DROP INDEX api_key_of_account",
        ]
    } else {
        // Who opens the database next turns its log on again.
        &[
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "PRAGMA cache_size = -400000",
        ]
    };
    run(&db, prelude).await;
    let begun = Instant::now();
    let told = |what: &str| eprintln!("  {what}: {} s", begun.elapsed().as_secs());
    funded::make_accounts(&db, size.accounts).await;
    keys(&db, size).await;
    told("accounts and keys");
    calls(&db, size).await;
    told("calls");
    let postlude: &[&str] = if is_postgres {
        &[
            "ALTER TABLE call ADD PRIMARY KEY (account_id, id)",
            "ALTER TABLE api_key ADD CONSTRAINT api_key_hash_key UNIQUE (hash)",
            "CREATE INDEX api_key_of_account ON api_key (account_id, id)",
            "VACUUM ANALYZE",
            "CHECKPOINT",
        ]
    } else {
        &["ANALYZE"]
    };
    run(&db, postlude).await;
    db.close().await.unwrap();
    if let Some(file) = url.strip_prefix("sqlite://") {
        // So that nothing that is measured waits for what was written here.
        std::fs::File::open(file).unwrap().sync_all().unwrap();
    }
    told("indices, statistics, flush");
}

async fn run(db: &DatabaseConnection, texts: &[&str]) {
    for text in texts {
        db.execute_unprepared(text).await.unwrap();
    }
}

async fn keys(db: &DatabaseConnection, size: Size) {
    let n = funded::numbers(db, size.keys());
    let hash = if db.get_database_backend() == DbBackend::Postgres {
        "convert_to(lpad(to_hex((i * 1103515245 + 12345) % 2147483648), 8, '0') \
         || lpad(to_hex(i), 24, '0'), 'UTF8')"
    } else {
        "CAST(printf('%08x%024x', (i * 1103515245 + 12345) % 2147483648, i) AS BLOB)"
    };
    let base = funded::account(0).get();
    let text = format!(
        "INSERT INTO api_key (id, account_id, name, hash, visible_prefix, models, cap_output, \
         created_at) SELECT 100000000 + i, {base} + 1 + (i - 1) / 3, 'key', {hash}, 'tg-abc', \
         '[]', {}, 0 FROM {n}",
        if db.get_database_backend() == DbBackend::Postgres {
            "false"
        } else {
            "0"
        }
    );
    run(db, &[&text]).await;
}

async fn calls(db: &DatabaseConnection, size: Size) {
    let Size { accounts, calls } = size;
    let noon_ms = i64::try_from(NOON.unix_timestamp_nanos() / 1_000_000).unwrap();
    let (from_ms, step_ms) = (noon_ms - PAST_MS, (PAST_MS / calls).max(1));
    let base = funded::account(0).get();
    let account = account_of_call(base, accounts);
    let id = format!("{} + i * {step_ms} * 4194304", first_id_at(from_ms));
    let started = format!("({from_ms} + i * {step_ms}) * 1000");
    let n = funded::numbers(db, calls);
    let rare = (calls / 400).max(1) * 10;
    let (no, yes) = if db.get_database_backend() == DbBackend::Postgres {
        ("false", "true")
    } else {
        ("0", "1")
    };
    let text = format!(
        "INSERT INTO call (id, account_id, key_id, endpoint, model, outcome, streamed, status, \
         usage, usage_source, tier, price_version_id, held, charge, overrun, quarantined, \
         on_credit, draws, balance_after, ledger_txn_id, started_at, settled_at, first_byte_ms, \
         latency_ms, upstream_id, finish_reason, attempts, channel, attempt_status, \
         attempt_outcome, attempt_ms) \
         SELECT {id}, {account}, CASE WHEN i % {rare} = 0 THEN {RARE_KEY} ELSE 100000001 END, 'chat.completions', 'm', 'completed', {yes}, 200, \
         '{{\"input\":1200,\"output\":300}}', 'provider', 'standard', 900, 10000, 2700, 0, {no}, \
         0, '[{{\"lot\":\"lot_0000000z8kqp1\",\"kind\":\"paid\",\"amount\":2700}}]', 1, 1, \
         {started}, {started} + 900000, 12, 900, 'chatcmpl-0123456789abcdef', 'stop', 1, 'sim', \
         200, 'ok', 880 FROM {n}"
    );
    run(db, &[&text]).await;
    if db.get_database_backend() == DbBackend::Sqlite {
        let text = "INSERT INTO account_call (account_id, call_id) \
                    SELECT account_id, id FROM call ORDER BY account_id, id";
        run(db, &[text]).await;
    }
    let text = "INSERT INTO usage_rollup (account_id, bucket_start, key_id, model, calls, \
        void_calls, prompt_tokens, cache_read_tokens, answer_tokens, charge, overrun) \
        SELECT account_id, started_at - started_at % 900000000, key_id, model, count(*), 0, \
        1200 * count(*), 0, 300 * count(*), 2700 * count(*), 0 FROM call GROUP BY 1, 2, 3, 4";
    run(db, &[text]).await;
}

/// Every tenth call is of the first account.
fn account_of_call(base: i64, accounts: i64) -> String {
    format!("{base} + CASE WHEN i % 10 = 0 THEN 1 ELSE 1 + (i * 7919) % {accounts} END")
}

/// The account that has many calls.
pub(crate) fn first() -> AccountId {
    funded::account(1)
}

/// How many bytes the database takes, by table with its indexes; the largest first.
pub(crate) async fn bytes(url: &str) -> Vec<(String, i64)> {
    let db = funded::connect(url).await;
    let text = if db.get_database_backend() == DbBackend::Postgres {
        "SELECT relname::text AS name, pg_total_relation_size(oid)::bigint AS bytes \
         FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace \
         ORDER BY 2 DESC LIMIT 12"
    } else {
        // The library is built without the table of pages, so only the whole is known.
        "SELECT 'all' AS name, page_count * page_size AS bytes \
         FROM pragma_page_count(), pragma_page_size()"
    };
    let statement = sea_orm::Statement::from_string(db.get_database_backend(), text);
    let rows = db.query_all_raw(statement).await.unwrap();
    db.close().await.unwrap();
    let row = |r: sea_orm::QueryResult| {
        (
            r.try_get_by_index(0).unwrap(),
            r.try_get_by_index(1).unwrap(),
        )
    };
    rows.into_iter().map(row).collect()
}
