//! What is taken off lines before tax: coupons and discounts in their order, then given credit.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::coupon::CouponCode;
use super::group::{Group, add_to_lines, spread_over};
use super::line::{Component, LineItem};
use crate::charge_model::Percent;
use crate::charge_model::minor::Discounted;
use crate::id::PlanId;
use crate::money::{Minor, MoneyError};

/// A discount on an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discount {
    /// What the invoice calls it.
    pub name: String,
    /// The coupon that it comes from.
    pub code: Option<CouponCode>,
    /// How much it is.
    pub off: Off,
    /// What the lines that it applies to must come to before any discount.
    pub minimum: Option<Minor>,
    /// The plans whose lines it applies to; none for all lines.
    pub plans: BTreeSet<PlanId>,
}

/// How much a discount is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Off {
    /// A percentage of what earlier discounts have left.
    Percent(Percent),
    /// An amount, as far as there is as much to pay.
    Amount(Minor),
}

/// A discount that an invoice gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedDiscount {
    /// The discount.
    pub discount: Discount,
    /// What it was taken off.
    pub base: Minor,
    /// How much it came to.
    pub amount: Minor,
}

/// A discount that an invoice does not give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedDiscount {
    /// The discount.
    pub discount: Discount,
    /// Why not.
    pub why: Skipped,
}

/// Why a discount is not given. It is then not used up either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Skipped {
    /// The lines come to less than they must.
    BelowMinimum,
    /// No line is left of which it could take something.
    NothingToTakeFrom,
}

/// What discounts come to, and each line's part.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TakenOff {
    pub(super) applied: Vec<AppliedDiscount>,
    pub(super) skipped: Vec<SkippedDiscount>,
    /// Each line's part of all of them.
    pub(super) of_lines: Vec<Minor>,
}

impl Discount {
    fn applies_to(&self, item: &LineItem) -> bool {
        item.discountable && self.is_for(item.plan)
    }

    fn is_for(&self, plan: Option<PlanId>) -> bool {
        let of_plan = |plan| self.plans.contains(&plan);
        self.plans.is_empty() || plan.is_some_and(of_plan)
    }

    /// How much it is of what the lines that it applies to come to: `listed` before any discount,
    /// `base` after the earlier ones.
    fn reckon(&self, listed: Minor, base: Minor) -> Result<Result<Minor, Skipped>, MoneyError> {
        if self.minimum.is_some_and(|minimum| listed < minimum) {
            return Ok(Err(Skipped::BelowMinimum));
        }
        if base <= Minor::ZERO {
            return Ok(Err(Skipped::NothingToTakeFrom));
        }
        let off = match self.off {
            Off::Percent(percent) => Discounted::percent(base.get(), percent)?,
            Off::Amount(amount) => Discounted::fixed(base.get(), amount.get())?,
        };
        Ok(Ok(Minor::new(off.discount)))
    }
}

/// The coupons that took something off. One that did not is not used up by it.
pub fn coupons(applied: &[AppliedDiscount]) -> impl Iterator<Item = &CouponCode> {
    let took = applied.iter().filter(|off| off.amount > Minor::ZERO);
    took.filter_map(|off| off.discount.code.as_ref())
}

/// What discounts take, one after another, off one price of a plan: just what an invoice of it alone
/// gives.
///
/// # Errors
/// [`MoneyError::OutOfRange`].
pub(crate) fn off_price(
    discounts: &[Discount],
    (plan, price): (PlanId, Minor),
) -> Result<Vec<AppliedDiscount>, MoneyError> {
    let (mut applied, mut left) = (Vec::new(), price);
    for discount in discounts.iter().filter(|one| one.is_for(Some(plan))) {
        if let Ok(amount) = discount.reckon(price, left)? {
            applied.push(AppliedDiscount {
                discount: discount.clone(),
                base: left,
                amount,
            });
            left = left.minus(amount)?;
        }
    }
    Ok(applied)
}

/// Applies discounts one after another. None makes lines that are taxed alike come to less than
/// nothing.
pub(super) fn take_off(
    discounts: &[Discount],
    items: &[LineItem],
    amounts: &[Minor],
    groups: &[Group<'_>],
) -> Result<TakenOff, MoneyError> {
    let mut taken = TakenOff {
        of_lines: vec![Minor::ZERO; items.len()],
        ..TakenOff::default()
    };
    for discount in discounts {
        let mut left = Vec::with_capacity(items.len());
        for (amount, part) in amounts.iter().zip(&taken.of_lines) {
            left.push(amount.minus(*part)?);
        }
        let eligible = |amounts: &[Minor]| -> Vec<Minor> {
            let of = |(item, amount): (&LineItem, &Minor)| {
                let applies = discount.applies_to(item);
                if applies { *amount } else { Minor::ZERO }
            };
            items.iter().zip(amounts).map(of).collect()
        };
        let listed = Minor::total(eligible(amounts))?;
        let bases = eligible(&left);
        let base = Minor::total(bases.iter().copied())?;
        let off = match discount.reckon(listed, base)? {
            Ok(off) => off,
            Err(why) => {
                let discount = discount.clone();
                taken.skipped.push(SkippedDiscount { discount, why });
                continue;
            }
        };
        let amount = give(off, &bases, &left, groups, &mut taken.of_lines)?;
        taken.applied.push(AppliedDiscount {
            discount: discount.clone(),
            base,
            amount,
        });
    }
    Ok(taken)
}

/// Each line's part of given credit, as far as there is as much to pay. Credit that is bought is not
/// paid for with credit that was given.
pub(super) fn spend_promo(
    available: Minor,
    items: &[LineItem],
    left: &[Minor],
    groups: &[Group<'_>],
) -> Result<Vec<Minor>, MoneyError> {
    let of = |(item, amount): (&LineItem, &Minor)| match item.component {
        Component::TopUp { .. } => Minor::ZERO,
        Component::Usage { .. }
        | Component::PlanFee
        | Component::AddOn
        | Component::ProrationCharge
        | Component::ProrationCredit { .. }
        | Component::MinimumTrueUp
        | Component::ProgressiveCredit { .. }
        | Component::Carried => *amount,
    };
    let bases: Vec<Minor> = items.iter().zip(left).map(of).collect();
    let all = Minor::total(bases.iter().copied())?.max(Minor::ZERO);
    let mut parts = vec![Minor::ZERO; items.len()];
    let spent = available.max(Minor::ZERO).min(all);
    give(spent, &bases, left, groups, &mut parts)?;
    Ok(parts)
}

/// Spreads an amount over groups and their lines in proportion to bases; no group gives more than is
/// left in it. Answers with what they gave together.
fn give(
    amount: Minor,
    bases: &[Minor],
    left: &[Minor],
    groups: &[Group<'_>],
    parts: &mut [Minor],
) -> Result<Minor, MoneyError> {
    let of_groups: Result<Vec<_>, _> = groups.iter().map(|group| group.total(bases)).collect();
    let mut given = Minor::ZERO;
    for (group, part) in groups.iter().zip(spread_over(amount, &of_groups?)?) {
        let room = group.total(left)?.max(Minor::ZERO);
        let part = part.min(room);
        add_to_lines(part, group, bases, parts)?;
        given = given.plus(part)?;
    }
    Ok(given)
}
