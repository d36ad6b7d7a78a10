//! Invoice arithmetic in minor units (cents), rounded half away from zero, where a line is made.

use super::{ModelError, Percent};
use crate::money::MoneyError;

/// How many steps of a percentage make the whole.
const WHOLE: i128 = 1_000_000_000;

/// An amount and what is taken off it. The two add up to what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discounted {
    /// What is taken off.
    pub discount: i64,
    /// What is left to pay.
    pub rest: i64,
}

impl Discounted {
    /// A percentage off, rounded once; never more than there is.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] where it does not fit.
    pub fn percent(amount: i64, off: Percent) -> Result<Self, MoneyError> {
        let share = off.min(Percent::HUNDRED);
        Self::fixed(amount, share_of(amount, share)?)
    }

    /// An amount off; never more than there is.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] where it does not fit.
    pub fn fixed(amount: i64, off: i64) -> Result<Self, MoneyError> {
        let discount = off.clamp(amount.min(0), amount.max(0));
        let rest = amount.checked_sub(discount).ok_or(MoneyError::OutOfRange)?;
        Ok(Self { discount, rest })
    }
}

/// A percentage of an amount, rounded half away from zero.
///
/// # Errors
/// [`MoneyError::OutOfRange`] where it does not fit.
pub fn share_of(amount: i64, share: Percent) -> Result<i64, MoneyError> {
    let product = i128::from(amount).checked_mul(i128::from(share.steps()));
    rounded(product, WHOLE)
}

/// The part of an amount that a percentage, already included in it, makes up: 20 % of 120 is 20.
/// Rounded half away from zero.
///
/// # Errors
/// [`MoneyError::OutOfRange`] where it does not fit.
pub fn included_in(amount: i64, share: Percent) -> Result<i64, MoneyError> {
    let steps = i128::from(share.steps());
    let whole = WHOLE.checked_add(steps).ok_or(MoneyError::OutOfRange)?;
    rounded(i128::from(amount).checked_mul(steps), whole)
}

/// The part of an amount that `part` is of `whole`, rounded half away from zero; nothing of nothing.
///
/// # Errors
/// [`MoneyError::OutOfRange`] where it does not fit.
pub fn portion(amount: i64, part: i64, whole: i64) -> Result<i64, MoneyError> {
    if whole == 0 {
        return Ok(0);
    }
    let product = i128::from(amount).checked_mul(i128::from(part));
    rounded(product, i128::from(whole))
}

/// An amount for a part of a period: `used` of `whole` days (or seconds), rounded half away from
/// zero.
///
/// # Errors
/// [`ModelError::NoSize`] for a period of nothing, [`ModelError::Money`] where it does not fit.
pub fn prorated(amount: i64, used: u64, whole: u64) -> Result<i64, ModelError> {
    if whole == 0 {
        return Err(ModelError::NoSize("period"));
    }
    let product = i128::from(amount).checked_mul(i128::from(used));
    Ok(rounded(product, i128::from(whole))?)
}

/// What is added at the end of a part of a period so that the part of a minimum is reached.
///
/// # Errors
/// As [`prorated`].
pub fn prorated_true_up(
    minimum: i64,
    (used, whole): (u64, u64),
    billed: i64,
) -> Result<i64, ModelError> {
    let missing = prorated(minimum, used, whole)?.checked_sub(billed);
    Ok(missing.ok_or(MoneyError::OutOfRange)?.max(0))
}

/// The tax of an invoice: on the sum, rounded once, and spread over the items so that credit notes
/// for the items never add up to more than the invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tax {
    /// The tax of all items together.
    pub total: i64,
    /// The tax of each item. They add up to the total.
    pub of_items: Vec<i64>,
}

impl Tax {
    /// The tax on items at one rate.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] where a sum does not fit.
    pub fn on(items: &[i64], rate: Percent) -> Result<Self, MoneyError> {
        let sum = items
            .iter()
            .try_fold(0_i64, |sum, item| sum.checked_add(*item));
        let total = share_of(sum.ok_or(MoneyError::OutOfRange)?, rate)?;
        let of_items = spread(total, items)?;
        Ok(Self { total, of_items })
    }
}

/// Spreads an amount over items in proportion, by largest remainder: the parts add up to it, and
/// each differs from its exact share by less than one. Where all items are zero, the first takes
/// everything.
///
/// # Errors
/// [`MoneyError::OutOfRange`] where a sum does not fit.
pub fn spread(amount: i64, items: &[i64]) -> Result<Vec<i64>, MoneyError> {
    let whole = items
        .iter()
        .try_fold(0_i128, |sum, item| sum.checked_add(i128::from(*item)))
        .ok_or(MoneyError::OutOfRange)?;
    let mut parts = Vec::with_capacity(items.len());
    let mut rests = Vec::with_capacity(items.len());
    let mut left = i128::from(amount);
    for (index, item) in items.iter().enumerate() {
        let share = i128::from(amount)
            .checked_mul(i128::from(*item))
            .ok_or(MoneyError::OutOfRange)?;
        let part = share.checked_div_euclid(whole).unwrap_or(0);
        rests.push((share.checked_rem_euclid(whole).unwrap_or(0), index));
        left = left.saturating_sub(part);
        parts.push(part);
    }
    // The largest rest first; of equal ones the earlier item.
    rests.sort_by_key(|(rest, index)| (std::cmp::Reverse(*rest), *index));
    for (_, index) in rests {
        let step = if whole == 0 { left } else { left.signum() };
        if let Some(part) = parts.get_mut(index) {
            *part = part.saturating_add(step);
        }
        left = left.saturating_sub(step);
    }
    let parts = parts.into_iter().map(i64::try_from);
    parts
        .collect::<Result<_, _>>()
        .map_err(|_| MoneyError::OutOfRange)
}

/// A quotient rounded half away from zero.
fn rounded(product: Option<i128>, divisor: i128) -> Result<i64, MoneyError> {
    let product = product.ok_or(MoneyError::OutOfRange)?;
    let quotient = product.checked_div(divisor).ok_or(MoneyError::OutOfRange)?;
    let rest = product.checked_rem(divisor).ok_or(MoneyError::OutOfRange)?;
    let far = rest.unsigned_abs() >= divisor.unsigned_abs().saturating_sub(rest.unsigned_abs());
    let step = if far { product.signum() } else { 0 };
    i64::try_from(quotient.saturating_add(step)).map_err(|_| MoneyError::OutOfRange)
}
