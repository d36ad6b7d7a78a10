//! A look at what goes on, for an operator: nodes, leases, and what waits to be listed.

use billing_core::id::{AccountId, NodeId};
use billing_core::money::Nanos;
use time::OffsetDateTime;

use crate::db;
use crate::error::StoreError;
use crate::instant::{get, instant};
use crate::open::Store;
use crate::store_time::store_time;

/// How many calls and transactions that wait to be listed are counted.
const MOST_UNLISTED: u32 = 100_000;

/// What goes on at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The nodes that are not taken for dead, in order of their names.
    pub nodes: Vec<NodeLook>,
    /// What nodes have on lease of wallets.
    pub leases: Vec<LeaseLook>,
    /// The largest lease of a wallet.
    pub largest: Option<(AccountId, NodeId, Nanos)>,
    /// Budgets that some node lacks and others have on lease.
    pub contended: u64,
    /// Settled calls that are not in their accounts' lists yet; counted up to 100,000.
    pub unlisted: u64,
    /// Transactions of the journal that are not; counted up to 100,000.
    pub unlisted_txns: u64,
    /// What time it is for the database, where it has a clock of its own.
    pub store_time: Option<OffsetDateTime>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLook {
    /// Its id.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its last sign of life.
    pub heartbeat_at: OffsetDateTime,
}

/// What a node has on lease of wallets in a currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseLook {
    /// The node.
    pub node: NodeId,
    /// The currency, by its code.
    pub currency: String,
    /// How many leases.
    pub count: u64,
    /// What they hold together; the largest amount where it is larger.
    pub sum: Nanos,
}

impl Store {
    /// Looks at what goes on. It reads all leases, so it is for a person and not for a loop.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn look(&self) -> Result<Look, StoreError> {
        let text = "SELECT COUNT(*) AS n FROM (SELECT DISTINCT account_id, kind, subject, unit, \
                    window_start FROM lease_claim) c";
        let contended = self.count(text.to_owned()).await?;
        let waiting = |table| {
            format!("SELECT COUNT(*) AS n FROM (SELECT 1 FROM {table} LIMIT {MOST_UNLISTED}) u")
        };
        Ok(Look {
            nodes: self.living().await?,
            leases: self.leases_by_node().await?,
            largest: self.largest_lease().await?,
            contended,
            unlisted: self.count(waiting("call_unlisted")).await?,
            unlisted_txns: self.count(waiting("txn_unlisted")).await?,
            store_time: self.own_time().await?,
        })
    }

    async fn count(&self, text: String) -> Result<u64, StoreError> {
        let row = db::one(&self.db.reader, &text, Vec::new()).await?;
        let count = row.map(|row| get::<i64>(&row, "n")).transpose()?;
        Ok(count.unwrap_or(0).unsigned_abs())
    }

    async fn living(&self) -> Result<Vec<NodeLook>, StoreError> {
        let text = "SELECT id, name, heartbeat_at FROM node WHERE fenced_at IS NULL ORDER BY name";
        let rows = db::all(&self.db.reader, text, Vec::new()).await?;
        let read = |row| {
            Ok(NodeLook {
                node: NodeId::new(get(row, "id")?),
                name: get(row, "name")?,
                heartbeat_at: instant("node", get(row, "heartbeat_at")?)?,
            })
        };
        rows.iter().map(read).collect()
    }

    async fn leases_by_node(&self) -> Result<Vec<LeaseLook>, StoreError> {
        // In two halves, so that no sum is too large for the database.
        let text = "SELECT l.node_id, w.currency, COUNT(*) AS n, \
            CAST(SUM(l.amount >> 32) AS BIGINT) AS high, \
            CAST(SUM(l.amount & 4294967295) AS BIGINT) AS low \
            FROM lease l JOIN wallet w ON w.account_id = l.account_id \
            WHERE l.kind = 0 AND l.amount > 0 GROUP BY l.node_id, w.currency ORDER BY 1, 2";
        let rows = db::all(&self.db.reader, text, Vec::new()).await?;
        let read = |row| {
            let half = |name| get::<i64>(row, name).map(i128::from);
            let (high, low) = (half("high")?, half("low")?);
            let sum = high.saturating_mul(1 << 32).saturating_add(low);
            Ok(LeaseLook {
                node: NodeId::new(get(row, "node_id")?),
                currency: get(row, "currency")?,
                count: get::<i64>(row, "n")?.unsigned_abs(),
                sum: Nanos::new(i64::try_from(sum).unwrap_or(i64::MAX)),
            })
        };
        rows.iter().map(read).collect()
    }

    async fn largest_lease(&self) -> Result<Option<(AccountId, NodeId, Nanos)>, StoreError> {
        let text = "SELECT account_id, node_id, amount FROM lease \
                    WHERE kind = 0 AND amount > 0 ORDER BY amount DESC LIMIT 1";
        let row = db::one(&self.db.reader, text, Vec::new()).await?;
        let read = |row| {
            Ok((
                AccountId::new(get(&row, "account_id")?),
                NodeId::new(get(&row, "node_id")?),
                Nanos::new(get(&row, "amount")?),
            ))
        };
        row.map(read).transpose()
    }

    async fn own_time(&self) -> Result<Option<OffsetDateTime>, StoreError> {
        if self.is_embedded() {
            return Ok(None);
        }
        let at = store_time(&self.db.reader, OffsetDateTime::UNIX_EPOCH).await?;
        Ok(Some(instant("clock", at)?))
    }
}
