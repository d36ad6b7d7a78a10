//! Time, from outside.

use std::fmt::Debug;

use time::OffsetDateTime;

/// Where the time comes from. Rules take instants as arguments; only the shell asks a clock.
pub trait Clock: Send + Sync + Debug {
    /// The present instant, in UTC.
    fn now(&self) -> OffsetDateTime;
}
