//! What a model costs and has cost.

use actix_web::web;
use billing_core::id::PriceVersionId;
use billing_core::money::Currency;
use billing_core::port::clock::Clock;
use billing_core::price::{PriceVersion, Rate, When};
use serde::Serialize;
use utoipa::ToSchema;

use super::access::SignedIn;
use super::error::{ApiError, FieldError, Problem};
use super::extract::Query;
use super::wire::{Page, PageOf, PageParams, instant};
use crate::gate::Prices;
use crate::http::receipt::LinePrice;

/// A price version: what a model costs from an instant on. It never changes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PriceVersionDto {
    /// Its id; receipts name it.
    #[schema(example = "prv_0001fv5kz4y00")]
    id: String,
    /// The model.
    #[schema(example = "sim/echo")]
    model: String,
    /// From when on it holds, until the next one does.
    #[schema(format = DateTime)]
    effective_from: String,
    /// Whether calls that come in now are rated with it.
    in_effect: bool,
    /// The currency of the prices.
    #[schema(value_type = String, example = "USD")]
    currency: Currency,
    /// What each class of consumption costs.
    rates: Vec<RateDto>,
}

/// What a class of consumption costs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RateDto {
    /// What is priced.
    #[schema(example = "input")]
    meter: &'static str,
    /// The service tier that the price is for.
    #[schema(example = "standard")]
    tier: &'static str,
    /// The prompt size, in tokens, above which this price applies to the whole call.
    above_prompt_tokens: Option<u64>,
    /// Whether a prompt of exactly that size is above it.
    above_inclusive: bool,
    /// The condition under which this price stands in the place of the ordinary one; null for that.
    #[schema(example = "region=eu")]
    condition: Option<String>,
    /// What it costs.
    price: LinePrice,
}

impl RateDto {
    fn of(rate: &Rate, when: Option<&When>) -> Self {
        Self {
            meter: rate.meter.name(),
            tier: rate.tier.name(),
            above_prompt_tokens: rate.above.map(|above| above.prompt_tokens),
            above_inclusive: rate.above.is_some_and(|above| above.inclusive),
            condition: when.map(ToString::to_string),
            price: LinePrice::of(rate.meter.unit(), rate.price),
        }
    }
}

impl PriceVersionDto {
    fn of(version: &PriceVersion, in_effect: Option<PriceVersionId>) -> Self {
        let plain = version.rates().iter().map(|rate| RateDto::of(rate, None));
        let varied = version.variants().iter().flat_map(|variant| {
            let rates = variant.rates.iter();
            rates.map(|rate| RateDto::of(rate, Some(&variant.when)))
        });
        Self {
            id: version.id().to_string(),
            model: version.model().to_string(),
            effective_from: instant(version.effective_from()),
            in_effect: in_effect == Some(version.id()),
            currency: version.currency(),
            rates: plain.chain(varied).collect(),
        }
    }
}

/// List the price versions of a model
///
/// Newest first; one that takes effect later stands before the one that holds now.
#[utoipa::path(
    get, path = "/api/v1/models/{model}/prices", operation_id = "list_prices", tag = "models",
    params(
        ("model" = String, Path, description = "Its name, slashes and all", example = "sim/echo"),
        PageParams,
    ),
    responses(
        (status = 200, description = "A page of price versions", body = Page<PriceVersionDto>),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such model", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A parameter is wrong", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn list(
    path: web::Path<String>,
    _: SignedIn,
    page: Query<PageOf<PriceVersionId>>,
    prices: web::Data<Prices>,
    clock: web::Data<dyn Clock>,
) -> Result<web::Json<Page<PriceVersionDto>>, ApiError> {
    let book = prices.book();
    let model = book.get(&path).ok_or(ApiError::NotFound("model"))?;
    let page = page.0;
    let mut versions = model.versions().iter().rev();
    if let Some(cursor) = page.cursor {
        versions
            .find(|version| version.id() == cursor)
            .ok_or_else(unknown_cursor)?;
    }
    let fetched = usize::try_from(page.fetch()).unwrap_or(usize::MAX);
    let in_effect = model.version_at(clock.now()).map(|version| version.id());
    Ok(page.answer(
        versions.take(fetched).collect(),
        |version| version.id(),
        |version| PriceVersionDto::of(version, in_effect),
    ))
}

/// Versions are never removed, so a cursor that was handed out stays good.
fn unknown_cursor() -> ApiError {
    ApiError::Invalid(vec![FieldError {
        pointer: None,
        parameter: Some("cursor".to_owned()),
        code: "unknown_value".to_owned(),
        detail: "cursor is no price version of this model.".to_owned(),
    }])
}
