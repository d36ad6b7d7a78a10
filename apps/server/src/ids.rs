//! New ids, from the clock.

use std::sync::{Arc, Mutex, PoisonError};

use billing_core::id::IdSequence;
use billing_core::node::IdNumber;
use billing_core::port::clock::Clock;
use time::OffsetDateTime;

/// Hands out time-ordered ids that no other node hands out.
#[derive(Debug)]
pub(crate) struct Ids {
    sequence: Mutex<IdSequence>,
    clock: Arc<dyn Clock>,
}

impl Ids {
    /// Ids of a process with this number.
    pub(crate) fn new(node: u16, clock: Arc<dyn Clock>) -> Self {
        Self {
            sequence: Mutex::new(IdSequence::new(node)),
            clock,
        }
    }

    /// Goes on with the number that this process got when it joined.
    pub(crate) fn renumber(&self, number: IdNumber) {
        let after = number.after.map_or(0, unix_ms);
        let mut sequence = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        sequence.renumber(number.number, after);
    }

    /// The next number; wrap it in the id type that is wanted.
    pub(crate) fn next(&self) -> i64 {
        let ms = unix_ms(self.clock.now());
        let mut sequence = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        sequence.next(ms)
    }
}

fn unix_ms(at: OffsetDateTime) -> i64 {
    at.unix_timestamp() * 1_000 + i64::from(at.millisecond())
}
