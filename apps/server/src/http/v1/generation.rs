//! One call on record, in OpenRouter's shape, with its receipt.

use actix_web::{HttpRequest, HttpResponse, web};
use billing_core::id::CallId;
use billing_core::meter::Meter;
use billing_core::money::{Currency, Nanos};
use billing_core::port::clock::Clock;
use billing_core::port::reports::{CallDetail, ReportError, Reports};
use billing_core::price_book::PriceBook;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::error::V1Error;
use crate::gate::{Callers, Prices};
use crate::http::api::wire::instant;
use crate::http::caller::identify;
use crate::http::receipt::{Later, Receipt};

/// A JSON number with the exact digits of an amount, where clients look for a number.
pub(super) fn number(amount: Nanos) -> Option<Box<RawValue>> {
    RawValue::from_string(amount.to_string()).ok()
}

/// What the reports cannot say is on the log, not on the wire.
pub(super) fn away(error: &ReportError) -> V1Error {
    tracing::error!(%error, "a report could not be read");
    V1Error::StoreAway
}

/// A call on record.
#[derive(Serialize, ToSchema)]
pub(crate) struct GenerationReply {
    data: Generation,
}

/// A call on record, as OpenRouter shapes it.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "OpenRouter's names")]
pub(crate) struct Generation {
    /// The call; also its `x-request-id`.
    #[schema(example = "req_0001fv5kz4y00")]
    id: String,
    /// The provider's own id of the answer.
    upstream_id: Option<String>,
    /// The call.
    request_id: String,
    /// What was charged, with its exact digits.
    #[schema(value_type = f64, example = 0.00321)]
    total_cost: Option<Box<RawValue>>,
    /// The same.
    #[schema(value_type = f64, example = 0.00321)]
    usage: Option<Box<RawValue>>,
    /// The same, in nanos of the currency.
    cost_nanos: i64,
    /// The currency of the charge.
    #[schema(value_type = String, example = "USD")]
    currency: Currency,
    cache_discount: Option<f64>,
    upstream_inference_cost: Option<f64>,
    /// The model that was asked for.
    #[schema(example = "sim/echo")]
    model: String,
    /// The channel that answered.
    provider_name: Option<String>,
    /// Whether it was streamed.
    streamed: bool,
    /// Whether the client left before the end.
    cancelled: bool,
    /// Milliseconds until the first byte of the answer left.
    latency: u32,
    /// Milliseconds from there to the end.
    generation_time: u32,
    tokens_prompt: u64,
    tokens_completion: u64,
    native_tokens_prompt: u64,
    native_tokens_completion: u64,
    native_tokens_reasoning: u64,
    native_tokens_cached: u64,
    num_search_results: Option<u64>,
    is_byok: bool,
    finish_reason: Option<String>,
    native_finish_reason: Option<String>,
    #[schema(example = "standard")]
    service_tier: &'static str,
    #[schema(format = DateTime)]
    created_at: String,
    /// How the charge follows from the usage.
    receipt: Receipt,
}

impl Generation {
    fn of(call: CallDetail, later: &Later, book: &PriceBook, currency: Currency) -> Self {
        let receipt = Receipt::of(&call, later, book, currency);
        let latency = call.first_byte_ms.unwrap_or(call.latency_ms);
        let (prompt, answer) = (call.usage.prompt_tokens(), call.usage.answer_tokens());
        Self {
            id: call.id.to_string(),
            upstream_id: call.upstream_id,
            request_id: call.id.to_string(),
            total_cost: number(call.charge),
            usage: number(call.charge),
            cost_nanos: call.charge.get(),
            currency,
            cache_discount: None,
            upstream_inference_cost: None,
            model: call.model,
            provider_name: Some(call.channel).filter(|c| !c.is_empty()),
            streamed: call.streamed,
            cancelled: call.outcome.starts_with("client_gone"),
            latency,
            generation_time: call.latency_ms.saturating_sub(latency),
            tokens_prompt: prompt,
            tokens_completion: answer,
            native_tokens_prompt: prompt,
            native_tokens_completion: answer,
            native_tokens_reasoning: call.usage.get(Meter::Reasoning),
            native_tokens_cached: call.usage.get(Meter::CacheRead),
            num_search_results: None,
            is_byok: false,
            native_finish_reason: call.finish_reason.clone(),
            finish_reason: call.finish_reason,
            service_tier: call.tier.name(),
            created_at: instant(call.started_at),
            receipt,
        }
    }
}

/// Which call.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct GenerationQuery {
    /// The `x-request-id` of the call.
    #[param(required = true)]
    id: Option<String>,
}

/// Read the receipt of a call
///
/// A call is found from the moment its charge is durable, which is before its client has the last
/// byte.
#[utoipa::path(
    get, path = "/v1/generation", operation_id = "read_generation", tag = "key",
    params(GenerationQuery),
    responses(
        (status = 200, description = "The call", body = GenerationReply),
        (status = 400, description = "`id` is missing"),
        (status = 401, description = "The key is missing or not valid"),
        (status = 403, description = "The account is suspended"),
        (status = 404, description = "The key's account made no such call"),
        (status = 503, description = "The books cannot be reached"),
    ),
    security(("api_key" = [])),
)]
pub(crate) async fn generation(
    request: HttpRequest,
    callers: web::Data<Callers>,
    reports: web::Data<dyn Reports>,
    prices: web::Data<Prices>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, V1Error> {
    let caller = identify(&request, &callers, &**clock).await?;
    let query = web::Query::<GenerationQuery>::from_query(request.query_string());
    let id = query
        .ok()
        .and_then(|q| q.into_inner().id)
        .filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| V1Error::BadParameter("id", "it is required".to_owned()))?;
    let unknown = V1Error::NotFound("generation");
    let id: CallId = id.parse().map_err(|_| unknown.clone())?;
    let call = reports
        .call(caller.key.account, id)
        .await
        .map_err(|e| away(&e))?;
    let call = call.ok_or(unknown)?;
    let later = Later::of(&**reports, &call).await.map_err(|e| away(&e))?;
    let data = Generation::of(call, &later, &prices.book(), caller.currency);
    Ok(HttpResponse::Ok().json(GenerationReply { data }))
}
