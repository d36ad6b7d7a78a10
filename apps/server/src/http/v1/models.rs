//! What can be called here, and what it costs.

use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse, web};
use billing_core::meter::Meter;
use billing_core::money::Currency;
use billing_core::port::clock::Clock;
use billing_core::port::directory::Caller;
use billing_core::price::{ContextThreshold, PriceVersion, Rate, ServiceTier, Variant};
use billing_core::price_book::{PriceBook, PricedModel, Unpriced};
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::error::V1Error;
use crate::gate::{Callers, Prices};
use crate::http::api::wire::{has_tag, tag_of};
use crate::http::caller::identify;

/// Which models some channel serves. It must not change while the process runs.
pub(crate) trait ServedModels: Send + Sync + Debug {
    /// Whether a call of this model would find a channel.
    fn serves(&self, model: &str) -> bool;
}

/// OpenRouter's name of a price, and the meter that it is the price of.
const PRICES: [(&str, Meter); 16] = [
    ("prompt", Meter::Input),
    ("completion", Meter::Output),
    ("request", Meter::Request),
    ("image", Meter::InputImage),
    ("image_token", Meter::ImageInput),
    ("image_output", Meter::ImageOutput),
    ("audio", Meter::AudioInput),
    ("audio_output", Meter::AudioOutput),
    ("input_audio_cache", Meter::AudioCacheRead),
    ("web_search", Meter::Search),
    ("internal_reasoning", Meter::Reasoning),
    ("input_cache_read", Meter::CacheRead),
    ("input_cache_write", Meter::CacheWrite5m),
    ("input_cache_write_1h", Meter::CacheWrite1h),
    ("image_made", Meter::OutputImage),
    ("page", Meter::Page),
];

/// A list of models.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelList<'a> {
    #[schema(example = "list")]
    object: &'static str,
    /// By name.
    data: Vec<Model<'a>>,
}

/// A model, as OpenAI shapes it, with what OpenRouter adds.
#[derive(Serialize, ToSchema)]
pub(crate) struct Model<'a> {
    /// What calls name it by.
    #[schema(example = "sim/echo")]
    id: &'a str,
    #[schema(example = "model")]
    object: &'static str,
    /// Since when it has a price, in Unix seconds.
    created: i64,
    /// Who serves it.
    #[schema(example = "simulated")]
    owned_by: &'a str,
    /// For people.
    name: &'a str,
    /// What it does: `chat`, `embedding`, …
    mode: &'a str,
    /// The largest prompt, in tokens.
    context_length: Option<u64>,
    top_provider: TopProvider,
    /// What one token, image, request … costs, as exact decimal text. A price that is missing is
    /// unknown, not zero. `overrides` holds the prices of long prompts, `service_tiers` those of
    /// other tiers, `conditions` those that stand in their place `when` something holds of the
    /// call: `region=eu`, `during UTC mon-fri 22:00-06:00`.
    #[schema(value_type = Object, example = json!({
        "prompt": "0.000001", "completion": "0.000004", "input_cache_read": "0.0000001"
    }))]
    pricing: Map<String, Value>,
    /// The currency of the prices.
    #[schema(value_type = String, example = "USD")]
    currency: Currency,
    /// The price version that holds now.
    #[schema(example = "prv_0001fv5kz4y00")]
    price_version: String,
}

/// Bounds of a model.
#[derive(Serialize, ToSchema)]
pub(crate) struct TopProvider {
    /// The largest prompt, in tokens.
    context_length: Option<u64>,
    /// The longest answer, in tokens.
    max_completion_tokens: Option<u64>,
}

impl<'a> Model<'a> {
    fn of(model: &'a PricedModel, version: &'a PriceVersion) -> Self {
        let since = model
            .versions()
            .first()
            .map_or(0, |v| v.effective_from().unix_timestamp());
        let context_length = model.facts.max_input_tokens;
        Self {
            id: model.name.as_str(),
            object: "model",
            created: since,
            owned_by: &model.facts.provider,
            name: model.name.as_str(),
            mode: &model.facts.mode,
            context_length,
            top_provider: TopProvider {
                context_length,
                max_completion_tokens: model.facts.max_output_tokens,
            },
            pricing: pricing(version.rates(), version.variants()),
            currency: version.currency(),
            price_version: version.id().to_string(),
        }
    }
}

fn pricing(rates: &[Rate], variants: &[Variant]) -> Map<String, Value> {
    let mut pricing = prices(rates, ServiceTier::Standard, None);
    let mut above: Vec<ContextThreshold> = rates.iter().filter_map(|r| r.above).collect();
    above.sort_unstable();
    above.dedup();
    let overrides: Vec<Value> = above
        .into_iter()
        .map(|above| {
            let mut prices = prices(rates, ServiceTier::Standard, Some(above));
            // OpenRouter's bound is strict; one that includes its own size begins a token earlier.
            let tokens = above
                .prompt_tokens
                .saturating_sub(u64::from(above.inclusive));
            prices.insert("min_prompt_tokens".to_owned(), tokens.into());
            Value::Object(prices)
        })
        .collect();
    if !overrides.is_empty() {
        pricing.insert("overrides".to_owned(), overrides.into());
    }
    let tiers: Map<String, Value> = ServiceTier::ALL
        .iter()
        .filter(|tier| **tier != ServiceTier::Standard)
        .map(|tier| (tier.name().to_owned(), prices(rates, *tier, None)))
        .filter(|(_, prices)| !prices.is_empty())
        .map(|(name, prices)| (name, Value::Object(prices)))
        .collect();
    if !tiers.is_empty() {
        pricing.insert("service_tiers".to_owned(), tiers.into());
    }
    let conditions: Vec<Value> = variants
        .iter()
        .map(|variant| {
            let mut prices = self::pricing(&variant.rates, &[]);
            prices.insert("when".to_owned(), variant.when.to_string().into());
            Value::Object(prices)
        })
        .collect();
    if !conditions.is_empty() {
        pricing.insert("conditions".to_owned(), conditions.into());
    }
    pricing
}

fn prices(
    rates: &[Rate],
    tier: ServiceTier,
    above: Option<ContextThreshold>,
) -> Map<String, Value> {
    let stated = |meter: Meter| {
        let mut rates = rates.iter();
        rates
            .find(|r| r.meter == meter && r.tier == tier && r.above == above)
            .map(|r| r.price)
    };
    PRICES
        .iter()
        .filter_map(|(name, meter)| Some((*name, stated(*meter)?)))
        .map(|(name, price)| {
            let text = if price.is_free() {
                "0".to_owned()
            } else {
                price.to_string()
            };
            (name.to_owned(), Value::String(text))
        })
        .collect()
}

/// The list for callers who may use every model, made once for each price book.
pub(crate) struct ModelCache(Mutex<Option<Cached>>);

struct Cached {
    /// Kept, so that no later book can have its address.
    book: Arc<PriceBook>,
    /// When a price takes effect that is in the book already.
    until: Option<OffsetDateTime>,
    body: web::Bytes,
    tag: String,
}

impl Debug for ModelCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ModelCache(…)")
    }
}

/// One for all worker threads.
static EVERY_MODEL: ModelCache = ModelCache(Mutex::new(None));

impl ModelCache {
    fn list(
        &self,
        book: &Arc<PriceBook>,
        served: &dyn ServedModels,
        now: OffsetDateTime,
    ) -> (web::Bytes, String) {
        // One thread makes the list; the others wait for it rather than make it too.
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = cached.as_ref().filter(|cached| {
            Arc::ptr_eq(&cached.book, book) && cached.until.is_none_or(|until| now < until)
        });
        if let Some(cached) = fresh {
            return (cached.body.clone(), cached.tag.clone());
        }
        let body = render(book, now, |model| served.serves(model));
        let tag = tag_of(&body);
        let versions = book.models().flat_map(PricedModel::versions);
        let until = versions
            .map(|v| v.effective_from())
            .filter(|from| *from > now)
            .min();
        *cached = Some(Cached {
            book: Arc::clone(book),
            until,
            body: body.clone(),
            tag: tag.clone(),
        });
        (body, tag)
    }
}

fn render(book: &PriceBook, now: OffsetDateTime, shown: impl Fn(&str) -> bool) -> web::Bytes {
    let data = book
        .models()
        .filter(|model| shown(model.name.as_str()))
        .filter_map(|model| Some(Model::of(model, model.version_at(now)?)))
        .collect();
    let list = ModelList {
        object: "list",
        data,
    };
    web::Bytes::from(serde_json::to_vec(&list).unwrap_or_default())
}

/// List the models
///
/// Those that have a price, that a channel serves, and that the key may use.
#[utoipa::path(
    get, path = "/v1/models", operation_id = "list_models", tag = "models",
    params(("If-None-Match" = Option<String>, Header, description = "The ETag of a list one has")),
    responses(
        (status = 200, description = "The models", body = ModelList<'_>,
            headers(("etag" = String, description = "Changes with the list"))),
        (status = 304, description = "The list has not changed"),
        (status = 401, description = "The key is missing or not valid"),
        (status = 403, description = "The account is suspended"),
    ),
    security(("api_key" = [])),
)]
pub(crate) async fn list(
    request: HttpRequest,
    callers: web::Data<Callers>,
    prices: web::Data<Prices>,
    served: web::Data<dyn ServedModels>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, V1Error> {
    let caller = identify(&request, &callers, &**clock).await?;
    let (book, now) = (prices.book(), clock.now());
    let (body, tag) = if caller.key.models.is_empty() {
        EVERY_MODEL.list(&book, &**served, now)
    } else {
        let body = render(&book, now, |m| caller.may_use(m) && served.serves(m));
        let tag = tag_of(&body);
        (body, tag)
    };
    let known = has_tag(request.headers(), IF_NONE_MATCH, &tag);
    let mut response = if known {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response
        .insert_header((ETAG, tag))
        .insert_header((CACHE_CONTROL, "private, no-cache"));
    if known {
        return Ok(response.finish());
    }
    Ok(response.content_type("application/json").body(body))
}

/// Read a model
#[utoipa::path(
    get, path = "/v1/models/{id}", operation_id = "read_model", tag = "models",
    params(("id" = String, Path, description = "Its name, slashes and all", example = "sim/echo")),
    responses(
        (status = 200, description = "The model", body = Model<'_>),
        (status = 401, description = "The key is missing or not valid"),
        (status = 403, description = "The key may not use it"),
        (status = 404, description = "There is none of that name"),
        (status = 503, description = "No channel serves it, or it has no price; as for a call"),
    ),
    security(("api_key" = [])),
)]
pub(crate) async fn one(
    request: HttpRequest,
    path: web::Path<String>,
    callers: web::Data<Callers>,
    prices: web::Data<Prices>,
    served: web::Data<dyn ServedModels>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, V1Error> {
    let caller: Arc<Caller> = identify(&request, &callers, &**clock).await?;
    let name = path.into_inner();
    if !caller.may_use(&name) {
        return Err(V1Error::ModelNotAllowed(name));
    }
    let book = prices.book();
    match book.resolve(&name, clock.now()) {
        Ok((model, version)) if served.serves(&name) => {
            Ok(HttpResponse::Ok().json(Model::of(model, version)))
        }
        // As a call of it would be answered.
        Ok(_) => Err(V1Error::NoChannel(name)),
        Err(Unpriced::NoPrice(_)) => Err(V1Error::Unpriced(name)),
        Err(Unpriced::Unknown(_)) => Err(V1Error::UnknownModel(name)),
    }
}
