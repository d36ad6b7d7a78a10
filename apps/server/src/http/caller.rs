//! Who calls: from the `Authorization` header to a caller.

use std::sync::Arc;

use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, http::header::HeaderMap};
use billing_core::port::clock::Clock;
use billing_core::port::directory::Caller;
use billing_core::wallet::AccountStatus;

use crate::gate::Callers;
use crate::http::v1::error::V1Error;
use crate::secrets;

/// Longer than any key that was ever handed out.
const LONGEST_KEY: usize = 200;

/// Identifies the caller of a `/v1` request.
pub(crate) async fn identify(
    request: &HttpRequest,
    callers: &Callers,
    clock: &dyn Clock,
) -> Result<Arc<Caller>, V1Error> {
    let key = bearer(request.headers()).ok_or(V1Error::NoKey)?;
    let found = callers.find(secrets::hash(key)).await.map_err(|error| {
        tracing::error!(%error, "a key could not be looked up");
        V1Error::StoreAway
    })?;
    let caller = found
        .filter(|c| c.is_valid_at(clock.now()))
        .ok_or(V1Error::BadKey)?;
    match caller.status {
        AccountStatus::Active => Ok(caller),
        AccountStatus::Suspended => Err(V1Error::AccountStopped),
        AccountStatus::Parked => Err(V1Error::AccountParked),
    }
}

/// The secret that is sent as a bearer.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    let key = key.trim();
    let fits = scheme.eq_ignore_ascii_case("bearer") && !key.is_empty() && key.len() < LONGEST_KEY;
    fits.then_some(key)
}
