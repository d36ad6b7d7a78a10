//! Fees that were billed in advance: earned as time passes, by the second, and booked by the day of UTC.

use time::{Duration, OffsetDateTime, Time, UtcOffset};

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

    /// What is to be booked at an instant, and what is left then: what was earned up to the last
    /// midnight of UTC, or all where its time is over. `None` where that is nothing more than before.
    pub fn booked(self, now: OffsetDateTime) -> Option<(Nanos, Self)> {
        self.next_at().filter(|next| *next <= now)?;
        let upto = if self.until <= now {
            self.until
        } else {
            midnight(now)
        };
        Some(self.earned(upto))
    }

    /// From when on something is to be booked: the next midnight of UTC, or when its time is over.
    /// `None` where nothing is left.
    pub fn next_at(self) -> Option<OffsetDateTime> {
        let tomorrow = midnight(self.from).saturating_add(Duration::DAY);
        (self.left > Nanos::ZERO).then(|| tomorrow.min(self.until.max(self.from)))
    }

    /// Takes back what is not earned, as far as there is as much; says how much that is.
    pub fn taken_back(self, amount: Nanos) -> (Nanos, Self) {
        let taken = amount.max(Nanos::ZERO).min(self.left.max(Nanos::ZERO));
        let left = self.left.minus(taken).unwrap_or(Nanos::ZERO);
        (taken, Self { left, ..self })
    }

    /// The same where its time ends with an instant: what is left is earned by then.
    #[must_use]
    pub fn ending(self, at: OffsetDateTime) -> Self {
        let until = at.clamp(self.from, self.until.max(self.from));
        Self { until, ..self }
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

/// The midnight of UTC that an instant follows, or is.
fn midnight(at: OffsetDateTime) -> OffsetDateTime {
    at.to_offset(UtcOffset::UTC).replace_time(Time::MIDNIGHT)
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

    #[test]
    fn a_day_is_booked_when_it_is_over_and_once() {
        let hours = |hours| EPOCH.saturating_add(Duration::hours(hours));
        // From noon of the first day to noon of the third.
        let fee = Deferral {
            left: Nanos::new(480),
            from: hours(12),
            until: hours(60),
        };
        assert_eq!(
            (fee.booked(hours(23)), fee.next_at()),
            (None, Some(hours(24)))
        );
        let (earned, rest) = fee.booked(hours(30)).unwrap();
        assert_eq!((earned.get(), rest.from), (120, hours(24)));
        assert_eq!(
            (rest.booked(hours(47)), rest.next_at()),
            (None, Some(hours(48)))
        );
        let (earned, rest) = rest.booked(hours(48)).unwrap();
        assert_eq!((earned.get(), rest.next_at()), (240, Some(hours(60))));
        let (earned, rest) = rest.booked(hours(60)).unwrap();
        assert_eq!(
            (earned.get(), rest.left, rest.next_at()),
            (120, Nanos::ZERO, None)
        );
        assert_eq!(rest.booked(hours(1_000)), None);
    }

    #[test]
    fn what_ends_early_is_earned_by_then_and_never_backwards() {
        let fee = deferral(100, 60);
        let at = |seconds| EPOCH.saturating_add(Duration::seconds(seconds));
        let (_, started) = fee.earned(at(30));
        assert_eq!(started.ending(at(40)).until, at(40));
        assert_eq!(started.ending(at(10)).until, at(30));
        assert_eq!(started.ending(at(90)).until, at(60));
        let (earned, rest) = started.ending(at(10)).booked(at(30)).unwrap();
        assert_eq!((earned.get(), rest.left), (50, Nanos::ZERO));
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

        #[test]
        fn whenever_it_is_booked_it_is_booked_up_to_a_midnight_and_all_of_it_in_the_end(
            fee in 1..i64::MAX,
            from in 0..200_000_i64,
            length in 0..4_000_000_i64,
            mut runs in proptest::collection::vec(0..5_000_000_i64, 0..8),
        ) {
            runs.sort_unstable();
            let at = |seconds: i64| EPOCH.saturating_add(Duration::seconds(seconds));
            let end = from.checked_add(length).unwrap();
            let mut left = Deferral { left: Nanos::new(fee), from: at(from), until: at(end) };
            let mut sum = 0_i64;
            for now in runs.into_iter().chain([end]) {
                let due = left.next_at().is_some_and(|next| next <= at(now));
                let booked = left.booked(at(now));
                prop_assert_eq!(booked.is_some(), due);
                let Some((earned, rest)) = booked else { continue };
                prop_assert!(rest.from <= at(now) && rest.from > left.from || length == 0);
                prop_assert!(rest.from.time() == Time::MIDNIGHT || rest.from == rest.until);
                sum = sum.checked_add(earned.get()).unwrap();
                left = rest;
                // Asked again, it books nothing more.
                prop_assert_eq!(left.booked(at(now)), None);
            }
            prop_assert_eq!((sum, left.left), (fee, Nanos::ZERO));
        }
    }
}
