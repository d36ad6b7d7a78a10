//! Calls on record, and their receipts.

use actix_web::web;
use billing_core::id::{AccountId, CallId};
use billing_core::money::Currency;
use billing_core::port::directory::{Directory, Role};
use billing_core::port::reports::{AdjustmentLine, CallDetail, CallFilter, Reports};
use billing_core::price_book::PriceBook;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::access::{self, SignedIn};
use super::error::{ApiError, Problem};
use super::extract::Query;
use super::fields::{Fields, FromFields, Noted};
use super::wire::{MoneyDto, Page, PageOf, PageParams, instant};
use crate::gate::Prices;
use crate::http::receipt::{Later, Receipt, net};

/// A call on record.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CallDto {
    /// The call; also its `x-request-id`.
    #[schema(example = "req_0001fv5kz4y00")]
    id: String,
    /// The key it was made with.
    key: String,
    /// The endpoint.
    #[schema(example = "chat.completions")]
    endpoint: String,
    /// The model that was asked for.
    #[schema(example = "sim/echo")]
    model: String,
    /// The channel that answered; null when none did.
    channel: Option<String>,
    /// How it ended.
    #[schema(example = "completed")]
    outcome: String,
    /// Whether it was streamed.
    streamed: bool,
    /// The HTTP status that the caller got.
    status: u16,
    /// Prompt tokens, cached ones included.
    prompt_tokens: u64,
    /// Answer tokens, reasoning included.
    answer_tokens: u64,
    /// `provider`, `estimated`, or null when nothing was delivered.
    source: Option<&'static str>,
    /// Whether the reported usage was not believed, so that the hold was charged.
    quarantined: bool,
    /// What the account paid.
    charge: MoneyDto,
    /// The charge with later corrections; each of them is on the receipt.
    net_charge: MoneyDto,
    /// The balance after it.
    balance_after: MoneyDto,
    /// When it came in.
    #[schema(format = DateTime)]
    started_at: String,
    /// Milliseconds until the first byte of the answer left.
    first_byte_ms: Option<u32>,
    /// Milliseconds until the upstream's answer was over.
    latency_ms: u32,
    /// What the house paid and kept; for operators alone.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    house: Option<HouseDto>,
}

/// What the house paid for a call, and what is left of the charge. Operators alone are shown it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HouseDto {
    /// What the providers are due; null where it is not known.
    cost: Option<MoneyDto>,
    /// The charge less the cost; null where the cost is not known, or in another currency.
    margin: Option<MoneyDto>,
}

impl HouseDto {
    /// What an operator is shown of a call.
    fn of(call: &CallDetail, book: &PriceBook, currency: Currency) -> Self {
        let paid_in = if call.rating.rule.is_none() {
            currency
        } else {
            let version = book.version(&call.model, call.price_version);
            version.map_or(currency, |version| version.currency())
        };
        let margin = call.cost.filter(|_| paid_in == currency);
        let margin = margin.and_then(|cost| call.charge.minus(cost).ok());
        Self {
            cost: call.cost.map(|cost| MoneyDto::of(cost, paid_in)),
            margin: margin.map(|margin| MoneyDto::of(margin, currency)),
        }
    }
}

/// The receipt of a call.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CallReceipt {
    #[serde(flatten)]
    receipt: Receipt,
    /// What the house paid and kept; for operators alone.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    house: Option<HouseDto>,
}

impl CallDto {
    fn of(
        call: CallDetail,
        corrections: &[AdjustmentLine],
        house: Option<HouseDto>,
        currency: Currency,
    ) -> Self {
        Self {
            id: call.id.to_string(),
            key: call.key.to_string(),
            endpoint: call.endpoint,
            model: call.model,
            channel: Some(call.channel).filter(|c| !c.is_empty()),
            outcome: call.outcome,
            streamed: call.streamed,
            status: call.status,
            prompt_tokens: call.usage.prompt_tokens(),
            answer_tokens: call.usage.answer_tokens(),
            source: call.source.map(billing_core::call::UsageSource::name),
            quarantined: call.quarantined,
            charge: MoneyDto::of(call.charge, currency),
            net_charge: MoneyDto::of(net(call.charge, corrections), currency),
            balance_after: MoneyDto::of(call.balance_after, currency),
            started_at: instant(call.started_at),
            first_byte_ms: call.first_byte_ms,
            latency_ms: call.latency_ms,
            house,
        }
    }
}

/// Which calls.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters that CallsOf reads")]
pub(crate) struct CallParams {
    /// Made with this key.
    key: Option<String>,
    /// Of this model.
    model: Option<String>,
    /// That came in at or after this time.
    #[param(format = DateTime)]
    from: Option<String>,
    /// That came in before this time.
    #[param(format = DateTime)]
    to: Option<String>,
}

/// A page of the calls that fit a filter.
#[derive(Debug)]
pub(crate) struct CallsOf {
    page: PageOf<CallId>,
    filter: CallFilter,
}

impl FromFields for CallsOf {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let page = PageOf::read(fields);
        let key = fields.id("key");
        let model = fields.text("model", 1, 200);
        let (from, to) = period(fields)?;
        let filter = CallFilter {
            key: key?,
            model: model?,
            from,
            to,
        };
        Ok(Self {
            page: page?,
            filter,
        })
    }
}

/// A half-open period; its end must not be before its start.
pub(crate) fn period(
    fields: &mut Fields,
) -> Result<(Option<OffsetDateTime>, Option<OffsetDateTime>), Noted> {
    let from = fields.instant("from");
    let to = fields.instant("to");
    let (from, to) = (from?, to?);
    if from.zip(to).is_some_and(|(from, to)| to <= from) {
        return fields.wrong("to", "before_from", "to must be after from.");
    }
    Ok((from, to))
}

/// List the calls of an account
///
/// Newest first.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/calls", operation_id = "list_calls", tag = "calls",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        CallParams, PageParams,
    ),
    responses(
        (status = 200, description = "A page of calls", body = Page<CallDto>),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A parameter is wrong", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn list(
    path: web::Path<AccountId>,
    SignedIn(user): SignedIn,
    query: Query<CallsOf>,
    directory: web::Data<dyn Directory>,
    reports: web::Data<dyn Reports>,
    prices: web::Data<Prices>,
) -> Result<web::Json<Page<CallDto>>, ApiError> {
    let account = access::account(&**directory, &user, path.into_inner(), Role::Member).await?;
    let CallsOf { page, filter } = query.0;
    let calls = reports
        .calls(account.id, filter, page.cursor, page.fetch())
        .await?;
    let ids: Vec<CallId> = calls.iter().map(|call| call.id).collect();
    let corrected = reports.call_adjustments(account.id, &ids).await?;
    let (book, currency) = (prices.book(), account.currency);
    let render = |call: CallDetail| {
        let house = user.operator.then(|| HouseDto::of(&call, &book, currency));
        let corrections = corrected.get(&call.id).map_or(&[][..], Vec::as_slice);
        CallDto::of(call, corrections, house, currency)
    };
    Ok(page.answer(calls, |c| c.id, render))
}

/// Read the receipt of a call
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/calls/{call}", operation_id = "read_call",
    tag = "calls", params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        ("call" = String, Path, description = "The call", example = "req_0001fv5kz4y00"),
    ),
    responses(
        (status = 200, description = "The receipt", body = CallReceipt),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account or call", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn read(
    path: web::Path<(AccountId, CallId)>,
    SignedIn(user): SignedIn,
    directory: web::Data<dyn Directory>,
    reports: web::Data<dyn Reports>,
    prices: web::Data<Prices>,
) -> Result<web::Json<CallReceipt>, ApiError> {
    let (id, call) = path.into_inner();
    let account = access::account(&**directory, &user, id, Role::Member).await?;
    let call = reports
        .call(account.id, call)
        .await?
        .ok_or(ApiError::NotFound("call"))?;
    let (book, currency) = (prices.book(), account.currency);
    let house = user.operator.then(|| HouseDto::of(&call, &book, currency));
    let later = Later::of(&**reports, &call).await?;
    let receipt = Receipt::of(&call, &later, &book, currency);
    Ok(web::Json(CallReceipt { receipt, house }))
}
