//! Messages: kept in the transaction that does what they tell of, once for their key.

use async_trait::async_trait;
use billing_core::id::{AccountId, MessageId, SubscriptionId};
use billing_core::message::{
    CLAIM_FOR, Delivery, DeliveryState, Message, MessageKind, NewMessage, needs_invoice, told,
};
use billing_core::port::messages::{Claimed, Messages, MessagesError, Outbox};
use billing_core::subscription::{Effect, Subscription};
use sea_orm::{ConnectionTrait, DbBackend, QueryResult};
use time::OffsetDateTime;

use crate::db;
use crate::error::StoreError;
use crate::instant::{get, instant, micros};
use crate::invoices::{Desk, row as documents};
use crate::open::Store;
use crate::plans;

type Stored<T> = Result<T, StoreError>;

const TABLE: &str = "message";
const DELIVERY: &str = "message_delivery";

#[async_trait]
impl Messages for Store {
    async fn list(
        &self,
        account: AccountId,
        before: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<Message>, MessagesError> {
        let text = "SELECT m.*, d.tries, d.due_at, d.sent_at, d.given_up_at FROM message m \
                    LEFT JOIN message_delivery d \
                    ON d.account_id = m.account_id AND d.message_id = m.id \
                    WHERE m.account_id = ? AND m.id < ? ORDER BY m.id DESC LIMIT ?";
        let values = vec![
            account.get().into(),
            before.map_or(i64::MAX, MessageId::get).into(),
            i64::from(limit).into(),
        ];
        let rows = db::all(&self.db.reader, text, values).await?;
        Ok(rows.iter().map(message).collect::<Stored<_>>()?)
    }

    async fn claim(&self, now: OffsetDateTime, limit: u32) -> Result<Vec<Claimed>, MessagesError> {
        let tx = self.db.begin().await?;
        let result = claim(&tx, self.db.backend(), now, limit).await;
        Ok(db::finish(tx, result).await?)
    }

    async fn tried(&self, claimed: &Claimed, state: DeliveryState) -> Result<bool, MessagesError> {
        let (due_at, sent_at, given_up_at) = match state {
            DeliveryState::Waits(at) => (Some(at), None, None),
            DeliveryState::Sent(at) => (None, Some(at), None),
            DeliveryState::GivenUp(at) => (None, None, Some(at)),
        };
        let text = "UPDATE message_delivery SET due_at = ?, sent_at = ?, given_up_at = ? \
                    WHERE account_id = ? AND message_id = ? AND fence = ? AND due_at IS NOT NULL";
        let values = vec![
            due_at.map(micros).into(),
            sent_at.map(micros).into(),
            given_up_at.map(micros).into(),
            claimed.message.account.get().into(),
            claimed.message.id.get().into(),
            claimed.fence.into(),
        ];
        let tx = self.db.begin().await?;
        let result = db::run(&tx, text, values).await;
        Ok(db::finish(tx, result).await? > 0)
    }

    async fn outbox(&self) -> Result<Outbox, MessagesError> {
        let count = async |column: &str| {
            let text = format!(
                "SELECT COUNT(*) AS count FROM message_delivery WHERE {column} IS NOT NULL"
            );
            let found = db::one(&self.db.reader, &text, Vec::new()).await?;
            let count = found.map_or(Ok(0), |row| get::<i64>(&row, "count"))?;
            Stored::Ok(u64::try_from(count).unwrap_or(0))
        };
        Ok(Outbox {
            waiting: count("due_at").await?,
            given_up: count("given_up_at").await?,
        })
    }
}

/// Takes messages that are due, by setting when another may have them.
async fn claim<C: ConnectionTrait>(
    tx: &C,
    backend: DbBackend,
    now: OffsetDateTime,
    limit: u32,
) -> Stored<Vec<Claimed>> {
    // What another sender is just taking is left to it.
    let free = if backend == DbBackend::Postgres {
        "FOR UPDATE SKIP LOCKED"
    } else {
        ""
    };
    let text = format!(
        "UPDATE message_delivery SET due_at = ?, fence = fence + 1, tries = tries + 1 \
         WHERE (account_id, message_id) IN (SELECT account_id, message_id FROM message_delivery \
         WHERE due_at <= ? ORDER BY due_at LIMIT ? {free}) AND due_at <= ? \
         RETURNING account_id, message_id, fence"
    );
    let values = vec![
        micros(now.saturating_add(CLAIM_FOR)).into(),
        micros(now).into(),
        i64::from(limit).into(),
        micros(now).into(),
    ];
    let mut claimed = Vec::new();
    for row in db::all(tx, &text, values).await? {
        let id: i64 = get(&row, "message_id")?;
        let text = "SELECT m.*, d.tries, d.due_at, d.sent_at, d.given_up_at FROM message m \
                    JOIN message_delivery d ON d.account_id = m.account_id AND d.message_id = m.id \
                    WHERE m.account_id = ? AND m.id = ?";
        let values = vec![get::<i64>(&row, "account_id")?.into(), id.into()];
        let found = db::one(tx, text, values).await?;
        let found = found
            .ok_or_else(|| StoreError::unreadable(TABLE, format!("{id} is to be sent and gone")))?;
        let message = message(&found)?;
        claimed.push(Claimed {
            tries: message.delivery.map_or(1, |delivery| delivery.tries),
            message,
            fence: get(&row, "fence")?,
        });
    }
    claimed.sort_by_key(|claimed| claimed.message.id);
    Ok(claimed)
}

/// How far it has come with sending a message; `None` where it is not to be sent.
fn delivery(row: &QueryResult) -> Stored<Option<Delivery>> {
    let Some(tries) = get::<Option<i64>>(row, "tries")? else {
        return Ok(None);
    };
    let at = |column| -> Stored<_> {
        let at: Option<i64> = get(row, column)?;
        at.map(|at| instant(DELIVERY, at)).transpose()
    };
    let state = match (at("sent_at")?, at("given_up_at")?, at("due_at")?) {
        (Some(sent), _, _) => DeliveryState::Sent(sent),
        (None, Some(given_up), _) => DeliveryState::GivenUp(given_up),
        (None, None, Some(due)) => DeliveryState::Waits(due),
        (None, None, None) => {
            return Err(StoreError::unreadable(
                DELIVERY,
                "it has no state".to_owned(),
            ));
        }
    };
    Ok(Some(Delivery {
        tries: u32::try_from(tries).unwrap_or(u32::MAX),
        state,
    }))
}

/// What a row says.
fn message(row: &QueryResult) -> Stored<Message> {
    let name: String = get(row, "kind")?;
    let kind = MessageKind::of_name(&name);
    let kind = kind.ok_or_else(|| StoreError::unreadable(TABLE, format!("kind {name}")))?;
    Ok(Message {
        id: MessageId::new(get(row, "id")?),
        account: AccountId::new(get(row, "account_id")?),
        subscription: SubscriptionId::new(get(row, "subscription_id")?),
        kind,
        facts: plans::read(TABLE, &get::<String>(row, "facts")?)?,
        made_at: instant(TABLE, get(row, "made_at")?)?,
        delivery: delivery(row)?,
    })
}

/// Keeps what is told because a subscription has changed.
pub(crate) async fn keep<C: ConnectionTrait>(
    tx: &C,
    subscription: &Subscription,
    effects: &[Effect],
    desk: Desk<'_>,
    now: OffsetDateTime,
) -> Stored<()> {
    let invoice = if needs_invoice(effects) {
        documents::newest(tx, (subscription.account, subscription.id)).await?
    } else {
        None
    };
    for new in told(subscription, effects, (desk.dunning, invoice.as_ref())) {
        insert(tx, &new, desk, now).await?;
    }
    Ok(())
}

async fn insert<C: ConnectionTrait>(
    tx: &C,
    new: &NewMessage,
    desk: Desk<'_>,
    now: OffsetDateTime,
) -> Stored<()> {
    let text = "INSERT INTO message (account_id, id, subscription_id, once_key, kind, facts, \
                made_at) VALUES (?, ?, ?, ?, ?, ?, ?) \
                ON CONFLICT (account_id, once_key) DO NOTHING";
    let id = desk.ids.next(now).get();
    let values = vec![
        new.account.get().into(),
        id.into(),
        new.subscription.get().into(),
        new.key.as_str().into(),
        new.kind.name().into(),
        plans::json(&new.facts)?.into(),
        micros(now).into(),
    ];
    let is_new = db::run(tx, text, values).await? > 0;
    if is_new && desk.sends_messages {
        let text = "INSERT INTO message_delivery (account_id, message_id, tries, fence, due_at) \
                    VALUES (?, ?, 0, 0, ?)";
        let values = vec![new.account.get().into(), id.into(), micros(now).into()];
        db::run(tx, text, values).await?;
    }
    Ok(())
}
