//! The date of a deployment goes forward, for everybody who has its books open.

use std::any::Any;
use std::sync::Arc;

use billing_core::port::clock::{Advance, MoveError, MovedDate};
use billing_core::port::directory::{ChangeSubject, Directory};
use store::Store;
use testkit::ManualClock;
use testkit::world::NOON;
use time::Duration;
use tokio::task::JoinSet;

use crate::open::on_both;

on_both! {
    a_date_is_moved_forward_for_everybody_and_told
    moves_at_once_add_up
}

async fn world(url: &str, keep: impl Any + Send + Sync) -> (Store, Arc<dyn Any + Send + Sync>) {
    let store = crate::open::store(url, &ManualClock::at(NOON)).await;
    (store, Arc::new(keep))
}

async fn a_date_is_moved_forward_for_everybody_and_told(
    (store, _keep): (Store, Arc<dyn Any + Send + Sync>),
    url: String,
) {
    let other = crate::open::store(&url, &ManualClock::at(NOON)).await;
    assert_eq!(store.ahead().await.unwrap(), Duration::ZERO);
    let (day, before) = (Duration::DAY, store.newest_change().await.unwrap());
    assert_eq!(
        store.advance(Advance::To(NOON + day), NOON).await.unwrap(),
        day
    );
    assert_eq!(other.ahead().await.unwrap(), day);
    let told = other.changes(before, 10).await.unwrap();
    assert!(
        matches!(told[..], [change] if change.subject == ChangeSubject::Date),
        "{told:?}"
    );
    let back = other.advance(Advance::To(NOON + day / 2), NOON).await;
    assert!(
        matches!(back, Err(MoveError::Backwards { now }) if now == NOON + day),
        "{back:?}"
    );
    assert_eq!(store.ahead().await.unwrap(), day);
    // The machine's date goes on by itself, and the moved one with it.
    let later = NOON + Duration::HOUR;
    assert!(other.advance(Advance::To(NOON + day), later).await.is_err());
    assert_eq!(
        other
            .advance(Advance::To(later + day), later)
            .await
            .unwrap(),
        day
    );
}

async fn moves_at_once_add_up((store, _keep): (Store, Arc<dyn Any + Send + Sync>), _url: String) {
    let mut moves = JoinSet::new();
    for days in 1..=16 {
        let (store, by) = (store.clone(), Advance::By(Duration::days(days)));
        moves.spawn(async move { store.advance(by, NOON).await.unwrap() });
    }
    moves.join_all().await;
    assert_eq!(store.ahead().await.unwrap(), Duration::days(136));
}
