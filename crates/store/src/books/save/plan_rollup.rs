//! What calls under plans add up to, by bucket, version of a plan, and quota.

use std::collections::BTreeMap;

use billing_core::budget::{Amount, BudgetScope};
use billing_core::call::Basis;
use billing_core::id::{AccountId, PlanVersionId};
use billing_core::money::Nanos;

use super::statements::PLAN_ROLLUP;
use super::{Counted, SettledCall, Settlement};
use crate::instant::stored;
use crate::rows::{Form, Rows};

/// Stands in the place of a quota for calls that drew of none.
pub(crate) const NO_QUOTA: i64 = 0;
/// Stands there for calls that drew of any.
pub(crate) const ANY_QUOTA: i64 = -1;

/// The rows that a call under a plan counts in, with what it drew there, in the unit of the quota:
/// one of all calls with it, and one of each quota of which it drew something.
pub(crate) fn parts(used: &[(BudgetScope, Amount)]) -> impl Iterator<Item = (i64, Amount)> {
    let drawn = used.iter().filter_map(|(scope, taken)| {
        let BudgetScope::Quota { quota, .. } = scope else {
            return None;
        };
        (!taken.is_zero()).then_some((quota.get(), *taken))
    });
    let whole = drawn.clone().next().map_or(NO_QUOTA, |_| ANY_QUOTA);
    std::iter::once((whole, Amount::ZERO)).chain(drawn)
}

/// Account, start of the bucket, version and quota.
type Key = (AccountId, i64, PlanVersionId, i64);

/// The sums of a batch.
#[derive(Debug)]
pub(super) struct PlanRollup {
    sums: BTreeMap<Key, Bucket>,
    rows: Rows,
}

#[derive(Debug, Default)]
struct Bucket {
    calls: i64,
    void_calls: i64,
    tokens: Counted,
    charge: i64,
    covered: i64,
    drawn: i64,
}

impl PlanRollup {
    pub(super) fn new(form: Form) -> Self {
        Self {
            sums: BTreeMap::new(),
            rows: PLAN_ROLLUP.rows(form),
        }
    }

    /// Counts a call, where it was under a plan.
    pub(super) fn count(&mut self, settlement: &Settlement, settled: &SettledCall, bucket: i64) {
        let Some(version) = settlement.terms.plan else {
            return;
        };
        let (is_void, tokens) = match &settlement.basis {
            Basis::Void => (1, Counted::default()),
            Basis::Delivered { usage, .. } => (0, Counted::of(usage, settled.quarantined)),
        };
        let covered = settled.covered.map_or(0, Nanos::get);
        for (quota, drawn) in parts(&settled.used) {
            let key = (settlement.account, bucket, version, quota);
            let sum = self.sums.entry(key).or_default();
            sum.calls = sum.calls.saturating_add(1);
            sum.void_calls = sum.void_calls.saturating_add(is_void);
            sum.tokens.add(tokens);
            sum.charge = sum.charge.saturating_add(settled.charge.get());
            sum.covered = sum.covered.saturating_add(covered);
            sum.drawn = sum.drawn.saturating_add(stored(drawn));
        }
    }

    pub(super) fn into_rows(mut self) -> Rows {
        for ((account, bucket, version, quota), sum) in &self.sums {
            self.rows.push([
                account.get().into(),
                (*bucket).into(),
                version.get().into(),
                (*quota).into(),
                sum.calls.into(),
                sum.void_calls.into(),
                sum.tokens.prompt.into(),
                sum.tokens.cached.into(),
                sum.tokens.answer.into(),
                sum.charge.into(),
                sum.covered.into(),
                sum.drawn.into(),
            ]);
        }
        self.rows
    }
}
