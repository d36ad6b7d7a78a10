//! What a call's plan must pay of it, said once more in whole numbers.

use billing_core::budget::BudgetUnit;
use billing_core::call::{Basis, Settlement};

/// The steps of an exact amount in a nano.
const NANO: i128 = 1_000_000_000_000_000_000;

/// What a call costs, the plan's part with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Price {
    /// Unrounded.
    pub(crate) exact: i128,
    /// In nanos.
    pub(crate) nanos: u64,
}

impl Price {
    pub(crate) fn whole(nanos: u64) -> Self {
        let exact = i128::from(nanos) * NANO;
        Self { exact, nanos }
    }
}

/// Of so much money for a portion of tokens, what the wallet pays for some of them, rounded up.
pub(crate) fn left(money: u64, of_wallet: u64, portion: u64) -> u64 {
    if portion == 0 {
        return money;
    }
    let part = (u128::from(money) * u128::from(of_wallet)).div_ceil(u128::from(portion));
    u64::try_from(part).unwrap()
}

/// Whether a call held anything of its plan.
pub(crate) fn is_held(settlement: &Settlement) -> bool {
    settlement.held.iter().any(|(scope, _)| !scope.is_payer())
}

/// What the plan pays of a call of so many tokens that takes of its quota what it held. A call
/// without tokens is none that a quota of tokens covers.
pub(crate) fn pays(settlement: &Settlement, price: Price, tokens: u64) -> u64 {
    let quota = settlement.held.iter().find(|(scope, _)| !scope.is_payer());
    let (Some((scope, held)), Basis::Delivered { .. }) = (quota, &settlement.basis) else {
        return 0;
    };
    match scope.unit() {
        BudgetUnit::Calls => price.nanos,
        BudgetUnit::Tokens | BudgetUnit::Nanos if tokens == 0 => 0,
        BudgetUnit::Tokens | BudgetUnit::Nanos => {
            let rest = i128::from(tokens.saturating_sub(held.get()));
            // Of so many tokens as many nanos, each a share of all tokens; halves go to even.
            let (of, unit) = (price.exact * rest, NANO * i128::from(tokens));
            let (due, above) = (of / unit, 2 * (of % unit));
            let up = above > unit || (above == unit && due % 2 == 1);
            price.nanos - u64::try_from(due + i128::from(up)).unwrap()
        }
    }
}
