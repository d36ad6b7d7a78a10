//! Rules of subscriptions that are billed, and of how their fees are paid.

use std::sync::Arc;

use billing_core::billing_run::{Next, SANE, Saving, collected, due_at, next};
use billing_core::budget::{BudgetScope, BudgetUnit};
use billing_core::id::SubscriptionId;
use billing_core::money::Nanos;
use billing_core::plan::PlanTerms;
use billing_core::port::plans::PlansError;
use billing_core::port::subscriptions::{Collected, RecordError, Standing};
use billing_core::quota::QuotaWindow;
use billing_core::subscription::{Dunning, Effect, EndReason, Fee, State, Subscription};
use billing_core::wallet::{Credit, LotKind};
use time::Duration;
use tokio::task::JoinSet;

use super::plans::{quota, subscription, terms, version};
use crate::World;
use crate::world::credit;

/// Every rule of subscriptions, as tests: `testkit::subscriptions_contract!(name, opener)`.
#[macro_export]
macro_rules! subscriptions_contract {
    ($name:ident, $open:expr) => {
        $crate::rules!($name, $open, subscriptions:
            a_subscription_reads_back_as_it_began
            a_period_after_another_is_billed_until_nothing_is_left
            what_was_not_paid_in_time_can_still_be_paid
            of_two_who_record_one_revision_one_records
            several_runs_at_once_bill_each_period_once
            a_fee_is_paid_once_and_a_try_has_one_answer
            given_credit_pays_no_fee
            a_fee_waits_for_what_nodes_have_on_lease_and_not_for_ever
            what_comes_with_a_period_is_given_once
            a_trial_gives_its_quotas_and_is_had_once
            what_is_set_aside_is_not_due_until_it_is_taken_up_again
            an_account_has_one_subscription_at_a_time
            what_owes_is_looked_at_when_it_is_reckoned_anew
        );
    };
}

/// The price of a period of [`monthly`].
pub(super) const NINE: i64 = 9_000_000_000;

/// Nine dollars a month, for a hundred calls in each.
pub(super) fn monthly() -> PlanTerms {
    let calls = quota("m", BudgetUnit::Calls, 100, QuotaWindow::Period);
    terms(vec![calls])
}

pub(super) async fn begin(world: &World, terms: PlanTerms) -> Subscription {
    let plans = &world.ports.plans;
    let code = format!("plan-{}", world.number());
    let published = plans.publish(version(world, &code, terms)).await.unwrap();
    let made = subscription(world, world.account, published.id);
    plans.begin(made).await.unwrap()
}

pub(super) async fn load(world: &World, id: SubscriptionId) -> Standing {
    let loaded = world.ports.subscriptions.load(id, world.now()).await;
    loaded.unwrap().unwrap()
}

async fn due(world: &World) -> Vec<SubscriptionId> {
    let due = world.ports.subscriptions.due(world.now(), None, 100).await;
    due.unwrap()
}

/// Does all that is due, as the billing run says.
pub(super) async fn run(world: &World) {
    let (subscriptions, dunning) = (&world.ports.subscriptions, Dunning::default());
    for id in due(world).await {
        for turn in 0.. {
            assert!(turn < SANE, "{id} has no end");
            let now = world.now();
            let standing = load(world, id).await;
            let step = next(&standing, &dunning, now);
            assert!(!matches!(step, Next::Park(_)), "{id}: {step:?}");
            let saving = match step {
                Next::Nothing | Next::Park(_) => break,
                Next::Save(saving) => *saving,
                Next::Collect { fee, attempt } => {
                    let answer = collect(world, &fee, attempt).await;
                    collected(&standing, &fee, answer, (&dunning, now)).unwrap()
                }
            };
            // Where others were first, what they did is seen the next time.
            let saved = subscriptions.save(&saving, now).await;
            assert!(
                matches!(saved, Ok(()) | Err(RecordError::Changed)),
                "{saved:?}"
            );
        }
    }
}

pub(super) async fn collect(world: &World, fee: &Fee, attempt: u8) -> Collected {
    let collector = &world.ports.collector;
    let answer = collector.collect(world.account, fee, attempt, world.now());
    answer.await.unwrap()
}

/// Lets time pass, and does what is due each day.
pub(super) async fn days(world: &World, days: u32) {
    for _ in 0..days {
        world.ports.clock.advance(Duration::DAY);
        run(world).await;
    }
}

pub(super) async fn has_quotas(world: &World) -> bool {
    let subscribed = world.ports.plans.subscribed(world.account).await.unwrap();
    subscribed.is_some_and(|subscribed| !subscribed.open("m", world.now()).is_empty())
}

/// What is read is what was recorded, to the instant; nothing is open before it is paid.
pub async fn a_subscription_reads_back_as_it_began(world: World) {
    let began = begin(&world, monthly()).await;
    let standing = load(&world, began.id).await;
    assert_eq!(standing.subscription, began);
    assert_eq!(standing.version.terms, monthly());
    let fee = standing.open_fee.unwrap();
    assert_eq!((fee.amount, fee.period.start), (900, world.now()));
    assert!(!standing.can_pay);
    assert_eq!(due(&world).await, [began.id]);
    assert!(!has_quotas(&world).await);
    let other = world
        .ports
        .subscriptions
        .load(SubscriptionId::new(1), world.now());
    assert_eq!(other.await.unwrap(), None);
    world.assert_sound().await;
}

/// Each period is paid once from the wallet; when it has too little the quotas stay open for the days
/// of grace, are closed then, and the subscription ends when nobody has paid.
pub async fn a_period_after_another_is_billed_until_nothing_is_left(world: World) {
    world.top_up(3 * NINE + 1).await;
    let began = begin(&world, monthly()).await;
    assert!(load(&world, began.id).await.can_pay);
    run(&world).await;
    assert_eq!(world.balance().await.0, 2 * NINE + 1);
    assert!(has_quotas(&world).await);
    assert_eq!(due(&world).await, []);
    // To 22 January: two more months are paid.
    days(&world, 61).await;
    assert_eq!(world.balance().await.0, 1);
    assert_eq!(
        load(&world, began.id).await.subscription.state,
        State::Active
    );
    // 22 February cannot be.
    days(&world, 31).await;
    let unpaid = load(&world, began.id).await;
    assert!(matches!(unpaid.subscription.state, State::Grace(owed) if owed.tries == 1));
    assert!(has_quotas(&world).await);
    days(&world, 4).await;
    let closed = load(&world, began.id).await;
    assert!(
        matches!(closed.subscription.state, State::PastDue(_)),
        "{closed:?}"
    );
    assert!(!has_quotas(&world).await);
    days(&world, 30).await;
    let ended = load(&world, began.id).await.subscription;
    assert!(
        matches!(
            ended.state,
            State::Ended {
                why: EndReason::Unpaid,
                ..
            }
        ),
        "{ended:?}"
    );
    assert_eq!(world.balance().await.0, 1);
    assert_eq!(due(&world).await, []);
    world.assert_sound().await;
}

/// What is topped up pays the next try, and opens the quotas again.
pub async fn what_was_not_paid_in_time_can_still_be_paid(world: World) {
    world.top_up(NINE).await;
    let began = begin(&world, monthly()).await;
    run(&world).await;
    days(&world, 34).await;
    assert!(!has_quotas(&world).await);
    world.top_up(2 * NINE).await;
    days(&world, 8).await;
    let paid = load(&world, began.id).await;
    assert_eq!(paid.subscription.state, State::Active);
    assert_eq!((paid.open_fee, world.balance().await.0), (None, NINE));
    assert!(has_quotas(&world).await);
    world.assert_sound().await;
}

/// Of several nodes that do the same, one records it, and nothing of the others is left.
pub async fn of_two_who_record_one_revision_one_records(world: World) {
    world.top_up(9 * NINE).await;
    let began = begin(&world, monthly()).await;
    run(&world).await;
    world.ports.clock.advance(Duration::days(31));
    let (subscriptions, now) = (&world.ports.subscriptions, world.now());
    let standing = load(&world, began.id).await;
    let saving = renewal(next(&standing, &Dunning::default(), now));
    subscriptions.save(&saving, now).await.unwrap();
    let again = subscriptions.save(&saving, now).await;
    assert!(matches!(again, Err(RecordError::Changed)), "{again:?}");
    run(&world).await;
    let paid = load(&world, began.id).await;
    let late = collected(
        &standing,
        &charged(&saving),
        Collected::Paid,
        (&Dunning::default(), now),
    );
    let late = subscriptions.save(&late.unwrap(), now).await;
    assert!(matches!(late, Err(RecordError::Changed)), "{late:?}");
    assert_eq!(load(&world, began.id).await, paid);
    assert_eq!(world.balance().await.0, 7 * NINE);
    // A fee that is on record is not charged under a later revision either.
    let twice = Saving {
        revision: paid.subscription.revision,
        subscription: Subscription {
            revision: paid.subscription.revision + 1,
            ..paid.subscription.clone()
        },
        ..saving
    };
    let refused = subscriptions.save(&twice, now).await;
    assert!(
        matches!(refused, Err(RecordError::Inconsistent(_))),
        "{refused:?}"
    );
    assert_eq!(load(&world, began.id).await, paid);
    world.assert_sound().await;
}

/// As on several nodes, each of which goes on where another has left off.
pub async fn several_runs_at_once_bill_each_period_once(world: World) {
    world.top_up(9 * NINE).await;
    let began = begin(&world, monthly()).await;
    let world = Arc::new(world);
    for month in 1..4 {
        let mut runs = JoinSet::new();
        for _ in 0..4 {
            let world = Arc::clone(&world);
            runs.spawn(async move { run(&world).await });
        }
        runs.join_all().await;
        assert_eq!(world.balance().await.0, (9 - month) * NINE);
        assert_eq!(
            load(&world, began.id).await.subscription.state,
            State::Active
        );
        world.ports.clock.advance(Duration::days(31));
    }
    world.assert_sound().await;
}

/// What is to be recorded.
fn renewal(step: Next) -> Saving {
    let saving = if let Next::Save(saving) = step {
        Some(*saving)
    } else {
        None
    };
    saving.unwrap()
}

/// The fee that a saving charges.
fn charged(saving: &Saving) -> Fee {
    let fee = saving.effects.iter().find_map(|effect| {
        if let Effect::Charge(fee) = effect {
            Some(fee.clone())
        } else {
            None
        }
    });
    fee.unwrap()
}

/// A try that was declined stays so, whatever is paid in since; the next one is another. What is paid
/// is paid, under whichever number it is asked for.
pub async fn a_fee_is_paid_once_and_a_try_has_one_answer(world: World) {
    let began = begin(&world, monthly()).await;
    let fee = load(&world, began.id).await.open_fee.unwrap();
    assert_eq!(collect(&world, &fee, 0).await, Collected::Declined);
    world.top_up(3 * NINE).await;
    assert_eq!(collect(&world, &fee, 0).await, Collected::Declined);
    assert_eq!(collect(&world, &fee, 1).await, Collected::Paid);
    for attempt in 0..3 {
        assert_eq!(collect(&world, &fee, attempt).await, Collected::Paid);
    }
    let other = Fee {
        amount: 901,
        ..fee.clone()
    };
    let refused = world
        .ports
        .collector
        .collect(world.account, &other, 1, world.now())
        .await;
    assert!(
        matches!(refused, Err(RecordError::Inconsistent(_))),
        "{refused:?}"
    );
    assert_eq!(world.balance().await.0, 2 * NINE);
    world.assert_sound().await;
}

/// What was given pays calls, and a credit limit too; a fee is paid with what was bought.
pub async fn given_credit_pays_no_fee(world: World) {
    let given = Credit {
        kind: LotKind::Promo,
        ..credit(world.number(), 5 * NINE, "given")
    };
    let books = world.books();
    books
        .add_credit(world.account, given, world.now())
        .await
        .unwrap();
    world.top_up(NINE - 1).await;
    let began = begin(&world, monthly()).await;
    let fee = load(&world, began.id).await.open_fee.unwrap();
    assert_eq!(collect(&world, &fee, 0).await, Collected::Declined);
    world.top_up(1).await;
    assert_eq!(collect(&world, &fee, 1).await, Collected::Paid);
    assert_eq!(world.balance().await.0, 5 * NINE);
    world.assert_sound().await;
}

/// It is recalled from them. Where it does not come back, the try is declined.
pub async fn a_fee_waits_for_what_nodes_have_on_lease_and_not_for_ever(world: World) {
    world.top_up(NINE).await;
    world.lease(BudgetScope::Wallet, 400).await.unwrap();
    let began = begin(&world, monthly()).await;
    let fee = load(&world, began.id).await.open_fee.unwrap();
    assert_eq!(collect(&world, &fee, 0).await, Collected::Unknown);
    let recalls = world.books().recalls(world.node).await.unwrap();
    assert!(recalls.iter().any(|recall| recall.account == world.account));
    world.ports.clock.advance(Duration::seconds(11));
    assert_eq!(collect(&world, &fee, 0).await, Collected::Declined);
    assert_eq!(collect(&world, &fee, 1).await, Collected::Unknown);
    world.give_back(BudgetScope::Wallet, 400).await;
    assert_eq!(collect(&world, &fee, 1).await, Collected::Paid);
    assert_eq!(world.balance().await, (0, 0));
    world.assert_sound().await;
}

/// When the period is paid, and never before.
pub async fn what_comes_with_a_period_is_given_once(world: World) {
    world.top_up(2 * NINE).await;
    let mut terms = monthly();
    terms.included_credit = Nanos::new(500_000_000);
    begin(&world, terms).await;
    assert_eq!(world.balance().await.0, 2 * NINE);
    run(&world).await;
    assert_eq!(world.balance().await.0, NINE + 500_000_000);
    run(&world).await;
    assert_eq!(world.balance().await.0, NINE + 500_000_000);
    days(&world, 30).await;
    assert_eq!(world.balance().await.0, 2 * 500_000_000);
    assert!(has_quotas(&world).await);
    world.assert_sound().await;
}

/// Its quotas are open from the start; what is in the wallet then pays, or it rests.
pub async fn a_trial_gives_its_quotas_and_is_had_once(world: World) {
    let mut terms = monthly();
    terms.trial_days = 7;
    let plans = &world.ports.plans;
    let published = plans.publish(version(&world, "pro", terms)).await.unwrap();
    let made = subscription(&world, world.account, published.id);
    let began = plans.begin(made).await.unwrap();
    assert!(matches!(began.state, State::Trialing { .. }));
    assert!(has_quotas(&world).await);
    assert_eq!(due(&world).await, []);
    days(&world, 8).await;
    let rests = load(&world, began.id).await.subscription;
    assert!(matches!(rests.state, State::Paused { .. }), "{rests:?}");
    assert!(!has_quotas(&world).await);
    assert!(plans.end(world.account, world.now()).await.unwrap());
    world.top_up(NINE).await;
    let made = subscription(&world, world.account, published.id);
    let again = plans.begin(made).await.unwrap();
    assert!(matches!(again.state, State::Incomplete { .. }), "{again:?}");
    run(&world).await;
    assert!(has_quotas(&world).await);
    assert_eq!(world.balance().await.0, 0);
    world.assert_sound().await;
}

/// Whatever is due to it; and nothing of it is recorded meanwhile.
pub async fn what_is_set_aside_is_not_due_until_it_is_taken_up_again(world: World) {
    world.top_up(NINE).await;
    let began = begin(&world, monthly()).await;
    let (subscriptions, now) = (&world.ports.subscriptions, world.now());
    assert!(!subscriptions.unpark(began.id, now).await.unwrap());
    subscriptions.park(began.id, "too much", now).await.unwrap();
    assert_eq!(due(&world).await, []);
    let parked = subscriptions.parked().await.unwrap();
    assert_eq!(parked, [(began.id, "too much".to_owned())]);
    let saving = Saving {
        revision: began.revision,
        due_at: due_at(&began, &Dunning::default()),
        subscription: began.clone(),
        effects: Vec::new(),
        paid: None,
    };
    let refused = subscriptions.save(&saving, now).await;
    assert!(matches!(refused, Err(RecordError::Changed)), "{refused:?}");
    let refused = world.ports.plans.end(world.account, now).await;
    assert!(matches!(refused, Err(PlansError::Parked)), "{refused:?}");
    assert!(subscriptions.unpark(began.id, now).await.unwrap());
    assert_eq!(due(&world).await, [began.id]);
    run(&world).await;
    assert!(has_quotas(&world).await);
}

/// Whether it is given or billed, paid or not.
pub async fn an_account_has_one_subscription_at_a_time(world: World) {
    let plans = &world.ports.plans;
    let published = plans
        .publish(version(&world, "pro", monthly()))
        .await
        .unwrap();
    let made = || subscription(&world, world.account, published.id);
    plans.begin(made()).await.unwrap();
    let twice = plans.begin(made()).await;
    assert!(matches!(twice, Err(PlansError::Already(code)) if code == "pro"));
    let given = plans.subscribe(made()).await;
    assert!(matches!(given, Err(PlansError::Already(code)) if code == "pro"));
    assert!(plans.end(world.account, world.now()).await.unwrap());
    plans.subscribe(made()).await.unwrap();
    let billed = plans.begin(made()).await;
    assert!(matches!(billed, Err(PlansError::Already(code)) if code == "pro"));
    assert!(has_quotas(&world).await);
}

/// What owes is listed, and is due when the ladder of today says so; what has changed since it was
/// read, or is set aside, stays as it is.
pub async fn what_owes_is_looked_at_when_it_is_reckoned_anew(world: World) {
    let subscriptions = &world.ports.subscriptions;
    let owing = async || subscriptions.owing(None, 100).await.unwrap();
    world.top_up(NINE).await;
    let id = begin(&world, monthly()).await.id;
    run(&world).await;
    assert_eq!(owing().await, []);
    days(&world, 31).await;
    assert_eq!(owing().await, [id]);
    assert_eq!(subscriptions.owing(Some(id), 100).await.unwrap(), []);
    assert_eq!(due(&world).await, []);

    let revision = load(&world, id).await.subscription.revision;
    let now = Some(world.now());
    let stale = subscriptions.look_at(id, revision - 1, now).await;
    stale.unwrap();
    assert_eq!(due(&world).await, []);
    subscriptions.look_at(id, revision, now).await.unwrap();
    assert_eq!(due(&world).await, [id]);
    assert_eq!(load(&world, id).await.subscription.revision, revision);

    subscriptions
        .park(id, "looked at", world.now())
        .await
        .unwrap();
    subscriptions.look_at(id, revision, now).await.unwrap();
    assert_eq!(due(&world).await, []);
}
