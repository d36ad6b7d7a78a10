//! Changes of the price book: what is added to it, what that changes for whom, and which changes are
//! not made without being confirmed.

mod edition;
mod tiers;
mod unchanged;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;

pub use edition::{EditionError, NOTICE};
pub use tiers::TierChange;

use crate::id::{AccountId, PlanId};
use crate::meter::Meter;
use crate::money::Currency;
use crate::port::catalogue::PriceEdition;
use crate::price::{ContextThreshold, ModelName, PriceVersion, Rate, ServiceTier, UnitPrice, When};
use crate::price_book::{PriceBook, PricedModel};
use crate::reach::{Audience, Buyer, ModelScope};

/// What one rate was and will be, for somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceChange {
    /// For whom. Somebody with a rule of their own is named beside everyone.
    pub audience: Audience,
    /// The model.
    pub model: ModelName,
    /// Which rate.
    pub rate: RatePlace,
    /// What it cost, by this rate or by the one that applied in its place; `None` where there was
    /// none.
    pub old: Option<(UnitPrice, Currency)>,
    /// What it will cost; `None` where there is none.
    pub new: Option<(UnitPrice, Currency)>,
}

/// Which rate of a price.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RatePlace {
    /// What is priced.
    pub meter: Meter,
    /// In which tier.
    pub tier: ServiceTier,
    /// Above which prompt size.
    pub above: Option<ContextThreshold>,
    /// Under which condition.
    pub when: Option<Arc<When>>,
}

impl PriceChange {
    /// By how many percent it changes, rounded towards zero; `None` where it appears, goes, is free on
    /// one side or changes its currency.
    pub fn percent(&self) -> Option<i64> {
        let (hundredfold, old) = self.hundredfold()?;
        i64::try_from(hundredfold.checked_div(old)?).ok()
    }

    /// A hundred times the change, and the old price, in steps; `None` as for [`Self::percent`].
    fn hundredfold(&self) -> Option<(i128, i128)> {
        let ((old, was), (new, is)) = (self.old?, self.new?);
        if was != is || old.is_free() || new.is_free() {
            return None;
        }
        let (old, new) = (old.steps(), new.steps());
        // Prices stay below 10³¹ steps, so that a hundredfold fits.
        Some((new.checked_sub(old)?.checked_mul(100)?, old))
    }

    /// Whether it must be confirmed: it changes by more than so many percent either way, or in a way
    /// that has no percentage though there was a price.
    pub fn is_beyond(&self, percent: u32) -> bool {
        if self.old.is_none() {
            return false;
        }
        let Some((hundredfold, old)) = self.hundredfold() else {
            return true;
        };
        hundredfold.saturating_abs() > old.saturating_mul(i128::from(percent))
    }
}

impl fmt::Display for RatePlace {
    /// `input`, `input@batch`, `input>200000`, `input (region=eu)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.meter.name())?;
        if self.tier != ServiceTier::Standard {
            write!(f, "@{}", self.tier)?;
        }
        if let Some(above) = self.above {
            let sign = if above.inclusive { ">=" } else { ">" };
            write!(f, "{sign}{}", above.prompt_tokens)?;
        }
        match &self.when {
            Some(when) => write!(f, " ({when})"),
            None => Ok(()),
        }
    }
}

impl PriceBook {
    /// This book with an edition added.
    #[must_use]
    pub fn amended(&self, edition: &PriceEdition) -> Self {
        let mut models: BTreeMap<ModelName, PricedModel> = self
            .models()
            .map(|model| (model.name.clone(), model.clone()))
            .collect();
        for (version, facts) in &edition.versions {
            let name = version.model();
            let known = models.get(name).map(PricedModel::versions);
            let mut versions = known.unwrap_or_default().to_vec();
            versions.push(Arc::new(version.clone()));
            let model = PricedModel::new(name.clone(), facts.clone(), versions);
            models.insert(name.clone(), model);
        }
        for (name, facts) in &edition.facts {
            let name = ModelName::new(name);
            let new = || PricedModel::new(name.clone(), facts.clone(), Vec::new());
            let model = models.entry(name.clone()).or_insert_with(new);
            model.facts = facts.clone();
        }
        let sales = self.sales().iter().map(|rule| (**rule).clone());
        let tiers = self.tiers().iter().map(|rule| (**rule).clone());
        Self::new(models.into_values())
            .with_sales(sales.chain(edition.sales.iter().cloned()))
            .with_tiers(tiers.chain(edition.tiers.iter().cloned()))
    }

    /// Whether any model of the catalogue is in a scope. All of them always are, also before there is
    /// one.
    pub fn has_model_in(&self, scope: &ModelScope) -> bool {
        match scope {
            ModelScope::All => true,
            ModelScope::Model(name) => self.get(name.as_str()).is_some(),
            ModelScope::Family(_) => self.models().any(|model| scope.covers(model.name.as_str())),
        }
    }

    /// What changes between an instant in this book and another in a later one, rate by rate: for
    /// everyone, and for whoever has a rule of their own in either.
    pub fn changes(
        &self,
        at: OffsetDateTime,
        later: &Self,
        from: OffsetDateTime,
    ) -> Vec<PriceChange> {
        let mut changes = Vec::new();
        for model in later.models() {
            let name = model.name.as_str();
            let mut audiences = BTreeSet::from([Audience::Everyone]);
            audiences.extend(self.sales().audiences(name));
            audiences.extend(later.sales().audiences(name));
            for audience in &audiences {
                let buyer = buyer_of(*audience);
                let old = self.get(name);
                let old = old.and_then(|known| self.price_of(buyer.as_ref(), known, at));
                let new = later.price_of(buyer.as_ref(), model, from);
                compare(
                    *audience,
                    &model.name,
                    old.as_ref(),
                    new.as_ref(),
                    &mut changes,
                );
            }
        }
        changes
    }

    /// What a model costs somebody, tiers apart; `None` where it has no price.
    fn price_of(
        &self,
        buyer: Option<&Buyer>,
        model: &PricedModel,
        at: OffsetDateTime,
    ) -> Option<PriceVersion> {
        let offer = self.offer(buyer, model.name.as_str(), at).ok()?;
        match offer.sale {
            None => Some((**offer.cost).clone()),
            Some(rule) => rule.price.of(offer.cost).ok(),
        }
    }
}

/// Somebody of an audience. No account and no plan has the number of another.
fn buyer_of(audience: Audience) -> Option<Buyer> {
    let nobody = AccountId::new(i64::MIN);
    let buyer = |account, plan: Option<PlanId>| {
        Some(Buyer {
            account,
            plan,
            discount: None,
        })
    };
    match audience {
        Audience::Everyone => None,
        Audience::Plan(plan) => buyer(nobody, Some(plan)),
        Audience::Account(account) => buyer(account, None),
    }
}

fn compare(
    audience: Audience,
    model: &ModelName,
    old: Option<&PriceVersion>,
    new: Option<&PriceVersion>,
    changes: &mut Vec<PriceChange>,
) {
    let priced = |price: Option<&PriceVersion>| {
        let rates = price.into_iter().flat_map(|price| {
            let currency = price.currency();
            let rates = places(price).into_iter();
            rates.map(move |(place, price)| (place, (price, currency)))
        });
        rates.collect::<BTreeMap<_, _>>()
    };
    let (stated, mut new) = (priced(old), priced(new));
    let mut change = |rate, old: Option<_>, new: Option<_>| {
        if old != new {
            changes.push(PriceChange {
                audience,
                model: model.clone(),
                rate,
                old,
                new,
            });
        }
    };
    for (place, was) in stated {
        let new = new.remove(&place);
        change(place, Some(was), new);
    }
    for (place, is) in new {
        // What is priced by itself for the first time was charged by some other rate before.
        let was = old.and_then(|old| {
            let meter = (place.meter, place.tier);
            let rate = old.stands_in(meter, place.above, place.when.as_deref())?;
            Some((rate.price, old.currency()))
        });
        change(place, was, Some(is));
    }
}

fn places(price: &PriceVersion) -> Vec<(RatePlace, UnitPrice)> {
    let place = |rate: &Rate, when: Option<&Arc<When>>| {
        let place = RatePlace {
            meter: rate.meter,
            tier: rate.tier,
            above: rate.above,
            when: when.cloned(),
        };
        (place, rate.price)
    };
    let plain = price.rates().iter().map(|rate| place(rate, None));
    let varied = price.variants().iter().flat_map(|variant| {
        let rates = variant.rates.iter();
        rates.map(move |rate| place(rate, Some(&variant.when)))
    });
    plain.chain(varied).collect()
}
