//! Orders of customers on record, and the quotes that they take.

use std::fmt::Debug;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::subscriptions::{RecordError, Standing};
use crate::id::{AccountId, ChangeQuoteId, PlanVersionId};
use crate::plan::PlanVersion;
use crate::proration::ProrationUnit;
use crate::subscription::change::{ChangeQuote, Timing};
use crate::subscription_order::{Done, Order, OrderError};

/// What customers ask of their subscriptions. Every method is one atomic fact.
#[async_trait]
pub trait Orders: Send + Sync + Debug {
    /// The subscription that an account has and that is billed, as it stands; `None` where it has
    /// none that has not ended.
    ///
    /// # Errors
    /// [`RecordError::Inconsistent`], [`RecordError::Unavailable`].
    async fn standing_of(
        &self,
        account: AccountId,
        now: OffsetDateTime,
    ) -> Result<Option<Standing>, RecordError>;

    /// What a change would do and cost, kept until it is taken or has expired.
    ///
    /// # Errors
    /// [`OrderError`].
    async fn quote(&self, ask: &QuoteAsk) -> Result<KeptQuote, OrderError>;

    /// What would come of an order. Nothing is recorded.
    ///
    /// # Errors
    /// As [`Orders::place`].
    async fn preview(&self, made: &NewOrder) -> Result<Done, OrderError>;

    /// Carries out an order: the subscription, its fees, the wallet, credit and messages, all or
    /// nothing; once for its key, which is kept for ever and answers as before. What nodes have on
    /// lease and would pay it is recalled from them.
    ///
    /// # Errors
    /// [`OrderError`].
    async fn place(&self, made: &NewOrder) -> Result<Done, OrderError>;
}

/// A wish to know what a change would do and cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuoteAsk {
    /// The quote's id.
    pub id: ChangeQuoteId,
    /// Whose subscription is to change.
    pub account: AccountId,
    /// To which version.
    pub to: PlanVersionId,
    /// How many; `None` for as many as there are.
    pub quantity: Option<u32>,
    /// When; left out, at once where more is paid, and at the end of the period where less is.
    pub timing: Option<Timing>,
    /// By what periods are divided.
    pub by: ProrationUnit,
    /// Whether it is kept, so that it can be taken.
    pub is_kept: bool,
    /// The instant.
    pub now: OffsetDateTime,
}

/// A quote with the version that it changes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptQuote {
    /// Its id.
    pub id: ChangeQuoteId,
    /// What it says.
    pub quote: ChangeQuote,
    /// To what.
    pub to: PlanVersion,
}

/// An order to be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    /// Whose subscription it is about.
    pub account: AccountId,
    /// What is asked.
    pub order: Order,
    /// The key under which the account's books hold it once.
    pub key: String,
    /// The instant.
    pub now: OffsetDateTime,
}
