//! Tiers on the wire: how a price falls with use, and what a call costs in it.

mod schedule;
pub(crate) mod words;

use billing_core::charge_model::{Package, Rounding};
use billing_core::money::{Currency, Exact};
use billing_core::terms::InTiers;
use billing_core::tier_schedule::{
    Measure, TierLine, TierPrice, TierSchedule, TierStep, TierTerms, TierWindow, Tiered,
};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::api::wire::{MoneyDto, instant};
use super::rates::{LinePrice, RateDto, ReachDto};
pub(crate) use schedule::{StandingDto, TierScheduleDto};

/// What holds in a tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum TierPriceDto {
    /// The list price less so much percent of it.
    Discount {
        /// Exact decimal text.
        #[schema(example = "12.5")]
        percent: String,
    },
    /// These rates instead of the list's, meter by meter.
    Rates {
        /// The rates.
        rates: Vec<RateDto>,
    },
    /// So much for each call or token, whatever the list says.
    PerUnit {
        /// The price.
        price: LinePrice,
    },
    /// So much for each package, whatever the list says.
    Packages {
        /// What one is.
        package: PackageDto,
        /// How many are begun by this line, as exact decimal text.
        #[schema(example = "1")]
        count: String,
    },
}

/// A price for every so many calls or tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct PackageDto {
    /// How many are in one.
    #[schema(example = "1000")]
    size: String,
    /// How many come before the first one, and cost nothing.
    #[schema(example = "0")]
    free: String,
    /// What becomes of one that is not full: it counts as a whole (`up`), not at all (`down`), or
    /// from the half on (`half_up`).
    #[schema(example = "up")]
    rounding: &'static str,
    /// What one costs.
    price: LinePrice,
}

/// What a call costs in tiers: the sum of the amounts and fees of the lines.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TieredDto {
    /// The schedule.
    #[schema(example = "tis_0001fv5kz4y00")]
    pub(crate) schedule: String,
    /// For whom and for which models it holds; null when it is no longer on record.
    pub(crate) reach: Option<ReachDto>,
    /// What is counted: `calls`, `tokens` or `spend`.
    #[schema(example = "calls")]
    pub(crate) measure: &'static str,
    /// When counting begins anew.
    #[schema(example = "month")]
    pub(crate) window: &'static str,
    /// When the window began; null for a lifetime.
    #[schema(format = DateTime)]
    pub(crate) window_start: Option<String>,
    /// When it ends; null for a lifetime.
    #[schema(format = DateTime)]
    pub(crate) window_end: Option<String>,
    /// How much had been used before the call, as exact decimal text.
    #[schema(example = "9999")]
    pub(crate) position: String,
    /// How much the call counts.
    #[schema(example = "1")]
    pub(crate) counted: String,
    /// One line for each tier that the call falls into.
    pub(crate) lines: Vec<TierLineDto>,
    /// Whether the price is provisional: by volume it is trued up when the window is over.
    pub(crate) provisional: bool,
    /// In words.
    #[schema(example = "Tier 2 since 10,001 calls this month: 10 % off the list price.")]
    pub(crate) explanation: String,
}

/// What of a call fell into one tier, or into packages.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TierLineDto {
    /// Which tier, from 1; null for packages.
    #[schema(example = 2)]
    pub(crate) tier: Option<usize>,
    /// How much had been used before this line, as exact decimal text.
    #[schema(example = "10000")]
    pub(crate) from: String,
    /// How much of the call is in it.
    #[schema(example = "1")]
    pub(crate) quantity: String,
    /// What holds there.
    pub(crate) price: TierPriceDto,
    /// What that costs, not rounded.
    pub(crate) amount: MoneyDto,
    /// The tier's fee, where the call is the first in it.
    pub(crate) flat: MoneyDto,
    /// In words.
    #[schema(example = "tier 2 since 10,001 calls this month: 10 % off the list price")]
    pub(crate) explanation: String,
}

impl TierPriceDto {
    fn of(price: &TierPrice, measure: Measure) -> Self {
        match price {
            TierPrice::Discount(percent) => Self::Discount {
                percent: percent.to_string(),
            },
            TierPrice::Rates(rates) => Self::Rates {
                rates: rates.iter().map(|rate| RateDto::of(rate, None)).collect(),
            },
            TierPrice::PerUnit(price) => Self::PerUnit {
                price: words::per_unit(*price, measure),
            },
        }
    }
}

impl PackageDto {
    fn of(package: &Package) -> Self {
        Self {
            size: package.size().to_string(),
            free: package.free().to_string(),
            rounding: match package.rounding() {
                Rounding::Up => "up",
                Rounding::Down => "down",
                Rounding::HalfUp => "half_up",
            },
            price: LinePrice::each(package.each(), "package"),
        }
    }
}

impl TieredDto {
    /// What a call costs at its place in tiers. `schedule` is theirs, where it is on record.
    pub(crate) fn of(tiered: &Tiered, of: &InTiers, schedule: Option<&TierSchedule>) -> Self {
        let terms = &*of.terms;
        let start = window_start(of);
        let lines = tiered.lines.iter();
        Self {
            schedule: of.schedule.to_string(),
            reach: schedule.map(|schedule| ReachDto::of(&schedule.reach)),
            measure: terms.measure.name(),
            window: window_name(terms.window),
            window_start: start.map(instant),
            window_end: start.and_then(|at| terms.window_end(at)).map(instant),
            position: terms.measure.quantity(tiered.position).to_string(),
            counted: terms.measure.quantity(tiered.counted).to_string(),
            lines: lines
                .map(|line| TierLineDto::of(line, terms, tiered.is_provisional))
                .collect(),
            provisional: tiered.is_provisional,
            explanation: words::explanation(tiered, of),
        }
    }
}

impl TierLineDto {
    fn of(line: &TierLine, terms: &TierTerms, is_provisional: bool) -> Self {
        let (tier, price) = match &line.step {
            TierStep::Tier { number, price } => {
                (Some(*number), TierPriceDto::of(price, terms.measure))
            }
            TierStep::Packages { package, count } => {
                let (package, count) = (PackageDto::of(package), count.to_string());
                (None, TierPriceDto::Packages { package, count })
            }
        };
        Self {
            tier,
            from: line.position.to_string(),
            quantity: line.quantity.to_string(),
            price,
            amount: exact(line.amount, terms.currency),
            flat: exact(line.flat, terms.currency),
            explanation: words::line(line, terms, is_provisional),
        }
    }
}

/// The first instant of a window; `None` for a lifetime.
pub(crate) fn window_start(of: &InTiers) -> Option<OffsetDateTime> {
    match of.terms.window {
        TierWindow::Lifetime => None,
        TierWindow::Day | TierWindow::Week | TierWindow::Month | TierWindow::Period => {
            OffsetDateTime::from_unix_timestamp(of.window_start).ok()
        }
    }
}

fn exact(amount: Exact, currency: Currency) -> MoneyDto {
    MoneyDto {
        amount: amount.to_string(),
        currency: currency.code().to_owned(),
    }
}

const fn window_name(window: TierWindow) -> &'static str {
    match window {
        TierWindow::Day => "day",
        TierWindow::Week => "week",
        TierWindow::Month => "month",
        TierWindow::Period => "period",
        TierWindow::Lifetime => "lifetime",
    }
}
