//! Messages on record, and how they are sent. They are kept by whatever does what they tell of, in
//! the same transaction.

use std::error::Error;
use std::fmt::Debug;

use async_trait::async_trait;
use thiserror::Error as ThisError;
use time::OffsetDateTime;

use crate::id::{AccountId, MessageId};
use crate::message::{DeliveryState, Message};

/// A message that one sender has for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The message.
    pub message: Message,
    /// How often it was tried, this time too.
    pub tries: u32,
    /// Counts who had it.
    pub fence: i64,
}

/// How many messages are to be sent, and how many will not be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outbox {
    /// They wait, or are tried again.
    pub waiting: u64,
    /// They were tried as often as it is tried.
    pub given_up: u64,
}

/// The durable side of messages. Every method is one atomic fact.
#[async_trait]
pub trait Messages: Send + Sync + Debug {
    /// Messages of an account, newest first, before one.
    ///
    /// # Errors
    /// [`MessagesError`].
    async fn list(
        &self,
        account: AccountId,
        before: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<Message>, MessagesError>;

    /// Takes messages that are to be sent by an instant, for a while: nobody else has them until it
    /// is over.
    ///
    /// # Errors
    /// [`MessagesError`].
    async fn claim(&self, now: OffsetDateTime, limit: u32) -> Result<Vec<Claimed>, MessagesError>;

    /// Notes what came of a try; says whether it was still its claim that held.
    ///
    /// # Errors
    /// [`MessagesError`].
    async fn tried(&self, claimed: &Claimed, state: DeliveryState) -> Result<bool, MessagesError>;

    /// How many are to be sent, and how many will not be.
    ///
    /// # Errors
    /// [`MessagesError`].
    async fn outbox(&self) -> Result<Outbox, MessagesError>;
}

/// A message as it is handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Which message: however often it comes, it is one.
    pub id: MessageId,
    /// What it says, as JSON.
    pub body: Vec<u8>,
    /// When it is handed over, by this machine's clock.
    pub at: OffsetDateTime,
}

/// Hands messages over to whoever tells people: at least once each.
#[async_trait]
pub trait Courier: Send + Sync + Debug {
    /// Hands one over.
    ///
    /// # Errors
    /// [`CourierError`]: it was not taken, or nobody knows. It is handed over again.
    async fn hand_over(&self, letter: &Letter) -> Result<(), CourierError>;
}

/// Why a message was not taken. Never holds a secret.
#[derive(Debug, ThisError)]
pub enum CourierError {
    /// The receiver answered with another status than one of success.
    #[error("the receiver answered {0}")]
    Refused(u16),
    /// The receiver was not reached, or did not answer.
    #[error("the receiver was not reached: {0}")]
    Away(String),
}

/// Why messages could not be read or noted.
#[derive(Debug, ThisError)]
pub enum MessagesError {
    /// A row says something that no message does.
    #[error("a message cannot be read: {0}")]
    Unreadable(String),
    /// The store cannot be reached or did not commit. Repeating is safe.
    #[error("the store is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}
