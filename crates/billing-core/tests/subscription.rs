//! Promises of subscriptions: what is quoted is what is charged, time is paid for once, and nobody
//! gets back more than was paid.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "a test may fall over"
)]

use billing_core::budget::{Amount, BudgetUnit};
use billing_core::id::{AccountId, PlanId, PlanVersionId, QuotaId, SubscriptionId};
use billing_core::money::{Currency, Nanos};
use billing_core::plan::{AfterQuota, Billing, PlanTerms, PlanVersion, RateLimits};
use billing_core::proration::{ProrationUnit, Share};
use billing_core::quota::{Quota, QuotaTerms, QuotaWindow};
use billing_core::subscription::change::{ChangeAsk, ChangeQuote, ChangeWay, Timing};
use billing_core::subscription::{
    AtEnd, Due, Dunned, Dunning, Effect, EndReason, Fee, FeeKind, Paid, Start, State, Subscription,
    SubscriptionError,
};
use billing_core::zone::Zone;
use proptest::prelude::*;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const START: OffsetDateTime = datetime!(2026-01-31 15:30 UTC);
/// Nothing of what came with the period was used.
const ALL: Share = Share::new(1, 1);

fn plan(id: i64, cents: i64, interval: &str) -> PlanVersion {
    PlanVersion {
        id: PlanVersionId::new(id),
        plan: PlanId::new(id),
        number: 1,
        terms: PlanTerms {
            currency: Currency::USD,
            price: Nanos::new(cents * 10_000_000),
            billing: Billing::Every(interval.parse().unwrap()),
            trial_days: 0,
            call_limit: None,
            quotas: Vec::new(),
            after_quota: AfterQuota::Wallet,
            included_credit: Nanos::ZERO,
            discount: None,
            rate_limits: RateLimits::default(),
            speed_boost: false,
            features: Vec::new(),
        },
        quotas: Vec::new(),
        published_at: Some(OffsetDateTime::UNIX_EPOCH),
        archived_at: None,
    }
}

/// A plan that gives calls with each period.
fn with_quota(mut plan: PlanVersion) -> PlanVersion {
    plan.quotas.push(Quota {
        id: QuotaId::new(1),
        terms: QuotaTerms {
            models: "*".parse().unwrap(),
            unit: BudgetUnit::Calls,
            amount: Amount::new(100),
            window: QuotaWindow::Period,
            rollover: Amount::ZERO,
        },
    });
    plan
}

fn started(version: &PlanVersion, may_try: bool) -> (Subscription, Vec<Effect>) {
    let start = Start {
        id: SubscriptionId::new(1),
        account: AccountId::new(1),
        version,
        quantity: 1,
        zone: "America/New_York".parse().unwrap(),
        may_try,
    };
    Subscription::start(start, START).unwrap()
}

fn charges(effects: &[Effect]) -> Vec<&Fee> {
    let charge = |effect| match effect {
        &Effect::Charge(ref fee) | &Effect::Retry(ref fee) => Some(fee),
        Effect::Grant { .. } | Effect::Tell(_) => None,
    };
    effects.iter().filter_map(charge).collect()
}

/// One that is paid for its first period.
fn active(version: &PlanVersion) -> Subscription {
    let (mut new, effects) = started(version, false);
    let [fee] = charges(&effects)[..] else {
        panic!("{effects:?}");
    };
    let (period, at) = (fee.period, START);
    new.paid(Paid { period, at }, version);
    assert_eq!(new.state, State::Active);
    new
}

fn ask(to: &PlanVersion, quantity: u32, timing: Option<Timing>) -> ChangeAsk<'_> {
    ChangeAsk {
        to,
        quantity,
        timing,
        by: ProrationUnit::Second,
        unused: ALL,
    }
}

fn now_quote(
    of: &Subscription,
    from: &PlanVersion,
    to: &PlanVersion,
    at: OffsetDateTime,
) -> ChangeQuote {
    of.quote(from, &ask(to, 1, Some(Timing::Now)), at).unwrap()
}

proptest! {
    /// Whatever is changed to what and when within a period: what was charged less what was credited
    /// is the price of each plan for as long as it was had, to a minor unit a change.
    #[test]
    fn changes_within_a_period_come_to_the_price_weighted_by_time(
        first in 1_i64..500_000,
        changes in prop::collection::vec((1_i64..500_000, 1_u32..4, 1_i64..3_000_000), 0..12),
    ) {
        let mut version = plan(1, first, "P1M");
        let mut subscription = active(&version);
        let (_, period) = subscription.billed_period().unwrap();
        let whole = i128::from(period.seconds());
        let mut net = i128::from(first);
        let mut weighted = 0_i128;
        let mut at = START;
        let mut price = first;
        let mut done = 0;
        for (id, (cents, quantity, after)) in (2..).zip(changes) {
            let next = (at + Duration::seconds(after)).min(period.end - Duration::SECOND);
            let to = plan(id, cents, "P1M");
            let ask = ask(&to, quantity, Some(Timing::Now));
            let quote = subscription.quote(&version, &ask, next).unwrap();
            prop_assert_eq!(&quote.way, &ChangeWay::InPlace);
            let effects = subscription.take(&quote, &to, next).unwrap();
            let charged: i64 = charges(&effects).iter().map(|fee| fee.amount).sum();
            prop_assert_eq!(charged, quote.total().unwrap());
            net += i128::from(charged);
            weighted += i128::from(price) * i128::from((next - at).whole_seconds());
            (at, price, version) = (next, cents * i64::from(quantity), to);
            done += 1;
            prop_assert!(subscription.credited <= subscription.charged);
        }
        weighted += i128::from(price) * i128::from((period.end - at).whole_seconds());
        let off = (net * whole - weighted).abs();
        prop_assert!(off <= whole * (done + 1), "{} of {} x {}", off, whole, done);
    }

    /// However a subscription is changed and ended, what comes back is never more than was paid.
    #[test]
    fn nobody_gets_back_more_than_was_paid(
        steps in prop::collection::vec((0_usize..4, 0_i64..3_000_000, 0_u64..=10), 0..10),
        ends_after in 0_i64..3_000_000,
    ) {
        let plans = [
            plan(1, 1_000, "P1M"),
            with_quota(plan(2, 9_900, "P1M")),
            plan(3, 100, "P7D"),
            with_quota(plan(4, 99_000, "P1Y")),
        ];
        let mut subscription = active(&plans[0]);
        let (mut paid, mut back) = (1_000_i64, 0_i64);
        let mut at = START;
        let mut on = 0;
        for (to, after, unused) in steps {
            at += Duration::seconds(after);
            let ask = ChangeAsk {
                unused: Share::new(unused, 10),
                ..ask(&plans[to], 1, Some(Timing::Now))
            };
            let Ok(quote) = subscription.quote(&plans[on], &ask, at) else {
                continue;
            };
            let effects = subscription.take(&quote, &plans[to], at).unwrap();
            if !matches!(quote.way, ChangeWay::AtPeriodEnd(_)) {
                on = to;
            }
            for fee in charges(&effects) {
                if fee.amount < 0 { back -= fee.amount } else { paid += fee.amount }
            }
        }
        at += Duration::seconds(ends_after);
        let unused = (ProrationUnit::Second, ALL);
        let effects = subscription.cancel_now(&plans[on], unused, true, at).unwrap();
        for fee in charges(&effects) {
            prop_assert!(fee.amount < 0);
            back -= fee.amount;
        }
        prop_assert!(back <= paid, "{} of {}", back, paid);
    }
}

/// A plan that gives something with its period is not sold by the second: who has used all of it up
/// gets nothing back for it, however early.
#[test]
fn what_was_used_up_is_not_sold_back() {
    let (small, large) = (
        with_quota(plan(1, 1_000, "P1M")),
        with_quota(plan(2, 5_000, "P1M")),
    );
    let subscription = active(&small);
    let at = START + Duration::HOUR;
    let gone = ChangeAsk {
        unused: Share::new(0, 100),
        ..ask(&large, 1, None)
    };
    let quote = subscription.quote(&small, &gone, at).unwrap();
    assert!(matches!(quote.way, ChangeWay::Reset(_)), "{quote:?}");
    assert_eq!(quote.total(), Ok(5_000));
    let half = ChangeAsk {
        unused: Share::new(50, 100),
        ..gone
    };
    let quote = subscription.quote(&small, &half, at).unwrap();
    assert_eq!(quote.total(), Ok(4_500));
}

#[test]
fn less_is_changed_to_at_the_end_and_more_at_once() {
    let (small, large) = (plan(1, 1_000, "P1M"), plan(2, 5_000, "P1M"));
    let at = START + Duration::days(10);
    let mut subscription = active(&large);
    let down = subscription
        .quote(&large, &ask(&small, 1, None), at)
        .unwrap();
    assert_eq!(down.items, []);
    subscription.take(&down, &small, at).unwrap();
    assert_eq!(
        (subscription.version, subscription.charged),
        (large.id, 5_000)
    );
    let (end, due) = subscription.due(&Dunning::default()).unwrap();
    assert_eq!(
        (Some(end), due),
        (Some(subscription.billed_through), Due::PeriodOver)
    );
    let effects = subscription
        .step((end, due), (&large, Some(&small)), true)
        .unwrap();
    let fee = charges(&effects)[0];
    assert_eq!((subscription.version, fee.amount), (small.id, 1_000));
    assert_eq!(fee.period.start, end);
    let subscription = active(&small);
    let up = subscription
        .quote(&small, &ask(&large, 1, None), at)
        .unwrap();
    assert!(up.total().unwrap() > 0);
}

#[test]
fn a_change_that_cannot_be_is_refused_and_changes_nothing() {
    let (here, there) = (plan(1, 1_000, "P1M"), plan(2, 5_000, "P1M"));
    let at = START + Duration::days(10);
    let mut subscription = active(&here);
    let refused = |to: &PlanVersion, quantity| {
        subscription
            .quote(&here, &ask(to, quantity, None), at)
            .unwrap_err()
    };
    assert_eq!(refused(&here, 1), SubscriptionError::Same);
    assert_eq!(refused(&there, 0), SubscriptionError::Quantity(0));
    let mut other = there.clone();
    other.terms.currency = Currency::CNY;
    assert_eq!(refused(&other, 1), SubscriptionError::Currency);
    let mut archived = there.clone();
    archived.archived_at = Some(at);
    assert_eq!(refused(&archived, 1), SubscriptionError::NotOnSale);
    let mut draft = there.clone();
    draft.published_at = None;
    assert_eq!(refused(&draft, 1), SubscriptionError::NotOnSale);

    let quote = now_quote(&subscription, &here, &there, at);
    let before = subscription.clone();
    let mut take = |quote: &ChangeQuote, to: &PlanVersion, at| {
        let refused = subscription.take(quote, to, at).unwrap_err();
        assert_eq!(subscription, before);
        refused
    };
    let foreign = ChangeQuote {
        subscription: SubscriptionId::new(2),
        ..quote.clone()
    };
    assert_eq!(take(&foreign, &there, at), SubscriptionError::ForeignQuote);
    assert_eq!(take(&quote, &here, at), SubscriptionError::ForeignQuote);
    let late = at + Duration::minutes(30);
    assert_eq!(take(&quote, &there, late), SubscriptionError::QuoteExpired);
    let early = at - Duration::SECOND;
    assert_eq!(take(&quote, &there, early), SubscriptionError::ClockBehind);
    // Of two quotes of the same state one can be taken, once.
    let twin = now_quote(&subscription, &here, &plan(3, 7_000, "P1M"), at);
    subscription.take(&quote, &there, at).unwrap();
    let refused = subscription.take(&twin, &plan(3, 7_000, "P1M"), at);
    assert_eq!(refused, Err(SubscriptionError::Changed));
    assert_eq!(
        subscription.take(&quote, &there, at),
        Err(SubscriptionError::Changed)
    );
}

/// A ladder: calls go on in grace, stop when it is over, and what is not paid at the end ends it.
#[test]
fn what_is_not_paid_is_tried_again_and_then_given_up() {
    let version = plan(1, 1_000, "P1M");
    let mut subscription = active(&version);
    let dunning = Dunning::default();
    let mut seen = Vec::new();
    while let Some((at, due)) = subscription.due(&dunning) {
        seen.push(((at - START).whole_days(), due));
        let effects = subscription
            .step((at, due), (&version, None), true)
            .unwrap();
        if let [fee] = charges(&effects)[..] {
            assert_eq!(fee.amount, 1_000);
            assert!(subscription.not_paid(at).contains(&Effect::Tell(
                billing_core::message::MessageKind::PaymentFailed
            )));
        }
        let is_open = matches!(subscription.state, State::Grace(_));
        assert_eq!(subscription.is_entitled(at), is_open);
    }
    let tries = [
        (28, Due::PeriodOver),
        (29, Due::Retry),
        (31, Due::CloseGrace),
        (32, Due::Retry),
        (37, Due::Retry),
        (44, Due::Retry),
        (44, Due::GiveUp),
    ];
    assert_eq!(seen, tries);
    assert!(matches!(
        subscription.state,
        State::Ended {
            why: EndReason::Unpaid,
            ..
        }
    ));
}

/// What is owed says which try comes next, when calls stop, and when it ends.
#[test]
fn what_is_owed_says_how_far_it_has_come() {
    let version = plan(1, 1_000, "P1M");
    let mut subscription = active(&version);
    let dunning = Dunning::default();
    assert_eq!(subscription.dunned(&dunning), None);
    let due = subscription.due(&dunning).unwrap();
    subscription.step(due, (&version, None), true).unwrap();
    assert_eq!(subscription.dunned(&dunning), None);
    let since = due.0;
    subscription.not_paid(since);
    let days = |days| since + Duration::days(days);
    let dunned = Dunned {
        tries: 1,
        most: 5,
        next_try_at: Some(days(1)),
        grace_until: days(3),
        ends_at: Some(days(16)),
    };
    assert_eq!(subscription.dunned(&dunning), Some(dunned));
    for _ in 0..4 {
        subscription.not_paid(days(9));
    }
    let last = Dunned {
        tries: 5,
        next_try_at: None,
        ..dunned
    };
    assert_eq!(subscription.dunned(&dunning), Some(last));
    let waits = Dunning {
        at_end: AtEnd::Wait,
        ..dunning
    };
    let never = Dunned {
        ends_at: None,
        ..last
    };
    assert_eq!(subscription.dunned(&waits), Some(never));
    let (at, due) = subscription.due(&waits).unwrap();
    assert_eq!((at, due), (days(3), Due::CloseGrace));
    subscription
        .step((at, due), (&version, None), true)
        .unwrap();
    assert_eq!(subscription.due(&waits), None);
}

/// A ladder that has become shorter than what was tried ends it, and tries nothing again.
#[test]
fn a_ladder_with_fewer_steps_than_were_tried_gives_up() {
    let version = plan(1, 1_000, "P1M");
    let mut subscription = active(&version);
    let (at, due) = subscription.due(&Dunning::default()).unwrap();
    subscription
        .step((at, due), (&version, None), true)
        .unwrap();
    for _ in 0..4 {
        subscription.not_paid(at);
    }
    let short = Dunning {
        retry_days: vec![2],
        grace_days: 1,
        ..Dunning::default()
    };
    let mut seen = Vec::new();
    while let Some((at, due)) = subscription.due(&short) {
        seen.push(due);
        subscription
            .step((at, due), (&version, None), true)
            .unwrap();
    }
    assert_eq!(seen, [Due::CloseGrace, Due::GiveUp]);
}

/// A fee that is paid after its period was over, with calls stopped, is for a period from then on.
#[test]
fn what_is_paid_late_is_for_time_that_is_still_to_come() {
    let version = plan(1, 1_000, "P7D");
    let mut subscription = active(&version);
    let dunning = Dunning::default();
    for _ in 0..4 {
        let (at, due) = subscription.due(&dunning).unwrap();
        let effects = subscription
            .step((at, due), (&version, None), true)
            .unwrap();
        if !charges(&effects).is_empty() {
            subscription.not_paid(at);
        }
    }
    let State::PastDue(owed) = subscription.state else {
        panic!("{:?}", subscription.state);
    };
    let at = owed.period.end + Duration::HOUR;
    assert!(!subscription.is_entitled(at));
    let paid = Paid {
        period: owed.period,
        at,
    };
    subscription.paid(paid, &version);
    let (_, period) = subscription.billed_period().unwrap();
    assert_eq!((period.start, period.end - at), (at, Duration::days(7)));
    assert!(subscription.is_entitled(at));
    // Told again, it changes nothing.
    assert_eq!(subscription.paid(paid, &version), []);
}

#[test]
fn a_trial_ends_at_an_instant_and_is_never_active_without_a_way_to_pay() {
    let mut version = plan(1, 1_000, "P1M");
    version.terms.trial_days = 14;
    let (trying, effects) = started(&version, true);
    assert_eq!(charges(&effects), Vec::<&Fee>::new());
    let ends_at = START + Duration::days(14);
    assert_eq!(trying.state, State::Trialing { ends_at });
    assert!(trying.is_entitled(ends_at - Duration::SECOND) && !trying.is_entitled(ends_at));
    // Three days before it is told, once.
    let reminds = trying.due(&Dunning::default()).unwrap();
    assert_eq!(reminds, (ends_at - Duration::days(3), Due::RemindTrial));
    let mut trying = trying;
    let told = trying.step(reminds, (&version, None), true).unwrap();
    let ending = billing_core::message::MessageKind::TrialEnding;
    assert_eq!(told, [Effect::Tell(ending)]);
    assert_eq!(trying.state, State::Trialing { ends_at });
    let due = trying.due(&Dunning::default()).unwrap();
    assert_eq!(due, (ends_at, Due::ConvertTrial));
    let mut cannot = trying.clone();
    cannot.step(due, (&version, None), false).unwrap();
    assert_eq!(cannot.state, State::Paused { since: ends_at });
    let mut can = trying.clone();
    let effects = can.step(due, (&version, None), true).unwrap();
    let fee = charges(&effects)[0];
    assert_eq!(
        (fee.kind, fee.amount, fee.period.start),
        (FeeKind::Plan, 1_000, ends_at)
    );
    // Another plan's trial begins where this one did.
    let mut longer = plan(2, 5_000, "P1M");
    longer.terms.trial_days = 30;
    let quote = trying.quote(&version, &ask(&longer, 1, None), START + Duration::days(3));
    let quote = quote.unwrap();
    trying.take(&quote, &longer, quote.at).unwrap();
    let State::Trialing { ends_at } = trying.state else {
        panic!("{:?}", trying.state);
    };
    assert_eq!((ends_at - START).whole_days(), 30);
    let (second, _) = started(&version, false);
    assert!(matches!(second.state, State::Incomplete { .. }));
}

#[test]
fn what_is_cancelled_ends_with_its_period_unless_it_is_resumed() {
    let version = plan(1, 1_000, "P1M");
    let mut subscription = active(&version);
    subscription.cancel_at_end().unwrap();
    let end = subscription.billed_through;
    assert!(subscription.is_entitled(end - Duration::SECOND));
    assert!(!subscription.is_entitled(end));
    let mut resumed = subscription.clone();
    resumed.resume(&version).unwrap();
    assert!(resumed.auto_renew && resumed.is_entitled(end));
    assert_eq!(resumed.resume(&version), Err(SubscriptionError::Same));
    let due = subscription.due(&Dunning::default()).unwrap();
    assert_eq!(due, (end, Due::Cancel));
    subscription.step(due, (&version, None), true).unwrap();
    assert_eq!(subscription.due(&Dunning::default()), None);
    assert_eq!(subscription.resume(&version), Err(SubscriptionError::Same));
    assert_eq!(subscription.cancel_at_end(), Err(SubscriptionError::Ended));
}

#[test]
fn what_is_for_once_ends_by_itself() {
    let mut version = plan(1, 1_000, "P30D");
    version.terms.billing = Billing::Once("P30D".parse().unwrap());
    let mut subscription = active(&version);
    let due = subscription.due(&Dunning::default()).unwrap();
    assert_eq!(due.1, Due::PeriodOver);
    let effects = subscription.step(due, (&version, None), true).unwrap();
    assert_eq!(charges(&effects), Vec::<&Fee>::new());
    let State::Ended { why, at } = subscription.state else {
        panic!("{:?}", subscription.state);
    };
    assert_eq!((why, at), (EndReason::RanOut, due.0));
}

#[test]
fn zones_of_the_far_ends_have_the_same_fees() {
    for name in ["Pacific/Kiritimati", "Pacific/Niue", "Asia/Kathmandu"] {
        let zone: Zone = name.parse().unwrap();
        let version = plan(1, 1_000, "P1M");
        let start = Start {
            id: SubscriptionId::new(1),
            account: AccountId::new(1),
            version: &version,
            quantity: 3,
            zone,
            may_try: false,
        };
        let (_, effects) = Subscription::start(start, START).unwrap();
        assert_eq!(charges(&effects)[0].amount, 3_000, "{name}");
    }
}
