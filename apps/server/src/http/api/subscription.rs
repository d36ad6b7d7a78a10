//! The subscription of an account: how it stands, and how one begins and is paid. What is asked of
//! it then is in [`orders`].

pub(crate) mod orders;
pub(crate) mod shown;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use billing_core::id::{AccountId, SubscriptionId};
use billing_core::invoice::CouponCode;
use billing_core::plan::AfterQuota;
use billing_core::port::clock::Clock;
use billing_core::port::directory::{Directory, Role};
use billing_core::port::orders::Orders;
use billing_core::port::plans::{NewSubscription, Plans};
use billing_core::port::reports::Reports;
use billing_core::port::subscriptions::{Collector, Subscriptions};
use billing_core::subscription::Dunning;
use utoipa::ToSchema;

use super::access::{self, SignedIn};
use super::coupons;
use super::error::{ApiError, Problem};
use super::extract::Body;
use super::fields::{Fields, FromFields, Noted};
use crate::billing::{BillingRun, What};
use crate::ids::Ids;
use shown::{Shown, SubscriptionDto};

/// Read the subscription of an account
///
/// How it stands, until when its quotas are open, what it is to become, what is left of each quota
/// and of its call limit, and the most that may be sent.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/subscription", operation_id = "read_subscription",
    tag = "subscriptions",
    params(("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00")),
    responses(
        (status = 200, description = "The subscription", body = SubscriptionDto),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's, or it has no subscription",
            body = Problem, content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
#[expect(
    clippy::too_many_arguments,
    reason = "a handler takes each thing that it uses"
)]
pub(crate) async fn read(
    path: web::Path<AccountId>,
    SignedIn(user): SignedIn,
    directory: web::Data<dyn Directory>,
    plans: web::Data<dyn Plans>,
    orders: web::Data<dyn Orders>,
    dunning: web::Data<Dunning>,
    reports: web::Data<dyn Reports>,
    clock: web::Data<dyn Clock>,
) -> Result<web::Json<SubscriptionDto>, ApiError> {
    let account = access::account(&**directory, &user, path.into_inner(), Role::Member).await?;
    let shown = Shown {
        plans: &**plans,
        dunning: &dunning,
        now: clock.now(),
    };
    let standing = orders.standing_of(account.id, shown.now).await?;
    let with = (account.id, &**reports);
    Ok(web::Json(shown.standing(with, standing).await?))
}

/// A subscription to begin.
#[derive(ToSchema)]
pub(crate) struct NewSubscriptionDto {
    /// The plan's code; its newest version is subscribed to.
    #[schema(example = "pro")]
    plan: String,
    /// How many of it: its price and quotas are so many times those of the plan.
    #[schema(required = false, default = 1, minimum = 1, maximum = 100_000)]
    quantity: u32,
    /// What happens to calls that no quota covers, where it is to be other than the plan says:
    /// `wallet` or `stop`.
    #[schema(value_type = Option<String>)]
    after_quota: Option<AfterQuota>,
    /// The code of a coupon that is redeemed with it, so that its first fee is less already.
    #[schema(value_type = Option<String>, example = "SPRING-26")]
    coupon: Option<CouponCode>,
}

impl FromFields for NewSubscriptionDto {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let plan = fields.text("plan", 1, 40);
        let plan = fields.required("plan", plan);
        let quantity = quantity(fields);
        let after = |word: &str| match word {
            "wallet" => Some(AfterQuota::Wallet),
            "stop" => Some(AfterQuota::Stop),
            _ => None,
        };
        let after_quota = fields.word("after_quota", after, "wallet, stop");
        let coupon = coupons::code_in(fields, "coupon");
        Ok(Self {
            plan: plan?,
            quantity: quantity?.unwrap_or(1),
            after_quota: after_quota?,
            coupon: coupon?,
        })
    }
}

/// How many of a plan.
pub(crate) fn quantity(fields: &mut Fields) -> Result<Option<u32>, Noted> {
    let Some(number) = fields.whole("quantity")? else {
        return Ok(None);
    };
    let quantity = u32::try_from(number).ok();
    let within = quantity.filter(|q| (1..=billing_core::subscription::MOST_QUANTITY).contains(q));
    match within {
        Some(quantity) => Ok(Some(quantity)),
        None => fields.wrong(
            "quantity",
            "out_of_range",
            "quantity must be a whole number from 1 to 100000.",
        ),
    }
}

/// Subscribe an account to a plan
///
/// With the plan's trial, where the account had none of it before; else the first fee is paid from
/// the wallet's bought credit at once. Where that has too little the subscription is `incomplete`:
/// it ends after 23 hours unless it is paid by then. An account has one subscription, so a repetition
/// is refused and charges nothing.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/subscription", operation_id = "subscribe",
    tag = "subscriptions",
    params(("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00")),
    request_body = NewSubscriptionDto,
    responses(
        (status = 201, description = "It has begun", body = SubscriptionDto),
        (status = 400, description = "The body is not JSON", body = Problem,
            content_type = "application/problem+json"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "The role does not allow it", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's, or no such plan, or no \
            such coupon (`no_such_coupon`)",
            body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The account has a subscription (`already_subscribed`), or \
            the plan is off sale (`not_on_sale`) or in another currency (`other_currency`), or the \
            coupon cannot be redeemed (`coupon_redeemed_before`, `coupon_over`, `coupon_used_up`, \
            `coupon_archived`, `coupon_other_currency`, `coupon_other_plan`)",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
#[expect(
    clippy::too_many_arguments,
    reason = "a handler takes each thing that it uses"
)]
pub(crate) async fn subscribe(
    path: web::Path<AccountId>,
    SignedIn(user): SignedIn,
    body: Body<NewSubscriptionDto>,
    directory: web::Data<dyn Directory>,
    plans: web::Data<dyn Plans>,
    orders: web::Data<dyn Orders>,
    subscriptions: web::Data<dyn Subscriptions>,
    collector: web::Data<dyn Collector>,
    dunning: web::Data<Dunning>,
    reports: web::Data<dyn Reports>,
    ids: web::Data<Ids>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, ApiError> {
    let account = access::account(&**directory, &user, path.into_inner(), Role::Admin).await?;
    let version = plans.newest(&body.0.plan).await?;
    let version = version.ok_or(ApiError::NotFound("plan"))?;
    let made = NewSubscription {
        id: SubscriptionId::new(ids.next()),
        account: account.id,
        version: version.id,
        quantity: body.0.quantity,
        after_quota: body.0.after_quota,
        coupon: body.0.coupon,
        now: clock.now(),
    };
    let began = plans.begin(made).await?;
    let run = run(&**subscriptions, &**collector, &**clock, &dunning);
    run.one(began.id, &mut Vec::new()).await?;
    let shown = Shown {
        plans: &**plans,
        dunning: &dunning,
        now: clock.now(),
    };
    let standing = orders.standing_of(account.id, shown.now).await?;
    let with = (account.id, &**reports);
    Ok(HttpResponse::Created().json(shown.standing(with, standing).await?))
}

/// Pay what a subscription owes
///
/// From the wallet's bought credit, now rather than when it is tried again by itself.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/subscription/pay", operation_id = "pay_subscription",
    tag = "subscriptions",
    params(("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00")),
    responses(
        (status = 200, description = "It is paid", body = SubscriptionDto),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 402, description = "The wallet has too little (`insufficient_funds`)",
            body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The role does not allow it", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's, or it has no subscription",
            body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Nothing is owed (`nothing_owed`)", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
#[expect(
    clippy::too_many_arguments,
    reason = "a handler takes each thing that it uses"
)]
pub(crate) async fn pay(
    path: web::Path<AccountId>,
    SignedIn(user): SignedIn,
    directory: web::Data<dyn Directory>,
    plans: web::Data<dyn Plans>,
    orders: web::Data<dyn Orders>,
    subscriptions: web::Data<dyn Subscriptions>,
    collector: web::Data<dyn Collector>,
    dunning: web::Data<Dunning>,
    reports: web::Data<dyn Reports>,
    clock: web::Data<dyn Clock>,
) -> Result<web::Json<SubscriptionDto>, ApiError> {
    let account = access::account(&**directory, &user, path.into_inner(), Role::Admin).await?;
    let standing = orders.standing_of(account.id, clock.now()).await?;
    let standing = standing.ok_or(ApiError::NotFound("subscription that is billed"))?;
    let run = run(&**subscriptions, &**collector, &**clock, &dunning);
    let mut done = Vec::new();
    if !run.pay(standing.subscription.id, &mut done).await? {
        return Err(ApiError::refused(
            StatusCode::CONFLICT,
            "nothing_owed",
            "Nothing is owed.",
        ));
    }
    if !done.iter().any(|done| matches!(done.what, What::Paid(..))) {
        let why = "The wallet has too little bought credit; top it up first.";
        return Err(ApiError::refused(
            StatusCode::PAYMENT_REQUIRED,
            "insufficient_funds",
            why,
        ));
    }
    let shown = Shown {
        plans: &**plans,
        dunning: &dunning,
        now: clock.now(),
    };
    let standing = orders.standing_of(account.id, shown.now).await?;
    let with = (account.id, &**reports);
    Ok(web::Json(shown.standing(with, standing).await?))
}

fn run<'a>(
    subscriptions: &'a dyn Subscriptions,
    collector: &'a dyn Collector,
    clock: &'a dyn Clock,
    dunning: &'a Dunning,
) -> BillingRun<'a> {
    BillingRun {
        subscriptions,
        collector,
        clock,
        dunning,
        is_dry: false,
    }
}
