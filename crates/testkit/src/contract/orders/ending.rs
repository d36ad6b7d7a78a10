//! Rules of what ends, rests, or changes later.

use billing_core::budget::Amount;
use billing_core::money::Nanos;
use billing_core::subscription::{EndReason, State};
use billing_core::subscription_order::{Order, OrderError};

use super::super::plans::{subscription, version};
use super::super::subscriptions::{NINE, days, has_quotas, load, monthly};
use super::{paid_for, place, plain, publish, quoted, stands};
use crate::World;

/// At the end of the period; until then everything stays open and it can be taken back.
pub async fn what_is_cancelled_ends_and_can_be_resumed(world: World) {
    world.top_up(3 * NINE).await;
    let began = paid_for(&world, monthly()).await;
    let refused = place(&world, Order::Resume).await;
    let nothing = matches!(refused, Err(OrderError::NothingToResume));
    assert!(nothing, "{refused:?}");
    let done = place(&world, Order::CancelAtEnd).await.unwrap();
    assert_eq!(done.net, 0);
    let stood = done.subscription;
    let ends_at = Some(began.billed_through);
    assert_eq!((stood.cancel_at, stood.auto_renew), (ends_at, false));
    assert!(has_quotas(&world).await);
    place(&world, Order::Resume).await.unwrap();
    days(&world, 31).await;
    assert_eq!(world.balance().await.0, NINE);
    place(&world, Order::CancelAtEnd).await.unwrap();
    days(&world, 31).await;
    assert_eq!(stands(&world).await, None);
    let why = load(&world, began.id).await.subscription.state;
    let cancelled = matches!(
        why,
        State::Ended {
            why: EndReason::Cancelled,
            ..
        }
    );
    assert!(cancelled, "{why:?}");
    assert!(!has_quotas(&world).await);
    assert_eq!(world.balance().await.0, NINE);
    let refused = place(&world, Order::Resume).await;
    assert!(
        matches!(refused, Err(OrderError::NoSubscription)),
        "{refused:?}"
    );
    world.assert_sound().await;
}

/// Where that is wished, and no more than was paid.
pub async fn who_cancels_now_gets_back_what_was_not_used(world: World) {
    world.top_up(2 * NINE).await;
    paid_for(&world, plain(900)).await;
    days(&world, 15).await;
    let now = Order::CancelNow { is_credited: true };
    let done = place(&world, now).await.unwrap();
    // Half of a month of thirty days.
    assert_eq!((done.net, world.balance().await.0), (-450, NINE + NINE / 2));
    assert_eq!(stands(&world).await, None);
    world.top_up(NINE).await;
    paid_for(&world, plain(900)).await;
    let before = world.balance().await.0;
    let now = Order::CancelNow { is_credited: false };
    let done = place(&world, now).await.unwrap();
    assert_eq!((done.net, world.balance().await.0), (0, before));
    world.assert_sound().await;
}

/// A period begins then, with what comes with it. Without the means it goes on resting.
pub async fn what_rests_is_taken_up_again_once_it_is_paid(world: World) {
    world.top_up(NINE).await;
    let mut bearing = monthly();
    bearing.included_credit = Nanos::new(500_000_000);
    paid_for(&world, bearing).await;
    place(&world, Order::Pause).await.unwrap();
    assert!(!has_quotas(&world).await);
    days(&world, 40).await;
    let rests = stands(&world).await.unwrap();
    assert!(matches!(rests.state, State::Paused { .. }), "{rests:?}");
    let refused = place(&world, Order::Unpause).await;
    assert!(
        matches!(refused, Err(OrderError::Short { .. })),
        "{refused:?}"
    );
    assert_eq!(stands(&world).await.unwrap(), rests);
    world.top_up(2 * NINE).await;
    let before = world.balance().await.0;
    let done = place(&world, Order::Unpause).await.unwrap();
    assert_eq!((done.net, done.granted), (900, Amount::new(500_000_000)));
    assert_eq!(world.balance().await.0, before - NINE + 500_000_000);
    let stood = stands(&world).await.unwrap();
    assert_eq!(stood.state, State::Active);
    assert!(has_quotas(&world).await);
    // In the same second, too, and each time for a fee.
    place(&world, Order::Pause).await.unwrap();
    let before = world.balance().await.0;
    place(&world, Order::Unpause).await.unwrap();
    assert_eq!(world.balance().await.0, before - NINE + 500_000_000);
    world.assert_sound().await;
}

/// Unless it is wished otherwise; also where it was to end.
pub async fn less_is_changed_to_at_the_end_of_the_period(world: World) {
    world.top_up(10 * NINE).await;
    let began = paid_for(&world, plain(3_000)).await;
    let smaller = publish(&world, plain(900)).await;
    place(&world, Order::CancelAtEnd).await.unwrap();
    let kept = quoted(&world, &smaller, None).await;
    assert_eq!((kept.quote.total(), kept.quote.items.len()), (Ok(0), 0));
    let done = place(&world, Order::Take(kept.id)).await.unwrap();
    let pending = done.subscription.pending.map(|pending| pending.version);
    assert_eq!((done.net, pending), (0, Some(smaller.id)));
    assert_eq!(stands(&world).await.unwrap().version, began.version);
    let before = world.balance().await.0;
    days(&world, 31).await;
    assert_eq!(stands(&world).await.unwrap().version, smaller.id);
    assert_eq!(world.balance().await.0, before - NINE);
    world.assert_sound().await;
}

/// Not by changing to another plan in the trial either.
pub async fn a_trial_is_had_once_whatever_it_was_changed_to(world: World) {
    let mut trial = monthly();
    trial.trial_days = 7;
    let plans = &world.ports.plans;
    let first = plans.publish(version(&world, "first", trial.clone()));
    let first = first.await.unwrap();
    trial.features.clear();
    let second = plans.publish(version(&world, "second", trial));
    let second = second.await.unwrap();
    let made = subscription(&world, world.account, first.id);
    let began = plans.begin(made).await.unwrap();
    assert!(matches!(began.state, State::Trialing { .. }));
    let kept = quoted(&world, &second, None).await;
    let done = place(&world, Order::Take(kept.id)).await.unwrap();
    assert_eq!((done.net, done.subscription.state), (0, began.state));
    place(&world, Order::CancelNow { is_credited: true })
        .await
        .unwrap();
    for version in [first.id, second.id] {
        let made = subscription(&world, world.account, version);
        let again = plans.begin(made).await.unwrap();
        assert!(matches!(again.state, State::Incomplete { .. }), "{again:?}");
        assert!(plans.end(world.account, world.now()).await.unwrap());
    }
}
