//! What the holder of a key may know of it, in OpenRouter's shape.

use actix_web::{HttpRequest, HttpResponse, web};
use billing_core::budget::LimitWindow;
use billing_core::money::{Currency, Nanos};
use billing_core::port::clock::Clock;
use billing_core::port::directory::Caller;
use billing_core::port::reports::Reports;
use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::error::V1Error;
use super::generation::{away, number};
use crate::gate::Callers;
use crate::http::api::wire::instant;
use crate::http::caller::identify;
use crate::http::quotas::{self, CallLimitLeft, QuotaLeft};

/// A key, to its holder.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyReply {
    data: KeyData,
}

/// A key and what was spent with it. Amounts are JSON numbers with their exact digits.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyData {
    /// The first characters of the key.
    #[schema(example = "sk-tg-4fQz1A…")]
    label: String,
    /// What people call it.
    #[schema(example = "production")]
    name: String,
    /// The most that may be spent in a window; null without a bound.
    #[schema(value_type = Option<f64>, example = 10.00)]
    limit: Option<Box<RawValue>>,
    /// What is left of it.
    #[schema(value_type = Option<f64>, example = 9.99679)]
    limit_remaining: Option<Box<RawValue>>,
    /// How often the limit starts anew: `daily`, `weekly`, `monthly`; null never.
    #[schema(value_type = Option<String>, example = "monthly")]
    limit_reset: Option<&'static str>,
    /// When it next does.
    #[schema(format = DateTime)]
    limit_resets_at: Option<String>,
    /// Spent ever.
    #[schema(value_type = f64, example = 0.00321)]
    usage: Option<Box<RawValue>>,
    /// Spent since midnight UTC.
    #[schema(value_type = f64, example = 0.00321)]
    usage_daily: Option<Box<RawValue>>,
    /// Spent since Monday.
    #[schema(value_type = f64, example = 0.00321)]
    usage_weekly: Option<Box<RawValue>>,
    /// Spent since the first of the month.
    #[schema(value_type = f64, example = 0.00321)]
    usage_monthly: Option<Box<RawValue>>,
    /// The currency of the amounts.
    #[schema(value_type = String, example = "USD")]
    currency: Currency,
    is_free_tier: bool,
    /// What is left of the quotas of the account's plan.
    quotas: Vec<QuotaLeft>,
    /// What is left of the calls that it lets the account make; null where it sets no limit.
    call_limit: Option<CallLimitLeft>,
    /// When the key stops working by itself.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

struct Spent {
    ever: Nanos,
    daily: Nanos,
    weekly: Nanos,
    monthly: Nanos,
}

impl Spent {
    fn within(&self, window: LimitWindow) -> Nanos {
        match window {
            LimitWindow::Lifetime => self.ever,
            LimitWindow::Daily => self.daily,
            LimitWindow::Weekly => self.weekly,
            LimitWindow::Monthly => self.monthly,
        }
    }
}

/// Read the key that one calls with
#[utoipa::path(
    get, path = "/v1/key", operation_id = "read_key", tag = "key",
    responses(
        (status = 200, description = "The key", body = KeyReply),
        (status = 401, description = "The key is missing or not valid"),
        (status = 403, description = "The account is suspended"),
        (status = 503, description = "The books cannot be reached"),
    ),
    security(("api_key" = [])),
)]
pub(crate) async fn key(
    request: HttpRequest,
    callers: web::Data<Callers>,
    reports: web::Data<dyn Reports>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, V1Error> {
    let caller = identify(&request, &callers, &**clock).await?;
    let now = clock.now();
    let spent = spent(&**reports, &caller, now).await?;
    let mut data = data(&caller, &spent, now);
    if let Some(subscribed) = &caller.subscribed {
        let of = (caller.key.account, &**subscribed);
        let left = quotas::left(&**reports, of, now).await;
        data.quotas = left.map_err(|error| away(&error))?;
        let left = quotas::calls_left(&**reports, of, now).await;
        data.call_limit = left.map_err(|error| away(&error))?;
    }
    Ok(HttpResponse::Ok().json(KeyReply { data }))
}

async fn spent(
    reports: &dyn Reports,
    caller: &Caller,
    now: OffsetDateTime,
) -> Result<Spent, V1Error> {
    let since = async |window: LimitWindow| {
        let start = OffsetDateTime::from_unix_timestamp(window.start_at(now));
        let start = start.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let spent = reports
            .key_spend(caller.key.account, caller.key.id, start)
            .await;
        spent.map_err(|error| away(&error))
    };
    Ok(Spent {
        ever: since(LimitWindow::Lifetime).await?,
        daily: since(LimitWindow::Daily).await?,
        weekly: since(LimitWindow::Weekly).await?,
        monthly: since(LimitWindow::Monthly).await?,
    })
}

fn data(caller: &Caller, spent: &Spent, now: OffsetDateTime) -> KeyData {
    let key = &caller.key;
    let left = key.limit.map(|limit| {
        let left = limit.amount.money().minus(spent.within(limit.window));
        left.unwrap_or(Nanos::ZERO).max(Nanos::ZERO)
    });
    let window = key.limit.map(|limit| limit.window);
    KeyData {
        label: format!("{}…", key.visible_prefix),
        name: key.name.clone(),
        limit: key.limit.and_then(|limit| number(limit.amount.money())),
        limit_remaining: left.and_then(number),
        limit_reset: window
            .filter(|w| *w != LimitWindow::Lifetime)
            .map(LimitWindow::name),
        limit_resets_at: window.and_then(|w| w.end_at(now)).map(instant),
        usage: number(spent.ever),
        usage_daily: number(spent.daily),
        usage_weekly: number(spent.weekly),
        usage_monthly: number(spent.monthly),
        currency: caller.currency,
        quotas: Vec::new(),
        call_limit: None,
        is_free_tier: false,
        expires_at: key.expires_at.map(instant),
    }
}
