//! What models cost: for everybody to see, and for whoever is signed in with the own price.

use actix_web::web;
use billing_core::charge_model::Percent;
use billing_core::id::AccountId;
use billing_core::money::Currency;
use serde::Serialize;
use utoipa::ToSchema;

use super::asking::Asking;
use super::error::{ApiError, Problem};
use super::extract::Query;
use super::fields::{Fields, FromFields, Noted};
use super::wire::{Page, PageOf, PageParams, instant};
use crate::http::rates::RateDto;
use crate::http::tiers::{StandingDto, TierScheduleDto};
use crate::http::v1::models::ServedModels;
use crate::price_list::{Entry, Listing, ModelFilter, OwnListing, PriceList, Priced};

/// A model and what it costs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelPriceDto {
    /// What calls name it by.
    #[schema(example = "sim/echo")]
    model: String,
    /// Who serves it.
    #[schema(example = "simulated")]
    provider: String,
    /// What it does: `chat`, `embedding`, …
    #[schema(example = "chat")]
    mode: String,
    /// The largest prompt, in tokens.
    max_input_tokens: Option<u64>,
    /// The longest answer, in tokens.
    max_output_tokens: Option<u64>,
    /// Whether a channel serves it, so that it can be called.
    available: bool,
    /// What everybody pays now; null where it has no price yet.
    price: Option<PriceDto>,
    /// What everybody pays from the next change on that is scheduled.
    next: Option<PriceDto>,
    /// What the account pays for which it is asked; left out where none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    yours: Option<OwnPriceDto>,
}

/// What a model costs from an instant on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PriceDto {
    /// The price version; receipts name it.
    #[schema(example = "prv_0001fv5kz4y00")]
    version: String,
    /// From when on it is asked.
    #[schema(format = DateTime)]
    effective_from: String,
    /// The currency of the rates.
    #[schema(value_type = String, example = "USD")]
    currency: Currency,
    /// What each class of consumption costs: ordinary rates first, then those under conditions. A
    /// class without a rate of its own costs what its parent does (`cache_read`: `input`,
    /// `reasoning`: `output`, …).
    rates: Vec<RateDto>,
    /// How it falls with use; null where it does not.
    tiers: Option<TierScheduleDto>,
}

/// What a model costs one account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OwnPriceDto {
    /// The account.
    #[schema(example = "acc_0001fv5kz4y00")]
    account: String,
    /// The sale rule that sets the price; null where it is the catalogue's.
    #[schema(example = "sal_0001fv5kz4y00")]
    rule: Option<String>,
    /// How many percent the account's plan takes off, which the price below is without; left out
    /// where that is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "20")]
    discount: Option<Percent>,
    /// What the account pays now.
    price: Option<PriceDto>,
    /// What it pays from the next change on that is scheduled.
    next: Option<PriceDto>,
    /// Where the account stands in the tiers now; null where none apply.
    standing: Option<StandingDto>,
}

impl PriceDto {
    fn of(priced: &Priced) -> Self {
        let price = &priced.terms.price;
        let tiers = priced.tiers.as_deref();
        Self {
            version: price.id().to_string(),
            effective_from: instant(priced.since),
            currency: price.currency(),
            rates: RateDto::all_of(price),
            tiers: tiers.and_then(TierScheduleDto::of),
        }
    }

    fn both(listing: &Listing) -> (Option<Self>, Option<Self>) {
        let Listing { present, next } = listing;
        (present.as_ref().map(Self::of), next.as_ref().map(Self::of))
    }
}

impl OwnPriceDto {
    fn of(own: &OwnListing) -> Self {
        let (price, next) = PriceDto::both(&own.listing);
        let present = own.listing.present.as_ref();
        let rule = present.and_then(|present| present.rule.as_ref());
        Self {
            account: own.buyer.account.to_string(),
            rule: rule.map(|rule| rule.id.to_string()),
            discount: own.buyer.discount,
            price,
            next,
            standing: own.standing.as_ref().map(StandingDto::of),
        }
    }
}

impl ModelPriceDto {
    fn of(entry: &Entry, served: &dyn ServedModels) -> Self {
        let Entry { model, .. } = entry;
        let (price, next) = PriceDto::both(&entry.everybody);
        Self {
            model: model.name.to_string(),
            provider: model.facts.provider.clone(),
            mode: model.facts.mode.clone(),
            max_input_tokens: model.facts.max_input_tokens,
            max_output_tokens: model.facts.max_output_tokens,
            available: served.serves(model.name.as_str()),
            price,
            next,
            yours: entry.own.as_ref().map(OwnPriceDto::of),
        }
    }
}

/// Which models.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters that PricesOf reads")]
pub(crate) struct PriceParams {
    /// Served by this provider.
    provider: Option<String>,
    /// That do this: `chat`, `embedding`, …
    mode: Option<String>,
    /// Whose names begin so, in whatever case.
    prefix: Option<String>,
}

/// A page of the models that fit a filter, as an account sees it.
#[derive(Debug)]
pub(crate) struct PricesOf {
    page: PageOf<String>,
    filter: ModelFilter,
    account: Option<AccountId>,
}

impl FromFields for PricesOf {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let page = PageOf::read(fields);
        let account = fields.id("account");
        let provider = fields.text("provider", 1, 200);
        let mode = fields.text("mode", 1, 200);
        let prefix = fields.text("prefix", 1, 300);
        let filter = ModelFilter {
            provider: provider?,
            mode: mode?,
            prefix: prefix?,
        };
        Ok(Self {
            page: page?,
            filter,
            account: account?,
        })
    }
}

/// For which account.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameter that AsAccount reads")]
pub(crate) struct AccountParam {
    /// For which account of the user; left out, the only one of the user, or the key's.
    account: Option<String>,
}

/// For which account.
#[derive(Debug)]
pub(crate) struct AsAccount(pub(crate) Option<AccountId>);

impl FromFields for AsAccount {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        fields.id("account").map(Self)
    }
}

/// List what the models cost
///
/// What everybody pays now and from the next change on; no sign-in is needed. With a session or an
/// API key also what the account pays, and where it stands in tiers. By name.
#[utoipa::path(
    get, path = "/api/v1/prices", operation_id = "list_model_prices", tag = "prices",
    params(PriceParams, AccountParam, PageParams),
    responses(
        (status = 200, description = "A page of models", body = Page<ModelPriceDto>),
        (status = 401, description = "The API key is not valid, or `account` is asked for by nobody",
            body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A parameter is wrong", body = Problem,
            content_type = "application/problem+json"),
    ),
    security((), ("session" = []), ("api_key" = [])),
)]
pub(crate) async fn list(
    asking: Asking,
    query: Query<PricesOf>,
    prices: web::Data<PriceList>,
    served: web::Data<dyn ServedModels>,
) -> Result<web::Json<Page<ModelPriceDto>>, ApiError> {
    let PricesOf {
        page,
        filter,
        account,
    } = query.0;
    let buyer = asking.buyer(account).await?;
    let fetched = usize::try_from(page.fetch()).unwrap_or(usize::MAX);
    let after = page.cursor.as_deref();
    let entries = prices.page(buyer, &filter, after, fetched).await?;
    Ok(page.answer(
        entries,
        |entry| entry.model.name.to_string(),
        |entry| ModelPriceDto::of(&entry, &**served),
    ))
}

/// Read what a model costs
///
/// As in the list.
#[utoipa::path(
    get, path = "/api/v1/prices/{model}", operation_id = "read_model_price", tag = "prices",
    params(
        ("model" = String, Path, description = "Its name, slashes and all", example = "sim/echo"),
        AccountParam,
    ),
    responses(
        (status = 200, description = "The model and its prices", body = ModelPriceDto),
        (status = 401, description = "The API key is not valid, or `account` is asked for by nobody",
            body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such model or account", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A parameter is wrong", body = Problem,
            content_type = "application/problem+json"),
    ),
    security((), ("session" = []), ("api_key" = [])),
)]
pub(crate) async fn one(
    model: web::Path<String>,
    asking: Asking,
    query: Query<AsAccount>,
    prices: web::Data<PriceList>,
    served: web::Data<dyn ServedModels>,
) -> Result<web::Json<ModelPriceDto>, ApiError> {
    let buyer = asking.buyer(query.0.0).await?;
    let entry = prices.one(buyer, &model).await?;
    let entry = entry.ok_or(ApiError::NotFound("model"))?;
    Ok(web::Json(ModelPriceDto::of(&entry, &**served)))
}

/// The model `quote`, whose address is also the one at which quotes are made.
pub(crate) async fn one_called_quote(
    asking: Asking,
    query: Query<AsAccount>,
    prices: web::Data<PriceList>,
    served: web::Data<dyn ServedModels>,
) -> Result<web::Json<ModelPriceDto>, ApiError> {
    let name = web::Path::from("quote".to_owned());
    one(name, asking, query, prices, served).await
}
