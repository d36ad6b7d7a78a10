//! Blocks: tiers that are so many blocks long, in which a begun block is billed whole.

use super::{
    AtPeriodEnd, ChargeError, ChargeModel, Incremental, ModelError, Quantity, Rounding, Tier, Tiers,
};
use crate::money::Exact;
use crate::price::UnitPrice;

/// The blocks of one tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// How large one is.
    pub size: Quantity,
    /// What one costs.
    pub price: UnitPrice,
}

/// Tiers in which every tier counts blocks of its own size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks(Tiers<Block>);

impl Blocks {
    /// Tiers of so many blocks each, then a last one without an end.
    ///
    /// # Errors
    /// [`ModelError::NoSize`] for a block of nothing, [`ModelError::Tiers`] for a tier of no
    /// blocks or of more than a quantity can count.
    pub fn new(tiers: &[(Block, u64)], last: Block) -> Result<Self, ModelError> {
        let mut end = Quantity::ZERO;
        let mut all = Vec::with_capacity(tiers.len().saturating_add(1));
        for (block, count) in tiers {
            end = end.reaching(block.size.many(*count));
            all.push(Tier::up_to(end, *block));
        }
        all.push(Tier::open(last));
        if all.iter().any(|tier| tier.price.size.is_zero()) {
            return Err(ModelError::NoSize("block"));
        }
        Ok(Self(Tiers::new(all)?))
    }

    /// The blocks of a tier that some of it takes.
    fn count(block: Block, quantity: Quantity) -> Result<Quantity, ChargeError> {
        quantity.in_packages_of(block.size, Rounding::Up)
    }
}

/// Blocks of which every tier bills those that fall into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllTiers(pub Blocks);

impl ChargeModel for AllTiers {
    fn price(&self, quantity: Quantity) -> Result<Exact, ChargeError> {
        self.between(Quantity::ZERO, quantity)
    }
}

impl Incremental for AllTiers {
    fn between(&self, before: Quantity, line: Quantity) -> Result<Exact, ChargeError> {
        let mut parts = self.0.0.split(before, line);
        parts.try_fold(Exact::ZERO, |sum, part| {
            let block = part.tier.price;
            let after = Blocks::count(block, part.within.plus(part.quantity)?)?;
            let begun = Blocks::count(block, part.within)?;
            Ok(sum.plus(after.beyond(begun).at(block.price)?)?)
        })
    }

    /// The most that a run of neighbouring tiers costs when the quantity fills those within it and
    /// what is left may lie at either end.
    fn worst(&self, from: Quantity, quantity: Quantity) -> Result<Exact, ChargeError> {
        let tiers = self.0.0.all();
        let mut worst = Exact::ZERO;
        for first in self.0.0.next_after(from)..tiers.len() {
            let mut inner = Quantity::ZERO;
            let mut cost_of_inner = Exact::ZERO;
            let mut cost_of_first = Exact::ZERO;
            for (index, tier) in tiers.iter().enumerate().skip(first) {
                let length = self.0.0.length_of(index);
                let left = quantity.beyond(inner);
                let cost_of = |part: Quantity| {
                    Blocks::count(tier.price, part.min(length))?.at(tier.price.price)
                };
                if index == first {
                    cost_of_first = cost_of(quantity)?;
                    worst = worst.max(cost_of_first);
                    continue;
                }
                let ends = cost_of_first.plus(cost_of(left)?)?;
                worst = worst.max(cost_of_inner.plus(ends)?);
                if left <= length {
                    break;
                }
                cost_of_inner = cost_of_inner.plus(cost_of(length)?)?;
                inner = inner.reaching(length);
            }
        }
        Ok(worst)
    }
}

/// Blocks of which the tier that the total reaches bills everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopTier(pub Blocks);

impl ChargeModel for TopTier {
    fn price(&self, quantity: Quantity) -> Result<Exact, ChargeError> {
        let tiers = &self.0.0;
        let Some(top) = tiers.all().get(tiers.reached_by(quantity)) else {
            return Ok(Exact::ZERO);
        };
        Blocks::count(top.price, quantity)?.at(top.price.price)
    }
}

impl AtPeriodEnd for TopTier {
    fn provisional(&self, before: Quantity, line: Quantity) -> Result<Exact, ChargeError> {
        let Some(first) = self.0.0.all().first() else {
            return Ok(Exact::ZERO);
        };
        let begun = Blocks::count(first.price, before)?;
        let after = Blocks::count(first.price, before.plus(line)?)?;
        after.beyond(begun).at(first.price.price)
    }
}
