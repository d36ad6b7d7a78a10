//! The end of a window: what is still due or to be given back.

use super::{TierPrice, TierPricing, TierTerms};
use crate::budget::Amount;
use crate::money::{Exact, Nanos};
use crate::price::RatingError;

/// What is known of a window that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// How much was used in it.
    pub used: Amount,
    /// What its calls were charged, each by itself.
    pub charged: Amount,
    /// What was charged (above zero) or given back when it was closed before: calls may end after
    /// their window was.
    pub trued_up: Nanos,
}

/// What closing a window comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// What all of it costs.
    pub total: Nanos,
    /// What is charged now (above zero) or given back (below).
    pub true_up: Nanos,
}

impl TierTerms {
    /// Closes a window: by volume all of it costs what the reached tier says, and no less than the
    /// minimum is due.
    ///
    /// # Errors
    /// [`RatingError`] where an amount does not fit.
    pub fn close(&self, window: &Close) -> Result<Closed, RatingError> {
        let used = self.measure.quantity(window.used);
        let charged = window.charged.money();
        let total = match &self.pricing {
            TierPricing::Graduated(_) | TierPricing::Package(_) | TierPricing::PerCall(_) => {
                charged
            }
            TierPricing::Volume(tiers) => {
                let reached = tiers.all().get(tiers.reached_by(used));
                let Some(tier) = reached.filter(|_| !window.used.is_zero()) else {
                    return self.with_minimum(charged, window);
                };
                let whole = match &tier.price {
                    TierPrice::Discount(percent) => {
                        let rest = percent.rest().unwrap_or_default();
                        rest.of(Exact::of(charged)?)?
                    }
                    TierPrice::PerUnit(unit) => used.at(*unit)?,
                    TierPrice::Rates(_) => Exact::of(charged)?,
                };
                whole.plus(tier.flat)?.settle()?
            }
        };
        self.with_minimum(total, window)
    }

    fn with_minimum(&self, total: Nanos, window: &Close) -> Result<Closed, RatingError> {
        let total = total.max(self.minimum.unwrap_or(Nanos::ZERO));
        let so_far = window.charged.money().plus(window.trued_up)?;
        let true_up = total.minus(so_far)?;
        Ok(Closed { total, true_up })
    }
}
