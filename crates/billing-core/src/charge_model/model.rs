//! What every charge model can answer, and what only some can.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{ChargeError, Percent, Quantity, TierError};
use crate::money::{Exact, MoneyError};
use crate::price::UnitPrice;

/// Why a charge model could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ModelError {
    /// The tiers do not lie end to end.
    #[error(transparent)]
    Tiers(#[from] TierError),
    /// Quantities cannot be counted in packages or blocks of nothing, nor divided by nothing.
    #[error("a {0} of zero: give a size above it")]
    NoSize(&'static str),
    /// Nothing could ever cost both.
    #[error("the least that an event costs, {least}, is above the most, {most}: exchange them")]
    LeastAboveMost {
        /// The minimum.
        least: Exact,
        /// The maximum.
        most: Exact,
    },
    /// An amount below zero.
    #[error("a {what} of {amount}: give an amount of at least zero")]
    Negative {
        /// What it was given as.
        what: &'static str,
        /// The amount.
        amount: Exact,
    },
    /// More decimal places than quantities are rounded to.
    #[error("a quantity cannot be rounded to {0} decimal places; give at most 9")]
    TooManyPlaces(u32),
    /// Thresholds that do not rise.
    #[error("the threshold {0} is not above the one before it, or above zero; list them rising")]
    NotRising(Exact),
    /// The amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// A rule that says what a quantity costs.
pub trait ChargeModel {
    /// What a quantity costs in all, when nothing else was used in the period.
    ///
    /// # Errors
    /// [`ChargeError`] where the amount does not fit or would have to be rounded.
    fn price(&self, quantity: Quantity) -> Result<Exact, ChargeError>;
}

/// A model that more usage never makes cheaper, so that it can be charged while usage comes in.
///
/// The lines of a period, charged one after the other with [`Incremental::between`], add up to the
/// price of their sum, however it was split. What is due without any usage is no line: it is
/// charged at the period's end, with the price of nothing.
pub trait Incremental: ChargeModel {
    /// What a line costs after so much was used: the price of both less what the usage before
    /// cost. Fees that the usage before has paid are not paid again.
    ///
    /// # Errors
    /// [`ChargeError`] where the amount does not fit or would have to be rounded.
    fn between(&self, before: Quantity, line: Quantity) -> Result<Exact, ChargeError>;

    /// A bound of what a quantity costs, at whatever position at or after `from` it comes to lie:
    /// what a hold must cover while other calls may end first.
    ///
    /// # Errors
    /// [`ChargeError`] where the amount does not fit or would have to be rounded.
    fn worst(&self, from: Quantity, quantity: Quantity) -> Result<Exact, ChargeError>;
}

/// A model in which usage reprices the usage before it, so that only a period's total has a price.
///
/// More usage can make the whole cheaper (15 units for 150, 16 for 80), so its lines cannot be
/// charged one by one. In the period usage is charged provisionally, as in the first tier; at its
/// end the difference is charged or credited.
pub trait AtPeriodEnd: ChargeModel {
    /// What a line is charged after so much was used, before the period's total is known.
    ///
    /// # Errors
    /// [`ChargeError`] where the amount does not fit or would have to be rounded.
    fn provisional(&self, before: Quantity, line: Quantity) -> Result<Exact, ChargeError>;

    /// What is left to charge for the period's total, or, below zero, to credit.
    ///
    /// # Errors
    /// [`ChargeError`] where the amount does not fit or would have to be rounded.
    fn true_up(&self, total: Quantity, charged: Exact) -> Result<Exact, ChargeError> {
        Ok(self.price(total)?.minus(charged)?)
    }
}

/// A price in proportion to the quantity.
pub trait Proportional {
    /// What a quantity costs.
    ///
    /// # Errors
    /// [`ChargeError`] where the amount does not fit or would have to be rounded.
    fn of(&self, quantity: Quantity) -> Result<Exact, ChargeError>;
}

impl Proportional for UnitPrice {
    fn of(&self, quantity: Quantity) -> Result<Exact, ChargeError> {
        quantity.at(*self)
    }
}

impl Proportional for Percent {
    fn of(&self, quantity: Quantity) -> Result<Exact, ChargeError> {
        self.of_quantity(quantity)
    }
}

/// The same for every unit: a price a unit, or a percentage of an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PerUnit<T>(pub T);

impl<T: Proportional> ChargeModel for PerUnit<T> {
    fn price(&self, quantity: Quantity) -> Result<Exact, ChargeError> {
        self.0.of(quantity)
    }
}

impl<T: Proportional> Incremental for PerUnit<T> {
    fn between(&self, _: Quantity, line: Quantity) -> Result<Exact, ChargeError> {
        self.0.of(line)
    }

    fn worst(&self, _: Quantity, quantity: Quantity) -> Result<Exact, ChargeError> {
        self.0.of(quantity)
    }
}

/// What is due in a period in which nothing is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZeroUsage {
    /// Nothing.
    #[default]
    Nothing,
    /// The flat fee of the first tier.
    FirstFlat,
}

/// What groups cost of which each has a price of its own: the regions of a matrix, the hours of a
/// day, each single call. The tiers begin anew in each; the groups are not added up first.
///
/// # Errors
/// [`ChargeError`] where an amount does not fit or would have to be rounded.
pub fn per_group(
    model: &impl ChargeModel,
    groups: impl IntoIterator<Item = Quantity>,
) -> Result<Exact, ChargeError> {
    groups
        .into_iter()
        .try_fold(Exact::ZERO, |sum, group| Ok(sum.plus(model.price(group)?)?))
}
