//! Schedules of tiers that an edition changes.

use std::sync::Arc;

use crate::charge_model::Percent;
use crate::money::Exact;
use crate::port::catalogue::PriceEdition;
use crate::price_book::PriceBook;
use crate::reach::Reach;
use crate::tier_schedule::{TierPrice, TierPricing, TierTerms};

/// What the tiers of a reach were and will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierChange {
    /// For whom and which models.
    pub reach: Reach,
    /// What holds without the edition; `None` where no schedule of this reach does.
    pub old: Option<Arc<TierTerms>>,
    /// What will hold; `None` where the schedule ends.
    pub new: Option<Arc<TierTerms>>,
}

impl TierChange {
    /// Whether it must be confirmed: it charges otherwise than by the list, or takes so much off
    /// that a price falls by more than so many percent, or ends what does, so that it rises again.
    pub fn is_beyond(&self, percent: u32) -> bool {
        let falls = |off: Percent| off > Percent::whole(percent);
        // From what is left back to the whole.
        let rises = |off: Percent| {
            let hundred = |more: u32| Exact::new(i128::from(more).saturating_add(100));
            let left = off.rest().and_then(|rest| rest.of(hundred(percent)).ok());
            left.is_none_or(|left| left < hundred(0))
        };
        let beyond = |terms: &TierTerms, discount: &dyn Fn(Percent) -> bool| {
            let of_tier = |price: &TierPrice| match price {
                TierPrice::Discount(off) => discount(*off),
                TierPrice::Rates(_) | TierPrice::PerUnit(_) => true,
            };
            let mut tiers = terms.pricing.tiers().iter();
            matches!(
                terms.pricing,
                TierPricing::Package(_) | TierPricing::PerCall(_)
            ) || terms.minimum.is_some_and(|minimum| !minimum.is_zero())
                || tiers.any(|tier| tier.flat != Exact::ZERO || of_tier(&tier.price))
        };
        let old = self.old.as_deref();
        let new = self.new.as_deref();
        new.is_some_and(|terms| beyond(terms, &falls))
            || old.is_some_and(|terms| beyond(terms, &rises))
    }

    /// Whether an account's use is counted from nothing again though it was counted before.
    pub const fn begins_anew(&self) -> bool {
        self.old.is_some() && self.new.is_some()
    }
}

impl PriceBook {
    /// The schedules that an edition changes in this book, which does not have it yet.
    pub fn tier_changes(&self, edition: &PriceEdition) -> Vec<TierChange> {
        let change = |schedule: &crate::tier_schedule::TierSchedule| {
            let in_force = self
                .tiers()
                .of_reach(&schedule.reach, schedule.effective_from);
            TierChange {
                reach: schedule.reach.clone(),
                old: in_force.and_then(|old| old.terms.clone()),
                new: schedule.terms.clone(),
            }
        };
        edition.tiers.iter().map(change).collect()
    }
}
