use std::sync::Arc;

use billing_core::id::{PlanId, PlanVersionId, SubscriptionId};
use billing_core::money::Nanos;
use billing_core::plan::{Billing, PlanTerms};
use billing_core::port::plans::{NewSubscription, NewVersion};
use billing_core::subscription::AtEnd;
use serde_json::json;
use testkit::world::NOON;
use testkit::{ManualClock, Memory, Ports, World};
use time::OffsetDateTime;

use super::*;

const DOLLAR: i64 = 1_000_000_000;

async fn world() -> World {
    let clock = ManualClock::at(NOON);
    let memory = Arc::new(Memory::new(Arc::new(clock.clone())));
    World::new(Ports::of(memory, clock, ())).await
}

/// Puts the account on a plan of a dollar a period.
async fn begin(world: &World, interval: &str) -> SubscriptionId {
    let terms = json!({
        "currency": "USD", "price": DOLLAR, "billing": {"every": interval},
        "included_credit": DOLLAR / 2,
    });
    let terms: PlanTerms = serde_json::from_value(terms).unwrap();
    assert!(matches!(terms.billing, Billing::Every(_)));
    let version = NewVersion {
        plan: PlanId::new(world.number()),
        code: "plan".to_owned(),
        name: "Plan".to_owned(),
        version: PlanVersionId::new(world.number()),
        quotas: Vec::new(),
        terms,
        now: world.now(),
    };
    let published = world.ports.plans.publish(version).await.unwrap();
    let made = NewSubscription {
        coupon: None,
        id: SubscriptionId::new(world.number()),
        account: world.account,
        version: published.id,
        quantity: 1,
        after_quota: None,
        now: world.now(),
    };
    world.ports.plans.begin(made).await.unwrap().id
}

fn run<'a>(world: &'a World, dunning: &'a Dunning, is_dry: bool) -> BillingRun<'a> {
    BillingRun {
        subscriptions: &*world.ports.subscriptions,
        collector: &*world.ports.collector,
        clock: &world.ports.clock,
        dunning,
        is_dry,
    }
}

fn dollars(dollars: i64) -> Money {
    let nanos = Nanos::new(dollars * DOLLAR);
    Money::new(nanos, Currency::USD)
}

/// What was done, without its periods.
fn whats(ran: &Ran) -> Vec<(&str, &str)> {
    let what = |done: &Done| match &done.what {
        What::Charged(..) => "charged",
        What::Collects(..) => "collects",
        What::Paid(money, _) => {
            assert_eq!(*money, dollars(1));
            "paid"
        }
        What::Declined(..) => "declined",
        What::Waits(..) => "waits",
        What::Granted(_) => "granted",
        What::Became => "became",
        What::Parked(_) => "parked",
        What::Owes(..) => "owes",
    };
    assert!(ran.failed.is_empty(), "{:?}", ran.failed);
    ran.done
        .iter()
        .map(|done| (what(done), done.state))
        .collect()
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let world = world().await;
    world.top_up(3 * DOLLAR).await;
    begin(&world, "P1M").await;
    let dunning = Dunning::default();
    for _ in 0..2 {
        let ran = run(&world, &dunning, true).all().await;
        assert_eq!(whats(&ran), [("collects", "incomplete")]);
    }
    assert_eq!(world.balance().await.0, 3 * DOLLAR);
    let ran = run(&world, &dunning, false).all().await;
    let paid = [
        ("paid", "incomplete"),
        ("became", "active"),
        ("granted", "active"),
    ];
    assert_eq!(whats(&ran), paid);
    assert_eq!(world.balance().await.0, 2 * DOLLAR + DOLLAR / 2);
    assert_eq!(whats(&run(&world, &dunning, false).all().await), []);
    world.ports.clock.advance(time::Duration::days(31));
    let dry = run(&world, &dunning, true).all().await;
    assert_eq!(whats(&dry), [("became", "grace"), ("charged", "grace")]);
    let ran = run(&world, &dunning, false).all().await;
    assert_eq!(ran.done.len(), 5, "{ran:?}");
    assert_eq!(world.balance().await.0, 2 * DOLLAR);
    world.assert_sound().await;
}

/// A house that was away for half a year does not bill 183 days at once.
#[tokio::test]
async fn more_than_can_be_due_at_once_is_set_aside() {
    let world = world().await;
    world.top_up(900 * DOLLAR).await;
    let id = begin(&world, "P1D").await;
    let dunning = Dunning::default();
    run(&world, &dunning, false).all().await;
    world.ports.clock.advance(time::Duration::days(183));
    let ran = run(&world, &dunning, false).all().await;
    assert_eq!(ran.parked(), 1);
    let billed = world.balance().await.0;
    assert!(billed > 800 * DOLLAR, "{billed}");
    assert_eq!(whats(&run(&world, &dunning, false).all().await), []);
    assert_eq!(world.balance().await.0, billed);
    let parked = world.ports.subscriptions.parked().await.unwrap();
    assert_eq!(parked[0].0, id);
    world.assert_sound().await;
}

/// What a first try could not take can be paid by hand, and once.
#[tokio::test]
async fn what_is_owed_can_be_paid_by_hand() {
    let world = world().await;
    let id = begin(&world, "P1M").await;
    let dunning = Dunning::default();
    let ran = run(&world, &dunning, false).all().await;
    assert_eq!(whats(&ran), [("declined", "incomplete")]);
    world.top_up(2 * DOLLAR).await;
    assert_eq!(whats(&run(&world, &dunning, false).all().await), []);
    let mut done = Vec::new();
    let owed = run(&world, &dunning, false).pay(id, &mut done).await;
    assert!(owed.unwrap());
    let again = run(&world, &dunning, false).pay(id, &mut done).await;
    assert!(!again.unwrap());
    assert_eq!(world.balance().await.0, DOLLAR + DOLLAR / 2);
    world.assert_sound().await;
}

/// A ladder that is changed holds at once for what is owed: nothing is tried that was not due by it,
/// and nothing is tried twice on one step.
#[tokio::test]
async fn a_ladder_that_is_changed_holds_for_what_is_owed_already() {
    let world = world().await;
    world.top_up(DOLLAR).await;
    begin(&world, "P1M").await;
    let short = Dunning {
        retry_days: vec![1, 2],
        grace_days: 2,
        ..Dunning::default()
    };
    run(&world, &short, false).all().await;
    world.ports.clock.advance(time::Duration::days(31));
    let ran = run(&world, &short, false).all().await;
    assert_eq!(whats(&ran).last(), Some(&("declined", "grace")));

    // Longer: what was to be tried after a day is tried after five.
    let long = Dunning {
        retry_days: vec![5, 5],
        grace_days: 7,
        ..Dunning::default()
    };
    let since = world.now();
    for _ in 0..4 {
        world.ports.clock.advance(time::Duration::DAY);
        assert_eq!(whats(&run(&world, &long, false).all().await), []);
    }
    let dry = run(&world, &long, true).all().await;
    let owed = match &dry.done[..] {
        [
            Done {
                what: What::Owes(owed, dunned),
                ..
            },
        ] => (*owed, *dunned),
        other => panic!("{other:?}"),
    };
    let days = |days| since + time::Duration::days(days);
    let dunned = Dunned {
        tries: 1,
        most: 3,
        next_try_at: Some(days(5)),
        grace_until: days(7),
        ends_at: Some(days(10)),
    };
    assert_eq!(owed, (dollars(1), dunned));
    world.ports.clock.advance(time::Duration::DAY);
    let ran = run(&world, &long, false).all().await;
    assert_eq!(whats(&ran), [("declined", "grace")]);
    assert_eq!(whats(&run(&world, &long, false).all().await), []);

    // Shorter: what is due by it is done once it is reckoned anew, and not before.
    let shorter = Dunning {
        retry_days: vec![1, 1],
        grace_days: 1,
        ..Dunning::default()
    };
    let foreseen = run(&world, &shorter, true).all().await;
    assert_eq!(
        whats(&foreseen),
        [("became", "past_due"), ("owes", "grace")]
    );
    assert_eq!(whats(&run(&world, &shorter, false).all().await), []);
    assert_eq!(run(&world, &shorter, false).reckon().await.unwrap(), 1);
    let ran = run(&world, &shorter, false).all().await;
    let over = [
        ("became", "past_due"),
        ("declined", "past_due"),
        ("became", "ended"),
    ];
    assert_eq!(whats(&ran), over);
    assert_eq!(run(&world, &long, false).reckon().await.unwrap(), 0);
    world.assert_sound().await;
}

/// Where a subscription is not to end, it waits to be paid after its last try.
#[tokio::test]
async fn what_nobody_pays_waits_where_it_is_to() {
    let world = world().await;
    world.top_up(DOLLAR).await;
    let id = begin(&world, "P1M").await;
    let waits = Dunning {
        retry_days: vec![1],
        grace_days: 0,
        at_end: AtEnd::Wait,
    };
    run(&world, &waits, false).all().await;
    world.ports.clock.advance(time::Duration::days(31));
    run(&world, &waits, false).all().await;
    world.ports.clock.advance(time::Duration::DAY);
    let last = run(&world, &waits, false).all().await;
    assert_eq!(whats(&last), [("declined", "past_due")]);
    world.ports.clock.advance(time::Duration::days(400));
    assert_eq!(whats(&run(&world, &waits, false).all().await), []);
    world.top_up(DOLLAR).await;
    let mut done = Vec::new();
    assert!(run(&world, &waits, false).pay(id, &mut done).await.unwrap());
    assert!(done.iter().any(|done| done.state == "active"), "{done:?}");
    world.assert_sound().await;
}

/// A store that is away.
#[derive(Debug)]
struct Away;

fn away<T>() -> Result<T, RecordError> {
    Err(RecordError::Unavailable("away".into()))
}

#[async_trait::async_trait]
impl Subscriptions for Away {
    async fn due(
        &self,
        _: OffsetDateTime,
        _: Option<SubscriptionId>,
        _: u32,
    ) -> Result<Vec<SubscriptionId>, RecordError> {
        away()
    }

    async fn owing(
        &self,
        _: Option<SubscriptionId>,
        _: u32,
    ) -> Result<Vec<SubscriptionId>, RecordError> {
        away()
    }

    async fn look_at(
        &self,
        _: SubscriptionId,
        _: u64,
        _: Option<OffsetDateTime>,
    ) -> Result<(), RecordError> {
        away()
    }

    async fn load(
        &self,
        _: SubscriptionId,
        _: OffsetDateTime,
    ) -> Result<Option<Standing>, RecordError> {
        away()
    }

    async fn save(&self, _: &Saving, _: OffsetDateTime) -> Result<(), RecordError> {
        away()
    }

    async fn park(&self, _: SubscriptionId, _: &str, _: OffsetDateTime) -> Result<(), RecordError> {
        away()
    }

    async fn parked(&self) -> Result<Vec<(SubscriptionId, String)>, RecordError> {
        away()
    }

    async fn unpark(&self, _: SubscriptionId, _: OffsetDateTime) -> Result<bool, RecordError> {
        away()
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_no_store_to_which_nothing_is_due() {
    let world = world().await;
    let dunning = Dunning::default();
    let run = BillingRun {
        subscriptions: &Away,
        ..run(&world, &dunning, false)
    };
    let ran = run.all().await;
    assert!(ran.done.is_empty());
    assert!(
        matches!(ran.failed[..], [(None, RecordError::Unavailable(_))]),
        "{ran:?}"
    );
}
