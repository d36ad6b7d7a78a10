//! Messages on record. They are kept by whatever does what they tell of, in the same transaction.

use std::error::Error;
use std::fmt::Debug;

use async_trait::async_trait;
use thiserror::Error as ThisError;

use crate::id::{AccountId, MessageId};
use crate::message::Message;

/// The durable side of messages.
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
