//! What is left of a plan's quotas, on the wire.

use billing_core::budget::{Amount, BudgetScope, BudgetUnit};
use billing_core::id::AccountId;
use billing_core::plan::{OpenQuota, Subscribed};
use billing_core::port::reports::{ReportError, Reports};
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
    /// What it gives in a window; money in the account's currency.
    #[schema(example = "10000")]
    limit: String,
    /// What is left of that.
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
    let scopes: Vec<BudgetScope> = open.iter().map(|quota| quota.scope).collect();
    let used = reports.used(account, &scopes).await?;
    let left = open.iter().zip(used);
    Ok(left
        .map(|(quota, used)| QuotaLeft::of(quota, used))
        .collect())
}

impl QuotaLeft {
    fn of(quota: &OpenQuota<'_>, used: Amount) -> Self {
        let counts = quota.terms.unit;
        Self {
            models: quota.terms.models.to_string(),
            unit: unit(counts),
            limit: amount(counts, quota.amount),
            remaining: amount(counts, quota.amount.less(used)),
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
