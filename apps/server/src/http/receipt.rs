//! The receipt of a call: how its charge follows from what was consumed.
//!
//! It is derived anew from the record and the price version that the record names, so a receipt
//! that adds up proves the charge.

use billing_core::call::UsageSource;
use billing_core::charge::{Charge, ChargeLine, charge};
use billing_core::meter::MeterUnit;
use billing_core::money::{Currency, Exact, Nanos};
use billing_core::port::reports::CallDetail;
use billing_core::price::UnitPrice;
use billing_core::price_book::PriceBook;
use billing_core::terms::Terms;
use serde::Serialize;
use utoipa::ToSchema;

use super::api::wire::{MoneyDto, instant};

/// Steps of [`Exact`] in a nano.
const STEPS: i128 = 1_000_000_000_000_000_000;

/// How the charge of a call follows from what was consumed: the sum of the lines, plus the
/// rounding, less what the house bears, is the charge.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Receipt {
    /// The call.
    #[schema(example = "req_0001fv5kz4y00")]
    pub(crate) id: String,
    /// The key it was made with.
    pub(crate) key: String,
    /// The endpoint.
    #[schema(example = "chat.completions")]
    pub(crate) endpoint: String,
    /// The model that was asked for.
    #[schema(example = "sim/echo")]
    pub(crate) model: String,
    /// How it ended.
    #[schema(example = "completed")]
    pub(crate) outcome: String,
    /// Whether it was streamed.
    pub(crate) streamed: bool,
    /// The HTTP status that the caller got.
    pub(crate) status: u16,
    /// In one sentence.
    pub(crate) explanation: String,
    /// Who counted: `provider`, `estimated` (here, from what was delivered), or nobody.
    pub(crate) source: Option<String>,
    /// What each class of consumption cost. Empty when nothing was due.
    pub(crate) lines: Vec<ReceiptLine>,
    /// What the single rounding to nanos, half to even, added.
    pub(crate) rounding: MoneyDto,
    /// What went beyond hold and funds, and the house bears.
    pub(crate) overrun: MoneyDto,
    /// What the account paid.
    pub(crate) charge: MoneyDto,
    /// Whether the reported usage was not believed, so that the hold was charged.
    pub(crate) quarantined: bool,
    /// What was set aside of the wallet before the call.
    pub(crate) held: MoneyDto,
    /// What of that came back.
    pub(crate) freed: MoneyDto,
    /// Who paid.
    pub(crate) payer: Payer,
    /// The balance after it.
    pub(crate) balance_after: MoneyDto,
    /// The price it was rated with: the one in effect when it was authorized.
    pub(crate) price: ReceiptPrice,
    /// The upstream tries.
    pub(crate) attempts: Vec<ReceiptAttempt>,
    /// The ledger transaction that booked it; null when nothing was due.
    pub(crate) ledger_transaction: Option<String>,
    /// When it came in.
    #[schema(format = DateTime)]
    pub(crate) started_at: String,
    /// When it was settled.
    #[schema(format = DateTime)]
    pub(crate) settled_at: String,
}

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

/// What a line costs.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct LinePrice {
    /// Exact decimal text; `0` where it is free.
    #[schema(example = "2.5")]
    pub(crate) amount: String,
    /// For how much: `million_tokens`, `second`, `one`.
    #[schema(example = "million_tokens")]
    pub(crate) per: &'static str,
}

impl LinePrice {
    /// The price of what is counted so, for as much of it as people quote prices for.
    pub(crate) fn of(unit: MeterUnit, price: UnitPrice) -> Self {
        let one = || {
            if price.is_free() {
                "0".to_owned()
            } else {
                price.to_string()
            }
        };
        let (amount, per) = match unit {
            MeterUnit::Token => (price.per_million_text(), "million_tokens"),
            MeterUnit::Millisecond => (one(), "second"),
            MeterUnit::Each => (one(), "one"),
        };
        Self { amount, per }
    }
}

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

/// The price version of a receipt.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ReceiptPrice {
    /// Its id.
    #[schema(example = "prv_0001fv5kz4y00")]
    pub(crate) version: String,
    /// The sale rule by which it follows from the catalogue's price; null where that is the price.
    #[schema(example = "sal_0001fv5kz4y00")]
    pub(crate) rule: Option<String>,
    /// From when on it holds; null when it is no longer on record.
    #[schema(format = DateTime)]
    pub(crate) effective_from: Option<String>,
    /// The service tier that the provider says it gave.
    #[schema(example = "standard")]
    pub(crate) tier: &'static str,
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

/// What was due, and why.
enum Due {
    Nothing,
    Rated(Charge),
    Hold(Nanos),
    /// The stored price does not rate the stored usage: the charge stands, unexplained.
    Unexplained,
}

impl Receipt {
    /// The receipt of a call, in the currency of its account.
    pub(crate) fn of(call: &CallDetail, book: &PriceBook, currency: Currency) -> Self {
        let terms = book.terms(&call.model, call.price_version, &call.rating);
        let version = terms.as_ref().map(|terms| &terms.price);
        let due = due(call, terms.as_ref());
        let money = |nanos| MoneyDto::of(nanos, currency);
        let (lines, rounding) = match &due {
            Due::Nothing | Due::Unexplained => (Vec::new(), Exact::ZERO),
            Due::Hold(held) => (vec![hold_line(*held, currency)], Exact::ZERO),
            Due::Rated(charge) => {
                let lines = charge.lines.iter().map(|l| line(l, currency)).collect();
                (lines, rounding(charge))
            }
        };
        Self {
            id: call.id.to_string(),
            key: call.key.to_string(),
            endpoint: call.endpoint.clone(),
            model: call.model.clone(),
            outcome: call.outcome.clone(),
            streamed: call.streamed,
            status: call.status,
            explanation: explanation(call, &due, currency),
            source: call.source.map(|s| s.name().to_owned()),
            lines,
            rounding: exact(rounding, currency),
            overrun: money(call.overrun),
            charge: money(call.charge),
            quarantined: call.quarantined,
            held: money(call.held),
            freed: money(freed(call)),
            payer: payer(call, currency),
            balance_after: money(call.balance_after),
            price: ReceiptPrice {
                version: call.price_version.to_string(),
                rule: call.rating.rule.map(|rule| rule.to_string()),
                effective_from: version.map(|v| instant(v.effective_from())),
                tier: call.tier.name(),
            },
            attempts: attempts(call),
            ledger_transaction: call.ledger_txn.map(|txn| txn.to_string()),
            started_at: instant(call.started_at),
            settled_at: instant(call.settled_at),
        }
    }
}

fn due(call: &CallDetail, terms: Option<&Terms>) -> Due {
    if call.source.is_none() {
        return Due::Nothing;
    }
    if call.quarantined {
        return Due::Hold(call.held);
    }
    let rated =
        terms.map(|terms| charge(&call.usage, terms, &call.circumstances(), call.position()));
    let on_record = call.charge.plus(call.overrun);
    match rated {
        Some(Ok(charge)) if on_record == Ok(charge.amount) => Due::Rated(charge),
        Some(Ok(_) | Err(_)) | None => {
            tracing::error!(call.id = %call.id, "a receipt does not derive the charge on record");
            Due::Unexplained
        }
    }
}

fn line(line: &ChargeLine, currency: Currency) -> ReceiptLine {
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

fn hold_line(held: Nanos, currency: Currency) -> ReceiptLine {
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

fn exact(amount: Exact, currency: Currency) -> MoneyDto {
    MoneyDto {
        amount: amount.to_string(),
        currency: currency.code().to_owned(),
    }
}

fn rounding(charge: &Charge) -> Exact {
    let rounded = i128::from(charge.amount.get()).saturating_mul(STEPS);
    Exact::new(rounded.saturating_sub(charge.exact.get()))
}

fn freed(call: &CallDetail) -> Nanos {
    let rest = call.held.minus(call.charge).unwrap_or(Nanos::ZERO);
    rest.max(Nanos::ZERO)
}

fn payer(call: &CallDetail, currency: Currency) -> Payer {
    let lot = |draw: &billing_core::wallet::LotDraw| PayerLot {
        lot: draw.lot.to_string(),
        kind: draw.kind.name(),
        amount: MoneyDto::of_amount(draw.amount, currency),
    };
    Payer {
        lots: call.draws.iter().map(lot).collect(),
        on_credit: MoneyDto::of(call.on_credit, currency),
    }
}

fn attempts(call: &CallDetail) -> Vec<ReceiptAttempt> {
    let attempt = |a: &billing_core::call::Attempt| ReceiptAttempt {
        channel: a.channel.clone(),
        status: a.status,
        outcome: a.outcome.clone(),
        latency_ms: a.latency_ms,
    };
    call.attempts.iter().map(attempt).collect()
}

fn explanation(call: &CallDetail, due: &Due, currency: Currency) -> String {
    let (charge, held) = (call.charge, call.held);
    let mut text = match due {
        Due::Nothing => format!(
            "Nothing was delivered, so nothing is charged; {held} {currency} that had been held \
             came back."
        ),
        Due::Hold(_) => format!(
            "The provider reported {} prompt and {} answer tokens, which this model cannot \
             produce, so what had been held is charged: {charge} {currency}.",
            call.usage.prompt_tokens(),
            call.usage.answer_tokens()
        ),
        Due::Rated(_) if call.source == Some(UsageSource::Estimated) => format!(
            "The provider gave no count that can be used, so what was delivered was counted here and costs \
             {charge} {currency}."
        ),
        Due::Rated(_) => format!(
            "The provider counted {} prompt and {} answer tokens, which cost {charge} {currency} \
             at the prices below.",
            call.usage.prompt_tokens(),
            call.usage.answer_tokens()
        ),
        Due::Unexplained => format!(
            "{charge} {currency} are on record; the stored price and usage do not derive them. \
             Ask whoever runs this Tollgate."
        ),
    };
    if !call.overrun.is_zero() {
        let more = format!(
            " The house bears {} {currency} beyond hold and funds.",
            call.overrun
        );
        text.push_str(&more);
    }
    text
}

#[cfg(test)]
mod tests;
