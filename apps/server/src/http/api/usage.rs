//! Totals of what was used and charged.

use actix_web::{HttpResponse, web};
use billing_core::id::AccountId;
use billing_core::money::Nanos;
use billing_core::port::clock::Clock;
use billing_core::port::directory::{Directory, Role};
use billing_core::port::reports::{ReportedDay, Reports, UsageGroup, UsageLine};
use billing_core::zone::Zone;
use serde::Serialize;
use time::{Duration, OffsetDateTime, Time};
use utoipa::ToSchema;

use super::access::{self, SignedIn};
use super::calls::period;
use super::error::{ApiError, Problem};
use super::extract::Query;
use super::fields::{Fields, FromFields, Noted};
use super::wire::instant;

mod lines;

use self::lines::{UsageLineDto, as_csv};

/// The length of the roll-ups that totals are made of, in seconds.
const QUARTER_S: i64 = 15 * 60;
/// What is covered unless it is said, in days, today included.
const DAYS: i64 = 30;
/// The longest period, in days.
const MOST_DAYS: i64 = 400;

/// Totals of a period.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageDto {
    /// The first instant covered: as asked, moved back to a whole quarter hour.
    #[schema(format = DateTime)]
    from: String,
    /// The first instant not covered: as asked, moved on to a whole quarter hour.
    #[schema(format = DateTime)]
    to: String,
    /// The zone in which days are cut: the account's.
    #[schema(example = "Asia/Shanghai")]
    zone: String,
    /// What the lines are grouped by.
    #[schema(value_type = String, example = "model")]
    group_by: GroupBy,
    /// A line a group. They add up to the total; but by quota a call that draws several is in the line
    /// of each.
    data: Vec<UsageLineDto>,
    /// All together.
    total: UsageLineDto,
}

/// What totals are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum GroupBy {
    Total,
    Model,
    Key,
    Day,
    Plan,
    Quota,
    Member,
}

/// How totals are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
}

/// Which totals.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters that UsageOf reads")]
pub(crate) struct UsageParams {
    /// From when on; thirty days ago unless given.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Until when; now unless given.
    #[param(format = DateTime)]
    to: Option<String>,
    /// `total`, `model`, `key`, `day` (in the account's zone), `plan` (the version that calls were
    /// authorized under), `quota` (of which they drew) or `member` (whose the keys are).
    #[param(default = "total")]
    group_by: Option<String>,
    /// `json` or `csv`.
    #[param(default = "json")]
    format: Option<String>,
}

/// Totals of a period, by a group.
#[derive(Debug)]
pub(crate) struct UsageOf {
    from: Option<OffsetDateTime>,
    to: Option<OffsetDateTime>,
    group: GroupBy,
    format: Format,
}

impl FromFields for UsageOf {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let read = |word: &str| match word {
            "total" => Some(GroupBy::Total),
            "model" => Some(GroupBy::Model),
            "key" => Some(GroupBy::Key),
            "day" => Some(GroupBy::Day),
            "plan" => Some(GroupBy::Plan),
            "quota" => Some(GroupBy::Quota),
            "member" => Some(GroupBy::Member),
            _ => None,
        };
        let words = "total, model, key, day, plan, quota, member";
        let group = fields.word("group_by", read, words);
        let read = |word: &str| match word {
            "json" => Some(Format::Json),
            "csv" => Some(Format::Csv),
            _ => None,
        };
        let format = fields.word("format", read, "json, csv");
        let (from, to) = period(fields)?;
        Ok(Self {
            from,
            to,
            group: group?.unwrap_or(GroupBy::Total),
            format: format?.unwrap_or(Format::Json),
        })
    }
}

/// Read what was used and charged
///
/// From the roll-ups, which hold every call from the moment its charge is durable.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/usage", operation_id = "read_usage", tag = "usage",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        UsageParams,
    ),
    responses(
        (status = 200, description = "The totals; as CSV a line a group, without the total",
            content((UsageDto = "application/json"), (String = "text/csv"))),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A parameter is wrong", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn read(
    path: web::Path<AccountId>,
    SignedIn(user): SignedIn,
    query: Query<UsageOf>,
    directory: web::Data<dyn Directory>,
    reports: web::Data<dyn Reports>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, ApiError> {
    let account = access::account(&**directory, &user, path.into_inner(), Role::Member).await?;
    let UsageOf {
        from,
        to,
        group,
        format,
    } = query.0;
    let (from, to) = covered(from, to, clock.now())?;
    let zone: Zone = account.zone.parse().unwrap_or_else(|_| Zone::utc());
    let by = |group| reports.usage(account.id, from, to, group);
    let lines = match group {
        GroupBy::Total => by(UsageGroup::Total).await?,
        GroupBy::Model => by(UsageGroup::Model).await?,
        GroupBy::Key => by(UsageGroup::Key).await?,
        GroupBy::Plan => by(UsageGroup::Plan).await?,
        GroupBy::Quota => by(UsageGroup::Quota).await?,
        GroupBy::Member => by(UsageGroup::Member).await?,
        GroupBy::Day => {
            let days = ReportedDay::of_period(&zone, from, to);
            reports.usage_by_day(account.id, &days).await?
        }
    };
    if format == Format::Csv {
        return Ok(as_csv(&lines, group, account.currency));
    }
    let total = match group {
        // A call that drew several quotas is in several lines.
        GroupBy::Quota => total(&by(UsageGroup::Total).await?)?,
        GroupBy::Total
        | GroupBy::Model
        | GroupBy::Key
        | GroupBy::Day
        | GroupBy::Plan
        | GroupBy::Member => total(&lines)?,
    };
    let dto = |line| UsageLineDto::of(line, account.currency);
    Ok(HttpResponse::Ok().json(UsageDto {
        from: instant(from),
        to: instant(to),
        zone: zone.name().to_owned(),
        group_by: group,
        data: lines.into_iter().map(dto).collect(),
        total: dto(total),
    }))
}

/// The whole quarter hours that hold the period.
fn covered(
    from: Option<OffsetDateTime>,
    to: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Result<(OffsetDateTime, OffsetDateTime), ApiError> {
    // What happens right now is covered too.
    let to = to.unwrap_or(now + Duration::nanoseconds(1));
    let first_day = to.checked_sub(Duration::days(DAYS - 1)).unwrap_or(to);
    let from = from.unwrap_or(first_day.replace_time(Time::MIDNIGHT));
    let wrong = |code, detail| {
        ApiError::Invalid(vec![super::error::FieldError {
            pointer: None,
            parameter: Some("from".to_owned()),
            code: String::from(code),
            detail: String::from(detail),
        }])
    };
    if to <= from {
        return Err(wrong("after_to", "from must be before to."));
    }
    if to - from > Duration::days(MOST_DAYS) {
        return Err(wrong(
            "too_long",
            "The period must not be longer than 400 days.",
        ));
    }
    let at = |seconds: i64| {
        let at = OffsetDateTime::from_unix_timestamp(seconds);
        at.map_err(|_| wrong("out_of_range", "The period is out of range."))
    };
    let start = from.unix_timestamp().div_euclid(QUARTER_S) * QUARTER_S;
    let last = to - Duration::nanoseconds(1);
    let end = (last.unix_timestamp().div_euclid(QUARTER_S) + 1) * QUARTER_S;
    Ok((at(start)?, at(end)?))
}

fn total(lines: &[UsageLine]) -> Result<UsageLine, ApiError> {
    let sum = |of: fn(&UsageLine) -> u64| lines.iter().map(of).fold(0, u64::saturating_add);
    let charge = Nanos::total(lines.iter().map(|l| l.charge));
    Ok(UsageLine {
        group: String::new(),
        calls: sum(|l| l.calls),
        void_calls: sum(|l| l.void_calls),
        prompt_tokens: sum(|l| l.prompt_tokens),
        cache_read_tokens: sum(|l| l.cache_read_tokens),
        answer_tokens: sum(|l| l.answer_tokens),
        charge: i64::try_from(charge)
            .map(Nanos::new)
            .map_err(|_| ApiError::Internal)?,
        about: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_period_is_widened_to_whole_quarter_hours() {
        let now = datetime!(2026-11-22 18:31 UTC);
        let (from, to) = covered(Some(datetime!(2026-11-22 10:07 UTC)), None, now).unwrap();
        assert_eq!(from, datetime!(2026-11-22 10:00 UTC));
        assert_eq!(to, datetime!(2026-11-22 18:45 UTC));
        let whole = datetime!(2026-11-22 18:30 UTC);
        assert_eq!(covered(None, Some(whole), now).unwrap().1, whole);
        assert_eq!(
            covered(None, None, now).unwrap().0,
            datetime!(2026-10-24 0:00 UTC)
        );
        assert!(covered(Some(now), Some(now), now).is_err());
        assert!(covered(Some(datetime!(2020-01-01 0:00 UTC)), None, now).is_err());
    }
}
