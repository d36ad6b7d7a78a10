//! What one unit costs.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::PriceError;
use crate::meter::Meter;
use crate::money::{Exact, MoneyError, decimal_text};

/// Decimal places of a [`UnitPrice`].
const PRICE_PLACES: u32 = 24;

/// What one unit costs: 10⁻²⁴ of the currency's major unit, at least zero.
///
/// Catalogues state prices such as 8/7·10⁻⁷ dollars a token, so nanos per million units would lose
/// digits that a difference of one part in 10¹² shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitPrice(i128);

impl UnitPrice {
    /// Costs nothing, on purpose.
    pub const FREE: Self = Self(0);

    /// The price of one unit from a decimal number of major units.
    ///
    /// # Errors
    /// [`PriceError::Zero`] for zero, [`PriceError::Malformed`] for a negative, too fine or too
    /// large number.
    pub fn per_unit(price: Decimal) -> Result<Self, PriceError> {
        let malformed = || PriceError::Malformed(price.to_string());
        if price.is_zero() {
            return Err(PriceError::Zero);
        }
        let price = price.normalize();
        let shift = PRICE_PLACES
            .checked_sub(price.scale())
            .ok_or_else(malformed)?;
        let steps = 10_i128
            .checked_pow(shift)
            .and_then(|factor| price.mantissa().checked_mul(factor))
            .filter(|steps| *steps > 0 && *steps < 10_i128.pow(31))
            .ok_or_else(malformed)?;
        Ok(Self(steps))
    }

    /// The price of one unit from the price of a million.
    ///
    /// # Errors
    /// As [`UnitPrice::per_unit`].
    pub fn per_million(price: Decimal) -> Result<Self, PriceError> {
        let unit = price.checked_div(Decimal::from(1_000_000));
        Self::per_unit(unit.ok_or_else(|| PriceError::Malformed(price.to_string()))?)
    }

    /// The price times a positive factor, rounded half to even to 24 places.
    ///
    /// # Errors
    /// [`PriceError::Zero`] when nothing is left of it, [`PriceError::Malformed`] for a factor that is
    /// not positive, or a product that is too large.
    pub fn scaled(self, factor: Decimal) -> Result<Self, PriceError> {
        let malformed = || PriceError::Malformed(format!("{self} × {factor}"));
        if factor <= Decimal::ZERO {
            return Err(malformed());
        }
        let factor = factor.normalize();
        let product = self
            .0
            .checked_mul(factor.mantissa())
            .ok_or_else(malformed)?;
        let unit = 10_i128.checked_pow(factor.scale()).ok_or_else(malformed)?;
        let whole = product.checked_div(unit).ok_or_else(malformed)?;
        let rest = product.checked_rem(unit).ok_or_else(malformed)?;
        let doubled = rest.checked_mul(2).ok_or_else(malformed)?;
        let odd = whole & 1 == 1;
        let up = doubled > unit || (doubled == unit && odd);
        let steps = whole.checked_add(i128::from(up)).ok_or_else(malformed)?;
        match (self.is_free(), steps) {
            (true, _) => Ok(self),
            (false, 0) => Err(PriceError::Zero),
            (false, steps) if steps < 10_i128.pow(31) => Ok(Self(steps)),
            (false, _) => Err(malformed()),
        }
    }

    /// Whether it is [`UnitPrice::FREE`].
    pub const fn is_free(self) -> bool {
        self.0 == 0
    }

    /// The number of 10⁻²⁴ of the major unit.
    pub(crate) const fn steps(self) -> i128 {
        self.0
    }

    /// What a quantity of a meter costs at this price, unrounded.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] for a product beyond about 10¹¹ major units.
    pub fn times(self, meter: Meter, quantity: u64) -> Result<Exact, MoneyError> {
        let steps = i128::from(meter.unit().steps_per_unit());
        let scale = 1000_i128.checked_div(steps).unwrap_or(1000);
        i128::from(quantity)
            .checked_mul(self.0)
            .and_then(|product| product.checked_mul(scale))
            .map(Exact::new)
            .ok_or(MoneyError::OutOfRange)
    }

    /// The price of a million units as exact decimal text.
    pub fn per_million_text(self) -> String {
        decimal_text(self.0, PRICE_PLACES.saturating_sub(6), 0)
    }
}

impl fmt::Display for UnitPrice {
    /// The price of one unit as exact decimal text; `free` where it is free.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_free() {
            return f.write_str("free");
        }
        f.write_str(&decimal_text(self.0, PRICE_PLACES, 0))
    }
}

impl FromStr for UnitPrice {
    type Err = PriceError;
    fn from_str(text: &str) -> Result<Self, PriceError> {
        if text == "free" {
            return Ok(Self::FREE);
        }
        let price = Decimal::from_str_exact(text)
            .map_err(|_| PriceError::Malformed(text.chars().take(40).collect()))?;
        Self::per_unit(price)
    }
}

impl Serialize for UnitPrice {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UnitPrice {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_is_applied_exactly_and_rounded_once() {
        let scaled = |price: &str, factor: &str| {
            let price: UnitPrice = price.parse().unwrap();
            price
                .scaled(factor.parse().unwrap())
                .map(|price| price.to_string())
        };
        assert_eq!(scaled("0.0000025", "1.10").unwrap(), "0.00000275");
        let third = "0.000000285714285714285714";
        assert_eq!(scaled(third, "1.1").unwrap(), "0.000000314285714285714285");
        // Halves go to the even neighbour.
        let steps = |n: u32| format!("0.{n:024}");
        assert_eq!(scaled(&steps(1), "0.5"), Err(PriceError::Zero));
        assert_eq!(scaled(&steps(3), "0.5").unwrap(), steps(2));
        assert_eq!(scaled(&steps(5), "0.5").unwrap(), steps(2));
        assert_eq!(scaled("free", "2").unwrap(), "free");
        for factor in ["0", "-1"] {
            assert!(scaled("1", factor).is_err());
        }
        assert!(scaled("9000000", "2").is_err());
    }
}
