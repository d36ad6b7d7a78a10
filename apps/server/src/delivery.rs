//! Sends messages: every node may do so at once, and each message is had by one of them.

use std::sync::Arc;

use billing_core::id::AccountId;
use billing_core::message::{DeliveryState, Message};
use billing_core::port::clock::Clock;
use billing_core::port::directory::Directory;
use billing_core::port::messages::{Claimed, Courier, Letter, Messages, MessagesError};
use billing_core::zone::Zone;
use tokio_util::sync::CancellationToken;

use crate::http::api::messages::{MessageDto, zone_of};

/// How many are taken at a time. What one node takes it can hand over before another may have it,
/// however slow the receiver is.
const ROUND: u32 = 20;

/// What sends messages.
#[derive(Debug, Clone)]
pub(crate) struct MessageSender {
    pub(crate) messages: Arc<dyn Messages>,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) courier: Arc<dyn Courier>,
    /// The date of the house: what is due goes by it.
    pub(crate) clock: Arc<dyn Clock>,
    /// This machine's: what a receiver sees goes by it.
    pub(crate) machine: Arc<dyn Clock>,
}

impl MessageSender {
    /// Hands over what is due, until there is no more or it shall stop. What was claimed and not
    /// handed over another has later.
    pub(crate) async fn send(&self, stop: &CancellationToken) -> Result<usize, MessagesError> {
        let mut sent = 0_usize;
        loop {
            let claimed = self.messages.claim(self.clock.now(), ROUND).await?;
            if claimed.is_empty() {
                return Ok(sent);
            }
            for claimed in &claimed {
                if stop.is_cancelled() {
                    return Ok(sent);
                }
                sent = sent.saturating_add(usize::from(self.hand_over(claimed).await?));
            }
        }
    }

    /// Whether it was taken.
    async fn hand_over(&self, claimed: &Claimed) -> Result<bool, MessagesError> {
        let message = &claimed.message;
        let letter = Letter {
            id: message.id,
            body: body(message, &self.zone(message.account).await)?,
            at: self.machine.now(),
        };
        let handed = self.courier.hand_over(&letter).await;
        let is_taken = handed.is_ok();
        let state = DeliveryState::after(claimed.tries, is_taken, self.clock.now());
        self.messages.tried(claimed, state).await?;
        if let Err(error) = handed {
            let (account, tries) = (message.account, claimed.tries);
            tracing::warn!(message = %message.id, %account, tries, %error,
                state = state.name(), "a message was not taken");
        }
        Ok(is_taken)
    }

    /// In whose calendar its dates are; UTC where that cannot be looked up now.
    async fn zone(&self, account: AccountId) -> Zone {
        let found = self.directory.account(account).await;
        let found = found.ok().flatten();
        found.map_or_else(Zone::utc, |account| zone_of(&account.zone))
    }
}

/// A message as it is listed, but for how far it has come with sending it.
fn body(message: &Message, zone: &Zone) -> Result<Vec<u8>, MessagesError> {
    let message = Message {
        delivery: None,
        ..message.clone()
    };
    let shown = MessageDto::of(&message, zone);
    serde_json::to_vec(&shown).map_err(|error| MessagesError::Unreadable(error.to_string()))
}
