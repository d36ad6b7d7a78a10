//! What an account is subscribed to, as far as its calls depend on it.

use std::sync::Arc;

use time::OffsetDateTime;

use super::{AfterQuota, PlanTerms, PlanVersion, RateLimits};
use crate::budget::{Amount, BudgetScope};
use crate::id::{PlanId, PlanVersionId, SubscriptionId};
use crate::period::{Cycle, Period};
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

    /// Whether it is over at an instant, so that nothing of it holds any more.
    pub fn has_ended(&self, at: OffsetDateTime) -> bool {
        self.ends_at.is_some_and(|end| end <= at)
    }

    fn in_window<'a>(&'a self, quota: &'a Quota, at: OffsetDateTime) -> Option<OpenQuota<'a>> {
        if self.has_ended(at) {
            return None;
        }
        let window = quota.terms.window.at(&self.zone, &self.cycle, at)?;
        let amount = quota.terms.amount.get();
        Some(OpenQuota {
            scope: quota.scope(window),
            terms: &quota.terms,
            amount: Amount::new(amount.saturating_mul(u64::from(self.quantity))),
            window,
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
}
