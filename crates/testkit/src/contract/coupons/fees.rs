//! What coupons take off fees, and what becomes of them then.

use std::collections::BTreeSet;

use billing_core::invoice::{CouponError, CouponOff, Invoice, InvoiceStatus};
use billing_core::money::{Currency, Minor};
use billing_core::plan::Billing;
use billing_core::port::plans::{NewSubscription, PlansError};
use billing_core::port::subscriptions::Collected;
use billing_core::subscription::change::Timing;
use billing_core::subscription::{State, Subscription};
use billing_core::subscription_order::{Order, OrderError};
use time::Duration;

use super::{find, give, left, percent, redeem};
use crate::World;
use crate::contract::invoices::{assert_equal_to_the_books, invoices, lives_in};
use crate::contract::orders::{paid_for, place, plain, publish, quoted, stands};
use crate::contract::plans::{subscription, version};
use crate::contract::subscriptions::{begin, collect, days, load, run};

const CENT: i64 = 10_000_000;

/// Discount, tax and total of invoices, the newest first.
fn sums(invoices: &[Invoice]) -> Vec<(i64, i64, i64)> {
    let of = |invoice: &Invoice| {
        let totals = invoice.content.totals;
        (totals.discount.get(), totals.tax.get(), totals.total.get())
    };
    invoices.iter().map(of).collect()
}

/// The tax is on what is left; the wallet pays what the invoice asks for; the invoice names the coupon;
/// and it is the last that it took something off.
pub async fn fees_are_less_until_a_coupon_is_used_up(world: World) {
    lives_in(&world, "DE").await;
    give(&world, percent("SPRING", 25, 2), &[]).await;
    redeem(&world, "SPRING").await.unwrap();
    world.top_up(10_000 * CENT).await;
    let began = begin(&world, plain(900)).await;
    assert_eq!((began.charged, left(&world).await), (675, vec![Some(1)]));
    assert!(load(&world, began.id).await.can_pay);
    run(&world).await;
    // 675 cents, and 19 % of that.
    assert_eq!(world.balance().await.0, (10_000 - 803) * CENT);
    assert_equal_to_the_books(&world).await;
    days(&world, 31).await;
    assert_eq!(left(&world).await, [Some(0)]);
    assert_eq!(world.balance().await.0, (10_000 - 2 * 803) * CENT);
    days(&world, 31).await;
    let invoices = invoices(&world, world.account).await;
    assert_eq!(
        sums(&invoices),
        [(0, 171, 1_071), (225, 128, 803), (225, 128, 803)]
    );
    let applied = &invoices[2].content.discounts[0];
    assert_eq!(applied.discount.code, Some("SPRING".parse().unwrap()));
    assert_eq!((applied.base.get(), applied.amount.get()), (900, 225));
    assert!(invoices[0].content.discounts.is_empty());
    assert_eq!(world.balance().await.0, (10_000 - 2 * 803 - 1_071) * CENT);
    assert_equal_to_the_books(&world).await;
}

/// Its invoice says so and is paid as it is: the wallet may be empty.
pub async fn a_fee_of_which_nothing_is_left_is_invoiced_and_paid(world: World) {
    lives_in(&world, "DE").await;
    give(&world, percent("FREE", 100, 2), &[]).await;
    redeem(&world, "FREE").await.unwrap();
    let began = begin(&world, plain(900)).await;
    run(&world).await;
    assert_eq!(stands(&world).await.unwrap().state, State::Active);
    days(&world, 31).await;
    let renewed = stands(&world).await.unwrap();
    assert_eq!((renewed.state, renewed.charged), (State::Active, 0));
    assert_eq!(left(&world).await, [Some(0)]);
    let invoices = invoices(&world, world.account).await;
    assert_eq!(sums(&invoices), [(900, 0, 0), (900, 0, 0)]);
    let paid = |invoice: &Invoice| matches!(invoice.status, InvoiceStatus::Paid(_));
    assert!(invoices.iter().all(paid));
    // Nothing was paid, so nothing goes back.
    let done = place(&world, Order::CancelNow { is_credited: true }).await;
    let done = done.unwrap();
    assert_eq!((done.subscription.id, done.net), (began.id, 0));
    assert_eq!(world.balance().await.0, 0);
    assert_equal_to_the_books(&world).await;
}

async fn wish(world: &World, cents: i64, coupon: Option<&str>) -> NewSubscription {
    let published = publish(world, plain(cents)).await;
    NewSubscription {
        coupon: coupon.map(|code| code.parse().unwrap()),
        ..subscription(world, world.account, published.id)
    }
}

/// Both at once, or neither.
pub async fn a_coupon_that_comes_with_a_subscription_comes_off_its_first_fee(world: World) {
    let pro = version(&world, "pro", plain(900));
    let pro = world.ports.plans.publish(pro).await.unwrap();
    let mut ten = percent("TEN", 10, 1);
    ten.off = CouponOff::Amount(Minor::new(1_000), Currency::USD);
    give(&world, ten, &["pro"]).await;
    let plans = &world.ports.plans;
    let refused = plans.begin(wish(&world, 900, Some("NONE")).await).await;
    let unknown = matches!(refused, Err(PlansError::Coupon(CouponError::Unknown(_))));
    assert!(unknown, "{refused:?}");
    let refused = plans.begin(wish(&world, 900, Some("TEN")).await).await;
    let other = matches!(refused, Err(PlansError::Coupon(CouponError::OtherPlan(_))));
    assert!(other, "{refused:?}");
    assert_eq!(stands(&world).await, None);
    assert_eq!(invoices(&world, world.account).await, []);
    assert_eq!(
        (left(&world).await, find(&world, "TEN").await.redemptions),
        (vec![], 0)
    );
    let made = NewSubscription {
        coupon: Some("TEN".parse().unwrap()),
        quantity: 2,
        ..subscription(&world, world.account, pro.id)
    };
    world.top_up(800 * CENT).await;
    plans.begin(made.clone()).await.unwrap();
    run(&world).await;
    assert_eq!(
        (left(&world).await, world.balance().await.0),
        (vec![Some(0)], 0)
    );
    assert_eq!(
        sums(&invoices(&world, world.account).await),
        [(1_000, 0, 800)]
    );
    // It is the account's for good, so another subscription cannot bring it again.
    assert!(plans.end(world.account, world.now()).await.unwrap());
    let refused = plans.begin(made).await;
    let before = matches!(
        refused,
        Err(PlansError::Coupon(CouponError::RedeemedBefore(_)))
    );
    assert!(before, "{refused:?}");
    assert_eq!(stands(&world).await, None);
    assert_equal_to_the_books(&world).await;
}

/// However often a renewal is declined, its invoice is one.
pub async fn what_is_tried_again_uses_a_coupon_once(world: World) {
    give(&world, percent("HALF", 50, 3), &[]).await;
    redeem(&world, "HALF").await.unwrap();
    world.top_up(450 * CENT).await;
    let began = begin(&world, plain(900)).await;
    run(&world).await;
    assert_eq!(
        (left(&world).await, world.balance().await.0),
        (vec![Some(2)], 0)
    );
    days(&world, 36).await;
    let standing = load(&world, began.id).await;
    let state = standing.subscription.state;
    let owes = matches!(state, State::PastDue(owed) if owed.amount == 450 && owed.tries > 2);
    assert!(owes, "{state:?}");
    assert_eq!(left(&world).await, [Some(1)]);
    // To the cent.
    world.top_up(449 * CENT).await;
    let fee = standing.open_fee.unwrap();
    assert_eq!(collect(&world, &fee, 40).await, Collected::Declined);
    world.top_up(CENT).await;
    days(&world, 10).await;
    assert_eq!(stands(&world).await.unwrap().state, State::Active);
    assert_eq!(
        (left(&world).await, world.balance().await.0),
        (vec![Some(1)], 0)
    );
    let invoices = invoices(&world, world.account).await;
    assert_eq!(sums(&invoices), [(450, 0, 450), (450, 0, 450)]);
    assert_equal_to_the_books(&world).await;
}

/// A void invoice took nothing off; one that is given up did.
pub async fn what_is_never_paid_gives_its_coupon_back(world: World) {
    give(&world, percent("HALF", 50, 2), &[]).await;
    redeem(&world, "HALF").await.unwrap();
    begin(&world, plain(900)).await;
    assert_eq!(left(&world).await, [Some(1)]);
    days(&world, 3).await;
    assert_eq!(stands(&world).await, None);
    assert_eq!(left(&world).await, [Some(2)]);
    // Voided by hand, its fee is forgiven; the coupon takes something off the next.
    let began = begin(&world, plain(900)).await;
    let open = &invoices(&world, world.account).await[0];
    let port = &world.ports.invoices;
    let id = open.content.head.id;
    port.void(world.account, id, world.now()).await.unwrap();
    assert_eq!(left(&world).await, [Some(2)]);
    run(&world).await;
    assert_eq!(stands(&world).await.unwrap().state, State::Active);
    assert_eq!(world.balance().await.0, 0);
    days(&world, 80).await;
    let ended = load(&world, began.id).await.subscription;
    assert!(matches!(ended.state, State::Ended { .. }), "{ended:?}");
    let lost = &invoices(&world, world.account).await[0];
    assert!(matches!(lost.status, InvoiceStatus::Uncollectible(_)));
    assert_eq!(left(&world).await, [Some(1)]);
    assert_equal_to_the_books(&world).await;
}

/// They stay as they are until there is a fee that they are for.
pub async fn a_coupon_of_other_plans_and_one_below_its_minimum_wait(world: World) {
    world.top_up(100_000 * CENT).await;
    let small = version(&world, "small", plain(900));
    let small = world.ports.plans.publish(small).await.unwrap();
    let mut least = percent("LEAST", 10, 1);
    least.minimum = Some((Minor::new(1_000), Currency::USD));
    give(&world, least, &[]).await;
    give(&world, percent("SMALL", 50, 9), &["small"]).await;
    let made = NewSubscription {
        coupon: Some("SMALL".parse().unwrap()),
        ..subscription(&world, world.account, small.id)
    };
    redeem(&world, "LEAST").await.unwrap();
    world.ports.plans.begin(made).await.unwrap();
    run(&world).await;
    let mut ends = left(&world).await;
    ends.sort_unstable();
    assert_eq!(ends, [Some(1), Some(8)]);
    let large = publish(&world, plain(2_000)).await;
    let kept = quoted(&world, &large, Some(Timing::PeriodEnd)).await;
    place(&world, Order::Take(kept.id)).await.unwrap();
    days(&world, 31).await;
    assert_eq!(stands(&world).await.unwrap().version, large.id);
    let mut ends = left(&world).await;
    ends.sort_unstable();
    assert_eq!(ends, [Some(0), Some(8)]);
    let invoices = invoices(&world, world.account).await;
    assert_eq!(sums(&invoices), [(200, 0, 1_800), (450, 0, 450)]);
    assert_equal_to_the_books(&world).await;
}

fn has_discount_of(subscription: &Subscription, percent: u32) {
    let off: BTreeSet<String> = subscription
        .discounts
        .iter()
        .map(|one| one.name.clone())
        .collect();
    assert_eq!(off, BTreeSet::from([format!("{percent} % off")]));
}

/// What is given back of it is a part of what was paid, and its rest on another plan is as much less;
/// that uses nothing up, because it is the same period.
pub async fn what_is_left_of_a_period_is_reckoned_as_it_was_paid(world: World) {
    give(&world, percent("HALF", 50, 2), &[]).await;
    redeem(&world, "HALF").await.unwrap();
    world.top_up(10_000 * CENT).await;
    let first = paid_for(&world, plain(900)).await;
    has_discount_of(&first, 50);
    let larger = publish(&world, plain(3_000)).await;
    let kept = quoted(&world, &larger, None).await;
    let amounts: Vec<_> = kept.quote.items.iter().map(|item| item.amount).collect();
    assert_eq!((amounts, kept.quote.discount), (vec![-450, 1_500], 0));
    let done = place(&world, Order::Take(kept.id)).await.unwrap();
    assert_eq!((done.net, done.discount), (1_050, 0));
    has_discount_of(&done.subscription, 50);
    assert_eq!(left(&world).await, [Some(1)]);
    assert_eq!(world.balance().await.0, (10_000 - 1_500) * CENT);
    assert_equal_to_the_books(&world).await;
    // A second change gives back what the first came to.
    let largest = publish(&world, plain(5_000)).await;
    let kept = quoted(&world, &largest, None).await;
    let done = place(&world, Order::Take(kept.id)).await.unwrap();
    assert_eq!(done.net, 1_000);
    let done = place(&world, Order::CancelNow { is_credited: true }).await;
    assert_eq!(done.unwrap().net, -2_500);
    assert_eq!(world.balance().await.0, 10_000 * CENT);
    assert_eq!(left(&world).await, [Some(1)]);
    assert_equal_to_the_books(&world).await;
}

/// It is a fee of a whole period and uses the coupon; also where more is given back than it costs.
pub async fn a_change_into_a_new_period_takes_its_discount(world: World) {
    world.top_up(100_000 * CENT).await;
    let mut yearly = plain(10_000);
    yearly.billing = Billing::Every("P1Y".parse().unwrap());
    paid_for(&world, yearly).await;
    give(&world, percent("HALF", 50, 3), &[]).await;
    redeem(&world, "HALF").await.unwrap();
    let monthly = publish(&world, plain(900)).await;
    let kept = quoted(&world, &monthly, Some(Timing::Now)).await;
    let amounts: Vec<_> = kept.quote.items.iter().map(|item| item.amount).collect();
    assert_eq!((amounts, kept.quote.discount), (vec![-10_000, 900], 450));
    assert_eq!(kept.quote.total(), Ok(-9_550));
    let done = place(&world, Order::Take(kept.id)).await.unwrap();
    assert_eq!((done.net, done.discount), (-9_550, 450));
    has_discount_of(&done.subscription, 50);
    assert_eq!(
        (done.subscription.charged, left(&world).await),
        (450, vec![Some(2)])
    );
    assert_eq!(world.balance().await.0, (100_000 - 450) * CENT);
    assert_equal_to_the_books(&world).await;
    // Onto an invoice: what is not used of the month, as it was paid, and the year at half of it.
    let mut other = plain(12_000);
    other.billing = Billing::Every("P1Y".parse().unwrap());
    let other = publish(&world, other).await;
    let kept = quoted(&world, &other, None).await;
    assert_eq!(kept.quote.total(), Ok(6_000 - 450));
    let done = place(&world, Order::Take(kept.id)).await.unwrap();
    assert_eq!((done.net, done.discount), (5_550, 6_000));
    let newest = &invoices(&world, world.account).await[0];
    assert_eq!(sums(std::slice::from_ref(newest)), [(6_000, 0, 5_550)]);
    assert_eq!(left(&world).await, [Some(1)]);
    let done = place(&world, Order::CancelNow { is_credited: true }).await;
    assert_eq!(done.unwrap().net, -6_000);
    assert_eq!(world.balance().await.0, 100_000 * CENT);
    assert_equal_to_the_books(&world).await;
}

/// What was shown is what is charged, or nothing is.
pub async fn a_quote_whose_discount_has_changed_is_refused(world: World) {
    world.top_up(100_000 * CENT).await;
    let began = paid_for(&world, plain(900)).await;
    let mut yearly = plain(10_000);
    yearly.billing = Billing::Every("P1Y".parse().unwrap());
    let yearly = publish(&world, yearly).await;
    let kept = quoted(&world, &yearly, None).await;
    give(&world, percent("HALF", 50, 3), &[]).await;
    redeem(&world, "HALF").await.unwrap();
    let before = world.balance().await.0;
    let refused = place(&world, Order::Take(kept.id)).await;
    let changed = matches!(refused, Err(OrderError::DiscountChanged));
    assert!(changed, "{refused:?}");
    assert_eq!(stands(&world).await.unwrap(), began);
    assert_eq!(
        (left(&world).await, world.balance().await.0),
        (vec![Some(3)], before)
    );
    world.ports.clock.advance(Duration::MINUTE);
    let again = quoted(&world, &yearly, None).await;
    place(&world, Order::Take(again.id)).await.unwrap();
    let paid = before - world.balance().await.0;
    assert_eq!(paid, again.quote.total().unwrap() * CENT);
    assert_eq!(left(&world).await, [Some(2)]);
    assert_equal_to_the_books(&world).await;
}
