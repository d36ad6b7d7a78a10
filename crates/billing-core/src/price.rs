//! Prices: what a meter of a model costs, from an instant on.
//!
//! A [`PriceVersion`] never changes. It is a list of [`Rate`]s; each says what one unit of one
//! [`Meter`] costs in one [`ServiceTier`], above one prompt size. [`PriceVersion::rate_for`] picks
//! the rate of a quantity and falls back to a meter's parent, never to zero.

mod circumstances;
mod tier;
mod unit;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use crate::id::PriceVersionId;
use crate::meter::{Meter, Usage};
use crate::money::{Currency, Exact, MoneyError, Nanos};

pub use circumstances::{Attribute, Attributes, Circumstances, UnknownAttribute};
pub use tier::ServiceTier;
pub use unit::UnitPrice;

/// Why a price could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PriceError {
    /// Not a decimal number of at most 24 places, or negative, or too large.
    #[error("\"{0}\" is not a price")]
    Malformed(String),
    /// Zero was given where only `free` says that something costs nothing.
    #[error("zero is not a price; say \"free\" where something is meant to cost nothing")]
    Zero,
    /// A version without a rate.
    #[error("a price version needs at least one rate")]
    Empty,
    /// Two rates for the same meter, tier and threshold.
    #[error("two rates for {0} in tier {1} above the same threshold")]
    Twice(Meter, ServiceTier),
}

/// A prompt size from which on a rate applies, to the whole call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContextThreshold {
    /// Tokens of the prompt, cached ones included.
    pub prompt_tokens: u64,
    /// Whether a prompt of exactly this size is already above it (`>=` instead of `>`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inclusive: bool,
}

impl ContextThreshold {
    /// Whether a prompt of so many tokens is above it.
    pub const fn is_passed_by(self, prompt_tokens: u64) -> bool {
        prompt_tokens > self.prompt_tokens
            || (self.inclusive && prompt_tokens == self.prompt_tokens)
    }
}

/// What one unit of one meter costs, in one tier, above one prompt size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rate {
    /// What is priced.
    pub meter: Meter,
    /// In which tier.
    #[serde(default, skip_serializing_if = "is_standard")]
    pub tier: ServiceTier,
    /// Above which prompt size; `None` from the first token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<ContextThreshold>,
    /// What one unit costs.
    pub price: UnitPrice,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
fn is_standard(tier: &ServiceTier) -> bool {
    *tier == ServiceTier::Standard
}

/// The name of a model, as a consumer asks for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ModelName(Arc<str>);

impl ModelName {
    /// A name.
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for ModelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// One immutable price of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceVersion {
    id: PriceVersionId,
    model: ModelName,
    currency: Currency,
    effective_from: OffsetDateTime,
    rates: Vec<Rate>,
}

/// The rate that applies to a quantity, and the meter that it was found under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppliedRate {
    /// The rate.
    pub rate: Rate,
    /// Whether the meter itself has no rate, so that its parent's applies.
    pub inherited: bool,
}

impl PriceVersion {
    /// A version that holds from an instant on.
    ///
    /// # Errors
    /// [`PriceError::Empty`], [`PriceError::Twice`].
    pub fn new(
        id: PriceVersionId,
        model: ModelName,
        currency: Currency,
        effective_from: OffsetDateTime,
        mut rates: Vec<Rate>,
    ) -> Result<Self, PriceError> {
        if rates.is_empty() {
            return Err(PriceError::Empty);
        }
        // The highest threshold first, so that the first one passed is the one that applies.
        rates.sort_by_key(|r| (r.meter, r.tier, std::cmp::Reverse(r.above)));
        for (a, b) in rates.iter().zip(rates.iter().skip(1)) {
            if (a.meter, a.tier, a.above) == (b.meter, b.tier, b.above) {
                return Err(PriceError::Twice(a.meter, a.tier));
            }
        }
        Ok(Self {
            id,
            model,
            currency,
            effective_from,
            rates,
        })
    }

    /// Its id.
    pub const fn id(&self) -> PriceVersionId {
        self.id
    }

    /// The model that it prices.
    pub const fn model(&self) -> &ModelName {
        &self.model
    }

    /// The currency of its rates.
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// The instant from which on it holds.
    pub const fn effective_from(&self) -> OffsetDateTime {
        self.effective_from
    }

    /// Its rates, by meter, tier and falling threshold.
    pub fn rates(&self) -> &[Rate] {
        &self.rates
    }

    /// The rate of a meter for a prompt of so many tokens.
    ///
    /// Looked for in this order: the meter in the tier, the meter in the standard tier, then the
    /// same of its parent. `None` means that this version does not price the meter at all.
    pub fn rate_for(
        &self,
        meter: Meter,
        circumstances: &Circumstances,
        prompt: u64,
    ) -> Option<AppliedRate> {
        let tier = circumstances.tier;
        let mut at = Some(meter);
        while let Some(candidate) = at {
            let found = self
                .own_rate(candidate, tier, prompt)
                .or_else(|| self.own_rate(candidate, ServiceTier::Standard, prompt));
            if let Some(rate) = found {
                return Some(AppliedRate {
                    rate,
                    inherited: candidate != meter,
                });
            }
            at = candidate.parent();
        }
        None
    }

    fn own_rate(&self, meter: Meter, tier: ServiceTier, prompt: u64) -> Option<Rate> {
        self.rates
            .iter()
            .filter(|r| r.meter == meter && r.tier == tier)
            .find(|r| r.above.is_none_or(|above| above.is_passed_by(prompt)))
            .copied()
    }

    /// The most that a call within this ceiling can cost in one of the tiers, rounded up.
    ///
    /// Each quantity is priced at the dearest rate that may come to apply to it: its own meter's
    /// or that of a class it may turn into (a cache read or write for input, reasoning for
    /// output), below or above each threshold that the prompt may pass. A class that only some
    /// requests can reach (a cache write of an hour, audio) is in the ceiling when this one can.
    ///
    /// # Errors
    /// [`RatingError::NoRate`] when a meter of the ceiling has no price,
    /// [`RatingError::Money`] when the amount does not fit.
    pub fn worst_case(&self, ceiling: &Usage, tiers: &[ServiceTier]) -> Result<Nanos, RatingError> {
        let prompt = ceiling.prompt_tokens();
        let mut total = Exact::ZERO;
        for (meter, quantity) in ceiling.iter().filter(|(m, _)| *m != Meter::Request) {
            let price = may_become(meter)
                .iter()
                .filter_map(|class| self.dearest(*class, tiers, prompt))
                .max()
                .ok_or(RatingError::NoRate { meter })?;
            total = total.plus(price.times(meter, quantity)?)?;
        }
        if let Some(price) = self.dearest(Meter::Request, tiers, prompt) {
            let requests = ceiling.get(Meter::Request).max(1);
            total = total.plus(price.times(Meter::Request, requests)?)?;
        }
        Ok(total.ceiling()?)
    }

    /// The most output, in tokens, that keeps the worst case of a ceiling within an amount; `None`
    /// when the rest of the ceiling alone does not fit.
    pub fn most_output_within(
        &self,
        ceiling: &Usage,
        tiers: &[ServiceTier],
        amount: Nanos,
    ) -> Option<u64> {
        let fits = |output| {
            let capped = ceiling.with(Meter::Output, output);
            self.worst_case(&capped, tiers)
                .is_ok_and(|cost| cost <= amount)
        };
        let (mut low, mut high) = (0, ceiling.get(Meter::Output));
        if !fits(low) {
            return None;
        }
        // The worst case grows with the output, so halving finds the last that fits.
        while low < high {
            let middle = high.saturating_sub(high.saturating_sub(low) >> 1);
            if fits(middle) {
                low = middle;
            } else {
                high = middle.saturating_sub(1);
            }
        }
        Some(low)
    }

    /// The dearest price that [`PriceVersion::rate_for`] may pick for a meter.
    fn dearest(&self, meter: Meter, tiers: &[ServiceTier], prompt: u64) -> Option<UnitPrice> {
        let in_tiers = |r: &&Rate| {
            r.meter == meter && (r.tier == ServiceTier::Standard || tiers.contains(&r.tier))
        };
        let own = self.rates.iter().filter(in_tiers);
        let passed = own.filter(|r| r.above.is_none_or(|a| a.is_passed_by(prompt)));
        let dearest = passed.map(|r| r.price).max();
        let covered = self
            .rates
            .iter()
            .any(|r| r.meter == meter && r.tier == ServiceTier::Standard && r.above.is_none());
        // Where the meter may be left without a rate of its own, its parent's applies.
        let inherited = match meter.parent() {
            Some(parent) if !covered => self.dearest(parent, tiers, prompt),
            Some(_) | None => None,
        };
        dearest.max(inherited)
    }
}

/// The classes that a quantity of a meter, bounded before the call, may turn out to be.
fn may_become(meter: Meter) -> &'static [Meter] {
    match meter {
        Meter::Input => &[Meter::Input, Meter::CacheRead, Meter::CacheWrite5m],
        Meter::Output => &[Meter::Output, Meter::Reasoning],
        Meter::AudioInput => &[Meter::AudioInput, Meter::AudioCacheWrite, Meter::Input],
        Meter::ImageInput => &[Meter::ImageInput, Meter::Input],
        Meter::AudioOutput => &[Meter::AudioOutput, Meter::Output],
        Meter::ImageOutput => &[Meter::ImageOutput, Meter::Output],
        Meter::VideoInput => &[Meter::VideoInput, Meter::Input],
        Meter::VideoOutput => &[Meter::VideoOutput, Meter::Output],
        other @ (Meter::CacheRead
        | Meter::CacheWrite5m
        | Meter::CacheWrite1h
        | Meter::CacheWrite12h
        | Meter::Reasoning
        | Meter::AudioCacheRead
        | Meter::AudioCacheWrite
        | Meter::ImageCacheRead
        | Meter::Citation
        | Meter::Request
        | Meter::InputImage
        | Meter::OutputImage
        | Meter::InputTime
        | Meter::OutputTime
        | Meter::AudioInputTime
        | Meter::VideoInputTime
        | Meter::VideoOutputTime
        | Meter::InputCharacter
        | Meter::OutputCharacter
        | Meter::InputPixel
        | Meter::OutputPixel
        | Meter::Page
        | Meter::AnnotationPage
        | Meter::Query
        | Meter::Search
        | Meter::MapSearch
        | Meter::Session) => itself(other),
    }
}

fn itself(meter: Meter) -> &'static [Meter] {
    let at = Meter::ALL.iter().position(|m| *m == meter).unwrap_or(0);
    Meter::ALL.get(at..=at).unwrap_or(&[])
}

/// Why a usage could not be rated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RatingError {
    /// The version prices neither the meter nor a parent of it.
    #[error("no rate for {meter}")]
    NoRate {
        /// The meter without a price.
        meter: Meter,
    },
    /// The amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}
