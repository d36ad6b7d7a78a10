//! Callers that settle one call after the other, as requests do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use billing_core::call::{Basis, Settlement, UsageSource};
use billing_core::id::{AccountId, CallId, first_id_at};
use billing_core::meter::{Meter, Usage};
use billing_core::port::books::Books;
use store::Store;
use testkit::World;
use testkit::world::NOON;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// Whose calls end, and in which store.
pub(crate) struct Callers {
    store: Store,
    model: Settlement,
    accounts: Vec<AccountId>,
}

/// The next call of this process. All of them begin at noon, after those that are there already.
static TURN: AtomicI64 = AtomicI64::new(1);

/// What callers saw: settlements, also a second, how many shared a transaction, waits in milliseconds,
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
        let before = self.store.committed();
        let (start, cpu) = (Instant::now(), cpu_seconds());
        let end = start + time;
        let noon = i64::try_from(NOON.unix_timestamp_nanos() / 1_000_000).unwrap();
        let first = first_id_at(noon);
        let mut waits = runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..callers {
                let store = self.store.clone();
                let (call, accounts) = (self.model.clone(), self.accounts.clone());
                tasks.spawn(async move {
                    let mut waits = Vec::new();
                    while Instant::now() < end {
                        let turn = TURN.fetch_add(1, Ordering::Relaxed);
                        let place = spread(turn.unsigned_abs());
                        let place = usize::try_from(place).unwrap() % accounts.len();
                        let mut call = call.clone();
                        call.account = accounts[place];
                        call.call = CallId::new(first + turn);
                        let begun = Instant::now();
                        store.settle(Arc::new(call)).await.unwrap();
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
            ("settled", settled as f64),
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
    cpu_seconds_of(std::path::Path::new("/proc/self")).unwrap()
}

/// CPU seconds that a process has used, unless it is gone.
pub(crate) fn cpu_seconds_of(process: &std::path::Path) -> Option<f64> {
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    Some(ticks.map(|t| t.parse::<f64>().unwrap()).sum::<f64>() / 100.0)
}

/// Numbers without a pattern, the same in each run.
fn spread(n: u64) -> u64 {
    let mut x = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) >> 1
}
