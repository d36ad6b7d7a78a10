//! What an account pays for a model, as it follows from what the house pays.
//!
//! The catalogue's price is the cost. A [`SaleRule`] says what is asked for it: the cost times a
//! factor, prices of its own, or some of each. Where no rule holds, the price is the cost.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use time::OffsetDateTime;

use crate::charge_model::Percent;
use crate::id::SaleRuleId;
use crate::money::{Currency, decimal_text};
use crate::price::{PriceError, PriceVersion, Rate, UnitPrice, Variant};
use crate::reach::{Reach, Rule};

/// Steps of a [`Factor`] in one.
const STEPS: i64 = 1_000_000;
/// The greatest factor.
const GREATEST: i64 = 1_000;

/// What a cost is multiplied by: above zero, at most a thousand, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Factor(i64);

/// A text that is no factor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is not a factor: above 0, at most 1000, with at most six decimal places")]
pub struct MalformedFactor(String);

impl Factor {
    /// Leaves everything as it is.
    pub const ONE: Self = Self(STEPS);

    /// The number of millionths.
    pub const fn millionths(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&decimal_text(i128::from(self.0), 6, 0))
    }
}

impl FromStr for Factor {
    type Err = MalformedFactor;
    fn from_str(text: &str) -> Result<Self, MalformedFactor> {
        let malformed = || MalformedFactor(text.chars().take(40).collect());
        let factor = Decimal::from_str_exact(text).map_err(|_| malformed())?;
        let steps = factor.checked_mul(Decimal::from(STEPS));
        let steps = steps.ok_or_else(malformed)?.normalize();
        if steps.scale() != 0 {
            return Err(malformed());
        }
        let most = STEPS.saturating_mul(GREATEST);
        let steps = i64::try_from(steps).map_err(|_| malformed())?;
        let steps = Some(steps).filter(|steps| *steps > 0 && *steps <= most);
        steps.map(Self).ok_or_else(malformed)
    }
}

impl Serialize for Factor {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Factor {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What is asked for what a model costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SalePrice {
    /// The cost times a factor; a meter that `rates` price costs what they say instead.
    Markup {
        /// What the cost is multiplied by.
        factor: Factor,
        /// Prices that hold instead of the multiplied ones, meter by meter.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rates: Vec<Rate>,
    },
    /// These prices and no others, whatever the cost.
    Fixed {
        /// Of the rates.
        currency: Currency,
        /// What each meter costs.
        rates: Vec<Rate>,
        /// What they cost under conditions.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        variants: Vec<Variant>,
    },
    /// What an earlier rule of the same reach said is over: the next less specific one holds.
    Withdrawn,
}

/// What some accounts pay for some models, from an instant on. It never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaleRule {
    /// Its id.
    pub id: SaleRuleId,
    /// For whom and for which models.
    pub reach: Reach,
    /// What is asked.
    pub price: SalePrice,
    /// From when on.
    pub effective_from: OffsetDateTime,
}

impl Rule for SaleRule {
    fn reach(&self) -> &Reach {
        &self.reach
    }
    fn effective_from(&self) -> OffsetDateTime {
        self.effective_from
    }
    fn number(&self) -> i64 {
        self.id.get()
    }
    fn is_withdrawal(&self) -> bool {
        self.price == SalePrice::Withdrawn
    }
}

impl SalePrice {
    /// The price of a model that costs so much.
    ///
    /// It has the id of the cost's version: what a rule makes of a version is always the same. A
    /// multiplied price is rounded half to even to 10⁻²⁴ of the currency unit, and is the price from
    /// then on; what is free stays free.
    ///
    /// # Errors
    /// [`PriceError`] for rates that are no price together, or that do not fit when multiplied.
    pub fn of(&self, cost: &PriceVersion) -> Result<PriceVersion, PriceError> {
        let (id, model, from) = (cost.id(), cost.model().clone(), cost.effective_from());
        match self {
            Self::Withdrawn => Ok(cost.clone()),
            Self::Fixed {
                currency,
                rates,
                variants,
            } => PriceVersion::new(id, model, *currency, from, rates.clone())?
                .with_variants(variants.clone()),
            Self::Markup { factor, rates } => {
                let times = |rates: &[Rate]| multiplied(rates, *factor);
                let mut variants = Vec::with_capacity(cost.variants().len());
                for variant in cost.variants() {
                    let rates = times(&variant.rates)?;
                    variants.push(Variant::new((*variant.when).clone(), rates)?);
                }
                PriceVersion::new(id, model, cost.currency(), from, times(cost.rates())?)?
                    .with_variants(variants)?
                    .with_own_rates(rates)
            }
        }
    }
}

/// A price with so much of it taken off: each rate is rounded half to even to 10⁻²⁴ of the currency
/// unit, and is the price from then on. With all of it off, everything is free.
///
/// # Errors
/// [`PriceError`] for more than all of it, and for a rate so small that nothing would be left.
pub fn discounted(price: &PriceVersion, off: Percent) -> Result<PriceVersion, PriceError> {
    let rest = Decimal::ONE.saturating_sub(off.share());
    let less = |rates: &[Rate]| scaled(rates, rest);
    let mut variants = Vec::with_capacity(price.variants().len());
    for variant in price.variants() {
        let rates = less(&variant.rates)?;
        variants.push(Variant::new((*variant.when).clone(), rates)?);
    }
    let (id, model, from) = (price.id(), price.model().clone(), price.effective_from());
    PriceVersion::new(id, model, price.currency(), from, less(price.rates())?)?
        .with_variants(variants)
}

fn multiplied(rates: &[Rate], factor: Factor) -> Result<Vec<Rate>, PriceError> {
    scaled(rates, Decimal::new(factor.millionths(), 6))
}

fn scaled(rates: &[Rate], factor: Decimal) -> Result<Vec<Rate>, PriceError> {
    let one = |rate: &Rate| {
        let price = if factor.is_zero() {
            UnitPrice::FREE
        } else {
            rate.price.scaled(factor)?
        };
        Ok(Rate { price, ..*rate })
    };
    rates.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PriceVersionId;
    use crate::meter::Meter;
    use crate::price::{ModelName, ServiceTier};

    fn rate(meter: Meter, price: &str) -> Rate {
        Rate {
            meter,
            tier: ServiceTier::Standard,
            above: None,
            price: price.parse().unwrap(),
        }
    }

    fn cost() -> PriceVersion {
        let rates = vec![
            rate(Meter::Input, "0.000002"),
            rate(Meter::Output, "0.000008"),
            rate(Meter::Search, "free"),
        ];
        let (id, model) = (PriceVersionId::new(1), ModelName::new("m"));
        PriceVersion::new(id, model, Currency::USD, OffsetDateTime::UNIX_EPOCH, rates).unwrap()
    }

    fn prices(rule: &str) -> Vec<(Meter, String)> {
        let rule: SalePrice = serde_json::from_str(rule).unwrap();
        let sold = rule.of(&cost()).unwrap();
        assert_eq!(sold.id(), cost().id());
        let rates = sold.rates().iter();
        rates.map(|r| (r.meter, r.price.to_string())).collect()
    }

    #[test]
    fn a_markup_multiplies_what_is_not_priced_otherwise() {
        let sold = prices(
            r#"{"kind":"markup","factor":"1.25","rates":[{"meter":"output","price":"0.00001"}]}"#,
        );
        let expected = [
            (Meter::Input, "0.0000025"),
            (Meter::Output, "0.00001"),
            (Meter::Search, "free"),
        ];
        assert_eq!(sold, expected.map(|(m, p)| (m, p.to_owned())));
    }

    #[test]
    fn a_discount_comes_off_every_rate_that_is_asked() {
        let rule =
            r#"{"kind":"markup","factor":"1.5","rates":[{"meter":"output","price":"0.00001"}]}"#;
        let rule: SalePrice = serde_json::from_str(rule).unwrap();
        let asked = rule.of(&cost()).unwrap();
        let less = |off: &str| {
            let less = discounted(&asked, off.parse().unwrap()).unwrap();
            assert_eq!(less.id(), cost().id());
            let rates = less.rates().iter();
            rates.map(|r| r.price.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(less("20"), ["0.0000024", "0.000008", "free"]);
        assert_eq!(
            less("12.3456789"),
            ["0.000002629629633", "0.00000876543211", "free"]
        );
        assert_eq!(less("100"), ["free", "free", "free"]);
        let too_much = discounted(&asked, "100.0000001".parse().unwrap());
        assert!(matches!(too_much, Err(PriceError::Malformed(_))));
    }

    #[test]
    fn fixed_prices_are_all_there_is() {
        let rule =
            r#"{"kind":"fixed","currency":"CNY","rates":[{"meter":"request","price":"0.1"}]}"#;
        assert_eq!(prices(rule), [(Meter::Request, "0.1".to_owned())]);
        let rule: SalePrice = serde_json::from_str(rule).unwrap();
        assert_eq!(rule.of(&cost()).unwrap().currency(), Currency::CNY);
        let empty = SalePrice::Fixed {
            currency: Currency::USD,
            rates: Vec::new(),
            variants: Vec::new(),
        };
        assert_eq!(empty.of(&cost()), Err(PriceError::Empty));
    }

    #[test]
    fn a_factor_is_a_decimal_number_within_bounds() {
        for text in ["1", "0.000001", "1.2", "1000"] {
            assert_eq!(text.parse::<Factor>().unwrap().to_string(), text);
        }
        for text in ["0", "-1", "1000.000001", "0.0000001", "", "x", "1e3"] {
            assert!(text.parse::<Factor>().is_err(), "{text:?}");
        }
    }
}
