//! Rating: usage times price, line by line.

use std::sync::Arc;

use crate::budget::Amount;
use crate::meter::{Meter, Usage};
use crate::money::{Currency, Exact, Nanos};
use crate::price::{AppliedRate, Circumstances, PriceVersion, Rate, RatingError, When};
use crate::terms::Terms;
use crate::tier_schedule::Tiered;

/// One line of a receipt: a quantity of a meter at a rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeLine {
    /// What was consumed.
    pub meter: Meter,
    /// How much of it, in the meter's unit.
    pub quantity: u64,
    /// The rate that applied.
    pub rate: Rate,
    /// Whether the rate is that of the meter's parent.
    pub inherited: bool,
    /// The condition under which the rate applies; `None` for an ordinary one.
    pub when: Option<Arc<When>>,
    /// Quantity times price, unrounded.
    pub amount: Exact,
}

/// What a usage costs, and the lines that derive it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// One line for each meter consumed.
    pub lines: Vec<ChargeLine>,
    /// The sum of the lines, unrounded.
    pub list: Exact,
    /// What tiers make of it; `None` where none apply.
    pub tiers: Option<Tiered>,
    /// What is due, unrounded: the sum of the tiers' lines, or of the lines where there are none.
    pub exact: Exact,
    /// What is due, rounded once, half to even, to nanos.
    pub amount: Nanos,
    /// The currency of the price.
    pub currency: Currency,
}

/// Rates a usage by the terms of a call, at its position in their tiers.
///
/// # Errors
/// As [`rate`]; [`RatingError::OtherCurrency`].
pub fn charge(
    usage: &Usage,
    terms: &Terms,
    circumstances: &Circumstances,
    position: Amount,
) -> Result<Charge, RatingError> {
    let mut charge = rate(usage, &terms.price, circumstances)?;
    if let Some(of) = &terms.tiers {
        let tiered = of
            .terms
            .rate(usage, &terms.price, circumstances, &charge, position)?;
        charge.exact = tiered.exact()?;
        charge.amount = charge.exact.settle()?;
        charge.tiers = Some(tiered);
    }
    Ok(charge)
}

/// Rates a usage with a price version, tiers apart: the one rule that turns quantities into money.
///
/// A call counts as one request where the version prices requests. The context threshold is looked
/// up on the whole prompt, cached tokens included, and applies to the whole call.
///
/// # Errors
/// [`RatingError::NoRate`] for a meter that neither itself nor through a parent has a price: what
/// is not priced is refused, never free. [`RatingError::Money`] when the amount does not fit.
pub fn rate(
    usage: &Usage,
    price: &PriceVersion,
    circumstances: &Circumstances,
) -> Result<Charge, RatingError> {
    let mut lines = Vec::with_capacity(4);
    let exact = each_line(usage, price, circumstances, |line| lines.push(line))?;
    Ok(Charge {
        lines,
        list: exact,
        tiers: None,
        exact,
        amount: exact.settle()?,
        currency: price.currency(),
    })
}

/// What [`rate`] says that a usage costs, without the lines that derive it.
///
/// # Errors
/// Those of [`rate`].
pub fn amount(
    usage: &Usage,
    price: &PriceVersion,
    circumstances: &Circumstances,
) -> Result<Nanos, RatingError> {
    Ok(exact(usage, price, circumstances)?.settle()?)
}

/// The same, before it is rounded.
///
/// # Errors
/// Those of [`rate`].
pub fn exact(
    usage: &Usage,
    price: &PriceVersion,
    circumstances: &Circumstances,
) -> Result<Exact, RatingError> {
    each_line(usage, price, circumstances, |_| ())
}

/// Gives each line of a receipt to `take`; answers with their sum.
fn each_line(
    usage: &Usage,
    price: &PriceVersion,
    circumstances: &Circumstances,
    mut take: impl FnMut(ChargeLine),
) -> Result<Exact, RatingError> {
    let rates = price.under(usage, circumstances);
    let mut sum = Exact::ZERO;
    let mut add = |line: ChargeLine| {
        sum = sum.plus(line.amount)?;
        take(line);
        Ok::<_, RatingError>(())
    };
    for (meter, quantity) in usage.iter().filter(|(m, _)| *m != Meter::Request) {
        let applied = rates.rate_for(meter).ok_or(RatingError::NoRate { meter })?;
        add(line(meter, quantity, &applied)?)?;
    }
    if let Some(applied) = rates.rate_for(Meter::Request) {
        let requests = usage.get(Meter::Request).max(1);
        add(line(Meter::Request, requests, &applied)?)?;
    }
    Ok(sum)
}

fn line(meter: Meter, quantity: u64, applied: &AppliedRate<'_>) -> Result<ChargeLine, RatingError> {
    let amount = applied.rate.price.times(meter, quantity)?;
    Ok(ChargeLine {
        meter,
        quantity,
        rate: applied.rate,
        inherited: applied.inherited,
        when: applied.when.cloned(),
        amount,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PriceVersionId;
    use crate::price::{ContextThreshold, Foreseen, ModelName, ServiceTier};
    use time::OffsetDateTime;

    fn version(rates: Vec<Rate>) -> PriceVersion {
        let model = ModelName::new("m");
        let (id, from) = (PriceVersionId::new(1), OffsetDateTime::UNIX_EPOCH);
        PriceVersion::new(id, model, Currency::USD, from, rates).unwrap()
    }

    fn at(tier: ServiceTier) -> Circumstances {
        Circumstances::new(tier, OffsetDateTime::UNIX_EPOCH)
    }

    fn standard() -> Circumstances {
        at(ServiceTier::Standard)
    }

    fn per_unit(meter: Meter, price: &str) -> Rate {
        let price = price.parse().unwrap();
        Rate {
            meter,
            tier: ServiceTier::Standard,
            above: None,
            price,
        }
    }

    #[test]
    fn lines_derive_the_amount() {
        let price = version(vec![
            per_unit(Meter::Input, "0.0000025"),
            per_unit(Meter::CacheRead, "0.00000125"),
            per_unit(Meter::Output, "0.00001"),
        ]);
        let usage = Usage::NONE
            .with(Meter::Input, 200)
            .with(Meter::CacheRead, 1000)
            .with(Meter::Output, 71)
            .with(Meter::Reasoning, 9);
        let charge = rate(&usage, &price, &standard()).unwrap();
        assert_eq!(charge.amount.to_string(), "0.00255");
        let sum: Exact = charge.lines.iter().map(|l| l.amount).sum();
        assert_eq!(sum, charge.exact);
        assert!(
            charge
                .lines
                .iter()
                .any(|l| l.meter == Meter::Reasoning && l.inherited)
        );
    }

    #[test]
    fn a_meter_without_a_price_is_refused() {
        let price = version(vec![per_unit(Meter::Input, "0.000001")]);
        let usage = Usage::NONE.with(Meter::Output, 1);
        let refused = rate(&usage, &price, &standard());
        assert_eq!(
            refused,
            Err(RatingError::NoRate {
                meter: Meter::Output
            })
        );
        assert!(
            price
                .worst_case(&usage, &Foreseen::new(&[], OffsetDateTime::UNIX_EPOCH))
                .is_err()
        );
    }

    #[test]
    fn a_long_prompt_reprices_the_whole_call() {
        let above = Some(ContextThreshold {
            prompt_tokens: 200_000,
            inclusive: false,
        });
        let mut long = per_unit(Meter::Input, "0.000002");
        long.above = above;
        let price = version(vec![per_unit(Meter::Input, "0.000001"), long]);
        let cost = |input, cached| {
            let usage = Usage::NONE
                .with(Meter::Input, input)
                .with(Meter::CacheRead, cached);
            rate(&usage, &price, &standard())
                .unwrap()
                .amount
                .to_string()
        };
        assert_eq!(cost(200_000, 0), "0.20");
        assert_eq!(cost(200_001, 0), "0.400002");
        assert_eq!(cost(1, 200_000), "0.400002");
    }

    #[test]
    fn a_tier_without_a_rate_uses_the_standard_one() {
        let mut flex = per_unit(Meter::Input, "0.0000005");
        flex.tier = ServiceTier::Flex;
        let price = version(vec![per_unit(Meter::Input, "0.000001"), flex]);
        let usage = Usage::NONE.with(Meter::Input, 10);
        let amount = |tier| rate(&usage, &price, &at(tier)).unwrap().amount.get();
        assert_eq!(amount(ServiceTier::Flex), 5_000);
        assert_eq!(amount(ServiceTier::Priority), 10_000);
    }

    #[test]
    fn time_is_priced_per_second_and_counted_in_milliseconds() {
        let price = version(vec![per_unit(Meter::InputTime, "0.0001")]);
        let usage = Usage::NONE.with(Meter::InputTime, 1_500);
        let charge = rate(&usage, &price, &standard()).unwrap();
        assert_eq!(charge.amount.to_string(), "0.00015");
    }
}
