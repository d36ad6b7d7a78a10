//! Rates that apply under a condition.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{PriceError, Rate, When, in_order};
use crate::meter::Meter;
use crate::price::ServiceTier;

/// Rates that stand in the place of the ordinary ones while a condition holds. What it does not
/// price costs what it costs otherwise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Variant {
    /// The condition.
    pub when: Arc<When>,
    /// The rates, by meter, tier and falling threshold.
    pub rates: Vec<Rate>,
}

impl Variant {
    /// Rates under a condition.
    ///
    /// # Errors
    /// [`PriceError::NoCondition`], [`PriceError::Empty`], [`PriceError::Twice`].
    pub fn new(when: When, rates: Vec<Rate>) -> Result<Self, PriceError> {
        if when.is_empty() {
            return Err(PriceError::NoCondition);
        }
        if rates.is_empty() {
            return Err(PriceError::Empty);
        }
        Ok(Self {
            when: Arc::new(when),
            rates: in_order(rates)?,
        })
    }

    /// Its rate of a meter in a tier for a prompt of so many tokens.
    pub(super) fn own_rate(&self, meter: Meter, tier: ServiceTier, prompt: u64) -> Option<Rate> {
        super::own_rate(&self.rates, meter, tier, prompt)
    }
}

/// Variants with those first that ask for more, so that the first that has a rate decides.
///
/// # Errors
/// [`PriceError::TwoVariants`] for one condition.
pub(super) fn ranked(mut variants: Vec<Variant>) -> Result<Vec<Variant>, PriceError> {
    variants.sort_by(|a, b| {
        let by_rank = b.when.rank().cmp(&a.when.rank());
        by_rank.then_with(|| a.when.cmp(&b.when))
    });
    for (a, b) in variants.iter().zip(variants.iter().skip(1)) {
        if a.when == b.when {
            return Err(PriceError::TwoVariants(a.when.to_string()));
        }
    }
    Ok(variants)
}
