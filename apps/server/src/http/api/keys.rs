//! API keys: shown once, kept as a hash.

use actix_web::{HttpResponse, web};
use billing_core::budget::LimitWindow;
use billing_core::id::{AccountId, KeyId, UserId};
use billing_core::money::{Currency, Nanos};
use billing_core::port::clock::Clock;
use billing_core::port::directory::{ApiKey, Directory, DirectoryError, KeyLimit, Role};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::access::{self, SignedIn};
use super::error::{ApiError, Problem};
use super::extract::{Body, Query};
use super::fields::{Fields, FromFields, Noted};
use super::wire::{MoneyDto, Page, PageOf, PageParams, instant};
use crate::gate::Callers;
use crate::ids::Ids;
use crate::secrets;

/// A key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyDto {
    /// Its id.
    #[schema(example = "key_0001fv5kz4y00")]
    id: String,
    /// What people call it.
    #[schema(example = "production")]
    name: String,
    /// The member of the account whose it is: usage is reported by it. Null for nobody's.
    #[schema(example = "usr_0001fv5kz4y00")]
    member: Option<String>,
    /// The first characters of the secret, to recognize it by.
    #[schema(example = "sk-tg-4fQz1A")]
    prefix: String,
    /// The most that may be spent with it.
    limit: Option<KeyLimitDto>,
    /// The models that it may use, as names or prefixes with `*`; empty for all.
    #[schema(example = json!(["gpt-4o", "sim/*"]))]
    models: Vec<String>,
    /// Whether an answer is shortened to what the funds allow instead of being refused.
    cap_output: bool,
    /// When it was made.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it stops working by itself.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// When it was revoked.
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
}

/// The most that may be spent with a key in each window.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyLimitDto {
    /// How much.
    amount: MoneyDto,
    /// How often it starts anew, in UTC: `lifetime`, `daily`, `weekly`, `monthly`.
    #[schema(value_type = String, example = "monthly")]
    window: LimitWindow,
}

/// A key that was just made. Its secret is never shown again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewKeyDto {
    /// The key.
    #[serde(flatten)]
    key: KeyDto,
    /// What calls are made with: `Authorization: Bearer sk-…`.
    #[schema(example = "sk-tg-…")]
    secret: String,
}

impl KeyDto {
    fn of(key: ApiKey, currency: Currency) -> Self {
        let limit = key.limit.map(|limit| KeyLimitDto {
            amount: MoneyDto::of_amount(limit.amount, currency),
            window: limit.window,
        });
        Self {
            id: key.id.to_string(),
            name: key.name,
            member: key.member.map(|member| member.to_string()),
            prefix: key.visible_prefix,
            limit,
            models: key.models,
            cap_output: key.cap_output,
            created_at: instant(key.created_at),
            expires_at: key.expires_at.map(instant),
            revoked_at: key.revoked_at.map(instant),
        }
    }
}

/// List the keys of an account
///
/// Revoked ones included, in order of id.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/keys", operation_id = "list_keys", tag = "keys",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        PageParams,
    ),
    responses(
        (status = 200, description = "A page of keys", body = Page<KeyDto>),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A parameter is wrong", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn list(
    path: web::Path<AccountId>,
    SignedIn(user): SignedIn,
    page: Query<PageOf<KeyId>>,
    directory: web::Data<dyn Directory>,
) -> Result<web::Json<Page<KeyDto>>, ApiError> {
    let account = access::account(&**directory, &user, path.into_inner(), Role::Member).await?;
    let page = page.0;
    let keys = directory
        .keys(account.id, page.cursor, page.fetch())
        .await?;
    let render = |key| KeyDto::of(key, account.currency);
    Ok(page.answer(keys, |k| k.id, render))
}

/// A key to be made.
#[derive(ToSchema)]
pub(crate) struct NewKey {
    /// What people call it.
    #[schema(example = "production", min_length = 1, max_length = 100)]
    name: String,
    /// The member of the account whose it is, for good: usage is reported by it. Nobody's unless
    /// given.
    #[schema(value_type = Option<String>, example = "usr_0001fv5kz4y00")]
    member: Option<UserId>,
    /// The most that may be spent with it; no bound but the wallet unless given.
    #[schema(value_type = Option<NewKeyLimit>)]
    limit: Option<(Nanos, Currency, LimitWindow)>,
    /// The models that it may use, as names or prefixes with `*`; all unless given.
    #[schema(required = false, max_items = 100, example = json!(["gpt-4o", "sim/*"]))]
    models: Vec<String>,
    /// When it stops working by itself; never unless given.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<OffsetDateTime>,
    /// Whether to shorten an answer to what the funds allow instead of refusing the call.
    #[schema(required = false, default = false)]
    cap_output: bool,
}

/// The most that may be spent with a key.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what NewKey reads")]
pub(crate) struct NewKeyLimit {
    /// How much, in the account's currency.
    amount: MoneyDto,
    /// `lifetime`, `daily`, `weekly` or `monthly`.
    #[schema(example = "monthly")]
    window: String,
}

impl FromFields for NewKey {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let name = fields.text("name", 1, 100);
        let name = fields.required("name", name);
        let member = fields.id("member");
        let limit = fields.object("limit", |limit| {
            let amount = limit.money("amount");
            let amount = limit.required("amount", amount);
            let words = "lifetime, daily, weekly, monthly";
            let window = limit.word("window", LimitWindow::of_name, words);
            let window = limit.required("window", window);
            let (amount, currency) = amount?;
            Ok((amount, currency, window?))
        });
        let models = fields.texts("models", 100);
        let models = models.and_then(|models| {
            let models = models.unwrap_or_default();
            let plain = |m: &String| !m.strip_suffix('*').unwrap_or(m).contains('*');
            if models.iter().all(plain) {
                return Ok(models);
            }
            fields.wrong(
                "models",
                "not_a_pattern",
                "A * may only stand at the end of a model.",
            )
        });
        let expires_at = fields.instant("expires_at");
        let cap_output = fields.flag("cap_output");
        Ok(Self {
            name: name?,
            member: member?,
            limit: limit?,
            models: models?,
            expires_at: expires_at?,
            cap_output: cap_output?.unwrap_or(false),
        })
    }
}

/// Make a key
///
/// The answer holds the secret. It is kept as a hash only and never shown again.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/keys", operation_id = "create_key", tag = "keys",
    params(("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00")),
    request_body = NewKey,
    responses(
        (status = 201, description = "Made", body = NewKeyDto),
        (status = 400, description = "The body is not JSON", body = Problem,
            content_type = "application/problem+json"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Neither admin nor owner of the account", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
#[expect(
    clippy::too_many_arguments,
    reason = "a handler takes each thing that it uses"
)]
pub(crate) async fn create(
    path: web::Path<AccountId>,
    SignedIn(user): SignedIn,
    body: Body<NewKey>,
    directory: web::Data<dyn Directory>,
    shared: web::Data<Callers>,
    ids: web::Data<Ids>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, ApiError> {
    let account = access::account(&**directory, &user, path.into_inner(), Role::Admin).await?;
    let NewKey {
        name,
        member,
        limit,
        models,
        expires_at,
        cap_output,
    } = body.0;
    let now = clock.now();
    if expires_at.is_some_and(|at| at <= now) {
        return Err(ApiError::field(
            "/expires_at",
            "in_the_past",
            "expires_at has passed.",
        ));
    }
    if limit.is_some_and(|(_, currency, _)| currency != account.currency) {
        let detail = format!("The account's currency is {}.", account.currency);
        return Err(ApiError::field(
            "/limit/amount/currency",
            "wrong_currency",
            detail,
        ));
    }
    if let Some(member) = member {
        let role = directory.role(account.id, member).await?;
        role.ok_or_else(|| {
            let detail = format!("{member} is no member of the account.");
            ApiError::field("/member", "no_member", detail)
        })?;
    }
    let secret = secrets::new_api_key()?;
    let limit = limit.map(|(amount, _, window)| KeyLimit {
        amount: billing_core::budget::Amount::of(amount),
        window,
    });
    let key = ApiKey {
        id: KeyId::new(ids.next()),
        account: account.id,
        member,
        name,
        visible_prefix: secrets::visible_prefix(&secret),
        limit,
        models,
        cap_output,
        created_at: now,
        expires_at,
        revoked_at: None,
    };
    directory
        .create_key(key.clone(), secrets::hash(&secret))
        .await?;
    shared.forget(account.id);
    let key = KeyDto::of(key, account.currency);
    Ok(HttpResponse::Created().json(NewKeyDto { key, secret }))
}

/// Revoke a key
///
/// For good, and on this node at once; on others within a second. Again changes nothing.
#[utoipa::path(
    delete, path = "/api/v1/accounts/{account}/keys/{key}", operation_id = "revoke_key",
    tag = "keys", params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        ("key" = String, Path, description = "The key", example = "key_0001fv5kz4y00"),
    ),
    responses(
        (status = 200, description = "Revoked", body = KeyDto),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Neither admin nor owner of the account", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account or key", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn revoke(
    path: web::Path<(AccountId, KeyId)>,
    SignedIn(user): SignedIn,
    directory: web::Data<dyn Directory>,
    shared: web::Data<Callers>,
    clock: web::Data<dyn Clock>,
) -> Result<web::Json<KeyDto>, ApiError> {
    let (id, key) = path.into_inner();
    let account = access::account(&**directory, &user, id, Role::Admin).await?;
    let revoked = directory.revoke_key(account.id, key, clock.now()).await;
    shared.forget(account.id);
    let key = revoked.map_err(|error| match error {
        DirectoryError::NotFound => ApiError::NotFound("key"),
        other @ (DirectoryError::Stale
        | DirectoryError::Conflict(_)
        | DirectoryError::OnLease
        | DirectoryError::Unreadable { .. }
        | DirectoryError::Unavailable(_)) => other.into(),
    })?;
    Ok(web::Json(KeyDto::of(key, account.currency)))
}
