//! Unit conversion: from what is counted to what is priced.

use super::{ChargeError, ModelError, Quantity, Rounding};

/// What is done with the factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Counted units times the factor.
    Multiply,
    /// Counted units divided by the factor.
    Divide,
}

/// How counted units become priced ones: bytes thousands of bytes, tokens credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conversion {
    operation: Operation,
    factor: Quantity,
    rounding: Option<(Rounding, u32)>,
}

/// The finest place that a converted quantity is rounded to.
const MOST_PLACES: u32 = 9;

impl Conversion {
    /// A conversion that must come out exactly.
    ///
    /// # Errors
    /// [`ModelError::NoSize`] for a factor of zero.
    pub const fn new(operation: Operation, factor: Quantity) -> Result<Self, ModelError> {
        if factor.is_zero() {
            return Err(ModelError::NoSize("factor"));
        }
        Ok(Self {
            operation,
            factor,
            rounding: None,
        })
    }

    /// The same conversion, rounded to so many decimal places.
    ///
    /// # Errors
    /// [`ModelError::TooManyPlaces`] for more than nine.
    pub const fn rounded(mut self, rounding: Rounding, places: u32) -> Result<Self, ModelError> {
        if places > MOST_PLACES {
            return Err(ModelError::TooManyPlaces(places));
        }
        self.rounding = Some((rounding, places));
        Ok(self)
    }

    /// A quantity in the priced unit.
    ///
    /// # Errors
    /// [`ChargeError::NotExact`] for a result of more than 18 decimal places that nothing says how
    /// to round, [`ChargeError::QuantityOutOfRange`].
    pub fn of(&self, quantity: Quantity) -> Result<Quantity, ChargeError> {
        match (self.operation, self.rounding) {
            (Operation::Multiply, None) => quantity.times(self.factor),
            (Operation::Divide, None) => quantity.over(self.factor),
            (Operation::Multiply, Some((rounding, places))) => {
                quantity.times_rounded(self.factor, rounding, places)
            }
            (Operation::Divide, Some((rounding, places))) => {
                quantity.over_rounded(self.factor, rounding, places)
            }
        }
    }
}
