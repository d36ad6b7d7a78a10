//! Before and after every request of the control API: who is it, and what is it called.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CACHE_CONTROL, HOST, HeaderMap, HeaderValue, ORIGIN};
use actix_web::http::{Method, Uri};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};
use billing_core::port::clock::Clock;
use billing_core::port::directory::{Directory, User};

use super::error::ApiError;
use super::session::COOKIE;
use crate::http::request_id;
use crate::secrets;

/// What needs nobody to be signed in.
const OPEN: [(Method, &str); 5] = [
    (Method::POST, "/api/v1/session"),
    (Method::GET, "/api/v1/prices"),
    (Method::GET, "/api/v1/prices/quote"),
    (Method::POST, "/api/v1/prices/quote"),
    (Method::GET, "/api/v1/prices/{model:.+}"),
];

/// Lets a request in, and gives the answer its id.
pub(crate) async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = request_id::new(request.request());
    let path = request.path().to_owned();
    let mut response = match let_in(&request).await {
        Ok(user) => {
            if let Some(user) = user {
                request.extensions_mut().insert(user);
            }
            next.call(request).await?.map_into_boxed_body()
        }
        Err(refusal) => request.error_response(refusal),
    };
    let refusal = response
        .response()
        .error()
        .and_then(|e| e.as_error::<ApiError>())
        .cloned();
    if let Some(refusal) = refusal {
        let rendered = refusal.render(id, Some(&path));
        response = response.into_response(rendered);
    }
    let headers = response.headers_mut();
    if let Some(id) = id {
        request_id::put(headers, id);
    }
    // Balances and keys are nobody else's to keep.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Who is signed in. Every address that exists needs somebody, except those that are open.
async fn let_in(request: &ServiceRequest) -> Result<Option<User>, ApiError> {
    if is_from_another_site(request.method(), request.headers()) {
        return Err(ApiError::CrossSite);
    }
    let Some(pattern) = request.match_pattern() else {
        return Ok(None);
    };
    let user = signed_in(request).await?;
    let is_open = OPEN.contains(&(request.method().clone(), &*pattern));
    if user.is_none() && !is_open {
        return Err(ApiError::Unauthenticated);
    }
    Ok(user)
}

async fn signed_in(request: &ServiceRequest) -> Result<Option<User>, ApiError> {
    let Some(cookie) = request.cookie(COOKIE) else {
        return Ok(None);
    };
    let directory = request
        .app_data::<web::Data<dyn Directory>>()
        .ok_or(ApiError::Internal)?;
    let clock = request
        .app_data::<web::Data<dyn Clock>>()
        .ok_or(ApiError::Internal)?;
    Ok(directory
        .session(secrets::hash(cookie.value()), clock.now())
        .await?)
}

/// Whether a browser sends a change here for another site's page. Cookies are `SameSite=Lax`; this
/// is the second wall. Programs send neither header.
fn is_from_another_site(method: &Method, headers: &HeaderMap) -> bool {
    if method.is_safe() {
        return false;
    }
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    if text("sec-fetch-site") == Some("cross-site") {
        return true;
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let origin = origin.to_str().ok().and_then(|o| o.parse::<Uri>().ok());
    let Some(origin) = origin.as_ref().and_then(Uri::authority) else {
        return true;
    };
    let host = text("x-forwarded-host")
        .or_else(|| text(HOST.as_str()))
        .unwrap_or("");
    !host.eq_ignore_ascii_case(origin.as_str())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderName;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_changes_from_this_site_or_from_programs_pass() {
        let own = ("origin", "https://bills.example:8443");
        let host = ("host", "bills.example:8443");
        for (pairs, foreign) in [
            (vec![host], false),
            (vec![host, own], false),
            (vec![host, ("origin", "https://evil.example")], true),
            (vec![host, ("origin", "null")], true),
            (vec![host, own, ("sec-fetch-site", "cross-site")], true),
            (vec![("host", "inner:1"), own], true),
            (
                vec![
                    ("host", "inner:1"),
                    ("x-forwarded-host", "bills.example:8443"),
                    own,
                ],
                false,
            ),
        ] {
            assert_eq!(
                is_from_another_site(&Method::POST, &headers(&pairs)),
                foreign,
                "{pairs:?}"
            );
            assert!(!is_from_another_site(&Method::GET, &headers(&pairs)));
        }
    }
}
