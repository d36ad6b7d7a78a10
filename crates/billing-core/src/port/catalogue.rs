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
    /// [`CatalogueError::InThePast`] where what is sold would have changed before `now`, and as
    /// [`Catalogue::price_book`].
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

impl PriceEdition {
    /// The first of its rules, or of its prices of models that are sold, that takes effect before an
    /// instant.
    ///
    /// # Errors
    /// [`CatalogueError::InThePast`].
    pub fn ahead_of(
        &self,
        now: OffsetDateTime,
        is_sold: impl Fn(&str) -> bool,
    ) -> Result<(), CatalogueError> {
        let versions = self.versions.iter().map(|(version, _)| version);
        let versions = versions.filter(|v| v.effective_from() < now && is_sold(v.model().as_str()));
        let versions =
            versions.map(|v| (format!("the price of {}", v.model()), v.effective_from()));
        let sales = self.sales.iter();
        let sales = sales.map(|r| (format!("the sale rule {}", r.reach), r.effective_from));
        let tiers = self.tiers.iter();
        let tiers = tiers.map(|r| (format!("the tier schedule {}", r.reach), r.effective_from));
        match versions
            .chain(sales)
            .chain(tiers)
            .find(|(_, from)| *from < now)
        {
            Some((what, from)) => Err(CatalogueError::InThePast { what, from }),
            None => Ok(()),
        }
    }
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
    /// What is sold would have changed already; nothing was recorded.
    #[error(
        "{what} would have taken effect at {from}, and it is later than that: nothing was changed. \
         Repeat it, or give a later instant"
    )]
    InThePast {
        /// Which.
        what: String,
        /// The instant.
        from: OffsetDateTime,
    },
    /// The store cannot be reached.
    #[error("the store is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}
