//! The catalogue: where price books are kept.

use std::error::Error;
use std::fmt::Debug;

use async_trait::async_trait;
use thiserror::Error as ThisError;
use time::OffsetDateTime;

use crate::price::PriceVersion;
use crate::price_book::{ModelFacts, PriceBook};
use crate::sale::SaleRule;
use crate::tier_schedule::TierSchedule;

/// The durable price book. Versions are only ever added.
#[async_trait]
pub trait Catalogue: Send + Sync + Debug {
    /// Every model with all its versions.
    ///
    /// # Errors
    /// [`CatalogueError`].
    async fn price_book(&self) -> Result<PriceBook, CatalogueError>;

    /// Records what an import changes, all or nothing.
    ///
    /// # Errors
    /// [`CatalogueError`].
    async fn record(
        &self,
        edition: PriceEdition,
        now: OffsetDateTime,
    ) -> Result<(), CatalogueError>;
}

/// What one import records.
#[derive(Debug, Clone, Default)]
pub struct PriceEdition {
    /// Where it comes from, for people: a file name and a digest.
    pub source: String,
    /// New price versions, each with its model's facts; makes models that are not known yet.
    pub versions: Vec<(PriceVersion, ModelFacts)>,
    /// Models of which only the facts change.
    pub facts: Vec<(String, ModelFacts)>,
    /// New rules of what is asked for models.
    pub sales: Vec<SaleRule>,
    /// New schedules of how prices fall with use.
    pub tiers: Vec<TierSchedule>,
}

/// Why the catalogue did not answer.
#[derive(Debug, ThisError)]
pub enum CatalogueError {
    /// A stored row is not a price.
    #[error("the stored price of {model} cannot be read: {why}")]
    Unreadable {
        /// The model.
        model: String,
        /// What is wrong with it.
        why: String,
    },
    /// The store cannot be reached.
    #[error("the store is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}
