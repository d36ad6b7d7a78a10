//! What a call costs in tiers.

use super::{TierPrice, TierPricing, TierTerms};
use crate::budget::Amount;
use crate::charge::{Charge, rate};
use crate::charge_model::{Incremental, Package, Quantity, Tier, Tiers, mul_div};
use crate::meter::Usage;
use crate::money::{Exact, MoneyError};
use crate::price::{Circumstances, PriceVersion, Rate, RatingError};

/// What a line is charged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TierStep {
    /// A tier.
    Tier {
        /// Which, from 1.
        number: usize,
        /// What holds in it.
        price: TierPrice,
    },
    /// Packages.
    Packages {
        /// What one is.
        package: Package,
        /// How many the line begins.
        count: Quantity,
    },
}

/// What of a call fell into one tier, or into packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierLine {
    /// By what it is charged.
    pub step: TierStep,
    /// How much had been used before this line.
    pub position: Quantity,
    /// How much of the call is in it.
    pub quantity: Quantity,
    /// What that costs, the flat fee apart.
    pub amount: Exact,
    /// The tier's fee, where the call is the first in it.
    pub flat: Exact,
}

/// What a call costs in tiers, and the lines that derive it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiered {
    /// The position that it was rated at.
    pub position: Amount,
    /// How much it counts.
    pub counted: Amount,
    /// One line for each tier that it falls into; their sum is its price. By volume it is one line
    /// at the list price, or at the first tier's price for each unit, until the window is over.
    pub lines: Vec<TierLine>,
    /// Whether the price is provisional: trued up when the window is over.
    pub is_provisional: bool,
}

impl Tiered {
    /// The sum of the lines.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn exact(&self) -> Result<Exact, MoneyError> {
        let amounts = self.lines.iter().flat_map(|line| [line.amount, line.flat]);
        amounts.into_iter().try_fold(Exact::ZERO, Exact::plus)
    }
}

impl TierTerms {
    /// What a call costs that comes after so much was used, where it costs `list` without tiers.
    ///
    /// # Errors
    /// As [`rate`]; [`RatingError::OtherCurrency`] where price and tiers do not fit together.
    pub fn rate(
        &self,
        usage: &Usage,
        price: &PriceVersion,
        circumstances: &Circumstances,
        list: &Charge,
        position: Amount,
    ) -> Result<Tiered, RatingError> {
        if price.currency() != self.currency {
            return Err(RatingError::OtherCurrency(price.currency(), self.currency));
        }
        let counted = self.measure.of(usage, list.amount);
        let whole = |tier: &Tier<TierPrice>| match &tier.price {
            TierPrice::Discount(percent) => {
                let rest = percent.rest().unwrap_or_default();
                Ok::<_, RatingError>(rest.of(list.exact)?)
            }
            TierPrice::Rates(rates) => {
                let own = with_own(price, rates)?;
                Ok(rate(usage, &own, circumstances)?.exact)
            }
            TierPrice::PerUnit(unit) => Ok(self.measure.quantity(counted).at(*unit)?),
        };
        let call = Call {
            terms: self,
            position,
            counted,
        };
        let lines = match &self.pricing {
            TierPricing::Volume(tiers) => {
                let first = tiers.all().first();
                let by_unit = |tier: &&Tier<_>| matches!(tier.price, TierPrice::PerUnit(_));
                let amount = match first.filter(by_unit) {
                    Some(tier) => whole(tier)?,
                    None => list.exact,
                };
                first
                    .map(|tier| call.line(0, tier, amount))
                    .into_iter()
                    .collect()
            }
            TierPricing::Graduated(tiers) => call.graduated(tiers, whole)?,
            TierPricing::Package(package) => vec![call.packages(package, position)?],
            TierPricing::PerCall(package) => vec![call.packages(package, Amount::ZERO)?],
        };
        Ok(Tiered {
            position,
            counted,
            lines,
            is_provisional: matches!(self.pricing, TierPricing::Volume(_)),
        })
    }
}

/// A call at its place in a schedule.
struct Call<'a> {
    terms: &'a TierTerms,
    position: Amount,
    counted: Amount,
}

impl Call<'_> {
    /// All of it in one tier.
    fn line(&self, index: usize, tier: &Tier<TierPrice>, amount: Exact) -> TierLine {
        let measure = self.terms.measure;
        TierLine {
            step: step(index, tier),
            position: measure.quantity(self.position),
            quantity: measure.quantity(self.counted),
            amount,
            flat: Exact::ZERO,
        }
    }

    /// Split at the thresholds. A part costs the share of what the whole call would cost in its
    /// tier; shares are cut where the parts end, so that shares of one amount add up to it.
    fn graduated(
        &self,
        tiers: &Tiers<TierPrice>,
        whole: impl Fn(&Tier<TierPrice>) -> Result<Exact, RatingError>,
    ) -> Result<Vec<TierLine>, RatingError> {
        let measure = self.terms.measure;
        let from = measure.quantity(self.position);
        if self.counted.is_zero() {
            // What is not counted stands where the next unit would.
            let index = tiers.next_after(from);
            let tier = tiers.all().get(index);
            let line = |tier| Ok(self.line(index, tier, whole(tier)?));
            return tier.map(line).into_iter().collect();
        }
        let mut lines = Vec::with_capacity(1);
        let mut before = Amount::ZERO;
        for part in tiers.split(from, measure.quantity(self.counted)) {
            let after = before.plus(self.units(part.quantity)?);
            let amount = whole(part.tier)?;
            let share = self
                .share(amount, after)?
                .minus(self.share(amount, before)?)?;
            before = after;
            lines.push(TierLine {
                step: step(part.index, part.tier),
                position: part.position,
                quantity: part.quantity,
                amount: share,
                flat: if part.enters() {
                    part.tier.flat
                } else {
                    Exact::ZERO
                },
            });
        }
        Ok(lines)
    }

    /// The packages that it begins after so much was used.
    fn packages(&self, package: &Package, before: Amount) -> Result<TierLine, RatingError> {
        let measure = self.terms.measure;
        let (from, quantity) = (measure.quantity(before), measure.quantity(self.counted));
        let begun = package.count(from.plus(quantity)?)?;
        let count = begun.beyond(package.count(from)?);
        let package = *package;
        Ok(TierLine {
            step: TierStep::Packages { package, count },
            position: measure.quantity(self.position),
            quantity,
            amount: package.between(from, quantity)?,
            flat: Exact::ZERO,
        })
    }

    fn units(&self, quantity: Quantity) -> Result<Amount, MoneyError> {
        let units = match self.terms.measure {
            super::Measure::Spend => quantity.as_money().map(Amount::of),
            super::Measure::Calls | super::Measure::Tokens => quantity.units().map(Amount::new),
        };
        units.ok_or(MoneyError::OutOfRange)
    }

    /// What the first so many units of the call are of an amount, cut to 10⁻²⁷.
    fn share(&self, amount: Exact, units: Amount) -> Result<Exact, MoneyError> {
        let size = amount.get().unsigned_abs();
        let share = mul_div(size, u128::from(units.get()), self.counted.get());
        let (share, _) = share.ok_or(MoneyError::OutOfRange)?;
        let share = i128::try_from(share).map_err(|_| MoneyError::OutOfRange)?;
        Ok(Exact::new(share))
    }
}

fn step(index: usize, tier: &Tier<TierPrice>) -> TierStep {
    TierStep::Tier {
        number: index.saturating_add(1),
        price: tier.price.clone(),
    }
}

/// A price with some meters at rates of their own.
pub(super) fn with_own(price: &PriceVersion, own: &[Rate]) -> Result<PriceVersion, RatingError> {
    Ok(price.with_own_rates(own)?)
}
