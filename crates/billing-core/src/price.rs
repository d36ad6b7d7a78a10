//! Prices: what a meter of a model costs, from an instant on.
//!
//! A [`PriceVersion`] never changes. It is a list of [`Rate`]s; each says what one unit of one
//! [`Meter`] costs in one [`ServiceTier`], above one prompt size. A [`Variant`] holds rates that stand
//! in their place while a condition holds: a region, a resolution, hours of the week.
//! [`Applicable::rate_for`] picks the rate of a quantity and falls back to a meter's parent, never
//! to zero.

mod circumstances;
mod condition;
mod hours;
mod lookup;
mod prospect;
mod tier;
mod unit;
mod variant;
mod worst_case;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use crate::charge_model::ChargeError;
use crate::id::PriceVersionId;
use crate::meter::{Meter, Usage};
use crate::money::{Currency, MoneyError};

pub use crate::attribute::{Attribute, Attributes, UnknownAttribute};
pub use circumstances::Circumstances;
pub use condition::{Asked, ConditionError, Foreseen, When};
pub use hours::{DailyWindow, Hours, Weekdays, clock};
pub use lookup::{Applicable, AppliedRate};
pub use prospect::Prospect;
pub use tier::ServiceTier;
pub use unit::UnitPrice;
pub use variant::Variant;
pub(crate) use worst_case::most_that_fits;

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
    /// A variant that would always hold.
    #[error("a variant of a price needs a condition")]
    NoCondition,
    /// Two variants with the same condition.
    #[error("two variants of a price for {0}")]
    TwoVariants(String),
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
    variants: Vec<Variant>,
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
        rates: Vec<Rate>,
    ) -> Result<Self, PriceError> {
        if rates.is_empty() {
            return Err(PriceError::Empty);
        }
        Ok(Self {
            id,
            model,
            currency,
            effective_from,
            rates: in_order(rates)?,
            variants: Vec::new(),
        })
    }

    /// The same with rates that apply under conditions, in any order.
    ///
    /// # Errors
    /// [`PriceError::TwoVariants`].
    pub fn with_variants(mut self, variants: Vec<Variant>) -> Result<Self, PriceError> {
        self.variants = variant::ranked(variants)?;
        Ok(self)
    }

    /// The same from another instant on.
    #[must_use]
    pub fn beginning(self, effective_from: OffsetDateTime) -> Self {
        Self {
            effective_from,
            ..self
        }
    }

    /// The same price with some meters at rates of their own, whatever the conditions.
    ///
    /// # Errors
    /// [`PriceError::Twice`] for two rates of one meter, tier and threshold.
    pub fn with_own_rates(&self, own: &[Rate]) -> Result<Self, PriceError> {
        let rest = |rates: &[Rate]| -> Vec<Rate> {
            let is_own = |rate: &&Rate| own.iter().any(|own| own.meter == rate.meter);
            rates.iter().filter(|rate| !is_own(rate)).copied().collect()
        };
        let mut variants = Vec::with_capacity(self.variants.len());
        for variant in &self.variants {
            let rates = rest(&variant.rates);
            if !rates.is_empty() {
                let when = Arc::clone(&variant.when);
                variants.push(Variant { when, rates });
            }
        }
        Ok(Self {
            model: self.model.clone(),
            rates: in_order([rest(&self.rates), own.to_vec()].concat())?,
            variants,
            ..*self
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

    /// Its rates that apply under conditions, those first that ask for more.
    pub fn variants(&self) -> &[Variant] {
        &self.variants
    }

    /// Its rates as they apply to a call.
    pub fn under<'a>(&'a self, usage: &Usage, circumstances: &Circumstances) -> Applicable<'a> {
        Applicable::new(self, usage, circumstances)
    }
}

/// Rates by meter, tier and falling threshold, so that the first one passed is the one that applies.
///
/// # Errors
/// [`PriceError::Twice`].
pub(crate) fn in_order(mut rates: Vec<Rate>) -> Result<Vec<Rate>, PriceError> {
    rates.sort_by_key(|r| (r.meter, r.tier, std::cmp::Reverse(r.above)));
    for (a, b) in rates.iter().zip(rates.iter().skip(1)) {
        if (a.meter, a.tier, a.above) == (b.meter, b.tier, b.above) {
            return Err(PriceError::Twice(a.meter, a.tier));
        }
    }
    Ok(rates)
}

/// The rate of a meter in a tier, among rates in order, for a prompt of so many tokens.
fn own_rate(rates: &[Rate], meter: Meter, tier: ServiceTier, prompt: u64) -> Option<Rate> {
    rates
        .iter()
        .filter(|r| r.meter == meter && r.tier == tier)
        .find(|r| r.above.is_none_or(|above| above.is_passed_by(prompt)))
        .copied()
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
    /// Tiers in one currency over a price in another.
    #[error("the price is in {0}, but its tiers are in {1}")]
    OtherCurrency(Currency, Currency),
    /// The rates of a tier do not make a price.
    #[error(transparent)]
    Price(#[from] PriceError),
    /// A quantity that a charge model cannot price.
    #[error(transparent)]
    Quantity(#[from] ChargeError),
    /// The amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}
