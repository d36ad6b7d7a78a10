//! Bodies and queries, read field by field, so that a refusal names every field that is wrong.
//!
//! A type says how it is read ([`FromFields`]); [`Body`] and [`Query`] are the extractors. A field
//! that nobody asked for is refused: a misspelt limit must not be a key without a limit.

use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{FromRequest, HttpRequest, web};
use billing_core::money::{Currency, Nanos};
use futures_util::future::LocalBoxFuture;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::{ApiError, FieldError};

/// The largest body that the control API takes, in bytes.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;

/// A request type that reads itself from fields.
pub(crate) trait FromFields: Sized {
    /// Reads it; `None` when a field was wrong, which `fields` then knows.
    fn read(fields: &mut Fields) -> Option<Self>;
}

/// The body of a request.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

/// The query of a request.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<T: FromFields + 'static> FromRequest for Body<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let is_json = is_json(request);
        let bytes = web::Bytes::from_request(request, payload);
        Box::pin(async move {
            if !is_json {
                return Err(ApiError::NotJson);
            }
            let bytes = bytes.await.map_err(|error| body_error(&error))?;
            let value = serde_json::from_slice(&bytes)
                .map_err(|e| ApiError::Malformed(format!("line {}: {}", e.line(), what(&e))))?;
            match value {
                Value::Object(map) => read_all(Fields::new(map, Place::Body)).map(Self),
                _ => Err(ApiError::Malformed("it is not a JSON object".to_owned())),
            }
        })
    }
}

impl<T: FromFields> FromRequest for Query<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let pairs = web::Query::<BTreeMap<String, String>>::from_query(request.query_string());
        ready(match pairs {
            Ok(pairs) => {
                let values = pairs.into_inner().into_iter();
                let map = values
                    .map(|(name, value)| (name, Value::String(value)))
                    .collect();
                read_all(Fields::new(map, Place::Query)).map(Self)
            }
            Err(_) => Err(ApiError::Malformed(
                "the query is not well formed".to_owned(),
            )),
        })
    }
}

fn is_json(request: &HttpRequest) -> bool {
    let header = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    let kind = header.and_then(|h| h.split(';').next()).unwrap_or("");
    kind.trim().eq_ignore_ascii_case("application/json")
}

fn body_error(error: &actix_web::Error) -> ApiError {
    match error.as_error::<PayloadError>() {
        Some(PayloadError::Overflow) => ApiError::TooLarge(BODY_LIMIT),
        _ => ApiError::Malformed("it did not arrive whole".to_owned()),
    }
}

/// The kind of a JSON fault. Its own text may quote the body, which may hold a password.
fn what(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Eof => "the JSON ends too early",
        serde_json::error::Category::Syntax | serde_json::error::Category::Data => {
            "this is not JSON"
        }
        serde_json::error::Category::Io => "it did not arrive whole",
    }
}

fn read_all<T: FromFields>(mut fields: Fields) -> Result<T, ApiError> {
    let read = T::read(&mut fields);
    fields.refuse_rest();
    match read {
        Some(value) if fields.errors.is_empty() => Ok(value),
        _ => Err(ApiError::Invalid(fields.errors)),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Body,
    Query,
}

/// The fields of an object, taken one by one.
#[derive(Debug)]
pub(crate) struct Fields {
    rest: Map<String, Value>,
    place: Place,
    path: String,
    errors: Vec<FieldError>,
}

impl Fields {
    fn new(rest: Map<String, Value>, place: Place) -> Self {
        Self {
            rest,
            place,
            path: String::new(),
            errors: Vec::new(),
        }
    }

    /// Notes what is wrong with a field, and gives nothing.
    pub(crate) fn wrong<T>(&mut self, name: &str, code: &str, detail: &str) -> Option<T> {
        let name = name.replace('~', "~0").replace('/', "~1");
        self.wrong_at(&name, code, detail)
    }

    /// Notes what is wrong with a field of an object, such as `amount/currency`.
    pub(crate) fn wrong_at<T>(&mut self, path: &str, code: &str, detail: &str) -> Option<T> {
        let (pointer, parameter) = match self.place {
            Place::Body => (Some(format!("{}/{path}", self.path)), None),
            Place::Query => (None, Some(path.to_owned())),
        };
        let (code, detail) = (code.to_owned(), detail.to_owned());
        self.errors.push(FieldError {
            pointer,
            parameter,
            code,
            detail,
        });
        None
    }

    /// Notes a field that is missing, unless something is wrong with it already.
    pub(crate) fn required<T>(&mut self, name: &str, value: Option<Option<T>>) -> Option<T> {
        match value? {
            Some(value) => Some(value),
            None => self.wrong(name, "required", &format!("{name} is required.")),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.rest.remove(name).filter(|v| !v.is_null())
    }

    /// A text of so many characters. Each reader gives `None` for a wrong field and `Some(None)`
    /// for one that is not there.
    pub(crate) fn text(&mut self, name: &str, least: usize, most: usize) -> Option<Option<String>> {
        match self.take(name) {
            None => Some(None),
            Some(Value::String(text)) => {
                let length = text.chars().count();
                if (least..=most).contains(&length) && !text.contains('\0') {
                    return Some(Some(text));
                }
                let detail = format!("{name} must have {least} to {most} characters.");
                self.wrong(name, "wrong_length", &detail)
            }
            Some(_) => self.wrong(name, "not_a_text", &format!("{name} must be a text.")),
        }
    }

    /// True or false.
    pub(crate) fn flag(&mut self, name: &str) -> Option<Option<bool>> {
        match self.take(name) {
            None => Some(None),
            Some(Value::Bool(flag)) => Some(Some(flag)),
            Some(_) => self.wrong(
                name,
                "not_a_flag",
                &format!("{name} must be true or false."),
            ),
        }
    }

    /// One of some words.
    pub(crate) fn word<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str) -> Option<T>,
        words: &str,
    ) -> Option<Option<T>> {
        let Some(word) = self.text(name, 0, 1000)? else {
            return Some(None);
        };
        match read(&word) {
            Some(value) => Some(Some(value)),
            None => self.wrong(
                name,
                "unknown_value",
                &format!("{name} must be one of {words}."),
            ),
        }
    }

    /// An id with its prefix.
    pub(crate) fn id<T: FromStr>(&mut self, name: &str) -> Option<Option<T>> {
        let Some(text) = self.text(name, 0, 1000)? else {
            return Some(None);
        };
        match text.parse() {
            Ok(id) => Some(Some(id)),
            Err(_) => self.wrong(name, "not_an_id", &format!("{name} is not a valid id.")),
        }
    }

    /// An instant in RFC 3339.
    pub(crate) fn instant(&mut self, name: &str) -> Option<Option<OffsetDateTime>> {
        let Some(text) = self.text(name, 0, 1000)? else {
            return Some(None);
        };
        let read = OffsetDateTime::parse(&text, &Rfc3339);
        match read {
            Ok(at) => Some(Some(at.to_offset(time::UtcOffset::UTC))),
            Err(_) => {
                let detail = format!("{name} must be a time such as 2026-11-22T18:30:00Z.");
                self.wrong(name, "not_a_time", &detail)
            }
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, name: &str, most: usize) -> Option<Option<Vec<String>>> {
        let Some(value) = self.take(name) else {
            return Some(None);
        };
        let texts = match value {
            Value::Array(items) if items.len() <= most => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) if !text.is_empty() && text.len() <= 200 => Some(text),
                    _ => None,
                })
                .collect::<Option<Vec<String>>>(),
            _ => None,
        };
        match texts {
            Some(texts) => Some(Some(texts)),
            None => {
                let detail = format!("{name} must be a list of at most {most} short texts.");
                self.wrong(name, "not_a_list", &detail)
            }
        }
    }

    /// A whole number in a query.
    pub(crate) fn number(&mut self, name: &str, least: u32, most: u32) -> Option<Option<u32>> {
        let Some(text) = self.text(name, 0, 1000)? else {
            return Some(None);
        };
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Some(Some(number)),
            _ => {
                let detail = format!("{name} must be a number from {least} to {most}.");
                self.wrong(name, "out_of_range", &detail)
            }
        }
    }

    /// A nested object.
    pub(crate) fn object<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.take(name) {
            None => Some(None),
            Some(Value::Object(map)) => {
                let mut inner = Self::new(map, self.place);
                inner.path = format!("{}/{name}", self.path);
                let value = read(&mut inner);
                inner.refuse_rest();
                let fine = inner.errors.is_empty();
                self.errors.append(&mut inner.errors);
                if fine { value.map(Some) } else { None }
            }
            Some(_) => self.wrong(name, "not_an_object", &format!("{name} must be an object.")),
        }
    }

    /// Money that is not below zero: `{"amount": "12.50", "currency": "USD"}`.
    pub(crate) fn money(&mut self, name: &str) -> Option<Option<(Nanos, Currency)>> {
        self.object(name, |fields| {
            let amount = fields.amount();
            let code = fields.text("currency", 1, 8);
            let code = fields.required("currency", code);
            let currency = code.and_then(|code| match Currency::parse(&code) {
                Ok(currency) => Some(currency),
                Err(e) => fields.wrong("currency", "unknown_currency", &e.to_string()),
            });
            Some((amount?, currency?))
        })
    }

    fn amount(&mut self) -> Option<Nanos> {
        if self.rest.get("amount").is_some_and(Value::is_number) {
            self.rest.remove("amount");
            return self.wrong(
                "amount",
                "not_a_text",
                "amount must be a decimal number as a text, such as \"12.50\".",
            );
        }
        let text = self.text("amount", 1, 40);
        let text = self.required("amount", text)?;
        match Nanos::parse(&text) {
            Ok(amount) if amount.is_negative() => {
                self.wrong("amount", "negative", "amount must not be below zero.")
            }
            Ok(amount) => Some(amount),
            Err(error) => self.wrong("amount", "not_an_amount", &error.to_string()),
        }
    }

    fn refuse_rest(&mut self) {
        let names: Vec<String> = std::mem::take(&mut self.rest)
            .into_iter()
            .map(|(n, _)| n)
            .collect();
        for name in names {
            let shown: String = name.chars().take(60).collect();
            self.wrong::<()>(
                &name,
                "unknown_field",
                &format!("There is no field {shown} here."),
            );
        }
    }
}
