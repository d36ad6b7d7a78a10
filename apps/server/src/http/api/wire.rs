//! What every resource has in common on the wire: money, time, pages, tags.

use std::fmt::Display;
use std::str::FromStr;

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderName, IF_MATCH};
use actix_web::web::Json;
use billing_core::budget::Amount;
use billing_core::money::{Currency, Nanos};
use serde::Serialize;
use sha2::{Digest, Sha256};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use utoipa::{IntoParams, ToSchema};

use super::error::ApiError;
use super::fields::{Fields, FromFields, Noted};

/// Money: an exact decimal number as a text, and an ISO 4217 currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({"amount": "0.00321", "currency": "USD"}))]
pub(crate) struct MoneyDto {
    /// Major units with at most nine places; receipts may show more, unrounded.
    #[schema(pattern = r"^-?\d+(\.\d+)?$")]
    pub(crate) amount: String,
    /// ISO 4217.
    #[schema(min_length = 3, max_length = 3)]
    pub(crate) currency: String,
}

impl MoneyDto {
    /// An amount on the wire.
    pub(crate) fn of(nanos: Nanos, currency: Currency) -> Self {
        Self {
            amount: nanos.to_string(),
            currency: currency.code().to_owned(),
        }
    }

    /// A budget's amount on the wire.
    pub(crate) fn of_amount(amount: Amount, currency: Currency) -> Self {
        Self::of(amount.money(), currency)
    }
}

/// RFC 3339, in UTC.
pub(crate) fn instant(at: OffsetDateTime) -> String {
    at.to_offset(UtcOffset::UTC)
        .format(&Rfc3339)
        .unwrap_or_default()
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The entries.
    pub(crate) data: Vec<T>,
    /// Whether there are more.
    pub(crate) has_more: bool,
    /// What to send as `cursor` to get them.
    pub(crate) next_cursor: Option<String>,
}

/// Which page of a list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters that PageOf reads")]
pub(crate) struct PageParams {
    /// How many entries.
    #[param(minimum = 1, maximum = 100, default = 25)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page that begins after the entry with an id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageOf<I> {
    /// How many entries.
    pub(crate) limit: u32,
    /// The last entry of the page before.
    pub(crate) cursor: Option<I>,
}

impl<I: Display> PageOf<I> {
    /// One more than is shown, to know whether there are more.
    pub(crate) fn fetch(&self) -> u32 {
        self.limit.saturating_add(1)
    }

    /// The page, of as many entries as [`PageOf::fetch`] says, as far as there are so many.
    pub(crate) fn answer<R, T>(
        self,
        mut rows: Vec<R>,
        id: impl Fn(&R) -> I,
        render: impl FnMut(R) -> T,
    ) -> Json<Page<T>> {
        let fits = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > fits;
        rows.truncate(fits);
        let last = rows.last().filter(|_| has_more);
        let next_cursor = last.map(|row| id(row).to_string());
        Json(Page {
            data: rows.into_iter().map(render).collect(),
            has_more,
            next_cursor,
        })
    }
}

impl<I: FromStr> FromFields for PageOf<I> {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let limit = fields.number("limit", 1, 100);
        let cursor = fields.id("cursor");
        Ok(Self {
            limit: limit?.unwrap_or(25),
            cursor: cursor?,
        })
    }
}

/// A strong tag of what it is made of.
pub(crate) fn tag(parts: &[&dyn Display]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        let text = part.to_string();
        digest.update(text.len().to_be_bytes());
        digest.update(text.as_bytes());
    }
    quoted(&digest.finalize())
}

/// A strong tag of a body.
pub(crate) fn tag_of(body: &[u8]) -> String {
    quoted(&Sha256::digest(body))
}

fn quoted(digest: &[u8]) -> String {
    let mut tag = String::with_capacity(34);
    tag.push('"');
    for byte in digest.iter().take(16) {
        for half in [byte >> 4, byte & 15] {
            tag.extend(char::from_digit(u32::from(half), 16));
        }
    }
    tag.push('"');
    tag
}

/// Whether a list of tags, as in `If-Match` or `If-None-Match`, has this one.
pub(crate) fn has_tag(headers: &HeaderMap, name: HeaderName, tag: &str) -> bool {
    headers
        .get_all(name)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|one| one == "*" || one == tag)
}

/// Refuses a change of something whose tag the caller does not know.
pub(crate) fn check_if_match(request: &HttpRequest, tag: &str) -> Result<(), ApiError> {
    if !request.headers().contains_key(IF_MATCH) {
        return Err(ApiError::NoPrecondition);
    }
    if has_tag(request.headers(), IF_MATCH, tag) {
        Ok(())
    } else {
        Err(ApiError::Stale)
    }
}
