//! The one place that reads the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use billing_core::port::clock::{Advance, Clock, MoveError, MovedDate, SteadyClock, moved};
use billing_core::steady::Steady;
use time::{Duration, OffsetDateTime};

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
        Steady::at(Duration::new(shown.tv_sec, nanos))
    }

    /// Counts from the first look.
    #[cfg(not(target_os = "linux"))]
    fn steady(&self) -> Steady {
        static ORIGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        Steady::at(ORIGIN.elapsed().try_into().unwrap_or(Duration::MAX))
    }
}

/// The date of this deployment: the machine's, moved ahead where somebody did so for a demonstration or
/// a test. Clones show the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeploymentClock {
    /// In microseconds; zero where it was never moved.
    ahead: Arc<AtomicI64>,
}

impl DeploymentClock {
    /// One that is so much behind the machine, and comes up to it: for a past that is lived through.
    pub(crate) fn behind(by: Duration) -> Self {
        let by = i64::try_from(by.whole_microseconds()).unwrap_or(0);
        Self {
            ahead: Arc::new(AtomicI64::new(by.saturating_neg())),
        }
    }

    /// Is so much ahead of the machine from now on. It never goes back.
    pub(crate) fn be_ahead(&self, by: Duration) {
        let by = i64::try_from(by.whole_microseconds()).unwrap_or(i64::MAX);
        self.ahead.fetch_max(by, Ordering::Relaxed);
    }
}

/// The date of a past that is lived through by one process: kept by the clock alone, so that nobody
/// else who opens the same books takes it.
#[async_trait]
impl MovedDate for DeploymentClock {
    async fn ahead(&self) -> Result<Duration, MoveError> {
        Ok(Duration::microseconds(self.ahead.load(Ordering::Relaxed)))
    }

    async fn advance(&self, by: Advance, machine: OffsetDateTime) -> Result<Duration, MoveError> {
        let ahead = moved(self.ahead().await?, by, machine)?;
        self.be_ahead(ahead);
        Ok(ahead)
    }
}

impl Clock for DeploymentClock {
    fn now(&self) -> OffsetDateTime {
        let ahead = self.ahead.load(Ordering::Relaxed);
        SystemClock
            .now()
            .saturating_add(Duration::microseconds(ahead))
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
    fn a_deployments_date_is_moved_ahead_and_never_back() {
        let clock = DeploymentClock::default();
        let other = clock.clone();
        clock.be_ahead(Duration::days(90));
        clock.be_ahead(Duration::days(30));
        assert!(other.now() - SystemClock.now() >= Duration::days(90) - Duration::MINUTE);
    }

    #[test]
    fn the_steady_clock_goes_on() {
        let before = SystemClock.steady();
        while SystemClock.steady() <= before {
            std::hint::spin_loop();
        }
    }
}
