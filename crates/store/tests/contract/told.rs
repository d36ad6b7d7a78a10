//! Nodes on PostgreSQL are told of changes at once, also after their connection was lost.

use std::time::Duration;

use billing_core::id::KeyId;
use billing_core::port::directory::Directory;
use sea_orm::{ConnectionTrait, Database};
use store::{Listener, NEWS};
use testkit::World;
use testkit::world::{api_key, hash};
use tokio::task::JoinSet;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_change_is_told_when_it_is_there_to_be_read() {
    testkit::contract::run(async {
        let (world, store, mut listener, _) = open().await;
        let before = store.newest_change().await.unwrap();
        world.top_up(10).await;
        let told = timeout(SOON, listener.next()).await.unwrap().unwrap();
        assert_eq!(told.unwrap().channel, NEWS);
        assert_eq!(store.changes(before, 10).await.unwrap().len(), 1);
    });
}

#[test]
fn a_connection_that_is_lost_comes_back_and_says_so() {
    testkit::contract::run(async {
        let (world, _, mut listener, url) = open().await;
        let back_door = Database::connect(&url).await.unwrap();
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        back_door.execute_unprepared(kill).await.unwrap();
        let lost = timeout(SOON, listener.next()).await.unwrap();
        if lost.is_err() {
            // Who gets an error listens anew.
            return;
        }
        assert_eq!(lost.unwrap(), None);
        world.top_up(10).await;
        let told = timeout(SOON, listener.next()).await.unwrap().unwrap();
        assert_eq!(told.unwrap().channel, NEWS);
    });
}

/// Whoever reads on from the last position that it has seen misses nothing, however many change
/// something at once.
#[test]
fn changes_that_are_made_at_once_become_visible_in_order() {
    testkit::contract::run(async {
        let (world, store, _, _) = open().await;
        let mut makers = JoinSet::new();
        let from = store.newest_change().await.unwrap();
        for maker in 0..8 {
            let account = world.new_account(0).await;
            let store = store.clone();
            makers.spawn(async move {
                for number in 0..25 {
                    let id = 10_000 + maker * 100 + number;
                    let key = api_key(KeyId::new(id), account);
                    store.create_key(key, hash(id)).await.unwrap();
                }
            });
        }
        let (mut position, mut heard) = (from, Vec::new());
        loop {
            let made_all = makers.is_empty();
            let changes = store.changes(position, 1000).await.unwrap();
            position = changes.last().map_or(position, |last| last.position);
            heard.extend(changes.into_iter().map(|change| change.position));
            if made_all {
                break;
            }
            while let Some(made) = makers.try_join_next() {
                made.unwrap();
            }
        }
        let noted = store.changes(from, 1000).await.unwrap();
        let noted: Vec<i64> = noted.into_iter().map(|change| change.position).collect();
        assert_eq!((heard.len(), heard), (200, noted));
    });
}

#[test]
fn nobody_tells_anything_on_sqlite() {
    testkit::contract::run(async {
        let folder = tempfile::tempdir().unwrap();
        let url = crate::open::sqlite_url(&folder);
        let clock = testkit::ManualClock::at(testkit::world::NOON);
        let store = crate::open::store(&url, &clock).await;
        assert!(store.listen().await.unwrap().is_none());
    });
}

async fn open() -> (World, store::Store, Listener, String) {
    let database = testkit::postgres::database();
    let url = database.url().to_owned();
    let clock = testkit::ManualClock::at(testkit::world::NOON);
    let store = crate::open::store(&url, &clock).await;
    let ports = crate::open::ports(std::slice::from_ref(&store), clock, database);
    let world = World::new(ports).await;
    let listener = store.listen().await.unwrap().unwrap();
    (world, store, listener, url)
}
