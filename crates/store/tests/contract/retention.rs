//! Calls that are no longer kept.

use billing_core::call::Settlement;
use billing_core::id::{CallId, first_id_at};
use billing_core::port::books::BooksError;
use billing_core::port::reports::{CallFilter, Reports};
use sea_orm::{ConnectionTrait, Database};
use testkit::world::NOON;
use time::{Duration, OffsetDateTime};

use crate::store::{Scene, on_both, postgres, settle_many, sqlite};

on_both! {
    calls_beyond_their_retention_are_gone_and_the_books_still_hold
    a_call_that_may_have_been_charged_and_deleted_is_not_charged_again
    a_call_that_was_settled_late_is_kept_for_as_long_as_it_is_proved
}

/// The call as if it had begun at another time, with the id of that time.
fn begun(call: &Settlement, at: OffsetDateTime, number: i64) -> Settlement {
    let ms = i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap();
    let mut call = call.clone();
    call.call = CallId::new(first_id_at(ms) + number);
    call.facts.started_at = at;
    call
}

/// The journal stands for what was charged; a call that was kept is proved as before.
async fn calls_beyond_their_retention_are_gone_and_the_books_still_hold(scene: Scene) {
    let (world, store) = (&scene.world, &scene.store);
    settle_many(&scene, 1100).await;
    let mut keyed = world.call(10, 10);
    keyed.facts.idempotency_key = Some("once".to_owned());
    let attempt = keyed.facts.attempts[0].clone();
    keyed.facts.attempts.push(attempt);
    world.settle(keyed.clone()).await;
    while store.list_settled(1000).await.unwrap().is_some() {}
    let list = async || {
        let all = CallFilter::default();
        store.calls(world.account, all, None, 2000).await.unwrap()
    };
    // Calls of this world have small ids, so only the line's place counts.
    let long_ago = OffsetDateTime::UNIX_EPOCH + Duration::days(1);
    assert_eq!(store.expire_calls(long_ago).await.unwrap(), (0, true));
    assert_eq!(list().await.len(), 1101);
    world.assert_sound().await;
    let balance = world.balance().await;
    let after = NOON + Duration::days(1);
    let (some, is_over) = store.expire_calls(after).await.unwrap();
    assert_eq!(is_over, some == 1101, "{some}");
    world.assert_sound().await;
    let mut gone = some;
    // The line does not go back with a clock.
    let before = NOON - Duration::days(1);
    for _ in 0..9 {
        gone += store.expire_calls(before).await.unwrap().0;
    }
    assert_eq!(gone, 1101);
    assert_eq!(store.expire_calls(after).await.unwrap(), (0, true));
    assert_eq!(list().await.len(), 0);
    let key = store.call_by_idempotency_key(world.account, "once").await;
    assert_eq!(key.unwrap(), None);
    assert_eq!(world.balance().await, balance);
    world.assert_sound().await;
    for call in [1, 2, 3] {
        world.settle(begun(&world.call(10, 10), after, call)).await;
    }
    world.assert_sound().await;
    assert_eq!(list().await.len(), 3);
}

/// What is on record is answered as before, however old it is. The calls beside it are charged.
async fn a_call_that_may_have_been_charged_and_deleted_is_not_charged_again(scene: Scene) {
    let (world, store) = (&scene.world, &scene.store);
    let old = begun(&world.call(10, 10), NOON - Duration::days(9), 1);
    let settled = world.settle(old.clone()).await;
    // The line is drawn, and nothing is deleted yet.
    let since = NOON - Duration::days(5);
    let since_us = since.unix_timestamp_nanos() / 1000;
    let line = format!(
        "INSERT INTO retention (id, calls_since, passed_account) \
         VALUES (1, {since_us}, -9223372036854775808)"
    );
    let back_door = Database::connect(&scene.url).await.unwrap();
    back_door.execute_unprepared(&line).await.unwrap();
    let again = world.settle(old.clone()).await;
    assert!(again.replayed);
    assert_eq!(again.call, settled.call);
    let text = "DELETE FROM call_attempt; DELETE FROM call";
    back_door.execute_unprepared(text).await.unwrap();
    let (balance, fresh, gone) = (world.balance().await, world.call(10, 10), old.clone());
    let kept = begun(&fresh, since, 1);
    let unknown = begun(&world.call(10, 10), since - Duration::hours(2), 1);
    let young = begun(&world.call(10, 10), NOON, 1);
    let books = world.books();
    let (old, unknown, kept, young) = tokio::join!(
        books.settle(old.into()),
        books.settle(unknown.into()),
        books.settle(kept.into()),
        books.settle(young.into())
    );
    assert!(matches!(old, Err(BooksError::NoLongerKept)), "{old:?}");
    assert!(
        matches!(unknown, Err(BooksError::NoLongerKept)),
        "{unknown:?}"
    );
    assert!(!kept.unwrap().replayed && !young.unwrap().replayed);
    // By a clock that lost its date nothing looks old.
    world.ports.clock.set(OffsetDateTime::UNIX_EPOCH);
    let gone = books.settle(gone.into()).await;
    assert!(matches!(gone, Err(BooksError::NoLongerKept)), "{gone:?}");
    let (posted, leased) = balance;
    assert_eq!(world.balance().await, (posted - 20, leased - 20));
    let all = CallFilter::default();
    while store.list_settled(1000).await.unwrap().is_some() {}
    let listed = store.calls(world.account, all, None, 9).await.unwrap();
    assert_eq!(listed.len(), 2);
}

/// Its transaction is young, so a proof looks for it.
async fn a_call_that_was_settled_late_is_kept_for_as_long_as_it_is_proved(scene: Scene) {
    let (world, store) = (&scene.world, &scene.store);
    world
        .settle(begun(&world.call(10, 10), NOON - Duration::days(9), 1))
        .await;
    while store.list_settled(1000).await.unwrap().is_some() {}
    for (since, gone) in [(Duration::days(5), 0), (Duration::days(1), 1)] {
        let expired = store.expire_calls(NOON - since).await.unwrap();
        assert_eq!(expired, (gone, true));
        world.assert_sound().await;
    }
}
