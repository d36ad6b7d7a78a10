//! The spool: where a node keeps settlements that the books cannot take now.

use std::error::Error;
use std::fmt::Debug;

use async_trait::async_trait;
use thiserror::Error as ThisError;
use time::OffsetDateTime;

use crate::call_record::CallRecord;
use crate::id::{CallId, NodeId};

/// A durable queue on the node's own disk, in the order in which calls were put.
///
/// Every method is one atomic fact, durable when it answers, and may be repeated.
#[async_trait]
pub trait Spool: Send + Sync + Debug {
    /// Puts a call that is over at the end. A call that is there already stays where it is.
    ///
    /// # Errors
    /// [`SpoolError::Full`], [`SpoolError::Unavailable`]: then it is not there.
    async fn put(
        &self,
        record: &CallRecord,
        now: OffsetDateTime,
    ) -> Result<SpoolPosition, SpoolError>;

    /// The calls behind a position, in order, at most so many; parked ones are left out.
    ///
    /// # Errors
    /// [`SpoolError::Unavailable`].
    async fn waiting(&self, after: SpoolPosition, most: u32) -> Result<Vec<Waiting>, SpoolError>;

    /// Forgets calls that the books have taken.
    ///
    /// # Errors
    /// [`SpoolError`]: then they are still there, and taking them again changes nothing.
    async fn forget(&self, positions: &[SpoolPosition]) -> Result<(), SpoolError>;

    /// Sets a call apart that the books will never take as it is, for a person to look at.
    ///
    /// # Errors
    /// [`SpoolError`]: then it still waits.
    async fn park(
        &self,
        position: SpoolPosition,
        why: &str,
        now: OffsetDateTime,
    ) -> Result<(), SpoolError>;

    /// The calls that were set apart, in order, at most so many.
    ///
    /// # Errors
    /// [`SpoolError::Unavailable`].
    async fn parked(&self, most: u32) -> Result<Vec<Parked>, SpoolError>;

    /// Lets all calls that were set apart wait again, at their old places. Says how many.
    ///
    /// # Errors
    /// [`SpoolError`].
    async fn unpark(&self) -> Result<u64, SpoolError>;

    /// Notes under which id the node takes leases from now on, and under which it did so earlier and
    /// may still have some.
    ///
    /// # Errors
    /// [`SpoolError`].
    async fn set_life(&self, node: NodeId, earlier: &[NodeId]) -> Result<(), SpoolError>;

    /// What is in it, from memory.
    fn backlog(&self) -> Backlog;
}

/// A place in the spool; they ascend and none is given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SpoolPosition(pub i64);

/// A call that waits for the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its place.
    pub position: SpoolPosition,
    /// The call.
    pub call: CallId,
    /// When it was put there.
    pub since: OffsetDateTime,
    /// What it is settled with, or why that cannot be read.
    pub record: Result<CallRecord, String>,
}

/// A call that was set apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Its place.
    pub position: SpoolPosition,
    /// The call.
    pub call: CallId,
    /// When it was put into the spool.
    pub since: OffsetDateTime,
    /// When it was set apart.
    pub parked_at: OffsetDateTime,
    /// Why.
    pub why: String,
}

/// What a spool holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Calls that wait for the books.
    pub entries: u64,
    /// When the one that waits longest was put there.
    pub oldest: Option<OffsetDateTime>,
    /// Calls that were set apart.
    pub parked: u64,
    /// What all of them take on disk, in bytes.
    pub bytes: u64,
    /// Whether there is no room for calls that have not begun: its bound is nearly reached, or the
    /// last write failed.
    pub full: bool,
}

/// Why the spool did not do what was asked.
#[derive(Debug, ThisError)]
pub enum SpoolError {
    /// There is no room, within its bound or on the disk.
    #[error("the spool has no room left")]
    Full,
    /// The disk failed.
    #[error("the spool is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}
