//! Nodes: who is alive, and what the dead leave behind.

use billing_core::id::{AccountId, NodeId};
use billing_core::port::books::{BooksError, Joined, NodeJoin};
use sea_orm::ConnectionTrait;
use time::OffsetDateTime;

use super::{lease, load};
use crate::db;
use crate::error::StoreError;
use crate::instant::{amount, get, micros};

const OF_THE_DEAD: &str = "node_id IN (SELECT id FROM node WHERE fenced_at IS NOT NULL)";

/// Makes a node known, fences those it replaces and those that were silent, and frees what they
/// had on lease.
pub(crate) async fn join<C: ConnectionTrait>(
    tx: &C,
    node: NodeId,
    join: &NodeJoin,
) -> Result<Joined, BooksError> {
    let now = micros(join.now);
    let silence = i64::from(join.silence_s).saturating_mul(1_000_000);
    let text = "INSERT INTO node (id, name, started_at, heartbeat_at) VALUES (?, ?, ?, ?) \
                ON CONFLICT (id) DO NOTHING";
    let (id, name) = (node.get(), join.name.as_str());
    db::run(
        tx,
        text,
        vec![id.into(), name.into(), now.into(), now.into()],
    )
    .await?;
    let text = "UPDATE node SET fenced_at = ? \
                WHERE fenced_at IS NULL AND id <> ? AND (name = ? OR heartbeat_at < ?)";
    let silent_since = now.saturating_sub(silence);
    db::run(
        tx,
        text,
        vec![now.into(), id.into(), name.into(), silent_since.into()],
    )
    .await?;
    let text = "SELECT fenced_at FROM node WHERE id = ?";
    let row = db::one(tx, text, vec![id.into()]).await?;
    let fenced = row
        .map(|r| get::<Option<i64>>(&r, "fenced_at"))
        .transpose()?;
    if fenced.flatten().is_some() {
        return Err(BooksError::Fenced);
    }
    let leases_reclaimed = reclaim(tx).await?;
    Ok(Joined { leases_reclaimed })
}

/// Frees the leases of all fenced nodes.
async fn reclaim<C: ConnectionTrait>(tx: &C) -> Result<u64, StoreError> {
    let text = format!("SELECT DISTINCT account_id FROM lease WHERE {OF_THE_DEAD}");
    let mut accounts = Vec::new();
    for row in db::all(tx, &text, Vec::new()).await? {
        accounts.push(AccountId::new(get(&row, "account_id")?));
    }
    if accounts.is_empty() {
        return Ok(0);
    }
    // A settlement may have drawn on a lease before its wallet was locked: read what is left now.
    load::wallets(tx, accounts).await?;
    let text = format!("SELECT * FROM lease WHERE {OF_THE_DEAD}");
    let mut reclaimed = 0_u64;
    for row in db::all(tx, &text, Vec::new()).await? {
        let left = amount(get(&row, "amount")?);
        let account = AccountId::new(get(&row, "account_id")?);
        lease::free(tx, account, load::scope(&row)?, left).await?;
        reclaimed = reclaimed.saturating_add(u64::from(!left.is_zero()));
    }
    let text = format!("DELETE FROM lease WHERE {OF_THE_DEAD}");
    db::run(tx, &text, Vec::new()).await?;
    Ok(reclaimed)
}

/// Whether the node is alive still.
pub(crate) async fn beat<C: ConnectionTrait>(
    db: &C,
    node: NodeId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let text = "UPDATE node SET heartbeat_at = ? WHERE id = ? AND fenced_at IS NULL";
    let changed = db::run(db, text, vec![micros(now).into(), node.get().into()]).await?;
    Ok(changed > 0)
}
