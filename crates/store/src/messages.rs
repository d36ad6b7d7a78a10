//! Messages: kept in the transaction that does what they tell of, once for their key.

use async_trait::async_trait;
use billing_core::id::{AccountId, MessageId, SubscriptionId};
use billing_core::message::{Message, MessageKind, NewMessage, needs_invoice, told};
use billing_core::port::messages::{Messages, MessagesError};
use billing_core::subscription::{Effect, Subscription};
use sea_orm::{ConnectionTrait, QueryResult};
use time::OffsetDateTime;

use crate::db;
use crate::error::StoreError;
use crate::instant::{get, instant, micros};
use crate::invoices::{Desk, row as documents};
use crate::open::Store;
use crate::plans;

type Stored<T> = Result<T, StoreError>;

const TABLE: &str = "message";

#[async_trait]
impl Messages for Store {
    async fn list(
        &self,
        account: AccountId,
        before: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<Message>, MessagesError> {
        let text = "SELECT * FROM message WHERE account_id = ? AND id < ? ORDER BY id DESC LIMIT ?";
        let values = vec![
            account.get().into(),
            before.map_or(i64::MAX, MessageId::get).into(),
            i64::from(limit).into(),
        ];
        let rows = db::all(&self.db.reader, text, values).await?;
        Ok(rows.iter().map(message).collect::<Stored<_>>()?)
    }
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
    let values = vec![
        new.account.get().into(),
        desk.ids.next(now).get().into(),
        new.subscription.get().into(),
        new.key.as_str().into(),
        new.kind.name().into(),
        plans::json(&new.facts)?.into(),
        micros(now).into(),
    ];
    db::run(tx, text, values).await?;
    Ok(())
}
