//! Extractors: the body and the query of a request, read by [`super::fields`].

use std::collections::BTreeMap;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::future::LocalBoxFuture;
use serde_json::Value;

use super::error::ApiError;
use super::fields::{FromFields, Place, read};
use super::once_each::OnceEach;

/// The largest body that the control API takes, in bytes.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;

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
            let OnceEach(value) = serde_json::from_slice(&bytes)
                .map_err(|e| ApiError::Malformed(format!("line {}: {}", e.line(), what(&e))))?;
            let Value::Object(map) = value else {
                return Err(ApiError::Malformed("it is not a JSON object".to_owned()));
            };
            read(map, Place::Body).map(Self)
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
                read(map, Place::Query).map(Self)
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
        serde_json::error::Category::Syntax => "this is not JSON",
        // Every value is read, whatever it is; only a second member of one name is not.
        serde_json::error::Category::Data => "a member stands twice; keep one of the two",
        serde_json::error::Category::Io => "it did not arrive whole",
    }
}
