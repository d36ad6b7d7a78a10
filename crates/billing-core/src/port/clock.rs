//! Time, from outside.

use std::fmt::Debug;

use time::OffsetDateTime;

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
