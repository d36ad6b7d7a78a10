//! A log of calls that is long enough to tell a page from the whole.

use billing_core::id::{AccountId, KeyId, TierScheduleId, first_id_at};
use sea_orm::{ConnectionTrait, DbBackend};
use testkit::ManualClock;
use testkit::world::NOON;

use crate::{Store, StoreConfig};

const ACCOUNTS: i64 = 500;
pub(crate) const CALLS: i64 = 60_000;
/// The account with half of all calls.
pub(crate) const LARGE: AccountId = AccountId::new(1001);
/// Its key for one call in two thousand, and what it calls as rarely.
pub(crate) const RARE_KEY: KeyId = KeyId::new(7);
pub(crate) const RARE_MODEL: &str = "rare";
/// A schedule of whose windows one was closed, again and again.
pub(crate) const CLOSED: TierScheduleId = TierScheduleId::new(8);
/// All calls began within so many milliseconds before noon: a day.
pub(crate) const PAST_MS: i64 = 86_400_000;

/// Noon, in milliseconds since the Unix epoch.
pub(crate) fn noon_ms() -> i64 {
    i64::try_from(NOON.unix_timestamp_nanos() / 1_000_000).unwrap()
}

/// A store with an empty, migrated database.
pub(crate) async fn empty(url: &str) -> Store {
    let clock = ManualClock::at(NOON);
    let config = StoreConfig::new(url, std::sync::Arc::new(clock));
    let store = Store::open(config).await.unwrap();
    store.migrate(|_, _, _| ()).await.unwrap();
    store
}

/// Puts accounts, calls, roll-ups and a journal into it.
pub(crate) async fn fill(store: &Store) {
    let backend = store.db.backend();
    let texts = [people(backend), calls(backend), journal(backend)].concat();
    for text in texts.iter().map(String::as_str).chain(["ANALYZE"]) {
        store.db.writer.execute_unprepared(text).await.unwrap();
    }
}

fn numbers(last: i64) -> String {
    format!(
        "WITH RECURSIVE n (i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n \
         WHERE i < {last})"
    )
}

const fn no(backend: DbBackend) -> &'static str {
    if matches!(backend, DbBackend::Postgres) {
        "false"
    } else {
        "0"
    }
}

fn people(backend: DbBackend) -> Vec<String> {
    let no = no(backend);
    let blob = if backend == DbBackend::Postgres {
        "CAST(CAST(i AS TEXT) AS BYTEA)"
    } else {
        "CAST(i AS BLOB)"
    };
    let (accounts, keys, users) = (numbers(ACCOUNTS), numbers(3 * ACCOUNTS), numbers(50));
    vec![
        format!(
            "INSERT INTO account (id, name, currency, zone, status, credit_limit, created_at) \
             {accounts} SELECT 1000 + i, 'a', 'USD', 'UTC', 'active', 0, 0 FROM n"
        ),
        format!(
            "INSERT INTO wallet (account_id, currency, posted, leased, credit_limit, status) \
             {accounts} SELECT 1000 + i, 'USD', 5, 0, 0, 'active' FROM n"
        ),
        format!(
            "INSERT INTO api_key (id, account_id, name, hash, visible_prefix, models, cap_output, \
             created_at) {keys} SELECT 100000 + i, 1001 + i / 300, 'k', {blob}, 'tg-', '[]', {no}, 0 FROM n"
        ),
        format!("INSERT INTO \"user\" {users} SELECT i, 'u' || i, '', {no}, 0 FROM n"),
        format!(
            "INSERT INTO membership (account_id, user_id, role) {accounts} \
             SELECT 1000 + i, 1 + i % 50, 'owner' FROM n"
        ),
    ]
}

/// Every second call is of the large account.
fn account() -> String {
    let large = LARGE.get();
    format!("CASE WHEN i % 2 = 0 THEN {large} ELSE 1001 + i % {ACCOUNTS} END")
}

fn calls(backend: DbBackend) -> Vec<String> {
    let (no, n, account) = (no(backend), numbers(CALLS), account());
    let (first_ms, step) = (noon_ms() - PAST_MS, PAST_MS / CALLS);
    let id = format!("{} + i * {step} * 4194304", first_id_at(first_ms));
    let at = format!("({first_ms} + i * {step}) * 1000");
    let mut texts = vec![
        format!(
            "INSERT INTO call (id, account_id, key_id, endpoint, model, outcome, streamed, status, \
             usage, usage_source, tier, price_version_id, held, charge, overrun, quarantined, \
             on_credit, balance_after, started_at, settled_at, latency_ms, attempts) {n} \
             SELECT {id}, {account}, CASE WHEN i % 4000 = 0 THEN 7 ELSE 6 END, 'chat.completions', \
             CASE WHEN i % 4000 = 2 THEN '{RARE_MODEL}' ELSE 'm' END, 'completed', {no}, 200, '{{}}', \
             'provider', 'standard', 900, 0, 1, 0, {no}, 0, 1, {at}, {at}, 9, 1 FROM n"
        ),
        format!(
            "INSERT INTO call_idempotency (account_id, key, call_id) {n} \
             SELECT {account}, 'key-' || (i / 2), {id} FROM n WHERE i % 2 = 0"
        ),
        format!(
            "INSERT INTO adjustment (account_id, call_id, ledger_txn_id, amount) {n} \
             SELECT {account}, {id}, i, -1 FROM n"
        ),
        "INSERT INTO usage_rollup SELECT account_id, started_at - started_at % 900000000, key_id, \
         model, count(*), 0, 0, 0, 0, sum(charge), 0 FROM call GROUP BY 1, 2, 3, 4"
            .to_owned(),
    ];
    if backend == DbBackend::Sqlite {
        texts.push("INSERT INTO account_call SELECT account_id, id FROM call".to_owned());
    }
    texts
}

fn journal(backend: DbBackend) -> Vec<String> {
    let (n, account) = (numbers(CALLS), account());
    let mut texts = vec![
        format!(
            "INSERT INTO ledger_txn (account_id, id, kind, idem_key, booked_at, balance_after, \
             note) {n} SELECT {account}, i, 'top_up', 'close:{CLOSED}:0:' || (i / 2), 0, 0, '' FROM n"
        ),
        format!(
            "INSERT INTO tier_close (account_id, tier_schedule_id, window_start, used, charged, \
             trued_up, times, closed_at) SELECT {}, {}, 0, 1, 1, 1, 20, 0",
            LARGE.get(),
            CLOSED.get()
        ),
        format!(
            "INSERT INTO ledger_entry (account_id, txn_id, leg, code, amount) {n} \
             SELECT {account}, i, leg, 'revenue_adjustment', 1 - 2 * leg FROM n \
             CROSS JOIN (SELECT 0 AS leg UNION ALL SELECT 1) l"
        ),
    ];
    if backend == DbBackend::Sqlite {
        // What was booked last is not listed yet.
        let listed = CALLS - 100;
        texts.extend([
            format!(
                "INSERT INTO account_txn SELECT account_id, id FROM ledger_txn WHERE id <= {listed}"
            ),
            format!("UPDATE txn_listed SET upto = {listed}, until = {listed}"),
        ]);
    }
    texts
}
