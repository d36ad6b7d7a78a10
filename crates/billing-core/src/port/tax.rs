//! Where the taxes of an invoice come from: a table that the operator keeps, or a tax service.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Debug;

use async_trait::async_trait;
use thiserror::Error as ThisError;
use time::OffsetDateTime;

use crate::invoice::{Party, TaxCategory, TaxTable, TaxTreatment};
use crate::money::Currency;

/// What an invoice asks before it is assembled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaxAsk {
    /// Who sells.
    pub seller: Party,
    /// Who buys.
    pub buyer: Party,
    /// What is sold.
    pub categories: BTreeSet<TaxCategory>,
    /// In which currency.
    pub currency: Currency,
    /// When the tax becomes due.
    pub at: OffsetDateTime,
}

/// Says how sales are taxed. It answers with rates and never with amounts: rounding a tax and
/// spreading it over lines is a rule of invoices.
#[async_trait]
pub trait TaxRates: Send + Sync + Debug {
    /// How each category is taxed. All that were asked for MUST be answered.
    ///
    /// # Errors
    /// [`TaxError`]. The invoice then stays a draft.
    async fn treatments(
        &self,
        ask: &TaxAsk,
    ) -> Result<BTreeMap<TaxCategory, TaxTreatment>, TaxError>;
}

/// Why the taxes of an invoice are not known.
#[derive(Debug, ThisError)]
pub enum TaxError {
    /// The service does not accept a party or a category.
    #[error("the taxes of this sale cannot be told: {0}")]
    Refused(String),
    /// The service cannot be reached. Asking again is safe.
    #[error("the tax service is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

#[async_trait]
impl TaxRates for TaxTable {
    async fn treatments(
        &self,
        ask: &TaxAsk,
    ) -> Result<BTreeMap<TaxCategory, TaxTreatment>, TaxError> {
        let of = |category: &TaxCategory| {
            let treatment = self.treatment(&ask.seller, &ask.buyer, category, ask.at);
            (category.clone(), treatment)
        };
        Ok(ask.categories.iter().map(of).collect())
    }
}
