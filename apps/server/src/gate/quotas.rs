//! What a caller's plan gives of a call: held before it, named where it is not enough, and told of.

use actix_web::http::header::{HeaderName, HeaderValue};
use billing_core::budget::{Amount, BudgetScope, BudgetUnit};
use billing_core::id::AccountId;
use billing_core::lease::Recall;
use billing_core::lease_book::{HoldAsk, Refusal};
use billing_core::money::Nanos;
use billing_core::plan::{AfterQuota, OpenQuota, Subscribed};
use billing_core::quota::carry::Carry;
use billing_core::quota::cover::tokens_of;
use billing_core::quota::hold::{Demands, HoldSearch, Worst, extensions};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Gate;
use super::admit::{OpenCall, payers, worst_case};
use crate::http::v1::error::V1Error;

/// A quota in the window that a call counts in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planned {
    pub(crate) scope: BudgetScope,
    /// How much it gives in its window by itself.
    pub(crate) amount: Amount,
    /// What may come on top of that from the window before.
    carry: Option<Carry>,
    /// When it begins anew.
    pub(crate) resets_at: Option<OffsetDateTime>,
}

/// What a plan gives of a call's model.
#[derive(Debug)]
pub(crate) struct OfPlan {
    /// The quotas that cover the model, the most specific level first.
    levels: Vec<Vec<Planned>>,
    /// What happens where they do not reach.
    pub(crate) after: AfterQuota,
}

impl Planned {
    fn of(quota: &OpenQuota<'_>) -> Self {
        Self {
            scope: quota.scope,
            amount: quota.amount,
            carry: quota.carry,
            resets_at: quota.resets_at(),
        }
    }

    /// When a call that needs so much of it may be made; `None` where waiting does not help.
    pub(crate) fn helps_at(&self, needed: Amount) -> Option<OffsetDateTime> {
        let rolls = self.carry.map_or(Amount::ZERO, |carry| carry.most);
        self.resets_at.filter(|_| needed <= self.amount.plus(rolls))
    }
}

impl OfPlan {
    /// What a subscription gives of a model at an instant; `None` where that is nothing, so that the
    /// call is paid as if there were no plan.
    pub(crate) fn of(
        subscribed: &Subscribed,
        model: &str,
        at: OffsetDateTime,
    ) -> Option<Box<Self>> {
        let levels: Vec<Vec<Planned>> = subscribed
            .open(model, at)
            .iter()
            .map(|level| level.iter().map(Planned::of).collect())
            .collect();
        let after = subscribed.after_quota;
        (!levels.is_empty()).then(|| Box::new(Self { levels, after }))
    }

    pub(crate) fn quota(&self, scope: BudgetScope) -> Option<&Planned> {
        self.levels.iter().flatten().find(|q| q.scope == scope)
    }

    fn scopes(&self) -> Vec<Vec<BudgetScope>> {
        let scopes = |level: &Vec<Planned>| level.iter().map(|quota| quota.scope).collect();
        self.levels.iter().map(scopes).collect()
    }

    /// The quotas that a caller is told of: those that its call draws, else the most specific ones.
    pub(crate) fn shown(&self, held: &[(BudgetScope, Amount)]) -> Vec<Planned> {
        let is_drawn = |q: &Planned| held.iter().any(|(scope, _)| *scope == q.scope);
        let drawn = self.levels.iter().find(|level| level.iter().any(is_drawn));
        drawn.or(self.levels.first()).cloned().unwrap_or_default()
    }
}

impl Gate {
    /// Holds the worst case of a call on its plan's quotas and the wallet.
    pub(super) async fn hold_by_plan(
        &self,
        call: &OpenCall,
        plan: &OfPlan,
    ) -> Result<(), HoldFault> {
        let worst = Worst {
            tokens: tokens_of(&call.ceiling),
            money: Amount::of(worst_case(call)?),
        };
        let (levels, payers) = (plan.scopes(), payers(call));
        let levels = levels.iter().map(Vec::as_slice);
        let mut search = HoldSearch::new(levels, &payers, worst, plan.after);
        let account = call.caller.key.account;
        self.let_go_of_windows_before(account, plan);
        loop {
            let free = |scope| self.leases.free(account, scope);
            let Some(attempt) = search.next(free).map_err(|_| unpriced(call))? else {
                let refusal = search.refusal();
                return Err(refusal.map_or(V1Error::StoreAway.into(), HoldFault::Refused));
            };
            let mut ask = self.demand(call, attempt.demands);
            ask.demands.extend(call.limited());
            if !attempt.may_wait {
                ask.wait_until = self.leases.now();
            }
            match self.leases.hold(ask).await {
                Ok(()) => return Ok(()),
                Err(refusal) => search.refused(refusal),
            }
        }
    }

    /// Gives back what this node has on lease of windows that are over and of which the rest rolls
    /// over: until it is back it cannot.
    fn let_go_of_windows_before(&self, account: AccountId, plan: &OfPlan) {
        let carried = plan.levels.iter().flatten().filter_map(|quota| quota.carry);
        for carry in carried {
            let wanted = self.leases.free(account, carry.from);
            if !wanted.is_zero() {
                self.leases.recall(&[Recall {
                    account,
                    scope: carry.from,
                    wanted,
                }]);
            }
        }
    }

    /// Holds what a call lacks that may come to so much; whether it could.
    pub(super) async fn extend_by_plan(
        &self,
        call: &OpenCall,
        plan: &OfPlan,
        worst: Worst,
        waits: bool,
    ) -> bool {
        let (_, held) = call.held();
        let Ok(ways) = extensions(&held, &payers(call), worst, plan.after) else {
            return false;
        };
        if ways.is_empty() {
            return true;
        }
        let last = ways.len().saturating_sub(1);
        for (at, way) in ways.into_iter().enumerate() {
            let mut ask = self.demand(call, way);
            if !waits || at < last {
                ask.wait_until = self.leases.now();
            }
            if self.leases.hold(ask).await.is_ok() {
                return true;
            }
        }
        false
    }

    fn demand(&self, call: &OpenCall, demands: Demands) -> HoldAsk {
        HoldAsk {
            demands,
            ..self.ask(call, Nanos::ZERO)
        }
    }

    /// What is left of quotas, as headers. Figures are of the books: as this node heard them last,
    /// or looked up where it has heard nothing yet.
    pub(crate) async fn quota_headers(
        &self,
        account: AccountId,
        shown: &[Planned],
    ) -> Vec<(HeaderName, HeaderValue)> {
        let mut lines = Vec::with_capacity(shown.len().saturating_mul(3));
        for unit in [BudgetUnit::Calls, BudgetUnit::Tokens, BudgetUnit::Nanos] {
            let mut least: Option<([Amount; 2], &Planned)> = None;
            for quota in shown.iter().filter(|quota| quota.scope.unit() == unit) {
                let Some(used) = self.used_of(account, quota.scope).await else {
                    continue;
                };
                let gives = quota.amount.plus(self.on_top(account, quota).await);
                let left = gives.less(used);
                if least.is_none_or(|([_, least], _)| left < least) {
                    least = Some(([gives, left], quota));
                }
            }
            if let Some((figures, quota)) = least {
                lines.extend(headers_of(unit, figures, quota));
            }
        }
        lines
    }

    /// What rolled over into a quota's window, as this node saw it when it first looked: what other
    /// nodes give back of the window before later may make it more.
    async fn on_top(&self, account: AccountId, quota: &Planned) -> Amount {
        let Some(carry) = quota.carry else {
            return Amount::ZERO;
        };
        if let Some(known) = self.prices.rolled(account, quota.scope) {
            return known;
        }
        let windows = [quota.scope, carry.from];
        let counted = match self.reports.counted(account, &windows).await {
            Ok(counted) => counted,
            Err(error) => {
                tracing::warn!(%account, %error, "what rolled over could not be looked up");
                return Amount::ZERO;
            }
        };
        let [own, before] = [0, 1].map(|at: usize| counted.get(at).copied().unwrap_or_default());
        let rolled = own
            .came
            .plus(carry.more(own.came, before.left(carry.gives)));
        self.prices.note_rolled(account, quota.scope, rolled);
        rolled
    }

    async fn used_of(&self, account: AccountId, scope: BudgetScope) -> Option<Amount> {
        if let Some(used) = self.prices.known(account, scope) {
            return Some(used);
        }
        match self.reports.used(account, &[scope]).await {
            Ok(used) => {
                let used = used.first().copied().unwrap_or_default();
                self.prices.note_used(account, scope, used);
                Some(used)
            }
            Err(error) => {
                tracing::warn!(%account, %error, "what is used of a quota could not be looked up");
                None
            }
        }
    }
}

/// Why nothing is held.
pub(super) enum HoldFault {
    /// A budget has too little.
    Refused(Refusal),
    /// Something else.
    Other(V1Error),
}

impl From<V1Error> for HoldFault {
    fn from(error: V1Error) -> Self {
        Self::Other(error)
    }
}

fn unpriced(call: &OpenCall) -> V1Error {
    V1Error::Unpriced(call.head.model.clone())
}

fn headers_of(
    unit: BudgetUnit,
    [gives, left]: [Amount; 2],
    quota: &Planned,
) -> Vec<(HeaderName, HeaderValue)> {
    let [limit, remaining, reset] = match unit {
        BudgetUnit::Calls => [
            HeaderName::from_static("x-tollgate-quota-limit-calls"),
            HeaderName::from_static("x-tollgate-quota-remaining-calls"),
            HeaderName::from_static("x-tollgate-quota-reset-calls"),
        ],
        BudgetUnit::Tokens => [
            HeaderName::from_static("x-tollgate-quota-limit-tokens"),
            HeaderName::from_static("x-tollgate-quota-remaining-tokens"),
            HeaderName::from_static("x-tollgate-quota-reset-tokens"),
        ],
        BudgetUnit::Nanos => [
            HeaderName::from_static("x-tollgate-quota-limit-money"),
            HeaderName::from_static("x-tollgate-quota-remaining-money"),
            HeaderName::from_static("x-tollgate-quota-reset-money"),
        ],
    };
    let text = |amount: Amount| match unit {
        BudgetUnit::Calls | BudgetUnit::Tokens => amount.to_string(),
        BudgetUnit::Nanos => amount.money().to_string(),
    };
    let resets = quota.resets_at.and_then(|at| at.format(&Rfc3339).ok());
    let lines = [
        (limit, Some(text(gives))),
        (remaining, Some(text(left))),
        (reset, resets),
    ];
    let line = |(name, text): (HeaderName, Option<String>)| {
        let value = HeaderValue::from_str(&text?).ok()?;
        Some((name, value))
    };
    lines.into_iter().filter_map(line).collect()
}
