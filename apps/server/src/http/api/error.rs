//! Refusals of the control API: RFC 9457 `application/problem+json`.

use std::fmt;

use actix_web::http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpResponse, ResponseError};
use billing_core::id::CallId;
use billing_core::money::MoneyError;
use billing_core::port::books::BooksError;
use billing_core::port::directory::DirectoryError;
use billing_core::port::reports::ReportError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::secrets::SecretError;

/// Why the control API did not do what was asked.
#[derive(Debug, Clone)]
pub(crate) enum ApiError {
    /// The body is not JSON, or not an object.
    Malformed(String),
    /// A header that must be there is missing or cannot be.
    BadHeader {
        /// The code of the problem.
        code: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// Nobody is signed in.
    Unauthenticated,
    /// The API key that was sent is not valid.
    WrongKey,
    /// Email and password do not belong together.
    WrongCredentials,
    /// Whoever is signed in may not do this.
    Forbidden(&'static str),
    /// The request comes from a page of another site.
    CrossSite,
    /// What was asked for is not here, or not for this user.
    NotFound(&'static str),
    /// There is no such address.
    NoSuchPath,
    /// The address is there, but not for this method.
    WrongMethod(Vec<Method>),
    /// It contradicts what is there.
    Conflict(String),
    /// A rule does not let it happen.
    Refused {
        /// The status.
        status: StatusCode,
        /// The code of the problem.
        code: &'static str,
        /// Why, and what to do.
        detail: String,
    },
    /// Calls that are running hold the funds.
    FundsInUse(String),
    /// `If-Match` names another state than the present one.
    Stale,
    /// `If-Match` is missing.
    NoPrecondition,
    /// The body is larger than this.
    TooLarge(usize),
    /// The body is not declared as JSON.
    NotJson,
    /// Fields are not what they should be.
    Invalid(Vec<FieldError>),
    /// The idempotency key stands for another request.
    KeyReused,
    /// Too many tries; the next one in so many seconds.
    TooMany(u32),
    /// The store cannot be reached.
    StoreAway,
    /// Something here is broken. The log says what.
    Internal,
}

/// One field that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// Where it stands in the body, as a JSON pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/limit/amount")]
    pub(crate) pointer: Option<String>,
    /// Its name, where it stands in the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parameter: Option<String>,
    /// What is wrong, for programs.
    #[schema(example = "not_an_amount")]
    pub(crate) code: String,
    /// What is wrong, for people.
    pub(crate) detail: String,
}

/// A refusal as RFC 9457 shapes it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({
    "type": "urn:tollgate:problem:not_found", "title": "Not Found", "status": 404,
    "detail": "There is no such account.", "instance": "/api/v1/accounts/acc_0001fv5kz4y00",
    "code": "not_found", "request_id": "req_0001fv5kz4y01"
}))]
pub(crate) struct Problem {
    /// Names the kind of problem.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened and what to do.
    detail: String,
    /// The path that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    /// What happened, for programs.
    code: &'static str,
    /// Names this request in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// Each field that is not what it should be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

impl ApiError {
    /// One field of the body that is not what it should be.
    pub(crate) fn field(pointer: &str, code: &str, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError {
            pointer: Some(pointer.to_owned()),
            parameter: None,
            code: code.to_owned(),
            detail: detail.into(),
        }])
    }

    /// A rule does not let it happen.
    pub(crate) fn refused(status: StatusCode, code: &'static str, why: impl fmt::Display) -> Self {
        let detail = sentence(&why.to_string());
        Self::Refused {
            status,
            code,
            detail,
        }
    }

    fn class(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed"),
            Self::BadHeader { code, .. } => (StatusCode::BAD_REQUEST, code),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
            Self::WrongKey => (StatusCode::UNAUTHORIZED, "invalid_api_key"),
            Self::WrongCredentials => (StatusCode::UNAUTHORIZED, "wrong_credentials"),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
            Self::CrossSite => (StatusCode::FORBIDDEN, "cross_site"),
            Self::NotFound(_) | Self::NoSuchPath => (StatusCode::NOT_FOUND, "not_found"),
            Self::WrongMethod(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            Self::Refused { status, code, .. } => (*status, code),
            Self::FundsInUse(_) => (StatusCode::CONFLICT, "funds_in_use"),
            Self::Stale => (StatusCode::PRECONDITION_FAILED, "stale"),
            Self::NoPrecondition => (StatusCode::PRECONDITION_REQUIRED, "if_match_required"),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json"),
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            Self::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
            Self::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"),
            Self::StoreAway => (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    fn errors(&self) -> &[FieldError] {
        if let Self::Invalid(errors) = self {
            errors
        } else {
            &[]
        }
    }

    /// In how many seconds a repetition may help.
    fn retry_after_s(&self) -> Option<u32> {
        if let Self::TooMany(seconds) = self {
            return Some(*seconds);
        }
        matches!(self, Self::StoreAway | Self::FundsInUse(_)).then_some(1)
    }

    /// The answer, naming the request that it answers where that is known.
    pub(crate) fn render(&self, request_id: Option<CallId>, path: Option<&str>) -> HttpResponse {
        let (status, code) = self.class();
        let problem = Problem {
            kind: format!("urn:tollgate:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: self.to_string(),
            instance: path.map(str::to_owned),
            code,
            request_id: request_id.map(|id| id.to_string()),
            errors: self.errors().to_vec(),
        };
        let mut response = HttpResponse::build(status).json(problem);
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Self::WrongMethod(methods) = self {
            let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
            if let Ok(value) = HeaderValue::from_str(&names.join(", ")) {
                headers.insert(ALLOW, value);
            }
        }
        response
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "The body cannot be read: {why}."),
            Self::BadHeader { detail, .. } | Self::Refused { detail, .. } => f.write_str(detail),
            Self::Unauthenticated => f.write_str("Sign in first: POST /api/v1/session."),
            Self::WrongKey => f.write_str("The API key is not valid."),
            Self::WrongCredentials => f.write_str("The email or the password is wrong."),
            Self::Forbidden(why) => f.write_str(why),
            Self::CrossSite => f.write_str("This request comes from another site's page."),
            Self::NotFound(what) => write!(f, "There is no such {what}."),
            Self::NoSuchPath => f.write_str("There is no such address. /openapi.json lists all."),
            Self::WrongMethod(_) => f.write_str("This address does not take that method."),
            Self::Conflict(why) | Self::FundsInUse(why) => f.write_str(why),
            Self::Stale => f.write_str("It has changed since. Read it again and repeat."),
            Self::NoPrecondition => {
                f.write_str("Send the ETag of what you are changing as If-Match.")
            }
            Self::TooLarge(limit) => write!(f, "The body is larger than {limit} bytes."),
            Self::NotJson => f.write_str("Send the body as Content-Type: application/json."),
            Self::Invalid(errors) => match errors.as_slice() {
                [one] => f.write_str(&one.detail),
                many => write!(f, "{} fields are not what they should be.", many.len()),
            },
            Self::KeyReused => {
                f.write_str("This Idempotency-Key was used before with another body.")
            }
            Self::TooMany(seconds) => write!(f, "Too many tries. Wait {seconds} s."),
            Self::StoreAway => f.write_str("The books cannot be reached. Try again shortly."),
            Self::Internal => f.write_str("Something broke here. The log has this request id."),
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.class().0
    }

    fn error_response(&self) -> HttpResponse {
        self.render(None, None)
    }
}

impl From<DirectoryError> for ApiError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::NotFound => Self::NotFound("account, key or user"),
            DirectoryError::Stale => Self::Stale,
            DirectoryError::Conflict(why) => Self::Conflict(why),
            DirectoryError::OnLease => Self::Conflict(error.to_string()),
            DirectoryError::Unreadable { .. } => broken(&error),
            DirectoryError::Unavailable(_) => away(&error),
        }
    }
}

impl From<BooksError> for ApiError {
    fn from(error: BooksError) -> Self {
        match error {
            BooksError::NoSuchBudget => Self::NotFound("account"),
            BooksError::KeyReused => Self::KeyReused,
            BooksError::Money(why) => money(&why, "/amount"),
            BooksError::OnLease | BooksError::AdjustedMeanwhile(_) => {
                Self::Conflict(error.to_string())
            }
            BooksError::Fenced | BooksError::Inconsistent(_) | BooksError::NoLongerKept => {
                broken(&error)
            }
            BooksError::Unavailable(_) => away(&error),
        }
    }
}

impl From<ReportError> for ApiError {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Unreadable { .. } => broken(&error),
            ReportError::Unavailable(_) => away(&error),
        }
    }
}

impl From<SecretError> for ApiError {
    fn from(error: SecretError) -> Self {
        broken(&error)
    }
}

/// An amount that the books cannot record.
fn money(error: &MoneyError, pointer: &str) -> ApiError {
    let code = match error {
        MoneyError::OutOfRange => "out_of_range",
        MoneyError::Malformed(_) | MoneyError::NotExact(_) => "not_an_amount",
        MoneyError::CurrencyMismatch(..) => "wrong_currency",
        MoneyError::UnknownCurrency(_) => "unknown_currency",
    };
    ApiError::field(pointer, code, error.to_string())
}

/// A reason as a sentence.
pub(super) fn sentence(why: &str) -> String {
    let mut rest = why.chars();
    let first = rest.next().into_iter().flat_map(char::to_uppercase);
    let mut sentence: String = first.chain(rest).collect();
    if !sentence.ends_with('.') {
        sentence.push('.');
    }
    sentence
}

pub(super) fn away(error: &dyn std::error::Error) -> ApiError {
    tracing::error!(error = %chain(error), "the store did not answer a request of the control API");
    ApiError::StoreAway
}

pub(super) fn broken(error: &dyn std::error::Error) -> ApiError {
    tracing::error!(error = %chain(error), "a request of the control API met something broken");
    ApiError::Internal
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
