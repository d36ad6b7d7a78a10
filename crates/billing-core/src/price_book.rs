//! The price book: every model with its price versions, and what an import changes in it.

mod by_name;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use crate::charge_model::Percent;
use crate::id::{PriceVersionId, SaleRuleId};
use crate::money::Currency;
use crate::price::{ModelName, PriceError, PriceVersion, Rate, Variant};
use crate::reach::{Buyer, Rules};
use crate::sale::{SalePrice, SaleRule};
use crate::terms::{RatingRecord, Terms};
use crate::tier_schedule::TierSchedule;
use by_name::ByName;

/// What a catalogue says of a model apart from its price.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Who serves it, in the catalogue's word (`openai`, `anthropic`, …).
    pub provider: String,
    /// What it does: `chat`, `embedding`, `image_generation`, …
    pub mode: String,
    /// The largest prompt it takes, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_input_tokens: Option<u64>,
    /// The longest answer it gives, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u64>,
}

/// A model and its prices, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PricedModel {
    /// Its name.
    pub name: ModelName,
    /// What else is known of it.
    pub facts: ModelFacts,
    versions: Vec<Arc<PriceVersion>>,
}

impl PricedModel {
    /// A model with these versions, in any order.
    pub fn new(name: ModelName, facts: ModelFacts, mut versions: Vec<Arc<PriceVersion>>) -> Self {
        versions.sort_by_key(|v| (v.effective_from(), v.id()));
        Self {
            name,
            facts,
            versions,
        }
    }

    /// The version that holds at an instant.
    pub fn version_at(&self, at: OffsetDateTime) -> Option<&Arc<PriceVersion>> {
        self.versions
            .iter()
            .rev()
            .find(|v| v.effective_from() <= at)
    }

    /// All versions, the oldest first.
    pub fn versions(&self) -> &[Arc<PriceVersion>] {
        &self.versions
    }
}

/// Why a model has no price now.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unpriced {
    /// No catalogue lists it.
    #[error("the model `{0}` does not exist")]
    Unknown(String),
    /// It is listed, but no price of it holds yet.
    #[error("the model `{0}` has no price in effect")]
    NoPrice(String),
}

/// Every model that can be sold. A snapshot: a change makes a new book.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PriceBook {
    models: ByName,
    sales: Rules<SaleRule>,
    tiers: Rules<TierSchedule>,
}

/// The version of a price, the rule that sells it, and what a plan takes off.
pub type SoldKey = (PriceVersionId, Option<SaleRuleId>, Option<Percent>);

/// What a model costs somebody at an instant, and by which rule.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// The model.
    pub model: &'a PricedModel,
    /// What the house pays.
    pub cost: &'a Arc<PriceVersion>,
    /// What is asked for that; `None` where the cost is the price.
    pub sale: Option<&'a Arc<SaleRule>>,
    /// What the buyer's plan takes off that.
    pub discount: Option<Percent>,
    /// How it falls with use; `None` where it does not.
    pub tiers: Option<&'a Arc<TierSchedule>>,
}

impl Offer<'_> {
    /// What calls are rated with, tiers apart.
    ///
    /// # Errors
    /// As [`Terms::sold`].
    pub fn terms(&self) -> Result<Terms, PriceError> {
        let rule = self.sale.map(|rule| &**rule);
        Terms::sold(Arc::clone(self.cost), rule, self.discount)
    }

    /// What [these terms](Self::terms) follow from: of the same they are the same.
    pub fn key(&self) -> SoldKey {
        (self.cost.id(), self.sale.map(|rule| rule.id), self.discount)
    }

    /// The currency of the price.
    pub fn currency(&self) -> Currency {
        match self.sale.map(|rule| &rule.price) {
            Some(SalePrice::Fixed { currency, .. }) => *currency,
            Some(SalePrice::Markup { .. } | SalePrice::Withdrawn) | None => self.cost.currency(),
        }
    }
}

impl PriceBook {
    /// A book of these models.
    pub fn new(models: impl IntoIterator<Item = PricedModel>) -> Self {
        Self {
            models: ByName::new(models),
            sales: Rules::default(),
            tiers: Rules::default(),
        }
    }

    /// The same book with these rules of what is asked for the models.
    #[must_use]
    pub fn with_sales(mut self, sales: impl IntoIterator<Item = SaleRule>) -> Self {
        self.sales = Rules::new(sales);
        self
    }

    /// The same book with these schedules of how prices fall with use.
    #[must_use]
    pub fn with_tiers(mut self, tiers: impl IntoIterator<Item = TierSchedule>) -> Self {
        self.tiers = Rules::new(tiers);
        self
    }

    /// What a model costs a buyer, or anybody where none is named, at an instant.
    ///
    /// # Errors
    /// [`Unpriced`]: such a model is refused, never free. A rule alone does not make a model known.
    pub fn offer(
        &self,
        buyer: Option<&Buyer>,
        model: &str,
        at: OffsetDateTime,
    ) -> Result<Offer<'_>, Unpriced> {
        let (model, cost) = self.resolve(model, at)?;
        let sale = self.sales.find(buyer, model.name.as_str(), at);
        let tiers = self.tiers.find(buyer, model.name.as_str(), at);
        Ok(Offer {
            model,
            cost,
            sale,
            discount: buyer.and_then(|buyer| buyer.discount),
            tiers,
        })
    }

    /// A price version, whether or not it holds now. It is looked for under the model first: a call
    /// may have named its model with parameters or by another name.
    pub fn version(&self, model: &str, id: PriceVersionId) -> Option<&Arc<PriceVersion>> {
        let own = self.get(model).into_iter();
        let mut versions = own.chain(self.models()).flat_map(PricedModel::versions);
        versions.find(|version| version.id() == id)
    }

    /// The terms that are on record of a call; `None` where this book does not have them all.
    pub fn terms(
        &self,
        model: &str,
        price: PriceVersionId,
        rating: &RatingRecord,
    ) -> Option<Terms> {
        let cost = Arc::clone(self.version(model, price)?);
        let rule = match rating.rule {
            None => None,
            Some(rule) => Some(&**self.sales.get(rule.get())?),
        };
        let terms = Terms::sold(cost, rule, rating.discount).ok()?;
        let tiers = match &rating.tiers {
            None => None,
            Some(tiers) => Some(self.tiers.get(tiers.schedule.get())?.on_record(tiers)?),
        };
        Some(terms.in_tiers(tiers))
    }

    /// The schedules of how prices fall with use.
    pub const fn tiers(&self) -> &Rules<TierSchedule> {
        &self.tiers
    }

    /// The rules of what is asked for the models.
    pub const fn sales(&self) -> &Rules<SaleRule> {
        &self.sales
    }

    /// The model and the price version that holds at an instant.
    ///
    /// # Errors
    /// [`Unpriced`]: such a model is refused, never free.
    pub fn resolve(
        &self,
        model: &str,
        at: OffsetDateTime,
    ) -> Result<(&PricedModel, &Arc<PriceVersion>), Unpriced> {
        let found = self
            .models
            .get(model)
            .ok_or_else(|| Unpriced::Unknown(model.to_owned()))?;
        let version = found
            .version_at(at)
            .ok_or_else(|| Unpriced::NoPrice(model.to_owned()))?;
        Ok((found, version))
    }

    /// One model.
    pub fn get(&self, model: &str) -> Option<&PricedModel> {
        self.models.get(model)
    }

    /// All models, by name.
    pub fn models(&self) -> impl Iterator<Item = &PricedModel> {
        self.models.all().iter()
    }

    /// How many models there are.
    pub fn len(&self) -> usize {
        self.models.all().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.models.all().is_empty()
    }

    /// What a draft changes in this book, for an import that takes effect at an instant.
    pub fn compare(&self, draft: &PriceDraft, at: OffsetDateTime) -> Revision {
        let Some(known) = self.models.get(draft.model.as_str()) else {
            return Revision::NewModel;
        };
        let same_price = known
            .version_at(at)
            .is_some_and(|version| draft.is_same_as(version));
        match (same_price, known.facts == draft.facts) {
            (true, true) => Revision::Unchanged,
            (true, false) => Revision::NewFacts,
            (false, _) => Revision::NewPrice,
        }
    }
}

/// A model and its price as a catalogue states them, before they are a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceDraft {
    /// The model.
    pub model: ModelName,
    /// What else the catalogue says of it.
    #[serde(flatten)]
    pub facts: ModelFacts,
    /// The currency of the rates.
    pub currency: Currency,
    /// What each meter costs.
    pub rates: Vec<Rate>,
    /// What it costs instead under conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
}

impl PriceDraft {
    /// The draft as a version.
    ///
    /// # Errors
    /// As [`PriceVersion::new`] and [`PriceVersion::with_variants`].
    pub fn into_version(
        self,
        id: PriceVersionId,
        effective_from: OffsetDateTime,
    ) -> Result<PriceVersion, PriceError> {
        PriceVersion::new(id, self.model, self.currency, effective_from, self.rates)?
            .with_variants(self.variants)
    }

    fn is_same_as(&self, version: &PriceVersion) -> bool {
        let sorted = |rates: &[Rate]| {
            let mut rates = rates.to_vec();
            rates.sort_unstable();
            rates
        };
        let varied = |variants: &[Variant]| {
            let each = variants.iter();
            each.map(|v| (v.when.clone(), sorted(&v.rates)))
                .collect::<BTreeMap<_, _>>()
        };
        self.currency == version.currency()
            && sorted(&self.rates) == sorted(version.rates())
            && varied(&self.variants) == varied(version.variants())
    }
}

/// What a draft would change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Revision {
    /// Nothing.
    Unchanged,
    /// The model was not known.
    NewModel,
    /// Its price differs: a new version.
    NewPrice,
    /// Only what is said beside the price differs.
    NewFacts,
}
