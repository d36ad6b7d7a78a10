//! Packages: a price for every so many units, begun ones included or not.

use serde::{Deserialize, Serialize};

use super::{ChargeError, ChargeModel, Incremental, ModelError, Quantity};
use crate::money::Exact;
use crate::price::UnitPrice;

/// What becomes of a part of a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// It counts as a whole.
    #[default]
    Up,
    /// It does not count.
    Down,
    /// It counts as a whole from the half on.
    HalfUp,
}

impl Rounding {
    /// How many times a size goes into a quantity; `None` for a size of nothing.
    pub(super) fn times(self, quantity: u128, size: u128) -> Option<u128> {
        let times = quantity.checked_div(size)?;
        let rest = quantity.checked_rem(size)?;
        let more = match self {
            Self::Up => rest > 0,
            Self::Down => false,
            Self::HalfUp => rest >= size.saturating_sub(rest),
        };
        Some(times.saturating_add(u128::from(more)))
    }
}

/// So many units for a price, after some free ones: by the period, or, with
/// [`per_group`](super::per_group), blocks of each single call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StatedPackage")]
pub struct Package {
    size: Quantity,
    price: UnitPrice,
    #[serde(skip_serializing_if = "is_nothing")]
    free: Quantity,
    round: Rounding,
}

/// A package as somebody states it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatedPackage {
    size: Quantity,
    price: UnitPrice,
    #[serde(default)]
    free: Quantity,
    #[serde(default)]
    round: Rounding,
}

fn is_nothing(quantity: &Quantity) -> bool {
    quantity.is_zero()
}

impl TryFrom<StatedPackage> for Package {
    type Error = ModelError;
    fn try_from(stated: StatedPackage) -> Result<Self, ModelError> {
        let package = Self::new(stated.size, stated.price)?;
        Ok(package.with_free(stated.free).rounded(stated.round))
    }
}

impl Package {
    /// Packages of a size at a price each; a begun one counts.
    ///
    /// # Errors
    /// [`ModelError::NoSize`] for packages of nothing.
    pub const fn new(size: Quantity, price: UnitPrice) -> Result<Self, ModelError> {
        if size.is_zero() {
            return Err(ModelError::NoSize("package"));
        }
        Ok(Self {
            size,
            price,
            free: Quantity::ZERO,
            round: Rounding::Up,
        })
    }

    /// The same packages after so many units that are free.
    #[must_use]
    pub const fn with_free(mut self, free: Quantity) -> Self {
        self.free = free;
        self
    }

    /// The same packages with another rule for one that is not full.
    #[must_use]
    pub const fn rounded(mut self, round: Rounding) -> Self {
        self.round = round;
        self
    }

    /// How many units one is.
    pub const fn size(&self) -> Quantity {
        self.size
    }

    /// What one costs.
    pub const fn each(&self) -> UnitPrice {
        self.price
    }

    /// How many units come before the first one and cost nothing.
    pub const fn free(&self) -> Quantity {
        self.free
    }

    /// What becomes of one that is not full.
    pub const fn rounding(&self) -> Rounding {
        self.round
    }

    /// How many packages a quantity takes. What is free takes none.
    ///
    /// # Errors
    /// [`ChargeError::QuantityOutOfRange`] for more than a quantity can be.
    pub fn count(&self, quantity: Quantity) -> Result<Quantity, ChargeError> {
        quantity
            .beyond(self.free)
            .in_packages_of(self.size, self.round)
    }
}

impl ChargeModel for Package {
    fn price(&self, quantity: Quantity) -> Result<Exact, ChargeError> {
        self.count(quantity)?.at(self.price)
    }
}

impl Incremental for Package {
    fn between(&self, before: Quantity, line: Quantity) -> Result<Exact, ChargeError> {
        let packages = self.count(before.plus(line)?)?.beyond(self.count(before)?);
        packages.at(self.price)
    }

    /// Wherever it lies, and however a part counts, a quantity never takes more packages than it
    /// begins when it starts one.
    fn worst(&self, _: Quantity, quantity: Quantity) -> Result<Exact, ChargeError> {
        let packages = quantity.in_packages_of(self.size, Rounding::Up)?;
        packages.at(self.price)
    }
}
