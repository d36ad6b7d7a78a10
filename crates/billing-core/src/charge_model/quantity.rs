//! Exact quantities: what charge models count.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::wide::mul_div;
use super::{ChargeError, Rounding};
use crate::money::{Exact, MoneyError, Nanos, decimal_steps, decimal_text};
use crate::price::UnitPrice;

/// Decimal places of a [`Quantity`].
const PLACES: u32 = 18;
/// How many steps make one unit.
const STEPS: u128 = 1_000_000_000_000_000_000;
/// The same, as a divisor.
const STEPS_U64: u64 = 1_000_000_000_000_000_000;
/// Steps of a quantity in a thousandth of a unit: a thousandth times a [`UnitPrice`] is [`Exact`].
const PER_THOUSANDTH: u64 = 1_000_000_000_000_000;
/// [`Quantity`] steps in one nano.
const PER_NANO: u128 = 1_000_000_000;
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

    /// A quantity of a currency's major unit as money, where it has whole nanos and fits.
    pub fn as_money(self) -> Option<Nanos> {
        if self.0.checked_rem(PER_NANO) != Some(0) {
            return None;
        }
        let nanos = self.0.checked_div(PER_NANO)?;
        i64::try_from(nanos).ok().map(Nanos::new)
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

    /// The number of 10⁻¹⁸ units.
    pub(super) const fn steps(self) -> u128 {
        self.0
    }

    /// So many 10⁻¹⁸ units; `None` beyond [`Quantity::MAX`].
    fn of_steps(steps: u128) -> Option<Self> {
        Some(Self(steps)).filter(|quantity| *quantity <= Self::MAX)
    }

    /// So many times this, or the largest quantity.
    pub(super) fn many(self, times: u64) -> Self {
        Self(self.0.saturating_mul(u128::from(times))).min(Self::MAX)
    }

    /// How many packages of a size it takes, as a whole number.
    pub(super) fn in_packages_of(self, size: Self, round: Rounding) -> Result<Self, ChargeError> {
        let packages = round.times(self.0, size.0);
        let steps = packages.and_then(|packages| packages.checked_mul(STEPS));
        steps
            .and_then(Self::of_steps)
            .ok_or(ChargeError::QuantityOutOfRange)
    }

    /// The product, where it has no more than 18 places.
    pub(super) fn times(self, factor: Self) -> Result<Self, ChargeError> {
        let (steps, rest) = self.product(factor)?;
        if rest != 0 {
            return Err(ChargeError::NotExact { quantity: self });
        }
        Self::of_steps(steps).ok_or(ChargeError::QuantityOutOfRange)
    }

    /// The product, rounded to so many places (at most nine).
    pub(super) fn times_rounded(
        self,
        factor: Self,
        round: Rounding,
        places: u32,
    ) -> Result<Self, ChargeError> {
        let out_of_range = ChargeError::QuantityOutOfRange;
        let (steps, rest) = self.product(factor)?;
        // What is beyond the steps only matters where it makes a part of something whole.
        let steps = steps.saturating_add(u128::from(rest != 0 && round == Rounding::Up));
        let place = STEPS.checked_div(10_u128.pow(places));
        let times = place.and_then(|place| round.times(steps, place)?.checked_mul(place));
        times.and_then(Self::of_steps).ok_or(out_of_range)
    }

    /// The quotient, where it has no more than 18 places.
    pub(super) fn over(self, divisor: Self) -> Result<Self, ChargeError> {
        // Shortened, a fraction has an end in decimals where its denominator divides a power of 10.
        let shared = gcd(self.0, divisor.0);
        let denominator = divisor.0.checked_div(shared);
        let factor = denominator
            .filter(|denominator| STEPS.checked_rem(*denominator) == Some(0))
            .and_then(|denominator| STEPS.checked_div(denominator))
            .ok_or(ChargeError::NotExact { quantity: self })?;
        let numerator = self.0.checked_div(shared);
        numerator
            .and_then(|numerator| numerator.checked_mul(factor))
            .and_then(Self::of_steps)
            .ok_or(ChargeError::QuantityOutOfRange)
    }

    /// The quotient, rounded to so many places (at most nine).
    pub(super) fn over_rounded(
        self,
        divisor: Self,
        round: Rounding,
        places: u32,
    ) -> Result<Self, ChargeError> {
        let shared = gcd(self.0, divisor.0).max(1);
        let [numerator, denominator] = [self.0, divisor.0].map(|n| n.checked_div(shared));
        let place = STEPS.checked_div(10_u128.pow(places));
        let quotient = numerator.zip(denominator).and_then(|(numerator, divisor)| {
            let whole = numerator.checked_div(divisor)?;
            let rest = numerator.checked_rem(divisor)?;
            let fraction = round.times(rest.checked_mul(10_u128.pow(places))?, divisor)?;
            let places = whole
                .checked_mul(10_u128.pow(places))?
                .checked_add(fraction)?;
            places.checked_mul(place?)
        });
        quotient
            .and_then(Self::of_steps)
            .ok_or(ChargeError::QuantityOutOfRange)
    }

    /// The product in steps, and what is left of one.
    fn product(self, factor: Self) -> Result<(u128, u64), ChargeError> {
        mul_div(self.0, factor.0, STEPS_U64).ok_or(ChargeError::QuantityOutOfRange)
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

/// The largest number that divides both; the other one, where one is zero.
fn gcd(mut a: u128, mut b: u128) -> u128 {
    while let Some(rest) = a.checked_rem(b) {
        (a, b) = (b, rest);
    }
    a
}

/// An amount of so many 10⁻²⁷.
pub(super) fn exact(steps: u128) -> Result<Exact, ChargeError> {
    let steps = i128::try_from(steps).map_err(|_| MoneyError::OutOfRange)?;
    Ok(Exact::new(steps))
}

pub(super) fn beginning(text: &str) -> String {
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
}
