//! Numbers of ledger transactions.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use billing_core::id::{IdSequence, LedgerTxnId};
use billing_core::node::{IdNumber, number_of_a_guest};
use time::OffsetDateTime;

use crate::error::StoreError;

/// Ids of ledger transactions. Clones share the sequence.
#[derive(Debug, Clone)]
pub(crate) struct TxnIds(Arc<Mutex<Numbered>>);

#[derive(Debug)]
struct Numbered {
    sequence: IdSequence,
    /// Whether the number was drawn, so that another process may have drawn it too.
    is_guest: bool,
}

impl TxnIds {
    pub(crate) fn new() -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Mutex::new(Numbered {
            sequence: IdSequence::new(drawn()?),
            is_guest: true,
        }))))
    }

    /// Goes on with the number that this process got when it joined.
    pub(crate) fn renumber(&self, number: IdNumber) {
        let after = number.after.map_or(0, unix_ms);
        let mut of = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        of.sequence.renumber(number.number, after);
        of.is_guest = false;
    }

    /// An id may be taken: a guest goes on with another number, since who has drawn the same one
    /// makes the same ids in the same millisecond.
    pub(crate) fn draw_again(&self) {
        let mut of = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if of.is_guest
            && let Ok(number) = drawn()
        {
            of.sequence.renumber(number, 0);
        }
    }

    pub(crate) fn next(&self, now: OffsetDateTime) -> LedgerTxnId {
        let mut of = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        LedgerTxnId::new(of.sequence.next(unix_ms(now)))
    }

    /// A guest with this number.
    #[cfg(test)]
    fn become_guest(&self, number: u16) {
        let mut of = self.0.lock().unwrap();
        of.sequence = IdSequence::new(number);
        of.is_guest = true;
    }
}

/// A number for a store that has not joined: the first of a process is drawn, and each store of the
/// same process has another one.
fn drawn() -> Result<u16, StoreError> {
    static FIRST: OnceLock<u16> = OnceLock::new();
    static MORE: AtomicU16 = AtomicU16::new(0);
    let mut random = [0_u8; 2];
    getrandom::fill(&mut random).map_err(|e| StoreError::Start(e.to_string()))?;
    let first = *FIRST.get_or_init(|| u16::from_be_bytes(random));
    let more = MORE.fetch_add(1, Ordering::Relaxed);
    Ok(number_of_a_guest(first.wrapping_add(more)))
}

fn unix_ms(at: OffsetDateTime) -> i64 {
    let ms = at.unix_timestamp_nanos().div_euclid(1_000_000);
    i64::try_from(ms).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use billing_core::port::books::Books;
    use testkit::world::{NOON, World};
    use testkit::{ManualClock, Ports};

    use super::*;
    use crate::{Store, StoreConfig};

    /// Two processes that have not joined, as commands beside a server are, and have drawn the same
    /// number: in one millisecond both make the same ids.
    #[test]
    fn guests_of_one_number_book_in_one_millisecond() {
        testkit::contract::run(async {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("sqlite://{}", folder.path().join("books.db").display());
            let clock = ManualClock::at(NOON);
            let open = async || {
                let config = StoreConfig::new(url.clone(), Arc::new(clock.clone()));
                Store::open(config).await.unwrap()
            };
            let (one, other) = (open().await, open().await);
            one.migrate(|_, _, _| ()).await.unwrap();
            let ports = Ports::of(Arc::new(one.clone()), clock.clone(), folder);
            let world = World::new(ports).await;
            world.top_up(10_000).await;
            for store in [&one, &other] {
                store.ids.become_guest(700);
            }
            for store in [&one, &one, &one, &other, &other, &one] {
                let settled = store.settle(Arc::new(world.call(0, 70))).await;
                assert!(!settled.unwrap().replayed);
            }
            assert_eq!(world.balance().await, (9580, 0));
            world.assert_sound().await;
            other.close().await;
            one.close().await;
        });
    }
}
