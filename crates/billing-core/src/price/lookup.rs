//! Which rate applies.

use std::sync::Arc;

use super::{
    Circumstances, ContextThreshold, PriceVersion, Rate, ServiceTier, Variant, When, own_rate,
};
use crate::meter::{Meter, Usage};

/// The rate that applies to a quantity, and where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppliedRate<'a> {
    /// The rate.
    pub rate: Rate,
    /// Whether the meter itself has no rate, so that its parent's applies.
    pub inherited: bool,
    /// The condition under which the rate applies; `None` for the ordinary one.
    pub when: Option<&'a Arc<When>>,
}

/// The rates of a price as they apply to one call: what depends on the call as a whole is decided
/// once, for all its meters.
#[derive(Debug, Clone)]
pub struct Applicable<'a> {
    price: &'a PriceVersion,
    /// Those whose condition holds, in order.
    variants: Vec<&'a Variant>,
    tier: ServiceTier,
    prompt: u64,
}

impl PriceVersion {
    /// What is charged in the place of a rate that the price may not state: as a call finds it whose
    /// prompt is just above the threshold and of which the condition holds, and nothing else.
    pub(crate) fn stands_in(
        &self,
        (meter, tier): (Meter, ServiceTier),
        above: Option<ContextThreshold>,
        when: Option<&When>,
    ) -> Option<Rate> {
        let holds = |variant: &&Variant| when.is_some_and(|when| when.implies(&variant.when));
        let prompt = |above: ContextThreshold| {
            let more = u64::from(!above.inclusive);
            above.prompt_tokens.saturating_add(more)
        };
        let call = Applicable {
            price: self,
            variants: self.variants().iter().filter(holds).collect(),
            tier,
            prompt: above.map_or(0, prompt),
        };
        call.rate_for(meter).map(|applied| applied.rate)
    }
}

impl<'a> Applicable<'a> {
    pub(super) fn new(
        price: &'a PriceVersion,
        usage: &Usage,
        circumstances: &Circumstances,
    ) -> Self {
        let variants = price.variants().iter();
        Self {
            price,
            variants: variants
                .filter(|variant| variant.when.holds(circumstances, usage))
                .collect(),
            tier: circumstances.tier,
            prompt: usage.prompt_tokens(),
        }
    }

    /// The rate of a meter.
    ///
    /// Looked for in this order: the meter in the tier, the meter in the standard tier, then the
    /// same of its parent; each time first in the variants that hold, the one that asks for most
    /// at the head, then among the ordinary rates. `None` means that the price does not know the
    /// meter at all.
    pub fn rate_for(&self, meter: Meter) -> Option<AppliedRate<'a>> {
        let mut at = Some(meter);
        while let Some(candidate) = at {
            let found = self.in_tier(candidate, self.tier).or_else(|| {
                let other = self.tier != ServiceTier::Standard;
                other.then(|| self.in_tier(candidate, ServiceTier::Standard))?
            });
            if let Some((rate, when)) = found {
                return Some(AppliedRate {
                    rate,
                    inherited: candidate != meter,
                    when,
                });
            }
            at = candidate.parent();
        }
        None
    }

    fn in_tier(&self, meter: Meter, tier: ServiceTier) -> Option<(Rate, Option<&'a Arc<When>>)> {
        let varied = self.variants.iter().find_map(|variant| {
            let rate = variant.own_rate(meter, tier, self.prompt)?;
            Some((rate, Some(&variant.when)))
        });
        varied.or_else(|| {
            let rate = own_rate(self.price.rates(), meter, tier, self.prompt)?;
            Some((rate, None))
        })
    }
}
