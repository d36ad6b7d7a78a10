//! Books with any number of accounts, all funded and on lease, and callers that settle.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use billing_core::budget::{Amount, BudgetScope};
use billing_core::call::{Basis, Settlement, UsageSource};
use billing_core::id::{AccountId, CallId, IdSequence};
use billing_core::lease::{LeaseAsk, LeaseSeq};
use billing_core::meter::{Meter, Usage};
use billing_core::port::books::Books;
use sea_orm::{ConnectionTrait, Database};
use store::{Store, StoreConfig};
use testkit::world::NOON;
use testkit::{ManualClock, Ports, World};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// The account before the first one.
const BASE: i64 = 1_000_000;
/// What each account has, in nanos.
const FUNDS: i64 = 4_000_000_000_000;
/// What of it is on lease.
const LEASE: u64 = 2_000_000_000_000;

/// An open store with its accounts.
pub(crate) struct Scene {
    runtime: Runtime,
    store: Store,
    world: World,
    model: Settlement,
    accounts: Vec<AccountId>,
}

/// What callers saw.
pub(crate) struct Seen {
    pub(crate) per_second: f64,
    /// How many shared a transaction, on average.
    pub(crate) per_commit: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// CPU of this process for one settlement, callers included; not the database server's.
    pub(crate) cpu_us: f64,
}

impl Scene {
    /// Opens the database at `url`, which is empty; `keep` lives as long as the scene.
    pub(crate) fn new(
        url: &str,
        keep: impl Any + Send + Sync,
        accounts: i64,
        batch: Option<usize>,
    ) -> Self {
        let runtime = Runtime::new().unwrap();
        let clock = ManualClock::at(NOON);
        let mut config = StoreConfig::new(url, Arc::new(clock.clone()));
        config.batch = batch.unwrap_or(config.batch);
        let (store, world) = runtime.block_on(async {
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
                keep: Box::new(keep),
            };
            (store, World::new(ports).await)
        });
        let mut model = world.call(10_000, 0);
        model.basis = Basis::Delivered {
            usage: Usage::NONE
                .with(Meter::Input, 1200)
                .with(Meter::Output, 300),
            source: UsageSource::Provider,
        };
        let accounts_of = (1..=accounts).map(|i| AccountId::new(BASE + i)).collect();
        let scene = Self {
            runtime,
            store,
            world,
            model,
            accounts: accounts_of,
        };
        scene.runtime.block_on(scene.fund(url, accounts));
        scene
    }

    /// Makes the accounts in bulk, each with a lot and its booking, and takes leases as a node does.
    async fn fund(&self, url: &str, accounts: i64) {
        let db = Database::connect(url).await.unwrap();
        let n = format!(
            "WITH RECURSIVE n (a) AS (SELECT {BASE} + 1 UNION ALL \
             SELECT a + 1 FROM n WHERE a < {BASE} + {accounts})"
        );
        for insert in [
            "account (id, name, currency, zone, status, credit_limit, created_at) \
             SELECT a, 'Ada''s', 'USD', 'UTC', 'active', 0, 0 FROM n"
                .to_owned(),
            format!(
                "wallet (account_id, currency, posted, leased, credit_limit, status) \
                 SELECT a, 'USD', {FUNDS}, 0, 0, 'active' FROM n"
            ),
            format!(
                "lot (account_id, id, kind, priority, effective_at, created_at, granted, \
                 remaining) SELECT a, a, 'paid', 0, 0, 0, {FUNDS}, {FUNDS} FROM n"
            ),
            format!(
                "ledger_txn (account_id, id, kind, booked_at, balance_after, note) \
                 SELECT a, 1, 'top_up', 0, {FUNDS}, '' FROM n"
            ),
            format!(
                "ledger_entry (account_id, txn_id, leg, code, amount, lot_id) \
                 SELECT a, 1, 0, 'payment_clearing', {FUNDS}, NULL FROM n \
                 UNION ALL SELECT a, 1, 1, 'wallet_paid', -{FUNDS}, a FROM n"
            ),
        ] {
            let (table, rest) = insert.split_once(") SELECT").unwrap();
            let text = format!("INSERT INTO {table}) {n} SELECT{rest}");
            db.execute_unprepared(&text).await.unwrap();
        }
        db.close().await.unwrap();
        let mut tasks = JoinSet::new();
        for chunk in self.accounts.chunks(self.accounts.len().div_ceil(256)) {
            let (store, chunk, node) = (self.store.clone(), chunk.to_vec(), self.world.node);
            tasks.spawn(async move {
                for account in chunk {
                    let ask = LeaseAsk {
                        node,
                        account,
                        scope: BudgetScope::Wallet,
                        seq: LeaseSeq::new(1),
                        needed: Amount::new(LEASE),
                        wanted: Amount::new(LEASE),
                    };
                    assert_eq!(store.lease(ask).await.unwrap().granted.get(), LEASE);
                }
            });
        }
        tasks.join_all().await;
    }

    /// Lets so many callers settle one call after the other, each account in its turn.
    pub(crate) fn settle(&self, callers: usize, time: Duration) -> Seen {
        let turn = Arc::new(AtomicU64::new(0));
        let before = self.store.committed();
        let (start, cpu) = (Instant::now(), cpu_seconds());
        let end = start + time;
        // In order of time, as the ids of calls are.
        let first = IdSequence::new(0).next(unix_ms());
        let mut waits = self.runtime.block_on(async {
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
        Seen {
            per_second: settled as f64 / took,
            per_commit: settled as f64 / commits as f64,
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            cpu_us: cpu * 1e6 / settled as f64,
        }
    }

    /// What is wrong with the books of the first accounts, in words.
    pub(crate) fn broken(&self) -> Vec<String> {
        let proofs = self.runtime.block_on(self.store.verify(None, 500)).unwrap();
        assert!(!proofs.is_empty(), "nothing was proved");
        proofs.into_iter().flat_map(|p| p.broken).collect()
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
