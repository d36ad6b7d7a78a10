//! Money as integers: nanos of a currency, and the two places where they are rounded.
//!
//! Stored and compared money is [`Nanos`] (10⁻⁹ of the currency's major unit). What a rate times a
//! quantity gives is [`Exact`] (10⁻²⁷), which is never stored as a balance: it becomes nanos once,
//! when a call settles ([`Exact::settle`]), and nanos become [`Minor`] units once, on an invoice line
//! ([`Money::to_minor`]).

mod currency;
mod minor;

use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

pub use currency::Currency;
pub use minor::Minor;

/// How many nanos make one major unit (one dollar, one yuan).
pub const NANOS_PER_UNIT: i64 = 1_000_000_000;
/// Decimal places of [`Exact`].
const EXACT_PLACES: u32 = 27;
/// How many [`Exact`] steps make one nano (10²⁷ / 10⁹).
const EXACT_PER_NANO: i128 = 1_000_000_000_000_000_000;

/// Why an amount could not be made or combined.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MoneyError {
    /// The result does not fit (about ±9.2 billion units of the currency).
    #[error("amount is out of range")]
    OutOfRange,
    /// The text is not a decimal amount with at most nine places.
    #[error("\"{0}\" is not a decimal amount with at most nine places")]
    Malformed(String),
    /// The text is not a decimal amount with at most 27 places.
    #[error("\"{0}\" is not a decimal amount with at most 27 places")]
    NotExact(String),
    /// Two currencies met in one sum.
    #[error("currencies differ: {0} and {1}")]
    CurrencyMismatch(Currency, Currency),
    /// The code is not three upper-case letters that ISO 4217 lists.
    #[error("\"{0}\" is not an ISO 4217 currency code")]
    UnknownCurrency(String),
}

/// A signed amount of money in nanos, in a currency that the context names.
///
/// ```
/// use billing_core::money::Nanos;
/// let a = Nanos::parse("0.00321")?;
/// assert_eq!(a.get(), 3_210_000);
/// assert_eq!(a.to_string(), "0.00321");
/// # Ok::<(), billing_core::money::MoneyError>(())
/// ```
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Nanos(i64);

impl Nanos {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount that can be kept.
    pub const MAX: Self = Self(i64::MAX);

    /// An amount of so many nanos.
    pub const fn new(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The number of nanos.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Reads a decimal number of major units with at most nine places, such as `12.5`.
    ///
    /// # Errors
    /// [`MoneyError::Malformed`] for other text, [`MoneyError::OutOfRange`] for too large a number.
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        let malformed = || MoneyError::Malformed(text.chars().take(40).collect());
        let plain = text
            .bytes()
            .all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
        let decimal: Decimal = if plain {
            Decimal::from_str_exact(text).map_err(|_| malformed())?
        } else {
            return Err(malformed());
        };
        let scaled = decimal
            .checked_mul(Decimal::from(NANOS_PER_UNIT))
            .ok_or(MoneyError::OutOfRange)?
            .normalize();
        if scaled.scale() != 0 {
            return Err(malformed());
        }
        i64::try_from(scaled)
            .map(Self)
            .map_err(|_| MoneyError::OutOfRange)
    }

    /// The sum.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] when it does not fit.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.0
            .checked_add(other.0)
            .map(Self)
            .ok_or(MoneyError::OutOfRange)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] when it does not fit.
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        self.0
            .checked_sub(other.0)
            .map(Self)
            .ok_or(MoneyError::OutOfRange)
    }

    /// The same size with the other sign.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] for the one amount that has no opposite.
    pub fn negated(self) -> Result<Self, MoneyError> {
        self.0.checked_neg().map(Self).ok_or(MoneyError::OutOfRange)
    }

    /// Whether it is below zero.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Whether it is exactly nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// A sum over many accounts, too large for one balance.
    pub fn total(amounts: impl IntoIterator<Item = Self>) -> i128 {
        amounts.into_iter().map(|a| i128::from(a.0)).sum()
    }
}

impl fmt::Display for Nanos {
    /// Exact decimal major units, with at least two places and no further trailing zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&decimal_text(i128::from(self.0), 9, 2))
    }
}

/// An exact amount in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    nanos: Nanos,
    currency: Currency,
}

impl Money {
    /// An amount in a currency.
    pub const fn new(nanos: Nanos, currency: Currency) -> Self {
        Self { nanos, currency }
    }

    /// The amount.
    pub const fn nanos(self) -> Nanos {
        self.nanos
    }

    /// The currency.
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// The sum of two amounts of one currency.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`], [`MoneyError::OutOfRange`].
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::CurrencyMismatch(self.currency, other.currency));
        }
        Ok(Self {
            nanos: self.nanos.plus(other.nanos)?,
            currency: self.currency,
        })
    }

    /// So many minor units (cents).
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] when they do not fit.
    pub fn of_minor(minor: i64, currency: Currency) -> Result<Self, MoneyError> {
        let nanos = minor.checked_mul(nanos_per_minor(currency));
        let nanos = nanos.map(Nanos).ok_or(MoneyError::OutOfRange)?;
        Ok(Self { nanos, currency })
    }

    /// Minor units (cents), rounded half away from zero; for invoice lines and payment gateways.
    pub fn to_minor(self) -> i64 {
        let step = nanos_per_minor(self.currency);
        let half = step.checked_div(2).unwrap_or(0);
        let n = self.nanos.get();
        let shifted = if n < 0 {
            n.saturating_sub(half)
        } else {
            n.saturating_add(half)
        };
        shifted.checked_div(step).unwrap_or(0)
    }
}

fn nanos_per_minor(currency: Currency) -> i64 {
    let places = 9_u32.saturating_sub(currency.places());
    10_i64.checked_pow(places).unwrap_or(1)
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.nanos, self.currency)
    }
}

/// An unrounded amount: 10⁻²⁷ of the major unit. Made by rating, gone at settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Exact(i128);

impl Exact {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount of so many 10⁻²⁷ of the major unit.
    pub const fn new(steps: i128) -> Self {
        Self(steps)
    }

    /// The number of 10⁻²⁷ steps.
    pub const fn get(self) -> i128 {
        self.0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] when it does not fit.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.0
            .checked_add(other.0)
            .map(Self)
            .ok_or(MoneyError::OutOfRange)
    }

    /// An amount that is already in nanos.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] when it does not fit.
    pub fn of(nanos: Nanos) -> Result<Self, MoneyError> {
        i128::from(nanos.0)
            .checked_mul(EXACT_PER_NANO)
            .map(Self)
            .ok_or(MoneyError::OutOfRange)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] when it does not fit.
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        self.0
            .checked_sub(other.0)
            .map(Self)
            .ok_or(MoneyError::OutOfRange)
    }

    /// The one place where a call is rounded: half to even, to nanos.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] when it does not fit.
    pub fn settle(self) -> Result<Nanos, MoneyError> {
        let floor = self
            .0
            .checked_div_euclid(EXACT_PER_NANO)
            .ok_or(MoneyError::OutOfRange)?;
        let rest = self
            .0
            .checked_rem_euclid(EXACT_PER_NANO)
            .ok_or(MoneyError::OutOfRange)?;
        let twice = rest.saturating_mul(2);
        let odd = floor.checked_rem_euclid(2) == Some(1);
        let up = twice > EXACT_PER_NANO || (twice == EXACT_PER_NANO && odd);
        let nanos = floor.saturating_add(i128::from(up));
        i64::try_from(nanos)
            .map(Nanos)
            .map_err(|_| MoneyError::OutOfRange)
    }

    /// Nanos, rounded up: what must be held so that the exact amount fits.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] when it does not fit.
    pub fn ceiling(self) -> Result<Nanos, MoneyError> {
        let floor = self
            .0
            .checked_div_euclid(EXACT_PER_NANO)
            .ok_or(MoneyError::OutOfRange)?;
        let more = self.0.checked_rem_euclid(EXACT_PER_NANO) != Some(0);
        let nanos = floor.saturating_add(i128::from(more));
        i64::try_from(nanos)
            .map(Nanos)
            .map_err(|_| MoneyError::OutOfRange)
    }
}

impl Sum for Exact {
    /// Saturating: a sum that would not fit is refused by [`Exact::settle`].
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        Self(iter.fold(0_i128, |a, b| a.saturating_add(b.0)))
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&decimal_text(self.0, EXACT_PLACES, 0))
    }
}

impl FromStr for Exact {
    type Err = MoneyError;
    /// Reads a decimal number of major units with at most 27 places.
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        decimal_steps(text, EXACT_PLACES)
            .map(Self)
            .ok_or_else(|| MoneyError::NotExact(text.chars().take(40).collect()))
    }
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Plain decimal text as a number of 10^-`places`; `None` where it is no such text, has more places
/// that are not zero, or is too large.
pub(crate) fn decimal_steps(text: &str, places: u32) -> Option<i128> {
    let (negative, size) = match text.strip_prefix('-') {
        Some(size) => (true, size),
        None => (false, text),
    };
    let (whole, fraction) = match size.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (size, ""),
    };
    let fraction_digits = fraction.trim_end_matches('0');
    let missing = usize::try_from(places)
        .ok()?
        .checked_sub(fraction_digits.len())?;
    let plain = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) {
        return None;
    }
    let mut steps = 0_i128;
    for digit in whole.bytes().chain(fraction_digits.bytes()) {
        let digit = i128::from(digit.checked_sub(b'0')?);
        steps = steps.checked_mul(10)?;
        // Counted downwards where it is negative, for the number that has no opposite.
        steps = if negative {
            steps.checked_sub(digit)?
        } else {
            steps.checked_add(digit)?
        };
    }
    10_i128
        .checked_pow(u32::try_from(missing).ok()?)?
        .checked_mul(steps)
}

/// `value` × 10^-`places` as plain decimal text with at least `least` places.
pub(crate) fn decimal_text(value: i128, places: u32, least: usize) -> String {
    let width = usize::try_from(places).unwrap_or(0);
    let digits = match u64::try_from(value.unsigned_abs()) {
        // Dividing 64 bits is several times as fast, and nearly every amount fits.
        Ok(value) => value.to_string(),
        Err(_) => value.unsigned_abs().to_string(),
    };
    let (whole, fraction) = digits.split_at(digits.len().saturating_sub(width));
    let before = width.saturating_sub(fraction.len());
    // Zeros at the end of the fraction say nothing.
    let last = fraction.bytes().rposition(|digit| digit != b'0');
    let said = last.map_or(0, |last| before.saturating_add(last).saturating_add(1));
    let kept = said.max(least).min(width);
    let mut text = String::with_capacity(digits.len().saturating_add(width).saturating_add(3));
    if value < 0 {
        text.push('-');
    }
    text.push_str(if whole.is_empty() { "0" } else { whole });
    if kept > 0 {
        text.push('.');
        text.extend(std::iter::repeat_n('0', before.min(kept)));
        let fraction = fraction.get(..kept.saturating_sub(before));
        text.push_str(fraction.unwrap_or_default());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settling_rounds_half_to_even() {
        let half = EXACT_PER_NANO / 2;
        for (steps, nanos) in [
            (half, 0),
            (half + 1, 1),
            (EXACT_PER_NANO + half, 2),
            (2 * EXACT_PER_NANO + half, 2),
            (-half, 0),
            (-EXACT_PER_NANO - half, -2),
        ] {
            assert_eq!(Exact::new(steps).settle(), Ok(Nanos::new(nanos)), "{steps}");
        }
        assert_eq!(Exact::new(1).ceiling(), Ok(Nanos::new(1)));
    }

    #[test]
    fn text_has_the_digits_that_are_needed_and_no_others() {
        for (value, places, least, text) in [
            (0, 9, 2, "0.00"),
            (5, 9, 2, "0.000000005"),
            (-50_000_000, 9, 2, "-0.05"),
            (1_000_000_000, 9, 2, "1.00"),
            (-12_345_678_901, 9, 2, "-12.345678901"),
            (120, 2, 0, "1.2"),
            (100, 2, 0, "1"),
            (7, 0, 0, "7"),
            (i128::MIN, 3, 2, "-170141183460469231731687303715884105.728"),
        ] {
            assert_eq!(decimal_text(value, places, least), text);
        }
    }

    #[test]
    fn text_is_exact_both_ways() {
        for text in [
            "0.00",
            "1.50",
            "-0.000000001",
            "9223372036.854775807",
            "0.00321",
        ] {
            assert_eq!(Nanos::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Nanos::parse("7").unwrap().to_string(), "7.00");
    }

    #[test]
    fn exact_text_keeps_all_27_places() {
        for text in [
            "0",
            "-0.000000000000000000000000001",
            "170141183460.469231731687303715884105727",
            "-170141183460.469231731687303715884105728",
        ] {
            assert_eq!(text.parse::<Exact>().unwrap().to_string(), text);
        }
        assert_eq!("1.500".parse(), Ok(Exact::new(15 * 10_i128.pow(26))));
        for text in ["", "-", ".5", "5.", "+1", "1e3", "1.2.3", "170141183461"] {
            assert!(text.parse::<Exact>().is_err(), "{text:?}");
        }
        assert!("0.0000000000000000000000000001".parse::<Exact>().is_err());
    }

    #[test]
    fn text_that_is_not_an_amount_is_refused() {
        for text in [
            "",
            "x",
            "1e3",
            "0.0000000001",
            "1,5",
            "+1",
            " 1",
            "--1",
            "NaN",
        ] {
            assert!(
                matches!(Nanos::parse(text), Err(MoneyError::Malformed(_))),
                "{text:?}"
            );
        }
        assert_eq!(
            Nanos::parse("9223372036.854775808"),
            Err(MoneyError::OutOfRange)
        );
    }
}
