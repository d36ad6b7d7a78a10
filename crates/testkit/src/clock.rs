//! Clocks that stand still until they are told otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use billing_core::port::clock::{Clock, SteadyClock};
use billing_core::steady::Steady;
use time::{Duration, OffsetDateTime};

/// Time by hand: the wall clock, and the steady clock beside it. Clones show the same time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Shown>);

/// What is shown, in microseconds.
#[derive(Debug)]
struct Shown {
    wall: AtomicI64,
    steady: AtomicI64,
}

impl ManualClock {
    /// A clock that shows an instant, to the microsecond.
    pub fn at(now: OffsetDateTime) -> Self {
        Self(Arc::new(Shown {
            wall: AtomicI64::new(micros(now)),
            steady: AtomicI64::new(0),
        }))
    }

    /// Lets time pass.
    ///
    /// # Panics
    /// Time does not go back; [`ManualClock::step`] sets the wall clock back.
    pub fn advance(&self, by: Duration) {
        assert!(!by.is_negative(), "time does not go back");
        self.step(by);
        let by = i64::try_from(by.whole_microseconds()).unwrap();
        self.0.steady.fetch_add(by, Ordering::SeqCst);
    }

    /// Sets the wall clock forward or back, while no time passes.
    pub fn step(&self, by: Duration) {
        let by = i64::try_from(by.whole_microseconds()).unwrap();
        self.0.wall.fetch_add(by, Ordering::SeqCst);
    }

    /// Sets the wall clock, also back.
    pub fn set(&self, now: OffsetDateTime) {
        self.0.wall.store(micros(now), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        let micros = i128::from(self.0.wall.load(Ordering::SeqCst));
        OffsetDateTime::from_unix_timestamp_nanos(micros * 1000).unwrap()
    }
}

impl SteadyClock for ManualClock {
    fn steady(&self) -> Steady {
        Steady::at(Duration::microseconds(self.0.steady.load(Ordering::SeqCst)))
    }
}

fn micros(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1000).unwrap()
}
