//! Writes what settlements changed: one statement a table, over all accounts of the batch.

use std::collections::BTreeMap;

use billing_core::call::{Basis, Settlement};
use billing_core::id::{AccountId, LedgerTxnId, LotId};
use billing_core::ledger::{Entry, LedgerCode, LedgerKind, LedgerTxn};
use billing_core::meter::{Meter, Usage};
use billing_core::settlement::{AccountState, SettledCall};
use sea_orm::{ConnectionTrait, DbBackend};

use crate::call_row;
use crate::error::StoreError;
use crate::instant::{micros, stored};
use crate::rows::Kind::{Int, Text};
use crate::rows::{BatchSql, Cell, Rows, write};

/// The width of a bucket of the roll-ups, in microseconds: a quarter of an hour.
pub(crate) const BUCKET_US: i64 = 15 * 60 * 1_000_000;

pub(crate) static ATTEMPTS: BatchSql = BatchSql::new(
    &[
        ("account_id", Int),
        ("call_id", Int),
        ("seq", Int),
        ("channel", Text),
        ("status", Int),
        ("outcome", Text),
        ("latency_ms", Int),
    ],
    "INSERT{fail} INTO call_attempt ({columns}) SELECT {columns} FROM {rows} v",
);

pub(crate) static KEYS: BatchSql = BatchSql::new(
    &[("account_id", Int), ("key", Text), ("call_id", Int)],
    "INSERT INTO call_idempotency ({columns}) SELECT {columns} FROM {rows} v WHERE true \
     ON CONFLICT (account_id, key) DO NOTHING",
);

pub(crate) static UNLISTED: BatchSql = BatchSql::new(
    &[("account_id", Int), ("call_id", Int)],
    "INSERT{fail} INTO call_unlisted ({columns}) SELECT {columns} FROM {rows} v",
);

/// A column of the roll-ups after more was added. None of them is negative; a sum stops at the
/// largest number that fits, so that no call can keep others out of its bucket.
macro_rules! summed {
    ($column:literal) => {
        concat!(
            $column,
            " = CASE WHEN usage_rollup.",
            $column,
            " > 9223372036854775807 - excluded.",
            $column,
            " THEN 9223372036854775807 ELSE usage_rollup.",
            $column,
            " + excluded.",
            $column,
            " END"
        )
    };
}

pub(crate) static ROLLUP: BatchSql = BatchSql::new(
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
        summed!("calls"),
        ", ",
        summed!("void_calls"),
        ", ",
        summed!("prompt_tokens"),
        ", ",
        summed!("cache_read_tokens"),
        ", ",
        summed!("answer_tokens"),
        ", ",
        summed!("charge"),
        ", ",
        summed!("overrun"),
    ),
);

pub(crate) static WALLETS: BatchSql = BatchSql::new(
    &[("account_id", Int), ("posted", Int), ("leased", Int)],
    "UPDATE{fail} wallet SET posted = v.posted, leased = v.leased FROM {rows} v \
     WHERE wallet.account_id = v.account_id",
);

pub(crate) static LOTS: BatchSql = BatchSql::new(
    &[("account_id", Int), ("id", Int), ("remaining", Int)],
    "UPDATE{fail} lot SET remaining = v.remaining FROM {rows} v \
     WHERE lot.account_id = v.account_id AND lot.id = v.id",
);

pub(crate) static USES: BatchSql = BatchSql::new(
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

pub(crate) static LEASES: BatchSql = BatchSql::new(
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

pub(crate) static TXNS: BatchSql = BatchSql::new(
    &[
        ("account_id", Int),
        ("id", Int),
        ("kind", Text),
        ("idem_key", Text),
        ("fingerprint", Text),
        ("booked_at", Int),
        ("balance_after", Int),
        ("note", Text),
    ],
    "INSERT{fail} INTO ledger_txn ({columns}) SELECT {columns} FROM {rows} v",
);

/// Transactions of settlements that have one leg against the revenue of their calls.
static CHARGES: BatchSql = BatchSql::new(
    &[
        ("account_id", Int),
        ("id", Int),
        ("booked_at", Int),
        ("balance_after", Int),
        ("code", Text),
        ("amount", Int),
        ("lot_id", Int),
    ],
    "INSERT{fail} INTO ledger_txn ({columns}, kind, note) SELECT {columns}, 'settlement', '' \
     FROM {rows} v",
);

pub(crate) static ENTRIES: BatchSql = BatchSql::new(
    &[
        ("account_id", Int),
        ("txn_id", Int),
        ("leg", Int),
        ("code", Text),
        ("amount", Int),
        ("lot_id", Int),
    ],
    "INSERT{fail} INTO ledger_entry ({columns}) SELECT {columns} FROM {rows} v",
);

/// What a batch writes, collected account by account.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    settled_at: i64,
    /// Whether calls are put into their accounts' lists later.
    is_queued: bool,
    calls: Rows,
    attempts: Rows,
    keys: Rows,
    unlisted: Rows,
    wallets: Rows,
    lots: Rows,
    uses: Rows,
    leases: Rows,
    charges: Rows,
    txns: Rows,
    entries: Rows,
    rollup: BTreeMap<(AccountId, i64, i64, &'a str), Bucket>,
    rollup_rows: Rows,
}

#[derive(Debug, Default)]
struct Bucket {
    calls: i64,
    void_calls: i64,
    prompt_tokens: i64,
    cache_read_tokens: i64,
    answer_tokens: i64,
    charge: i64,
    overrun: i64,
}

impl<'a> Page<'a> {
    pub(crate) fn new(backend: DbBackend, settled_at: i64) -> Self {
        Self {
            settled_at,
            is_queued: backend == DbBackend::Sqlite,
            calls: call_row::INSERT.rows(backend),
            attempts: ATTEMPTS.rows(backend),
            keys: KEYS.rows(backend),
            unlisted: UNLISTED.rows(backend),
            wallets: WALLETS.rows(backend),
            lots: LOTS.rows(backend),
            uses: USES.rows(backend),
            leases: LEASES.rows(backend),
            charges: CHARGES.rows(backend),
            txns: TXNS.rows(backend),
            entries: ENTRIES.rows(backend),
            rollup: BTreeMap::new(),
            rollup_rows: ROLLUP.rows(backend),
        }
    }

    /// A call and what it was charged.
    pub(crate) fn call(
        &mut self,
        settlement: &'a Settlement,
        settled: &SettledCall,
        txn: Option<LedgerTxnId>,
    ) {
        call_row::push(&mut self.calls, settlement, settled, txn, self.settled_at);
        call_row::push_attempts(&mut self.attempts, settlement);
        let (account, call) = (settlement.account.get(), settlement.call.get());
        if let Some(key) = settlement.facts.idempotency_key.as_deref() {
            self.keys.push([account.into(), key.into(), call.into()]);
        }
        if self.is_queued {
            self.unlisted.push([account.into(), call.into()]);
        }
        self.count(settlement, settled);
    }

    fn count(&mut self, settlement: &'a Settlement, settled: &SettledCall) {
        let started = micros(settlement.facts.started_at);
        let bucket = started.saturating_sub(started.rem_euclid(BUCKET_US));
        let model = settlement.model.as_str();
        let key = (settlement.account, bucket, settlement.key.get(), model);
        let sum = self.rollup.entry(key).or_default();
        sum.calls = sum.calls.saturating_add(1);
        sum.charge = sum.charge.saturating_add(settled.charge.get());
        sum.overrun = sum.overrun.saturating_add(settled.overrun.get());
        match &settlement.basis {
            Basis::Void => sum.void_calls = sum.void_calls.saturating_add(1),
            Basis::Delivered { usage, .. } => {
                let counted = Counted::of(usage, settled.quarantined);
                sum.prompt_tokens = sum.prompt_tokens.saturating_add(counted.prompt);
                sum.cache_read_tokens = sum.cache_read_tokens.saturating_add(counted.cached);
                sum.answer_tokens = sum.answer_tokens.saturating_add(counted.answer);
            }
        }
    }

    /// The books of an account after it, beside what they were.
    pub(crate) fn books(&mut self, before: &AccountState, after: &AccountState) {
        let account = after.account.get();
        if before.wallet != after.wallet {
            let posted = after.wallet.posted.get();
            let leased = stored(after.wallet.leased);
            self.wallets
                .push([account.into(), posted.into(), leased.into()]);
        }
        let remaining: BTreeMap<_, _> = before.lots.iter().map(|l| (l.id, l.remaining)).collect();
        for lot in &after.lots {
            if remaining.get(&lot.id) != Some(&lot.remaining) {
                let left = stored(lot.remaining);
                self.lots
                    .push([account.into(), lot.id.get().into(), left.into()]);
            }
        }
        for (scope, budget) in &after.uses {
            if before.uses.get(scope) != Some(budget) {
                let row = scope.row();
                self.uses.push([
                    account.into(),
                    i64::from(row.kind).into(),
                    row.subject.into(),
                    i64::from(row.unit).into(),
                    row.window_start.into(),
                    stored(budget.used).into(),
                    stored(budget.leased).into(),
                ]);
            }
        }
        for ((node, scope), amount) in &after.leases {
            if before.leases.get(&(*node, *scope)) != Some(amount) {
                let row = scope.row();
                self.leases.push([
                    account.into(),
                    node.get().into(),
                    i64::from(row.kind).into(),
                    row.subject.into(),
                    i64::from(row.unit).into(),
                    row.window_start.into(),
                    stored(*amount).into(),
                ]);
            }
        }
    }

    /// A transaction of the journal, by which the balance came to be.
    pub(crate) fn txn(&mut self, txn: &LedgerTxn, balance_after: i64) {
        let (account, id) = (txn.account().get(), txn.id().get());
        if let Some(leg) = against_revenue(txn) {
            self.charges.push([
                account.into(),
                id.into(),
                micros(txn.booked_at()).into(),
                balance_after.into(),
                leg.code.name().into(),
                leg.amount.get().into(),
                leg.lot.map(LotId::get).into(),
            ]);
            return;
        }
        self.txns.push([
            account.into(),
            id.into(),
            txn.kind().name().into(),
            Cell::Null,
            Cell::Null,
            micros(txn.booked_at()).into(),
            balance_after.into(),
            "".into(),
        ]);
        push_entries(&mut self.entries, txn);
    }

    /// Writes everything in one round trip.
    pub(crate) async fn write<C: ConnectionTrait>(mut self, tx: &C) -> Result<(), StoreError> {
        for ((account, bucket, key, model), sum) in &self.rollup {
            self.rollup_rows.push([
                account.get().into(),
                (*bucket).into(),
                (*key).into(),
                (*model).into(),
                sum.calls.into(),
                sum.void_calls.into(),
                sum.prompt_tokens.into(),
                sum.cache_read_tokens.into(),
                sum.answer_tokens.into(),
                sum.charge.into(),
                sum.overrun.into(),
            ]);
        }
        let parts = vec![
            self.wallets,
            self.lots,
            self.uses,
            self.leases,
            self.charges,
            self.txns,
            self.entries,
            self.calls,
            self.attempts,
            self.keys,
            self.unlisted,
            self.rollup_rows,
        ];
        write(tx, parts).await
    }
}

/// The other leg of a settlement that has two.
fn against_revenue(txn: &LedgerTxn) -> Option<&Entry> {
    let [leg, revenue] = txn.entries() else {
        return None;
    };
    let is_one = txn.kind() == LedgerKind::Settlement
        && revenue.code == LedgerCode::RevenueUsage
        && revenue.lot.is_none();
    is_one.then_some(leg)
}

pub(crate) fn push_entries(rows: &mut Rows, txn: &LedgerTxn) {
    for (leg, entry) in txn.entries().iter().enumerate() {
        rows.push([
            txn.account().get().into(),
            txn.id().get().into(),
            i64::try_from(leg).unwrap_or(i64::MAX).into(),
            entry.code.name().into(),
            entry.amount.get().into(),
            entry.lot.map(LotId::get).into(),
        ]);
    }
}

/// The tokens of one call as the roll-ups count them: none where the report is not believed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    pub(crate) prompt: i64,
    pub(crate) cached: i64,
    pub(crate) answer: i64,
}

impl Counted {
    pub(crate) fn of(usage: &Usage, quarantined: bool) -> Self {
        if quarantined {
            return Self::default();
        }
        let cached = usage
            .get(Meter::CacheRead)
            .saturating_add(usage.get(Meter::AudioCacheRead))
            .saturating_add(usage.get(Meter::ImageCacheRead));
        let fit = |quantity| i64::try_from(quantity).unwrap_or(i64::MAX);
        Self {
            prompt: fit(usage.prompt_tokens()),
            cached: fit(cached),
            answer: fit(usage.answer_tokens()),
        }
    }
}
