//! Proration: what a part of a period costs (`reference/billing-rules.md`, 2.3).

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::budget::Amount;
use crate::charge_model::ModelError;
use crate::charge_model::minor::prorated;
use crate::money::MoneyError;
use crate::period::Period;
use crate::zone::Zone;

/// By what a period is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProrationUnit {
    /// By the second.
    #[default]
    Second,
    /// By local days: the day of a change belongs to what comes after it.
    Day,
    /// By local days of months that all have thirty.
    Day30,
}

/// A part of a whole, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    part: u64,
    whole: u64,
}

impl Share {
    /// So much of so much. A part is never more than the whole; of nothing it is nothing.
    pub const fn new(part: u64, whole: u64) -> Self {
        let part = if part > whole { whole } else { part };
        Self { part, whole }
    }

    /// What is left of a period at an instant: all of it before its start, nothing after its end.
    pub fn left(period: Period, at: OffsetDateTime, by: ProrationUnit, zone: &Zone) -> Self {
        Self::of_part(
            Period {
                start: at.clamp(period.start, period.end),
                end: period.end,
            },
            period,
            by,
            zone,
        )
    }

    /// What a part is of a whole period.
    pub fn of_part(part: Period, whole: Period, by: ProrationUnit, zone: &Zone) -> Self {
        let length = |period: Period| {
            let length = match by {
                ProrationUnit::Second => period.seconds(),
                ProrationUnit::Day => zone.days_between(period.start, period.end),
                ProrationUnit::Day30 => days_30(period, zone),
            };
            u64::try_from(length).unwrap_or(0)
        };
        Self::new(length(part), length(whole))
    }

    /// What is left of budgets, each of which gives so much and had so much used: the least of them;
    /// all where there is none.
    pub fn least_left(budgets: impl IntoIterator<Item = (Amount, Amount)>) -> Self {
        let left = |(gives, used): (Amount, Amount)| Self::new(gives.less(used).get(), gives.get());
        let shares = budgets.into_iter().map(left);
        let least = |a: Self, b: Self| {
            let [of_a, of_b] = [(a.part, b.whole), (b.part, a.whole)]
                .map(|(part, whole)| u128::from(part).saturating_mul(u128::from(whole)));
            if of_b < of_a { b } else { a }
        };
        shares.fold(Self::new(1, 1), least)
    }

    /// The part, in the unit of the whole.
    pub const fn part(self) -> u64 {
        self.part
    }

    /// The whole.
    pub const fn whole(self) -> u64 {
        self.whole
    }

    /// This much of a price in minor units, rounded half away from zero.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn of(self, price: i64) -> Result<i64, MoneyError> {
        match prorated(price, self.part, self.whole) {
            Ok(part) => Ok(part),
            Err(ModelError::NoSize(_)) => Ok(0),
            Err(_) => Err(MoneyError::OutOfRange),
        }
    }
}

/// The most that may be credited of a charge, in minor units: what was paid of it and not credited
/// yet.
pub fn capped_credit(potential: i64, paid: i64, credited: i64) -> i64 {
    potential.min(paid.saturating_sub(credited)).max(0)
}

fn days_30(period: Period, zone: &Zone) -> i64 {
    let [start, end] = [period.start, period.end].map(|at| {
        let date = zone.local(at).date();
        let months = i64::from(date.year())
            .saturating_mul(12)
            .saturating_add(i64::from(u8::from(date.month())));
        months
            .saturating_mul(30)
            .saturating_add(i64::from(date.day().min(30)))
    });
    end.saturating_sub(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_several_budgets_is_the_least() {
        let left = |budgets: &[(u64, u64)]| {
            let budgets = budgets.iter();
            Share::least_left(
                budgets.map(|(gives, used)| (Amount::new(*gives), Amount::new(*used))),
            )
        };
        assert_eq!(left(&[]), Share::new(1, 1));
        assert_eq!(left(&[(100, 40), (10, 9)]), Share::new(1, 10));
        assert_eq!(left(&[(100, 140), (10, 9)]), Share::new(0, 100));
        let most = u64::MAX;
        assert_eq!(left(&[(most, 1), (most, 2)]), Share::new(most - 2, most));
    }
}
