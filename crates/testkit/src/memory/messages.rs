//! Messages, in memory.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use billing_core::id::{AccountId, MessageId};
use billing_core::message::{CLAIM_FOR, Delivery, DeliveryState, Message, needs_invoice, told};
use billing_core::port::messages::{Claimed, Messages, MessagesError, Outbox};
use billing_core::subscription::{Effect, Subscription};
use time::OffsetDateTime;

use super::{Memory, State};

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    all: BTreeMap<(AccountId, MessageId), Message>,
    keys: BTreeSet<String>,
    /// Counts who had each to send it.
    fences: BTreeMap<MessageId, i64>,
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
                delivery: Some(Delivery {
                    tries: 0,
                    state: DeliveryState::Waits(now),
                }),
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

    async fn claim(&self, now: OffsetDateTime, limit: u32) -> Result<Vec<Claimed>, MessagesError> {
        let mut state = self.state();
        let told = &mut state.told;
        let mut claimed = Vec::new();
        for message in told.all.values_mut() {
            let is_full = claimed.len() >= usize::try_from(limit).unwrap();
            let delivery = message.delivery.as_mut().unwrap();
            if is_full || !matches!(delivery.state, DeliveryState::Waits(at) if at <= now) {
                continue;
            }
            delivery.tries += 1;
            delivery.state = DeliveryState::Waits(now + CLAIM_FOR);
            let fence = told.fences.entry(message.id).or_default();
            *fence += 1;
            claimed.push(Claimed {
                tries: delivery.tries,
                fence: *fence,
                message: message.clone(),
            });
        }
        Ok(claimed)
    }

    async fn tried(&self, claimed: &Claimed, now: DeliveryState) -> Result<bool, MessagesError> {
        let mut state = self.state();
        let told = &mut state.told;
        let (account, id) = (claimed.message.account, claimed.message.id);
        let delivery = told.all.get_mut(&(account, id)).unwrap();
        let delivery = delivery.delivery.as_mut().unwrap();
        let is_ours = told.fences.get(&id) == Some(&claimed.fence);
        let waits = matches!(delivery.state, DeliveryState::Waits(_));
        if is_ours && waits {
            delivery.state = now;
        }
        Ok(is_ours && waits)
    }

    async fn outbox(&self) -> Result<Outbox, MessagesError> {
        let state = self.state();
        let mut outbox = Outbox::default();
        for message in state.told.all.values() {
            match message.delivery.unwrap().state {
                DeliveryState::Waits(_) => outbox.waiting += 1,
                DeliveryState::GivenUp(_) => outbox.given_up += 1,
                DeliveryState::Sent(_) => {}
            }
        }
        Ok(outbox)
    }
}
