//! The one place that reads the time.

use std::time::Instant;

use billing_core::port::clock::Clock;
use time::OffsetDateTime;

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the clock that all others take"
        )]
        OffsetDateTime::now_utc()
    }
}

/// Milliseconds since an instant, as far as a record needs them.
pub(crate) fn millis_since(start: Instant) -> u32 {
    u32::try_from(start.elapsed().as_millis()).unwrap_or(u32::MAX)
}
