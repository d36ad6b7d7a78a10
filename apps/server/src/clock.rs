//! The one place that reads the time.

use std::time::Instant;

use billing_core::port::clock::{Clock, SteadyClock};
use billing_core::steady::Steady;
use time::OffsetDateTime;

/// The machine's clocks. The date is to the microsecond: as fine as what is stored, so that an
/// instant reads back as it was shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the clock that all others take"
        )]
        let now = OffsetDateTime::now_utc();
        let nanosecond = now.nanosecond();
        now.replace_nanosecond(nanosecond - nanosecond % 1_000)
            .unwrap_or(now)
    }
}

impl SteadyClock for SystemClock {
    /// Counts from the start of the machine. `Instant` would stand still while it is suspended
    /// (`CLOCK_MONOTONIC`), and then what others have taken back meanwhile would look fresh.
    #[cfg(target_os = "linux")]
    fn steady(&self) -> Steady {
        let shown = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let nanos = i32::try_from(shown.tv_nsec).unwrap_or(0);
        Steady::at(time::Duration::new(shown.tv_sec, nanos))
    }

    /// Counts from the first look.
    #[cfg(not(target_os = "linux"))]
    fn steady(&self) -> Steady {
        static ORIGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        Steady::at(ORIGIN.elapsed().try_into().unwrap_or(time::Duration::MAX))
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

    #[test]
    fn the_steady_clock_goes_on() {
        let before = SystemClock.steady();
        while SystemClock.steady() <= before {
            std::hint::spin_loop();
        }
    }
}
