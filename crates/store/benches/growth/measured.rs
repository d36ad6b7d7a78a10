//! What an operator waits for, timed on one database.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::{AccountId, CallId, KeyId};
use billing_core::lease::{LeaseAsk, LeaseSeq};
use billing_core::port::books::Books;
use billing_core::port::directory::Directory;
use billing_core::port::reports::{CallFilter, Reports, UsageGroup};
use store::Store;
use testkit::World;
use testkit::world::NOON;
use tokio::runtime::Runtime;

use crate::callers::Callers;
use crate::funded;
use crate::grown::{self, Size};

/// How many accounts are active at most.
const ACTIVE: i64 = 1000;
/// How often each thing is done in a round.
const TIMES: i64 = 60;

/// An open store over a grown database.
pub(crate) struct Grown {
    size: Size,
    pub(crate) url: String,
    runtime: Runtime,
    store: Store,
    world: World,
    hot: Callers,
    active: Callers,
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
        let active: Vec<AccountId> = (1..=size.accounts.min(ACTIVE))
            .map(funded::account)
            .collect();
        runtime.block_on(funded::take_leases(&store, world.node, &active));
        let hot = Callers::new(store.clone(), &world, vec![grown::first()]);
        let callers = Callers::new(store.clone(), &world, active);
        Self {
            size,
            url: url.to_owned(),
            runtime,
            store,
            world,
            hot,
            active: callers,
            seen: ACTIVE,
            figures,
        }
    }

    fn note(&mut self, name: &'static str, figure: f64) {
        self.figures.entry(name).or_default().push(figure);
    }

    /// Settlements of one account and of the active ones, in microseconds each.
    pub(crate) fn settle(&mut self, time: Duration) {
        let handle = self.runtime.handle().clone();
        let seen = self.hot.settle(&handle, 256, time);
        self.note("settle_hot_us", 1e6 / seen["per_second"]);
        self.note("settle_hot_cpu_us", seen["cpu_us"]);
        let seen = self.active.settle(&handle, 256, time);
        self.note("settle_active_us", 1e6 / seen["per_second"]);
        self.note("settle_active_cpu_us", seen["cpu_us"]);
        // As the server does beside the calls.
        let listed = async { while self.store.list_pending_calls(5000).await.unwrap() > 0 {} };
        self.runtime.block_on(listed);
    }

    /// The first call of accounts that no node has seen yet: the key, then a lease.
    pub(crate) fn cold(&mut self) {
        let (mut keys, mut leases) = (Vec::new(), Vec::new());
        for _ in 0..TIMES {
            self.seen += 1;
            // Spread over all accounts; where there are few, they come again.
            let number = 1 + (self.seen * 15_485_863) % self.size.accounts;
            let (store, account) = (&self.store, funded::account(number));
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
        let of_key = CallFilter {
            key: Some(KeyId::new(100_000_001)),
            ..CallFilter::default()
        };
        let month = NOON - time::Duration::days(30);
        let half = funded::account(self.size.accounts / 2);
        self.time("calls_first_page_us", || {
            store.calls(first, all.clone(), None, 50)
        });
        self.time("calls_deep_page_us", || {
            store.calls(first, all.clone(), Some(deep), 50)
        });
        self.time("calls_of_key_us", || {
            store.calls(first, of_key.clone(), None, 50)
        });
        self.time("usage_by_model_us", || {
            store.usage(first, month, NOON, UsageGroup::Model)
        });
        self.time("usage_by_day_us", || {
            store.usage(first, month, NOON, UsageGroup::Day)
        });
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
