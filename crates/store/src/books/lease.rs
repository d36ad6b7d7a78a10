//! Leases: the slices of budgets that nodes spend by themselves.

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::{AccountId, NodeId};
use billing_core::lease::{
    Claim, ClaimChange, HOUSE, HOUSE_CLAIM_FOR, Lease, LeaseAsk, LeaseGrant, LeaseReturn, LeaseSeq,
    LeasedBudget, Recall, grant, recalled, take_back,
};
use billing_core::port::books::BooksError;
use billing_core::wallet::{AccountStatus, Wallet};
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Value};
use time::OffsetDateTime;

use super::carry::carry;
use super::load;
use crate::db;
use crate::error::StoreError;
use crate::instant::{amount, get, instant, micros, stored};
use crate::store_time::row_of_time;

/// The most that can be stored of a budget.
const LARGEST: u64 = i64::MAX.unsigned_abs();

const OF_BUDGET: &str =
    "account_id = ? AND kind = ? AND subject = ? AND unit = ? AND window_start = ?";

/// Reserves a slice of a budget inside a transaction; `now` is this process's time.
pub(crate) async fn lease<C: ConnectionTrait>(
    tx: &C,
    ask: &LeaseAsk,
    now: OffsetDateTime,
) -> Result<Result<LeaseGrant, BooksError>, StoreError> {
    let Some(wallet) = load::locked_wallet(tx, ask.account).await? else {
        return Ok(Err(BooksError::NoSuchBudget));
    };
    let Some(state) = available(tx, ask, &wallet, now).await? else {
        return Ok(Err(BooksError::NoSuchBudget));
    };
    let room = Amount::new(LARGEST).less(state.taken);
    let (claims, now) = claims(tx, ask.account, ask.scope, now).await?;
    let budget = LeasedBudget {
        stopped: wallet.status != AccountStatus::Active,
        available: state.available.min(room),
        coming: state.coming,
        leases: leases(tx, ask.account, ask.scope).await?,
        claims,
    };
    let granting = grant(&budget, ask, now);
    if let Some(lease) = granting.lease {
        if !lease.granted.is_zero() {
            add(tx, ask.account, ask.scope, lease.granted).await?;
        }
        write(tx, ask.account, ask.scope, &lease, now).await?;
    }
    write_claim(tx, (ask.account, ask.scope), ask.node, granting.claim).await?;
    Ok(Ok(granting.answer))
}

/// How far a budget is taken.
struct Standing {
    /// What may still be leased of it.
    available: Amount,
    /// What is on lease or used.
    taken: Amount,
    /// What rolls over into it as soon as nodes give it back.
    coming: Amount,
}

/// How far a budget is taken, with what rolls over into it; `None` when there is no such.
async fn available<C: ConnectionTrait>(
    tx: &C,
    ask: &LeaseAsk,
    wallet: &Wallet,
    now: OffsetDateTime,
) -> Result<Option<Standing>, StoreError> {
    let mut coming = Amount::ZERO;
    if ask.scope == BudgetScope::Wallet {
        return Ok(Some(Standing {
            available: wallet.available(),
            taken: wallet.leased,
            coming,
        }));
    }
    let of = [(ask.account, ask.scope)];
    let mut uses = load::uses(tx, &of).await?;
    if uses.first().is_some_and(|(.., b)| b.is_known && b.rolls) {
        coming = carry(tx, ask.account, ask.scope, now).await?;
        uses = load::uses(tx, &of).await?;
    }
    let known = uses.first().filter(|(.., budget)| budget.is_known);
    Ok(known.map(|(.., budget)| Standing {
        available: budget.in_use.available(),
        taken: budget.in_use.leased.plus(budget.in_use.used),
        coming,
    }))
}

async fn leases<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    scope: BudgetScope,
) -> Result<Vec<Lease>, StoreError> {
    let text = format!("SELECT node_id, amount, seq, granted FROM lease WHERE {OF_BUDGET}");
    let rows = db::all(tx, &text, key(account, None, scope)).await?;
    rows.iter().map(lease_of).collect()
}

fn lease_of(row: &QueryResult) -> Result<Lease, StoreError> {
    Ok(Lease {
        node: NodeId::new(get(row, "node_id")?),
        amount: amount(get(row, "amount")?),
        seq: LeaseSeq::new(amount(get(row, "seq")?).get()),
        granted: amount(get(row, "granted")?),
    })
}

/// The claims to a budget, and the store's time: nodes compare claims that others have dated, and
/// their own clocks may differ by more than a claim lasts.
async fn claims<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    scope: BudgetScope,
    now: OffsetDateTime,
) -> Result<(Vec<Claim>, OffsetDateTime), StoreError> {
    let (time, bound) = row_of_time(tx.get_database_backend(), now);
    let text = format!(
        "SELECT v.at, node_id AS claimant, since, wanted, expires_at \
         FROM {time} LEFT JOIN lease_claim ON {OF_BUDGET}"
    );
    let values = bound.into_iter().chain(key(account, None, scope)).collect();
    let rows = db::all(tx, &text, values).await?;
    let at = rows.first().map(|row| get(row, "at")).transpose()?;
    let at = at.map_or(Ok(now), |at| instant("lease_claim", at))?;
    let mut claims = Vec::new();
    for row in &rows {
        if get::<Option<i64>>(row, "claimant")?.is_some() {
            claims.push(claim_of(row)?);
        }
    }
    Ok((claims, at))
}

fn claim_of(row: &QueryResult) -> Result<Claim, StoreError> {
    Ok(Claim {
        node: NodeId::new(get(row, "claimant")?),
        since: instant("lease_claim", get(row, "since")?)?,
        wanted: amount(get(row, "wanted")?),
        expires_at: instant("lease_claim", get(row, "expires_at")?)?,
    })
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
        let text = "UPDATE wallet SET leased = leased + ?, version = version + 1 \
                    WHERE account_id = ?";
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

async fn write<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    scope: BudgetScope,
    lease: &Lease,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let mut values = key(account, Some(lease.node), scope);
    values.extend([
        stored(lease.amount).into(),
        stored(Amount::new(lease.seq.get())).into(),
        stored(lease.granted).into(),
        micros(now).into(),
    ]);
    let text = "INSERT INTO lease (account_id, node_id, kind, subject, unit, window_start, \
                amount, seq, granted, asked_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
        ON CONFLICT (account_id, node_id, kind, subject, unit, window_start) \
        DO UPDATE SET amount = excluded.amount, seq = excluded.seq, granted = excluded.granted, \
                asked_at = excluded.asked_at";
    db::run(tx, text, values).await?;
    Ok(())
}

/// Enters or deletes a claim. Whoever has the funds on lease is told at once, where the database
/// can tell; else when it next looks.
pub(super) async fn write_claim<C: ConnectionTrait>(
    tx: &C,
    (account, scope): (AccountId, BudgetScope),
    node: NodeId,
    change: ClaimChange,
) -> Result<(), StoreError> {
    let mut values = key(account, None, scope);
    values.push(node.get().into());
    match change {
        ClaimChange::Keep => Ok(()),
        ClaimChange::Drop => {
            let text = format!("DELETE FROM lease_claim WHERE {OF_BUDGET} AND node_id = ?");
            db::run(tx, &text, values).await?;
            Ok(())
        }
        ClaimChange::Put(claim) => {
            values.extend([
                micros(claim.since).into(),
                stored(claim.wanted).into(),
                micros(claim.expires_at).into(),
            ]);
            let text = "INSERT INTO lease_claim (account_id, kind, subject, unit, window_start, \
                        node_id, since, wanted, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) \
                ON CONFLICT (account_id, kind, subject, unit, window_start, node_id) DO UPDATE SET \
                        since = excluded.since, wanted = excluded.wanted, \
                        expires_at = excluded.expires_at";
            db::run(tx, text, values).await?;
            if tx.get_database_backend() == DbBackend::Postgres {
                let text = "SELECT pg_notify('tollgate_recall', ?)";
                db::one(tx, text, vec![account.get().to_string().into()]).await?;
            }
            Ok(())
        }
    }
}

/// Recalls so much of a wallet from the nodes that have it on lease.
pub(crate) async fn claim_for_house<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    wanted: Amount,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    recall_budget(tx, (account, BudgetScope::Wallet), wanted, now).await
}

/// Recalls so much of a budget from the nodes that have it on lease.
pub(super) async fn recall_budget<C: ConnectionTrait>(
    tx: &C,
    (account, scope): (AccountId, BudgetScope),
    wanted: Amount,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let (standing, now) = claims(tx, account, scope, now).await?;
    let standing = standing
        .iter()
        .find(|claim| claim.node == HOUSE && claim.expires_at > now);
    let claim = Claim {
        node: HOUSE,
        since: standing.map_or(now, |claim| claim.since),
        wanted,
        expires_at: now.saturating_add(HOUSE_CLAIM_FOR),
    };
    write_claim(tx, (account, scope), HOUSE, ClaimChange::Put(claim)).await
}

/// Ends what [`claim_for_house`] began of a wallet.
pub(crate) async fn drop_claim_of_house<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
) -> Result<(), StoreError> {
    write_claim(tx, (account, BudgetScope::Wallet), HOUSE, ClaimChange::Drop).await
}

/// What others have more need of than a node.
pub(crate) async fn recalls<C: ConnectionTrait>(
    db: &C,
    node: NodeId,
    now: OffsetDateTime,
) -> Result<Vec<Recall>, StoreError> {
    let (time, bound) = row_of_time(db.get_database_backend(), now);
    let text = format!(
        "SELECT v.at, \
                l.account_id, l.kind, l.subject, l.unit, l.window_start, l.node_id, \
                l.amount, l.seq, l.granted, c.node_id AS claimant, c.since, c.wanted, c.expires_at \
                FROM {time} JOIN lease_claim c ON c.expires_at > v.at \
                JOIN lease l ON l.account_id = c.account_id \
                AND l.kind = c.kind AND l.subject = c.subject AND l.unit = c.unit \
                AND l.window_start = c.window_start \
                WHERE l.node_id = ? AND l.amount > 0 \
                ORDER BY l.account_id, l.kind, l.subject, l.unit, l.window_start"
    );
    let values = bound.into_iter().chain([node.get().into()]).collect();
    let rows = db::all(db, &text, values).await?;
    let Some(first) = rows.first() else {
        return Ok(Vec::new());
    };
    let now = instant("lease_claim", get(first, "at")?)?;
    let mut budgets: Vec<(AccountId, BudgetScope, Lease, Vec<Claim>)> = Vec::new();
    for row in rows {
        let account = AccountId::new(get(&row, "account_id")?);
        let scope = load::scope(&row)?;
        let claim = claim_of(&row)?;
        match budgets.last_mut() {
            Some((of, in_scope, _, claims)) if (*of, *in_scope) == (account, scope) => {
                claims.push(claim);
            }
            _ => budgets.push((account, scope, lease_of(&row)?, vec![claim])),
        }
    }
    let wanted = budgets
        .into_iter()
        .map(|(account, scope, lease, claims)| Recall {
            account,
            scope,
            wanted: recalled(&lease, &claims, now),
        });
    Ok(wanted.filter(|recall| !recall.wanted.is_zero()).collect())
}

/// Takes a part of a lease back inside a transaction; at most what it holds, and once.
pub(crate) async fn give_back<C: ConnectionTrait>(
    tx: &C,
    back: &LeaseReturn,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    if load::locked_wallet(tx, back.account).await?.is_none() {
        return Ok(());
    }
    let text = format!(
        "SELECT node_id, amount, seq, granted FROM lease WHERE {OF_BUDGET} AND node_id = ?"
    );
    let mut values = key(back.account, None, back.scope);
    values.push(back.node.get().into());
    let Some(row) = db::one(tx, &text, values).await? else {
        return Ok(());
    };
    let Some((lease, freed)) = take_back(&lease_of(&row)?, back) else {
        return Ok(());
    };
    write(tx, back.account, back.scope, &lease, now).await?;
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
        let text = "UPDATE wallet SET leased = leased - ?, version = version + 1 \
                    WHERE account_id = ?";
        db::run(tx, text, vec![freed, account.get().into()]).await?;
        return Ok(());
    }
    let mut values = vec![freed];
    values.extend(key(account, None, scope));
    let text = format!("UPDATE quota_usage SET leased = leased - ? WHERE {OF_BUDGET}");
    db::run(tx, &text, values).await?;
    Ok(())
}
