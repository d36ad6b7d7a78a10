//! The lots of a wallet, read and written.

use billing_core::id::AccountId;
use billing_core::wallet::Lot;
use sea_orm::ConnectionTrait;

use super::load;
use crate::db;
use crate::error::StoreError;
use crate::instant::{micros, stored};

/// The lots of an account that hold anything.
pub(crate) async fn holding<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
) -> Result<Vec<Lot>, StoreError> {
    let text = "SELECT * FROM lot WHERE account_id = ? AND remaining > 0";
    let rows = db::all(tx, text, vec![account.get().into()]).await?;
    rows.iter().map(load::lot).collect()
}

/// Writes what is left of lots, over what was there before; those that were not there are new.
pub(crate) async fn write<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    (before, after): (&[Lot], &[Lot]),
) -> Result<(), StoreError> {
    for lot in after {
        let Some(was) = before.iter().find(|was| was.id == lot.id) else {
            insert(tx, account, lot).await?;
            continue;
        };
        if was.remaining == lot.remaining {
            continue;
        }
        let text = "UPDATE lot SET remaining = ? WHERE account_id = ? AND id = ?";
        let values = vec![
            stored(lot.remaining).into(),
            account.get().into(),
            lot.id.get().into(),
        ];
        db::run(tx, text, values).await?;
    }
    Ok(())
}

/// A lot that is new.
pub(crate) async fn insert<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    lot: &Lot,
) -> Result<(), StoreError> {
    let text = "INSERT INTO lot (account_id, id, kind, priority, effective_at, expires_at, \
                created_at, granted, remaining) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values = vec![
        account.get().into(),
        lot.id.get().into(),
        lot.kind.name().into(),
        i64::from(lot.priority).into(),
        micros(lot.effective_at).into(),
        lot.expires_at.map(micros).into(),
        micros(lot.created_at).into(),
        stored(lot.granted).into(),
        stored(lot.remaining).into(),
    ];
    db::run(tx, text, values).await?;
    Ok(())
}
