//! What was corrected after it was charged, for receipts.

use std::collections::BTreeMap;

use billing_core::id::{AccountId, CallId, LedgerTxnId, TierScheduleId};
use billing_core::ledger::LedgerCode;
use billing_core::money::Nanos;
use billing_core::port::books::OpenWindow;
use billing_core::port::reports::AdjustmentLine;
use sea_orm::{ConnectionTrait, QueryResult};

use crate::db;
use crate::error::StoreError;
use crate::instant::{get, instant};
use crate::rows::BatchSql;
use crate::rows::Kind::{Int, Text};

/// How many rows are looked up in one statement.
const CHUNK: usize = 1000;

static OF_CALLS: BatchSql = BatchSql::new(
    &[("account_id", Int), ("call_id", Int)],
    "SELECT a.call_id, a.ledger_txn_id AS txn, a.amount, t.booked_at, t.note FROM {rows} v \
     CROSS JOIN adjustment a CROSS JOIN ledger_txn t \
     WHERE a.account_id = v.account_id AND a.call_id = v.call_id \
     AND t.account_id = a.account_id AND t.id = a.ledger_txn_id",
);

static OF_KEYS: BatchSql = BatchSql::new(
    &[("account_id", Int), ("idem_key", Text), ("code", Text)],
    "SELECT t.id AS txn, e.amount, t.booked_at, t.note FROM {rows} v \
     CROSS JOIN ledger_txn t CROSS JOIN ledger_entry e \
     WHERE t.account_id = v.account_id AND t.idem_key = v.idem_key \
     AND e.account_id = t.account_id AND e.txn_id = t.id AND e.code = v.code",
);

/// What calls were adjusted by, each one's part, oldest first.
pub(crate) async fn of_calls<C: ConnectionTrait>(
    db: &C,
    account: AccountId,
    calls: &[CallId],
) -> Result<BTreeMap<CallId, Vec<AdjustmentLine>>, StoreError> {
    let mut found: BTreeMap<CallId, Vec<AdjustmentLine>> = BTreeMap::new();
    for chunk in calls.chunks(CHUNK) {
        let mut rows = OF_CALLS.rows(db.get_database_backend());
        for call in chunk {
            rows.push([account.get().into(), call.get().into()]);
        }
        for row in rows.query(db).await? {
            let lines = found.entry(CallId::new(get(&row, "call_id")?)).or_default();
            lines.push(line(&row, Nanos::new(get(&row, "amount")?))?);
        }
    }
    for lines in found.values_mut() {
        lines.sort_by_key(|line| line.txn);
    }
    Ok(found)
}

/// What the closes of a window booked, oldest first.
pub(crate) async fn of_window<C: ConnectionTrait>(
    db: &C,
    account: AccountId,
    schedule: TierScheduleId,
    window_start: i64,
) -> Result<Vec<AdjustmentLine>, StoreError> {
    let text = "SELECT times FROM tier_close \
                WHERE account_id = ? AND tier_schedule_id = ? AND window_start = ?";
    let values = vec![
        account.get().into(),
        schedule.get().into(),
        window_start.into(),
    ];
    let row = db::one(db, text, values).await?;
    let times: i64 = row.map_or(Ok(0), |row| get(&row, "times"))?;
    let keys = (0..times).map(|times| OpenWindow::key(schedule, window_start, times));
    let keys: Vec<String> = keys.collect();
    let mut found = Vec::new();
    for chunk in keys.chunks(CHUNK) {
        let mut rows = OF_KEYS.rows(db.get_database_backend());
        let revenue = LedgerCode::RevenueAdjustment.name();
        for key in chunk {
            rows.push([account.get().into(), key.as_str().into(), revenue.into()]);
        }
        for row in rows.query(db).await? {
            // What the house gets more of is charged.
            let charged = Nanos::new(get(&row, "amount")?).negated();
            let charged = charged.map_err(|error| {
                StoreError::unreadable("ledger_entry", format!("its amount: {error}"))
            })?;
            found.push(line(&row, charged)?);
        }
    }
    found.sort_by_key(|line| line.txn);
    Ok(found)
}

fn line(row: &QueryResult, amount: Nanos) -> Result<AdjustmentLine, StoreError> {
    Ok(AdjustmentLine {
        txn: LedgerTxnId::new(get(row, "txn")?),
        amount,
        booked_at: instant("ledger_txn", get(row, "booked_at")?)?,
        note: get(row, "note")?,
    })
}
