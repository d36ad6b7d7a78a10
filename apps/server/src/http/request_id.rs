//! What a request is called: every answer says it in `x-request-id`.

use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{Error, HttpRequest, web};
use billing_core::id::CallId;

use crate::ids::Ids;

/// The header.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A new name for a request; `None` in a process that hands out none.
pub(crate) fn new(request: &HttpRequest) -> Option<CallId> {
    let ids = request.app_data::<web::Data<Ids>>()?;
    Some(CallId::new(ids.next()))
}

/// Says it in an answer.
pub(crate) fn put(headers: &mut HeaderMap, id: CallId) {
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(X_REQUEST_ID, value);
    }
}

/// Names the requests whose handler has not: a metered call is named after its record. Around every
/// call, so without a box of its own.
pub(crate) fn name_unnamed<S, B>(
    request: ServiceRequest,
    service: &S,
) -> impl Future<Output = Result<ServiceResponse<B>, Error>> + use<S, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    let answered = service.call(request);
    async move {
        let mut response = answered.await?;
        if !response.headers().contains_key(X_REQUEST_ID)
            && let Some(id) = new(response.request())
        {
            put(response.headers_mut(), id);
        }
        Ok(response)
    }
}
