//! The port to the upstreams: one call in, one reply out.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use thiserror::Error;

use crate::endpoint::Endpoint;

/// A request, encoded in the upstream's own protocol.
#[derive(Debug, Clone)]
pub struct UpstreamCall {
    /// Where it goes.
    pub endpoint: Endpoint,
    /// What is sent.
    pub body: Bytes,
    /// Whether a stream is asked for.
    pub stream: bool,
}

/// The bytes of a reply as they come.
pub type ReplyBody = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// A reply whose head has arrived.
pub struct UpstreamReply {
    /// The HTTP status.
    pub status: u16,
    /// How long the upstream asks to be left alone.
    pub retry_after: Option<Duration>,
    /// The body. Dropping it cancels the call.
    pub body: ReplyBody,
}

impl fmt::Debug for UpstreamReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamReply")
            .field("status", &self.status)
            .field("retry_after", &self.retry_after)
            .finish_non_exhaustive()
    }
}

/// Why there is no reply: nothing of an answer was received.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SendError {
    /// No connection, or it broke before the reply began.
    #[error("the upstream cannot be reached: {0}")]
    Unavailable(String),
    /// The reply did not begin in time.
    #[error("the upstream did not answer within {0:?}")]
    Timeout(Duration),
}

/// Why a reply's body ended early.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BodyError {
    /// The connection broke.
    #[error("the upstream broke off: {0}")]
    Broken(String),
    /// No byte came for this long.
    #[error("the upstream was silent for {0:?}")]
    Idle(Duration),
    /// The body is larger than what is accepted as one piece.
    #[error("the reply is larger than {0} bytes")]
    TooLarge(usize),
}

/// An upstream that serves models.
///
/// An implementation MUST NOT retry on its own, MUST NOT put a credential into any error or
/// `Debug`, and MUST stop the call when the reply's body is dropped.
#[async_trait]
pub trait ModelProvider: Send + Sync + fmt::Debug {
    /// Sends a call and waits for the head of the reply. Any HTTP status is a reply.
    ///
    /// # Errors
    /// When no head arrived; nothing was delivered then.
    async fn send(&self, call: UpstreamCall) -> Result<UpstreamReply, SendError>;

    /// The models that the upstream says it has.
    ///
    /// # Errors
    /// When it does not answer, or not with a list.
    async fn models(&self) -> Result<Vec<String>, SendError>;
}

/// Collects a body into one piece. A body that came in one piece is not copied.
///
/// # Errors
/// When it breaks off, or grows beyond `limit`.
pub async fn collect(mut body: ReplyBody, limit: usize) -> Result<Bytes, BodyError> {
    use futures_util::StreamExt;

    let Some(first) = body.next().await.transpose()? else {
        return Ok(Bytes::new());
    };
    if first.len() > limit {
        return Err(BodyError::TooLarge(limit));
    }
    let Some(second) = body.next().await.transpose()? else {
        return Ok(first);
    };
    let mut whole = bytes::BytesMut::with_capacity(first.len().saturating_add(second.len()));
    whole.extend_from_slice(&first);
    let mut next = Some(second);
    while let Some(piece) = next {
        if whole.len().saturating_add(piece.len()) > limit {
            return Err(BodyError::TooLarge(limit));
        }
        whole.extend_from_slice(&piece);
        next = body.next().await.transpose()?;
    }
    Ok(whole.freeze())
}
