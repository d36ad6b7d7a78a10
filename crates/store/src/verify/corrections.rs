//! What calls were corrected by, against what was booked for it.

use std::collections::BTreeMap;

use billing_core::id::LedgerTxnId;
use sea_orm::ConnectionTrait;

use super::Pass;
use crate::db;
use crate::error::StoreError;
use crate::instant::get;

/// What adjustments booked as revenue, by transaction: below zero for what was charged afterwards.
pub(super) type Booked = BTreeMap<i64, i128>;

/// The parts of an adjustment are the whole, among the transactions that were walked. One that names
/// no calls has no parts.
pub(super) async fn walk<C: ConnectionTrait>(
    tx: &C,
    pass: &mut Pass<'_>,
    booked: &Booked,
) -> Result<(), StoreError> {
    let text = "SELECT ledger_txn_id, CAST(SUM(amount) AS BIGINT) AS amount FROM adjustment \
        WHERE account_id = ? AND ledger_txn_id > ? GROUP BY ledger_txn_id ORDER BY ledger_txn_id";
    let values = vec![pass.account.into(), pass.from.txn.into()];
    for row in db::all(tx, text, values).await? {
        let txn = get(&row, "ledger_txn_id")?;
        let parts = i128::from(get::<i64>(&row, "amount")?);
        let whole = booked.get(&txn).copied().unwrap_or(0).saturating_neg();
        let what = || format!("{} corrects calls by what it books", LedgerTxnId::new(txn));
        pass.findings.same(what, parts, whole);
    }
    Ok(())
}
