//! Who subscribes, and what they do.

use billing_core::budget::{Amount, BudgetUnit};
use billing_core::id::{AccountId, PlanId, PlanVersionId, QuotaId, SubscriptionId};
use billing_core::money::{Currency, Nanos};
use billing_core::period::Period;
use billing_core::plan::{AfterQuota, Billing, PlanTerms, PlanVersion, RateLimits};
use billing_core::port::subscriptions::Collected;
use billing_core::proration::{ProrationUnit, Share};
use billing_core::quota::{Quota, QuotaTerms, QuotaWindow};
use billing_core::subscription::change::{ChangeAsk, ChangeWay};
use billing_core::subscription::{Dunning, Effect, Fee, Start, State, Subscription};
use billing_core::zone::Zone;
use time::OffsetDateTime;

use super::at_once;
use super::house::{Books, House};
use super::rng::Rng;
use super::run;

/// Clocks that change, midnights that are missing, half hours, and both ends of the day.
const ZONES: &[&str] = &[
    "UTC",
    "America/New_York",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Asia/Shanghai",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Pacific/Apia",
    "Pacific/Niue",
];

pub(crate) fn plans() -> Vec<PlanVersion> {
    let plan = |id: i64, cents: i64, interval: &str, trial_days: u16| PlanVersion {
        id: PlanVersionId::new(id),
        plan: PlanId::new(id),
        number: 1,
        terms: PlanTerms {
            currency: Currency::USD,
            price: Nanos::new(cents * 10_000_000),
            billing: Billing::Every(interval.parse().unwrap()),
            trial_days,
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
    };
    let mut plans = vec![
        plan(1, 999, "P1M", 0),
        plan(2, 4_999, "P1M", 14),
        plan(3, 48_000, "P1Y", 0),
        plan(4, 299, "P7D", 3),
        plan(5, 2_500, "P1M", 7),
        plan(6, 1_500, "P30D", 0),
        plan(7, 0, "P1M", 0),
    ];
    plans[4].terms.included_credit = Nanos::new(5_000_000_000);
    plans[4].quotas.push(Quota {
        id: QuotaId::new(1),
        terms: QuotaTerms {
            models: "*".parse().unwrap(),
            unit: BudgetUnit::Calls,
            amount: Amount::new(1_000),
            window: QuotaWindow::Period,
            rollover: Amount::ZERO,
        },
    });
    plans[5].terms.billing = Billing::Once("P30D".parse().unwrap());
    plans
}

/// An account, with the subscriptions that it has had.
#[derive(Debug)]
pub(crate) struct Person {
    account: AccountId,
    zone: Zone,
    had: i64,
    tried: Vec<PlanId>,
    now: Option<SubscriptionId>,
}

pub(crate) fn move_in(accounts: u64, rng: &mut Rng) -> Vec<Person> {
    let person = |number| Person {
        account: AccountId::new(i64::try_from(number).unwrap()),
        zone: rng.one_of(ZONES).parse().unwrap(),
        had: 0,
        tried: Vec::new(),
        now: None,
    };
    (1..=accounts).map(person).collect()
}

impl Person {
    /// Does something, most often nothing.
    pub(crate) fn act(&mut self, house: &House, now: OffsetDateTime, rng: &mut Rng) {
        if rng.chance(4) {
            let mut books = house.books();
            let broke = books.broke.entry(self.account).or_default();
            *broke = !*broke && rng.chance(400);
        }
        let Some(id) = self.now else {
            if rng.chance(20) {
                self.subscribe(&mut house.books(), now, rng);
            }
            return;
        };
        let state = house.books().subscriptions[&id].state;
        match state {
            State::Ended { .. } => self.now = None,
            State::Grace(_) | State::PastDue(_) | State::Incomplete { .. } if rng.chance(40) => {
                pay(house, id, now);
            }
            State::Paused { .. } if rng.chance(10) => unpause(&mut house.books(), id, now),
            State::Active | State::Trialing { .. } => {
                change(&mut house.books(), id, now, rng);
            }
            State::Grace(_)
            | State::PastDue(_)
            | State::Incomplete { .. }
            | State::Paused { .. } => {}
        }
    }

    fn subscribe(&mut self, books: &mut Books, now: OffsetDateTime, rng: &mut Rng) {
        let plans = plans();
        let version = &plans[rng.place(plans.len())];
        self.had += 1;
        let id = SubscriptionId::new(self.account.get() * 1_000 + self.had);
        let may_try = !self.tried.contains(&version.plan);
        let start = Start {
            id,
            account: self.account,
            version,
            quantity: u32::try_from(rng.between(1, 3)).unwrap(),
            zone: self.zone.clone(),
            may_try,
        };
        let (new, effects) = Subscription::start(start, now).unwrap();
        if matches!(new.state, State::Trialing { .. }) {
            self.tried.push(version.plan);
        }
        books.put(None, &new, &effects).unwrap();
        books.count("started");
        self.now = Some(id);
    }
}

/// Pays what is owed, by hand.
fn pay(house: &House, id: SubscriptionId, now: OffsetDateTime) {
    house.cut_after(0);
    let paid = at_once::run(run::pay(house, id, now)).unwrap();
    if paid == Some(Collected::Paid) {
        house.books().count("paid_by_hand");
    }
}

fn unpause(books: &mut Books, id: SubscriptionId, now: OffsetDateTime) {
    let mut subscription = books.subscriptions[&id].clone();
    let version = books.versions[&subscription.version].clone();
    let revision = subscription.revision;
    let effects = subscription.unpause(&version, now).unwrap();
    books.put(Some(revision), &subscription, &effects).unwrap();
    books.count("unpaused");
}

fn change(books: &mut Books, id: SubscriptionId, now: OffsetDateTime, rng: &mut Rng) {
    let mut subscription = books.subscriptions[&id].clone();
    // Whoever asks between a period's end and the run that bills the next one waits for it.
    if subscription
        .due(&Dunning::default())
        .is_some_and(|(at, _)| at <= now)
    {
        return;
    }
    let revision = subscription.revision;
    let from = books.versions[&subscription.version].clone();
    let unused = Share::new(rng.below(11), 10);
    let billed = subscription.billed_period();
    let rest = billed.map(|(_, period)| Period {
        start: now.max(period.start),
        end: period.end,
    });
    let is_active = subscription.state == State::Active;
    let effects = match rng.below(1_000) {
        0..4 => {
            another(books, &mut subscription, &from, (now, unused), rng);
            return;
        }
        4..6 if subscription.cancel_at_end().is_ok() => {
            books.count("cancelled_at_end");
            Vec::new()
        }
        6 => {
            let is_credited = rng.chance(500);
            let by = (ProrationUnit::Second, unused);
            let effects = subscription
                .cancel_now(&from, by, is_credited, now)
                .unwrap();
            books.count("cancelled_now");
            let has_credit = effects.iter().any(|e| matches!(e, Effect::Charge(_)));
            if let Some(rest) = rest.filter(|_| is_active && !has_credit) {
                books.forfeits.push((id, rest));
            }
            effects
        }
        7 => {
            let effects = subscription.pause(now).unwrap();
            books.count("paused");
            if let Some(rest) = rest.filter(|_| is_active) {
                books.forfeits.push((id, rest));
            }
            effects
        }
        8..30 if subscription.resume(&from).is_ok() => {
            books.count("resumed");
            Vec::new()
        }
        _ => return,
    };
    books.put(Some(revision), &subscription, &effects).unwrap();
    for fee in credits(&effects) {
        books.invoice(&subscription, fee);
    }
}

/// Changes to another plan: quoted, paid where something is due, and taken as quoted.
fn another(
    books: &mut Books,
    subscription: &mut Subscription,
    from: &PlanVersion,
    (now, unused): (OffsetDateTime, Share),
    rng: &mut Rng,
) {
    let revision = subscription.revision;
    let to = rng.below(books.versions.len() as u64);
    let to = books.versions.values().nth(usize::try_from(to).unwrap());
    let to = to.unwrap().clone();
    let by = [
        ProrationUnit::Second,
        ProrationUnit::Day,
        ProrationUnit::Day30,
    ];
    let ask = ChangeAsk {
        to: &to,
        quantity: u32::try_from(rng.between(1, 3)).unwrap(),
        timing: None,
        by: rng.one_of(&by),
        unused,
    };
    let Ok(quote) = subscription.quote(from, &ask, now) else {
        return;
    };
    let total = quote.total().unwrap();
    if total > 0 {
        let whole = Fee {
            key: format!("{}:{revision}", subscription.id),
            amount: total,
            ..quote.items[0].clone()
        };
        if books.pay(subscription.account, &whole, 0) != Collected::Paid {
            books.count("changes_declined");
            return;
        }
    }
    let effects = subscription.take(&quote, &to, now).unwrap();
    let charged: i64 = credits(&effects).iter().map(|fee| fee.amount).sum();
    assert_eq!(charged, total, "what was quoted is what is charged");
    books.count(match quote.way {
        ChangeWay::InPlace => "changed_in_place",
        ChangeWay::Reset(_) => "changed_and_reset",
        ChangeWay::AtPeriodEnd(_) => "changed_at_period_end",
        ChangeWay::InTrial(_) => "changed_in_trial",
    });
    books.put(Some(revision), subscription, &effects).unwrap();
    for fee in credits(&effects) {
        books.invoice(subscription, fee);
    }
}

fn credits(effects: &[Effect]) -> Vec<&Fee> {
    let mut fees = Vec::new();
    for effect in effects {
        if let Effect::Charge(fee) = effect {
            fees.push(fee);
        }
    }
    fees
}
