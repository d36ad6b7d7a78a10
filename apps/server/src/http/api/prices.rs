//! What a model costs and has cost.

use actix_web::web;
use billing_core::id::PriceVersionId;
use billing_core::money::Currency;
use billing_core::port::clock::Clock;
use billing_core::port::directory::User;
use billing_core::price::PriceVersion;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::SignedIn;
use super::error::{ApiError, FieldError, Problem};
use super::extract::Query;
use super::wire::{Page, PageOf, PageParams, instant};
use crate::gate::Prices;
use crate::http::rates::RateDto;
use crate::price_list::{ListedVersion, versions};

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
    /// What each class of consumption costs everybody, as the version was sold last.
    rates: Vec<RateDto>,
    /// What the house pays where that is something else; for operators alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Vec<RateDto>>,
}

impl PriceVersionDto {
    /// A version as everybody pays it. What it costs the house is for operators.
    fn of(listed: &ListedVersion, user: &User) -> Self {
        let ListedVersion { cost, price, .. } = listed;
        let rates = |price: &PriceVersion| RateDto::all_of(price);
        let paid = rates(cost);
        let asked = price.as_deref().map(rates).unwrap_or_default();
        Self {
            id: cost.id().to_string(),
            model: cost.model().to_string(),
            effective_from: instant(cost.effective_from()),
            in_effect: listed.in_effect,
            currency: price.as_ref().unwrap_or(cost).currency(),
            cost: Some(paid).filter(|paid| user.operator && *paid != asked),
            rates: asked,
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
    SignedIn(user): SignedIn,
    page: Query<PageOf<PriceVersionId>>,
    prices: web::Data<Prices>,
    clock: web::Data<dyn Clock>,
) -> Result<web::Json<Page<PriceVersionDto>>, ApiError> {
    let book = prices.book();
    let model = book.get(&path).ok_or(ApiError::NotFound("model"))?;
    let page = page.0;
    let mut versions = versions(&prices, &book, model, clock.now()).into_iter();
    if let Some(cursor) = page.cursor {
        versions
            .find(|version| version.cost.id() == cursor)
            .ok_or_else(unknown_cursor)?;
    }
    let fetched = usize::try_from(page.fetch()).unwrap_or(usize::MAX);
    Ok(page.answer(
        versions.take(fetched).collect(),
        |version| version.cost.id(),
        |version| PriceVersionDto::of(&version, &user),
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
