//! What an operator waits for, timed on one database.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::{AccountId, CallId, KeyId};
use billing_core::lease::{LeaseAsk, LeaseSeq};
use billing_core::port::books::Books;
use billing_core::port::directory::Directory;
use billing_core::port::reports::{CallFilter, ReportedDay, Reports, UsageGroup};
use billing_core::zone::Zone;
use store::Store;
use testkit::World;
use testkit::world::NOON;
use tokio::runtime::Runtime;

use crate::callers::{self, Callers};
use crate::funded;
use crate::grown::{self, Size};

/// How many accounts are active at most.
const ACTIVE: i64 = 1000;
/// How often each thing is done in a round.
const TIMES: i64 = 60;

/// The names of what is seen of settlements: time, and processor time here and of the server.
#[derive(Debug, Clone, Copy)]
struct Settling {
    wall: &'static str,
    cpu: &'static str,
    server: &'static str,
}

const HOT: Settling = Settling {
    wall: "settle_hot_us",
    cpu: "settle_hot_cpu_us",
    server: "settle_hot_server_cpu_us",
};
const NEAR: Settling = Settling {
    wall: "settle_near_us",
    cpu: "settle_near_cpu_us",
    server: "settle_near_server_cpu_us",
};
const FAR: Settling = Settling {
    wall: "settle_far_us",
    cpu: "settle_far_cpu_us",
    server: "settle_far_server_cpu_us",
};

/// An open store over a grown database.
pub(crate) struct Grown {
    size: Size,
    pub(crate) url: String,
    runtime: Runtime,
    store: Store,
    world: World,
    /// Whose calls are settled, by the figure's name.
    callers: [(Settling, Callers); 3],
    /// How many accounts were seen by [`Grown::cold`].
    seen: i64,
    /// Every figure of every round.
    pub(crate) figures: BTreeMap<&'static str, Vec<f64>>,
}

impl Grown {
    /// Opens the store as a node that starts; `keep` lives as long.
    pub(crate) fn open(size: Size, url: &str, keep: impl std::any::Any + Send + Sync) -> Self {
        let runtime = Runtime::new().unwrap();
        let mut figures = BTreeMap::new();
        let (store, world) = runtime.block_on(async {
            let begun = Instant::now();
            let (store, clock) = funded::open(url, None).await;
            assert!(store.pending_migrations().await.unwrap().is_empty());
            store.changes(0, 1000).await.unwrap();
            figures.insert("node_start_ms", vec![begun.elapsed().as_secs_f64() * 1e3]);
            let world = funded::world(&store, clock, keep).await;
            (store, world)
        });
        let active = size.accounts.min(ACTIVE);
        let near: Vec<AccountId> = (1..=active).map(funded::account).collect();
        let far: Vec<AccountId> = (0..active).map(|i| spread(i, size)).collect();
        let mut both = [near.clone(), far.clone()].concat();
        both.sort_unstable();
        both.dedup();
        runtime.block_on(funded::take_leases(&store, world.node, &both));
        let callers = [(HOT, vec![grown::first()]), (NEAR, near), (FAR, far)];
        let callers = callers.map(|(name, who)| (name, Callers::new(store.clone(), &world, who)));
        Self {
            size,
            url: url.to_owned(),
            runtime,
            store,
            world,
            callers,
            seen: ACTIVE,
            figures,
        }
    }

    fn note(&mut self, name: &'static str, figure: f64) {
        self.figures.entry(name).or_default().push(figure);
    }

    /// Settlements of one account, of a thousand neighbours, and of a thousand that are spread over
    /// all: in microseconds each.
    pub(crate) fn settle(&mut self, time: Duration) {
        let handle = self.runtime.handle().clone();
        for place in 0..self.callers.len() {
            let (name, callers) = &self.callers[place];
            let name = *name;
            let before = self.server_cpu();
            let seen = callers.settle(&handle, 256, time);
            let server = self.server_cpu() - before;
            self.note(name.wall, 1e6 / seen["per_second"]);
            self.note(name.cpu, seen["cpu_us"]);
            if self.is_postgres() {
                self.note(name.server, server * 1e6 / seen["settled"]);
            }
        }
        self.list();
    }

    fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres")
    }

    /// As the server does beside the calls.
    fn list(&self) {
        let listed = async { while self.store.list_settled(100_000).await.unwrap().is_some() {} };
        self.runtime.block_on(listed);
    }

    /// Seconds of processor time that the sessions of this database have used.
    fn server_cpu(&self) -> f64 {
        let (_, name) = self.url.rsplit_once('/').unwrap();
        let name = format!(" {name} ");
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let sessions = processes.filter_map(|process| {
            let title = std::fs::read_to_string(process.path().join("cmdline")).ok()?;
            let is_one = title.starts_with("postgres:") && title.contains(&name);
            is_one
                .then(|| callers::cpu_seconds_of(&process.path()))
                .flatten()
        });
        sessions.sum()
    }

    /// Deletes calls that are too old: as fast as it can, then with rests beside settlements, which
    /// are timed with and without it.
    pub(crate) fn retention(&self, time: Duration) -> serde_json::Value {
        let since = NOON - time::Duration::days(45);
        let expire = async |time: Duration, rest: u32| {
            let (begun, mut gone) = (Instant::now(), 0);
            let mut longest = Duration::ZERO;
            while begun.elapsed() < time {
                let step = Instant::now();
                let (calls, is_over) = self.store.expire_calls(since).await.unwrap();
                longest = longest.max(step.elapsed());
                gone += calls;
                if is_over {
                    break;
                }
                tokio::time::sleep(step.elapsed() * rest).await;
            }
            (
                gone as f64 / begun.elapsed().as_secs_f64(),
                longest.as_secs_f64() * 1e3,
            )
        };
        let (alone, longest) = self.runtime.block_on(expire(time, 0));
        let handle = self.runtime.handle().clone();
        let settle = || self.callers[2].1.settle(&handle, 64, time);
        let without = settle();
        let (beside, with) = std::thread::scope(|scope| {
            let expiring = scope.spawn(|| self.runtime.block_on(expire(time, 4)));
            let with = settle();
            (expiring.join().unwrap(), with)
        });
        let again = settle();
        self.list();
        serde_json::json!({
            "calls_per_second": alone,
            "longest_step_ms": longest,
            "calls_per_second_with_rests": beside.0,
            "settled_without_with_without": [without, with, again],
        })
    }

    /// The first call of accounts that no node has seen yet: the key, then a lease.
    pub(crate) fn cold(&mut self) {
        let (mut keys, mut leases) = (Vec::new(), Vec::new());
        for _ in 0..TIMES {
            self.seen += 1;
            let account = spread(self.seen, self.size);
            let (store, number) = (&self.store, account.get() - funded::account(0).get());
            let (key, lease) = self.runtime.block_on(async {
                let begun = Instant::now();
                let caller = store.caller(grown::hash(number * 3)).await.unwrap();
                assert_eq!(caller.map(|c| c.key.account), Some(account));
                let key = begun.elapsed();
                let begun = Instant::now();
                let ask = LeaseAsk {
                    node: self.world.node,
                    account,
                    scope: BudgetScope::Wallet,
                    seq: LeaseSeq::new(1_000_000 + self.seen.unsigned_abs()),
                    needed: Amount::new(1_000_000),
                    wanted: Amount::new(1_000_000),
                    under_way: false,
                };
                assert!(!store.lease(ask).await.unwrap().granted.is_zero());
                (key, begun.elapsed())
            });
            keys.push(key);
            leases.push(lease);
        }
        self.note("cold_key_us", median_us(&mut keys));
        self.note("cold_lease_us", median_us(&mut leases));
    }

    /// The pages of the console.
    pub(crate) fn pages(&mut self) {
        let store = &self.store.clone();
        let first = grown::first();
        let all = CallFilter::default();
        let deep = self.runtime.block_on(middle(store, first));
        // Before the calls that are settled here: nobody makes so many in one instant.
        let noon_ms = i64::try_from(NOON.unix_timestamp_nanos() / 1_000_000).unwrap();
        let noon = CallId::new(billing_core::id::first_id_at(noon_ms - 600_000));
        let of_key = CallFilter {
            key: Some(KeyId::new(100_000_001)),
            ..CallFilter::default()
        };
        let month = NOON - time::Duration::days(30);
        let of_rare_key = CallFilter {
            key: Some(KeyId::new(grown::RARE_KEY)),
            ..CallFilter::default()
        };
        let of_day = CallFilter {
            from: Some(NOON - time::Duration::days(46)),
            to: Some(NOON - time::Duration::days(45)),
            ..CallFilter::default()
        };
        let days = ReportedDay::of_period(&Zone::utc(), month, NOON);
        let half = funded::account((self.size.accounts / 2).max(1));
        self.time("calls_first_page_us", || {
            store.calls(first, all.clone(), None, 50)
        });
        self.time("calls_deep_page_us", || {
            store.calls(first, all.clone(), Some(deep), 50)
        });
        self.time("calls_of_key_us", || {
            store.calls(first, of_key.clone(), Some(noon), 50)
        });
        self.time("calls_of_rare_key_us", || {
            store.calls(first, of_rare_key.clone(), Some(noon), 50)
        });
        self.time("calls_of_day_us", || {
            store.calls(first, of_day.clone(), None, 50)
        });
        self.time("usage_by_model_us", || {
            store.usage(first, month, NOON, UsageGroup::Model)
        });
        self.time("usage_by_day_us", || store.usage_by_day(first, &days));
        self.time("ledger_page_us", || store.ledger(half, None, 50));
        self.time("credits_us", || store.credits(half));
        self.time("keys_page_us", || store.keys(half, None, 50));
        self.time("accounts_deep_page_us", || {
            store.accounts(None, Some(half), 50)
        });
    }

    fn time<F: Future<Output = Result<T, E>>, T, E: std::fmt::Debug>(
        &mut self,
        name: &'static str,
        mut page: impl FnMut() -> F,
    ) {
        let mut waits = Vec::new();
        for _ in 0..TIMES / 3 {
            let begun = Instant::now();
            self.runtime.block_on(page()).unwrap();
            waits.push(begun.elapsed());
        }
        let median = median_us(&mut waits);
        self.note(name, median);
    }
}

/// Accounts without a pattern: each comes once before one comes again.
fn spread(turn: i64, size: Size) -> AccountId {
    funded::account(1 + (turn * 15_485_863) % size.accounts)
}

/// A call in the middle of an account's list.
async fn middle(store: &Store, account: AccountId) -> CallId {
    let mut low = store
        .calls(account, CallFilter::default(), None, 1)
        .await
        .unwrap();
    let newest = low.remove(0).id.get();
    let past = NOON - time::Duration::days(45);
    let ms = i64::try_from(past.unix_timestamp_nanos() / 1_000_000).unwrap();
    CallId::new(billing_core::id::first_id_at(ms).min(newest))
}

fn median_us(waits: &mut [Duration]) -> f64 {
    waits.sort_unstable();
    waits[waits.len() / 2].as_secs_f64() * 1e6
}
