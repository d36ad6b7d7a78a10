//! Whether an edition may be recorded.

use std::collections::BTreeSet;

use thiserror::Error;
use time::{Duration, OffsetDateTime};

use super::buyer_of;
use crate::money::Currency;
use crate::port::catalogue::PriceEdition;
use crate::price::ModelName;
use crate::price_book::{Offer, PriceBook, PricedModel};
use crate::reach::{Audience, Buyer};
use crate::sale::SaleRule;
use crate::tier_schedule::{TierPrice, TierSchedule, TierTerms, TierTermsError};

/// Why an edition is not recorded. Nothing of it is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EditionError {
    /// A price that would change what calls were charged.
    #[error(
        "{what} would take effect at {from}, in the past: calls may have been settled by what held \
         then. Let it take effect from now on. Settled calls of a wrong version are corrected with \
         `prices rerate`; what a rule charged too much can be given back with `accounts top-up`"
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
    /// Tiers in another currency than a price that they change.
    #[error(
        "the tiers of {tiers_of} are in {tiers}, but {model} is priced in {price}, by {price_of}: \
         from {from} on its calls for {buyer} would be refused. Give tiers of their own in {price} \
         to {model}, or a sale rule in {tiers}"
    )]
    Currencies {
        /// For whom and which models the tiers are.
        tiers_of: String,
        /// The currency of the tiers.
        tiers: Currency,
        /// The model.
        model: ModelName,
        /// The currency of its price.
        price: Currency,
        /// Where that is stated.
        price_of: String,
        /// Whose calls.
        buyer: Audience,
        /// From when on.
        from: OffsetDateTime,
    },
}

/// How long before it takes effect a change is recorded that is given no instant: every node follows
/// within a second, so that none lets in a call by what held before.
pub const NOTICE: Duration = Duration::seconds(2);

impl PriceBook {
    /// An edition that is recorded at an instant and takes effect after [`NOTICE`]. The first price of
    /// a model holds at once: nobody could call it before.
    #[must_use]
    pub fn after_notice(&self, edition: PriceEdition, now: OffsetDateTime) -> PriceEdition {
        let then = now.saturating_add(NOTICE);
        let versions = edition.versions.into_iter().map(|(version, facts)| {
            let is_sold = self.is_sold(version.model());
            (version.beginning(if is_sold { then } else { now }), facts)
        });
        let sales = edition.sales.into_iter().map(|rule| SaleRule {
            effective_from: then,
            ..rule
        });
        let tiers = edition.tiers.into_iter().map(|schedule| TierSchedule {
            effective_from: then,
            ..schedule
        });
        PriceEdition {
            source: edition.source,
            facts: edition.facts,
            versions: versions.collect(),
            sales: sales.collect(),
            tiers: tiers.collect(),
        }
    }

    /// Whether a model has a price, so that another one changes what somebody pays.
    pub fn is_sold(&self, model: &ModelName) -> bool {
        let known = self.get(model.as_str());
        known.is_some_and(|model| !model.versions().is_empty())
    }

    /// Whether an edition may be recorded: nothing that may have been used changes, and every rule
    /// makes a price of each model that it reaches.
    ///
    /// # Errors
    /// [`EditionError`].
    pub fn check(&self, edition: &PriceEdition, now: OffsetDateTime) -> Result<(), EditionError> {
        let past = |what: String, from| Err(EditionError::InThePast { what, from });
        for (version, _) in &edition.versions {
            let from = version.effective_from();
            if from < now && self.is_sold(version.model()) {
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
        let later = self.amended(edition);
        later.check_sales(edition)?;
        later.check_currencies(self, edition)
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

    /// Whether the calls of everybody whom an edition concerns, which this book has already, are
    /// priced in the currency of their tiers, as far as they were before: whichever of the two the
    /// edition brings.
    fn check_currencies(&self, before: &Self, edition: &PriceEdition) -> Result<(), EditionError> {
        if self.tiers().is_empty() {
            return Ok(());
        }
        let instants = self.instants(edition);
        let versions = edition.versions.iter();
        let repriced: BTreeSet<&ModelName> = versions.map(|(version, _)| version.model()).collect();
        for model in self.models() {
            let name = model.name.as_str();
            let mut concerned = BTreeSet::new();
            let mut all = repriced.contains(&model.name);
            let sales = edition.sales.iter().map(|rule| &rule.reach);
            let tiers = edition.tiers.iter().map(|schedule| &schedule.reach);
            for reach in sales.chain(tiers).filter(|reach| reach.models.covers(name)) {
                all |= reach.audience == Audience::Everyone;
                concerned.insert(reach.audience);
            }
            if all {
                concerned.insert(Audience::Everyone);
                concerned.extend(self.sales().audiences(name));
                concerned.extend(self.tiers().audiences(name));
            }
            for audience in concerned {
                let buyer = buyer_of(audience);
                let mut instants = instants.iter();
                let found = instants.find_map(|at| {
                    let odd = self.odd_currencies(buyer.as_ref(), model, *at)?;
                    let was = before.get(name);
                    let was = was.and_then(|m| before.odd_currencies(buyer.as_ref(), m, *at));
                    was.is_none().then_some((odd, *at))
                });
                if let Some((offer, from)) = found {
                    return Err(odd_currencies(&offer, audience, from));
                }
            }
        }
        Ok(())
    }

    /// When an edition takes effect, and when anything does after that.
    fn instants(&self, edition: &PriceEdition) -> BTreeSet<OffsetDateTime> {
        let versions = edition.versions.iter().map(|(v, _)| v.effective_from());
        let sales = edition.sales.iter().map(|rule| rule.effective_from);
        let tiers = edition.tiers.iter().map(|schedule| schedule.effective_from);
        let own: BTreeSet<OffsetDateTime> = versions.chain(sales).chain(tiers).collect();
        let Some(first) = own.first().copied() else {
            return own;
        };
        let models = self.models().flat_map(PricedModel::versions);
        let prices = models.map(|version| version.effective_from());
        let sales = self.sales().iter().map(|rule| rule.effective_from);
        let tiers = self.tiers().iter().map(|schedule| schedule.effective_from);
        let later = prices.chain(sales).chain(tiers).filter(|at| *at > first);
        later.chain(own.iter().copied()).collect()
    }

    /// What a model costs somebody, where its price and its tiers are in different currencies.
    fn odd_currencies(
        &self,
        buyer: Option<&Buyer>,
        model: &PricedModel,
        at: OffsetDateTime,
    ) -> Option<Offer<'_>> {
        let offer = self.offer(buyer, model.name.as_str(), at).ok()?;
        let tiers = offer.tiers?.terms.as_ref()?.currency;
        (offer.currency() != tiers).then_some(offer)
    }
}

fn odd_currencies(offer: &Offer<'_>, buyer: Audience, from: OffsetDateTime) -> EditionError {
    let price = offer.currency();
    let terms = offer.tiers.and_then(|schedule| schedule.terms.as_ref());
    let tiers_of = offer.tiers.map(|schedule| schedule.reach.to_string());
    EditionError::Currencies {
        tiers_of: tiers_of.unwrap_or_default(),
        tiers: terms.map_or(price, |terms| terms.currency),
        model: offer.model.name.clone(),
        price,
        price_of: offer.sale.map_or_else(
            || "the catalogue".to_owned(),
            |rule| format!("the sale rule {}", rule.reach),
        ),
        buyer,
        from,
    }
}
