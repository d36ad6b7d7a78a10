//! A tier schedule as it stands.

use billing_core::charge_model::{Quantity, Tier};
use billing_core::tier_schedule::{TierPrice, TierPricing, TierSchedule};
use serde::Serialize;
use utoipa::ToSchema;

use super::{PackageDto, TierPriceDto, exact, window_name, window_start};
use crate::http::api::wire::{MoneyDto, instant};
use crate::http::rates::ReachDto;
use crate::price_list::Standing;

/// How the price of some models falls with what an account uses of them. It never changes.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TierScheduleDto {
    /// Its id; receipts name it.
    #[schema(example = "tis_0001fv5kz4y00")]
    pub(crate) id: String,
    /// For whom and for which models. All that it reaches is counted together.
    pub(crate) reach: ReachDto,
    /// From when on it holds.
    #[schema(format = DateTime)]
    pub(crate) effective_from: String,
    /// What is counted: `calls`, `tokens`, or `spend` at list prices.
    #[schema(example = "calls")]
    pub(crate) measure: &'static str,
    /// When counting begins anew: each `day`, `week`, `month`, billing `period`, or never
    /// (`lifetime`).
    #[schema(example = "month")]
    pub(crate) window: &'static str,
    /// In whose days, weeks and months.
    #[schema(example = "UTC")]
    pub(crate) zone: String,
    /// How the tiers make a price: `graduated` (what falls into a tier costs what the tier says),
    /// `volume` (everything in the window costs what the reached tier says; calls cost the list
    /// price until the window is over, and the difference is settled then), `package`, or
    /// `per_call` (packages counted anew for each call).
    #[schema(example = "graduated")]
    pub(crate) pricing: &'static str,
    /// The tiers, the first first; none where things are sold in packages.
    pub(crate) tiers: Vec<TierDto>,
    /// What one package is.
    pub(crate) package: Option<PackageDto>,
    /// What a window costs at least; the difference is charged when it is over.
    pub(crate) minimum: Option<MoneyDto>,
}

/// One tier.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TierDto {
    /// Which, from 1.
    #[schema(example = 2)]
    tier: usize,
    /// It holds for what is used beyond this, as exact decimal text.
    #[schema(example = "10000")]
    above: String,
    /// Up to and including this; null for the last.
    up_to: Option<String>,
    /// What holds in it.
    price: TierPriceDto,
    /// What is due once in a window when anything falls into it.
    flat: MoneyDto,
}

/// Where an account stands in tiers now.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct StandingDto {
    /// The schedule.
    #[schema(example = "tis_0001fv5kz4y00")]
    schedule: String,
    /// What is counted: `calls`, `tokens` or `spend`.
    #[schema(example = "calls")]
    measure: &'static str,
    /// The tier reached, from 1: the one that prices what is used next, by volume the one that
    /// prices what was used so far. Null where things are sold in packages.
    #[schema(example = 1)]
    tier: Option<usize>,
    /// How much has been used in the window, as exact decimal text.
    #[schema(example = "9990")]
    used: String,
    /// The next tier is for what is used beyond this; null in the last.
    #[schema(example = "10000")]
    next_tier_above: Option<String>,
    /// How much may be used before the next tier begins; null in the last.
    #[schema(example = "10")]
    until_next_tier: Option<String>,
    /// When the window began; null for a lifetime.
    #[schema(format = DateTime)]
    window_start: Option<String>,
    /// When it ends; null for a lifetime.
    #[schema(format = DateTime)]
    window_end: Option<String>,
}

impl TierScheduleDto {
    /// A schedule on the wire; `None` for one that only ends another.
    pub(crate) fn of(schedule: &TierSchedule) -> Option<Self> {
        let terms = schedule.terms.as_deref()?;
        let package = match &terms.pricing {
            TierPricing::Graduated(_) | TierPricing::Volume(_) => None,
            TierPricing::Package(package) | TierPricing::PerCall(package) => Some(package),
        };
        let tiers = terms.pricing.tiers();
        let begins = std::iter::once(None).chain(tiers.iter().map(|tier| tier.up_to));
        let tier = |((place, tier), begin): ((usize, &Tier<TierPrice>), Option<_>)| TierDto {
            tier: place,
            above: begin.unwrap_or(Quantity::ZERO).to_string(),
            up_to: tier.up_to.map(|end| end.to_string()),
            price: TierPriceDto::of(&tier.price, terms.measure),
            flat: exact(tier.flat, terms.currency),
        };
        Some(Self {
            id: schedule.id.to_string(),
            reach: ReachDto::of(&schedule.reach),
            effective_from: instant(schedule.effective_from),
            measure: terms.measure.name(),
            window: window_name(terms.window),
            zone: terms.zone.name().to_owned(),
            pricing: pricing_name(&terms.pricing),
            tiers: (1..).zip(tiers).zip(begins).map(tier).collect(),
            package: package.map(PackageDto::of),
            minimum: terms.minimum.map(|m| MoneyDto::of(m, terms.currency)),
        })
    }
}

impl StandingDto {
    /// A standing on the wire.
    pub(crate) fn of(standing: &Standing) -> Self {
        let Standing(window) = standing;
        let terms = &window.terms;
        let start = window_start(window);
        Self {
            schedule: window.schedule.to_string(),
            measure: terms.measure.name(),
            tier: standing.tier(),
            used: standing.used().to_string(),
            next_tier_above: standing.next_above().map(|at| at.to_string()),
            until_next_tier: standing.until_next().map(|left| left.to_string()),
            window_start: start.map(instant),
            window_end: start.and_then(|at| terms.window_end(at)).map(instant),
        }
    }
}

const fn pricing_name(pricing: &TierPricing) -> &'static str {
    match pricing {
        TierPricing::Graduated(_) => "graduated",
        TierPricing::Volume(_) => "volume",
        TierPricing::Package(_) => "package",
        TierPricing::PerCall(_) => "per_call",
    }
}

#[cfg(test)]
mod tests;
