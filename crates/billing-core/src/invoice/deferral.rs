//! Fees that were billed in advance: earned as time passes, by the second.

use time::OffsetDateTime;

use super::assembly::Draft;
use super::line::Component;
use crate::ledger::{Entry, LedgerCode};
use crate::money::{MoneyError, Nanos};
use crate::period::Period;

/// What of a fee is not earned yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deferral {
    /// How much.
    pub left: Nanos,
    /// Up to when it was earned.
    pub from: OffsetDateTime,
    /// When all of it will be.
    pub until: OffsetDateTime,
}

impl Deferral {
    /// A fee of which nothing is earned.
    pub const fn of(fee: Nanos, period: Period) -> Self {
        Self {
            left: fee,
            from: period.start,
            until: period.end,
        }
    }

    /// What is earned up to an instant, and what is left then. At the period's end nothing is left,
    /// so that all parts together are the fee.
    pub fn earned(self, at: OffsetDateTime) -> (Nanos, Self) {
        let at = at.max(self.from);
        let rest = Self { from: at, ..self };
        if at >= self.until {
            let nothing = Self {
                left: Nanos::ZERO,
                ..rest
            };
            return (self.left, nothing);
        }
        let passed = micros(self.from, at);
        let all = micros(self.from, self.until);
        let earned = i128::from(self.left.get())
            .checked_mul(passed)
            .and_then(|product| product.checked_div(all));
        let earned = earned.and_then(|earned| i64::try_from(earned).ok());
        let earned = Nanos::new(earned.unwrap_or(0));
        let left = self.left.minus(earned).unwrap_or(Nanos::ZERO);
        (earned, Self { left, ..rest })
    }

    /// Takes back what is not earned, as far as there is as much; says how much that is.
    pub fn taken_back(self, amount: Nanos) -> (Nanos, Self) {
        let taken = amount.max(Nanos::ZERO).min(self.left.max(Nanos::ZERO));
        let left = self.left.minus(taken).unwrap_or(Nanos::ZERO);
        (taken, Self { left, ..self })
    }
}

impl Draft {
    /// What of its lines is not earned at once, by the line's place.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn deferrals(&self) -> Result<Vec<(usize, Deferral)>, MoneyError> {
        let mut deferrals = Vec::new();
        for (place, line) in self.lines.iter().enumerate() {
            let is_fee = matches!(
                line.item.component,
                Component::PlanFee | Component::AddOn | Component::ProrationCharge
            );
            if let Some(period) = line.item.period.filter(|_| is_fee) {
                let fee = line.income()?.nanos(self.head.currency)?;
                deferrals.push((place, Deferral::of(fee, period)));
            }
        }
        Ok(deferrals)
    }
}

/// The microseconds from one instant to another; instants are kept to that.
fn micros(from: OffsetDateTime, to: OffsetDateTime) -> i128 {
    let nanos = to
        .unix_timestamp_nanos()
        .saturating_sub(from.unix_timestamp_nanos());
    nanos.saturating_div(1_000)
}

/// The postings of what a fee has earned.
///
/// # Errors
/// [`MoneyError::OutOfRange`].
pub fn recognition(earned: Nanos) -> Result<Vec<Entry>, MoneyError> {
    let leg = |code, amount| Entry {
        code,
        amount,
        lot: None,
    };
    Ok(vec![
        leg(LedgerCode::DeferredSubscription, earned),
        leg(LedgerCode::RevenueSubscription, earned.negated()?),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::Duration;

    const EPOCH: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn deferral(fee: i64, seconds: i64) -> Deferral {
        let period = Period {
            start: EPOCH,
            end: EPOCH.saturating_add(Duration::seconds(seconds)),
        };
        Deferral::of(Nanos::new(fee), period)
    }

    #[test]
    fn half_of_the_time_earns_half_of_the_fee() {
        let (earned, rest) = deferral(101, 60).earned(EPOCH.saturating_add(Duration::seconds(30)));
        assert_eq!((earned.get(), rest.left.get()), (50, 51));
        let (before, same) = rest.earned(EPOCH);
        assert_eq!((before, same), (Nanos::ZERO, rest));
        let (taken, rest) = rest.taken_back(Nanos::new(80));
        assert_eq!((taken.get(), rest.left), (51, Nanos::ZERO));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn all_parts_together_are_the_fee(
            fee in 0..i64::MAX,
            length in 0..40_000_000_i64,
            mut instants in proptest::collection::vec(-1000..50_000_000_i64, 0..8),
        ) {
            instants.sort_unstable();
            let mut left = deferral(fee, length);
            let mut sum = 0_i64;
            for at in instants.into_iter().chain([length]) {
                let (earned, rest) = left.earned(EPOCH.saturating_add(Duration::seconds(at)));
                prop_assert!(!earned.is_negative());
                sum = sum.checked_add(earned.get()).unwrap();
                left = rest;
            }
            prop_assert_eq!((sum, left.left), (fee, Nanos::ZERO));
        }
    }
}
