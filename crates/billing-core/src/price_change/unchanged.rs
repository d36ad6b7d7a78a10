//! Rules of an edition that say what holds already.

use std::sync::Arc;

use crate::charge_model::Tiers;
use crate::port::catalogue::PriceEdition;
use crate::price::{Rate, Variant};
use crate::price_book::PriceBook;
use crate::sale::SalePrice;
use crate::tier_schedule::{TierPrice, TierPricing, TierTerms};

impl PriceBook {
    /// An edition without the rules that say the same as what holds of their reach when they would
    /// take effect, and how many these were. A schedule that is recorded again would begin to count
    /// anew.
    pub fn without_unchanged(&self, mut edition: PriceEdition) -> (PriceEdition, usize) {
        let stated = edition.sales.len().saturating_add(edition.tiers.len());
        edition.sales.retain(|rule| {
            let in_force = self.sales().of_reach(&rule.reach, rule.effective_from);
            let old = in_force.map_or(&SalePrice::Withdrawn, |old| &old.price);
            sale_in_order(old) != sale_in_order(&rule.price)
        });
        edition.tiers.retain(|schedule| {
            let in_force = self
                .tiers()
                .of_reach(&schedule.reach, schedule.effective_from);
            let old = in_force.and_then(|old| old.terms.as_deref());
            old.map(terms_in_order) != schedule.terms.as_deref().map(terms_in_order)
        });
        let left = edition.sales.len().saturating_add(edition.tiers.len());
        (edition, stated.saturating_sub(left))
    }
}

fn in_order(rates: &[Rate]) -> Vec<Rate> {
    let mut rates = rates.to_vec();
    rates.sort_unstable();
    rates
}

/// The same price with its rates in one order: it does not matter in which they are stated.
fn sale_in_order(price: &SalePrice) -> SalePrice {
    let variant = |variant: &Variant| Variant {
        when: Arc::clone(&variant.when),
        rates: in_order(&variant.rates),
    };
    match price {
        SalePrice::Markup { factor, rates } => SalePrice::Markup {
            factor: *factor,
            rates: in_order(rates),
        },
        SalePrice::Fixed {
            currency,
            rates,
            variants,
        } => {
            let mut variants: Vec<Variant> = variants.iter().map(variant).collect();
            variants.sort_unstable();
            SalePrice::Fixed {
                currency: *currency,
                rates: in_order(rates),
                variants,
            }
        }
        SalePrice::Withdrawn => SalePrice::Withdrawn,
    }
}

fn terms_in_order(terms: &TierTerms) -> TierTerms {
    let tiers = |tiers: &Tiers<TierPrice>| {
        tiers.clone().map(|price| match price {
            TierPrice::Rates(rates) => TierPrice::Rates(in_order(&rates)),
            TierPrice::Discount(_) | TierPrice::PerUnit(_) => price,
        })
    };
    let pricing = match &terms.pricing {
        TierPricing::Graduated(stated) => TierPricing::Graduated(tiers(stated)),
        TierPricing::Volume(stated) => TierPricing::Volume(tiers(stated)),
        TierPricing::Package(package) => TierPricing::Package(*package),
        TierPricing::PerCall(package) => TierPricing::PerCall(*package),
    };
    TierTerms {
        pricing,
        ..terms.clone()
    }
}
