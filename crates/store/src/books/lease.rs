//! Leases: the slices of budgets that nodes spend by themselves.

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::{AccountId, NodeId};
use billing_core::port::books::{BooksError, LeaseAsk, LeaseGrant, LeaseReturn, grant};
use billing_core::wallet::{AccountStatus, Wallet};
use sea_orm::{ConnectionTrait, Value};

use super::load;
use crate::db;
use crate::error::StoreError;
use crate::instant::{amount, get, stored};

const NONE: LeaseGrant = LeaseGrant {
    granted: Amount::ZERO,
    available: Amount::ZERO,
};

/// The most that can be stored of a budget.
const LARGEST: u64 = i64::MAX.unsigned_abs();

/// Reserves a slice of a budget inside a transaction. A refusal has written nothing.
pub(crate) async fn lease<C: ConnectionTrait>(
    tx: &C,
    ask: &LeaseAsk,
) -> Result<Result<LeaseGrant, BooksError>, StoreError> {
    if !is_live(tx, ask.node).await? {
        return Ok(Err(BooksError::Fenced));
    }
    let Some(wallet) = load::locked_wallet(tx, ask.account).await? else {
        return Ok(Err(BooksError::NoSuchBudget));
    };
    if wallet.status != AccountStatus::Active {
        return Ok(Ok(NONE));
    }
    let Some((available, leased)) = available(tx, ask, &wallet).await? else {
        return Ok(Err(BooksError::NoSuchBudget));
    };
    let room = Amount::new(LARGEST).less(leased);
    let given = grant(available.min(room), ask.at_least, ask.at_most);
    if !given.granted.is_zero() {
        add(tx, ask.account, ask.scope, given.granted).await?;
        add_to_lease(tx, ask, given.granted).await?;
    }
    Ok(Ok(given))
}

/// What may still be leased of a budget, and what is leased already; `None` when there is no such.
async fn available<C: ConnectionTrait>(
    tx: &C,
    ask: &LeaseAsk,
    wallet: &Wallet,
) -> Result<Option<(Amount, Amount)>, StoreError> {
    if ask.scope == BudgetScope::Wallet {
        return Ok(Some((wallet.available(), wallet.leased)));
    }
    let uses = load::uses(tx, &[(ask.account, ask.scope)]).await?;
    Ok(uses
        .first()
        .filter(|(_, _, budget)| budget.is_known)
        .map(|(_, _, budget)| {
            let in_use = budget.in_use;
            (in_use.available(), in_use.leased.plus(in_use.used))
        }))
}

/// Whether a node may take leases; while the transaction lasts it stays so.
async fn is_live<C: ConnectionTrait>(tx: &C, node: NodeId) -> Result<bool, StoreError> {
    let text = "SELECT fenced_at FROM node WHERE id = ?{share}";
    let Some(row) = db::one(tx, text, vec![node.get().into()]).await? else {
        return Ok(false);
    };
    Ok(get::<Option<i64>>(&row, "fenced_at")?.is_none())
}

fn key(account: AccountId, node: Option<NodeId>, scope: BudgetScope) -> Vec<Value> {
    let row = scope.row();
    let mut values: Vec<Value> = vec![account.get().into()];
    values.extend(node.map(|n| n.get().into()));
    values.extend([
        i64::from(row.kind).into(),
        row.subject.into(),
        i64::from(row.unit).into(),
        row.window_start.into(),
    ]);
    values
}

async fn add<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    scope: BudgetScope,
    more: Amount,
) -> Result<(), StoreError> {
    let more = stored(more);
    if scope == BudgetScope::Wallet {
        let text = "UPDATE wallet SET leased = leased + ? WHERE account_id = ?";
        db::run(tx, text, vec![more.into(), account.get().into()]).await?;
        return Ok(());
    }
    let mut values = key(account, None, scope);
    values.push(more.into());
    let text = "INSERT INTO quota_usage \
        (account_id, kind, subject, unit, window_start, used, leased) \
        VALUES (?, ?, ?, ?, ?, 0, ?) \
        ON CONFLICT (account_id, kind, subject, unit, window_start) \
        DO UPDATE SET leased = quota_usage.leased + excluded.leased";
    db::run(tx, text, values).await?;
    Ok(())
}

async fn add_to_lease<C: ConnectionTrait>(
    tx: &C,
    ask: &LeaseAsk,
    more: Amount,
) -> Result<(), StoreError> {
    let mut values = key(ask.account, Some(ask.node), ask.scope);
    values.push(stored(more).into());
    let text = "INSERT INTO lease \
        (account_id, node_id, kind, subject, unit, window_start, amount) \
        VALUES (?, ?, ?, ?, ?, ?, ?) \
        ON CONFLICT (account_id, node_id, kind, subject, unit, window_start) \
        DO UPDATE SET amount = lease.amount + excluded.amount";
    db::run(tx, text, values).await?;
    Ok(())
}

/// Takes a part of a lease back inside a transaction; at most what it holds.
pub(crate) async fn give_back<C: ConnectionTrait>(
    tx: &C,
    back: &LeaseReturn,
) -> Result<(), StoreError> {
    if load::locked_wallet(tx, back.account).await?.is_none() {
        return Ok(());
    }
    let of_lease = "account_id = ? AND node_id = ? AND kind = ? AND subject = ? AND unit = ? \
                    AND window_start = ?";
    let text = format!("SELECT amount FROM lease WHERE {of_lease}");
    let values = key(back.account, Some(back.node), back.scope);
    let Some(row) = db::one(tx, &text, values.clone()).await? else {
        return Ok(());
    };
    let held = amount(get(&row, "amount")?);
    let freed = held.min(back.amount);
    let text = if freed == held {
        format!("DELETE FROM lease WHERE {of_lease}")
    } else {
        let left = stored(held.less(freed));
        format!("UPDATE lease SET amount = {left} WHERE {of_lease}")
    };
    db::run(tx, &text, values).await?;
    free(tx, back.account, back.scope, freed).await
}

/// Makes what was leased of a budget available again.
pub(crate) async fn free<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    scope: BudgetScope,
    freed: Amount,
) -> Result<(), StoreError> {
    let freed: Value = stored(freed).into();
    if scope == BudgetScope::Wallet {
        let text = "UPDATE wallet SET leased = leased - ? WHERE account_id = ?";
        db::run(tx, text, vec![freed, account.get().into()]).await?;
        return Ok(());
    }
    let mut values = vec![freed];
    values.extend(key(account, None, scope));
    let text = "UPDATE quota_usage SET leased = leased - ? WHERE account_id = ? AND kind = ? \
        AND subject = ? AND unit = ? AND window_start = ?";
    db::run(tx, text, values).await?;
    Ok(())
}
