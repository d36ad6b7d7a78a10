//! What is booked once for the key that its caller chose: credit, adjustments.

use billing_core::id::{AccountId, LedgerTxnId};
use billing_core::ledger::LedgerTxn;
use billing_core::money::Nanos;
use sea_orm::ConnectionTrait;

use super::save::{ENTRIES, TXNS, push_entries};
use crate::db;
use crate::error::StoreError;
use crate::instant::{get, micros};

/// What stands under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// Nothing yet.
    Nothing,
    /// The same: this transaction, and the balance after it.
    Same(LedgerTxnId, Nanos),
    /// Something else.
    Other,
}

/// What stands under a key; `fingerprint` is what must be the same when the key comes again.
pub(crate) async fn recorded<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    key: &str,
    fingerprint: &str,
) -> Result<Recorded, StoreError> {
    let text = "SELECT id, fingerprint, balance_after FROM ledger_txn \
                WHERE account_id = ? AND idem_key = ?";
    let values = vec![account.get().into(), key.into()];
    let Some(row) = db::one(tx, text, values).await? else {
        return Ok(Recorded::Nothing);
    };
    if get::<Option<String>>(&row, "fingerprint")?.as_deref() != Some(fingerprint) {
        return Ok(Recorded::Other);
    }
    let txn = LedgerTxnId::new(get(&row, "id")?);
    Ok(Recorded::Same(txn, Nanos::new(get(&row, "balance_after")?)))
}

/// Writes a transaction under its key, and the wallet's balance after it.
pub(crate) async fn book<C: ConnectionTrait>(
    tx: &C,
    txn: &LedgerTxn,
    (fingerprint, note): (&str, &str),
    balance: Nanos,
) -> Result<(), StoreError> {
    let backend = tx.get_database_backend();
    let account = txn.account().get();
    let mut head = TXNS.rows(backend);
    head.push([
        account.into(),
        txn.id().get().into(),
        txn.kind().name().into(),
        txn.key().into(),
        fingerprint.into(),
        micros(txn.booked_at()).into(),
        balance.get().into(),
        note.into(),
    ]);
    head.run(tx).await?;
    let mut legs = ENTRIES.rows(backend);
    push_entries(&mut legs, txn);
    legs.run(tx).await?;
    let text = "UPDATE wallet SET posted = ?, version = version + 1 WHERE account_id = ?";
    db::run(tx, text, vec![balance.get().into(), account.into()]).await?;
    Ok(())
}
