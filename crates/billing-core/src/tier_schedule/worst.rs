//! What a call may cost at most in tiers, wherever it will stand in them.

use super::rating::with_own;
use super::{TierPrice, TierPricing, TierTerms};
use crate::budget::Amount;
use crate::charge_model::{Incremental, Quantity};
use crate::meter::Usage;
use crate::money::{Exact, Nanos};
use crate::price::{Foreseen, PriceVersion, RatingError};

/// How many calls of the same size a hold foresees to be settled while one is under way. Tiers that
/// lie further ahead are not held for: a fee that is due after a million tokens would keep a wallet
/// that cannot pay it from the first of them. Should so much be used meanwhile all the same, what the
/// hold does not cover is the house's.
pub const CALLS_MEANWHILE: u64 = 100;

impl TierTerms {
    /// The most that a call within a ceiling can cost, should no less than `known` have been used
    /// before it, and no more than [`CALLS_MEANWHILE`] such calls beyond that, rounded up. How much
    /// has been used is only known when it settles; it is never less than what was seen before.
    ///
    /// # Errors
    /// As [`PriceVersion::worst_case`] and [`TierTerms::rate`].
    pub fn worst_case(
        &self,
        ceiling: &Usage,
        price: &PriceVersion,
        foreseen: &Foreseen<'_>,
        known: Amount,
    ) -> Result<Nanos, RatingError> {
        if price.currency() != self.currency {
            return Err(RatingError::OtherCurrency(price.currency(), self.currency));
        }
        let list = price.worst_case(ceiling, foreseen)?;
        let most = self.measure.of(ceiling, list);
        let reach = known.plus(Amount::new(most.get().saturating_mul(CALLS_MEANWHILE)));
        let ahead = match &self.pricing {
            // Provisional: the list's price, or the first tier's for each unit.
            TierPricing::Volume(tiers) => match tiers.all().first().map(|tier| &tier.price) {
                Some(TierPrice::PerUnit(unit)) => {
                    return Ok(self.measure.quantity(most).at(*unit)?.ceiling()?);
                }
                _ => return Ok(list),
            },
            TierPricing::Package(package) | TierPricing::PerCall(package) => {
                let most = self.measure.quantity(most);
                return Ok(package.worst(Quantity::ZERO, most)?.ceiling()?);
            }
            TierPricing::Graduated(tiers) => {
                let [known, reach] = [known, reach].map(|used| self.measure.quantity(used));
                tiers.between(known, reach)
            }
        };
        let mut dearest = Exact::ZERO;
        for tier in ahead {
            let whole = match &tier.price {
                TierPrice::Discount(percent) => {
                    let rest = percent.rest().unwrap_or_default();
                    rest.of(Exact::of(list)?)?
                }
                TierPrice::Rates(rates) => {
                    Exact::of(with_own(price, rates)?.worst_case(ceiling, foreseen)?)?
                }
                TierPrice::PerUnit(unit) => self.measure.quantity(most).at(*unit)?,
            };
            dearest = dearest.max(whole);
        }
        // A part of a split call costs at most its share of the dearest; each share is cut down.
        Ok(dearest
            .plus(self.most_fees([known, reach], most)?)?
            .ceiling()?)
    }

    /// The most flat fees that fall due with a call of so many units that begins between two positions.
    fn most_fees(&self, between: [Amount; 2], most: Amount) -> Result<Exact, RatingError> {
        let tiers = self.pricing.tiers();
        let [known, reach] = between.map(|used| self.measure.quantity(used));
        let most = self.measure.quantity(most);
        // A tier is entered where the one before it ends.
        let begins = std::iter::once(Some(Quantity::ZERO)).chain(tiers.iter().map(|t| t.up_to));
        let fees: Vec<(Quantity, Exact)> = begins
            .zip(tiers)
            .filter_map(|(begin, tier)| Some((begin?, tier.flat)))
            .filter(|(begin, flat)| (known..=reach).contains(begin) && *flat > Exact::ZERO)
            .collect();
        let mut worst = Exact::ZERO;
        for (place, (from, _)) in fees.iter().enumerate() {
            let within = fees.iter().skip(place);
            let within = within.take_while(|(begin, _)| begin.beyond(*from) <= most);
            let sum = within
                .map(|(_, flat)| *flat)
                .try_fold(Exact::ZERO, Exact::plus)?;
            worst = worst.max(sum);
        }
        Ok(worst)
    }
}
