//! The record of nodes: who is alive, under which name and number.

use async_trait::async_trait;
use billing_core::id::NodeId;
use billing_core::node::{IdNumber, NodeRecord, NodeState, Pulse, free_number};
use billing_core::port::nodes::{Beat, NodeJoin, Nodes, NodesError, Reclaimed, Replaces};
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Value};
use time::{Duration, OffsetDateTime};

use crate::db;
use crate::error::StoreError;
use crate::instant::{get, instant};
use crate::open::Store;
use crate::store_time::{dated, store_time};

/// How often joining begins anew when others join at the same moment.
const TRIES: u32 = 20;

#[async_trait]
impl Nodes for Store {
    async fn store_time(&self) -> Result<Option<OffsetDateTime>, NodesError> {
        if self.is_embedded() {
            return Ok(None);
        }
        let at = store_time(&self.db.signs, OffsetDateTime::UNIX_EPOCH).await?;
        Ok(Some(instant("node", at)?))
    }

    async fn join(&self, join: NodeJoin) -> Result<IdNumber, NodesError> {
        for _ in 0..TRIES {
            let tx = self.db.begin().await?;
            let result = enter(&tx, &join).await;
            if let Some(number) = db::finish(tx, result).await? {
                self.ids.renumber(number);
                return Ok(number);
            }
        }
        let why = "others join all the time".to_owned();
        Err(StoreError::Start(why).into())
    }

    async fn beat(&self, node: NodeId, now: OffsetDateTime) -> Result<Beat, NodesError> {
        Ok(beat(&self.db.signs, node, now).await?)
    }

    async fn fence(
        &self,
        node: NodeId,
        seen: Pulse,
        now: OffsetDateTime,
    ) -> Result<bool, NodesError> {
        let text = "UPDATE node SET fenced_at = {now} \
                    WHERE id = ? AND heartbeat_at = ? AND fenced_at IS NULL";
        let values = vec![node.get().into(), seen.get().into()];
        run(&self.db.signs, text, now, values).await?;
        let text = "SELECT fenced_at FROM node WHERE id = ?";
        let row = db::one(&self.db.signs, text, vec![node.get().into()]).await?;
        let Some(row) = row else { return Ok(true) };
        Ok(get::<Option<i64>>(&row, "fenced_at")?.is_some())
    }

    async fn leave(&self, node: NodeId, now: OffsetDateTime) -> Result<(), NodesError> {
        let text = "UPDATE node SET fenced_at = COALESCE(fenced_at, {now}), left_at = {now} \
                    WHERE id = ? AND left_at IS NULL";
        run(&self.db.signs, text, now, vec![node.get().into()]).await?;
        Ok(())
    }

    async fn still_settles(&self, node: NodeId, now: OffsetDateTime) -> Result<(), NodesError> {
        let text = "UPDATE node SET fenced_at = {now} \
                    WHERE id = ? AND fenced_at IS NOT NULL AND left_at IS NULL";
        run(&self.db.signs, text, now, vec![node.get().into()]).await?;
        Ok(())
    }

    async fn give_up(&self, fenced_for: Duration, now: OffsetDateTime) -> Result<u64, NodesError> {
        let text = "UPDATE node SET left_at = {now} \
                    WHERE left_at IS NULL AND fenced_at <= {now} - ?";
        let micros = i64::try_from(fenced_for.whole_microseconds()).unwrap_or(i64::MAX);
        Ok(run(&self.db.signs, text, now, vec![micros.into()]).await?)
    }

    async fn reclaim(&self, most_accounts: u32) -> Result<Reclaimed, NodesError> {
        Ok(self.reclaim_some(most_accounts).await?)
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>, NodesError> {
        Ok(records(&self.db.reader).await?)
    }
}

/// Makes a node known; `None` when another did something in between that it collides with.
async fn enter<C: ConnectionTrait>(
    tx: &C,
    join: &NodeJoin,
) -> Result<Option<IdNumber>, NodesError> {
    let records = records(tx).await?;
    let at = store_time(tx, join.now).await?;
    if let Some(known) = records.iter().find(|r| r.node == join.node) {
        let number = known.number.filter(|_| known.name == join.name);
        return match (known.state, number) {
            (NodeState::Alive, Some(number)) => Ok(Some(IdNumber {
                number,
                after: None,
            })),
            _ => Err(NodesError::IdUsed),
        };
    }
    let mut living = records.iter().filter(|r| r.state == NodeState::Alive);
    if let Some(holder) = living.find(|r| r.name == join.name) {
        if !join.replaces.is(holder.node, holder.pulse) {
            return Err(NodesError::NameTaken(Box::new(holder.clone())));
        }
        let text = "UPDATE node SET fenced_at = ? \
                    WHERE id = ? AND heartbeat_at = ? AND fenced_at IS NULL";
        let values = [at, holder.node.get(), holder.pulse.get()].map(Value::from);
        if db::run(tx, text, values.to_vec()).await? == 0 {
            return Ok(None);
        }
    }
    if let Replaces::Ended(ended) = join.replaces {
        let text = "UPDATE node SET fenced_at = COALESCE(fenced_at, ?), left_at = ? \
                    WHERE id = ? AND name = ? AND left_at IS NULL";
        let mut values: Vec<Value> = [at, at, ended.get()].map(Value::from).to_vec();
        values.push(join.name.as_str().into());
        db::run(tx, text, values).await?;
    }
    let number = free_number(&records).ok_or(NodesError::Full)?;
    let text = "INSERT INTO node (id, name, started_at, heartbeat_at, number) \
                VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let values = vec![
        join.node.get().into(),
        join.name.as_str().into(),
        at.into(),
        at.into(),
        i64::from(number.number).into(),
    ];
    let inserted = db::run(tx, text, values).await?;
    Ok((inserted > 0).then_some(number))
}

async fn beat<C: ConnectionTrait>(
    db: &C,
    node: NodeId,
    now: OffsetDateTime,
) -> Result<Beat, StoreError> {
    // Grows, whatever the clock does.
    let text = "UPDATE node SET heartbeat_at = {most}(heartbeat_at + 1, {now}) \
                WHERE id = ? AND fenced_at IS NULL RETURNING {now} AS at";
    let text = dated(db.get_database_backend(), text, now);
    let Some(row) = db::one(db, &text, vec![node.get().into()]).await? else {
        return Ok(Beat::Fenced);
    };
    let is_alone = db.get_database_backend() == DbBackend::Sqlite;
    let at = get(&row, "at")?;
    let store_time = (!is_alone).then(|| instant("node", at)).transpose()?;
    let text = "SELECT id, heartbeat_at FROM node WHERE fenced_at IS NULL AND id <> ?";
    let rows = db::all(db, text, vec![node.get().into()]).await?;
    let peers = rows
        .iter()
        .map(|row| {
            let pulse = Pulse::new(get(row, "heartbeat_at")?);
            Ok((NodeId::new(get(row, "id")?), pulse))
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(Beat::Alive { peers, store_time })
}

async fn run<C: ConnectionTrait>(
    db: &C,
    text: &str,
    now: OffsetDateTime,
    values: Vec<Value>,
) -> Result<u64, StoreError> {
    let text = dated(db.get_database_backend(), text, now);
    db::run(db, &text, values).await
}

async fn records<C: ConnectionTrait>(db: &C) -> Result<Vec<NodeRecord>, StoreError> {
    let rows = db::all(db, "SELECT * FROM node ORDER BY id", Vec::new()).await?;
    rows.iter().map(record).collect()
}

fn record(row: &QueryResult) -> Result<NodeRecord, StoreError> {
    let at = |micros: i64| instant("node", micros);
    let fenced_at: Option<i64> = get(row, "fenced_at")?;
    let left_at: Option<i64> = get(row, "left_at")?;
    let number: Option<i64> = get(row, "number")?;
    let heartbeat_at: i64 = get(row, "heartbeat_at")?;
    Ok(NodeRecord {
        node: NodeId::new(get(row, "id")?),
        name: get(row, "name")?,
        number: number.and_then(|n| u16::try_from(n).ok()),
        started_at: at(get(row, "started_at")?)?,
        seen_at: at(heartbeat_at)?,
        pulse: Pulse::new(heartbeat_at),
        state: match (fenced_at, left_at) {
            (None, _) => NodeState::Alive,
            (Some(_), Some(left)) => NodeState::Left(at(left)?),
            (Some(fenced), None) => NodeState::Fenced(at(fenced)?),
        },
    })
}
