//! Exact quantities and percentages: what charge models multiply.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ChargeError;
use super::wide::mul_div;
use crate::money::{Exact, MoneyError, Nanos, decimal_steps, decimal_text};
use crate::price::UnitPrice;

/// Decimal places of a [`Quantity`].
const PLACES: u32 = 18;
/// How many steps make one unit.
const STEPS: u128 = 1_000_000_000_000_000_000;
/// Steps of a quantity in a thousandth of a unit: a thousandth times a [`UnitPrice`] is [`Exact`].
const PER_THOUSANDTH: u64 = 1_000_000_000_000_000;
/// [`Quantity`] steps in one nano.
const PER_NANO: u128 = 1_000_000_000;
/// Decimal places of a [`Percent`] as a share of the whole.
const SHARE_PLACES: u32 = 9;
/// [`Percent`] steps in the whole.
const WHOLE: u64 = 1_000_000_000;

/// How much was used, in whatever a charge counts: at least zero, with 18 decimal places, up to
/// about 1.7·10²⁰.
///
/// Calls and tokens are whole; amounts of money and measured things may be fractional. Two
/// quantities of 2⁶⁴ have a sum.
///
/// ```
/// use billing_core::charge_model::Quantity;
/// let used: Quantity = "99.5".parse()?;
/// assert!(used > Quantity::whole(99));
/// assert_eq!(used.plus(Quantity::whole(1))?.to_string(), "100.5");
/// # Ok::<(), billing_core::charge_model::ChargeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity(u128);

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest quantity. Half of what the steps could hold, so that a sum of two never wraps.
    pub const MAX: Self = Self(u128::MAX >> 1);

    /// So many whole units.
    pub fn whole(units: u64) -> Self {
        Self(u128::from(units).saturating_mul(STEPS))
    }

    /// An amount of money as a quantity of its major unit; what is below zero is nothing.
    pub fn of_money(money: Nanos) -> Self {
        let nanos = u128::try_from(money.get()).unwrap_or(0);
        Self(nanos.saturating_mul(PER_NANO))
    }

    /// The number of units, where it is whole and fits.
    pub fn units(self) -> Option<u64> {
        let whole = self.is_whole().then(|| self.0.checked_div(STEPS))??;
        u64::try_from(whole).ok()
    }

    /// Whether it has no fraction.
    pub fn is_whole(self) -> bool {
        self.0.checked_rem(STEPS) == Some(0)
    }

    /// Whether it is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`ChargeError::QuantityOutOfRange`] beyond [`Quantity::MAX`].
    pub fn plus(self, other: Self) -> Result<Self, ChargeError> {
        let sum = self.0.saturating_add(other.0);
        Self::of_steps(sum).ok_or(ChargeError::QuantityOutOfRange)
    }

    /// What it has more than another, or nothing.
    #[must_use]
    pub const fn beyond(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The sum, or the largest quantity.
    pub(super) fn reaching(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0)).min(Self::MAX)
    }

    /// So many 10⁻¹⁸ units; `None` beyond [`Quantity::MAX`].
    fn of_steps(steps: u128) -> Option<Self> {
        Some(Self(steps)).filter(|quantity| *quantity <= Self::MAX)
    }

    /// What it costs at a price a unit. For whole quantities and thousandths always exact.
    ///
    /// # Errors
    /// [`ChargeError::TooFine`] where the product has more than the 27 decimal places that an
    /// amount can have, [`ChargeError::Money`] where it is too large for one.
    pub fn at(self, price: UnitPrice) -> Result<Exact, ChargeError> {
        let (amount, rest) = mul_div(self.0, price.steps().unsigned_abs(), PER_THOUSANDTH)
            .ok_or(MoneyError::OutOfRange)?;
        if rest != 0 {
            return Err(ChargeError::TooFine {
                quantity: self,
                price,
            });
        }
        exact(amount)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = i128::try_from(self.0).unwrap_or(i128::MAX);
        f.write_str(&decimal_text(steps, PLACES, 0))
    }
}

impl FromStr for Quantity {
    type Err = ChargeError;
    fn from_str(text: &str) -> Result<Self, ChargeError> {
        decimal_steps(text, PLACES)
            .and_then(|steps| u128::try_from(steps).ok())
            .and_then(Self::of_steps)
            .ok_or_else(|| ChargeError::NotAQuantity(beginning(text)))
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    /// From decimal text, or from a whole number.
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a quantity is decimal text or a whole number")]
        enum Stated {
            Units(u64),
            Text(String),
        }
        match Stated::deserialize(d)? {
            Stated::Units(units) => Ok(Self::whole(units)),
            Stated::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

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

    /// This percentage of a quantity of money, in its unit. Always exact.
    ///
    /// # Errors
    /// [`ChargeError::Money`] where it is too large for an amount.
    pub fn of_quantity(self, quantity: Quantity) -> Result<Exact, ChargeError> {
        // 10⁻¹⁸ times 10⁻⁹ is the 10⁻²⁷ of an amount.
        let amount = quantity.0.checked_mul(u128::from(self.0));
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

/// An amount of so many 10⁻²⁷.
fn exact(steps: u128) -> Result<Exact, ChargeError> {
    let steps = i128::try_from(steps).map_err(|_| MoneyError::OutOfRange)?;
    Ok(Exact::new(steps))
}

fn beginning(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_exact_both_ways() {
        for text in ["0", "5.001", "0.000000000000000001", "9223372036854775808"] {
            assert_eq!(text.parse::<Quantity>().unwrap().to_string(), text);
        }
        assert_eq!("7.50".parse::<Quantity>().unwrap().to_string(), "7.5");
        assert_eq!("2.9".parse::<Percent>().unwrap().to_string(), "2.9");
        assert_eq!(Percent::whole(15), "15".parse().unwrap());
        assert_eq!(Percent::whole(15).rest(), "85".parse().ok());
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        let too_fine = "0.0000000000000000001";
        for text in [
            "",
            "-1",
            "1e3",
            "1,5",
            "x",
            too_fine,
            "999999999999999999999",
        ] {
            let refused = text.parse::<Quantity>();
            assert_eq!(refused, Err(ChargeError::NotAQuantity(text.to_owned())));
        }
        assert!("0.00000001".parse::<Percent>().is_err());
        assert!("-5".parse::<Percent>().is_err());
    }

    #[test]
    fn quantities_of_two_to_the_63_have_a_price() {
        let all = Quantity::whole(1 << 63);
        let price = "0.00000001".parse().unwrap();
        assert_eq!(all.at(price).unwrap().to_string(), "92233720368.54775808");
        assert_eq!(all.plus(all).unwrap().beyond(all), all);
        let dear = "1".parse().unwrap();
        assert_eq!(all.at(dear), Err(MoneyError::OutOfRange.into()));
    }

    #[test]
    fn an_amount_that_would_have_to_be_rounded_is_refused() {
        let price = "0.000000000000000000000001".parse().unwrap();
        let thousandth = "0.001".parse::<Quantity>().unwrap();
        assert_eq!(thousandth.at(price).unwrap(), Exact::new(1));
        let finer = "0.0001".parse::<Quantity>().unwrap();
        assert!(matches!(finer.at(price), Err(ChargeError::TooFine { .. })));
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
