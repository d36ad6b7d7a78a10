//! A clock that stands still until it is told otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use billing_core::port::clock::Clock;
use time::{Duration, OffsetDateTime};

/// Time by hand. Clones show the same time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that shows an instant, to the microsecond.
    pub fn at(now: OffsetDateTime) -> Self {
        Self(Arc::new(AtomicI64::new(micros(now))))
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.whole_microseconds()).unwrap();
        self.0.fetch_add(by, Ordering::SeqCst);
    }

    /// Sets it, also back.
    pub fn set(&self, now: OffsetDateTime) {
        self.0.store(micros(now), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        let micros = i128::from(self.0.load(Ordering::SeqCst));
        OffsetDateTime::from_unix_timestamp_nanos(micros * 1000).unwrap()
    }
}

fn micros(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1000).unwrap()
}
