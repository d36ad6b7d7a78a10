//! What is left of a plan's quotas, on the wire.

use std::collections::BTreeMap;

use billing_core::budget::{Amount, BudgetScope, BudgetUnit};
use billing_core::id::AccountId;
use billing_core::plan::{OpenQuota, RateLimits, Subscribed};
use billing_core::port::reports::{ReportError, Reports};
use billing_core::quota::carry::Counted;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::api::wire::instant;

/// What is left of a quota in its window.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuotaLeft {
    /// Of which models.
    #[schema(example = "gpt-4o*")]
    models: String,
    /// What it counts: `calls`, `tokens` or `money`.
    unit: &'static str,
    /// What it gives in this window, with what rolled over into it; money in the account's currency.
    #[schema(example = "10000")]
    limit: String,
    /// How much of that was left of the window before.
    #[schema(example = "0")]
    rolled_over: String,
    /// What is left of it.
    #[schema(example = "8800")]
    remaining: String,
    /// When it begins anew; null never.
    #[schema(format = DateTime)]
    resets_at: Option<String>,
}

/// What is left of the number of calls that a plan lets an account make in a billing period, whatever
/// pays them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CallLimitLeft {
    /// How many there may be.
    #[schema(example = "1000")]
    limit: String,
    /// How many are left.
    #[schema(example = "880")]
    remaining: String,
    /// When it begins anew; null never.
    #[schema(format = DateTime)]
    resets_at: Option<String>,
}

/// The most that a plan lets an account send, over all its keys and nodes; null is any number.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RateLimitsDto {
    /// Requests in a minute.
    #[schema(example = 600)]
    requests_per_minute: Option<u32>,
    /// Tokens in a minute, prompts and answers.
    tokens_per_minute: Option<u64>,
    /// Calls at once.
    concurrent_calls: Option<u32>,
}

impl RateLimitsDto {
    /// Limits as they are for the quantity that is subscribed to.
    pub(crate) const fn of(limits: RateLimits) -> Self {
        let RateLimits {
            requests_per_minute,
            tokens_per_minute,
            concurrent_calls,
        } = limits;
        Self {
            requests_per_minute,
            tokens_per_minute,
            concurrent_calls,
        }
    }
}

/// What is left of the call limit of an account's plan; `None` where that has none.
pub(crate) async fn calls_left(
    reports: &dyn Reports,
    (account, subscribed): (AccountId, &Subscribed),
    now: OffsetDateTime,
) -> Result<Option<CallLimitLeft>, ReportError> {
    let Some(limit) = subscribed.call_limit(now) else {
        return Ok(None);
    };
    let used = reports.used(account, &[limit.scope]).await?;
    let used = used.first().copied().unwrap_or_default();
    Ok(Some(CallLimitLeft {
        limit: limit.amount.to_string(),
        remaining: limit.amount.less(used).to_string(),
        resets_at: limit.resets_at.map(instant),
    }))
}

/// What is left of all quotas of an account's plan.
pub(crate) async fn left(
    reports: &dyn Reports,
    (account, subscribed): (AccountId, &Subscribed),
    now: OffsetDateTime,
) -> Result<Vec<QuotaLeft>, ReportError> {
    let open = subscribed.all_open(now);
    let windows = open.iter().flat_map(|quota| {
        let before = quota.carry.map(|carry| carry.from);
        [Some(quota.scope), before].into_iter().flatten()
    });
    let scopes: Vec<BudgetScope> = windows.collect();
    let counted = reports.counted(account, &scopes).await?;
    let counted: BTreeMap<_, _> = scopes.into_iter().zip(counted).collect();
    let of = |scope| counted.get(&scope).copied().unwrap_or_default();
    Ok(open.iter().map(|quota| QuotaLeft::of(quota, of)).collect())
}

impl QuotaLeft {
    fn of(quota: &OpenQuota<'_>, counted: impl Fn(BudgetScope) -> Counted) -> Self {
        let counts = quota.terms.unit;
        let gives = quota.gives(&counted);
        Self {
            models: quota.terms.models.to_string(),
            unit: unit(counts),
            limit: amount(counts, gives),
            rolled_over: amount(counts, gives.less(quota.amount)),
            remaining: amount(counts, gives.less(counted(quota.scope).used)),
            resets_at: quota.resets_at().map(instant),
        }
    }
}

/// What a quota counts.
pub(crate) const fn unit(unit: BudgetUnit) -> &'static str {
    match unit {
        BudgetUnit::Calls => "calls",
        BudgetUnit::Tokens => "tokens",
        BudgetUnit::Nanos => "money",
    }
}

/// How much of it.
pub(crate) fn amount(unit: BudgetUnit, amount: Amount) -> String {
    match unit {
        BudgetUnit::Calls | BudgetUnit::Tokens => amount.to_string(),
        BudgetUnit::Nanos => amount.money().to_string(),
    }
}
