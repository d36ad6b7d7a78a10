//! Rules of the spool.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use billing_core::call::Settlement;
use billing_core::call_record::CallRecord;
use billing_core::port::spool::{Backlog, Spool, SpoolError, SpoolPosition};
use time::Duration;

use crate::world::NOON;
use crate::{ManualClock, Memory, Ports, World};

/// A spool under test, with room for some hundreds of calls and not for ten thousand.
pub struct SpoolCase {
    /// The spool.
    pub spool: Arc<dyn Spool>,
    /// What lives as long as the test: a folder.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for SpoolCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpoolCase").finish_non_exhaustive()
    }
}

/// Every rule of the spool, as tests: `testkit::spool_contract!(name, opener)`.
#[macro_export]
macro_rules! spool_contract {
    ($name:ident, $open:expr) => {
        $crate::spool_contract!($name, $open =>
            calls_wait_in_the_order_in_which_they_were_put
            a_call_stands_in_it_once
            what_was_put_is_what_comes_out
            what_the_books_took_is_forgotten_and_nothing_else
            a_parked_call_is_kept_apart_until_it_is_let_wait_again
            a_full_spool_refuses_says_so_in_time_and_recovers
            many_put_at_once_all_stand_in_it
        );
    };
    ($name:ident, $open:expr => $($rule:ident)*) => {
        mod $name {
            $(
                #[test]
                fn $rule() {
                    $crate::contract::run(async {
                        $crate::contract::spool::$rule($open().await).await;
                    });
                }
            )*
        }
    };
}

/// A world whose calls can be spooled.
async fn world() -> World {
    let clock = ManualClock::at(NOON);
    let memory = Arc::new(Memory::new(Arc::new(clock.clone())));
    let ports = Ports::of(memory, clock, ());
    World::new(ports).await
}

fn record(settlement: &Settlement) -> CallRecord {
    CallRecord::of(settlement).unwrap()
}

async fn put(spool: &dyn Spool, settlement: &Settlement) -> SpoolPosition {
    spool.put(&record(settlement), NOON).await.unwrap()
}

async fn all(spool: &dyn Spool) -> Vec<SpoolPosition> {
    let waiting = spool.waiting(SpoolPosition::default(), 10_000).await;
    waiting.unwrap().iter().map(|w| w.position).collect()
}

/// Positions ascend, and reading goes on behind one.
pub async fn calls_wait_in_the_order_in_which_they_were_put(case: SpoolCase) {
    let (world, spool) = (world().await, case.spool);
    assert_eq!(
        spool.backlog(),
        Backlog {
            bytes: spool.backlog().bytes,
            ..Backlog::default()
        }
    );
    let mut places = Vec::new();
    for _ in 0..5 {
        places.push(put(&*spool, &world.call(10, 5)).await);
    }
    assert!(places.is_sorted());
    assert_eq!(all(&*spool).await, places);
    let behind = spool.waiting(places[1], 2).await.unwrap();
    let behind: Vec<_> = behind.iter().map(|w| w.position).collect();
    assert_eq!(behind, places[2..4]);
    let backlog = spool.backlog();
    assert_eq!((backlog.entries, backlog.oldest), (5, Some(NOON)));
    assert!(!backlog.full && backlog.bytes > 0);
}

/// A repeated put answers with the place that the call has, in a batch as well.
pub async fn a_call_stands_in_it_once(case: SpoolCase) {
    let (world, spool) = (world().await, case.spool);
    let call = world.call(10, 5);
    let first = put(&*spool, &call).await;
    let other = put(&*spool, &world.call(10, 5)).await;
    let record = record(&call);
    let again = tokio::join!(spool.put(&record, NOON), spool.put(&record, NOON));
    assert_eq!((again.0.unwrap(), again.1.unwrap()), (first, first));
    assert_eq!(all(&*spool).await, [first, other]);
    assert_eq!(spool.backlog().entries, 2);
}

/// To the last field.
pub async fn what_was_put_is_what_comes_out(case: SpoolCase) {
    let (world, spool) = (world().await, case.spool);
    let mut call = world.call(10, 5);
    call.facts.upstream_id = Some("it's \"one\"\n\u{1f980}".to_owned());
    put(&*spool, &call).await;
    let waiting = spool.waiting(SpoolPosition::default(), 1).await.unwrap();
    assert_eq!((waiting[0].call, waiting[0].since), (call.call, NOON));
    let read = waiting[0].record.clone().unwrap();
    let read = read.into_settlement(call.terms.clone()).unwrap();
    assert_eq!(format!("{read:?}"), format!("{call:?}"));
}

/// Forgetting what is not there is no error: it may be repeated.
pub async fn what_the_books_took_is_forgotten_and_nothing_else(case: SpoolCase) {
    let (world, spool) = (world().await, case.spool);
    let mut places = Vec::new();
    for _ in 0..3 {
        places.push(put(&*spool, &world.call(10, 5)).await);
    }
    for _ in 0..2 {
        spool.forget(&places[..2]).await.unwrap();
        assert_eq!(all(&*spool).await, places[2..]);
        assert_eq!(spool.backlog().entries, 1);
    }
    spool.forget(&places).await.unwrap();
    assert_eq!((spool.backlog().entries, spool.backlog().oldest), (0, None));
    let later = put(&*spool, &world.call(10, 5)).await;
    assert!(later > places[2], "a place was given twice");
}

/// It is never dropped, and can be tried again.
pub async fn a_parked_call_is_kept_apart_until_it_is_let_wait_again(case: SpoolCase) {
    let (world, spool) = (world().await, case.spool);
    let first = put(&*spool, &world.call(10, 5)).await;
    let second = put(&*spool, &world.call(10, 5)).await;
    let later = NOON + Duration::hours(1);
    spool.park(first, "no such account", later).await.unwrap();
    spool.park(first, "said again", NOON).await.unwrap();
    spool.forget(&[first]).await.unwrap();
    assert_eq!(all(&*spool).await, [second]);
    let parked = spool.parked(10).await.unwrap();
    assert_eq!(parked.len(), 1);
    assert_eq!((parked[0].position, parked[0].parked_at), (first, later));
    assert_eq!(
        (parked[0].why.as_str(), parked[0].since),
        ("no such account", NOON)
    );
    assert_eq!((spool.backlog().entries, spool.backlog().parked), (1, 1));
    assert_eq!(spool.unpark().await.unwrap(), 1);
    assert_eq!(all(&*spool).await, [first, second]);
    assert_eq!((spool.backlog().entries, spool.backlog().parked), (2, 0));
}

/// It says that it is full while there is still room for calls that have begun.
pub async fn a_full_spool_refuses_says_so_in_time_and_recovers(case: SpoolCase) {
    let (world, spool) = (world().await, case.spool);
    let (mut places, mut after_warning) = (Vec::new(), 0);
    let refused = loop {
        after_warning += usize::from(spool.backlog().full);
        match spool.put(&record(&world.call(10, 5)), NOON).await {
            Ok(place) => places.push(place),
            Err(error) => break error,
        }
        assert!(places.len() < 10_000, "it has no bound");
    };
    assert!(matches!(refused, SpoolError::Full), "{refused:?}");
    assert!(spool.backlog().full && after_warning > 1, "{after_warning}");
    assert_eq!(all(&*spool).await, places, "what was taken is kept");
    spool.forget(&places).await.unwrap();
    assert!(!spool.backlog().full);
    put(&*spool, &world.call(10, 5)).await;
    assert!(!spool.backlog().full);
}

/// Each is answered for itself.
pub async fn many_put_at_once_all_stand_in_it(case: SpoolCase) {
    let (world, spool) = (world().await, case.spool);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (spool, record) = (Arc::clone(&spool), record(&world.call(10, 5)));
        tasks.spawn(async move { spool.put(&record, NOON).await.unwrap() });
    }
    let mut places = tasks.join_all().await;
    places.sort_unstable();
    assert_eq!(all(&*spool).await, places);
    assert_eq!(spool.backlog().entries, 100);
}
