//! What is left of a quota's window and comes on top in the next: moved when that is asked for.

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::AccountId;
use billing_core::lease::{ClaimChange, HOUSE};
use sea_orm::{ConnectionTrait, Value};
use time::OffsetDateTime;

use super::lease::{recall_budget, write_claim};
use super::load;
use crate::db;
use crate::error::StoreError;
use crate::instant::{amount, get, stored};
use crate::plans;

/// Moves what may come on top of a window into it, and recalls what nodes have of the window before
/// on lease; says how much of that may still come. Whoever calls has locked the account's wallet.
pub(super) async fn carry<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    scope: BudgetScope,
    now: OffsetDateTime,
) -> Result<Amount, StoreError> {
    let subscribed = plans::subscribed(tx, account).await?;
    let Some(carry) = subscribed.and_then(|subscribed| subscribed.carry(scope)) else {
        return Ok(Amount::ZERO);
    };
    let before = load::uses(tx, &[(account, carry.from)]).await?;
    let Some((.., before)) = before.first() else {
        return Ok(Amount::ZERO);
    };
    let came = came(tx, account, scope).await?;
    let more = carry.more(came, before.in_use.available());
    if !more.is_zero() {
        move_on(tx, (account, carry.from), ("went", more)).await?;
        move_on(tx, (account, scope), ("came", more)).await?;
    }
    let coming = carry.coming(came.plus(more), before.in_use.leased);
    let from = (account, carry.from);
    if !coming.is_zero() {
        recall_budget(tx, from, coming, now).await?;
    } else if !more.is_zero() {
        write_claim(tx, from, HOUSE, ClaimChange::Drop).await?;
    }
    Ok(coming)
}

fn key(account: AccountId, scope: BudgetScope) -> Vec<Value> {
    let row = scope.row();
    vec![
        account.get().into(),
        i64::from(row.kind).into(),
        row.subject.into(),
        i64::from(row.unit).into(),
        row.window_start.into(),
    ]
}

/// What has come into a window from the one before it.
async fn came<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    scope: BudgetScope,
) -> Result<Amount, StoreError> {
    let text = "SELECT came FROM quota_usage WHERE account_id = ? AND kind = ? AND subject = ? \
                AND unit = ? AND window_start = ?";
    let row = db::one(tx, text, key(account, scope)).await?;
    row.map_or(Ok(Amount::ZERO), |row| Ok(amount(get(&row, "came")?)))
}

async fn move_on<C: ConnectionTrait>(
    tx: &C,
    (account, scope): (AccountId, BudgetScope),
    (column, more): (&'static str, Amount),
) -> Result<(), StoreError> {
    let text = format!(
        "INSERT INTO quota_usage \
         (account_id, kind, subject, unit, window_start, used, leased, {column}) \
         VALUES (?, ?, ?, ?, ?, 0, 0, ?) \
         ON CONFLICT (account_id, kind, subject, unit, window_start) \
         DO UPDATE SET {column} = quota_usage.{column} + excluded.{column}"
    );
    let mut values = key(account, scope);
    values.push(stored(more).into());
    db::run(tx, &text, values).await?;
    Ok(())
}
