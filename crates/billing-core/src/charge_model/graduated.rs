//! Graduated: every unit costs what its own tier says.

use serde::{Deserialize, Serialize};

use super::{
    ChargeError, ChargeModel, Incremental, Proportional, Quantity, Tier, Tiers, ZeroUsage,
};
use crate::money::{Exact, MoneyError};

/// Tiers of which each prices what falls into it, with its flat fee when it is reached: unit
/// prices, or percentages of an amount.
///
/// ```
/// use billing_core::charge_model::{ChargeModel, Graduated, Incremental, Quantity, Tier, Tiers};
/// use billing_core::price::UnitPrice;
/// let tiers = Tiers::new(vec![
///     Tier::up_to(Quantity::whole(10), "10".parse::<UnitPrice>()?).with_flat("2".parse()?),
///     Tier::open("5".parse()?).with_flat("3".parse()?),
/// ])?;
/// let model = Graduated::new(tiers);
/// assert_eq!(model.price(Quantity::whole(11))?.to_string(), "110");
/// // The same eleven in two lines: the second crosses into the next tier.
/// let first = model.between(Quantity::ZERO, Quantity::whole(9))?;
/// let second = model.between(Quantity::whole(9), Quantity::whole(2))?;
/// assert_eq!((first.to_string(), second.to_string()), ("92".into(), "18".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub struct Graduated<T> {
    tiers: Tiers<T>,
    #[serde(default)]
    zero_usage: ZeroUsage,
}

impl<T> Graduated<T> {
    /// Graduated tiers; without usage nothing is due.
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
}

impl<T: Proportional> ChargeModel for Graduated<T> {
    fn price(&self, quantity: Quantity) -> Result<Exact, ChargeError> {
        if quantity.is_zero() {
            return Ok(self.tiers.due_without_usage(self.zero_usage));
        }
        self.between(Quantity::ZERO, quantity)
    }
}

impl<T: Proportional> Incremental for Graduated<T> {
    fn between(&self, before: Quantity, line: Quantity) -> Result<Exact, ChargeError> {
        let mut parts = self.tiers.split(before, line);
        parts.try_fold(Exact::ZERO, |sum, part| {
            Ok(sum.plus(part.tier.between(part.within, part.quantity)?)?)
        })
    }

    /// The dearest place for the quantity is where its beginning or its end meets a threshold:
    /// between two such places the cost rises or falls evenly. A cap is not counted on.
    fn worst(&self, from: Quantity, quantity: Quantity) -> Result<Exact, ChargeError> {
        let mut worst = self.closed(from, quantity)?;
        for threshold in self.tiers.thresholds() {
            let ending_there = threshold.beyond(quantity);
            for position in [threshold, ending_there] {
                if position > from {
                    worst = worst.max(self.closed(position, quantity)?);
                }
            }
        }
        Ok(worst)
    }
}

impl<T: Proportional> Graduated<T> {
    /// What lies between a position and the end of a quantity, with the fee of every tier that
    /// begins there, at the very end too: what the neighbouring positions come close to.
    fn closed(&self, position: Quantity, quantity: Quantity) -> Result<Exact, ChargeError> {
        if quantity.is_zero() {
            return Ok(Exact::ZERO);
        }
        let end = position.reaching(quantity);
        let mut sum = Exact::ZERO;
        let mut begins = Quantity::ZERO;
        for tier in self.tiers.all() {
            if begins > end {
                break;
            }
            let inside = tier.end().min(end).beyond(begins.max(position));
            sum = sum.plus(tier.price.of(inside)?)?;
            if begins >= position {
                sum = sum.plus(tier.flat)?;
            }
            begins = tier.end();
        }
        Ok(sum)
    }
}

impl<T: Proportional> Tier<T> {
    /// What so much of the tier costs, after so much of it was used.
    pub(super) fn between(&self, within: Quantity, line: Quantity) -> Result<Exact, ChargeError> {
        if self.cap.is_some() {
            let after = self.cost(within.reaching(line))?;
            return Ok(after.minus(self.cost(within)?)?);
        }
        let flat = if within.is_zero() && !line.is_zero() {
            self.flat
        } else {
            Exact::ZERO
        };
        Ok(self.price.of(line)?.plus(flat)?)
    }

    /// What so much of the tier costs from its beginning on.
    pub(super) fn cost(&self, quantity: Quantity) -> Result<Exact, ChargeError> {
        if quantity.is_zero() {
            return Ok(Exact::ZERO);
        }
        let uncapped = self.price.of(quantity);
        let uncapped = uncapped.and_then(|amount| Ok(amount.plus(self.flat)?));
        match (uncapped, self.cap) {
            (Ok(amount), Some(cap)) => Ok(amount.min(cap)),
            // What does not fit is above any cap.
            (Err(ChargeError::Money(MoneyError::OutOfRange)), Some(cap)) => Ok(cap),
            (uncapped, _) => uncapped,
        }
    }
}

impl<T> Tiers<T> {
    /// What a period costs in which nothing was used.
    pub(super) fn due_without_usage(&self, zero_usage: ZeroUsage) -> Exact {
        match (zero_usage, self.all().first()) {
            (ZeroUsage::FirstFlat, Some(first)) => {
                first.cap.map_or(first.flat, |cap| first.flat.min(cap))
            }
            (ZeroUsage::FirstFlat, None) | (ZeroUsage::Nothing, _) => Exact::ZERO,
        }
    }
}
