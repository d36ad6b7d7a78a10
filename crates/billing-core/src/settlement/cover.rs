//! What a call's quotas take over of its charge.

use super::rated::Rated;
use crate::budget::{Amount, BudgetScope};
use crate::call::{Basis, Settlement};
use crate::money::{MoneyError, Nanos};
use crate::quota::cover::{Cost, Room, Split};

/// How a call is paid.
pub(super) struct Shares {
    /// What is left to the wallet.
    pub(super) due: Amount,
    /// What the plan pays; `None` where the call holds no quota.
    pub(super) covered: Option<Nanos>,
    split: Option<Split>,
    /// 1 for a call for which something was delivered.
    calls: Amount,
}

impl Shares {
    /// Shares a call between the quotas that it holds and the wallet. `reach` says how much of a
    /// quota it may take; a call whose caller was told what it costs takes its hold at most, so that
    /// this is what it is charged.
    pub(super) fn of(
        settlement: &Settlement,
        rated: &Rated,
        reach: impl Fn(BudgetScope, Amount) -> Amount,
    ) -> Result<Self, MoneyError> {
        let calls = match settlement.basis {
            Basis::Void => Amount::ZERO,
            Basis::Delivered { .. } => Amount::new(1),
        };
        let quotas = settlement.held.iter().filter(|(scope, _)| scope.is_quota());
        let most = |held: Amount| settlement.promised.map_or(Amount::MAX, |_| held);
        let room = quotas.map(|(scope, held)| (*scope, reach(*scope, *held).min(most(*held))));
        let room = Room::of(room);
        if room.is_nothing() {
            return Ok(Self {
                due: rated.due,
                covered: None,
                split: None,
                calls,
            });
        }
        if rated.quarantined {
            return Ok(Self {
                due: rated.due,
                covered: Some(Nanos::ZERO),
                split: None,
                calls,
            });
        }
        let split = match &settlement.basis {
            Basis::Void => Split::default(),
            Basis::Delivered { usage, .. } => Split::of(&room, &Cost::of(usage, rated.exact)?)?,
        };
        Ok(Self {
            due: split.due,
            covered: Some(split.covered.money()),
            split: Some(split),
            calls,
        })
    }

    /// What is taken of a quota of which so much is held, and within reach. Of a call whose usage is
    /// not believed it is the hold.
    pub(super) fn taken(&self, scope: BudgetScope, held: Amount, reach: Amount) -> Amount {
        if !scope.is_quota() {
            // A limit of calls counts each for which something was delivered.
            return self.calls.min(reach);
        }
        let taken = self.split.map_or(held, |split| split.of_unit(scope.unit()));
        taken.min(reach)
    }

    /// What a call counts in its price tiers: as much as the wallet pays of it.
    pub(super) fn counted(&self, scope: BudgetScope, counts: Amount) -> Amount {
        match (self.split, scope) {
            (None, _) => counts,
            (Some(split), BudgetScope::TierCharge { .. }) => split.due,
            (Some(split), _) => split.left_of(counts, scope.unit()),
        }
    }
}
