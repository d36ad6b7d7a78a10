//! Subscriptions on record, and how their fees are collected.

use std::error::Error;
use std::fmt::Debug;

use async_trait::async_trait;
use thiserror::Error as ThisError;
use time::OffsetDateTime;

use crate::billing_run::Saving;
use crate::id::{AccountId, SubscriptionId};
use crate::plan::PlanVersion;
use crate::subscription::{Fee, Subscription};

/// A subscription with the versions that it is on and is to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The subscription.
    pub subscription: Subscription,
    /// What it is on.
    pub version: PlanVersion,
    /// What it is to become, where that is said.
    pub next: Option<PlanVersion>,
    /// A fee of it that was charged, and is neither paid nor given up.
    pub open_fee: Option<Fee>,
    /// Whether there is anything to pay a first fee with.
    pub can_pay: bool,
}

/// The durable side of subscriptions. Every method is one atomic fact.
#[async_trait]
pub trait Subscriptions: Send + Sync + Debug {
    /// Subscriptions to which something is due by an instant, after one in order of id.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`].
    async fn due(
        &self,
        by: OffsetDateTime,
        after: Option<SubscriptionId>,
        limit: u32,
    ) -> Result<Vec<SubscriptionId>, RecordError>;

    /// Subscriptions of which a fee could not be collected, after one in order of id.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`].
    async fn owing(
        &self,
        after: Option<SubscriptionId>,
        limit: u32,
    ) -> Result<Vec<SubscriptionId>, RecordError>;

    /// Notes when a subscription that stands at a revision is to be looked at, as it is reckoned
    /// now. Nothing happens to one that stands elsewhere by now, or is set aside.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`].
    async fn look_at(
        &self,
        id: SubscriptionId,
        revision: u64,
        due_at: Option<OffsetDateTime>,
    ) -> Result<(), RecordError>;

    /// A subscription as it stands; `None` where there is none that is billed.
    ///
    /// # Errors
    /// [`RecordError::Inconsistent`], [`RecordError::Unavailable`].
    async fn load(
        &self,
        id: SubscriptionId,
        now: OffsetDateTime,
    ) -> Result<Option<Standing>, RecordError>;

    /// Records what has become of a subscription that stood at a revision, with what is to be done:
    /// fees are open from then on, grants are booked, messages are to be sent; each once for its key.
    ///
    /// # Errors
    /// [`RecordError::Changed`] where it no longer stands there; nothing is recorded then.
    /// [`RecordError::Inconsistent`], [`RecordError::Unavailable`].
    async fn save(&self, saving: &Saving, now: OffsetDateTime) -> Result<(), RecordError>;

    /// Sets a subscription aside, with the reason, until a person has looked at it: nothing is due
    /// to it.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`].
    async fn park(
        &self,
        id: SubscriptionId,
        why: &str,
        now: OffsetDateTime,
    ) -> Result<(), RecordError>;

    /// Subscriptions that are set aside, each with the reason.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`].
    async fn parked(&self) -> Result<Vec<(SubscriptionId, String)>, RecordError>;

    /// Takes up again what was set aside, at once; says whether it was.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`].
    async fn unpark(&self, id: SubscriptionId, now: OffsetDateTime) -> Result<bool, RecordError>;
}

/// What came of collecting a fee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Collected {
    /// It is paid.
    Paid,
    /// It was declined.
    Declined,
    /// Nobody knows yet. It is asked again under the same key, never under another.
    Unknown,
}

/// What fees are paid with: each account's wallet, for now.
#[async_trait]
pub trait Collector: Send + Sync + Debug {
    /// Collects a fee; once for its key and the number of the try, whatever is asked again.
    ///
    /// # Errors
    /// [`RecordError::Inconsistent`], [`RecordError::Unavailable`].
    async fn collect(
        &self,
        account: AccountId,
        fee: &Fee,
        attempt: u8,
        now: OffsetDateTime,
    ) -> Result<Collected, RecordError>;
}

/// Why something about a subscription was not recorded.
#[derive(Debug, ThisError)]
pub enum RecordError {
    /// It has changed since it was read.
    #[error("the subscription has changed since it was read")]
    Changed,
    /// What is stored contradicts itself, or what was to be recorded.
    #[error("the record contradicts itself: {0}")]
    Inconsistent(String),
    /// The store cannot be reached or did not commit. Repeating is safe.
    #[error("the store is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}
