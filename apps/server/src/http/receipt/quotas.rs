//! What a call drew of its plan.

use billing_core::budget::{Amount, BudgetScope, BudgetUnit};
use billing_core::money::Currency;
use billing_core::port::reports::CallDetail;
use billing_core::quota::cover::tokens_of;
use serde::Serialize;
use utoipa::ToSchema;

/// What a call drew of one quota.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct QuotaLine {
    /// The quota of the plan.
    #[schema(example = "quo_0001fv5kz4y00")]
    pub(crate) quota: String,
    /// What it counts: `calls`, `tokens` or `money`.
    pub(crate) unit: &'static str,
    /// How much of it the call took, in its unit.
    #[schema(example = "1200")]
    pub(crate) drawn: String,
    /// The first second of the window that the call counts in (Unix time).
    pub(crate) window_start: i64,
}

/// The quotas that a call held, and what it took of each.
pub(super) fn lines(call: &CallDetail, currency: Currency) -> Vec<QuotaLine> {
    let line = |(scope, drawn): &(BudgetScope, Amount)| match *scope {
        BudgetScope::Quota {
            quota,
            unit,
            window_start,
        } => Some(QuotaLine {
            quota: quota.to_string(),
            unit: match unit {
                BudgetUnit::Calls => "calls",
                BudgetUnit::Tokens => "tokens",
                BudgetUnit::Nanos => "money",
            },
            drawn: amount(unit, *drawn, currency),
            window_start,
        }),
        BudgetScope::Wallet
        | BudgetScope::KeyLimit { .. }
        | BudgetScope::MemberLimit { .. }
        | BudgetScope::CallLimit { .. }
        | BudgetScope::Tier { .. }
        | BudgetScope::TierCharge { .. }
        | BudgetScope::TierOverrun { .. } => None,
    };
    call.used.iter().filter_map(line).collect()
}

/// The share of the plan in words; `None` where it has none.
pub(super) fn words(call: &CallDetail, currency: Currency) -> Option<String> {
    let covered = call.covered?;
    let drawn = |of: BudgetUnit| {
        let mut quotas = call.used.iter().filter(|(scope, taken)| {
            matches!(scope, BudgetScope::Quota { unit, .. } if *unit == of) && !taken.is_zero()
        });
        quotas.next().map(|(_, taken)| *taken)
    };
    let by = if let Some(tokens) = drawn(BudgetUnit::Tokens) {
        format!("{tokens} of {} tokens", tokens_of(&call.usage))
    } else if let Some(money) = drawn(BudgetUnit::Nanos) {
        amount(BudgetUnit::Nanos, money, currency)
    } else {
        drawn(BudgetUnit::Calls)?;
        "the whole call".to_owned()
    };
    Some(format!(
        " Covered by plan quota: {by}, worth {covered} {currency}; the wallet pays the rest."
    ))
}

fn amount(unit: BudgetUnit, amount: Amount, currency: Currency) -> String {
    match unit {
        BudgetUnit::Calls | BudgetUnit::Tokens => amount.to_string(),
        BudgetUnit::Nanos => format!("{} {currency}", amount.money()),
    }
}
