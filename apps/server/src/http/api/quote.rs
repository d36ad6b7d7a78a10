//! What a call would cost, before it is made.

mod asked;
mod words;

use actix_web::web;
use billing_core::attribute::Attributes;
use billing_core::charge_model::Percent;
use billing_core::id::AccountId;
use billing_core::meter::Usage;
use billing_core::reach::Buyer;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::asking::Asking;
use super::error::{ApiError, Problem};
use super::extract::{Body, Query};
use super::price_list::{AccountParam, AsAccount};
use super::wire::{MoneyDto, instant};
use crate::http::rates::ReachDto;
use crate::http::receipt::{self, ReceiptLine};
use crate::http::tiers::TieredDto;
use crate::price_list::{Estimate, PriceList, Quote};
use asked::NewQuote;
pub(crate) use asked::NewQuoteBody;

/// What a call would cost.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum QuoteDto {
    /// Of a usage.
    Usage(UsageQuote),
    /// Of a request.
    Request(RequestQuote),
}

/// What a usage costs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageQuote {
    #[serde(flatten)]
    basis: QuoteBasis,
    #[serde(flatten)]
    case: QuoteCase,
}

/// What a request may cost.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RequestQuote {
    #[serde(flatten)]
    basis: QuoteBasis,
    /// What would be set aside before it is sent: the call never costs more.
    worst_case: WorstCase,
    /// What it will likely cost.
    likely_case: LikelyCase,
}

/// What a quote is made from.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuoteBasis {
    /// The model.
    #[schema(example = "sim/echo")]
    model: String,
    /// The account whose price it is; null for an account without a price of its own that has used
    /// nothing yet.
    account: Option<String>,
    /// The instant that it is for.
    #[schema(format = DateTime)]
    at: String,
    /// The service tier that it is for.
    #[schema(example = "standard")]
    service_tier: &'static str,
    /// What else is known of the call that it is for: what is asked, and of a request what the
    /// upstreams of the model say of all calls through them.
    #[schema(value_type = Object, example = json!({"region": "eu"}))]
    attributes: Attributes,
    /// The price.
    price: QuotePrice,
}

/// The price of a quote.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuotePrice {
    /// The price version.
    #[schema(example = "prv_0001fv5kz4y00")]
    version: String,
    /// The sale rule that sets the price; left out where no account asks, or the price is the
    /// catalogue's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "sal_0001fv5kz4y00")]
    rule: Option<String>,
    /// For whom and for which models that rule holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    reach: Option<ReachDto>,
    /// How many percent of it the account's plan takes off; left out where that is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "20")]
    discount: Option<Percent>,
}

/// The most that a request can cost.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorstCase {
    /// The most that it can consume, by meter.
    #[schema(value_type = Object, example = json!({"input": 60, "output": 4096}))]
    usage: Map<String, Value>,
    /// What that costs at the dearest price that can apply.
    total: MoneyDto,
    /// How it was found, in words.
    explanation: String,
}

/// What a request will likely cost.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LikelyCase {
    #[serde(flatten)]
    case: QuoteCase,
    /// What was assumed, in words.
    explanation: String,
}

/// What a usage costs: the sum of the lines, or of the lines and fees of `tiers` where they apply,
/// plus the rounding, is the total.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuoteCase {
    /// What is consumed, by meter.
    #[schema(value_type = Object, example = json!({"input": 1000, "output": 200}))]
    usage: Map<String, Value>,
    /// What each class of consumption costs at list prices.
    lines: Vec<ReceiptLine>,
    /// The sum of these lines, not rounded.
    list: MoneyDto,
    /// What tiers make of that, from where the account stands now; null where none apply.
    tiers: Option<TieredDto>,
    /// What the rounding to nanos, half to even, adds.
    rounding: MoneyDto,
    /// What it costs.
    total: MoneyDto,
}

impl QuoteBasis {
    fn of(quote: &Quote, buyer: Option<&Buyer>) -> Self {
        let rule = buyer.and(quote.rule.as_ref());
        Self {
            model: quote.model.clone(),
            account: buyer.map(|buyer| buyer.account.to_string()),
            at: instant(quote.circumstances.at),
            service_tier: quote.circumstances.tier.name(),
            attributes: quote.circumstances.attributes.clone(),
            price: QuotePrice {
                version: quote.terms.price_version().to_string(),
                rule: rule.map(|rule| rule.id.to_string()),
                reach: rule.map(|rule| ReachDto::of(&rule.reach)),
                discount: quote.terms.discount(),
            },
        }
    }
}

impl QuoteCase {
    fn of(quote: &Quote) -> Self {
        let (charge, currency) = (&quote.charge, quote.charge.currency);
        let derived = receipt::derive(charge, currency);
        let tiered = charge.tiers.as_ref().zip(quote.terms.tiers.as_ref());
        let schedule = quote.schedule.as_deref();
        Self {
            usage: by_meter(&quote.usage),
            lines: derived.lines,
            list: receipt::exact(derived.list, currency),
            tiers: tiered.map(|(tiered, of)| TieredDto::of(tiered, of, schedule)),
            rounding: receipt::exact(derived.rounding, currency),
            total: MoneyDto::of(charge.amount, currency),
        }
    }
}

impl RequestQuote {
    fn of(estimate: &Estimate, buyer: Option<&Buyer>) -> Self {
        let likely = &estimate.likely;
        Self {
            basis: QuoteBasis::of(likely, buyer),
            worst_case: WorstCase {
                usage: by_meter(&estimate.ceiling),
                total: MoneyDto::of(estimate.held, likely.charge.currency),
                explanation: words::worst(estimate),
            },
            likely_case: LikelyCase {
                case: QuoteCase::of(likely),
                explanation: words::likely(estimate),
            },
        }
    }
}

fn by_meter(usage: &Usage) -> Map<String, Value> {
    let meters = usage.iter();
    let meters = meters.map(|(meter, quantity)| (meter.name().to_owned(), quantity.into()));
    meters.collect()
}

/// Ask what a call would cost
///
/// Of a `usage`, the lines and the total; of a `request` as it would be sent to
/// `/v1/chat/completions` or `/v1/embeddings`, what would be set aside for it and what it will likely
/// cost. With a session or an API key at the account's price and from where it stands in tiers, else
/// at the price that everybody pays. Nothing is sent, held or charged.
#[utoipa::path(
    post, path = "/api/v1/prices/quote", operation_id = "quote", tag = "prices",
    request_body = NewQuoteBody,
    params(AccountParam),
    responses(
        (status = 200, description = "What it would cost", body = QuoteDto),
        (status = 400, description = "The body is not JSON", body = Problem,
            content_type = "application/problem+json"),
        (status = 401, description = "The API key is not valid, or `account` is asked for by nobody",
            body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "From another site's page", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong, or the model has no price for it",
            body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("session" = []), ("api_key" = [])),
)]
pub(crate) async fn quote(
    asking: Asking,
    query: Query<AsAccount>,
    body: Body<NewQuote>,
    prices: web::Data<PriceList>,
) -> Result<web::Json<QuoteDto>, ApiError> {
    let account: Option<AccountId> = query.0.0;
    let buyer = asking.buyer(account).await?;
    let quoted = match body.0 {
        NewQuote::Usage(asked) => {
            let quote = prices.quote(buyer, *asked).await;
            let quote = quote.map_err(|error| asked::refusal(error, "/usage"))?;
            QuoteDto::Usage(UsageQuote {
                basis: QuoteBasis::of(&quote, buyer.as_ref()),
                case: QuoteCase::of(&quote),
            })
        }
        NewQuote::Request(asked) => {
            let estimate = prices.estimate(buyer, asked).await;
            let estimate = estimate.map_err(|error| asked::refusal(error, "/request"))?;
            QuoteDto::Request(RequestQuote::of(&estimate, buyer.as_ref()))
        }
    };
    Ok(web::Json(quoted))
}
