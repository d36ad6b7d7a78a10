//! What an account is subscribed to, as far as its calls depend on it.

use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use super::{AfterQuota, PlanTerms, PlanVersion, RateLimits};
use crate::budget::{Amount, BudgetScope};
use crate::id::{PlanId, PlanVersionId, SubscriptionId};
use crate::period::{Cycle, Period};
use crate::quota::carry::{Carry, Counted};
use crate::quota::{Quota, QuotaTerms, QuotaWindow, levels};
use crate::subscription::{Access, State, Subscription};
use crate::zone::Zone;

/// A live subscription with the version of the plan that it is to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribed {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// The plan.
    pub plan: PlanId,
    /// The plan's code: `pro`.
    pub code: String,
    /// Its version.
    pub version: PlanVersionId,
    /// What that says.
    pub terms: Arc<PlanTerms>,
    /// Its quotas.
    pub quotas: Arc<[Quota]>,
    /// What happens to calls that no quota covers: as the account chose, else as the plan says.
    pub after_quota: AfterQuota,
    /// The account's zone, by whose calendar windows begin.
    pub zone: Zone,
    /// Its billing periods.
    pub cycle: Cycle,
    /// How many of the version: each quota is so many times that of the plan.
    pub quantity: u32,
    /// Since when it has given what it gives: nothing rolls over from windows that were over then.
    pub given_since: OffsetDateTime,
    /// When it ends by itself; `None` where it goes on.
    pub ends_at: Option<OffsetDateTime>,
}

/// A quota in the window that an instant lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenQuota<'a> {
    /// Which budget that is.
    pub scope: BudgetScope,
    /// What the quota says.
    pub terms: &'a QuotaTerms,
    /// How much it gives in the window.
    pub amount: Amount,
    /// The window. A lifetime ends with the calendar.
    pub window: Period,
    /// What may come on top of it from the window before; `None` where nothing does.
    pub carry: Option<Carry>,
}

/// How many calls a plan lets an account make, in the period that an instant lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimit {
    /// Which budget that is.
    pub scope: BudgetScope,
    /// How many.
    pub amount: Amount,
    /// When it begins anew; `None` where it never does.
    pub resets_at: Option<OffsetDateTime>,
}

const fn limit_scope(version: PlanVersionId, period: Period) -> BudgetScope {
    BudgetScope::CallLimit {
        version,
        window_start: period.start.unix_timestamp(),
    }
}

impl Subscribed {
    /// The quotas that cover a model, in the windows of an instant: level by level, the most
    /// specific first. A level of which a quota has no window then does not cover it.
    pub fn open(&self, model: &str, at: OffsetDateTime) -> Vec<Vec<OpenQuota<'_>>> {
        let levels = levels(&self.quotas, model).into_iter();
        let open = levels.filter_map(|level| {
            let quotas = level.quotas.into_iter();
            quotas.map(|quota| self.in_window(quota, at)).collect()
        });
        open.collect()
    }

    /// How many calls may be made in the period of an instant, whatever pays them; `None` for any
    /// number.
    pub fn call_limit(&self, at: OffsetDateTime) -> Option<CallLimit> {
        if self.has_ended(at) {
            return None;
        }
        let each = self.terms.call_limit?;
        let period = QuotaWindow::Period.at(&self.zone, &self.cycle, at)?;
        Some(CallLimit {
            scope: limit_scope(self.version, period),
            amount: Amount::new(each.saturating_mul(u64::from(self.quantity))),
            resets_at: self.terms.billing.renews().then_some(period.end),
        })
    }

    /// All quotas, in the windows of an instant.
    pub fn all_open(&self, at: OffsetDateTime) -> Vec<OpenQuota<'_>> {
        let open = |quota| self.in_window(quota, at);
        self.quotas.iter().filter_map(open).collect()
    }

    /// The most that may be sent at an instant; `None` where nothing is limited.
    pub fn rate_limits(&self, at: OffsetDateTime) -> Option<RateLimits> {
        let limits = self.terms.rate_limits;
        let is_limited = !limits.is_nothing() && !self.has_ended(at);
        is_limited.then(|| limits.times(self.quantity))
    }

    /// Whether calls that begin at an instant go by the fast lane.
    pub fn is_boosted(&self, at: OffsetDateTime) -> bool {
        self.terms.speed_boost && !self.has_ended(at)
    }

    /// The version that calls are under that begin at an instant; `None` once it is over.
    pub fn version_at(&self, at: OffsetDateTime) -> Option<PlanVersionId> {
        (!self.has_ended(at)).then_some(self.version)
    }

    /// Whether it is over at an instant, so that nothing of it holds any more.
    pub fn has_ended(&self, at: OffsetDateTime) -> bool {
        self.ends_at.is_some_and(|end| end <= at)
    }

    fn in_window<'a>(&'a self, quota: &'a Quota, at: OffsetDateTime) -> Option<OpenQuota<'a>> {
        if self.has_ended(at) {
            return None;
        }
        let window = quota.terms.window.at(&self.zone, &self.cycle, at)?;
        Some(OpenQuota {
            scope: quota.scope(window),
            terms: &quota.terms,
            amount: self.times(quota.terms.amount),
            window,
            carry: self.carried_into(quota, window),
        })
    }

    fn times(&self, each: Amount) -> Amount {
        Amount::new(each.get().saturating_mul(u64::from(self.quantity)))
    }

    /// What may come on top of the window of a budget from the one before; `None` where that is
    /// nothing, or where the budget is none of this subscription as it stands.
    pub fn carry(&self, scope: BudgetScope) -> Option<Carry> {
        let BudgetScope::Quota { window_start, .. } = scope else {
            return None;
        };
        // A window begins anywhere within the second that names it.
        let second = OffsetDateTime::from_unix_timestamp(window_start).ok()?;
        let at = second.checked_add(Duration::nanoseconds(999_999_999))?;
        let open = |quota| self.in_window(quota, at);
        let mut open = self.quotas.iter().filter_map(open);
        open.find(|quota| quota.scope == scope)?.carry
    }

    fn carried_into(&self, quota: &Quota, window: Period) -> Option<Carry> {
        if quota.terms.rollover.is_zero() {
            return None;
        }
        let last = window.start.checked_sub(Duration::NANOSECOND)?;
        let before = quota.terms.window.at(&self.zone, &self.cycle, last)?;
        // What was over before the subscription gave this was not given by it.
        let was_given = before.end <= window.start && self.given_since < before.end;
        was_given.then(|| Carry {
            from: quota.scope(before),
            gives: self.times(quota.terms.amount),
            most: self.times(quota.terms.rollover),
        })
    }
}

impl Subscription {
    /// What its account's calls depend on; `None` while its quotas are closed. `own` is what the
    /// account chose to happen after its quotas, and `zone` whose calendar windows begin by.
    pub fn subscribed(
        &self,
        (code, version): (String, PlanVersion),
        own: Option<AfterQuota>,
        zone: Zone,
    ) -> Option<Subscribed> {
        let ends_at = match self.access() {
            Access::Closed => return None,
            Access::Until(end) => Some(end),
            Access::Open => None,
        };
        // Its periods begin when the trial is over; until then the trial is its first.
        let cycle = if matches!(self.state, State::Trialing { .. }) {
            let zone = self.cycle.anchor.zone.clone();
            Cycle::anniversary(zone, self.started_at, self.cycle.interval)
        } else {
            self.cycle.clone()
        };
        Some(Subscribed {
            subscription: self.id,
            plan: version.plan,
            code,
            version: version.id,
            after_quota: own.unwrap_or(version.terms.after_quota),
            terms: Arc::new(version.terms),
            quotas: version.quotas.into(),
            zone,
            cycle,
            quantity: self.quantity,
            given_since: self.given_since.unwrap_or(self.started_at),
            ends_at,
        })
    }
}

impl Subscription {
    /// What a version gives with a whole period or once for all, and how many calls it lets be made in
    /// one, in the windows of an instant: what is left of them says how much of a period was not used.
    pub fn whole_quotas(
        &self,
        version: &PlanVersion,
        at: OffsetDateTime,
    ) -> Vec<(BudgetScope, Amount)> {
        let zone = &self.cycle.anchor.zone;
        let times = |each: u64| Amount::new(each.saturating_mul(u64::from(self.quantity)));
        let whole = version.quotas.iter().filter(|quota| {
            let window = quota.terms.window;
            matches!(window, QuotaWindow::Period | QuotaWindow::Subscription)
        });
        let open = whole.filter_map(|quota| {
            let window = quota.terms.window.at(zone, &self.cycle, at)?;
            Some((quota.scope(window), times(quota.terms.amount.get())))
        });
        let calls = version.terms.call_limit.and_then(|each| {
            let period = QuotaWindow::Period.at(zone, &self.cycle, at)?;
            Some((limit_scope(version.id, period), times(each)))
        });
        open.chain(calls).collect()
    }
}

impl OpenQuota<'_> {
    /// When it begins anew; `None` where it never does.
    pub fn resets_at(&self) -> Option<OffsetDateTime> {
        let never = matches!(self.terms.window, QuotaWindow::Subscription);
        (!never).then_some(self.window.end)
    }

    /// How much it gives in the window with what comes on top from the one before, by what was
    /// counted of both.
    pub fn gives(&self, counted: impl Fn(BudgetScope) -> Counted) -> Amount {
        let came = counted(self.scope).came;
        let more = self.carry.map_or(Amount::ZERO, |carry| {
            carry.more(came, counted(carry.from).left(carry.gives))
        });
        self.amount.plus(came).plus(more)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::budget::BudgetUnit;
    use crate::id::{AccountId, QuotaId};
    use crate::money::{Currency, Nanos};
    use crate::plan::Billing;
    use crate::subscription::{Paid, Start};

    const START: OffsetDateTime = datetime!(2026-02-27 15:30:00.75 UTC);

    /// A plan that gives 100 calls in each window, of which 40 roll over.
    fn version(window: QuotaWindow) -> PlanVersion {
        let terms = QuotaTerms {
            models: "*".parse().unwrap(),
            unit: BudgetUnit::Calls,
            amount: Amount::new(100),
            window,
            rollover: Amount::new(40),
        };
        let id = QuotaId::new(1);
        PlanVersion {
            id: PlanVersionId::new(1),
            plan: PlanId::new(1),
            number: 1,
            quotas: vec![Quota {
                id,
                terms: terms.clone(),
            }],
            terms: PlanTerms {
                currency: Currency::USD,
                price: Nanos::ZERO,
                billing: Billing::Every("P1M".parse().unwrap()),
                trial_days: 0,
                call_limit: None,
                quotas: vec![terms],
                after_quota: AfterQuota::Wallet,
                included_credit: Nanos::ZERO,
                discount: None,
                rate_limits: RateLimits::default(),
                speed_boost: false,
                features: Vec::new(),
            },
            published_at: Some(OffsetDateTime::UNIX_EPOCH),
            archived_at: None,
        }
    }

    fn started(version: &PlanVersion) -> Subscription {
        let start = Start {
            id: SubscriptionId::new(1),
            account: AccountId::new(1),
            version,
            quantity: 2,
            zone: "Europe/Paris".parse().unwrap(),
            may_try: false,
        };
        let (new, _) = Subscription::start(start, START).unwrap();
        new
    }

    /// What comes on top of the window of an instant, and when the window began that it comes from.
    fn carried(of: &Subscription, version: &PlanVersion, at: OffsetDateTime) -> Option<i64> {
        let zone = of.cycle.anchor.zone.clone();
        let subscribed = of.subscribed(("pro".to_owned(), version.clone()), None, zone);
        let subscribed = subscribed.unwrap();
        let open = subscribed.all_open(at)[0];
        assert_eq!(subscribed.carry(open.scope), open.carry);
        let carry = open.carry?;
        assert_eq!((carry.gives.get(), carry.most.get()), (200, 80));
        Some(carry.from.row().window_start)
    }

    #[test]
    fn what_rolls_over_comes_from_the_window_before_in_the_calendar_of_the_account() {
        let daily = version(QuotaWindow::Daily);
        let of = started(&daily);
        assert_eq!(carried(&of, &daily, START), None);
        let before = carried(&of, &daily, datetime!(2026-03-01 12:00 UTC)).unwrap();
        let began = datetime!(2026-02-27 23:00 UTC);
        assert_eq!(before, began.unix_timestamp());
        // The period ends on the 27th, in the afternoon.
        let period = version(QuotaWindow::Period);
        let mut of = started(&period);
        assert_eq!(carried(&of, &period, datetime!(2026-03-27 14:00 UTC)), None);
        of.billed_through = datetime!(2026-04-27 14:30 UTC);
        let before = carried(&of, &period, datetime!(2026-03-28 14:00 UTC));
        assert_eq!(before, Some(START.unix_timestamp()));
    }

    #[test]
    fn nothing_rolls_over_a_pause_or_a_larger_quantity() {
        let daily = version(QuotaWindow::Daily);
        let mut of = started(&daily);
        let day = |n: i64| START.saturating_add(Duration::days(n));
        assert!(carried(&of, &daily, day(3)).is_some());
        of.pause(day(3)).unwrap();
        of.unpause(&daily, day(9)).unwrap();
        assert_eq!(carried(&of, &daily, day(9)), None);
        assert!(carried(&of, &daily, day(10)).is_some());
        of.quantity = 1;
        of.give((daily.id, 2), day(12));
        assert_eq!(carried(&of, &daily, day(12)), None);
        assert!(carried(&of, &daily, day(13)).is_some());
        // Fewer of it: what is left is of what they give.
        of.quantity = 3;
        of.give((daily.id, 2), day(14));
        assert!(carried(&of, &daily, day(14)).is_some());
    }

    #[test]
    fn nothing_rolls_over_from_while_it_was_not_paid() {
        let mut daily = version(QuotaWindow::Daily);
        daily.terms.price = Nanos::parse("9").unwrap();
        let mut of = started(&daily);
        let (_, period) = of.billed_period().unwrap();
        let at = START.saturating_add(Duration::hours(20));
        of.paid(Paid { period, at }, &daily);
        assert_eq!(carried(&of, &daily, at), None);
        assert!(carried(&of, &daily, at.saturating_add(Duration::DAY)).is_some());
    }
}
