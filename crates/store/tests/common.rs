//! How a store is opened for a test.

use std::sync::Arc;

use billing_core::port::books::Books;
use store::{Store, StoreConfig};
use testkit::world::NOON;
use testkit::{ManualClock, Ports};

pub(crate) async fn sqlite() -> Ports {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NOON);
    let store = open(
        &format!("sqlite://{}/t.db", folder.path().display()),
        &clock,
    )
    .await;
    ports(vec![store], clock, folder)
}

pub(crate) async fn open(url: &str, clock: &ManualClock) -> Store {
    let store = Store::open(StoreConfig::new(url, Arc::new(clock.clone())))
        .await
        .unwrap();
    store.migrate(|_, _, _| ()).await.unwrap();
    store
}

pub(crate) fn ports(
    stores: Vec<Store>,
    clock: ManualClock,
    keep: impl std::any::Any + Send + Sync,
) -> Ports {
    let one = Arc::new(stores[0].clone());
    let books = stores.into_iter().map(|s| Arc::new(s) as Arc<dyn Books>);
    Ports {
        books: books.collect(),
        directory: one.clone(),
        catalogue: one.clone(),
        reports: one,
        clock,
        keep: Box::new(keep),
    }
}
