//! What models cost: everybody, and whoever asks.
//!
//! The catalogue keeps what the house pays; a sale rule makes of that what is asked. What is shown to
//! others than operators goes through here, so that it is always the latter. Nothing here decides
//! what a call costs: the rules of `billing_core` do, and the same ones as when it is made.

mod quote;
mod standing;
mod versions;

use std::collections::BTreeMap;
use std::sync::Arc;

use billing_core::id::TierScheduleId;
use billing_core::port::clock::Clock;
use billing_core::port::reports::{ReportError, Reports};
use billing_core::price_book::{Offer, PriceBook, PricedModel};
use billing_core::reach::{Buyer, Rule, Rules};
use billing_core::sale::SaleRule;
use billing_core::terms::Terms;
use billing_core::tier_schedule::TierSchedule;
use time::OffsetDateTime;
use tokio::sync::Semaphore;

pub(crate) use quote::{AnswerLength, Estimate, Quote, QuoteError, RequestAsked, UsageAsked};
pub(crate) use standing::Standing;
pub(crate) use versions::{ListedVersion, versions};

use crate::gate::Prices;
use crate::http::v1::models::ServedModels;

/// Tells what models cost.
#[derive(Debug)]
pub(crate) struct PriceList {
    prices: Arc<Prices>,
    reports: Arc<dyn Reports>,
    clock: Arc<dyn Clock>,
    served: Arc<dyn ServedModels>,
    /// Tokens of an answer that nobody bounds.
    default_output: u64,
    /// Counting a prompt takes a processor for a while, and nobody need be signed in to ask for it:
    /// one at a time.
    counting: Semaphore,
}

/// What a model costs somebody from an instant on.
#[derive(Debug)]
pub(crate) struct Priced {
    /// The price, tiers apart.
    pub(crate) terms: Terms,
    /// The rule that it comes from; `None` where the cost is the price.
    pub(crate) rule: Option<Arc<SaleRule>>,
    /// How it falls with use.
    pub(crate) tiers: Option<Arc<TierSchedule>>,
    /// From when on.
    pub(crate) since: OffsetDateTime,
}

/// What a model costs somebody now, and what it will cost next.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Now; `None` where it has no price.
    pub(crate) present: Option<Priced>,
    /// From the next change on that is scheduled.
    pub(crate) next: Option<Priced>,
}

/// A model with what it costs everybody and, where somebody in particular asks, that one.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its place in the book.
    pub(crate) model: PricedModel,
    /// What everybody pays.
    pub(crate) everybody: Listing,
    /// What the buyer pays.
    pub(crate) own: Option<OwnListing>,
}

/// What a model costs an account.
#[derive(Debug)]
pub(crate) struct OwnListing {
    /// Who asks.
    pub(crate) buyer: Buyer,
    /// What it costs.
    pub(crate) listing: Listing,
    /// Where the account stands in the tiers that apply now.
    pub(crate) standing: Option<Standing>,
}

/// Which models.
#[derive(Debug, Default)]
pub(crate) struct ModelFilter {
    /// Served by this provider.
    pub(crate) provider: Option<String>,
    /// That do this: `chat`, `embedding`, …
    pub(crate) mode: Option<String>,
    /// Whose names begin so, in whatever case.
    pub(crate) prefix: Option<String>,
}

impl ModelFilter {
    fn takes(&self, model: &PricedModel) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|w| w == found);
        let begins = |prefix: &String| {
            let start = model.name.as_str().get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        is(&self.provider, &model.facts.provider)
            && is(&self.mode, &model.facts.mode)
            && self.prefix.as_ref().is_none_or(begins)
    }
}

impl PriceList {
    /// Tells the prices of a book, by the counters that reports know and what is known of calls of a
    /// served model, and assumes so many tokens of an answer that nobody bounds.
    pub(crate) const fn new(
        prices: Arc<Prices>,
        reports: Arc<dyn Reports>,
        clock: Arc<dyn Clock>,
        served: Arc<dyn ServedModels>,
        default_output: u64,
    ) -> Self {
        Self {
            prices,
            reports,
            clock,
            served,
            default_output,
            counting: Semaphore::const_new(1),
        }
    }

    /// At most so many models after one, by name, each with its prices.
    pub(crate) async fn page(
        &self,
        buyer: Option<Buyer>,
        filter: &ModelFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, ReportError> {
        let book = self.prices.book();
        let models = book.models();
        let models = models.filter(|model| after.is_none_or(|after| model.name.as_str() > after));
        let models = models.filter(|model| filter.takes(model)).take(limit);
        self.entries(&book, models, buyer).await
    }

    /// One model; `None` where the book has none of that name.
    pub(crate) async fn one(
        &self,
        buyer: Option<Buyer>,
        model: &str,
    ) -> Result<Option<Entry>, ReportError> {
        let book = self.prices.book();
        let entries = self.entries(&book, book.get(model), buyer).await?;
        Ok(entries.into_iter().next())
    }

    async fn entries(
        &self,
        book: &PriceBook,
        models: impl IntoIterator<Item = &PricedModel>,
        buyer: Option<Buyer>,
    ) -> Result<Vec<Entry>, ReportError> {
        let now = self.clock.now();
        let mut schedules = BTreeMap::new();
        let mut entries = Vec::new();
        for model in models {
            let own = buyer.map(|buyer| {
                let listing = self.listing(book, Some(&buyer), model, now);
                if let Some(tiers) = listing.present.as_ref().and_then(|p| p.tiers.as_ref()) {
                    schedules.insert(tiers.id, Arc::clone(tiers));
                }
                OwnListing {
                    buyer,
                    listing,
                    standing: None,
                }
            });
            entries.push(Entry {
                model: model.clone(),
                everybody: self.listing(book, None, model, now),
                own,
            });
        }
        let Some(buyer) = buyer.filter(|_| !schedules.is_empty()) else {
            return Ok(entries);
        };
        let standings = self.standings(&buyer, schedules.values(), now).await?;
        for own in entries.iter_mut().filter_map(|entry| entry.own.as_mut()) {
            let tiers = own.listing.present.as_ref().and_then(|p| p.tiers.as_ref());
            own.standing = tiers.and_then(|tiers| standings.get(&tiers.id).cloned());
        }
        Ok(entries)
    }

    /// Where an account stands in some schedules now.
    async fn standings(
        &self,
        buyer: &Buyer,
        schedules: impl Iterator<Item = &Arc<TierSchedule>>,
        at: OffsetDateTime,
    ) -> Result<BTreeMap<TierScheduleId, Standing>, ReportError> {
        standing::read(&*self.reports, buyer.account, schedules, at).await
    }

    /// What a model costs somebody, or everybody where nobody in particular is named.
    fn listing(
        &self,
        book: &PriceBook,
        buyer: Option<&Buyer>,
        model: &PricedModel,
        now: OffsetDateTime,
    ) -> Listing {
        let name = model.name.as_str();
        let versions = model.versions().iter().map(|v| v.effective_from());
        let mut changes: Vec<OffsetDateTime> = versions.collect();
        changes.extend(instants(book.sales(), buyer, name));
        changes.extend(instants(book.tiers(), buyer, name));
        changes.sort_unstable();
        changes.dedup();
        let offer = |at| book.offer(buyer, name, at).ok();
        let (past, ahead) = changes.split_at(changes.partition_point(|at| *at <= now));
        let present = offer(now);
        // The earliest of the instants that lie end to end with the same price up to now.
        let price = |offer: &Option<Offer<'_>>| offer.as_ref().map(price_of);
        let same = past.iter().rev();
        let same = same.take_while(|at| price(&offer(**at)) == price(&present));
        let since = same.last().copied();
        let terms = |offer: &Option<Offer<'_>>| offer.as_ref().map(|o| (price_of(o), tiers_of(o)));
        let differs = |at: &&OffsetDateTime| terms(&offer(**at)) != terms(&present);
        let next = ahead.iter().find(differs).copied();
        let priced = |offer: Option<Offer<'_>>, since| self.priced(&offer?, since);
        Listing {
            present: priced(present, since.unwrap_or(now)),
            next: next.and_then(|at| priced(offer(at), at)),
        }
    }

    fn priced(&self, offer: &Offer<'_>, since: OffsetDateTime) -> Option<Priced> {
        match self.prices.sold(offer) {
            Ok(terms) => Some(Priced {
                terms,
                rule: offer.sale.cloned(),
                tiers: offer.tiers.cloned(),
                since,
            }),
            Err(error) => {
                tracing::error!(model = %offer.model.name, %error, "a price cannot be listed");
                None
            }
        }
    }
}

/// What an offer's price follows from, tiers apart.
fn price_of(offer: &Offer<'_>) -> (i64, Option<i64>) {
    (offer.cost.id().get(), offer.sale.map(|rule| rule.id.get()))
}

fn tiers_of(offer: &Offer<'_>) -> Option<TierScheduleId> {
    offer.tiers.map(|tiers| tiers.id)
}

/// When rules begin that reach a model for a buyer.
fn instants<R: Rule>(
    rules: &Rules<R>,
    buyer: Option<&Buyer>,
    model: &str,
) -> impl Iterator<Item = OffsetDateTime> {
    let covering = rules.iter().filter(move |r| r.reach().covers(buyer, model));
    covering.map(|rule| rule.effective_from())
}
