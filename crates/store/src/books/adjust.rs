//! Adjustments: made once for their key.

use std::collections::BTreeMap;

use billing_core::adjustment::{
    AdjustedSoFar, Adjustment, AdjustmentChanges, AdjustmentError, adjust, overtaken,
};
use billing_core::id::{AccountId, CallId, TierScheduleId};
use billing_core::ledger::LedgerTxn;
use billing_core::money::Nanos;
use billing_core::port::books::{Adjusted, BooksError};
use billing_core::settlement::Booking;
use billing_core::wallet::Lot;
use sea_orm::ConnectionTrait;

use super::keyed::{self, Recorded};
use super::{lease, load, lots};
use crate::db;
use crate::error::StoreError;
use crate::instant::{get, micros};
use crate::rows::BatchSql;
use crate::rows::Kind::{Int, OptInt};

/// How many calls are looked up in one statement.
const CHUNK: usize = 1000;

static INSERT: BatchSql = BatchSql::new(
    &[
        ("account_id", Int),
        ("call_id", Int),
        ("ledger_txn_id", Int),
        ("amount", Int),
        ("tier_schedule_id", OptInt),
        ("window_start", OptInt),
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
    let earlier = earlier(tx, account, adjustment).await?;
    if let Some(earlier) = earlier {
        return earlier.map(Some);
    }
    let calls: Vec<CallId> = adjustment.calls.iter().map(|part| part.call).collect();
    let so_far = of_calls(tx, account, &calls).await?;
    if let Some(call) = overtaken(&adjustment.calls, &so_far) {
        return Err(BooksError::AdjustedMeanwhile(call));
    }
    let lots = lots::holding(tx, account).await?;
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

/// What was booked under the adjustment's key before, if anything was.
pub(super) async fn earlier<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    adjustment: &Adjustment,
) -> Result<Option<Result<Adjusted, BooksError>>, StoreError> {
    let fingerprint = fingerprint(adjustment);
    let recorded = keyed::recorded(tx, account, &adjustment.key, &fingerprint).await?;
    Ok(match recorded {
        Recorded::Nothing => None,
        Recorded::Other => Some(Err(BooksError::KeyReused)),
        Recorded::Same(txn, balance) => Some(Ok(Adjusted {
            txn: Some(txn),
            uncollected: Nanos::ZERO,
            balance,
            replayed: true,
        })),
    })
}

/// What must be the same when a key comes again.
fn fingerprint(adjustment: &Adjustment) -> String {
    let (amount, calls) = (adjustment.amount.get(), adjustment.calls.len());
    format!("adjustment {amount} {} {calls}", adjustment.currency)
}

async fn write<C: ConnectionTrait>(
    tx: &C,
    txn: &LedgerTxn,
    adjustment: &Adjustment,
    changes: &AdjustmentChanges,
    before: &[Lot],
) -> Result<(), StoreError> {
    let backend = tx.get_database_backend();
    let account = txn.account().get();
    lots::write(tx, txn.account(), (before, &changes.lots)).await?;
    if let Some(lot) = &changes.new_lot {
        lots::insert(tx, txn.account(), lot).await?;
    }
    let fingerprint = fingerprint(adjustment);
    let texts = (fingerprint.as_str(), adjustment.note.as_str());
    keyed::book(tx, txn, texts, changes.wallet.posted).await?;
    let mut calls = INSERT.rows(backend);
    for part in &changes.calls {
        let (schedule, window) = part.window.unzip();
        calls.push([
            account.into(),
            part.call.get().into(),
            txn.id().get().into(),
            part.amount.get().into(),
            schedule.map(TierScheduleId::get).into(),
            window.into(),
        ]);
    }
    calls.run(tx).await?;
    Ok(())
}

/// What calls were adjusted by so far; those that were not are missing.
pub(crate) async fn of_calls<C: ConnectionTrait>(
    db: &C,
    account: AccountId,
    calls: &[CallId],
) -> Result<BTreeMap<CallId, AdjustedSoFar>, StoreError> {
    let mut sums: BTreeMap<CallId, AdjustedSoFar> = BTreeMap::new();
    for chunk in calls.chunks(CHUNK) {
        let mut rows = OF_CALLS.rows(db.get_database_backend());
        for call in chunk {
            rows.push([account.get().into(), call.get().into()]);
        }
        for row in rows.query(db).await? {
            let sum = sums.entry(CallId::new(get(&row, "call_id")?)).or_default();
            let more = Nanos::new(get(&row, "amount")?);
            sum.amount = sum.amount.plus(more).unwrap_or(Nanos::MAX);
            sum.times = sum.times.saturating_add(1);
        }
    }
    Ok(sums)
}
