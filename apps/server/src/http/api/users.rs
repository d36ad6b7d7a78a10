//! Users, and their roles in accounts.

use actix_web::{HttpResponse, web};
use billing_core::id::{AccountId, UserId};
use billing_core::port::clock::Clock;
use billing_core::port::directory::{Directory, DirectoryError, Role, User};
use serde::Serialize;
use utoipa::ToSchema;

use super::access::{self, Operator, SignedIn};
use super::error::{ApiError, Problem};
use super::extract::Body;
use super::fields::{Fields, FromFields, Noted};
use super::sign_in::SignIns;
use super::wire::instant;
use crate::ids::Ids;

/// The shortest password.
const SHORTEST: usize = 12;

/// A login.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserDto {
    /// Its id.
    #[schema(example = "usr_0001fv5kz4y00")]
    id: String,
    /// The address it signs in with.
    #[schema(example = "ada@example.com")]
    email: String,
    /// Whether it runs this Tollgate.
    operator: bool,
    /// When it was made.
    #[schema(format = DateTime)]
    created_at: String,
}

impl UserDto {
    /// A user on the wire.
    pub(crate) fn of(user: User) -> Self {
        Self {
            id: user.id.to_string(),
            email: user.email,
            operator: user.operator,
            created_at: instant(user.created_at),
        }
    }
}

/// A user to be made.
#[derive(ToSchema)]
pub(crate) struct NewUser {
    /// The address to sign in with.
    #[schema(example = "ada@example.com", max_length = 254)]
    email: String,
    /// The password.
    #[schema(format = Password, min_length = 12, max_length = 1000)]
    password: String,
    /// Whether it runs this Tollgate.
    #[schema(required = false, default = false)]
    operator: bool,
}

impl FromFields for NewUser {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let email = fields.text("email", 3, 254);
        let email = fields.required("email", email).and_then(|email| {
            let email = email.trim().to_lowercase();
            let parts = email
                .split_once('@')
                .filter(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
            match parts {
                Some(_) if !email.contains(char::is_whitespace) => Ok(email),
                _ => fields.wrong("email", "not_an_email", "email must be an email address."),
            }
        });
        let password = fields.text("password", SHORTEST, 1000);
        let password = fields.required("password", password);
        let operator = fields.flag("operator");
        Ok(Self {
            email: email?,
            password: password?,
            operator: operator?.unwrap_or(false),
        })
    }
}

/// Make a user
#[utoipa::path(
    post, path = "/api/v1/users", operation_id = "create_user", tag = "users",
    request_body = NewUser,
    responses(
        (status = 201, description = "Made", body = UserDto),
        (status = 400, description = "The body is not JSON", body = Problem,
            content_type = "application/problem+json"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not an operator", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "The email is taken", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn create(
    _operator: Operator,
    body: Body<NewUser>,
    directory: web::Data<dyn Directory>,
    sign_ins: web::Data<SignIns>,
    ids: web::Data<Ids>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, ApiError> {
    let NewUser {
        email,
        password,
        operator,
    } = body.0;
    let hash = sign_ins.hash(password).await?;
    let user = User {
        id: UserId::new(ids.next()),
        email,
        operator,
        created_at: clock.now(),
    };
    directory.create_user(user.clone(), &hash).await?;
    Ok(HttpResponse::Created().json(UserDto::of(user)))
}

/// A user's role in an account.
#[derive(ToSchema)]
pub(crate) struct NewMember {
    /// `owner`: everything; `admin`: keys and money; `member`: look.
    #[schema(value_type = String, example = "admin")]
    role: Role,
}

impl FromFields for NewMember {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let role = fields.word("role", Role::of_name, "owner, admin, member");
        Ok(Self {
            role: fields.required("role", role)?,
        })
    }
}

/// A member of an account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemberDto {
    /// The account.
    account: String,
    /// The user.
    user: String,
    /// What the user may do in it.
    #[schema(value_type = String, example = "admin")]
    role: Role,
}

/// Make a user a member, or change the role
#[utoipa::path(
    put, path = "/api/v1/accounts/{account}/members/{user}", operation_id = "set_member",
    tag = "users", params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        ("user" = String, Path, description = "The user", example = "usr_0001fv5kz4y00"),
    ),
    request_body = NewMember,
    responses(
        (status = 200, description = "A member", body = MemberDto),
        (status = 400, description = "The body is not JSON", body = Problem,
            content_type = "application/problem+json"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not an owner", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account or user", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn set_member(
    path: web::Path<(AccountId, UserId)>,
    SignedIn(user): SignedIn,
    body: Body<NewMember>,
    directory: web::Data<dyn Directory>,
) -> Result<web::Json<MemberDto>, ApiError> {
    let (id, member) = path.into_inner();
    let account = access::account(&**directory, &user, id, Role::Owner).await?;
    let role = body.0.role;
    directory
        .add_member(account.id, member, role)
        .await
        .map_err(|error| match error {
            DirectoryError::NotFound => ApiError::NotFound("user"),
            other @ (DirectoryError::Stale
            | DirectoryError::Conflict(_)
            | DirectoryError::OnLease
            | DirectoryError::Unreadable { .. }
            | DirectoryError::Unavailable(_)) => other.into(),
        })?;
    let (account, user) = (account.id.to_string(), member.to_string());
    Ok(web::Json(MemberDto {
        account,
        user,
        role,
    }))
}
