//! Who may do what.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use billing_core::id::AccountId;
use billing_core::port::directory::{Account, Directory, Role, User};

use super::error::ApiError;

/// The user who is signed in.
#[derive(Debug)]
pub(crate) struct SignedIn(pub(crate) User);

/// The user who is signed in, and runs this Tollgate.
#[derive(Debug)]
pub(crate) struct Operator;

impl FromRequest for SignedIn {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let user = request.extensions().get::<User>().cloned();
        ready(user.map(Self).ok_or(ApiError::Unauthenticated))
    }
}

impl FromRequest for Operator {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(match request.extensions().get::<User>() {
            Some(user) if user.operator => Ok(Self),
            Some(_) => Err(ApiError::Forbidden("Only an operator may do this.")),
            None => Err(ApiError::Unauthenticated),
        })
    }
}

/// The account, if the user has at least this role in it. Operators have every role everywhere.
///
/// Whoever is no member is told that there is no such account, so that ids cannot be tried out.
pub(crate) async fn account(
    directory: &dyn Directory,
    user: &User,
    id: AccountId,
    least: Role,
) -> Result<Account, ApiError> {
    let unknown = || ApiError::NotFound("account");
    if !user.operator {
        let role = directory.role(id, user.id).await?.ok_or_else(unknown)?;
        if rank(role) < rank(least) {
            return Err(ApiError::Forbidden(
                "Your role in this account does not allow this.",
            ));
        }
    }
    directory.account(id).await?.ok_or_else(unknown)
}

const fn rank(role: Role) -> u8 {
    match role {
        Role::Member => 0,
        Role::Admin => 1,
        Role::Owner => 2,
    }
}
