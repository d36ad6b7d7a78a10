//! The one place that reads the time.

use std::time::Instant;

use billing_core::port::clock::Clock;
use time::OffsetDateTime;

/// The machine's clock, to the microsecond: as fine as what is stored, so that an instant reads
/// back as it was shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the clock that all others take"
        )]
        let now = OffsetDateTime::now_utc();
        let finer = i64::from(now.nanosecond() % 1_000);
        now.saturating_sub(time::Duration::nanoseconds(finer))
    }
}

/// Milliseconds since an instant, as far as a record needs them.
pub(crate) fn millis_since(start: Instant) -> u32 {
    u32::try_from(start.elapsed().as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_no_finer_than_what_is_stored() {
        assert_eq!(SystemClock.now().nanosecond() % 1_000, 0);
    }
}
