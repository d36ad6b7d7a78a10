//! Changes of the price book: what is added to it, what that changes for whom, and which changes are
//! not made without being confirmed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use time::OffsetDateTime;

use crate::id::{AccountId, PlanId};
use crate::meter::Meter;
use crate::money::Currency;
use crate::port::catalogue::PriceEdition;
use crate::price::{ContextThreshold, ModelName, PriceVersion, Rate, ServiceTier, UnitPrice, When};
use crate::price_book::{PriceBook, PricedModel};
use crate::reach::{Audience, Buyer};
use crate::tier_schedule::{TierPrice, TierTerms, TierTermsError};

/// Why an edition is not recorded. Nothing of it is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EditionError {
    /// A price that would change what calls were charged.
    #[error(
        "{what} would take effect at {from}, in the past: calls may have been settled by what held \
         then. Let it take effect from now on, and correct settled calls with `prices rerate`"
    )]
    InThePast {
        /// Which.
        what: String,
        /// The instant.
        from: OffsetDateTime,
    },
    /// Tiers that are none.
    #[error("the tiers of {what}: {why}")]
    Tiers {
        /// For whom and which models.
        what: String,
        /// What is wrong.
        why: TierTermsError,
    },
    /// A price that no model can be sold at.
    #[error("the sale rule {what} makes no price of {model}: {why}")]
    Unsellable {
        /// For whom and which models.
        what: String,
        /// The model.
        model: ModelName,
        /// What is wrong.
        why: String,
    },
    /// A tier that makes no price of a model.
    #[error("tier {tier} of the tiers of {what} makes no price of {model}: {why}")]
    UnsellableTier {
        /// For whom and which models.
        what: String,
        /// Which, from 1.
        tier: usize,
        /// The model.
        model: ModelName,
        /// What is wrong.
        why: String,
    },
    /// Tiers in another currency than the price that they change.
    #[error("the tiers of {what} are in {tiers}, but {model} is priced in {price}")]
    Currencies {
        /// For whom and which models.
        what: String,
        /// Of the tiers.
        tiers: Currency,
        /// The model.
        model: ModelName,
        /// Of its price.
        price: Currency,
    },
}

/// What one rate was and will be, for somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceChange {
    /// For whom. Somebody with a rule of their own is named beside everyone.
    pub audience: Audience,
    /// The model.
    pub model: ModelName,
    /// Which rate.
    pub rate: RatePlace,
    /// What it cost; `None` where there was none.
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
    /// By how many percent it changes, rounded down; `None` where it appears, goes, is free on one
    /// side or changes its currency.
    pub fn percent(&self) -> Option<i64> {
        let ((old, was), (new, is)) = (self.old?, self.new?);
        if was != is || old.is_free() || new.is_free() {
            return None;
        }
        let (old, new) = (old.steps(), new.steps());
        let change = new.checked_sub(old)?;
        // Prices stay below 10³¹ steps, so that a hundredfold fits.
        let percent = change.checked_mul(100)?.checked_div_euclid(old)?;
        i64::try_from(percent).ok()
    }

    /// Whether it must be confirmed: it changes by more than so many percent either way, or in a way
    /// that has no percentage though there was a price.
    pub fn is_beyond(&self, percent: u32) -> bool {
        if self.old.is_none() {
            return false;
        }
        let most = i64::from(percent);
        self.percent()
            .is_none_or(|change| change > most || change < most.saturating_neg())
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
    /// Whether an edition may be recorded: nothing that may have been used changes, and every rule
    /// makes a price of each model that it reaches.
    ///
    /// # Errors
    /// [`EditionError`].
    pub fn check(&self, edition: &PriceEdition, now: OffsetDateTime) -> Result<(), EditionError> {
        let past = |what: String, from| Err(EditionError::InThePast { what, from });
        for (version, _) in &edition.versions {
            let from = version.effective_from();
            let is_sold = self
                .get(version.model().as_str())
                .is_some_and(|model| !model.versions().is_empty());
            if from < now && is_sold {
                return past(format!("the price of {}", version.model()), from);
            }
        }
        for rule in &edition.sales {
            if rule.effective_from < now {
                return past(format!("the sale rule {}", rule.reach), rule.effective_from);
            }
        }
        for schedule in &edition.tiers {
            let what = schedule.reach.to_string();
            if schedule.effective_from < now {
                return past(format!("the tier schedule {what}"), schedule.effective_from);
            }
            let checked = schedule.terms.as_deref().map_or(Ok(()), TierTerms::check);
            checked.map_err(|why| EditionError::Tiers { what, why })?;
        }
        self.amended(edition).check_sales(edition)
    }

    /// Whether the rules of an edition, which this book has already, make prices.
    fn check_sales(&self, edition: &PriceEdition) -> Result<(), EditionError> {
        for rule in &edition.sales {
            let reached = self
                .models()
                .filter(|m| rule.reach.models.covers(m.name.as_str()));
            for cost in reached.filter_map(|m| m.version_at(rule.effective_from)) {
                rule.price
                    .of(cost)
                    .map_err(|why| EditionError::Unsellable {
                        what: rule.reach.to_string(),
                        model: cost.model().clone(),
                        why: why.to_string(),
                    })?;
            }
        }
        for schedule in &edition.tiers {
            let Some(terms) = &schedule.terms else {
                continue;
            };
            let buyer = buyer_of(schedule.reach.audience);
            let reached = self
                .models()
                .filter(|m| schedule.reach.models.covers(m.name.as_str()));
            for model in reached {
                let at = schedule.effective_from;
                let Some(price) = self.price_of(buyer.as_ref(), model, at) else {
                    continue;
                };
                if price.currency() != terms.currency {
                    return Err(EditionError::Currencies {
                        what: schedule.reach.to_string(),
                        tiers: terms.currency,
                        model: model.name.clone(),
                        price: price.currency(),
                    });
                }
                let tiers = (1..).zip(terms.pricing.tiers());
                for (tier, stated) in tiers {
                    let TierPrice::Rates(rates) = &stated.price else {
                        continue;
                    };
                    let own = price.with_own_rates(rates);
                    own.map_err(|why| EditionError::UnsellableTier {
                        what: schedule.reach.to_string(),
                        tier,
                        model: model.name.clone(),
                        why: why.to_string(),
                    })?;
                }
            }
        }
        Ok(())
    }

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
    let buyer = |account, plan: Option<PlanId>| Some(Buyer { account, plan });
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
    let prices = |price: Option<&PriceVersion>| {
        let rates = price.map(|price| (places(price), price.currency()));
        let (rates, currency) = rates.unwrap_or_else(|| (Vec::new(), Currency::USD));
        let priced = rates
            .into_iter()
            .map(|(place, price)| (place, (price, currency)));
        priced.collect::<BTreeMap<_, _>>()
    };
    let (old, mut new) = (prices(old), prices(new));
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
    for (place, old) in old {
        let new = new.remove(&place);
        change(place, Some(old), new);
    }
    for (place, new) in new {
        change(place, None, Some(new));
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
