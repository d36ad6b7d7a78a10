//! What nodes that have left still have on lease goes back to its budgets.

use billing_core::id::AccountId;
use billing_core::lease::HOUSE;
use billing_core::port::nodes::Reclaimed;
use sea_orm::ConnectionTrait;

use super::{lease, load};
use crate::db;
use crate::error::StoreError;
use crate::instant::{amount, get};
use crate::open::Store;
use crate::rows::BatchSql;
use crate::rows::Kind::Int;

/// How many accounts are locked by one transaction.
const AT_ONCE: u32 = 32;

/// A node that has left, or of which nothing is on record, and has leases. Goes from node to node by
/// the index of the leases, however many each has.
const GONE: &str = "WITH RECURSIVE has (node_id) AS (SELECT MIN(node_id) FROM lease UNION ALL \
    SELECT (SELECT MIN(l.node_id) FROM lease l WHERE l.node_id > has.node_id) FROM has \
    WHERE has.node_id IS NOT NULL) \
    SELECT has.node_id FROM has LEFT JOIN node n ON n.id = has.node_id \
    WHERE has.node_id <> ? AND (n.id IS NULL OR n.left_at IS NOT NULL) LIMIT 1";

const ACCOUNTS: &str =
    "SELECT DISTINCT account_id FROM lease WHERE node_id = ? ORDER BY account_id LIMIT ?";

static LEFT: BatchSql = BatchSql::new(
    &[("account_id", Int)],
    "SELECT l.* FROM {rows} v CROSS JOIN lease l LEFT JOIN node n ON n.id = l.node_id \
     WHERE l.account_id = v.account_id AND (n.id IS NULL OR n.left_at IS NOT NULL)",
);

impl Store {
    /// See [`billing_core::port::nodes::Nodes::reclaim`].
    pub(crate) async fn reclaim_some(&self, most: u32) -> Result<Reclaimed, StoreError> {
        let mut reclaimed = Reclaimed::default();
        let mut left = most;
        while left > 0 {
            let some = left.min(AT_ONCE);
            left = left.saturating_sub(some);
            // Looked for outside the transaction: there may be nothing, and most often is.
            let accounts = accounts(&self.db.reader, some).await?;
            if accounts.is_empty() {
                reclaimed.more = false;
                break;
            }
            let tx = self.db.begin().await?;
            let result = reclaim(&tx, accounts).await;
            let leases = db::finish(tx, result).await?;
            reclaimed.leases = reclaimed.leases.saturating_add(leases);
            reclaimed.more = true;
        }
        Ok(reclaimed)
    }
}

async fn accounts<C: ConnectionTrait>(db: &C, most: u32) -> Result<Vec<AccountId>, StoreError> {
    let Some(gone) = db::one(db, GONE, vec![HOUSE.get().into()]).await? else {
        return Ok(Vec::new());
    };
    let node: i64 = get(&gone, "node_id")?;
    let values = vec![node.into(), i64::from(most).into()];
    let rows = db::all(db, ACCOUNTS, values).await?;
    rows.iter()
        .map(|row| Ok(AccountId::new(get(row, "account_id")?)))
        .collect()
}

/// Frees what nodes that have left have on lease of some accounts; says how many leases had
/// anything left.
pub(crate) async fn reclaim<C: ConnectionTrait>(
    tx: &C,
    accounts: Vec<AccountId>,
) -> Result<u64, StoreError> {
    // A settlement may have drawn on a lease before its wallet was locked, and another node may
    // have freed it: read what is left now.
    let wallets = load::wallets(tx, accounts).await?;
    let mut rows = LEFT.rows(tx.get_database_backend());
    for account in wallets.keys() {
        rows.push([account.get().into()]);
    }
    let mut reclaimed = 0_u64;
    for row in rows.query(tx).await? {
        if get::<i64>(&row, "node_id")? == HOUSE.get() {
            continue;
        }
        let left = amount(get(&row, "amount")?);
        let account = AccountId::new(get(&row, "account_id")?);
        lease::free(tx, account, load::scope(&row)?, left).await?;
        let text = "DELETE FROM lease WHERE account_id = ? AND node_id = ? AND kind = ? \
                    AND subject = ? AND unit = ? AND window_start = ?";
        let mut values = vec![account.get().into()];
        for column in ["node_id", "kind", "subject", "unit", "window_start"] {
            values.push(get::<i64>(&row, column)?.into());
        }
        db::run(tx, text, values).await?;
        reclaimed = reclaimed.saturating_add(u64::from(!left.is_zero()));
    }
    Ok(reclaimed)
}
