//! How a store is opened for a test.

use std::any::Any;
use std::sync::Arc;

use billing_core::port::books::Books;
use billing_core::port::nodes::Nodes;
use store::{Store, StoreConfig};
use testkit::contract::invoices::invoicing;
use testkit::world::NOON;
use testkit::{ManualClock, Ports};

pub(crate) async fn sqlite() -> Ports {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NOON);
    let store = store(&sqlite_url(&folder), &clock).await;
    ports(&[store], clock, folder)
}

pub(crate) fn sqlite_url(folder: &tempfile::TempDir) -> String {
    format!("sqlite://{}/books/t.db", folder.path().display())
}

pub(crate) async fn postgres() -> Ports {
    let database = testkit::postgres::database();
    let clock = ManualClock::at(NOON);
    let mut stores = Vec::new();
    for _ in 0..3 {
        stores.push(store(database.url(), &clock).await);
    }
    ports(&stores, clock, database)
}

pub(crate) async fn store(url: &str, clock: &ManualClock) -> Store {
    let mut config = StoreConfig::new(url, Arc::new(clock.clone()));
    config.connections = 4;
    config.invoicing = Arc::new(invoicing());
    config.sends_messages = true;
    let store = Store::open(config).await.unwrap();
    store.migrate(|_, _, _| ()).await.unwrap();
    store
}

pub(crate) fn ports(stores: &[Store], clock: ManualClock, keep: impl Any + Send + Sync) -> Ports {
    let one = Arc::new(stores[0].clone());
    let books = stores.iter().map(|s| Arc::new(s.clone()) as Arc<dyn Books>);
    let nodes = stores.iter().map(|s| Arc::new(s.clone()) as Arc<dyn Nodes>);
    Ports {
        books: books.collect(),
        nodes: nodes.collect(),
        directory: one.clone(),
        catalogue: one.clone(),
        plans: one.clone(),
        subscriptions: one.clone(),
        orders: one.clone(),
        collector: one.clone(),
        invoices: one.clone(),
        coupons: one.clone(),
        messages: one.clone(),
        reports: one.clone(),
        proofs: one,
        clock,
        keep: Box::new(keep),
    }
}

/// Each rule on both databases, over the `world` of its file and with the address of the database.
macro_rules! on_both {
    ($($rule:ident)*) => {
        mod on_sqlite {
            $(#[test] fn $rule() {
                testkit::contract::run(async {
                    let folder = tempfile::tempdir().unwrap();
                    let url = crate::open::sqlite_url(&folder);
                    super::$rule(super::world(&url, folder).await, url).await;
                });
            })*
        }
        mod on_postgres {
            $(#[test] fn $rule() {
                testkit::contract::run(async {
                    let database = testkit::postgres::database();
                    let url = database.url().to_owned();
                    super::$rule(super::world(&url, database).await, url).await;
                });
            })*
        }
    };
}

pub(crate) use on_both;
