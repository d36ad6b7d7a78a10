//! How many settlements a second are durable on SQLite, by how many callers wait at once.
//!
//! `cargo bench -p store`. A caller settles one call after the other, as a request does; the
//! figure to look at is items a second. Accounts are used evenly, which is the worst case.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot run has nothing to say"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use billing_core::budget::BudgetScope;
use billing_core::call::Settlement;
use billing_core::id::{AccountId, CallId};
use billing_core::port::books::Books;
use divan::counter::ItemsCount;
use store::{Store, StoreConfig};
use testkit::world::NOON;
use testkit::{ManualClock, Ports, World};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const ACCOUNTS: i64 = 1000;
/// How many calls a caller settles.
const CALLS: usize = 64;

fn main() {
    divan::main();
}

/// Books with many accounts, all funded and on lease.
struct Scene {
    runtime: Runtime,
    store: Store,
    /// Keeps the folder.
    _world: World,
    model: Settlement,
    accounts: Vec<AccountId>,
    next: Arc<AtomicI64>,
}

impl Scene {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let (store, world, model, accounts) = runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let clock = ManualClock::at(NOON);
            let url = format!("sqlite://{}/bench.db", folder.path().display());
            let config = StoreConfig::new(url, Arc::new(clock.clone()));
            let store = Store::open(config).await.unwrap();
            store.migrate(|_, _, _| ()).await.unwrap();
            let shared = Arc::new(store.clone());
            let ports = Ports {
                books: vec![shared.clone()],
                directory: shared.clone(),
                catalogue: shared.clone(),
                reports: shared.clone(),
                proofs: shared,
                clock,
                keep: Box::new(folder),
            };
            let mut world = World::new(ports).await;
            let mut accounts = Vec::new();
            for _ in 0..ACCOUNTS {
                world.account = world.new_account(0).await;
                world.top_up(1_000_000_000).await;
                world
                    .lease(BudgetScope::Wallet, 1_000_000_000)
                    .await
                    .unwrap();
                accounts.push(world.account);
            }
            let model = world.call(100, 40);
            (store, world, model, accounts)
        });
        Self {
            runtime,
            store,
            _world: world,
            model,
            accounts,
            next: Arc::new(AtomicI64::new(1_000_000)),
        }
    }

    /// Settles the calls of so many callers, each one after the other.
    fn settle(&self, callers: usize) {
        self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for caller in 0..callers {
                let (store, next) = (self.store.clone(), Arc::clone(&self.next));
                let (mut call, accounts) = (self.model.clone(), self.accounts.clone());
                tasks.spawn(async move {
                    for i in 0..CALLS {
                        let account = (caller + i * callers) % accounts.len();
                        call.account = accounts[account];
                        call.call = CallId::new(next.fetch_add(1, Ordering::Relaxed));
                        store.settle(call.clone()).await.unwrap();
                    }
                });
            }
            tasks.join_all().await;
        });
    }
}

#[divan::bench(args = [1, 16, 64, 256], sample_count = 10, sample_size = 1)]
fn settle(bencher: divan::Bencher<'_, '_>, callers: usize) {
    let scene = Scene::new();
    bencher
        .counter(ItemsCount::new(CALLS * callers))
        .bench(|| scene.settle(callers));
}
