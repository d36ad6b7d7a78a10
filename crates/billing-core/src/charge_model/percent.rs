//! Percentages of money.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::quantity::{beginning, exact};
use super::wide::mul_div;
use super::{ChargeError, Quantity};
use crate::money::{Exact, MoneyError, decimal_steps, decimal_text};

/// Decimal places of a [`Percent`] as a share of the whole.
const SHARE_PLACES: u32 = 9;
/// [`Percent`] steps in the whole.
const WHOLE: u64 = 1_000_000_000;

/// A percentage, at least zero, with seven decimal places: `2.9` is 2.9 %.
///
/// ```
/// use billing_core::charge_model::{Percent, Quantity};
/// let fee: Percent = "2.9".parse()?;
/// assert_eq!(fee.of_quantity(Quantity::whole(4))?.to_string(), "0.116");
/// # Ok::<(), billing_core::charge_model::ChargeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Percent(u64);

impl Percent {
    /// Nothing of it.
    pub const ZERO: Self = Self(0);
    /// All of it.
    pub const HUNDRED: Self = Self(WHOLE);

    /// So many whole percent.
    pub fn whole(percent: u32) -> Self {
        Self(u64::from(percent).saturating_mul(WHOLE.saturating_div(100)))
    }

    /// What is left of the whole, for a discount of this percentage; `None` above 100 %.
    pub fn rest(self) -> Option<Self> {
        WHOLE.checked_sub(self.0).map(Self)
    }

    /// As a share of the whole: 20 % is 0.2.
    pub fn share(self) -> Decimal {
        let share = Decimal::from(self.0).checked_div(Decimal::from(WHOLE));
        // Division by a power of ten is exact within nine places.
        share.unwrap_or_default().normalize()
    }

    /// Whether it is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum of two.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] where it does not fit.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        let sum = self.0.checked_add(other.0);
        sum.map(Self).ok_or(MoneyError::OutOfRange)
    }

    /// This percentage of a quantity of money, in its unit. Always exact.
    ///
    /// # Errors
    /// [`ChargeError::Money`] where it is too large for an amount.
    pub fn of_quantity(self, quantity: Quantity) -> Result<Exact, ChargeError> {
        // 10⁻¹⁸ times 10⁻⁹ is the 10⁻²⁷ of an amount.
        let amount = quantity.steps().checked_mul(u128::from(self.0));
        exact(amount.ok_or(MoneyError::OutOfRange)?)
    }

    /// This percentage of an amount.
    ///
    /// An amount has 27 decimal places. What a percentage of it has beyond them (only where price
    /// and percentage together have more) is rounded there, half to even: far below the nano to
    /// which a call is rounded when it settles.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] where it does not fit.
    pub fn of(self, amount: Exact) -> Result<Exact, MoneyError> {
        let (size, rest) = mul_div(amount.get().unsigned_abs(), u128::from(self.0), WHOLE)
            .ok_or(MoneyError::OutOfRange)?;
        let twice = rest.saturating_mul(2);
        let up = twice > WHOLE || (twice == WHOLE && size & 1 == 1);
        let size = size.saturating_add(u128::from(up));
        let size = i128::try_from(size).map_err(|_| MoneyError::OutOfRange)?;
        let signed = if amount.get() < 0 {
            size.checked_neg().ok_or(MoneyError::OutOfRange)?
        } else {
            size
        };
        Ok(Exact::new(signed))
    }

    /// A number in proportion to it, for spreading an amount over several percentages.
    pub(crate) fn weight(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// The number of 10⁻⁹ of the whole.
    pub(super) const fn steps(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&decimal_text(
            i128::from(self.0),
            SHARE_PLACES.saturating_sub(2),
            0,
        ))
    }
}

impl FromStr for Percent {
    type Err = ChargeError;
    fn from_str(text: &str) -> Result<Self, ChargeError> {
        decimal_steps(text, SHARE_PLACES.saturating_sub(2))
            .and_then(|steps| u64::try_from(steps).ok())
            .map(Self)
            .ok_or_else(|| ChargeError::NotAPercentage(beginning(text)))
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
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
    fn text_is_exact_both_ways() {
        assert_eq!("2.9".parse::<Percent>().unwrap().to_string(), "2.9");
        assert_eq!(Percent::whole(15), "15".parse().unwrap());
        assert_eq!(Percent::whole(15).rest(), "85".parse().ok());
        assert!("0.00000001".parse::<Percent>().is_err());
        assert!("-5".parse::<Percent>().is_err());
    }

    #[test]
    fn a_share_of_an_amount_is_rounded_at_its_last_place_only() {
        let half: Percent = "50".parse().unwrap();
        for (steps, share) in [(4, 2), (3, 2), (1, 0), (-3, -2), (-1, 0)] {
            assert_eq!(half.of(Exact::new(steps)).unwrap(), Exact::new(share));
        }
        assert_eq!(
            Percent::whole(300).of(Exact::new(i128::MAX)),
            Err(MoneyError::OutOfRange)
        );
    }
}
