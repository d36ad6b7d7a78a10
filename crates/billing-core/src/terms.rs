//! What a call is rated with: fixed when it is authorized, whatever changes while it runs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::budget::{Amount, BudgetScope};
use crate::charge_model::Percent;
use crate::id::{PlanVersionId, PriceVersionId, SaleRuleId, TierScheduleId};
use crate::meter::{Meter, Usage};
use crate::money::Nanos;
use crate::price::{Attributes, Foreseen, PriceError, PriceVersion, RatingError, most_that_fits};
use crate::sale::{self, SaleRule};
use crate::tier_schedule::TierTerms;

/// The terms of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// What the account pays.
    pub price: Arc<PriceVersion>,
    /// What the house pays, and how the price follows from it; `None` where the catalogue's price is
    /// both.
    pub resold: Option<Resold>,
    /// How the price falls with use; `None` where it does not.
    pub tiers: Option<InTiers>,
    /// The version of the plan that the account was on; `None` where it was on none. It decides
    /// nothing here: what the plan makes of the price is said above, and reports group by it.
    pub plan: Option<PlanVersionId>,
}

/// The window of a tier schedule that a call counts in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InTiers {
    /// Which schedule.
    pub schedule: TierScheduleId,
    /// What it says.
    pub terms: Arc<TierTerms>,
    /// The window's first second (Unix time); 0 for a lifetime.
    pub window_start: i64,
    /// How much was known to have been used when the call was authorized: never more than had been.
    pub known: Amount,
}

impl InTiers {
    /// The counter of positions.
    pub fn position(&self) -> BudgetScope {
        BudgetScope::Tier {
            schedule: self.schedule,
            unit: self.terms.measure.unit(),
            window_start: self.window_start,
        }
    }

    /// The sum of what calls should cost, each by itself; `None` where it is not needed.
    pub fn charged(&self) -> Option<BudgetScope> {
        let scope = BudgetScope::TierCharge {
            schedule: self.schedule,
            window_start: self.window_start,
        };
        self.terms.is_closed().then_some(scope)
    }

    /// The sum of what of that the house bore; `None` where it is not needed.
    pub fn overrun(&self) -> Option<BudgetScope> {
        let scope = BudgetScope::TierOverrun {
            schedule: self.schedule,
            window_start: self.window_start,
        };
        self.terms.is_closed().then_some(scope)
    }

    /// Everything that a call counts in.
    pub fn scopes(&self) -> impl Iterator<Item = BudgetScope> + use<> {
        let sums = [self.charged(), self.overrun()];
        std::iter::once(self.position()).chain(sums.into_iter().flatten())
    }

    /// What is kept on record of it, with the position that the call was rated at.
    pub const fn record(&self, position: Amount) -> TierRecord {
        TierRecord {
            schedule: self.schedule,
            window_start: self.window_start,
            position,
        }
    }
}

/// Where a call stood in tiers, on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierRecord {
    /// Which schedule.
    pub schedule: TierScheduleId,
    /// The window's first second (Unix time).
    pub window_start: i64,
    /// How much had been used before the call.
    pub position: Amount,
}

/// How a price came to differ from what the house pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resold {
    /// What the house pays.
    pub cost: Arc<PriceVersion>,
    /// The rule; `None` where only the discount makes the difference.
    pub rule: Option<SaleRuleId>,
    /// What the account's plan takes off.
    pub discount: Option<Percent>,
}

impl Terms {
    /// The catalogue's price, as it is listed.
    pub const fn listed(price: Arc<PriceVersion>) -> Self {
        Self {
            price,
            resold: None,
            tiers: None,
            plan: None,
        }
    }

    /// What a rule and a plan's discount make of the catalogue's price. The discount comes off what
    /// the rule asks.
    ///
    /// # Errors
    /// As [`crate::sale::SalePrice::of`] and [`crate::sale::discounted`].
    pub fn sold(
        cost: Arc<PriceVersion>,
        rule: Option<&SaleRule>,
        discount: Option<Percent>,
    ) -> Result<Self, PriceError> {
        let mut terms = Self::listed(Arc::clone(&cost));
        if let Some(rule) = rule {
            terms.price = Arc::new(rule.price.of(&cost)?);
        }
        if let Some(off) = discount {
            terms.price = Arc::new(sale::discounted(&terms.price, off)?);
        }
        let rule = rule.map(|rule| rule.id);
        terms.resold = (rule.is_some() || discount.is_some()).then_some(Resold {
            cost,
            rule,
            discount,
        });
        Ok(terms)
    }

    /// The same terms in tiers.
    #[must_use]
    pub fn in_tiers(self, tiers: Option<InTiers>) -> Self {
        Self { tiers, ..self }
    }

    /// The same terms, of an account on this version of a plan.
    #[must_use]
    pub fn under(self, plan: Option<PlanVersionId>) -> Self {
        Self { plan, ..self }
    }

    /// The most that a call within a ceiling can cost, as far as it is foreseen, rounded up.
    ///
    /// # Errors
    /// As [`PriceVersion::worst_case`] and [`TierTerms::worst_case`].
    pub fn worst_case(
        &self,
        ceiling: &Usage,
        foreseen: &Foreseen<'_>,
    ) -> Result<Nanos, RatingError> {
        match &self.tiers {
            None => self.price.worst_case(ceiling, foreseen),
            Some(tiers) => {
                let InTiers { terms, known, .. } = tiers;
                terms.worst_case(ceiling, &self.price, foreseen, *known)
            }
        }
    }

    /// What a call holds beside the worst case of its ceiling, once its answer may come to so many
    /// tokens more. With it the call holds the worst case of the longer answer: in every tier that
    /// this may reach, at the prices of the same prompt, and with no fee counted twice.
    ///
    /// # Errors
    /// As [`Terms::worst_case`].
    pub fn extension(
        &self,
        ceiling: &Usage,
        more_output: u64,
        foreseen: &Foreseen<'_>,
    ) -> Result<Nanos, RatingError> {
        let output = ceiling.get(Meter::Output).saturating_add(more_output);
        let longer = ceiling.with(Meter::Output, output);
        let (longer, held) = (
            self.worst_case(&longer, foreseen)?,
            self.worst_case(ceiling, foreseen)?,
        );
        Ok(longer.minus(held)?.max(Nanos::ZERO))
    }

    /// The most output, in tokens, that keeps the worst case of a ceiling within an amount; `None`
    /// when the rest of the ceiling alone does not fit.
    pub fn most_output_within(
        &self,
        ceiling: &Usage,
        foreseen: &Foreseen<'_>,
        amount: Nanos,
    ) -> Option<u64> {
        most_that_fits(ceiling.get(Meter::Output), |output| {
            let capped = ceiling.with(Meter::Output, output);
            let worst = self.worst_case(&capped, foreseen);
            worst.is_ok_and(|cost| cost <= amount)
        })
    }

    /// The rule by which the price follows from the cost, if one does.
    pub fn rule(&self) -> Option<SaleRuleId> {
        self.resold.as_ref().and_then(|resold| resold.rule)
    }

    /// What the account's plan takes off, if it does.
    pub fn discount(&self) -> Option<Percent> {
        self.resold.as_ref().and_then(|resold| resold.discount)
    }

    /// What the house pays.
    pub fn cost(&self) -> &Arc<PriceVersion> {
        let resold = self.resold.as_ref();
        resold.map_or(&self.price, |resold| &resold.cost)
    }

    /// The version of the catalogue's price, from which everything else follows.
    pub fn price_version(&self) -> PriceVersionId {
        self.price.id()
    }
}

/// What the charge of a call follows from beside its usage, its service tier, its beginning and the
/// catalogue's price version: most calls have nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RatingRecord {
    /// The rule by which the price follows from the catalogue's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<SaleRuleId>,
    /// What the account's plan took off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discount: Option<Percent>,
    /// Where it stood in tiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiers: Option<TierRecord>,
    /// What else was known of the call that prices depend on.
    #[serde(default, skip_serializing_if = "Attributes::is_none")]
    pub attributes: Attributes,
}

impl RatingRecord {
    /// Whether there is nothing of it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
