//! Rules of plans and of who is on them.

use billing_core::budget::{Amount, BudgetUnit};
use billing_core::id::{AccountId, PlanId, PlanVersionId, QuotaId, SubscriptionId};
use billing_core::money::{Currency, Nanos};
use billing_core::plan::{AfterQuota, Billing, PlanTerms, RateLimits, Subscribed};
use billing_core::port::directory::ChangeSubject;
use billing_core::port::plans::{NewSubscription, NewVersion, PlansError, Subscriber};
use billing_core::quota::{QuotaTerms, QuotaWindow};
use time::Duration;

use crate::World;
use crate::world::hash;

/// Every rule of plans, as tests: `testkit::plans_contract!(name, opener)`.
#[macro_export]
macro_rules! plans_contract {
    ($name:ident, $open:expr) => {
        $crate::rules!($name, $open, plans:
            what_was_published_reads_back_and_is_published_once
            a_caller_has_what_its_account_is_subscribed_to
            what_cannot_be_published_or_subscribed_to_changes_nothing
            a_plan_for_once_ends_with_its_period
            what_is_shown_of_plans_is_their_newest_version
            who_is_on_a_plan_is_told_with_the_version_of_each
        );
    };
}

/// A quota.
pub fn quota(models: &str, unit: BudgetUnit, amount: u64, window: QuotaWindow) -> QuotaTerms {
    QuotaTerms {
        models: models.parse().unwrap(),
        unit,
        amount: Amount::new(amount),
        window,
        rollover: Amount::ZERO,
    }
}

/// A plan of nine dollars a month with these quotas.
pub fn terms(quotas: Vec<QuotaTerms>) -> PlanTerms {
    PlanTerms {
        currency: Currency::USD,
        price: Nanos::new(9_000_000_000),
        billing: Billing::Every("P1M".parse().unwrap()),
        trial_days: 0,
        call_limit: None,
        quotas,
        after_quota: AfterQuota::Wallet,
        included_credit: Nanos::ZERO,
        discount: None,
        rate_limits: RateLimits::default(),
        speed_boost: false,
        features: vec!["support".to_owned()],
    }
}

/// A version of a plan that can be published.
pub fn version(world: &World, code: &str, terms: PlanTerms) -> NewVersion {
    NewVersion {
        plan: PlanId::new(world.number()),
        code: code.to_owned(),
        name: code.to_uppercase(),
        version: PlanVersionId::new(world.number()),
        quotas: terms
            .quotas
            .iter()
            .map(|_| QuotaId::new(world.number()))
            .collect(),
        terms,
        now: world.now(),
    }
}

/// An account that is to be on a version.
pub fn subscription(world: &World, account: AccountId, version: PlanVersionId) -> NewSubscription {
    NewSubscription {
        coupon: None,
        id: SubscriptionId::new(world.number()),
        account,
        version,
        quantity: 1,
        after_quota: None,
        now: world.now(),
    }
}

/// Publishes a plan of these terms and puts an account on it.
pub async fn subscribe(world: &World, account: AccountId, terms: PlanTerms) -> Subscribed {
    let code = format!("plan-{}", world.number());
    let plans = &world.ports.plans;
    let published = plans.publish(version(world, &code, terms)).await.unwrap();
    let made = subscription(world, account, published.id);
    plans.subscribe(made).await.unwrap()
}

/// Each change of the terms is a version; the same terms again are the one that there is.
pub async fn what_was_published_reads_back_and_is_published_once(world: World) {
    let plans = &world.ports.plans;
    assert_eq!(plans.newest("pro").await.unwrap(), None);
    let quotas = vec![
        quota("gpt-4o*", BudgetUnit::Calls, 100, QuotaWindow::Daily),
        quota("*", BudgetUnit::Nanos, 5_000, QuotaWindow::Rolling(18_000)),
    ];
    let made = version(&world, "pro", terms(quotas));
    let first = plans.publish(made.clone()).await.unwrap();
    assert_eq!((first.id, first.number), (made.version, 1));
    assert_eq!(first.terms, made.terms);
    let ids: Vec<_> = first.quotas.iter().map(|quota| quota.id).collect();
    assert_eq!(ids, made.quotas);
    assert_eq!(plans.newest("pro").await.unwrap(), Some(first.clone()));
    let again = plans
        .publish(version(&world, "pro", made.terms.clone()))
        .await;
    assert_eq!(again.unwrap(), first);
    let mut dearer = made.terms.clone();
    dearer.price = Nanos::new(10_000_000_000);
    let second = plans.publish(version(&world, "pro", dearer)).await.unwrap();
    assert_eq!((second.plan, second.number), (first.plan, 2));
    assert_eq!(plans.newest("pro").await.unwrap(), Some(second));
    assert_eq!(plans.newest("other").await.unwrap(), None);
}

/// It is told of as a change, so that every node looks again.
pub async fn a_caller_has_what_its_account_is_subscribed_to(world: World) {
    let directory = &world.ports.directory;
    let number = world.number();
    let key = crate::world::api_key(billing_core::id::KeyId::new(number), world.account);
    directory.create_key(key, hash(number)).await.unwrap();
    let caller = async || directory.caller(hash(number)).await.unwrap().unwrap();
    assert_eq!(caller().await.subscribed, None);
    let before = directory.newest_change().await.unwrap();
    let quotas = vec![quota("m", BudgetUnit::Tokens, 50, QuotaWindow::Daily)];
    let subscribed = subscribe(&world, world.account, terms(quotas)).await;
    let found = caller().await;
    assert_eq!(found.subscribed.as_deref(), Some(&subscribed));
    assert_eq!(found.buyer(world.now()).plan, Some(subscribed.plan));
    // Windows begin by the account's own calendar, an hour ahead of UTC.
    let open = subscribed.open("m", world.now());
    assert_eq!(open[0][0].window.start, world.now() - Duration::hours(13));
    assert_eq!(open[0][0].amount, Amount::new(50));
    let changes = directory.changes(before, 100).await.unwrap();
    let account = ChangeSubject::Account(world.account);
    assert!(changes.iter().any(|change| change.subject == account));
    let plans = &world.ports.plans;
    assert!(plans.end(world.account, world.now()).await.unwrap());
    assert!(!plans.end(world.account, world.now()).await.unwrap());
    assert_eq!(caller().await.subscribed, None);
    assert_eq!(plans.subscribed(world.account).await.unwrap(), None);
}

/// Bad input is named and leaves everything as it was.
pub async fn what_cannot_be_published_or_subscribed_to_changes_nothing(world: World) {
    let plans = &world.ports.plans;
    let bad = version(&world, "Pro!", terms(Vec::new()));
    assert!(matches!(plans.publish(bad).await, Err(PlansError::Code(_))));
    let nothing = quota("m", BudgetUnit::Calls, 0, QuotaWindow::Daily);
    let bad = version(&world, "pro", terms(vec![nothing]));
    assert!(matches!(
        plans.publish(bad).await,
        Err(PlansError::Terms(_))
    ));
    for (window, most) in [(QuotaWindow::Daily, 6), (QuotaWindow::Subscription, 1)] {
        let mut rolls = quota("m", BudgetUnit::Calls, 5, window);
        rolls.rollover = Amount::new(most);
        let bad = version(&world, "pro", terms(vec![rolls]));
        let refused = plans.publish(bad).await;
        assert!(matches!(refused, Err(PlansError::Terms(_))), "{refused:?}");
    }
    assert_eq!(plans.newest("pro").await.unwrap(), None);
    let unknown = subscription(&world, world.account, PlanVersionId::new(1));
    let refused = plans.subscribe(unknown).await;
    assert!(matches!(refused, Err(PlansError::NotOnSale)), "{refused:?}");
    let good = plans
        .publish(version(&world, "pro", terms(Vec::new())))
        .await
        .unwrap();
    let nobody = subscription(&world, AccountId::new(5), good.id);
    let refused = plans.subscribe(nobody).await;
    assert!(
        matches!(refused, Err(PlansError::NoSuchAccount)),
        "{refused:?}"
    );
    let mut none = subscription(&world, world.account, good.id);
    none.quantity = 0;
    let refused = plans.subscribe(none).await;
    assert!(
        matches!(refused, Err(PlansError::Quantity(0))),
        "{refused:?}"
    );
    let mut euros = terms(Vec::new());
    euros.currency = Currency::parse("EUR").unwrap();
    let euros = plans.publish(version(&world, "euro", euros)).await.unwrap();
    let refused = plans
        .subscribe(subscription(&world, world.account, euros.id))
        .await;
    assert!(
        matches!(refused, Err(PlansError::Currency { .. })),
        "{refused:?}"
    );
    assert_eq!(plans.subscribed(world.account).await.unwrap(), None);
    plans
        .subscribe(subscription(&world, world.account, good.id))
        .await
        .unwrap();
    let twice = plans
        .subscribe(subscription(&world, world.account, good.id))
        .await;
    assert!(matches!(twice, Err(PlansError::Already(code)) if code == "pro"));
}

/// Of what was bought for once there is nothing after it, and twice as many give twice as much.
pub async fn a_plan_for_once_ends_with_its_period(world: World) {
    let quotas = vec![quota("m", BudgetUnit::Calls, 5, QuotaWindow::Period)];
    let mut once = terms(quotas);
    once.billing = Billing::Once("P30D".parse().unwrap());
    once.after_quota = AfterQuota::Stop;
    let plans = &world.ports.plans;
    let published = plans.publish(version(&world, "pack", once)).await.unwrap();
    let mut made = subscription(&world, world.account, published.id);
    made.quantity = 2;
    made.after_quota = Some(AfterQuota::Wallet);
    let subscribed = plans.subscribe(made).await.unwrap();
    assert_eq!(subscribed.after_quota, AfterQuota::Wallet);
    let days = |days| subscribed.open("m", world.now() + Duration::days(days));
    assert_eq!(days(29)[0][0].amount, Amount::new(10));
    assert_eq!(
        days(29)[0][0].resets_at(),
        Some(world.now() + Duration::days(30))
    );
    assert!(days(31).is_empty());
}

/// Those that are off sale too; the same terms again are a version that is on.
pub async fn what_is_shown_of_plans_is_their_newest_version(world: World) {
    let cents = |cents: i64| PlanTerms {
        price: Nanos::new(cents * 10_000_000),
        ..terms(Vec::new())
    };
    let plans = &world.ports.plans;
    assert_eq!(plans.offers().await.unwrap(), []);
    plans
        .publish(version(&world, "b", cents(100)))
        .await
        .unwrap();
    plans
        .publish(version(&world, "b", cents(200)))
        .await
        .unwrap();
    let calls = quota("m", BudgetUnit::Calls, 5, QuotaWindow::Daily);
    let made = version(&world, "a", terms(vec![calls]));
    plans.publish(made.clone()).await.unwrap();
    let offers = plans.offers().await.unwrap();
    let shown: Vec<_> = offers.iter().map(|o| (o.code.as_str(), o.number)).collect();
    assert_eq!(shown, [("a", 1), ("b", 2)]);
    assert_eq!(
        (offers[0].name.as_str(), &offers[0].terms),
        ("A", &made.terms)
    );
    assert!(offers.iter().all(|offer| offer.is_on_sale(world.now())));
    assert_eq!(
        plans.offer(offers[1].version).await.unwrap().as_ref(),
        offers.get(1)
    );
    assert_eq!(plans.offer(PlanVersionId::new(1)).await.unwrap(), None);
    assert!(!plans.archive("none", world.now()).await.unwrap());
    assert!(plans.archive("b", world.now()).await.unwrap());
    let archived = &plans.offers().await.unwrap()[1];
    assert!(!archived.is_on_sale(world.now()));
    let again = plans
        .publish(version(&world, "b", cents(200)))
        .await
        .unwrap();
    assert_eq!((again.number, again.is_on_sale(world.now())), (3, true));
}

pub async fn who_is_on_a_plan_is_told_with_the_version_of_each(world: World) {
    let plans = &world.ports.plans;
    let publish = async |code: &str, cents: i64| {
        let price = Nanos::new(cents * 10_000_000);
        let terms = PlanTerms {
            price,
            ..terms(Vec::new())
        };
        plans.publish(version(&world, code, terms)).await.unwrap()
    };
    let other = publish("other", 100).await;
    let first = publish("pro", 100).await;
    let on = async |version: PlanVersionId, is_billed: bool| {
        let account = world.new_account(0).await;
        let made = subscription(&world, account, version);
        let id = made.id;
        if is_billed {
            plans.begin(made).await.unwrap();
        } else {
            plans.subscribe(made).await.unwrap();
        }
        (id, account)
    };
    on(other.id, true).await;
    let given = on(first.id, false).await;
    let left = on(first.id, false).await;
    assert!(plans.end(left.1, world.now()).await.unwrap());
    let billed = on(first.id, true).await;
    let second = publish("pro", 200).await;
    let newer = on(second.id, true).await;
    let wanted = [(given, 1), (billed, 1), (newer, 2)].map(|(of, number)| Subscriber {
        subscription: of.0,
        account: of.1,
        number,
    });
    let all = plans.subscribers(first.plan, None, 10).await.unwrap();
    assert_eq!(all, wanted);
    let page = plans.subscribers(first.plan, None, 2).await.unwrap();
    assert_eq!(page, wanted[..2]);
    let rest = plans.subscribers(first.plan, Some(billed.0), 2).await;
    assert_eq!(rest.unwrap(), wanted[2..]);
}
