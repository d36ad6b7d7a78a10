//! Charge models: what a quantity costs when the price changes with it.
//!
//! [`Tiers`] say where something changes and split what is used at those places, whatever it is
//! that changes; the models are rules over them. One kind of model is charged while usage comes in
//! ([`Incremental`]), the other only once the period's total is known ([`AtPeriodEnd`]): a type is
//! one or the other, so that volume prices cannot be charged call by call by mistake.
//!
//! Everything is exact: quantities are [`Quantity`],
//! prices [`UnitPrice`] and [`Percent`], amounts
//! [`Exact`](crate::money::Exact). What would have to be rounded, or does not fit, is an error.

mod block;
mod commitment;
mod conversion;
mod graduated;
pub mod minor;
mod model;
mod package;
mod percent;
mod percentage;
mod quantity;
mod tiers;
mod volume;
mod wide;

use thiserror::Error;

use crate::money::MoneyError;
use crate::price::UnitPrice;

pub use block::{AllTiers, Block, Blocks, TopTier};
pub use commitment::{CappedLine, Progress, Thresholds, minimum_true_up, within_maximum};
pub use conversion::{Conversion, Operation};
pub use graduated::Graduated;
pub use model::{
    AtPeriodEnd, ChargeModel, Incremental, ModelError, PerUnit, Proportional, ZeroUsage, per_group,
};
pub use package::{Package, Rounding};
pub use percent::Percent;
pub use percentage::{EventsBefore, PerEvent, Percentage};
pub use quantity::Quantity;
pub use tiers::{Part, Split, StatedTier, Tier, TierError, Tiers};
pub use volume::Volume;
pub(crate) use wide::mul_div;

/// Why a quantity could not be read or charged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChargeError {
    /// The text is no quantity.
    #[error(
        "\"{0}\" is not a quantity; give a decimal number, at least zero, of at most 18 places and \
         below 1.7·10²⁰"
    )]
    NotAQuantity(String),
    /// The text is no percentage.
    #[error(
        "\"{0}\" is not a percentage; give a decimal number, at least zero, of at most 7 places"
    )]
    NotAPercentage(String),
    /// A sum of quantities that does not fit.
    #[error("the quantity is out of range (about 1.7·10²⁰)")]
    QuantityOutOfRange,
    /// A product with more places than an amount has.
    #[error("{quantity} at {price} has more than 27 decimal places; give either with fewer")]
    TooFine {
        /// The quantity.
        quantity: Quantity,
        /// The price of one.
        price: UnitPrice,
    },
    /// A quantity that no decimal number of 18 places states.
    #[error("{quantity} cannot be converted exactly; say how to round it")]
    NotExact {
        /// The quantity.
        quantity: Quantity,
    },
    /// The amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}
