//! The date of the deployment, which demonstrations and tests move ahead.

use actix_web::web;
use billing_core::port::clock::{Advance, Clock, MoveError};
use serde::Serialize;
use time::{Duration, OffsetDateTime};
use utoipa::ToSchema;

use super::access::Operator;
use super::error::{ApiError, Problem};
use super::extract::Body;
use super::fields::{Fields, FromFields, Noted};
use super::wire::instant;
use crate::wiring::DeploymentDate;

/// The date.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DateDto {
    /// What it is.
    #[schema(format = DateTime)]
    now: String,
    /// By how many seconds it is ahead of the machine's.
    #[schema(example = 7_776_000)]
    ahead_s: i64,
    /// Whether it may be moved: `clock.movable` of the configuration.
    movable: bool,
}

/// To when the date is to be moved: `to` or `by_s`.
#[derive(Debug, ToSchema)]
pub(crate) struct DateMove {
    /// To this instant.
    #[schema(value_type = Option<String>, format = DateTime)]
    to: Option<OffsetDateTime>,
    /// By so many seconds.
    #[schema(example = 2_592_000)]
    by_s: Option<u32>,
}

impl FromFields for DateMove {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let (to, by) = (fields.instant("to"), fields.whole("by_s"));
        let by_s = match by? {
            None => None,
            Some(by) => match u32::try_from(by) {
                Ok(by) => Some(by),
                Err(_) => return fields.wrong("by_s", "too_far", "by_s is too large."),
            },
        };
        let to = to?;
        if to.is_some() == by_s.is_some() {
            return fields.wrong("to", "one_of", "give to or by_s, and not both.");
        }
        Ok(Self { to, by_s })
    }
}

/// Read the date
///
/// It is the machine's unless it was moved.
#[utoipa::path(
    get, path = "/api/v1/clock", operation_id = "read_clock", tag = "clock",
    responses(
        (status = 200, description = "The date", body = DateDto),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not an operator", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn read(
    _operator: Operator,
    date: web::Data<DeploymentDate>,
    clock: web::Data<dyn Clock>,
) -> Result<web::Json<DateDto>, ApiError> {
    shown(&date, &**clock).await
}

/// Move the date ahead
///
/// For all accounts and nodes of this deployment, and for good. Whoever may have to repeat it gives
/// `to`, which moves it once. What falls due meanwhile is done
/// within a minute; sessions that would have ended by then have ended.
#[utoipa::path(
    post, path = "/api/v1/clock", operation_id = "move_clock", tag = "clock",
    request_body = DateMove,
    responses(
        (status = 200, description = "The date now", body = DateDto),
        (status = 400, description = "The body is not JSON", body = Problem,
            content_type = "application/problem+json"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not an operator", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "The configuration does not let the date be moved",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong, or the date is later already",
            body = Problem, content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn advance(
    _operator: Operator,
    body: Body<DateMove>,
    date: web::Data<DeploymentDate>,
    clock: web::Data<dyn Clock>,
) -> Result<web::Json<DateDto>, ApiError> {
    if !date.may_be_moved {
        let why = "The date is not to be moved here; `clock.movable` would allow it.";
        return Err(ApiError::Conflict(why.to_owned()));
    }
    let by = Duration::seconds(body.0.by_s.unwrap_or(0).into());
    let (by, at) = match body.0.to {
        Some(to) => (Advance::To(to), "/to"),
        None => (Advance::By(by), "/by_s"),
    };
    date.advance(by)
        .await
        .map_err(|error| refusal(&error, at))?;
    shown(&date, &**clock).await
}

async fn shown(date: &DeploymentDate, clock: &dyn Clock) -> Result<web::Json<DateDto>, ApiError> {
    let ahead = date.read().await.map_err(|error| refusal(&error, "/to"))?;
    Ok(web::Json(DateDto {
        now: instant(clock.now()),
        ahead_s: ahead.whole_seconds(),
        movable: date.may_be_moved,
    }))
}

fn refusal(error: &MoveError, at: &str) -> ApiError {
    let code = match error {
        MoveError::Backwards { .. } => "backwards",
        MoveError::TooFar { .. } => "too_far",
        MoveError::Unavailable(why) => {
            tracing::error!(%why, "the date cannot be moved");
            return ApiError::StoreAway;
        }
    };
    ApiError::field(at, code, format!("{error}."))
}
