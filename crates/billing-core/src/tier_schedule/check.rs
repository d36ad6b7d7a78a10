//! Whether terms are a schedule that can be settled.

use thiserror::Error;

use super::{Measure, TierPrice, TierPricing, TierTerms, TierWindow};
use crate::charge_model::{Percent, Quantity, Tier};
use crate::money::Nanos;
use crate::price::{PriceError, in_order};

/// Why terms are no schedule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TierTermsError {
    /// A threshold of calls or tokens is not whole.
    #[error("{0} are counted whole, but a tier ends at {1}; give a whole number")]
    Fraction(&'static str, Quantity),
    /// A threshold of spend is finer than a nano.
    #[error("a tier ends at {0}, finer than a billionth of the currency; give at most nine places")]
    TooFine(Quantity),
    /// A discount of more than all.
    #[error("tier {tier} takes {percent} % off; give at most 100")]
    BeyondWhole {
        /// Which, from 1.
        tier: usize,
        /// The percentage.
        percent: Percent,
    },
    /// A tier without a rate.
    #[error("tier {0} has `rates` and none in them; give a discount of 0 where nothing changes")]
    NoRates(usize),
    /// Volume pricing with rates of its own.
    #[error(
        "tier {0} has `rates`, but volume pricing is settled when the window is over, on its \
         totals; give a discount or a price for each unit"
    )]
    RatesByVolume(usize),
    /// Rates that are no price together.
    #[error("the `rates` of tier {tier}: {why}; keep one of the two")]
    Rates {
        /// Which, from 1.
        tier: usize,
        /// What is wrong with them.
        why: PriceError,
    },
    /// Volume pricing that takes percents off a price which is not the list's.
    #[error(
        "tier {discount} has a `discount` and tier {per_unit} a `per_unit` price, but volume pricing \
         settles a window on one total: give every tier a `discount`, off what the calls cost at the \
         list's prices, or every tier a `per_unit` price"
    )]
    MixedVolume {
        /// A tier with a discount, from 1.
        discount: usize,
        /// A tier with a price for each unit.
        per_unit: usize,
    },
    /// What is settled when a window is over, in a window that never is.
    #[error(
        "{0} settled when the window is over, but a `lifetime` never is: give a `window` of `day`, \
         `week`, `month` or `period`, or `graduated` tiers without a `minimum`"
    )]
    NeverOver(&'static str),
    /// A price for each unit of money.
    #[error("tier {0} has a price per unit of spend; give a discount")]
    PerUnitOfSpend(usize),
    /// Packages of money.
    #[error("spend is not sold in packages; count calls or tokens")]
    PackagesOfSpend,
    /// A cap within a tier.
    #[error("tier {0} has a cap; calls are not capped one by one")]
    Cap(usize),
    /// A minimum below zero.
    #[error("the minimum is {0}; give zero or more, or leave it out")]
    NegativeMinimum(Nanos),
}

impl TierTerms {
    /// Whether they are a schedule.
    ///
    /// # Errors
    /// [`TierTermsError`]. What tiers alone can be wrong by, [`Tiers`](crate::charge_model::Tiers) refuses.
    pub fn check(&self) -> Result<(), TierTermsError> {
        if let (TierPricing::Package(_) | TierPricing::PerCall(_), Measure::Spend) =
            (&self.pricing, self.measure)
        {
            return Err(TierTermsError::PackagesOfSpend);
        }
        self.check_thresholds()?;
        self.check_prices()?;
        if let TierPricing::Volume(tiers) = &self.pricing {
            check_volume(tiers.all())?;
        }
        if self.window == TierWindow::Lifetime && self.is_closed() {
            return Err(TierTermsError::NeverOver(match self.pricing {
                TierPricing::Volume(_) => "volume prices are",
                TierPricing::Graduated(_) | TierPricing::Package(_) | TierPricing::PerCall(_) => {
                    "a minimum is"
                }
            }));
        }
        match self.minimum {
            Some(minimum) if minimum.is_negative() => Err(TierTermsError::NegativeMinimum(minimum)),
            Some(_) | None => Ok(()),
        }
    }

    fn check_thresholds(&self) -> Result<(), TierTermsError> {
        for up_to in self.pricing.tiers().iter().filter_map(|tier| tier.up_to) {
            match self.measure {
                Measure::Spend if up_to.as_money().is_none() => {
                    return Err(TierTermsError::TooFine(up_to));
                }
                Measure::Calls | Measure::Tokens if !up_to.is_whole() => {
                    return Err(TierTermsError::Fraction(self.measure.name(), up_to));
                }
                Measure::Calls | Measure::Tokens | Measure::Spend => {}
            }
        }
        Ok(())
    }

    fn check_prices(&self) -> Result<(), TierTermsError> {
        for (place, tier) in (1..).zip(self.pricing.tiers()) {
            match (&tier.price, &self.pricing) {
                (TierPrice::Discount(percent), _) if percent.rest().is_none() => {
                    let (tier, percent) = (place, *percent);
                    return Err(TierTermsError::BeyondWhole { tier, percent });
                }
                (TierPrice::Rates(rates), _) if rates.is_empty() => {
                    return Err(TierTermsError::NoRates(place));
                }
                (TierPrice::Rates(_), TierPricing::Volume(_)) => {
                    return Err(TierTermsError::RatesByVolume(place));
                }
                (TierPrice::Rates(rates), _) => {
                    let together = in_order(rates.clone());
                    together.map_err(|why| TierTermsError::Rates { tier: place, why })?;
                }
                (TierPrice::PerUnit(_), _) if self.measure == Measure::Spend => {
                    return Err(TierTermsError::PerUnitOfSpend(place));
                }
                _ => {}
            }
            if tier.cap.is_some() {
                return Err(TierTermsError::Cap(place));
            }
        }
        Ok(())
    }
}

/// A discount is taken off what the calls were charged, which is the list's price only where no tier
/// has a price of its own.
fn check_volume(tiers: &[Tier<TierPrice>]) -> Result<(), TierTermsError> {
    let first = |is: fn(&TierPrice) -> bool| {
        let mut tiers = (1_usize..).zip(tiers);
        tiers
            .find(|(_, tier)| is(&tier.price))
            .map(|(place, _)| place)
    };
    let discount = first(|price| matches!(price, TierPrice::Discount(_)));
    let per_unit = first(|price| matches!(price, TierPrice::PerUnit(_)));
    match (discount, per_unit) {
        (Some(discount), Some(per_unit)) => Err(TierTermsError::MixedVolume { discount, per_unit }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(
        measure: &str,
        window: &str,
        pricing: &Value,
        minimum: Option<i64>,
    ) -> Result<(), TierTermsError> {
        let mut terms = json!({
            "currency": "USD", "measure": measure, "window": window, "pricing": pricing,
        });
        if let Some(minimum) = minimum {
            terms["minimum"] = json!(minimum);
        }
        let terms: TierTerms = serde_json::from_value(terms).unwrap();
        terms.check()
    }

    fn said(checked: Result<(), TierTermsError>) -> String {
        checked.unwrap_err().to_string()
    }

    #[test]
    fn what_is_settled_at_the_end_of_a_window_needs_one_that_ends() {
        let volume = json!({"volume": [{"price": {"discount": "10"}}]});
        let graduated = json!({"graduated": [{"price": {"discount": "10"}}]});
        for (pricing, minimum, what) in [
            (&volume, None, "volume prices are settled"),
            (&graduated, Some(1), "a minimum is settled"),
        ] {
            let error = said(check("calls", "lifetime", pricing, minimum));
            assert!(error.contains(what) && error.contains("`month`"), "{error}");
            for window in ["day", "week", "month", "period"] {
                assert_eq!(check("calls", window, pricing, minimum), Ok(()));
            }
        }
        assert_eq!(check("calls", "lifetime", &graduated, None), Ok(()));
    }

    #[test]
    fn volume_tiers_are_all_discounts_or_all_prices() {
        let tiers = |[one, two]: [Value; 2]| json!([{"up_to": "10", "price": one}, {"price": two}]);
        let (off, each) = (json!({"discount": "10"}), json!({"per_unit": "0.01"}));
        let mixed = tiers([each.clone(), off.clone()]);
        let error = check("calls", "month", &json!({"volume": mixed}), None);
        assert_eq!(
            error,
            Err(TierTermsError::MixedVolume {
                discount: 2,
                per_unit: 1
            })
        );
        // Call by call there is a list price to take it off.
        assert_eq!(
            check("calls", "month", &json!({"graduated": mixed}), None),
            Ok(())
        );
        for same in [off, each] {
            let volume = json!({"volume": tiers([same.clone(), same])});
            assert_eq!(check("calls", "month", &volume, None), Ok(()));
        }
    }

    #[test]
    fn rates_of_a_tier_state_each_price_once() {
        let rate =
            |price: &str, tier: &str| json!({"meter": "input", "tier": tier, "price": price});
        let tiers = |rates: [Value; 2]| json!({"graduated": [{"price": {"rates": rates}}]});
        let twice = tiers([rate("0.1", "batch"), rate("0.2", "batch")]);
        let error = said(check("tokens", "month", &twice, None));
        assert!(
            error.contains("the `rates` of tier 1: two rates for input"),
            "{error}"
        );
        let once = tiers([rate("0.1", "batch"), rate("0.2", "standard")]);
        assert_eq!(check("tokens", "month", &once, None), Ok(()));
    }
}
