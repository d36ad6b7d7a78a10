//! By name, what a fingerprint says only of the whole: for books that failed, so that somebody can
//! mend them.

use std::collections::BTreeMap;

use billing_core::budget::BudgetScope;
use billing_core::id::LedgerTxnId;

use super::findings::Findings;
use super::fingerprint::Fingerprint;
use super::plan_rollup::{PlanKey, PlanSums};
use super::rollup::{RollupKey, RollupSums};
use super::sums::Part;

/// How many legs are told apart. What goes beyond them is compared as a whole.
const MOST: usize = 1_000_000;

/// What calls add up to, by name; the journal's side is taken out of it again.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// By transaction and part: what calls are due, less what is booked.
    due: BTreeMap<(i64, Part), i128>,
    rest: Fingerprint,
    is_full: bool,
    pub(super) uses: BTreeMap<BudgetScope, i128>,
    pub(super) rollup: BTreeMap<RollupKey, RollupSums>,
    pub(super) plans: BTreeMap<PlanKey, PlanSums>,
    /// By lot, what the journal granted.
    pub(super) granted: BTreeMap<i64, i128>,
}

impl Names {
    pub(super) fn due(&mut self, txn: i64, part: Part, amount: i128) {
        self.is_full |= self.due.len() >= MOST;
        match self.due.get_mut(&(txn, part)) {
            Some(due) => *due = due.saturating_add(amount),
            None if self.is_full => self.rest.add(part.of(txn), amount),
            None if amount != 0 => drop(self.due.insert((txn, part), amount)),
            None => {}
        }
    }

    pub(super) fn used(&mut self, scope: BudgetScope, taken: i128) {
        let used = self.uses.entry(scope).or_default();
        *used = used.saturating_add(taken);
    }

    pub(super) fn counted(&mut self, key: RollupKey, more: RollupSums) {
        add_up(self.rollup.entry(key).or_default(), more);
    }

    pub(super) fn counted_of_plan(&mut self, key: PlanKey, more: PlanSums) {
        add_up(self.plans.entry(key).or_default(), more);
    }

    /// Whether each settlement books what its calls took.
    pub(super) fn check_due(&self, findings: &mut Findings) {
        for ((txn, part), off) in self.due.iter().filter(|(_, off)| **off != 0) {
            let what = match part {
                Part::Due => "what its calls are due".to_owned(),
                Part::Lot(lot) => {
                    format!("what they drew from {}", billing_core::id::LotId::new(*lot))
                }
                Part::Credit => "what they owe".to_owned(),
                Part::Overrun => "what the house bears".to_owned(),
            };
            let txn = LedgerTxnId::new(*txn);
            findings.must(false, || {
                format!("{txn} does not book {what}: the calls have {off} more")
            });
        }
        findings.must(self.rest == Fingerprint::default(), || {
            "the later settlements do not book what their calls are due".to_owned()
        });
    }
}

/// As the roll-ups do: to the largest that fits.
fn add_up<const N: usize>(sums: &mut [i128; N], more: [i128; N]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum = sum.saturating_add(more).min(i128::from(i64::MAX));
    }
}
