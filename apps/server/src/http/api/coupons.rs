//! Coupons: given by an operator, redeemed by an account.

pub(crate) mod redeemed;
mod shown;

use std::collections::BTreeSet;

use actix_web::{HttpResponse, web};
use billing_core::charge_model::Percent;
use billing_core::id::CouponId;
use billing_core::invoice::{Coupon, CouponCode, CouponDuration, CouponOff};
use billing_core::money::{Currency, Minor, Money, Nanos};
use billing_core::port::clock::Clock;
use billing_core::port::coupons::{Coupons, KeptCoupon, NewCoupon};
use utoipa::ToSchema;

pub(crate) use self::shown::{CouponDto, RedeemedDto, RedeemedList};
use super::access::Operator;
use super::error::{ApiError, Problem};
use super::extract::{Body, Query};
use super::fields::{Fields, FromFields, Noted};
use super::refusals::not_a_coupon;
use super::wire::{MoneyDto, Page, PageOf, PageParams};
use crate::ids::Ids;

/// What is said of how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lasts {
    Once,
    Periods,
    Forever,
}

/// The most plans that a coupon can name.
const MOST_PLANS: usize = 100;

/// A coupon to be given.
#[derive(ToSchema)]
pub(crate) struct NewCouponDto {
    /// What customers type in: at most 40 letters, digits, `-` and `_`; the case of letters does not
    /// matter.
    #[schema(value_type = String, example = "SPRING-26", max_length = 40)]
    code: CouponCode,
    /// What the invoice calls it.
    #[schema(example = "Spring sale", max_length = 200)]
    name: String,
    /// How much it takes off, in percent; or give an `amount`.
    #[schema(value_type = Option<String>, example = "20")]
    percent: Option<Percent>,
    /// How much it takes off, as far as there is as much to pay; or give a `percent`.
    #[schema(value_type = Option<MoneyDto>)]
    amount: Option<(Minor, Currency)>,
    /// On how many fees: `once`, so many `periods`, or `forever`.
    #[schema(value_type = Option<String>, default = "once", example = "periods")]
    duration: Lasts,
    /// On how many, for `periods`.
    #[schema(minimum = 1, example = 3)]
    periods: Option<u32>,
    /// What a fee must come to.
    #[schema(value_type = Option<MoneyDto>)]
    minimum: Option<(Minor, Currency)>,
    /// From when on nobody can redeem it.
    #[schema(value_type = Option<String>, format = DateTime)]
    redeem_by: Option<time::OffsetDateTime>,
    /// How many accounts may redeem it; left out, as many as like.
    #[schema(minimum = 1)]
    most_redemptions: Option<u64>,
    /// The codes of the plans whose fees it applies to; left out, all.
    #[schema(value_type = Option<Vec<String>>, example = json!(["pro"]))]
    plans: BTreeSet<String>,
}

impl FromFields for NewCouponDto {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let code = code(fields);
        let name = fields.text("name", 1, 200);
        let name = fields.required("name", name);
        let percent = percent(fields);
        let amount = minor(fields, "amount");
        let lasts = lasts(fields);
        let minimum = minor(fields, "minimum");
        let redeem_by = fields.instant("redeem_by");
        let most_redemptions = fields.whole("most_redemptions");
        let plans = fields.texts("plans", MOST_PLANS);
        let (percent, amount) = (percent?, amount?);
        if percent.is_some() == amount.is_some() {
            let detail = "Give a percent or an amount, and not both.";
            return fields.wrong("percent", "required", detail);
        }
        let (duration, periods) = lasts?;
        Ok(Self {
            code: code?,
            name: name?,
            percent,
            amount,
            duration,
            periods,
            minimum: minimum?,
            redeem_by: redeem_by?,
            most_redemptions: most_redemptions?,
            plans: plans?.unwrap_or_default().into_iter().collect(),
        })
    }
}

/// A code that must be there.
fn code(fields: &mut Fields) -> Result<CouponCode, Noted> {
    let code = code_in(fields, "code");
    fields.required("code", code)
}

/// The code of a coupon.
pub(crate) fn code_in(fields: &mut Fields, name: &str) -> Result<Option<CouponCode>, Noted> {
    let Some(text) = fields.text(name, 1, 200)? else {
        return Ok(None);
    };
    match text.parse::<CouponCode>() {
        Ok(code) => Ok(Some(code)),
        Err(error) => fields.wrong(name, "not_a_code", &error.to_string()),
    }
}

fn percent(fields: &mut Fields) -> Result<Option<Percent>, Noted> {
    let Some(text) = fields.text("percent", 1, 20)? else {
        return Ok(None);
    };
    match text.parse::<Percent>() {
        Ok(percent) => Ok(Some(percent)),
        Err(error) => fields.wrong("percent", "not_a_percentage", &error.to_string()),
    }
}

/// An amount that documents can count.
fn minor(fields: &mut Fields, name: &str) -> Result<Option<(Minor, Currency)>, Noted> {
    let Some((nanos, currency)) = fields.money(name)? else {
        return Ok(None);
    };
    match of_coins(nanos, currency) {
        Some(minor) => Ok(Some((minor, currency))),
        None => fields.wrong(
            name,
            "too_fine",
            &format!("{name} is finer than {currency} has coins."),
        ),
    }
}

/// An amount in what documents count; `None` where it is finer than the currency has coins.
pub(crate) fn of_coins(nanos: Nanos, currency: Currency) -> Option<Minor> {
    let minor = Minor::within(Money::new(nanos, currency));
    minor
        .nanos(currency)
        .is_ok_and(|n| n == nanos)
        .then_some(minor)
}

/// How long it lasts, and for how many periods where it is for so many.
fn lasts(fields: &mut Fields) -> Result<(Lasts, Option<u32>), Noted> {
    let periods = fields.whole("periods");
    let word = |word: &str| match word {
        "once" => Some(Lasts::Once),
        "periods" => Some(Lasts::Periods),
        "forever" => Some(Lasts::Forever),
        _ => None,
    };
    let lasts = fields.word("duration", word, "once, periods, forever")?;
    let lasts = lasts.unwrap_or(Lasts::Once);
    match (lasts, periods?) {
        (Lasts::Once | Lasts::Forever, None) => Ok((lasts, None)),
        (Lasts::Periods, Some(count)) => match u32::try_from(count) {
            Ok(count) if count > 0 => Ok((lasts, Some(count))),
            Ok(_) | Err(_) => fields.wrong(
                "periods",
                "out_of_range",
                "periods must be a whole number from 1.",
            ),
        },
        (Lasts::Periods, None) => fields.wrong("periods", "required", "periods is required."),
        (Lasts::Once | Lasts::Forever, Some(_)) => fields.wrong(
            "periods",
            "without_effect",
            "periods is for the duration `periods`.",
        ),
    }
}

/// Give a coupon
///
/// One that says the same under its code, and can be redeemed, is the one that there is.
#[utoipa::path(
    post, path = "/api/v1/coupons", operation_id = "create_coupon", tag = "coupons",
    request_body = NewCouponDto,
    responses(
        (status = 200, description = "There is one that says this already", body = CouponDto),
        (status = 201, description = "It can be redeemed", body = CouponDto),
        (status = 400, description = "The body is not JSON", body = Problem,
            content_type = "application/problem+json"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not an operator", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "Another coupon has the code (`coupon_code_taken`)",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong, or there is no such plan", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn create(
    _operator: Operator,
    body: Body<NewCouponDto>,
    coupons: web::Data<dyn Coupons>,
    ids: web::Data<Ids>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, ApiError> {
    let body = body.0;
    let off = match (body.percent, body.amount) {
        (Some(percent), _) => CouponOff::Percent(percent),
        (None, Some((amount, currency))) => CouponOff::Amount(amount, currency),
        (None, None) => return Err(ApiError::Internal),
    };
    let made = NewCoupon {
        id: CouponId::new(ids.next()),
        coupon: Coupon {
            code: body.code,
            name: body.name,
            off,
            duration: match (body.duration, body.periods) {
                (Lasts::Forever, _) => CouponDuration::Forever,
                (Lasts::Once | Lasts::Periods, None) => CouponDuration::Once,
                (Lasts::Once | Lasts::Periods, Some(count)) => CouponDuration::Periods(count),
            },
            minimum: body.minimum,
            redeem_by: body.redeem_by,
            most_redemptions: body.most_redemptions,
            plans: BTreeSet::new(),
        },
        plans: body.plans,
        now: clock.now(),
    };
    let id = made.id;
    let kept = coupons.create(made).await.map_err(not_a_coupon)?;
    let coupon = CouponDto::of(&kept);
    Ok(if kept.id == id {
        HttpResponse::Created().json(coupon)
    } else {
        HttpResponse::Ok().json(coupon)
    })
}

/// List the coupons
///
/// Newest first, also those that are archived.
#[utoipa::path(
    get, path = "/api/v1/coupons", operation_id = "list_coupons", tag = "coupons",
    params(PageParams),
    responses(
        (status = 200, description = "A page of coupons", body = Page<CouponDto>),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not an operator", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A parameter is wrong", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn list(
    _operator: Operator,
    page: Query<PageOf<CouponId>>,
    coupons: web::Data<dyn Coupons>,
) -> Result<web::Json<Page<CouponDto>>, ApiError> {
    let page = page.0;
    let found = coupons.list(page.cursor, page.fetch()).await?;
    let id = |kept: &KeptCoupon| kept.id;
    Ok(page.answer(found, id, |kept| CouponDto::of(&kept)))
}

/// Read a coupon
///
/// What it says, and how many accounts have redeemed it.
#[utoipa::path(
    get, path = "/api/v1/coupons/{coupon}", operation_id = "read_coupon", tag = "coupons",
    params(("coupon" = String, Path, description = "The coupon's code", example = "SPRING-26")),
    responses(
        (status = 200, description = "The coupon", body = CouponDto),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not an operator", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such coupon", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn read(
    _operator: Operator,
    path: web::Path<String>,
    coupons: web::Data<dyn Coupons>,
) -> Result<web::Json<CouponDto>, ApiError> {
    let found = coupons.find(&named(&path)?).await?;
    let kept = found.ok_or(ApiError::NotFound("coupon"))?;
    Ok(web::Json(CouponDto::of(&kept)))
}

/// Archive a coupon
///
/// Nobody can redeem it any more; who has keeps it.
#[utoipa::path(
    delete, path = "/api/v1/coupons/{coupon}", operation_id = "archive_coupon", tag = "coupons",
    params(("coupon" = String, Path, description = "The coupon's code", example = "SPRING-26")),
    responses(
        (status = 204, description = "It is archived"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not an operator", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such coupon", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn archive(
    _operator: Operator,
    path: web::Path<String>,
    coupons: web::Data<dyn Coupons>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, ApiError> {
    let archived = coupons.archive(&named(&path)?, clock.now()).await?;
    archived.ok_or(ApiError::NotFound("coupon"))?;
    Ok(HttpResponse::NoContent().finish())
}

fn named(text: &str) -> Result<CouponCode, ApiError> {
    text.parse().map_err(|_| ApiError::NotFound("coupon"))
}
