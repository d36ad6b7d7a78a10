//! Who asks for a price: nobody in particular, whoever is signed in, or the holder of an API key.

use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use billing_core::id::AccountId;
use billing_core::port::clock::Clock;
use billing_core::port::directory::{Caller, Directory, Role, User};
use billing_core::port::plans::Plans;
use billing_core::reach::Buyer;
use futures_util::future::LocalBoxFuture;

use super::access;
use super::error::ApiError;
use crate::gate::Callers;
use crate::http::caller::bearer;
use crate::secrets;

/// Who asks for a price. A key that is sent must be a good one; a session that is over is nobody's.
#[derive(Debug)]
pub(crate) struct Asking {
    who: Who,
    directory: web::Data<dyn Directory>,
    plans: web::Data<dyn Plans>,
    clock: web::Data<dyn Clock>,
}

#[derive(Debug)]
enum Who {
    Nobody,
    User(User),
    Holder(Arc<Caller>),
}

impl Asking {
    /// As which account it is asked: the one that is named, the key's, or the only one of the user.
    /// `None` for the prices that everybody pays.
    pub(crate) async fn buyer(&self, named: Option<AccountId>) -> Result<Option<Buyer>, ApiError> {
        match (&self.who, named) {
            (Who::Nobody, None) => Ok(None),
            (Who::Nobody, Some(_)) => Err(ApiError::Unauthenticated),
            (Who::Holder(caller), named) => {
                let is_another = named.is_some_and(|named| named != caller.key.account);
                if is_another {
                    return Err(ApiError::NotFound("account"));
                }
                Ok(Some(caller.buyer(self.clock.now())))
            }
            (Who::User(user), Some(named)) => {
                let account = access::account(&**self.directory, user, named, Role::Member);
                Ok(Some(self.buyer_of(account.await?.id).await?))
            }
            (Who::User(user), None) => {
                let accounts = self.directory.accounts(Some(user.id), None, 2).await?;
                match accounts.as_slice() {
                    [only] => Ok(Some(self.buyer_of(only.id).await?)),
                    [] | [_, ..] => Ok(None),
                }
            }
        }
    }

    async fn buyer_of(&self, account: AccountId) -> Result<Buyer, ApiError> {
        let subscribed = self.plans.subscribed(account).await?;
        Ok(Buyer::on(account, subscribed.as_ref(), self.clock.now()))
    }
}

impl FromRequest for Asking {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let directory = port::<dyn Directory>(&request)?;
            let user = request.extensions().get::<User>().cloned();
            let who = match holder(&request).await? {
                Some(caller) => Who::Holder(caller),
                None => user.map_or(Who::Nobody, Who::User),
            };
            Ok(Self {
                who,
                directory,
                plans: port(&request)?,
                clock: port(&request)?,
            })
        })
    }
}

async fn holder(request: &HttpRequest) -> Result<Option<Arc<Caller>>, ApiError> {
    if !request.headers().contains_key(AUTHORIZATION) {
        return Ok(None);
    }
    let key = bearer(request.headers()).ok_or(ApiError::WrongKey)?;
    let callers = port::<Callers>(request)?;
    let now = port::<dyn Clock>(request)?.now();
    let found = callers.find(secrets::hash(key)).await?;
    let caller = found.filter(|caller| caller.is_valid_at(now));
    caller.map(Some).ok_or(ApiError::WrongKey)
}

fn port<T: ?Sized + 'static>(request: &HttpRequest) -> Result<web::Data<T>, ApiError> {
    let port = request.app_data::<web::Data<T>>();
    port.cloned().ok_or(ApiError::Internal)
}
