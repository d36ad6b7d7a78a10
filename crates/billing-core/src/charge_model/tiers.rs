//! Tiers: how something changes with the quantity used, and where a line is split at the change.

#[cfg(test)]
mod tests;

use std::iter::FusedIterator;

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

use super::Quantity;
use crate::money::Exact;

/// Why a list of tiers prices nothing, or something twice. Tiers are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TierError {
    /// There are none.
    #[error("there are no tiers; give at least one, without `up_to`: it prices everything")]
    Empty,
    /// The last tier ends.
    #[error(
        "tier {tier}, the last, ends at {up_to}: what is used beyond has no price; leave out its \
         `up_to`, or add a tier without one"
    )]
    NoOpenEnd {
        /// Which.
        tier: usize,
        /// Where it ends.
        up_to: Quantity,
    },
    /// A tier without an end has one behind it.
    #[error("tier {tier} has no `up_to`, but another follows; only the last tier is open")]
    OpenWithin {
        /// Which.
        tier: usize,
    },
    /// A tier ends before it begins.
    #[error(
        "tier {tier} ends at {up_to}, but the tier before it reaches to {begins}: they overlap; \
         list tiers by rising `up_to`"
    )]
    Overlap {
        /// Which.
        tier: usize,
        /// Where the tier before it ends, or where it says that it begins.
        begins: Quantity,
        /// Where it ends.
        up_to: Quantity,
    },
    /// Nothing falls into a tier.
    #[error("tier {tier} begins and ends at {up_to}: nothing falls into it; leave it out")]
    Nothing {
        /// Which.
        tier: usize,
        /// Where it begins and ends.
        up_to: Quantity,
    },
    /// A tier says that it begins beyond the end of the one before.
    #[error(
        "tier {tier} begins above {from}, but the tier before it ends at {ends}: what lies between \
         has no price; let it begin at {ends} (`up_to` is inclusive), or leave out `from`"
    )]
    Gap {
        /// Which.
        tier: usize,
        /// Where it says that it begins.
        from: Quantity,
        /// Where the one before it ends.
        ends: Quantity,
    },
    /// A tier says that it begins before the end of the one before.
    #[error(
        "tier {tier} begins above {from}, but the tier before it reaches to {ends}: they overlap; \
         let it begin at {ends}, or leave out `from`"
    )]
    BeginsWithin {
        /// Which.
        tier: usize,
        /// Where it says that it begins.
        from: Quantity,
        /// Where the one before it ends.
        ends: Quantity,
    },
    /// A flat fee or a cap below zero.
    #[error("tier {tier} has a negative fee or cap ({amount}); a tier never pays the customer")]
    Negative {
        /// Which.
        tier: usize,
        /// The amount.
        amount: Exact,
    },
}

/// One tier: from the end of the one before it, exclusive, up to its own end, inclusive.
///
/// `T` is what differs from tier to tier: a price a unit, a percentage, a list of rates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tier<T> {
    /// The last quantity in it; `None` for the open end.
    pub up_to: Option<Quantity>,
    /// What holds within it.
    pub price: T,
    /// What is due once when any quantity falls into it.
    #[serde(skip_serializing_if = "is_nothing")]
    pub flat: Exact,
    /// The most that all of it costs, flat fee included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<Exact>,
}

fn is_nothing(amount: &Exact) -> bool {
    *amount == Exact::ZERO
}

impl<T> Tier<T> {
    /// A tier that ends at a quantity, inclusive.
    pub const fn up_to(end: Quantity, price: T) -> Self {
        Self {
            up_to: Some(end),
            price,
            flat: Exact::ZERO,
            cap: None,
        }
    }

    /// The last tier, without an end.
    pub const fn open(price: T) -> Self {
        Self {
            up_to: None,
            price,
            flat: Exact::ZERO,
            cap: None,
        }
    }

    /// The same tier with a fee that is due once when it is reached.
    #[must_use]
    pub fn with_flat(mut self, flat: Exact) -> Self {
        self.flat = flat;
        self
    }

    /// The same tier with the most that all of it costs.
    #[must_use]
    pub fn with_cap(mut self, cap: Exact) -> Self {
        self.cap = Some(cap);
        self
    }

    /// Its end; the open end is beyond every quantity.
    pub(super) fn end(&self) -> Quantity {
        self.up_to.unwrap_or(Quantity::MAX)
    }
}

/// A tier as somebody states it, who may also say where it begins.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatedTier<T> {
    /// Where the tier before it ends, if that is stated.
    #[serde(default)]
    pub from: Option<Quantity>,
    /// The last quantity in it; `None` for the open end.
    #[serde(default)]
    pub up_to: Option<Quantity>,
    /// What holds within it.
    pub price: T,
    /// What is due once when any quantity falls into it.
    #[serde(default)]
    pub flat: Exact,
    /// The most that all of it costs.
    #[serde(default)]
    pub cap: Option<Exact>,
}

/// Tiers that lie end to end from zero to beyond every quantity: whatever is used falls into
/// exactly one, fractions too.
///
/// ```
/// use billing_core::charge_model::{Quantity, Tier, Tiers};
/// let tiers = Tiers::new(vec![
///     Tier::up_to(Quantity::whole(100), "list price"),
///     Tier::open("ten percent off"),
/// ])?;
/// // After 90 were used, 30 more are split at the threshold.
/// let parts: Vec<_> = tiers
///     .split(Quantity::whole(90), Quantity::whole(30))
///     .map(|part| (part.tier.price, part.quantity.units()))
///     .collect();
/// assert_eq!(parts, [("list price", Some(10)), ("ten percent off", Some(20))]);
/// # Ok::<(), billing_core::charge_model::TierError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<StatedTier<T>>")]
pub struct Tiers<T> {
    tiers: Vec<Tier<T>>,
}

impl<T> Tiers<T> {
    /// Tiers in the order of their ends, the last one open.
    ///
    /// # Errors
    /// [`TierError`], which names the tier and the cure.
    pub fn new(tiers: Vec<Tier<T>>) -> Result<Self, TierError> {
        let mut begins = Quantity::ZERO;
        let last = tiers.len();
        if last == 0 {
            return Err(TierError::Empty);
        }
        for (tier, stated) in (1..).zip(&tiers) {
            let amounts = [Some(stated.flat), stated.cap];
            if let Some(amount) = amounts.into_iter().flatten().find(|a| *a < Exact::ZERO) {
                return Err(TierError::Negative { tier, amount });
            }
            match stated.up_to {
                None if tier < last => return Err(TierError::OpenWithin { tier }),
                None => {}
                Some(up_to) if up_to == begins => return Err(TierError::Nothing { tier, up_to }),
                Some(up_to) if up_to < begins => {
                    return Err(TierError::Overlap {
                        tier,
                        begins,
                        up_to,
                    });
                }
                Some(up_to) if tier == last => return Err(TierError::NoOpenEnd { tier, up_to }),
                Some(up_to) => begins = up_to,
            }
        }
        Ok(Self { tiers })
    }

    /// Tiers of which each may also say where it begins.
    ///
    /// # Errors
    /// As [`Tiers::new`], and where a beginning is not the end before it.
    pub fn stated(tiers: Vec<StatedTier<T>>) -> Result<Self, TierError> {
        let mut ends = Quantity::ZERO;
        for (tier, stated) in (1..).zip(&tiers) {
            match stated.from {
                Some(from) if from > ends => return Err(TierError::Gap { tier, from, ends }),
                Some(from) if from < ends => {
                    return Err(TierError::BeginsWithin { tier, from, ends });
                }
                Some(_) | None => {}
            }
            ends = stated.up_to.unwrap_or(ends);
        }
        let tiers = tiers.into_iter().map(|stated| Tier {
            up_to: stated.up_to,
            price: stated.price,
            flat: stated.flat,
            cap: stated.cap,
        });
        Self::new(tiers.collect())
    }

    /// One tier for everything.
    pub fn single(price: T) -> Self {
        Self {
            tiers: vec![Tier::open(price)],
        }
    }

    /// The tiers, by rising end.
    pub fn all(&self) -> &[Tier<T>] {
        &self.tiers
    }

    /// The ends of the tiers but the last: the thresholds.
    pub fn thresholds(&self) -> impl Iterator<Item = Quantity> + '_ {
        self.tiers.iter().filter_map(|tier| tier.up_to)
    }

    /// Whether every threshold is a whole number, as it must be where calls or tokens are counted.
    pub fn are_whole(&self) -> bool {
        self.thresholds().all(Quantity::is_whole)
    }

    /// The tiers with something else in them.
    pub fn map<U>(self, mut price: impl FnMut(T) -> U) -> Tiers<U> {
        let tiers = self.tiers.into_iter().map(|tier| Tier {
            up_to: tier.up_to,
            price: price(tier.price),
            flat: tier.flat,
            cap: tier.cap,
        });
        Tiers {
            tiers: tiers.collect(),
        }
    }

    /// The tier that a total falls into, counted from 0: the one that prices everything where
    /// pricing is by volume. A total of nothing is in the first.
    pub fn reached_by(&self, total: Quantity) -> usize {
        self.tiers.partition_point(|tier| tier.end() < total)
    }

    /// The tier that what is used next falls into, after so much was used. At a threshold, which
    /// still belongs to the tier below, it is the one above.
    pub fn next_after(&self, position: Quantity) -> usize {
        self.tiers.partition_point(|tier| tier.end() <= position)
    }

    /// How much may be used after a position before the next tier begins; `None` in the last.
    pub fn until_next(&self, position: Quantity) -> Option<Quantity> {
        let tier = self.tiers.get(self.next_after(position))?;
        Some(tier.up_to?.beyond(position))
    }

    /// The tiers that usage can fall into which begins between two positions: what bounds a hold.
    pub fn between(&self, from: Quantity, to: Quantity) -> &[Tier<T>] {
        let last = self.next_after(to).min(self.tiers.len().saturating_sub(1));
        self.tiers.get(self.next_after(from)..=last).unwrap_or(&[])
    }

    /// How long a tier is, counted from 0; an open one is longer than any quantity.
    pub(super) fn length_of(&self, index: usize) -> Quantity {
        let before = index.checked_sub(1).and_then(|i| self.tiers.get(i));
        let tier = self.tiers.get(index);
        tier.map_or(Quantity::ZERO, Tier::end)
            .beyond(before.map_or(Quantity::ZERO, Tier::end))
    }

    /// Splits what is used after a position at the thresholds, exactly.
    ///
    /// The parts lie end to end and add up to the quantity; a quantity of nothing has none.
    pub fn split(&self, position: Quantity, quantity: Quantity) -> Split<'_, T> {
        Split {
            tiers: &self.tiers,
            index: self.next_after(position),
            at: position,
            end: position.reaching(quantity),
        }
    }
}

impl<T: Serialize> Serialize for Tiers<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.tiers.serialize(s)
    }
}

impl<T> TryFrom<Vec<StatedTier<T>>> for Tiers<T> {
    type Error = TierError;
    fn try_from(tiers: Vec<StatedTier<T>>) -> Result<Self, TierError> {
        Self::stated(tiers)
    }
}

/// What of a line falls into one tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a, T> {
    /// Which tier, counted from 0.
    pub index: usize,
    /// The tier.
    pub tier: &'a Tier<T>,
    /// How much had been used before this part.
    pub position: Quantity,
    /// How much of the line is in it, never nothing.
    pub quantity: Quantity,
    /// How much of the tier was used before this part. Where it is nothing, the part is the first
    /// in the tier, and a flat fee is due with it.
    pub within: Quantity,
}

impl<T> Part<'_, T> {
    /// Whether it is the first in its tier.
    pub const fn enters(&self) -> bool {
        self.within.is_zero()
    }
}

/// The parts of a line, one for each tier that it falls into. See [`Tiers::split`].
#[derive(Debug, Clone)]
pub struct Split<'a, T> {
    tiers: &'a [Tier<T>],
    index: usize,
    at: Quantity,
    end: Quantity,
}

impl<'a, T> Iterator for Split<'a, T> {
    type Item = Part<'a, T>;

    fn next(&mut self) -> Option<Part<'a, T>> {
        let position = self.at;
        if position >= self.end {
            return None;
        }
        let index = self.index;
        let tier = self.tiers.get(index)?;
        let before = index.checked_sub(1).and_then(|i| self.tiers.get(i));
        self.at = tier.end().min(self.end);
        self.index = index.saturating_add(1);
        Some(Part {
            index,
            tier,
            position,
            quantity: self.at.beyond(position),
            within: position.beyond(before.map_or(Quantity::ZERO, Tier::end)),
        })
    }
}

impl<T> FusedIterator for Split<'_, T> {}
