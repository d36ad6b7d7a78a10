//! What can be called here, and what it costs.

mod pricing;

use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse, web};
use billing_core::id::TierScheduleId;
use billing_core::money::Currency;
use billing_core::port::clock::Clock;
use billing_core::port::directory::Caller;
use billing_core::price::{PriceVersion, Prospect};
use billing_core::price_book::{PriceBook, PricedModel, Unpriced};
use billing_core::reach::Buyer;
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

    /// What is known beforehand of such a call; `None` where it would find none.
    fn prospect(&self, model: &str) -> Option<Arc<Prospect>>;
}

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
    /// What one token, image, request … costs the key's account, tiers of use apart (`tier_schedule`), as
    /// exact decimal text. A price that is missing is unknown, not zero. `overrides` holds the prices of long
    /// prompts and of hours of every day, `service_tiers` those of other tiers, `conditions` those
    /// that stand in their place `when` something else holds of the call: `region=eu`, `during UTC
    /// mon-fri 22:00-06:00`.
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
    /// The schedule by which these prices fall with the account's use; left out where none does.
    /// `/api/v1/prices/{model}` says which tier is reached and how far the next one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "tis_0001fv5kz4y00")]
    tier_schedule: Option<String>,
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
    /// A model at the price that is asked for it.
    fn of(model: &'a PricedModel, (price, tiers): &Asked) -> Self {
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
            pricing: pricing::pricing(price),
            currency: price.currency(),
            price_version: price.id().to_string(),
            tier_schedule: tiers.map(|schedule| schedule.to_string()),
        }
    }
}

/// What is asked for a model, and the schedule by which that falls with use.
type Asked = (Arc<PriceVersion>, Option<TierScheduleId>);

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
        prices: &Prices,
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
        let offered = Offered {
            prices,
            book,
            buyer: None,
            now,
        };
        let body = offered.render(|model| served.serves(model));
        let tag = tag_of(&body);
        let versions = book.models().flat_map(PricedModel::versions);
        let versions = versions.map(|v| v.effective_from());
        let rules = book.sales().iter().map(|rule| rule.effective_from);
        let tiers = book.tiers().iter().map(|schedule| schedule.effective_from);
        let until = versions
            .chain(rules)
            .chain(tiers)
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

/// A book as a buyer sees it at an instant; as everybody does where nobody is named.
struct Offered<'a> {
    prices: &'a Prices,
    book: &'a PriceBook,
    buyer: Option<&'a Buyer>,
    now: OffsetDateTime,
}

impl Offered<'_> {
    fn render(&self, shown: impl Fn(&str) -> bool) -> web::Bytes {
        let models = self.book.models();
        let models = models.filter(|model| shown(model.name.as_str()));
        let data = models.filter_map(|model| {
            let price = self.price(model.name.as_str()).ok()?;
            Some(Model::of(model, &price))
        });
        let list = ModelList {
            object: "list",
            data: data.collect(),
        };
        web::Bytes::from(serde_json::to_vec(&list).unwrap_or_default())
    }

    /// What is asked for a model.
    fn price(&self, model: &str) -> Result<Asked, Unpriced> {
        let offer = self.book.offer(self.buyer, model, self.now)?;
        let sold = self.prices.sold(&offer).map_err(|error| {
            tracing::error!(model, %error, "a price cannot be listed");
            Unpriced::NoPrice(model.to_owned())
        });
        Ok((sold?.price, offer.tiers.map(|schedule| schedule.id)))
    }
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
    let buyer = caller.buyer(now);
    let has_own =
        buyer.discount.is_some() || book.sales().has_own(&buyer) || book.tiers().has_own(&buyer);
    let (body, tag) = if caller.key.models.is_empty() && !has_own {
        EVERY_MODEL.list(&prices, &book, &**served, now)
    } else {
        let offered = Offered {
            prices: &prices,
            book: &book,
            buyer: Some(&buyer),
            now,
        };
        let body = offered.render(|m| caller.may_use(m) && served.serves(m));
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
    let (book, now) = (prices.book(), clock.now());
    let offered = Offered {
        prices: &prices,
        book: &book,
        buyer: Some(&caller.buyer(now)),
        now,
    };
    match (offered.price(&name), book.get(&name)) {
        (Ok(price), Some(model)) if served.serves(&name) => {
            Ok(HttpResponse::Ok().json(Model::of(model, &price)))
        }
        // As a call of it would be answered.
        (Ok(_), _) => Err(V1Error::NoChannel(name)),
        (Err(Unpriced::NoPrice(_)), _) => Err(V1Error::Unpriced(name)),
        (Err(Unpriced::Unknown(_)), _) => Err(V1Error::UnknownModel(name)),
    }
}
