//! Adjustments: made once for their key.

use std::collections::BTreeMap;

use billing_core::adjustment::{Adjustment, AdjustmentChanges, AdjustmentError, adjust};
use billing_core::id::{AccountId, CallId, LedgerTxnId};
use billing_core::ledger::LedgerTxn;
use billing_core::money::Nanos;
use billing_core::port::books::{Adjusted, BooksError};
use billing_core::settlement::Booking;
use billing_core::wallet::Lot;
use sea_orm::ConnectionTrait;

use super::credit::insert_lot;
use super::save::{ENTRIES, TXNS, push_entries};
use super::{lease, load};
use crate::db;
use crate::error::StoreError;
use crate::instant::{get, micros, stored};
use crate::rows::BatchSql;
use crate::rows::Kind::Int;

/// How many calls are looked up in one statement.
const CHUNK: usize = 1000;

static INSERT: BatchSql = BatchSql::new(
    &[
        ("account_id", Int),
        ("call_id", Int),
        ("ledger_txn_id", Int),
        ("amount", Int),
    ],
    "INSERT INTO adjustment ({columns}) SELECT {columns} FROM {rows} v",
);

static OF_CALLS: BatchSql = BatchSql::new(
    &[("account_id", Int), ("call_id", Int)],
    "SELECT a.call_id, a.amount FROM {rows} v CROSS JOIN adjustment a \
     WHERE a.account_id = v.account_id AND a.call_id = v.call_id",
);

/// Makes an adjustment inside a transaction; `None` when nodes have on lease what it would take,
/// which is then recalled from them.
pub(crate) async fn adjust_books<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    adjustment: &Adjustment,
    booking: Booking,
) -> Result<Option<Adjusted>, BooksError> {
    let Some(wallet) = load::locked_wallet(tx, account).await? else {
        return Err(BooksError::NoSuchBudget);
    };
    if let Some(earlier) = recorded(tx, account, adjustment).await? {
        return earlier.map(Some);
    }
    let lots = lots(tx, account).await?;
    let changes = adjust(account, wallet, lots.clone(), adjustment, booking).map_err(refused)?;
    if !changes.on_lease.is_zero() {
        lease::claim_for_house(tx, account, changes.on_lease, booking.now).await?;
        return Ok(None);
    }
    let balance = changes.wallet.posted;
    lease::drop_claim_of_house(tx, account).await?;
    if let Some(txn) = &changes.txn {
        write(tx, txn, adjustment, &changes, &lots).await?;
        let at = micros(booking.now);
        db::note_change(tx, "account", Some(account.get()), at).await?;
    }
    Ok(Some(Adjusted {
        txn: changes.txn.as_ref().map(LedgerTxn::id),
        uncollected: changes.uncollected,
        balance,
        replayed: false,
    }))
}

fn refused(error: AdjustmentError) -> BooksError {
    match error {
        AdjustmentError::Money(error) => BooksError::Money(error),
        AdjustmentError::Nothing | AdjustmentError::Parts { .. } | AdjustmentError::Ledger(_) => {
            BooksError::Inconsistent(error.to_string())
        }
    }
}

/// What must be the same when a key comes again.
fn fingerprint(adjustment: &Adjustment) -> String {
    let (amount, calls) = (adjustment.amount.get(), adjustment.calls.len());
    format!("adjustment {amount} {} {calls}", adjustment.currency)
}

async fn recorded<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    adjustment: &Adjustment,
) -> Result<Option<Result<Adjusted, BooksError>>, StoreError> {
    let text = "SELECT id, fingerprint, balance_after FROM ledger_txn \
                WHERE account_id = ? AND idem_key = ?";
    let values = vec![account.get().into(), adjustment.key.as_str().into()];
    let Some(row) = db::one(tx, text, values).await? else {
        return Ok(None);
    };
    if get::<Option<String>>(&row, "fingerprint")? != Some(fingerprint(adjustment)) {
        return Ok(Some(Err(BooksError::KeyReused)));
    }
    Ok(Some(Ok(Adjusted {
        txn: Some(LedgerTxnId::new(get(&row, "id")?)),
        uncollected: Nanos::ZERO,
        balance: Nanos::new(get(&row, "balance_after")?),
        replayed: true,
    })))
}

async fn lots<C: ConnectionTrait>(tx: &C, account: AccountId) -> Result<Vec<Lot>, StoreError> {
    let text = "SELECT * FROM lot WHERE account_id = ? AND remaining > 0";
    let rows = db::all(tx, text, vec![account.get().into()]).await?;
    rows.iter().map(load::lot).collect()
}

async fn write<C: ConnectionTrait>(
    tx: &C,
    txn: &LedgerTxn,
    adjustment: &Adjustment,
    changes: &AdjustmentChanges,
    before: &[Lot],
) -> Result<(), StoreError> {
    let backend = tx.get_database_backend();
    let (account, at) = (txn.account().get(), micros(txn.booked_at()));
    for lot in &changes.lots {
        let was = before.iter().find(|was| was.id == lot.id);
        if was.is_some_and(|was| was.remaining == lot.remaining) {
            continue;
        }
        let text = "UPDATE lot SET remaining = ? WHERE account_id = ? AND id = ?";
        let values = vec![
            stored(lot.remaining).into(),
            account.into(),
            lot.id.get().into(),
        ];
        db::run(tx, text, values).await?;
    }
    if let Some(lot) = &changes.new_lot {
        insert_lot(tx, account, lot).await?;
    }
    let fingerprint = fingerprint(adjustment);
    let balance = changes.wallet.posted.get();
    let mut head = TXNS.rows(backend);
    head.push([
        account.into(),
        txn.id().get().into(),
        txn.kind().name().into(),
        txn.key().into(),
        fingerprint.as_str().into(),
        at.into(),
        balance.into(),
        adjustment.note.as_str().into(),
    ]);
    head.run(tx).await?;
    let mut legs = ENTRIES.rows(backend);
    push_entries(&mut legs, txn);
    legs.run(tx).await?;
    let mut calls = INSERT.rows(backend);
    for (call, part) in &adjustment.calls {
        let txn = txn.id().get();
        calls.push([
            account.into(),
            call.get().into(),
            txn.into(),
            part.get().into(),
        ]);
    }
    calls.run(tx).await?;
    let text = "UPDATE wallet SET posted = ?, version = version + 1 WHERE account_id = ?";
    db::run(tx, text, vec![balance.into(), account.into()]).await?;
    Ok(())
}

/// What calls were adjusted by so far; those that were not are missing.
pub(crate) async fn of_calls<C: ConnectionTrait>(
    db: &C,
    account: AccountId,
    calls: &[CallId],
) -> Result<BTreeMap<CallId, Nanos>, StoreError> {
    let mut sums: BTreeMap<CallId, Nanos> = BTreeMap::new();
    for chunk in calls.chunks(CHUNK) {
        let mut rows = OF_CALLS.rows(db.get_database_backend());
        for call in chunk {
            rows.push([account.get().into(), call.get().into()]);
        }
        for row in rows.query(db).await? {
            let sum = sums.entry(CallId::new(get(&row, "call_id")?)).or_default();
            let more = Nanos::new(get(&row, "amount")?);
            *sum = sum.plus(more).unwrap_or(Nanos::MAX);
        }
    }
    Ok(sums)
}
