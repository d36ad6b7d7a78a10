//! Taxes that come on top of what orders cost, or are included: shown, quoted, answered and charged
//! alike.

use billing_core::budget::BudgetScope;
use billing_core::invoice::Taxes;
use billing_core::subscription::State;
use billing_core::subscription_order::{Order, OrderError};
use time::Duration;

use super::super::invoices::lives_in;
use super::{days, load, paid_for, place, plain, publish, quoted, run, stands};
use crate::World;
use crate::contract::subscriptions::begin;

const CENT: i64 = 10_000_000;

/// 9 dollars with the German tax of 19 %, which comes on top, are 1,071 cents; with the French one of
/// 20 %, which is included, they stay 900.
pub async fn what_is_shown_of_a_change_is_charged_with_its_tax(world: World) {
    for (country, on_top, all) in [("DE", 399, 399), ("FR", 0, 350), ("US", 0, 0)] {
        lives_in(&world, country).await;
        world.top_up(10_000 * CENT).await;
        let account = world.account;
        paid_for(&world, plain(900)).await;
        let larger = publish(&world, plain(3_000)).await;
        let kept = quoted(&world, &larger, None).await;
        let taxes = Taxes { all, on_top };
        assert_eq!(kept.quote.taxes, taxes, "{country}");
        assert_eq!(kept.quote.total(), Ok(2_100 + on_top), "{country}");
        let before = world.balance().await.0;
        let done = place(&world, Order::Take(kept.id)).await.unwrap();
        assert_eq!((done.net, done.taxes), (2_100, taxes), "{country}");
        assert_eq!(done.total(), kept.quote.total(), "{country}");
        let paid = before - world.balance().await.0;
        assert_eq!(paid, (2_100 + on_top) * CENT, "{country}");
        let invoices = world.ports.invoices.list(account, None, 1).await.unwrap();
        let totals = invoices[0].content.totals;
        assert_eq!(
            (totals.total.get(), totals.tax.get()),
            (2_100 + on_top, all)
        );
        // The same goes back.
        let now = Order::CancelNow { is_credited: true };
        let back = place(&world, now).await.unwrap();
        let sum = i64::from(country == "DE") * 570;
        assert_eq!((back.net, back.taxes.on_top), (-3_000, -sum), "{country}");
        world.assert_sound().await;
    }
}

/// What is lacking is the tax and nothing else: nothing has changed, and it is said what it costs.
pub async fn a_wallet_that_lacks_just_the_tax_changes_nothing(world: World) {
    lives_in(&world, "DE").await;
    world.top_up((1_071 + 2_100 + 398) * CENT).await;
    let began = paid_for(&world, plain(900)).await;
    let larger = publish(&world, plain(3_000)).await;
    let kept = quoted(&world, &larger, None).await;
    let refused = place(&world, Order::Take(kept.id)).await;
    assert!(
        matches!(&refused, Err(OrderError::Short { needed, has })
            if needed.to_minor() == 2_499 && has.to_minor() == 2_498),
        "{refused:?}"
    );
    assert_eq!(stands(&world).await.unwrap(), began);
    assert_eq!(world.balance().await.0, 2_498 * CENT);
    let invoices = world.ports.invoices.list(world.account, None, 9).await;
    assert_eq!(invoices.unwrap().len(), 1);
    world.top_up(CENT).await;
    place(&world, Order::Take(kept.id)).await.unwrap();
    assert_eq!(world.balance().await.0, 0);
    world.assert_sound().await;
}

/// It is recalled as any part of the price is.
pub async fn just_the_tax_on_lease_is_recalled_and_then_paid(world: World) {
    lives_in(&world, "DE").await;
    world.top_up((1_071 + 2_499) * CENT).await;
    let began = paid_for(&world, plain(900)).await;
    let larger = publish(&world, plain(3_000)).await;
    let kept = quoted(&world, &larger, None).await;
    let leased = 3_990_000_000;
    world.lease(BudgetScope::Wallet, leased).await.unwrap();
    let refused = place(&world, Order::Take(kept.id)).await;
    assert!(
        matches!(&refused, Err(OrderError::OnLease(missing)) if missing.to_minor() == 399),
        "{refused:?}"
    );
    assert_eq!(stands(&world).await.unwrap(), began);
    let recalls = world.books().recalls(world.node).await.unwrap();
    assert!(recalls.iter().any(|recall| recall.account == world.account));
    world.give_back(BudgetScope::Wallet, leased).await;
    place(&world, Order::Take(kept.id)).await.unwrap();
    assert_eq!(world.balance().await.0, 0);
    world.assert_sound().await;
}

/// A trial ends as one does for which there is too little: it rests, and nothing is charged.
pub async fn a_trial_whose_fee_fits_without_its_tax_ends_as_one_that_cannot_be_paid(world: World) {
    lives_in(&world, "DE").await;
    world.top_up(1_070 * CENT).await;
    let mut trial = plain(900);
    trial.trial_days = 7;
    let began = begin(&world, trial).await;
    assert!(!load(&world, began.id).await.can_pay);
    days(&world, 8).await;
    let standing = load(&world, began.id).await.subscription;
    assert!(
        matches!(standing.state, State::Paused { .. }),
        "{:?}",
        standing.state
    );
    let invoices = world.ports.invoices.list(world.account, None, 9).await;
    assert_eq!(invoices.unwrap(), []);
    let refused = place(&world, Order::Unpause).await;
    assert!(
        matches!(&refused, Err(OrderError::Short { needed, .. }) if needed.to_minor() == 1_071),
        "{refused:?}"
    );
    world.top_up(CENT).await;
    assert!(load(&world, began.id).await.can_pay);
    let done = place(&world, Order::Unpause).await.unwrap();
    assert_eq!((done.total(), done.balance.get()), (Ok(1_071), 0));
    run(&world).await;
    assert_eq!(stands(&world).await.unwrap().state, State::Active);
    world.assert_sound().await;
}

/// What was shown is what is charged, or nothing is.
pub async fn a_quote_whose_taxes_have_changed_is_refused(world: World) {
    world.top_up(20_000 * CENT).await;
    let began = paid_for(&world, plain(3_000)).await;
    let larger = publish(&world, plain(9_000)).await;
    let kept = quoted(&world, &larger, None).await;
    assert_eq!(kept.quote.taxes, Taxes::default());
    lives_in(&world, "DE").await;
    let before = world.balance().await.0;
    let refused = place(&world, Order::Take(kept.id)).await;
    assert!(
        matches!(refused, Err(OrderError::TaxChanged)),
        "{refused:?}"
    );
    assert_eq!(stands(&world).await.unwrap(), began);
    assert_eq!(world.balance().await.0, before);
    world.ports.clock.advance(Duration::minutes(1));
    let again = quoted(&world, &larger, None).await;
    place(&world, Order::Take(again.id)).await.unwrap();
    let paid = before - world.balance().await.0;
    assert_eq!(paid, again.quote.total().unwrap() * CENT);
    world.assert_sound().await;
}
