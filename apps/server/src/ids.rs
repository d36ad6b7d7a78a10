//! New ids, from the clock.

use std::sync::{Arc, Mutex, PoisonError};

use billing_core::id::IdSequence;
use billing_core::port::clock::Clock;

/// Hands out time-ordered ids that no other node hands out.
#[derive(Debug)]
pub(crate) struct Ids {
    sequence: Mutex<IdSequence>,
    clock: Arc<dyn Clock>,
}

impl Ids {
    /// Ids of the node with this number.
    pub(crate) fn new(node: u16, clock: Arc<dyn Clock>) -> Self {
        Self {
            sequence: Mutex::new(IdSequence::new(node)),
            clock,
        }
    }

    /// The next number; wrap it in the id type that is wanted.
    pub(crate) fn next(&self) -> i64 {
        let ms = i64::try_from(self.clock.now().unix_timestamp_nanos() / 1_000_000);
        let mut sequence = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        sequence.next(ms.unwrap_or(i64::MAX >> 24))
    }
}
