//! Rules of coupons: given, redeemed once, and used up by what they take something off.

mod fees;

use std::collections::BTreeSet;
use std::sync::Arc;

use billing_core::charge_model::Percent;
use billing_core::id::CouponId;
use billing_core::invoice::{
    Coupon, CouponCode, CouponDuration, CouponError, CouponOff, Redemption,
};
use billing_core::money::{Currency, Minor};
use billing_core::port::coupons::{CouponsError, KeptCoupon, NewCoupon, Redeemed};
use time::Duration;
use tokio::task::JoinSet;

pub use fees::{
    a_change_into_a_new_period_takes_its_discount,
    a_coupon_of_other_plans_and_one_below_its_minimum_wait,
    a_coupon_that_comes_with_a_subscription_comes_off_its_first_fee,
    a_fee_of_which_nothing_is_left_is_invoiced_and_paid,
    a_quote_whose_discount_has_changed_is_refused, fees_are_less_until_a_coupon_is_used_up,
    what_is_left_of_a_period_is_reckoned_as_it_was_paid, what_is_never_paid_gives_its_coupon_back,
    what_is_tried_again_uses_a_coupon_once,
};

use super::plans::{terms, version};
use crate::World;

/// Every rule of coupons, as tests: `testkit::coupons_contract!(name, opener)`.
#[macro_export]
macro_rules! coupons_contract {
    ($name:ident, $open:expr) => {
        $crate::rules!($name, $open, coupons:
            a_coupon_is_given_once_and_reads_back
            what_is_no_coupon_is_refused
            who_cannot_redeem_a_coupon_is_told_why_and_nothing_changes
            of_many_at_once_no_more_redeem_than_may
            an_account_that_redeems_at_once_does_once
            fees_are_less_until_a_coupon_is_used_up
            a_fee_of_which_nothing_is_left_is_invoiced_and_paid
            a_coupon_that_comes_with_a_subscription_comes_off_its_first_fee
            what_is_tried_again_uses_a_coupon_once
            what_is_never_paid_gives_its_coupon_back
            a_coupon_of_other_plans_and_one_below_its_minimum_wait
            what_is_left_of_a_period_is_reckoned_as_it_was_paid
            a_change_into_a_new_period_takes_its_discount
            a_quote_whose_discount_has_changed_is_refused
        );
    };
}

/// A coupon of so many percent, on so many invoices.
pub(super) fn percent(code: &str, percent: u32, periods: u32) -> Coupon {
    Coupon {
        code: code.parse().unwrap(),
        name: format!("{percent} % off"),
        off: CouponOff::Percent(Percent::whole(percent)),
        duration: CouponDuration::Periods(periods),
        minimum: None,
        redeem_by: None,
        most_redemptions: None,
        plans: BTreeSet::new(),
    }
}

fn new(world: &World, coupon: Coupon, plans: &[&str]) -> NewCoupon {
    NewCoupon {
        id: CouponId::new(world.number()),
        coupon,
        plans: plans.iter().copied().map(str::to_owned).collect(),
        now: world.now(),
    }
}

/// Gives a coupon for the fees of plans; none for all.
pub(super) async fn give(world: &World, coupon: Coupon, plans: &[&str]) -> KeptCoupon {
    let made = new(world, coupon, plans);
    world.ports.coupons.create(made).await.unwrap()
}

/// Redeems a coupon for the account.
pub(super) async fn redeem(world: &World, code: &str) -> Result<Redeemed, CouponsError> {
    let code: CouponCode = code.parse().unwrap();
    let coupons = &world.ports.coupons;
    coupons.redeem(world.account, &code, world.now()).await
}

/// What is left of what the account has redeemed, in order.
async fn left(world: &World) -> Vec<Option<u32>> {
    let redeemed = world.ports.coupons.redeemed(world.account).await.unwrap();
    let of = redeemed.iter().map(|one| one.redemption.invoices_left);
    of.collect()
}

async fn find(world: &World, code: &str) -> KeptCoupon {
    let found = world.ports.coupons.find(&code.parse().unwrap()).await;
    found.unwrap().unwrap()
}

/// The same again is the one that there is; a code is never another's.
pub async fn a_coupon_is_given_once_and_reads_back(world: World) {
    let coupons = &world.ports.coupons;
    let plan = version(&world, "pro", terms(Vec::new()));
    let pro = world.ports.plans.publish(plan).await.unwrap();
    assert_eq!(
        coupons.find(&"spring".parse().unwrap()).await.unwrap(),
        None
    );
    let mut full = percent("SPRING", 20, 3);
    full.off = CouponOff::Amount(Minor::new(250), Currency::USD);
    full.minimum = Some((Minor::new(500), Currency::USD));
    full.redeem_by = Some(world.now() + Duration::days(9));
    full.most_redemptions = Some(5);
    let made = new(&world, full.clone(), &["pro"]);
    let kept = coupons.create(made.clone()).await.unwrap();
    full.plans = BTreeSet::from([pro.plan]);
    assert_eq!(kept.coupon, full);
    assert_eq!((kept.id, kept.redemptions), (made.id, 0));
    assert_eq!((kept.created_at, kept.archived_at), (world.now(), None));
    assert_eq!(kept.plans, BTreeSet::from(["pro".to_owned()]));
    assert_eq!(find(&world, "spring").await, kept);
    let again = new(&world, made.coupon.clone(), &["pro"]);
    assert_eq!(coupons.create(again).await.unwrap(), kept);
    for other in [
        new(&world, percent("SPRING", 20, 3), &["pro"]),
        new(&world, made.coupon.clone(), &[]),
    ] {
        let refused = coupons.create(other).await;
        let is_taken =
            matches!(&refused, Err(CouponsError::CodeTaken(code)) if *code == kept.coupon.code);
        assert!(is_taken, "{refused:?}");
    }
    let second = give(&world, percent("AUTUMN", 5, 1), &[]).await;
    let codes = |listed: Vec<KeptCoupon>| -> Vec<String> {
        let codes = listed.iter().map(|kept| kept.coupon.code.to_string());
        codes.collect()
    };
    assert_eq!(
        codes(coupons.list(None, 9).await.unwrap()),
        ["AUTUMN", "SPRING"]
    );
    assert_eq!(
        codes(coupons.list(Some(second.id), 9).await.unwrap()),
        ["SPRING"]
    );
    assert_eq!(codes(coupons.list(None, 1).await.unwrap()), ["AUTUMN"]);
    // What is archived stays what it is, and its code too.
    let at = world.now();
    let spring = kept.coupon.code.clone();
    let archived = coupons.archive(&spring, at).await.unwrap().unwrap();
    assert_eq!(archived.archived_at, Some(at));
    world.ports.clock.advance(Duration::HOUR);
    let again = coupons.archive(&spring, world.now()).await.unwrap();
    assert_eq!(again.unwrap(), archived);
    let again = coupons.create(made).await;
    assert!(
        matches!(again, Err(CouponsError::CodeTaken(_))),
        "{again:?}"
    );
    let none = coupons.archive(&"none".parse().unwrap(), world.now()).await;
    assert_eq!(none.unwrap(), None);
}

/// Each with a reason, and nothing of it is kept.
pub async fn what_is_no_coupon_is_refused(world: World) {
    let coupons = &world.ports.coupons;
    let made = new(&world, percent("A", 0, 1), &[]);
    let refused = coupons.create(made).await;
    let nothing = matches!(refused, Err(CouponsError::Refused(CouponError::Nothing(_))));
    assert!(nothing, "{refused:?}");
    let made = new(&world, percent("A", 101, 1), &[]);
    let refused = coupons.create(made).await;
    let not = matches!(refused, Err(CouponsError::Refused(CouponError::Not(..))));
    assert!(not, "{refused:?}");
    let made = new(&world, percent("A", 10, 1), &["none"]);
    let refused = coupons.create(made).await;
    assert!(matches!(&refused, Err(CouponsError::NoSuchPlan(code)) if code == "none"));
    assert_eq!(coupons.list(None, 9).await.unwrap(), []);
}

fn why(error: CouponsError) -> Option<CouponError> {
    if let CouponsError::Refused(why) = error {
        return Some(why);
    }
    None
}

/// Unknown, over, for other plans or money, archived, redeemed before, used up.
pub async fn who_cannot_redeem_a_coupon_is_told_why_and_nothing_changes(world: World) {
    let plan = version(&world, "pro", terms(Vec::new()));
    world.ports.plans.publish(plan).await.unwrap();
    let refused = async |code: &str| why(redeem(&world, code).await.unwrap_err()).unwrap();
    let code = |code: &str| -> CouponCode { code.parse().unwrap() };
    assert_eq!(refused("NONE").await, CouponError::Unknown(code("NONE")));
    let mut over = percent("OVER", 10, 1);
    let by = world.now() + Duration::HOUR;
    over.redeem_by = Some(by);
    give(&world, over, &[]).await;
    give(&world, percent("PLAN", 10, 1), &["pro"]).await;
    assert_eq!(refused("PLAN").await, CouponError::OtherPlan(code("PLAN")));
    let mut foreign = percent("CNY", 10, 1);
    foreign.off = CouponOff::Amount(Minor::new(100), Currency::CNY);
    give(&world, foreign, &[]).await;
    assert_eq!(
        refused("CNY").await,
        CouponError::OtherCurrency(code("CNY"), Currency::CNY, Currency::USD)
    );
    give(&world, percent("GONE", 10, 1), &[]).await;
    let coupons = &world.ports.coupons;
    let archived = coupons.archive(&code("GONE"), world.now()).await;
    archived.unwrap().unwrap();
    assert_eq!(refused("GONE").await, CouponError::Archived(code("GONE")));
    let mut one = percent("ONE", 10, 1);
    one.most_redemptions = Some(1);
    give(&world, one, &[]).await;
    let other = world.new_account(0).await;
    let taken = coupons.redeem(other, &code("ONE"), world.now()).await;
    taken.unwrap();
    assert_eq!(refused("ONE").await, CouponError::UsedUp(code("ONE")));
    assert_eq!(left(&world).await, []);
    world.ports.clock.advance(Duration::HOUR);
    assert_eq!(refused("OVER").await, CouponError::Over(code("OVER"), by));
    give(&world, percent("TWICE", 10, 4), &[]).await;
    let redeemed = redeem(&world, "twice").await.unwrap();
    let redemption = Redemption {
        redeemed_at: world.now(),
        invoices_left: Some(4),
    };
    assert_eq!(redeemed.redemption, redemption);
    assert_eq!(
        refused("TWICE").await,
        CouponError::RedeemedBefore(code("TWICE"))
    );
    assert_eq!(coupons.redeemed(world.account).await.unwrap(), [redeemed]);
    assert_eq!(find(&world, "TWICE").await.redemptions, 1);
    // Who has it keeps it once it is archived.
    coupons.archive(&code("TWICE"), world.now()).await.unwrap();
    assert_eq!(
        refused("TWICE").await,
        CouponError::RedeemedBefore(code("TWICE"))
    );
    assert_eq!(left(&world).await, [Some(4)]);
    let nobody = billing_core::id::AccountId::new(77);
    let refused = coupons.redeem(nobody, &code("TWICE"), world.now()).await;
    assert!(matches!(refused, Err(CouponsError::NoSuchAccount)));
    world.assert_sound().await;
}

/// Ten accounts at once for a coupon of three.
pub async fn of_many_at_once_no_more_redeem_than_may(world: World) {
    let mut three = percent("THREE", 10, 1);
    three.most_redemptions = Some(3);
    give(&world, three, &[]).await;
    let mut redeemed = JoinSet::new();
    for _ in 0..10 {
        let account = world.new_account(0).await;
        let (coupons, now) = (Arc::clone(&world.ports.coupons), world.now());
        redeemed.spawn(async move {
            let code = "THREE".parse().unwrap();
            coupons.redeem(account, &code, now).await
        });
    }
    let (done, refused): (Vec<_>, Vec<_>) = redeemed
        .join_all()
        .await
        .into_iter()
        .partition(Result::is_ok);
    assert_eq!(done.len(), 3);
    for refused in refused {
        let used_up = matches!(refused, Err(CouponsError::Refused(CouponError::UsedUp(_))));
        assert!(used_up, "{refused:?}");
    }
    assert_eq!(find(&world, "THREE").await.redemptions, 3);
}

/// Whoever is second is told that it was.
pub async fn an_account_that_redeems_at_once_does_once(world: World) {
    give(&world, percent("ONCE", 10, 2), &[]).await;
    let mut redeemed = JoinSet::new();
    for _ in 0..8 {
        let (coupons, now) = (Arc::clone(&world.ports.coupons), world.now());
        let account = world.account;
        redeemed.spawn(async move {
            let code = "ONCE".parse().unwrap();
            coupons.redeem(account, &code, now).await
        });
    }
    let (done, refused): (Vec<_>, Vec<_>) = redeemed
        .join_all()
        .await
        .into_iter()
        .partition(Result::is_ok);
    assert_eq!(done.len(), 1);
    for refused in refused {
        let before = matches!(
            refused,
            Err(CouponsError::Refused(CouponError::RedeemedBefore(_)))
        );
        assert!(before, "{refused:?}");
    }
    assert_eq!(find(&world, "ONCE").await.redemptions, 1);
    assert_eq!(left(&world).await, [Some(2)]);
}
