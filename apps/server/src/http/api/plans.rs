//! Plans: what can be subscribed to, and how an operator sells it.

use actix_web::{HttpResponse, web};
use billing_core::id::{PlanId, PlanVersionId, QuotaId};
use billing_core::plan::{AfterQuota, Billing, PlanTerms};
use billing_core::port::clock::Clock;
use billing_core::port::plans::{NewVersion, Offer, Plans};
use billing_core::quota::{QuotaTerms, QuotaWindow};
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::access::{Operator, SignedIn};
use super::error::{ApiError, Problem};
use super::extract::Body;
use super::fields::{Fields, FromFields, Noted};
use super::wire::{MoneyDto, instant};
use crate::http::quotas::{amount, unit};
use crate::ids::Ids;

/// A version of a plan.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlanDto {
    /// What the plan is called by machines.
    #[schema(example = "pro")]
    code: String,
    /// What people call it.
    name: String,
    /// Which of its versions, from 1. What a version says never changes.
    version: u32,
    /// The version's id.
    #[schema(example = "plv_0001fv5kz4y00")]
    id: String,
    /// What one of it costs for a period.
    price: MoneyDto,
    /// How long a period is, as in ISO 8601.
    #[schema(example = "P1M")]
    interval: String,
    /// Whether another period follows each.
    renews: bool,
    /// How many days are free at first, for who had no trial of the plan before.
    trial_days: u16,
    /// What it gives of which models.
    quotas: Vec<PlanQuotaDto>,
    /// What happens to calls that no quota covers: `wallet` pays them, or they `stop`.
    #[schema(value_type = String, example = "wallet")]
    after_quota: AfterQuota,
    /// Credit that comes with each period and lapses with it.
    included_credit: MoneyDto,
    /// Whether its calls go by the fast lane.
    speed_boost: bool,
    /// What else it is said to have.
    features: Vec<String>,
    /// Whether it can be subscribed to.
    on_sale: bool,
    /// Since when it could be.
    #[schema(format = DateTime)]
    published_at: Option<String>,
}

/// A quota of a plan.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlanQuotaDto {
    /// Of which models: one, a family as `prefix*`, or `*`.
    #[schema(example = "gpt-4o*")]
    models: String,
    /// What it counts: `calls`, `tokens` or `money`.
    unit: &'static str,
    /// How much it gives in each window; money in the plan's currency.
    #[schema(example = "10000")]
    amount: String,
    /// How long a window is: a word such as `daily`, or `{"rolling": seconds}`.
    #[schema(value_type = Object, example = "daily")]
    window: QuotaWindow,
}

impl PlanQuotaDto {
    fn of(terms: &QuotaTerms) -> Self {
        Self {
            models: terms.models.to_string(),
            unit: unit(terms.unit),
            amount: amount(terms.unit, terms.amount),
            window: terms.window,
        }
    }
}

impl PlanDto {
    /// An offer on the wire.
    pub(crate) fn of(offer: Offer, now: OffsetDateTime) -> Self {
        let on_sale = offer.is_on_sale(now);
        let terms = offer.terms;
        let interval = match terms.billing {
            Billing::Every(interval) | Billing::Once(interval) => interval,
        };
        Self {
            code: offer.code,
            name: offer.name,
            version: offer.number,
            id: offer.version.to_string(),
            price: MoneyDto::of(terms.price, terms.currency),
            interval: interval.to_string(),
            renews: terms.billing.renews(),
            trial_days: terms.trial_days,
            quotas: terms.quotas.iter().map(PlanQuotaDto::of).collect(),
            after_quota: terms.after_quota,
            included_credit: MoneyDto::of(terms.included_credit, terms.currency),
            speed_boost: terms.speed_boost,
            features: terms.features,
            on_sale,
            published_at: offer.published_at.map(instant),
        }
    }
}

/// All plans.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlanList {
    /// The newest version of each, by code.
    data: Vec<PlanDto>,
}

/// List the plans
///
/// The newest version of each plan that is on sale; an operator sees those that are off sale too.
#[utoipa::path(
    get, path = "/api/v1/plans", operation_id = "list_plans", tag = "plans",
    responses(
        (status = 200, description = "The plans", body = PlanList),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn list(
    SignedIn(user): SignedIn,
    plans: web::Data<dyn Plans>,
    clock: web::Data<dyn Clock>,
) -> Result<web::Json<PlanList>, ApiError> {
    let now = clock.now();
    let offers = plans.offers().await?.into_iter();
    let shown = offers.filter(|offer| user.operator || offer.is_on_sale(now));
    let data = shown.map(|offer| PlanDto::of(offer, now)).collect();
    Ok(web::Json(PlanList { data }))
}

/// A version of a plan to be published.
#[derive(ToSchema)]
pub(crate) struct NewPlan {
    /// What the plan is called by machines: lower-case letters, digits and hyphens.
    #[schema(example = "pro", max_length = 40)]
    code: String,
    /// What people call it.
    #[schema(max_length = 200)]
    name: String,
    /// What it says, as in the files of `tollgate plans publish`: money in nanos.
    #[schema(value_type = Object, example = json!({
        "currency": "USD", "price": 9_000_000_000_i64, "billing": {"every": "P1M"},
        "quotas": [{"models": "*", "unit": "calls", "amount": 100, "window": "daily"}]
    }))]
    terms: Map<String, Value>,
}

impl FromFields for NewPlan {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let code = fields.text("code", 1, 40);
        let code = fields.required("code", code);
        let name = fields.text("name", 1, 200);
        let name = fields.required("name", name);
        let terms = fields.as_it_is("terms");
        let terms = fields.required("terms", terms);
        Ok(Self {
            code: code?,
            name: name?,
            terms: terms?,
        })
    }
}

/// Publish a version of a plan
///
/// The plan is made where there is none of its code; else this is its next version, and who is on
/// another keeps it. The same terms again are the version that there is.
#[utoipa::path(
    post, path = "/api/v1/plans", operation_id = "publish_plan", tag = "plans",
    request_body = NewPlan,
    responses(
        (status = 200, description = "The newest version says this already", body = PlanDto),
        (status = 201, description = "Published", body = PlanDto),
        (status = 400, description = "The body is not JSON", body = Problem,
            content_type = "application/problem+json"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not an operator", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong, or the terms are no plan", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn publish(
    _operator: Operator,
    body: Body<NewPlan>,
    plans: web::Data<dyn Plans>,
    ids: web::Data<Ids>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, ApiError> {
    let NewPlan { code, name, terms } = body.0;
    let terms: PlanTerms = serde_json::from_value(Value::Object(terms))
        .map_err(|error| ApiError::field("/terms", "not_a_plan", error.to_string()))?;
    let version = PlanVersionId::new(ids.next());
    let quotas = terms.quotas.iter();
    let made = NewVersion {
        plan: PlanId::new(ids.next()),
        code,
        name,
        version,
        quotas: quotas.map(|_| QuotaId::new(ids.next())).collect(),
        terms,
        now: clock.now(),
    };
    let published = plans.publish(made).await?;
    let offer = plans.offer(published.id).await?;
    let plan = PlanDto::of(offer.ok_or(ApiError::Internal)?, clock.now());
    Ok(if published.id == version {
        HttpResponse::Created().json(plan)
    } else {
        HttpResponse::Ok().json(plan)
    })
}

/// Take a plan off sale
///
/// Nobody can subscribe or change to it any more; who is on it keeps it. Publishing it again is its
/// next version.
#[utoipa::path(
    delete, path = "/api/v1/plans/{plan}", operation_id = "archive_plan", tag = "plans",
    params(("plan" = String, Path, description = "The plan's code", example = "pro")),
    responses(
        (status = 204, description = "It is off sale"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not an operator", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such plan is on sale", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn archive(
    _operator: Operator,
    path: web::Path<String>,
    plans: web::Data<dyn Plans>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, ApiError> {
    if plans.archive(&path.into_inner(), clock.now()).await? {
        return Ok(HttpResponse::NoContent().finish());
    }
    Err(ApiError::NotFound("plan on sale"))
}
