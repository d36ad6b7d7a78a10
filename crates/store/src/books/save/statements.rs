//! The statements of a batch.

use crate::rows::BatchSql;
use crate::rows::Kind::{Int, OptInt, OptText, Text};

pub(in crate::books) static ATTEMPTS: BatchSql = BatchSql::new(
    &[
        ("account_id", Int),
        ("call_id", Int),
        ("seq", Int),
        ("channel", Text),
        ("status", OptInt),
        ("outcome", Text),
        ("latency_ms", Int),
    ],
    "INSERT{fail} INTO call_attempt ({columns}) SELECT {columns} FROM {rows} v",
);

pub(in crate::books) static KEYS: BatchSql = BatchSql::new(
    &[("account_id", Int), ("key", Text), ("call_id", Int)],
    "INSERT INTO call_idempotency ({columns}) SELECT {columns} FROM {rows} v WHERE true \
     ON CONFLICT (account_id, key) DO NOTHING",
);

pub(in crate::books) static UNLISTED: BatchSql = BatchSql::new(
    &[("account_id", Int), ("call_id", Int)],
    "INSERT{fail} INTO call_unlisted ({columns}) SELECT {columns} FROM {rows} v",
);

/// Columns of roll-ups after more was added. None of them is negative; a sum stops at the largest
/// number that fits, so that no call can keep others out of its bucket.
macro_rules! summed {
    ($table:literal, $last:literal) => {
        concat!(
            $last,
            " = CASE WHEN ",
            $table,
            ".",
            $last,
            " > 9223372036854775807 - excluded.",
            $last,
            " THEN 9223372036854775807 ELSE ",
            $table,
            ".",
            $last,
            " + excluded.",
            $last,
            " END"
        )
    };
    ($table:literal, $column:literal, $($more:literal),+) => {
        concat!(summed!($table, $column), ", ", summed!($table, $($more),+))
    };
}

pub(in crate::books) static ROLLUP: BatchSql = BatchSql::new(
    &[
        ("account_id", Int),
        ("bucket_start", Int),
        ("key_id", Int),
        ("model", Text),
        ("calls", Int),
        ("void_calls", Int),
        ("prompt_tokens", Int),
        ("cache_read_tokens", Int),
        ("answer_tokens", Int),
        ("charge", Int),
        ("overrun", Int),
    ],
    concat!(
        "INSERT INTO usage_rollup ({columns}) SELECT {columns} FROM {rows} v WHERE true \
         ON CONFLICT (account_id, bucket_start, key_id, model) DO UPDATE SET ",
        summed!(
            "usage_rollup",
            "calls",
            "void_calls",
            "prompt_tokens",
            "cache_read_tokens",
            "answer_tokens",
            "charge",
            "overrun"
        ),
    ),
);

pub(in crate::books) static PLAN_ROLLUP: BatchSql = BatchSql::new(
    &[
        ("account_id", Int),
        ("bucket_start", Int),
        ("plan_version_id", Int),
        ("quota_id", Int),
        ("calls", Int),
        ("void_calls", Int),
        ("prompt_tokens", Int),
        ("cache_read_tokens", Int),
        ("answer_tokens", Int),
        ("charge", Int),
        ("covered", Int),
        ("drawn", Int),
    ],
    concat!(
        "INSERT INTO plan_rollup ({columns}) SELECT {columns} FROM {rows} v WHERE true \
         ON CONFLICT (account_id, bucket_start, plan_version_id, quota_id) DO UPDATE SET ",
        summed!(
            "plan_rollup",
            "calls",
            "void_calls",
            "prompt_tokens",
            "cache_read_tokens",
            "answer_tokens",
            "charge",
            "covered",
            "drawn"
        ),
    ),
);

/// Refuses the batch where a wallet is not as it was looked at: no version is null.
pub(in crate::books) static WALLETS: BatchSql = BatchSql::new(
    &[
        ("account_id", Int),
        ("posted", Int),
        ("leased", Int),
        ("version", Int),
        ("was_posted", Int),
        ("was_leased", Int),
    ],
    "UPDATE{fail} wallet SET posted = v.posted, leased = v.leased, \
     version = CASE WHEN wallet.version = v.version AND wallet.posted = v.was_posted \
     AND wallet.leased = v.was_leased THEN v.version + 1 END FROM {rows} v \
     WHERE wallet.account_id = v.account_id",
);

pub(in crate::books) static LOTS: BatchSql = BatchSql::new(
    &[("account_id", Int), ("id", Int), ("remaining", Int)],
    "UPDATE{fail} lot SET remaining = v.remaining FROM {rows} v \
     WHERE lot.account_id = v.account_id AND lot.id = v.id",
);

pub(in crate::books) static USES: BatchSql = BatchSql::new(
    &[
        ("account_id", Int),
        ("kind", Int),
        ("subject", Int),
        ("unit", Int),
        ("window_start", Int),
        ("used", Int),
        ("leased", Int),
    ],
    "INSERT INTO quota_usage ({columns}) SELECT {columns} FROM {rows} v WHERE true \
     ON CONFLICT (account_id, kind, subject, unit, window_start) DO UPDATE SET \
     used = excluded.used, leased = excluded.leased",
);

pub(in crate::books) static LEASES: BatchSql = BatchSql::new(
    &[
        ("account_id", Int),
        ("node_id", Int),
        ("kind", Int),
        ("subject", Int),
        ("unit", Int),
        ("window_start", Int),
        ("amount", Int),
    ],
    "UPDATE{fail} lease SET amount = v.amount FROM {rows} v \
     WHERE lease.account_id = v.account_id AND lease.node_id = v.node_id \
     AND lease.kind = v.kind AND lease.subject = v.subject AND lease.unit = v.unit \
     AND lease.window_start = v.window_start",
);

pub(in crate::books) static TXNS: BatchSql = BatchSql::new(
    &[
        ("account_id", Int),
        ("id", Int),
        ("kind", Text),
        ("idem_key", OptText),
        ("fingerprint", OptText),
        ("booked_at", Int),
        ("balance_after", Int),
        ("note", Text),
    ],
    "INSERT{fail} INTO ledger_txn ({columns}) SELECT {columns} FROM {rows} v",
);

/// Transactions of settlements that have one leg against the revenue of their calls.
pub(in crate::books) static CHARGES: BatchSql = BatchSql::new(
    &[
        ("account_id", Int),
        ("id", Int),
        ("booked_at", Int),
        ("balance_after", Int),
        ("code", Text),
        ("amount", Int),
        ("lot_id", OptInt),
    ],
    "INSERT{fail} INTO ledger_txn ({columns}, kind, note) SELECT {columns}, 'settlement', '' \
     FROM {rows} v",
);

pub(in crate::books) static ENTRIES: BatchSql = BatchSql::new(
    &[
        ("account_id", Int),
        ("txn_id", Int),
        ("leg", Int),
        ("code", Text),
        ("amount", Int),
        ("lot_id", OptInt),
    ],
    "INSERT{fail} INTO ledger_entry ({columns}) SELECT {columns} FROM {rows} v",
);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rusqlite::Connection;
    use testkit::ManualClock;
    use testkit::world::NOON;

    use super::*;
    use crate::{Store, StoreConfig};

    /// What is scanned by a statement.
    fn scans(connection: &Connection, text: &str) -> Vec<String> {
        let mut plan = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {text}"))
            .unwrap();
        let nulls = vec![rusqlite::types::Null; plan.parameter_count()];
        let lines = plan
            .query_map(rusqlite::params_from_iter(nulls), |row| row.get(3))
            .unwrap();
        let lines: Vec<String> = lines.map(Result::unwrap).collect();
        lines
            .into_iter()
            .filter(|l| l.starts_with("SCAN"))
            .collect()
    }

    #[test]
    fn a_statement_for_one_row_finds_it_by_a_key() {
        testkit::contract::run(async {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("books.db");
            let url = format!("sqlite://{}", file.display());
            let config = StoreConfig::new(url, Arc::new(ManualClock::at(NOON)));
            let store = Store::open(config).await.unwrap();
            store.migrate(|_, _, _| ()).await.unwrap();
            let connection = Connection::open(&file).unwrap();
            for sql in [
                &crate::call_row::INSERT,
                &ATTEMPTS,
                &KEYS,
                &UNLISTED,
                &ROLLUP,
                &PLAN_ROLLUP,
                &WALLETS,
                &LOTS,
                &USES,
                &LEASES,
                &TXNS,
                &CHARGES,
                &ENTRIES,
            ] {
                let text = sql.text_for_one_row();
                assert_eq!(scans(&connection, text), Vec::<String>::new(), "{text}");
            }
            let by_no_key = "UPDATE lot SET remaining = ?1 WHERE granted = ?2";
            assert_eq!(scans(&connection, by_no_key), ["SCAN lot"]);
            store.close().await;
        });
    }
}
