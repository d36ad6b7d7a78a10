//! What a call should cost, before it is known how far its funds reach.

use super::held_money;
use crate::budget::{Amount, BudgetScope};
use crate::call::{Basis, Settlement};
use crate::charge::{amount, charge, exact};
use crate::money::{Exact, Nanos};
use crate::price::RatingError;
use crate::terms::InTiers;

/// What a call should cost.
pub(super) struct Rated {
    /// The account and its plan.
    pub(super) due: Amount,
    /// The same, unrounded.
    pub(super) exact: Exact,
    /// The house; `None` where that is not known.
    pub(super) cost: Option<Nanos>,
    /// Whether the reported usage is not believed, so that the hold is due.
    pub(super) quarantined: bool,
    /// What it counts in its tiers' window.
    pub(super) counted: Option<Counted>,
}

/// What a call counts in the window of its tiers.
pub(super) struct Counted {
    /// The position that it was rated at.
    pub(super) position: Amount,
    /// By how much each counter moves.
    pub(super) scopes: Vec<(BudgetScope, Amount)>,
}

/// Rates a call. A usage beyond the model's bounds, or one that no rate covers, is not believed: the
/// hold is due, nothing is counted, and a person looks at it.
///
/// `used_before` says how far a counter has come.
pub(super) fn rated(
    settlement: &Settlement,
    used_before: impl Fn(BudgetScope) -> Option<Amount>,
) -> Rated {
    let Basis::Delivered { usage, .. } = &settlement.basis else {
        return Rated {
            due: Amount::ZERO,
            exact: Exact::ZERO,
            cost: Some(Nanos::ZERO),
            quarantined: false,
            counted: None,
        };
    };
    let quarantined = Rated {
        due: held_money(settlement),
        exact: Exact::ZERO,
        cost: None,
        quarantined: true,
        counted: None,
    };
    if settlement.bounds.are_passed_by(usage) {
        return quarantined;
    }
    let tiers = settlement.terms.tiers.as_ref();
    let rated = match tiers {
        None => plain(settlement),
        Some(tiers) => {
            let position = used_before(tiers.position());
            in_tiers(settlement, tiers, position.unwrap_or(tiers.known))
        }
    };
    let Ok((exact, counted)) = rated else {
        return quarantined;
    };
    let Ok(due) = exact.settle() else {
        return quarantined;
    };
    let cost = match &settlement.terms.resold {
        // The catalogue's price, without tiers, is what the house pays.
        None if tiers.is_none() => Some(due),
        None | Some(_) => {
            let cost = settlement.terms.cost();
            amount(usage, cost, &settlement.circumstances()).ok()
        }
    };
    Rated {
        due: Amount::of(due),
        exact,
        cost,
        quarantined: false,
        counted,
    }
}

type Due = Result<(Exact, Option<Counted>), RatingError>;

fn plain(settlement: &Settlement) -> Due {
    let Basis::Delivered { usage, .. } = &settlement.basis else {
        return Ok((Exact::ZERO, None));
    };
    let price = &settlement.terms.price;
    Ok((exact(usage, price, &settlement.circumstances())?, None))
}

fn in_tiers(settlement: &Settlement, tiers: &InTiers, position: Amount) -> Due {
    let Basis::Delivered { usage, .. } = &settlement.basis else {
        return Ok((Exact::ZERO, None));
    };
    let circumstances = settlement.circumstances();
    let charge = charge(usage, &settlement.terms, &circumstances, position)?;
    let counted = charge.tiers.as_ref().map(|tiered| tiered.counted);
    let mut scopes = vec![(tiers.position(), counted.unwrap_or_default())];
    if let Some(charged) = tiers.charged() {
        scopes.push((charged, Amount::of(charge.amount)));
    }
    Ok((charge.exact, Some(Counted { position, scopes })))
}
