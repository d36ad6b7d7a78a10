//! Rules of what is refused, each time with nothing changed.

use billing_core::id::PlanVersionId;
use billing_core::money::Currency;
use billing_core::port::orders::{NewOrder, QuoteAsk};
use billing_core::subscription::SubscriptionError;
use billing_core::subscription::SubscriptionError::{
    ClockBehind, Currency as OtherCurrency, NotOnSale, QuoteExpired, Same,
};
use billing_core::subscription::change::QUOTE_HOLDS;
use billing_core::subscription_order::Order;
use billing_core::subscription_order::OrderError::{self, Rule};
use time::Duration;

use super::super::subscriptions::{NINE, days};
use super::{ask, order, paid_for, place, plain, publish, quoted, stands};
use crate::World;

async fn refusal(world: &World, ask: QuoteAsk) -> OrderError {
    world.ports.orders.quote(&ask).await.unwrap_err()
}

/// The same plan, none of it, one that is off sale, is not there or is in another currency; and no
/// subscription at all.
pub async fn what_cannot_be_changed_to_is_refused_and_changes_nothing(world: World) {
    let larger = publish(&world, plain(3_000)).await;
    let wish = |to| ask(&world, world.account, to);
    let refused = refusal(&world, wish(larger.id)).await;
    assert!(matches!(refused, OrderError::NoSubscription), "{refused:?}");
    world.top_up(10 * NINE).await;
    let began = paid_for(&world, plain(900)).await;
    days(&world, 3).await;
    let refused = refusal(&world, wish(began.version)).await;
    assert!(matches!(refused, Rule(Same)), "{refused:?}");
    let refused = refusal(&world, wish(PlanVersionId::new(1))).await;
    assert!(matches!(refused, OrderError::NoSuchVersion), "{refused:?}");
    let none = QuoteAsk {
        quantity: Some(0),
        ..wish(larger.id)
    };
    let refused = refusal(&world, none).await;
    let is_none = matches!(refused, Rule(SubscriptionError::Quantity(0)));
    assert!(is_none, "{refused:?}");
    let mut euros = plain(3_000);
    euros.currency = Currency::parse("EUR").unwrap();
    let euros = publish(&world, euros).await;
    let refused = refusal(&world, wish(euros.id)).await;
    assert!(matches!(refused, Rule(OtherCurrency)), "{refused:?}");

    let plans = &world.ports.plans;
    let offer = plans.offer(larger.id).await.unwrap().unwrap();
    let kept = quoted(&world, &larger, None).await;
    assert!(plans.archive(&offer.code, world.now()).await.unwrap());
    assert!(!plans.archive(&offer.code, world.now()).await.unwrap());
    let refused = refusal(&world, wish(larger.id)).await;
    assert!(matches!(refused, Rule(NotOnSale)), "{refused:?}");
    let refused = place(&world, Order::Take(kept.id)).await;
    assert!(matches!(refused, Err(Rule(NotOnSale))), "{refused:?}");

    assert_eq!(stands(&world).await.unwrap(), began);
    assert_eq!(world.balance().await.0, 9 * NINE);
    world.assert_sound().await;
}

/// A quote that is old, was not kept or is another's, a clock that went back, and a subscription that
/// is set aside.
pub async fn what_cannot_be_taken_is_refused_and_changes_nothing(world: World) {
    world.top_up(10 * NINE).await;
    let began = paid_for(&world, plain(900)).await;
    days(&world, 3).await;
    let wish = |to| ask(&world, world.account, to);
    let other = publish(&world, plain(2_000)).await;
    let kept = quoted(&world, &other, None).await;
    let foreign = NewOrder {
        account: world.new_account(0).await,
        ..order(&world, Order::Take(kept.id), "foreign")
    };
    let refused = world.ports.orders.place(&foreign).await;
    let is_foreign = matches!(refused, Err(OrderError::NoSuchQuote));
    assert!(is_foreign, "{refused:?}");
    let early = NewOrder {
        now: world.now() - Duration::SECOND,
        ..order(&world, Order::Take(kept.id), "early")
    };
    let refused = world.ports.orders.place(&early).await;
    assert!(matches!(refused, Err(Rule(ClockBehind))), "{refused:?}");
    let long_ago = QuoteAsk {
        now: world.now() - Duration::days(4),
        ..wish(other.id)
    };
    let refused = refusal(&world, long_ago).await;
    assert!(matches!(refused, Rule(ClockBehind)), "{refused:?}");
    let unkept = QuoteAsk {
        is_kept: false,
        ..wish(other.id)
    };
    world.ports.orders.quote(&unkept).await.unwrap();
    let refused = place(&world, Order::Take(unkept.id)).await;
    assert!(
        matches!(refused, Err(OrderError::NoSuchQuote)),
        "{refused:?}"
    );
    world.ports.clock.advance(QUOTE_HOLDS);
    let refused = place(&world, Order::Take(kept.id)).await;
    assert!(matches!(refused, Err(Rule(QuoteExpired))), "{refused:?}");

    let kept = quoted(&world, &other, None).await;
    let subscriptions = &world.ports.subscriptions;
    subscriptions
        .park(began.id, "why", world.now())
        .await
        .unwrap();
    for what in [Order::Take(kept.id), Order::CancelAtEnd] {
        let refused = place(&world, what).await;
        assert!(matches!(refused, Err(OrderError::Parked)), "{refused:?}");
    }
    subscriptions.unpark(began.id, world.now()).await.unwrap();
    assert_eq!(stands(&world).await.unwrap(), began);
    assert_eq!(world.balance().await.0, 9 * NINE);
    world.assert_sound().await;
}
