//! Books with any number of accounts, all funded and on lease.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use billing_core::port::books::Books;
use store::Store;
use testkit::World;
use tokio::runtime::Runtime;

use crate::callers::{Callers, Seen};
use crate::funded;
use crate::server;

/// As in `apps/server/src/jobs.rs`: how often is listed what was settled, and how much at a time.
const LISTING: Duration = Duration::from_millis(500);
const LISTING_BATCH: u64 = 100_000;

/// An open store with its accounts.
pub(crate) struct Scene {
    runtime: Runtime,
    store: Store,
    /// Keeps the folder or the database.
    _world: World,
    callers: Callers,
    /// The name of the database, on a server.
    database: String,
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
        let (store, world, callers) = runtime.block_on(async {
            let (store, clock) = funded::open(url, batch).await;
            store.migrate(|_, _, _| ()).await.unwrap();
            let world = funded::world(&store, clock, keep).await;
            let db = funded::connect(url).await;
            funded::make_accounts(&db, accounts).await;
            db.close().await.unwrap();
            let of: Vec<_> = (1..=accounts).map(funded::account).collect();
            funded::take_leases(&store, world.node, &of).await;
            let callers = Callers::new(store.clone(), &world, of);
            (store, world, callers)
        });
        Self {
            runtime,
            store,
            _world: world,
            callers,
            database: url.rsplit('/').next().unwrap().to_owned(),
        }
    }

    /// Lets so many callers settle, and lists beside them what they settled.
    pub(crate) fn settle(&self, callers: usize, time: Duration) -> Seen {
        let before = server::cpu_seconds(&self.database);
        let settled = self.store.committed().operations;
        let is_over = Arc::new(AtomicBool::new(false));
        let lister = list(self.store.clone(), Arc::clone(&is_over));
        let lister = self.runtime.spawn(lister);
        let mut seen = self.callers.settle(self.runtime.handle(), callers, time);
        let settled = self.store.committed().operations - settled;
        is_over.store(true, Ordering::Relaxed);
        self.runtime.block_on(lister).unwrap();
        let look = self.runtime.block_on(self.store.look()).unwrap();
        let unlisted = look.unlisted.max(look.unlisted_txns);
        seen.insert("unlisted", unlisted as f64);
        let cpu = server::cpu_seconds(&self.database) - before;
        seen.insert("server_cpu_us", cpu * 1e6 / settled as f64);
        seen
    }

    /// What is wrong with the books of the first accounts, in words.
    pub(crate) fn broken(&self) -> Vec<String> {
        let proofs = self.runtime.block_on(self.store.verify(None, 500)).unwrap();
        assert!(!proofs.is_empty(), "nothing was proved");
        proofs.into_iter().flat_map(|p| p.broken).collect()
    }
}

/// Lists what was settled, at the pace of the server.
async fn list(store: Store, is_over: Arc<AtomicBool>) {
    while !is_over.load(Ordering::Relaxed) {
        let listed = store.list_settled(LISTING_BATCH).await.unwrap();
        if listed.most() < LISTING_BATCH {
            tokio::time::sleep(LISTING).await;
        }
    }
}
