//! Who paid a call, and who was asked to serve it.

use billing_core::call::Attempt;
use billing_core::money::Currency;
use billing_core::port::reports::CallDetail;
use billing_core::wallet::LotDraw;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::api::wire::MoneyDto;

/// Who paid a call.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Payer {
    /// The lots that were drawn, in order.
    pub(crate) lots: Vec<PayerLot>,
    /// What no lot covered and the account owes.
    pub(crate) on_credit: MoneyDto,
}

/// What one lot paid.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PayerLot {
    /// The lot.
    pub(crate) lot: String,
    /// `paid` or `promo`.
    pub(crate) kind: &'static str,
    /// How much.
    pub(crate) amount: MoneyDto,
}

/// One upstream try.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ReceiptAttempt {
    /// The channel.
    pub(crate) channel: String,
    /// The upstream's HTTP status; null when no answer came.
    pub(crate) status: Option<u16>,
    /// What came of it.
    #[schema(example = "ok")]
    pub(crate) outcome: String,
    /// How long it took, in milliseconds.
    pub(crate) latency_ms: u32,
}

pub(super) fn payer(call: &CallDetail, currency: Currency) -> Payer {
    let lot = |draw: &LotDraw| PayerLot {
        lot: draw.lot.to_string(),
        kind: draw.kind.name(),
        amount: MoneyDto::of_amount(draw.amount, currency),
    };
    Payer {
        lots: call.draws.iter().map(lot).collect(),
        on_credit: MoneyDto::of(call.on_credit, currency),
    }
}

pub(super) fn attempts(call: &CallDetail) -> Vec<ReceiptAttempt> {
    let attempt = |a: &Attempt| ReceiptAttempt {
        channel: a.channel.clone(),
        status: a.status,
        outcome: a.outcome.clone(),
        latency_ms: a.latency_ms,
    };
    call.attempts.iter().map(attempt).collect()
}
