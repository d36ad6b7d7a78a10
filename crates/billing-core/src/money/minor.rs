//! Minor units: what invoices and payment gateways count in.

use serde::{Deserialize, Serialize};

use super::{Currency, Money, MoneyError, NANOS_PER_UNIT, Nanos, decimal_text};

/// A signed amount in minor units of a currency that the context names: cents, fen, whole yen.
///
/// ```
/// use billing_core::money::{Currency, Minor, Money, Nanos};
/// let due = Minor::rounded(Money::new(Nanos::parse("12.345")?, Currency::USD));
/// assert_eq!(due, Minor::new(1235));
/// assert_eq!(due.text(Currency::USD), "12.35");
/// # Ok::<(), billing_core::money::MoneyError>(())
/// ```
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Minor(i64);

impl Minor {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount of so many minor units.
    pub const fn new(units: i64) -> Self {
        Self(units)
    }

    /// An exact amount, rounded half away from zero: the one rounding of an invoice line.
    pub fn rounded(money: Money) -> Self {
        Self(money.to_minor())
    }

    /// How many whole minor units an exact amount has; what is beyond them is left out.
    pub fn within(money: Money) -> Self {
        let step = step(money.currency());
        Self(money.nanos().get().checked_div(step).unwrap_or(0))
    }

    /// The number of minor units.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The same amount in nanos.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] when it does not fit.
    pub fn nanos(self, currency: Currency) -> Result<Nanos, MoneyError> {
        let nanos = self.0.checked_mul(step(currency));
        nanos.map(Nanos::new).ok_or(MoneyError::OutOfRange)
    }

    /// The sum.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] when it does not fit.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        let sum = self.0.checked_add(other.0);
        sum.map(Self).ok_or(MoneyError::OutOfRange)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] when it does not fit.
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        let difference = self.0.checked_sub(other.0);
        difference.map(Self).ok_or(MoneyError::OutOfRange)
    }

    /// The same size with the other sign.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] for the one amount that has no opposite.
    pub fn negated(self) -> Result<Self, MoneyError> {
        Self::ZERO.minus(self)
    }

    /// The sum of several.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] when it does not fit.
    pub fn total(amounts: impl IntoIterator<Item = Self>) -> Result<Self, MoneyError> {
        amounts.into_iter().try_fold(Self::ZERO, Self::plus)
    }

    /// Whether it is below zero.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Whether it is exactly nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Major units with all decimal places of the currency: `12.30`, `1230` for yen.
    pub fn text(self, currency: Currency) -> String {
        let places = currency.places();
        let all = usize::try_from(places).unwrap_or(0);
        decimal_text(i128::from(self.0), places, all)
    }
}

/// How many nanos one minor unit has.
fn step(currency: Currency) -> i64 {
    let units = 10_i64.checked_pow(currency.places());
    let step = units.and_then(|units| NANOS_PER_UNIT.checked_div(units));
    step.unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_units_are_those_of_the_currency() {
        let nanos = Nanos::parse("12.3456").unwrap();
        for (code, rounded, within, text) in [
            ("USD", 1235, 1234, "12.35"),
            ("JPY", 12, 12, "12"),
            ("KWD", 12_346, 12_345, "12.346"),
        ] {
            let money = Money::new(nanos, Currency::parse(code).unwrap());
            let minor = Minor::rounded(money);
            assert_eq!(minor, Minor::new(rounded));
            assert_eq!(Minor::within(money), Minor::new(within));
            assert_eq!(minor.text(money.currency()), text);
            let exact = minor.nanos(money.currency()).unwrap();
            assert_eq!(Minor::rounded(Money::new(exact, money.currency())), minor);
        }
        assert_eq!(Minor::new(-5).text(Currency::USD), "-0.05");
        assert!(Minor::new(i64::MAX).nanos(Currency::USD).is_err());
    }
}
