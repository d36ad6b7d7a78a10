//! Messages, in memory.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use billing_core::id::{AccountId, MessageId};
use billing_core::message::{Message, needs_invoice, told};
use billing_core::port::messages::{Messages, MessagesError};
use billing_core::subscription::{Effect, Subscription};
use time::OffsetDateTime;

use super::{Memory, State};

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    all: BTreeMap<(AccountId, MessageId), Message>,
    keys: BTreeSet<String>,
}

impl State {
    /// Keeps what is told because a subscription has changed.
    pub(super) fn keep_messages(
        &mut self,
        subscription: &Subscription,
        effects: &[Effect],
        now: OffsetDateTime,
    ) {
        let invoice = if needs_invoice(effects) {
            self.newest_invoice(subscription.id)
        } else {
            None
        };
        for new in told(subscription, effects, (&self.dunning, invoice.as_ref())) {
            if !self.told.keys.insert(new.key) {
                continue;
            }
            let id = MessageId::new(self.txn_id(now).get());
            let message = Message {
                id,
                account: new.account,
                subscription: new.subscription,
                kind: new.kind,
                facts: new.facts,
                made_at: now,
            };
            self.told.all.insert((new.account, id), message);
        }
    }
}

#[async_trait]
impl Messages for Memory {
    async fn list(
        &self,
        account: AccountId,
        before: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<Message>, MessagesError> {
        let state = self.state();
        let all = state.told.all.values().rev();
        let of = all.filter(|message| message.account == account);
        let of = of.filter(|message| before.is_none_or(|before| message.id < before));
        Ok(of.take(usize::try_from(limit).unwrap()).cloned().collect())
    }
}
