//! Rates on the wire: what a class of consumption costs, and when that price applies.

use billing_core::meter::MeterUnit;
use billing_core::price::{PriceVersion, Rate, UnitPrice, When};
use billing_core::reach::Reach;
use serde::Serialize;
use utoipa::ToSchema;

/// What a line costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct LinePrice {
    /// Exact decimal text; `0` where it is free.
    #[schema(example = "2.5")]
    pub(crate) amount: String,
    /// For how much: `million_tokens`, `second`, `one`; of a tier also `call`, of packages `package`.
    #[schema(example = "million_tokens")]
    pub(crate) per: &'static str,
}

impl LinePrice {
    /// The price of what is counted so, for as much of it as people quote prices for.
    pub(crate) fn of(unit: MeterUnit, price: UnitPrice) -> Self {
        match unit {
            MeterUnit::Token => Self {
                amount: price.per_million_text(),
                per: "million_tokens",
            },
            MeterUnit::Millisecond => Self::each(price, "second"),
            MeterUnit::Each => Self::each(price, "one"),
        }
    }

    /// The price of one of what is named.
    pub(crate) fn each(price: UnitPrice, per: &'static str) -> Self {
        Self {
            amount: one(price),
            per,
        }
    }
}

/// The price of one; `0` where it is free.
pub(crate) fn one(price: UnitPrice) -> String {
    if price.is_free() {
        "0".to_owned()
    } else {
        price.to_string()
    }
}

/// What a class of consumption costs. One of `per_million_tokens`, `per_second` and `per_one` is
/// there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct RateDto {
    /// What is priced.
    #[schema(example = "input")]
    meter: &'static str,
    /// The service tier that the price is for. A tier without a price of its own costs what the
    /// standard one does.
    #[schema(example = "standard")]
    service_tier: &'static str,
    /// The prompt size from which on this price applies to the whole call; null from the first
    /// token.
    threshold: Option<ThresholdDto>,
    /// The condition under which this price stands in the place of the ordinary one; null for that.
    #[schema(example = "region=eu")]
    condition: Option<String>,
    /// A million tokens, as exact decimal text in the currency of the price; `0` where it is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2.5")]
    per_million_tokens: Option<String>,
    /// A second, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    per_second: Option<String>,
    /// One request, image, character, page …, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    per_one: Option<String>,
}

/// A prompt size, cached tokens included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ThresholdDto {
    /// How a prompt is compared with it: `>`, or `>=` where one of exactly this size is above it.
    #[schema(example = ">")]
    comparison: &'static str,
    /// In tokens.
    #[schema(example = 200_000)]
    prompt_tokens: u64,
}

impl RateDto {
    /// A rate, under a condition or under none.
    pub(crate) fn of(rate: &Rate, when: Option<&When>) -> Self {
        let (unit, price) = (rate.meter.unit(), rate.price);
        Self {
            meter: rate.meter.name(),
            service_tier: rate.tier.name(),
            threshold: rate.above.map(|above| ThresholdDto {
                comparison: if above.inclusive { ">=" } else { ">" },
                prompt_tokens: above.prompt_tokens,
            }),
            condition: when.map(ToString::to_string),
            per_million_tokens: (unit == MeterUnit::Token).then(|| price.per_million_text()),
            per_second: (unit == MeterUnit::Millisecond).then(|| one(price)),
            per_one: (unit == MeterUnit::Each).then(|| one(price)),
        }
    }

    /// All rates of a price: the ordinary ones, then those under conditions.
    pub(crate) fn all_of(price: &PriceVersion) -> Vec<Self> {
        let plain = price.rates().iter().map(|rate| Self::of(rate, None));
        let varied = price.variants().iter().flat_map(|variant| {
            let rates = variant.rates.iter();
            rates.map(|rate| Self::of(rate, Some(&variant.when)))
        });
        plain.chain(varied).collect()
    }
}

/// For whom and for which models a rule of pricing holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ReachDto {
    /// A model, a family as `prefix*`, or `*` for all.
    #[schema(example = "sim/*")]
    models: String,
    /// `everyone`, or the id of a plan or an account.
    #[schema(example = "everyone")]
    audience: String,
}

impl ReachDto {
    /// A reach on the wire.
    pub(crate) fn of(reach: &Reach) -> Self {
        Self {
            models: reach.models.to_string(),
            audience: reach.audience.to_string(),
        }
    }
}
