//! Percentage: a share of an amount, and something for each event that moved it.

use super::{ChargeError, ModelError, Percent, Quantity};
use crate::money::{Exact, MoneyError};

/// A percentage of an amount of money, and a fixed fee for each event, after some that are free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Percentage {
    /// The share.
    pub rate: Percent,
    /// What each event costs besides.
    pub fixed: Exact,
    /// How much of the amount is free.
    pub free_amount: Quantity,
    /// How many events are free.
    pub free_events: u64,
}

impl Percentage {
    /// What an amount costs that so many events moved. Where nothing was moved, nothing is due.
    ///
    /// # Errors
    /// [`ChargeError::Money`] where it does not fit.
    pub fn price(&self, amount: Quantity, events: u64) -> Result<Exact, ChargeError> {
        if amount.is_zero() {
            return Ok(Exact::ZERO);
        }
        let share = self.rate.of_quantity(amount.beyond(self.free_amount))?;
        let paid = i128::from(events.saturating_sub(self.free_events));
        let fixed = self.fixed.get().checked_mul(paid);
        let fixed = fixed.ok_or(MoneyError::OutOfRange)?;
        Ok(share.plus(Exact::new(fixed))?)
    }
}

/// A percentage with a least and a most for each event. These are found event by event: the sum
/// of many small amounts does not say how many of them were raised to the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerEvent {
    percentage: Percentage,
    least: Option<Exact>,
    most: Option<Exact>,
}

/// What went before an event in its period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventsBefore {
    /// How many events.
    pub events: u64,
    /// How much they moved.
    pub amount: Quantity,
}

impl PerEvent {
    /// A percentage with bounds for each event.
    ///
    /// # Errors
    /// [`ModelError::LeastAboveMost`], [`ModelError::Negative`].
    pub fn new(
        percentage: Percentage,
        least: Option<Exact>,
        most: Option<Exact>,
    ) -> Result<Self, ModelError> {
        let stated = [
            ("fixed fee", Some(percentage.fixed)),
            ("least", least),
            ("most", most),
        ];
        for (what, amount) in stated {
            if let Some(amount) = amount.filter(|amount| *amount < Exact::ZERO) {
                return Err(ModelError::Negative { what, amount });
            }
        }
        match (least, most) {
            (Some(least), Some(most)) if least > most => {
                Err(ModelError::LeastAboveMost { least, most })
            }
            _ => Ok(Self {
                percentage,
                least,
                most,
            }),
        }
    }

    /// What one event costs after those before it.
    ///
    /// Where an amount is free, it alone says which events are: those within it, and of the one
    /// that passes it the part within. Free events count where no amount is free.
    ///
    /// # Errors
    /// [`ChargeError::Money`] where it does not fit.
    pub fn event(&self, before: EventsBefore, amount: Quantity) -> Result<Exact, ChargeError> {
        let Percentage {
            rate,
            fixed,
            free_amount,
            free_events,
        } = self.percentage;
        let paid = if free_amount.is_zero() {
            if before.events < free_events {
                return Ok(Exact::ZERO);
            }
            amount
        } else {
            let free = free_amount.beyond(before.amount);
            if !free.is_zero() && amount <= free {
                return Ok(Exact::ZERO);
            }
            amount.beyond(free)
        };
        let cost = rate.of_quantity(paid)?.plus(fixed)?;
        let cost = self.least.map_or(cost, |least| cost.max(least));
        Ok(self.most.map_or(cost, |most| cost.min(most)))
    }

    /// What the events of a period cost, in their order.
    ///
    /// # Errors
    /// [`ChargeError`] where an amount does not fit.
    pub fn price(&self, events: impl IntoIterator<Item = Quantity>) -> Result<Exact, ChargeError> {
        let mut before = EventsBefore::default();
        let mut sum = Exact::ZERO;
        for amount in events {
            sum = sum.plus(self.event(before, amount)?)?;
            before.events = before.events.saturating_add(1);
            before.amount = before.amount.plus(amount)?;
        }
        Ok(sum)
    }
}
