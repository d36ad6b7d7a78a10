//! Callers that settle one call after the other, as requests do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use billing_core::call::{Basis, Settlement, UsageSource};
use billing_core::id::{AccountId, CallId, IdSequence};
use billing_core::meter::{Meter, Usage};
use billing_core::port::books::Books;
use store::Store;
use testkit::World;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// Whose calls end, and in which store.
pub(crate) struct Callers {
    store: Store,
    model: Settlement,
    accounts: Vec<AccountId>,
}

/// What callers saw: settlements a second, how many shared a transaction, waits in milliseconds,
/// and the CPU of this process for one settlement in microseconds (callers included, the database
/// server's not).
pub(crate) type Seen = BTreeMap<&'static str, f64>;

impl Callers {
    /// Calls of 1,200 prompt and 300 answer tokens.
    pub(crate) fn new(store: Store, world: &World, accounts: Vec<AccountId>) -> Self {
        let mut model = world.call(10_000, 0);
        model.basis = Basis::Delivered {
            usage: Usage::NONE
                .with(Meter::Input, 1200)
                .with(Meter::Output, 300),
            source: UsageSource::Provider,
        };
        Self {
            store,
            model,
            accounts,
        }
    }

    /// Lets so many callers settle one call after the other, each account in its turn.
    pub(crate) fn settle(&self, runtime: &Handle, callers: usize, time: Duration) -> Seen {
        let turn = Arc::new(AtomicU64::new(0));
        let before = self.store.committed();
        let (start, cpu) = (Instant::now(), cpu_seconds());
        let end = start + time;
        // In order of time, as the ids of calls are.
        let first = IdSequence::new(0).next(unix_ms());
        let mut waits = runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..callers {
                let (store, turn) = (self.store.clone(), Arc::clone(&turn));
                let (call, accounts) = (self.model.clone(), self.accounts.clone());
                tasks.spawn(async move {
                    let mut waits = Vec::new();
                    while Instant::now() < end {
                        let turn = turn.fetch_add(1, Ordering::Relaxed);
                        let place = usize::try_from(spread(turn)).unwrap() % accounts.len();
                        let mut call = call.clone();
                        call.account = accounts[place];
                        call.call = CallId::new(first + i64::try_from(turn).unwrap());
                        let begun = Instant::now();
                        store.settle(call).await.unwrap();
                        waits.push(begun.elapsed());
                    }
                    waits
                });
            }
            tasks.join_all().await.concat()
        });
        let (took, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        let after = self.store.committed();
        waits.sort_unstable();
        let settled = waits.len();
        let ms = |part: f64| {
            let place = (part * (settled - 1) as f64) as usize;
            waits[place].as_secs_f64() * 1e3
        };
        let commits = after.transactions - before.transactions;
        Seen::from([
            ("per_second", settled as f64 / took),
            ("per_commit", settled as f64 / commits as f64),
            ("p50_ms", ms(0.5)),
            ("p99_ms", ms(0.99)),
            ("cpu_us", cpu * 1e6 / settled as f64),
        ])
    }
}

/// CPU seconds that this process has used.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.map(|t| t.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

/// Numbers without a pattern, the same in each run.
fn spread(n: u64) -> u64 {
    let mut x = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) >> 1
}

fn unix_ms() -> i64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}
