//! Volume: everything costs what the tier says that the total reaches.

use serde::{Deserialize, Serialize};

use super::{
    AtPeriodEnd, ChargeError, ChargeModel, Proportional, Quantity, Tier, Tiers, ZeroUsage,
};
use crate::money::Exact;

/// Tiers of which the one that the period's total reaches prices all of it, with its flat fee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub struct Volume<T> {
    tiers: Tiers<T>,
    #[serde(default)]
    zero_usage: ZeroUsage,
}

impl<T> Volume<T> {
    /// Tiers by volume; without usage nothing is due.
    pub const fn new(tiers: Tiers<T>) -> Self {
        Self {
            tiers,
            zero_usage: ZeroUsage::Nothing,
        }
    }

    /// The same tiers with something else due without usage.
    #[must_use]
    pub fn with_zero_usage(mut self, zero_usage: ZeroUsage) -> Self {
        self.zero_usage = zero_usage;
        self
    }

    /// The tiers.
    pub const fn tiers(&self) -> &Tiers<T> {
        &self.tiers
    }

    fn tier_of(&self, total: Quantity) -> Option<&Tier<T>> {
        self.tiers.all().get(self.tiers.reached_by(total))
    }
}

impl<T: Proportional> Volume<T> {
    /// What a part of the period costs, in the tier that the whole period reaches: a subscription
    /// that ends early is not pushed into a dearer tier by it.
    ///
    /// # Errors
    /// [`ChargeError`] where the amount does not fit or would have to be rounded.
    pub fn prorated(&self, total: Quantity, part: Quantity) -> Result<Exact, ChargeError> {
        if total.is_zero() {
            return Ok(self.tiers.due_without_usage(self.zero_usage));
        }
        self.tier_of(total)
            .map_or(Ok(Exact::ZERO), |tier| tier.cost(part))
    }
}

impl<T: Proportional> ChargeModel for Volume<T> {
    fn price(&self, quantity: Quantity) -> Result<Exact, ChargeError> {
        self.prorated(quantity, quantity)
    }
}

impl<T: Proportional> AtPeriodEnd for Volume<T> {
    fn provisional(&self, before: Quantity, line: Quantity) -> Result<Exact, ChargeError> {
        self.tier_of(Quantity::ZERO)
            .map_or(Ok(Exact::ZERO), |first| first.between(before, line))
    }
}
