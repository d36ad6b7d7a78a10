//! What accounts redeem.

use actix_web::{HttpResponse, web};
use billing_core::id::AccountId;
use billing_core::invoice::CouponCode;
use billing_core::port::clock::Clock;
use billing_core::port::coupons::Coupons;
use billing_core::port::directory::{Directory, Role};
use utoipa::ToSchema;

use super::shown::{RedeemedDto, RedeemedList};
use crate::http::api::access::{self, SignedIn};
use crate::http::api::error::{ApiError, Problem};
use crate::http::api::extract::Body;
use crate::http::api::fields::{Fields, FromFields, Noted};

/// List the coupons of an account
///
/// What it has redeemed, in that order, with what is left of each; also what is used up.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/coupons", operation_id = "list_redeemed_coupons",
    tag = "coupons",
    params(("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00")),
    responses(
        (status = 200, description = "The coupons", body = RedeemedList),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn list_of(
    path: web::Path<AccountId>,
    SignedIn(user): SignedIn,
    directory: web::Data<dyn Directory>,
    coupons: web::Data<dyn Coupons>,
) -> Result<web::Json<RedeemedList>, ApiError> {
    let account = access::account(&**directory, &user, path.into_inner(), Role::Member).await?;
    let redeemed = coupons.redeemed(account.id).await?;
    let data = redeemed.iter().map(RedeemedDto::of).collect();
    Ok(web::Json(RedeemedList { data }))
}

/// A coupon to be redeemed.
#[derive(ToSchema)]
pub(crate) struct Redeeming {
    /// Its code.
    #[schema(value_type = String, example = "SPRING-26")]
    code: CouponCode,
}

impl FromFields for Redeeming {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        Ok(Self {
            code: super::code(fields)?,
        })
    }
}

/// Redeem a coupon
///
/// Once for an account, for the plan that it is on. Later fees of whole periods are less, until it is
/// used up. To have it off the first fee already, send it with the subscription.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/coupons", operation_id = "redeem_coupon",
    tag = "coupons",
    params(("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00")),
    request_body = Redeeming,
    responses(
        (status = 201, description = "It is redeemed", body = RedeemedDto),
        (status = 400, description = "The body is not JSON", body = Problem,
            content_type = "application/problem+json"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "The role does not allow it", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's, or no such coupon \
            (`no_such_coupon`)", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It cannot be redeemed: `coupon_redeemed_before`, \
            `coupon_over`, `coupon_used_up`, `coupon_archived`, `coupon_other_currency`, \
            `coupon_other_plan`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn redeem(
    path: web::Path<AccountId>,
    SignedIn(user): SignedIn,
    body: Body<Redeeming>,
    directory: web::Data<dyn Directory>,
    coupons: web::Data<dyn Coupons>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, ApiError> {
    let account = access::account(&**directory, &user, path.into_inner(), Role::Admin).await?;
    let code = body.0.code;
    let redeemed = coupons.redeem(account.id, &code, clock.now()).await?;
    Ok(HttpResponse::Created().json(RedeemedDto::of(&redeemed)))
}
