//! Commitments and progressive invoices: what a period costs at least, at most, and in between.

use super::{ChargeError, ModelError};
use crate::money::Exact;

/// What is added at the period's end so that the minimum is reached; nothing where it is.
///
/// # Errors
/// [`ChargeError::Money`] where it does not fit.
pub fn minimum_true_up(billed: Exact, minimum: Exact) -> Result<Exact, ChargeError> {
    Ok(minimum.minus(billed)?.max(Exact::ZERO))
}

/// A line, and what a maximum takes off it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CappedLine {
    /// What is taken off.
    pub discount: Exact,
    /// What is left to pay.
    pub total: Exact,
}

/// What is left of the lines of a period, in their order, when all that is billed in it may not
/// pass a maximum.
///
/// # Errors
/// [`ChargeError::Money`] where a sum does not fit.
pub fn within_maximum(
    billed: Exact,
    lines: &[Exact],
    maximum: Exact,
) -> Result<Vec<CappedLine>, ChargeError> {
    let mut left = maximum.minus(billed)?.max(Exact::ZERO);
    let capped = lines.iter().map(|line| {
        // A line that credits something is passed on, and makes room.
        let total = (*line).min(left);
        left = left.minus(total)?;
        Ok(CappedLine {
            discount: line.minus(total)?,
            total,
        })
    });
    capped.collect()
}

/// Amounts of usage at which an invoice is sent before the period ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Thresholds(Vec<Exact>);

impl Thresholds {
    /// Thresholds in rising order.
    ///
    /// # Errors
    /// [`ModelError::NotRising`] naming the first that is not above the one before, or above zero.
    pub fn new(thresholds: Vec<Exact>) -> Result<Self, ModelError> {
        let mut before = Exact::ZERO;
        for threshold in &thresholds {
            if *threshold <= before {
                return Err(ModelError::NotRising(*threshold));
            }
            before = *threshold;
        }
        Ok(Self(thresholds))
    }

    /// Whether usage that grew from one amount to another has reached one or more of them.
    pub fn reached(&self, before: Exact, after: Exact) -> bool {
        self.0
            .iter()
            .any(|threshold| before < *threshold && *threshold <= after)
    }
}

/// What was used in a period and what of it was invoiced.
///
/// An invoice is always for everything that was used and not invoiced: after a threshold, and at
/// the end, where it is what the earlier ones have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    used: Exact,
    invoiced: Exact,
}

impl Progress {
    /// Nothing used, nothing invoiced.
    pub const NONE: Self = Self {
        used: Exact::ZERO,
        invoiced: Exact::ZERO,
    };

    /// Adds what was used; answers with the invoice that is due, if a threshold was reached.
    ///
    /// # Errors
    /// [`ChargeError::Money`] where a sum does not fit; the progress is then as it was.
    pub fn used(
        &mut self,
        amount: Exact,
        thresholds: &Thresholds,
    ) -> Result<Option<Exact>, ChargeError> {
        let used = self.used.plus(amount)?;
        if !thresholds.reached(self.used, used) {
            self.used = used;
            return Ok(None);
        }
        let due = used.minus(self.invoiced)?;
        *self = Self {
            used,
            invoiced: used,
        };
        Ok(Some(due))
    }

    /// What the last invoice of the period is for.
    ///
    /// # Errors
    /// [`ChargeError::Money`] where it does not fit.
    pub fn rest(&self) -> Result<Exact, ChargeError> {
        Ok(self.used.minus(self.invoiced)?)
    }
}
