//! The lines of a receipt: quantities at prices.

use billing_core::charge::ChargeLine;
use billing_core::meter::MeterUnit;
use billing_core::money::{Currency, Nanos};
use serde::Serialize;
use utoipa::ToSchema;

use super::exact;
use crate::http::api::wire::MoneyDto;
use crate::http::rates::LinePrice;

/// A quantity at a price.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ReceiptLine {
    /// What was consumed; `hold` where the hold was charged instead.
    #[schema(example = "input")]
    pub(crate) meter: String,
    /// How much of it.
    #[schema(example = 1000)]
    pub(crate) quantity: u64,
    /// What the quantity counts: `token`, `millisecond`, `each`, `hold`.
    #[schema(example = "token")]
    pub(crate) unit: &'static str,
    /// What it costs, as exact decimal text in the currency of the amount.
    pub(crate) price: LinePrice,
    /// Whether the price is that of the meter's parent, because it has none of its own.
    pub(crate) inherited: bool,
    /// The service tier that the price is for.
    #[schema(example = "standard")]
    pub(crate) tier: Option<&'static str>,
    /// The prompt size, in tokens, above which this price applies to the whole call.
    pub(crate) above_prompt_tokens: Option<u64>,
    /// The condition under which this price stands in the place of the ordinary one; null for that.
    #[schema(example = "region=eu")]
    pub(crate) condition: Option<String>,
    /// Quantity times price, not rounded.
    pub(crate) amount: MoneyDto,
}

pub(super) fn line(line: &ChargeLine, currency: Currency) -> ReceiptLine {
    let unit = match line.meter.unit() {
        MeterUnit::Token => "token",
        MeterUnit::Millisecond => "millisecond",
        MeterUnit::Each => "each",
    };
    ReceiptLine {
        meter: line.meter.name().to_owned(),
        quantity: line.quantity,
        unit,
        price: LinePrice::of(line.meter.unit(), line.rate.price),
        inherited: line.inherited,
        tier: Some(line.rate.tier.name()),
        above_prompt_tokens: line.rate.above.map(|above| above.prompt_tokens),
        condition: line.when.as_ref().map(ToString::to_string),
        amount: exact(line.amount, currency),
    }
}

pub(super) fn hold_line(held: Nanos, currency: Currency) -> ReceiptLine {
    ReceiptLine {
        meter: "hold".to_owned(),
        quantity: 1,
        unit: "hold",
        price: LinePrice {
            amount: held.to_string(),
            per: "one",
        },
        inherited: false,
        tier: None,
        above_prompt_tokens: None,
        condition: None,
        amount: MoneyDto::of(held, currency),
    }
}
