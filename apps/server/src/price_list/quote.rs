//! What a call would cost: of a usage that is given, or of a request that could be sent.

use std::sync::Arc;

use billing_core::budget::Amount;
use billing_core::charge::{Charge, charge};
use billing_core::meter::{Meter, Usage};
use billing_core::money::Nanos;
use billing_core::port::reports::{ReportError, UsageGroup};
use billing_core::price::{Attributes, Circumstances, RatingError, ServiceTier};
use billing_core::price_book::{ModelFacts, PriceBook, Unpriced};
use billing_core::reach::Buyer;
use billing_core::sale::SaleRule;
use billing_core::terms::{InTiers, Terms};
use billing_core::tier_schedule::TierSchedule;
use bytes::Bytes;
use gateway_core::count::input_tokens;
use gateway_core::endpoint::Endpoint;
use gateway_core::request::{self, RequestError, RequestHead};
use gateway_core::route::base_model;
use thiserror::Error;
use time::{Duration, OffsetDateTime};
use tokio::task::spawn_blocking;

use super::PriceList;
use crate::gate::admit::{bounded, requested_tier};

/// Over which time the answers of an account are looked at.
const MEASURED_OVER: Duration = Duration::days(30);

/// A usage to be priced.
#[derive(Debug)]
pub(crate) struct UsageAsked {
    /// The model.
    pub(crate) model: String,
    /// What is consumed.
    pub(crate) usage: Usage,
    /// In which service tier and with which attributes.
    pub(crate) tier: ServiceTier,
    /// What else is known of it.
    pub(crate) attributes: Attributes,
    /// When; now where it is not said.
    pub(crate) at: Option<OffsetDateTime>,
}

/// A request to be priced.
#[derive(Debug)]
pub(crate) struct RequestAsked {
    /// To which endpoint it would go.
    pub(crate) endpoint: Endpoint,
    /// Its body, with the model in it.
    pub(crate) body: Bytes,
    /// What would be known of its reply.
    pub(crate) attributes: Attributes,
    /// When; now where it is not said.
    pub(crate) at: Option<OffsetDateTime>,
}

/// What a usage costs.
#[derive(Debug)]
pub(crate) struct Quote {
    /// The model.
    pub(crate) model: String,
    /// What is consumed.
    pub(crate) usage: Usage,
    /// In which tier and when.
    pub(crate) circumstances: Circumstances,
    /// The price, and where the account stands in tiers.
    pub(crate) terms: Terms,
    /// The rule that the price comes from.
    pub(crate) rule: Option<Arc<SaleRule>>,
    /// The schedule of its tiers.
    pub(crate) schedule: Option<Arc<TierSchedule>>,
    /// The charge and what derives it.
    pub(crate) charge: Charge,
}

/// What a request may cost at most, and what it will likely cost.
#[derive(Debug)]
pub(crate) struct Estimate {
    /// The most that it can consume.
    pub(crate) ceiling: Usage,
    /// What would be set aside for it.
    pub(crate) held: Nanos,
    /// The likely case.
    pub(crate) likely: Quote,
    /// Where the length of the answer is taken from.
    pub(crate) answer: AnswerLength,
    /// Whether the prompt has parts that are not text, and are not counted in the likely case.
    pub(crate) has_media: bool,
}

/// Where the length of an answer is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerLength {
    /// There is none.
    NoAnswer,
    /// The mean of so many calls that the account made of the model in the last 30 days.
    Measured {
        /// How many.
        calls: u64,
    },
    /// What is assumed where nothing is known.
    Assumed,
    /// The most that is allowed, which is less than what was measured or is assumed.
    Bound,
}

/// Why nothing can be quoted.
#[derive(Debug, Error)]
pub(crate) enum QuoteError {
    /// The model has no price.
    #[error(transparent)]
    Unpriced(#[from] Unpriced),
    /// The price does not rate the usage.
    #[error(transparent)]
    Rating(#[from] RatingError),
    /// The request is none.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The counters cannot be read.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The prompt could not be counted.
    #[error("the prompt could not be counted")]
    Uncounted,
}

/// A price that was found for somebody.
struct Found {
    terms: Terms,
    facts: ModelFacts,
    rule: Option<Arc<SaleRule>>,
    schedule: Option<Arc<TierSchedule>>,
}

impl PriceList {
    /// What a usage costs a buyer, or an account that has used nothing yet where none is named.
    pub(crate) async fn quote(
        &self,
        buyer: Option<Buyer>,
        asked: UsageAsked,
    ) -> Result<Quote, QuoteError> {
        let at = asked.at.unwrap_or_else(|| self.clock.now());
        let found = self.find(buyer.as_ref(), &asked.model, at).await?;
        let circumstances = Circumstances {
            tier: asked.tier,
            at,
            attributes: asked.attributes,
        };
        Ok(found.quote(asked.model, &asked.usage, circumstances)?)
    }

    /// What a request may cost a buyer at most, and what it will likely cost.
    pub(crate) async fn estimate(
        &self,
        buyer: Option<Buyer>,
        asked: RequestAsked,
    ) -> Result<Estimate, QuoteError> {
        let at = asked.at.unwrap_or_else(|| self.clock.now());
        let RequestAsked {
            endpoint,
            body,
            attributes,
            ..
        } = asked;
        let head = request::read(endpoint, &body)?;
        let model = base_model(&head.model).to_owned();
        let found = self.find(buyer.as_ref(), &model, at).await?;
        let tier = requested_tier(&head);
        let default = self.default_output;
        let (_, ceiling) = bounded(endpoint, &head, body.len(), &found.facts, default);
        let prospect = self.served.prospect(&model).unwrap_or_default();
        let as_held = self.as_held(buyer.as_ref(), &found.terms);
        let tiers = ServiceTier::foreseen_of(head.service_tier.as_deref());
        let held = as_held.worst_case(&ceiling, &prospect.foreseen(tiers, at))?;
        let prompt = self.count(endpoint, body).await?;
        let (output, answer) = self
            .answer(buyer.as_ref(), &model, endpoint, &head, &ceiling)
            .await?;
        let usage = Usage::NONE
            .with(Meter::Input, prompt)
            .with(Meter::Output, output);
        let circumstances = Circumstances {
            tier,
            at,
            attributes: attributes.or(prospect.given()),
        };
        let media = head.media;
        Ok(Estimate {
            ceiling,
            held,
            likely: found.quote(model, &usage, circumstances)?,
            answer,
            has_media: media.audio || media.images > 0 || media.by_reference,
        })
    }

    /// The tokens of a prompt.
    async fn count(&self, endpoint: Endpoint, body: Bytes) -> Result<u64, QuoteError> {
        let turn = self.counting.acquire().await;
        let turn = turn.map_err(|_| QuoteError::Uncounted)?;
        let counted = spawn_blocking(move || input_tokens(endpoint, &body)).await;
        drop(turn);
        counted.map_err(|_| QuoteError::Uncounted)
    }

    async fn find(
        &self,
        buyer: Option<&Buyer>,
        model: &str,
        at: OffsetDateTime,
    ) -> Result<Found, QuoteError> {
        let book: Arc<PriceBook> = self.prices.book();
        let offer = book.offer(buyer, base_model(model), at)?;
        let priced = self.priced(&offer, at);
        let priced = priced.ok_or_else(|| Unpriced::NoPrice(model.to_owned()))?;
        let window = match (buyer, &priced.tiers) {
            (_, None) => None,
            (None, Some(tiers)) => tiers.window(at, None, |_| Amount::ZERO),
            (Some(buyer), Some(tiers)) => {
                let standings = self.standings(buyer, std::iter::once(tiers), at).await?;
                standings.into_values().next().map(|standing| standing.0)
            }
        };
        Ok(Found {
            terms: priced.terms.in_tiers(window),
            facts: offer.model.facts.clone(),
            rule: priced.rule,
            schedule: priced.tiers,
        })
    }

    /// The terms as a call would have them: what is known of its window is what this node has seen.
    fn as_held(&self, buyer: Option<&Buyer>, terms: &Terms) -> Terms {
        let seen = |tiers: &InTiers| InTiers {
            known: buyer.map_or(Amount::ZERO, |buyer| {
                self.prices.seen(buyer.account, tiers.position())
            }),
            ..tiers.clone()
        };
        let tiers = terms.tiers.as_ref().map(seen);
        terms.clone().in_tiers(tiers)
    }

    /// How long the answer will likely be, in tokens.
    async fn answer(
        &self,
        buyer: Option<&Buyer>,
        model: &str,
        endpoint: Endpoint,
        head: &RequestHead,
        ceiling: &Usage,
    ) -> Result<(u64, AnswerLength), QuoteError> {
        if !endpoint.has_output() {
            return Ok((0, AnswerLength::NoAnswer));
        }
        let assumed = || {
            let choices = u64::from(head.choices.max(1));
            let tokens = self.default_output.saturating_mul(choices);
            (tokens, AnswerLength::Assumed)
        };
        let measured = self.measured(buyer, model).await?;
        let measured = measured.map(|(tokens, calls)| (tokens, AnswerLength::Measured { calls }));
        let (tokens, from) = measured.unwrap_or_else(assumed);
        let bound = ceiling.get(Meter::Output);
        Ok(if tokens > bound {
            (bound, AnswerLength::Bound)
        } else {
            (tokens, from)
        })
    }

    /// The mean answer of the account's recent calls of a model, and how many those are.
    async fn measured(
        &self,
        buyer: Option<&Buyer>,
        model: &str,
    ) -> Result<Option<(u64, u64)>, ReportError> {
        let Some(buyer) = buyer else { return Ok(None) };
        let now = self.clock.now();
        // The quarter of an hour that runs is one of those that begin before the end.
        let (from, to) = (now - MEASURED_OVER, now + Duration::SECOND);
        let by_model = UsageGroup::Model;
        let lines = self.reports.usage(buyer.account, from, to, by_model);
        let lines = lines.await?;
        let line = lines.iter().find(|line| line.group == model);
        Ok(line.and_then(|line| {
            let calls = line.calls.saturating_sub(line.void_calls);
            (calls > 0).then(|| (line.answer_tokens.div_ceil(calls), calls))
        }))
    }
}

impl Found {
    fn quote(
        self,
        model: String,
        usage: &Usage,
        circumstances: Circumstances,
    ) -> Result<Quote, RatingError> {
        let position = self.terms.tiers.as_ref().map(|tiers| tiers.known);
        let position = position.unwrap_or_default();
        let charge = charge(usage, &self.terms, &circumstances, position)?;
        Ok(Quote {
            model,
            usage: *usage,
            circumstances,
            terms: self.terms,
            rule: self.rule,
            schedule: self.schedule,
            charge,
        })
    }
}
