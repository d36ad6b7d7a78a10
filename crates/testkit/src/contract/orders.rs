//! Rules of what customers ask of their subscriptions.

mod ending;
mod random;
mod refused;
mod taxed;

use std::sync::Arc;

use billing_core::budget::BudgetScope;
use billing_core::id::{AccountId, ChangeQuoteId, PlanVersionId};
use billing_core::money::Nanos;
use billing_core::plan::{PlanTerms, PlanVersion};
use billing_core::port::orders::{KeptQuote, NewOrder, QuoteAsk};
use billing_core::proration::ProrationUnit;
use billing_core::subscription::change::Timing;
use billing_core::subscription::{State, Subscription, SubscriptionError};
use billing_core::subscription_order::{Done, Order, OrderError};
use time::Duration;
use tokio::task::JoinSet;

pub use ending::{
    a_trial_is_had_once_whatever_it_was_changed_to, less_is_changed_to_at_the_end_of_the_period,
    what_is_cancelled_ends_and_can_be_resumed, what_rests_is_taken_up_again_once_it_is_paid,
    who_cancels_now_gets_back_what_was_not_used,
};
pub use random::random_changes;
pub use refused::{
    what_cannot_be_changed_to_is_refused_and_changes_nothing,
    what_cannot_be_taken_is_refused_and_changes_nothing,
};
pub use taxed::{
    a_quote_whose_taxes_have_changed_is_refused,
    a_trial_whose_fee_fits_without_its_tax_ends_as_one_that_cannot_be_paid,
    a_wallet_that_lacks_just_the_tax_changes_nothing,
    just_the_tax_on_lease_is_recalled_and_then_paid,
    what_is_shown_of_a_change_is_charged_with_its_tax,
};

use super::plans::{terms, version};
use super::subscriptions::{NINE, begin, days, load, monthly, run};
use crate::World;

/// Every rule of orders, as tests: `testkit::orders_contract!(name, opener)`.
#[macro_export]
macro_rules! orders_contract {
    ($name:ident, $open:expr) => {
        $crate::rules!($name, $open, orders:
            what_was_quoted_is_charged_once
            what_the_wallet_cannot_pay_changes_nothing
            a_change_waits_for_what_nodes_have_on_lease
            what_is_not_used_is_bought_credit_again
            what_was_used_since_the_quote_is_not_given_back
            credit_that_came_with_a_period_is_kept
            what_cannot_be_changed_to_is_refused_and_changes_nothing
            what_cannot_be_taken_is_refused_and_changes_nothing
            of_several_changes_at_once_one_is_done
            what_is_cancelled_ends_and_can_be_resumed
            who_cancels_now_gets_back_what_was_not_used
            what_rests_is_taken_up_again_once_it_is_paid
            less_is_changed_to_at_the_end_of_the_period
            a_trial_is_had_once_whatever_it_was_changed_to
            what_is_shown_of_a_change_is_charged_with_its_tax
            a_wallet_that_lacks_just_the_tax_changes_nothing
            just_the_tax_on_lease_is_recalled_and_then_paid
            a_trial_whose_fee_fits_without_its_tax_ends_as_one_that_cannot_be_paid
            a_quote_whose_taxes_have_changed_is_refused
            what_random_changes_cost_was_shown_before
        );
    };
}

/// A plan of so many cents a month, without quotas: its rest is sold by the second.
pub(super) fn plain(cents: i64) -> PlanTerms {
    let mut plain = terms(Vec::new());
    plain.price = Nanos::new(cents * 10_000_000);
    plain
}

pub(super) async fn publish(world: &World, terms: PlanTerms) -> PlanVersion {
    let code = format!("plan-{}", world.number());
    let made = version(world, &code, terms);
    world.ports.plans.publish(made).await.unwrap()
}

/// A subscription that is paid for.
pub(super) async fn paid_for(world: &World, terms: PlanTerms) -> Subscription {
    let began = begin(world, terms).await;
    run(world).await;
    let standing = load(world, began.id).await.subscription;
    assert_eq!(standing.state, State::Active);
    standing
}

fn ask(world: &World, account: AccountId, to: PlanVersionId) -> QuoteAsk {
    QuoteAsk {
        id: ChangeQuoteId::new(world.number()),
        account,
        to,
        quantity: None,
        timing: None,
        by: ProrationUnit::Second,
        is_kept: true,
        now: world.now(),
    }
}

pub(super) async fn quoted(world: &World, to: &PlanVersion, timing: Option<Timing>) -> KeptQuote {
    let ask = QuoteAsk {
        timing,
        ..ask(world, world.account, to.id)
    };
    world.ports.orders.quote(&ask).await.unwrap()
}

fn order(world: &World, order: Order, key: &str) -> NewOrder {
    NewOrder {
        account: world.account,
        order,
        key: key.to_owned(),
        now: world.now(),
    }
}

/// Carries out an order under a key of its own; what was previewed is what is done, and the wallet
/// has what is answered.
pub(super) async fn place(world: &World, what: Order) -> Result<Done, OrderError> {
    let made = order(world, what, &format!("order {}", world.number()));
    let preview = world.ports.orders.preview(&made).await;
    let done = world.ports.orders.place(&made).await;
    match (&preview, &done) {
        (Ok(preview), Ok(done)) => {
            assert_eq!(preview, done);
            assert_eq!(world.balance().await.0, done.balance.get());
        }
        (preview, done) => {
            let text =
                |done: &Result<Done, OrderError>| done.as_ref().map_err(ToString::to_string).err();
            assert_eq!(text(preview), text(done));
        }
    }
    done
}

pub(super) async fn stands(world: &World) -> Option<Subscription> {
    let found = world.ports.orders.standing_of(world.account, world.now());
    found.await.unwrap().map(|standing| standing.subscription)
}

/// To the cent, under one key once; the same quote is not taken under another.
pub async fn what_was_quoted_is_charged_once(world: World) {
    world.top_up(10 * NINE).await;
    let began = paid_for(&world, plain(900)).await;
    let larger = publish(&world, plain(3_000)).await;
    days(&world, 10).await;
    let kept = quoted(&world, &larger, None).await;
    let total = kept.quote.total().unwrap();
    let amounts: Vec<_> = kept.quote.items.iter().map(|item| item.amount).collect();
    assert!(
        matches!(amounts[..], [i64::MIN..=-1, 1..=i64::MAX]),
        "{amounts:?}"
    );
    assert_eq!(amounts.iter().sum::<i64>(), total);
    let before = world.balance().await.0;
    assert_eq!(stands(&world).await.unwrap().revision, kept.quote.revision);
    world.ports.clock.advance(Duration::minutes(10));
    let first = order(&world, Order::Take(kept.id), "a key");
    let orders = &world.ports.orders;
    let shown = orders.preview(&first).await.unwrap();
    assert_eq!(world.balance().await.0, before);
    let done = orders.place(&first).await.unwrap();
    assert_eq!(done, shown);
    assert_eq!((done.net, &done.items), (total, &kept.quote.items));
    assert_eq!(world.balance().await.0, before - total * 10_000_000);
    assert_eq!(done.balance.get(), world.balance().await.0);
    let now_on = stands(&world).await.unwrap();
    assert_eq!(now_on, done.subscription);
    assert_eq!((now_on.version, now_on.id), (larger.id, began.id));
    let again = orders.place(&first).await.unwrap();
    assert!(again.is_replayed);
    assert_eq!(
        Done {
            is_replayed: false,
            ..again
        },
        done
    );
    let other = order(&world, Order::Pause, "a key");
    let refused = orders.place(&other).await;
    assert!(matches!(refused, Err(OrderError::KeyReused)), "{refused:?}");
    let refused = place(&world, Order::Take(kept.id)).await;
    assert!(matches!(refused, Err(OrderError::Taken)), "{refused:?}");
    assert_eq!(stands(&world).await.unwrap(), now_on);
    // The next period is billed as what it is on now.
    let before = world.balance().await.0;
    days(&world, 31).await;
    assert_eq!(world.balance().await.0, before - 30_000_000_000);
    world.assert_sound().await;
}

/// All of it or nothing, and never from given credit or a credit limit.
pub async fn what_the_wallet_cannot_pay_changes_nothing(world: World) {
    world.top_up(NINE + 100).await;
    let began = paid_for(&world, plain(900)).await;
    let larger = publish(&world, plain(3_000)).await;
    let kept = quoted(&world, &larger, None).await;
    let refused = place(&world, Order::Take(kept.id)).await;
    assert!(
        matches!(&refused, Err(OrderError::Short { needed, has })
            if needed.to_minor() == 2_100 && has.nanos().get() == 100),
        "{refused:?}"
    );
    assert_eq!(stands(&world).await.unwrap(), began);
    assert_eq!(world.balance().await.0, 100);
    world.top_up(21_000_000_000).await;
    place(&world, Order::Take(kept.id)).await.unwrap();
    assert_eq!(world.balance().await.0, 100);
    world.assert_sound().await;
}

/// It is recalled from them, and nothing has changed until it is there.
pub async fn a_change_waits_for_what_nodes_have_on_lease(world: World) {
    world.top_up(4 * NINE).await;
    let began = paid_for(&world, plain(900)).await;
    let larger = publish(&world, plain(3_000)).await;
    let kept = quoted(&world, &larger, None).await;
    world
        .lease(BudgetScope::Wallet, 10_000_000_000)
        .await
        .unwrap();
    let refused = place(&world, Order::Take(kept.id)).await;
    assert!(
        matches!(&refused, Err(OrderError::OnLease(missing)) if missing.nanos().get() == 4_000_000_000),
        "{refused:?}"
    );
    assert_eq!(stands(&world).await.unwrap(), began);
    let recalls = world.books().recalls(world.node).await.unwrap();
    assert!(recalls.iter().any(|recall| recall.account == world.account));
    world.give_back(BudgetScope::Wallet, 10_000_000_000).await;
    place(&world, Order::Take(kept.id)).await.unwrap();
    assert_eq!(world.balance().await.0, 3 * NINE - 21_000_000_000);
    world.assert_sound().await;
}

/// What is given back pays calls and fees like any that was bought.
pub async fn what_is_not_used_is_bought_credit_again(world: World) {
    world.top_up(30_000_000_000).await;
    paid_for(&world, plain(3_000)).await;
    assert_eq!(world.balance().await.0, 0);
    let smaller = publish(&world, plain(900)).await;
    let kept = quoted(&world, &smaller, Some(Timing::Now)).await;
    assert_eq!(kept.quote.total(), Ok(-2_100));
    let done = place(&world, Order::Take(kept.id)).await.unwrap();
    assert_eq!(
        (done.net, world.balance().await.0),
        (-2_100, 21_000_000_000)
    );
    assert!(load(&world, done.subscription.id).await.can_pay);
    days(&world, 31).await;
    assert_eq!(world.balance().await.0, 21_000_000_000 - NINE);
    let standing = stands(&world).await.unwrap();
    assert_eq!(
        (standing.version, standing.state),
        (smaller.id, State::Active)
    );
    world.assert_sound().await;
}

/// A quota that comes with a period is used up in an hour: what is left of it bounds what is given
/// back, at the quote and until it is taken.
pub async fn what_was_used_since_the_quote_is_not_given_back(world: World) {
    world.top_up(10 * NINE).await;
    let began = paid_for(&world, monthly()).await;
    let mut dearer = monthly();
    dearer.price = Nanos::new(30_000_000_000);
    let dearer = publish(&world, dearer).await;
    let kept = quoted(&world, &dearer, None).await;
    assert_eq!(kept.quote.total(), Ok(2_100));
    let subscribed = world.ports.plans.subscribed(world.account).await.unwrap();
    let subscribed = subscribed.unwrap();
    let scope = subscribed.all_open(world.now())[0].scope;
    world.lease(scope, 50).await.unwrap();
    let refused = place(&world, Order::Take(kept.id)).await;
    let used = matches!(refused, Err(OrderError::Rule(SubscriptionError::UsedSince)));
    assert!(used, "{refused:?}");
    assert_eq!(stands(&world).await.unwrap(), began);
    let half = quoted(&world, &dearer, None).await;
    assert_eq!(half.quote.total(), Ok(3_000 - 450));
    place(&world, Order::Take(half.id)).await.unwrap();
    assert_eq!(world.balance().await.0, 9 * NINE - 25_500_000_000);
    world.assert_sound().await;
}

/// Its worth is not given back with the rest of the fee, so that nobody gets it for nothing.
pub async fn credit_that_came_with_a_period_is_kept(world: World) {
    world.top_up(NINE).await;
    let mut bearing = plain(900);
    bearing.included_credit = Nanos::new(4_000_000_000);
    paid_for(&world, bearing).await;
    assert_eq!(world.balance().await.0, 4_000_000_000);
    let now = Order::CancelNow { is_credited: true };
    let done = place(&world, now).await.unwrap();
    assert_eq!((done.net, world.balance().await.0), (-500, NINE));
    world.assert_sound().await;
}

/// The others are told that it has changed, and nothing of them is left.
pub async fn of_several_changes_at_once_one_is_done(world: World) {
    world.top_up(20 * NINE).await;
    paid_for(&world, plain(900)).await;
    let mut kept = Vec::new();
    for cents in [2_000, 3_000, 4_000, 5_000] {
        let to = publish(&world, plain(cents)).await;
        kept.push(quoted(&world, &to, None).await);
    }
    let before = world.balance().await.0;
    let world = Arc::new(world);
    let mut takes = JoinSet::new();
    for quote in &kept {
        let made = order(&world, Order::Take(quote.id), &quote.id.to_string());
        let world = Arc::clone(&world);
        takes.spawn(async move { world.ports.orders.place(&made).await });
    }
    let taken = takes.join_all().await;
    let (done, refused): (Vec<_>, Vec<_>) = taken.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 1);
    let done = done[0].as_ref().unwrap();
    for refused in refused {
        let changed = matches!(refused, Err(OrderError::Rule(SubscriptionError::Changed)));
        assert!(changed, "{refused:?}");
    }
    assert_eq!(world.balance().await.0, before - done.net * 10_000_000);
    assert_eq!(stands(&world).await.unwrap(), done.subscription);
    // The same order at once from several is one.
    let to = publish(&world, plain(7_000)).await;
    let quote = quoted(&world, &to, None).await;
    let before = world.balance().await.0;
    let mut takes = JoinSet::new();
    for _ in 0..4 {
        let made = order(&world, Order::Take(quote.id), "one key");
        let world = Arc::clone(&world);
        takes.spawn(async move { world.ports.orders.place(&made).await.unwrap() });
    }
    let taken = takes.join_all().await;
    assert_eq!(taken.iter().filter(|done| !done.is_replayed).count(), 1);
    assert_eq!(world.balance().await.0, before - taken[0].net * 10_000_000);
    world.assert_sound().await;
}

/// Some, on each adapter; a thousand run in memory.
pub async fn what_random_changes_cost_was_shown_before(world: World) {
    random_changes(&world, 60).await;
}
