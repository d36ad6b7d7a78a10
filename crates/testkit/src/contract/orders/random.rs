//! Random changes of a subscription through its periods.

use billing_core::budget::BudgetUnit;
use billing_core::id::PlanVersionId;
use billing_core::invoice::{CouponOff, Taxes};
use billing_core::money::{Currency, Minor, Nanos};
use billing_core::plan::{PlanTerms, PlanVersion};
use billing_core::port::orders::QuoteAsk;
use billing_core::proration::ProrationUnit;
use billing_core::quota::QuotaWindow;
use billing_core::subscription::SubscriptionError;
use billing_core::subscription::change::Timing;
use billing_core::subscription_order::{Order, OrderError};
use time::Duration;

use super::super::coupons;
use super::super::invoices::lives_in;
use super::super::plans::quota;
use super::{ask, paid_for, place, plain, publish, run, stands};
use crate::World;

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    /// One below a bound.
    fn below(&mut self, bound: u64) -> u64 {
        // The constants of Knuth's MMIX.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let place = self.below(u64::try_from(from.len()).unwrap());
        from[usize::try_from(place).unwrap()]
    }
}

/// What changes came to, and how often they were taxed how.
#[derive(Default)]
struct Tally {
    charged: i64,
    credited: i64,
    on_top: usize,
    included: usize,
    untaxed: usize,
    discounted: usize,
    /// Periods that have a discount, from their fee on.
    inside: usize,
}

impl Tally {
    fn count(&mut self, total: i64, taxes: Taxes) {
        self.charged += total.max(0);
        self.credited -= total.min(0);
        match taxes {
            Taxes { all: 0, .. } => self.untaxed += usize::from(total != 0),
            Taxes { on_top: 0, .. } => self.included += 1,
            Taxes { .. } => self.on_top += 1,
        }
    }

    /// Whether so many were of all kinds.
    fn check(&self, count: usize) {
        let (charged, credited) = (self.charged, self.credited);
        assert!(
            credited > 0 && charged > credited,
            "{credited} of {charged}"
        );
        let kinds = [self.on_top, self.included, self.untaxed];
        assert!(kinds.iter().all(|times| *times > count / 20), "{kinds:?}");
        let coupons = [self.discounted, self.inside];
        assert!(
            coupons.iter().all(|times| *times > count / 20),
            "{coupons:?}"
        );
    }
}

/// Plans by the second, plans that give something to be used up, months, weeks and odd prices.
fn catalogue() -> Vec<PlanTerms> {
    let mut all = vec![plain(900), plain(3_000), plain(1_999), plain(1), plain(0)];
    let mut weekly = plain(733);
    weekly.billing = billing_core::plan::Billing::Every("P1W".parse().unwrap());
    all.push(weekly);
    let mut calls = plain(1_500);
    calls.quotas = vec![quota("m", BudgetUnit::Calls, 100, QuotaWindow::Period)];
    all.push(calls);
    let mut bearing = plain(2_501);
    bearing.included_credit = Nanos::new(7_010_000_000);
    all.push(bearing);
    all
}

fn wish(world: &World, numbers: &mut Numbers, to: &[PlanVersionId]) -> QuoteAsk {
    let (now, end) = (Some(Timing::Now), Some(Timing::PeriodEnd));
    let timing = numbers.pick(&[None, now, now, end]);
    QuoteAsk {
        quantity: Some(u32::try_from(1 + numbers.below(4)).unwrap()),
        timing,
        by: numbers.pick(&[
            ProrationUnit::Second,
            ProrationUnit::Day,
            ProrationUnit::Day30,
        ]),
        ..ask(world, world.account, numbers.pick(to))
    }
}

/// Gives the account a coupon that it did not have, and redeems it.
async fn another_coupon(world: &World, numbers: &mut Numbers) {
    let code = format!("C{}", world.number());
    let percent = u32::try_from(1 + numbers.below(60)).unwrap();
    let periods = u32::try_from(1 + numbers.below(3)).unwrap();
    let mut coupon = coupons::percent(&code, percent, periods);
    if numbers.below(2) == 0 {
        let amount = i64::try_from(1 + numbers.below(1_500)).unwrap();
        coupon.off = CouponOff::Amount(Minor::new(amount), Currency::USD);
    }
    if numbers.below(3) == 0 {
        coupon.minimum = Some((Minor::new(1_000), Currency::USD));
    }
    coupons::give(world, coupon, &[]).await;
    coupons::redeem(world, &code).await.unwrap();
}

/// Makes so many changes at random instants, through as many periods as that takes, with coupons of
/// percentages and amounts now and then, by buyers whose taxes come on top, are included, or are none.
/// Each costs what its quote and its preview said, taxes
/// and all; the wallet moves by that and by what comes with it, and what was given back is never more
/// than was paid.
pub async fn random_changes(world: &World, count: usize) {
    let (mut numbers, mut of_coupons) = (Numbers(20_261_123), Numbers(9));
    let mut versions: Vec<PlanVersion> = Vec::new();
    for terms in catalogue() {
        versions.push(publish(world, terms).await);
    }
    world.top_up(1_000_000_000_000).await;
    paid_for(world, plain(900)).await;
    let ids: Vec<_> = versions.iter().map(|version| version.id).collect();
    let (mut changes, mut tally) = (0, Tally::default());
    while changes < count {
        let pause = numbers.below(4 * 86_400);
        world
            .ports
            .clock
            .advance(Duration::seconds(i64::try_from(pause).unwrap()));
        run(world).await;
        if world.balance().await.0 < 500_000_000_000 {
            world.top_up(500_000_000_000).await;
        }
        if numbers.below(6) == 0 {
            lives_in(world, numbers.pick(&["DE", "FR", "US"])).await;
        }
        if of_coupons.below(6) == 0 {
            another_coupon(world, &mut of_coupons).await;
        }
        let wish = wish(world, &mut numbers, &ids);
        let kept = world.ports.orders.quote(&wish).await;
        if matches!(kept, Err(OrderError::Rule(SubscriptionError::Same))) {
            continue;
        }
        let kept = kept.unwrap();
        world.ports.clock.advance(Duration::seconds(
            i64::try_from(numbers.below(1_700)).unwrap(),
        ));
        let mut owned = world.balance().await.0;
        let mut placed = place(world, Order::Take(kept.id)).await;
        // What came with periods is never used here, and pays no fee.
        if let Err(OrderError::Short { .. }) = placed {
            world.top_up(500_000_000_000).await;
            owned += 500_000_000_000;
            placed = place(world, Order::Take(kept.id)).await;
        }
        assert!(placed.is_ok(), "change {changes}: {placed:?}: {kept:?}");
        let done = placed.unwrap();
        assert_eq!(done.total(), kept.quote.total(), "change {changes}");
        assert_eq!(done.taxes, kept.quote.taxes, "change {changes}");
        assert_eq!(done.discount, kept.quote.discount, "change {changes}");
        let total = done.total().unwrap();
        assert_eq!(done.items, kept.quote.items, "change {changes}");
        let came = i64::try_from(done.granted.get()).unwrap();
        owned += came - total * 10_000_000;
        assert_eq!(world.balance().await.0, owned, "change {changes}");
        assert_eq!(stands(world).await.as_ref(), Some(&done.subscription));
        tally.count(total, done.taxes);
        tally.discounted += usize::from(done.discount > 0);
        tally.inside += usize::from(!done.subscription.discounts.is_empty());
        changes += 1;
    }
    tally.check(count);
    world.assert_sound().await;
}
