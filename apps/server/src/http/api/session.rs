//! Sessions: signing in, who is signed in, signing out.

use actix_web::cookie::{Cookie, SameSite, time::Duration as CookieAge};
use actix_web::{HttpRequest, HttpResponse, web};
use billing_core::port::clock::Clock;
use billing_core::port::directory::{Directory, User};
use serde::Serialize;
use time::Duration;
use utoipa::ToSchema;

use super::access::SignedIn;
use super::accounts::AccountDto;
use super::error::{ApiError, Problem};
use super::extract::Body;
use super::fields::{Fields, FromFields, Noted};
use super::sign_in::SignIns;
use super::users::UserDto;
use crate::secrets;

/// The cookie that holds a session's secret.
pub(crate) const COOKIE: &str = "tollgate_session";
/// How long a session lasts.
const LASTS: Duration = Duration::days(7);
/// How many accounts the answer lists.
const ACCOUNTS: u32 = 100;

/// Who signs in.
#[derive(ToSchema)]
pub(crate) struct NewSession {
    /// The email, in any case.
    #[schema(example = "operator@example.com", max_length = 254)]
    email: String,
    /// The password.
    #[schema(format = Password, max_length = 1000)]
    password: String,
}

impl FromFields for NewSession {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let email = fields.text("email", 1, 254);
        let email = fields.required("email", email);
        let password = fields.text("password", 1, 1000);
        let password = fields.required("password", password);
        Ok(Self {
            email: email?,
            password: password?,
        })
    }
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionDto {
    /// Who is signed in.
    user: UserDto,
    /// The accounts that the user is a member of, the first hundred.
    accounts: Vec<AccountDto>,
}

/// Sign in
///
/// Sets the cookie `tollgate_session`, which every other request of this API needs.
#[utoipa::path(
    post, path = "/api/v1/session", operation_id = "open_session", tag = "session",
    request_body = NewSession,
    responses(
        (status = 200, description = "Signed in; the cookie is set", body = SessionDto,
            headers(("set-cookie" = String, description = "The session"))),
        (status = 400, description = "The body is not JSON", body = Problem,
            content_type = "application/problem+json"),
        (status = 401, description = "Email and password do not belong together", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "From another site's page", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong", body = Problem,
            content_type = "application/problem+json"),
        (status = 429, description = "Too many tries; see Retry-After", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(()),
)]
pub(crate) async fn open(
    request: HttpRequest,
    body: Body<NewSession>,
    directory: web::Data<dyn Directory>,
    sign_ins: web::Data<SignIns>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, ApiError> {
    let NewSession { email, password } = body.0;
    let email = email.trim().to_lowercase();
    let now = clock.now();
    sign_ins.count(&email, request.peer_addr().map(|a| a.ip()), now)?;
    let (user, hash) = match directory.user_by_email(&email).await? {
        Some((user, hash)) => (Some(user), Some(hash)),
        None => (None, None),
    };
    let known = sign_ins.check(password, hash).await?;
    let user = user.filter(|_| known).ok_or(ApiError::WrongCredentials)?;
    let secret = secrets::new_session()?;
    directory
        .open_session(secrets::hash(&secret), user.id, now, now + LASTS)
        .await?;
    let cookie = cookie(&request, secret, CookieAge::days(LASTS.whole_days()));
    let session = session_of(&**directory, user).await?;
    Ok(HttpResponse::Ok().cookie(cookie).json(session))
}

/// Who is signed in
#[utoipa::path(
    get, path = "/api/v1/session", operation_id = "read_session", tag = "session",
    responses(
        (status = 200, description = "The session", body = SessionDto),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn read(
    SignedIn(user): SignedIn,
    directory: web::Data<dyn Directory>,
) -> Result<web::Json<SessionDto>, ApiError> {
    Ok(web::Json(session_of(&**directory, user).await?))
}

/// Sign out
#[utoipa::path(
    delete, path = "/api/v1/session", operation_id = "close_session", tag = "session",
    responses(
        (status = 204, description = "Signed out; the cookie is gone"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "From another site's page", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn close(
    request: HttpRequest,
    _user: SignedIn,
    directory: web::Data<dyn Directory>,
) -> Result<HttpResponse, ApiError> {
    if let Some(cookie) = request.cookie(COOKIE) {
        directory
            .close_session(secrets::hash(cookie.value()))
            .await?;
    }
    let gone = cookie(&request, String::new(), CookieAge::ZERO);
    Ok(HttpResponse::NoContent().cookie(gone).finish())
}

fn cookie(request: &HttpRequest, secret: String, age: CookieAge) -> Cookie<'static> {
    // The scheme of the connection to the outermost proxy; a lie only makes one's own cookie worse.
    let secure = request.connection_info().scheme() == "https";
    Cookie::build(COOKIE, secret)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(secure)
        .max_age(age)
        .finish()
}

async fn session_of(directory: &dyn Directory, user: User) -> Result<SessionDto, ApiError> {
    let accounts = directory.accounts(Some(user.id), None, ACCOUNTS).await?;
    Ok(SessionDto {
        user: UserDto::of(user),
        accounts: accounts.into_iter().map(AccountDto::of).collect(),
    })
}
