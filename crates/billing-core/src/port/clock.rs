//! Time, from outside.

use std::error::Error;
use std::fmt::Debug;

use async_trait::async_trait;
use thiserror::Error as ThisError;
use time::{Duration, OffsetDateTime};

use crate::steady::Steady;

/// Where the date comes from: what stands in records, and what the calendar cuts. It may be set at
/// any time, so nothing that must last so long goes by it. Rules take instants as arguments; only the
/// shell asks a clock.
pub trait Clock: Send + Sync + Debug {
    /// The present instant, in UTC.
    fn now(&self) -> OffsetDateTime;
}

/// Where elapsed time comes from: how old a lease, a hold, a confirmation or a silence is.
pub trait SteadyClock: Send + Sync + Debug {
    /// The present instant. Never before one that was shown earlier.
    fn steady(&self) -> Steady;
}

/// How far a deployment's date is ahead of the machine's. It is moved for demonstrations and tests, so
/// that a year of a customer's life passes in seconds; everybody who opens the same books takes it.
#[async_trait]
pub trait MovedDate: Send + Sync + Debug {
    /// By how much it is ahead; zero where it was never moved.
    ///
    /// # Errors
    /// [`MoveError::Unavailable`].
    async fn ahead(&self) -> Result<Duration, MoveError>;

    /// Moves it while the machine's date is `machine`; never back. Answers with by how much it is
    /// ahead then.
    ///
    /// # Errors
    /// [`MoveError`]; nothing has moved then.
    async fn advance(&self, by: Advance, machine: OffsetDateTime) -> Result<Duration, MoveError>;
}

/// How far the date is to be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advance {
    /// To an instant: once, however often it is said.
    To(OffsetDateTime),
    /// By so much, each time that it is said.
    By(Duration),
}

/// Why the date was not moved.
#[derive(Debug, ThisError)]
pub enum MoveError {
    /// It is later already.
    #[error("the date is {now} already; it can only be moved forward")]
    Backwards {
        /// What it is.
        now: OffsetDateTime,
    },
    /// It is further than dates are reckoned with.
    #[error("{to} is too far ahead: the date can be moved to 50 years after the machine's at most")]
    TooFar {
        /// What was asked for.
        to: OffsetDateTime,
    },
    /// The store cannot be reached.
    #[error("the store is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

/// The furthest that a date may be ahead of the machine's.
pub const FURTHEST: Duration = Duration::days(50 * 366);

/// By how much a date that is `ahead` is so once it is moved.
///
/// # Errors
/// [`MoveError::Backwards`], [`MoveError::TooFar`].
pub fn moved(ahead: Duration, by: Advance, machine: OffsetDateTime) -> Result<Duration, MoveError> {
    let now = machine.saturating_add(ahead);
    let to = match by {
        Advance::To(to) => to,
        Advance::By(by) => now.saturating_add(by),
    };
    if to < now {
        return Err(MoveError::Backwards { now });
    }
    let nanos = to
        .unix_timestamp_nanos()
        .saturating_sub(machine.unix_timestamp_nanos());
    let moved = i64::try_from(nanos).map(Duration::nanoseconds);
    let moved = moved.ok().filter(|moved| *moved <= FURTHEST);
    moved.ok_or(MoveError::TooFar { to })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const MACHINE: OffsetDateTime = datetime!(2026-11-23 12:00 UTC);

    #[test]
    fn the_date_is_only_moved_forward_and_not_beyond_reckoning() {
        let (day, none) = (Duration::DAY, Duration::ZERO);
        let to = |ahead, to| moved(ahead, Advance::To(to), MACHINE);
        assert_eq!(to(none, MACHINE + day).unwrap(), day);
        assert_eq!(to(day, MACHINE + day).unwrap(), day);
        assert_eq!(moved(day, Advance::By(day), MACHINE).unwrap(), day * 2);
        let back = to(day, MACHINE + day - Duration::SECOND);
        let Err(MoveError::Backwards { now }) = back else {
            panic!("{back:?}");
        };
        assert_eq!(now, MACHINE + day);
        let far = MACHINE + FURTHEST + Duration::SECOND;
        assert!(matches!(to(none, far), Err(MoveError::TooFar { to }) if to == far));
    }
}
