//! Accounts: who pays.

use std::time::Duration;

use actix_web::http::header::{ETAG, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use billing_core::budget::Amount;
use billing_core::id::AccountId;
use billing_core::money::Currency;
use billing_core::port::books::Books;
use billing_core::port::clock::Clock;
use billing_core::port::directory::{Account, AccountTerms, Directory, DirectoryError, Role};
use billing_core::port::proofs::Proofs;
use billing_core::wallet::AccountStatus;
use billing_core::zone::Zone;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::{self, Operator, SignedIn};
use super::error::{ApiError, Problem};
use super::extract::{Body, Query};
use super::fields::{Fields, FromFields, Noted};
use super::wallet::WalletDto;
use super::wire::{self, MoneyDto, Page, PageOf, PageParams, instant};
use crate::gate::Callers;
use crate::ids::Ids;

/// How long a change waits for what nodes give back for it.
const RECALLED_WITHIN: Duration = Duration::from_secs(3);
/// How often it is tried meanwhile.
const RECALLED_AGAIN: Duration = Duration::from_millis(100);

/// An account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccountDto {
    /// Its id.
    #[schema(example = "acc_0001fv5kz4y00")]
    id: String,
    /// What people call it.
    #[schema(example = "Acme")]
    name: String,
    /// The currency of its wallet.
    #[schema(example = "USD")]
    currency: String,
    /// The IANA zone in which its days are cut.
    #[schema(example = "Asia/Shanghai")]
    zone: String,
    /// `active`, `suspended` by an operator, or `parked` until its books have been looked at.
    #[schema(value_type = String, example = "active")]
    status: AccountStatus,
    /// How far it may owe.
    credit_limit: MoneyDto,
    /// When it was made.
    #[schema(format = DateTime)]
    created_at: String,
}

impl AccountDto {
    /// An account on the wire.
    pub(crate) fn of(account: Account) -> Self {
        Self {
            id: account.id.to_string(),
            credit_limit: MoneyDto::of_amount(account.credit_limit, account.currency),
            currency: account.currency.code().to_owned(),
            name: account.name,
            zone: account.zone,
            status: account.status,
            created_at: instant(account.created_at),
        }
    }
}

/// An account and its money.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccountDetail {
    /// The account.
    #[serde(flatten)]
    account: AccountDto,
    /// Its money.
    wallet: WalletDto,
    /// Why it is parked; for operators, and missing where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    parked: Option<ParkedDto>,
}

/// Why an account is parked: its books did not hold.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ParkedDto {
    /// Since when.
    #[schema(format = DateTime)]
    since: String,
    /// What the proof found, in words.
    findings: Vec<String>,
}

/// What a change of the account changes: its tag does not move with every call.
fn tag_of(account: &Account) -> String {
    let (status, limit) = (account.status.name(), account.credit_limit);
    wire::tag(&[&account.id, &account.name, &account.zone, &status, &limit])
}

/// List accounts
///
/// All for an operator, else those that the user is a member of. In order of id.
#[utoipa::path(
    get, path = "/api/v1/accounts", operation_id = "list_accounts", tag = "accounts",
    params(PageParams),
    responses(
        (status = 200, description = "A page of accounts", body = Page<AccountDto>),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A parameter is wrong", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn list(
    SignedIn(user): SignedIn,
    page: Query<PageOf<AccountId>>,
    directory: web::Data<dyn Directory>,
) -> Result<web::Json<Page<AccountDto>>, ApiError> {
    let page = page.0;
    let of = (!user.operator).then_some(user.id);
    let accounts = directory.accounts(of, page.cursor, page.fetch()).await?;
    Ok(page.answer(accounts, |a| a.id, AccountDto::of))
}

/// An account to be made.
#[derive(ToSchema)]
pub(crate) struct NewAccount {
    /// What people call it.
    #[schema(example = "Acme", min_length = 1, max_length = 100)]
    name: String,
    /// The currency of its wallet; USD unless given.
    #[schema(value_type = Option<String>, example = "USD")]
    currency: Currency,
    /// The IANA zone in which its days are cut; UTC unless given.
    #[schema(value_type = Option<String>, example = "Asia/Shanghai")]
    zone: String,
    /// How far it may owe; not at all unless given.
    #[schema(value_type = Option<MoneyDto>)]
    credit_limit: Amount,
}

impl FromFields for NewAccount {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let name = fields.text("name", 1, 100);
        let name = fields.required("name", name);
        let read = |code: &str| Currency::parse(code).ok();
        let currency = fields.word("currency", read, "the ISO 4217 codes, such as USD");
        let zone = fields.word("zone", zone, "the IANA zones, such as Europe/Paris");
        let limit = fields.money("credit_limit");
        let currency = currency?.unwrap_or(Currency::USD);
        let credit_limit = match limit? {
            Some(limit) => amount_in(fields, "credit_limit", limit, currency)?,
            None => Amount::ZERO,
        };
        let zone = zone?.unwrap_or_else(|| "UTC".to_owned());
        Ok(Self {
            name: name?,
            currency,
            zone,
            credit_limit,
        })
    }
}

/// An IANA zone, by the name that it has there.
fn zone(text: &str) -> Option<String> {
    let zone: Zone = text.parse().ok()?;
    Some(zone.name().to_owned())
}

/// The amount, if it is in this currency.
pub(crate) fn amount_in(
    fields: &mut Fields,
    name: &str,
    (amount, currency): (billing_core::money::Nanos, Currency),
    wanted: Currency,
) -> Result<Amount, Noted> {
    if currency == wanted {
        return Ok(Amount::of(amount));
    }
    let detail = format!("The account's currency is {wanted}.");
    fields.wrong_at(&format!("{name}/currency"), "wrong_currency", &detail)
}

/// Make an account
#[utoipa::path(
    post, path = "/api/v1/accounts", operation_id = "create_account", tag = "accounts",
    request_body = NewAccount,
    responses(
        (status = 201, description = "Made", body = AccountDto,
            headers(("etag" = String, description = "For If-Match"))),
        (status = 400, description = "The body is not JSON", body = Problem,
            content_type = "application/problem+json"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not an operator", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn create(
    _operator: Operator,
    body: Body<NewAccount>,
    directory: web::Data<dyn Directory>,
    ids: web::Data<Ids>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, ApiError> {
    let NewAccount {
        name,
        currency,
        zone,
        credit_limit,
    } = body.0;
    let account = Account {
        id: AccountId::new(ids.next()),
        name,
        currency,
        zone,
        status: AccountStatus::Active,
        credit_limit,
        created_at: clock.now(),
    };
    directory.create_account(account.clone()).await?;
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, format!("/api/v1/accounts/{}", account.id)))
        .insert_header((ETAG, tag_of(&account)))
        .json(AccountDto::of(account)))
}

/// Read an account
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}", operation_id = "read_account", tag = "accounts",
    params(("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00")),
    responses(
        (status = 200, description = "The account and its wallet", body = AccountDetail,
            headers(("etag" = String, description = "For If-Match; moves with what can be \
                changed, not with the balance"))),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn read(
    path: web::Path<AccountId>,
    SignedIn(user): SignedIn,
    directory: web::Data<dyn Directory>,
    books: web::Data<dyn Books>,
    proofs: web::Data<dyn Proofs>,
) -> Result<HttpResponse, ApiError> {
    let account = access::account(&**directory, &user, path.into_inner(), Role::Member).await?;
    let wallet = WalletDto::read(&**books, account.id).await?;
    let tag = tag_of(&account);
    let is_told = user.operator && account.status == AccountStatus::Parked;
    let parked = if is_told {
        proofs.parked(account.id).await?
    } else {
        None
    };
    let detail = AccountDetail {
        account: AccountDto::of(account),
        wallet,
        parked: parked.map(|parked| ParkedDto {
            since: instant(parked.since),
            findings: parked.why,
        }),
    };
    Ok(HttpResponse::Ok().insert_header((ETAG, tag)).json(detail))
}

/// What is changed of an account. What is not given stays.
#[derive(ToSchema)]
pub(crate) struct AccountChange {
    /// `active` or `suspended`.
    #[schema(value_type = Option<String>, example = "suspended")]
    status: Option<AccountStatus>,
    /// How far it may owe.
    #[schema(value_type = Option<MoneyDto>)]
    credit_limit: Option<(billing_core::money::Nanos, Currency)>,
}

impl FromFields for AccountChange {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let settable = |word: &str| {
            AccountStatus::of_name(word).filter(|status| *status != AccountStatus::Parked)
        };
        let status = fields.word("status", settable, "active, suspended");
        let credit_limit = fields.money("credit_limit");
        Ok(Self {
            status: status?,
            credit_limit: credit_limit?,
        })
    }
}

/// Change an account
#[utoipa::path(
    patch, path = "/api/v1/accounts/{account}", operation_id = "change_account", tag = "accounts",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        ("If-Match" = String, Header, description = "The ETag that the change starts from"),
    ),
    request_body = AccountChange,
    responses(
        (status = 200, description = "Changed", body = AccountDto,
            headers(("etag" = String, description = "For If-Match"))),
        (status = 400, description = "The body is not JSON", body = Problem,
            content_type = "application/problem+json"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not an operator", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "The credit limit would fall below what is owed or in use",
            body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "It has changed since", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong", body = Problem,
            content_type = "application/problem+json"),
        (status = 428, description = "If-Match is missing", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
#[expect(
    clippy::too_many_arguments,
    reason = "a handler takes each thing that it uses"
)]
pub(crate) async fn change(
    request: HttpRequest,
    path: web::Path<AccountId>,
    _operator: Operator,
    body: Body<AccountChange>,
    directory: web::Data<dyn Directory>,
    shared: web::Data<Callers>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, ApiError> {
    let id = path.into_inner();
    let account = directory
        .account(id)
        .await?
        .ok_or(ApiError::NotFound("account"))?;
    wire::check_if_match(&request, &tag_of(&account))?;
    let AccountChange {
        status,
        credit_limit,
    } = body.0;
    let credit_limit = match credit_limit {
        None => account.credit_limit,
        Some((amount, currency)) if currency == account.currency => Amount::of(amount),
        Some(_) => {
            let detail = format!("The account's currency is {}.", account.currency);
            return Err(ApiError::field(
                "/credit_limit/currency",
                "wrong_currency",
                detail,
            ));
        }
    };
    let terms = AccountTerms {
        status: status.unwrap_or(account.status),
        credit_limit,
    };
    // Compared again where it is written: of two who read the same tag one is refused.
    let account = change_terms(&**directory, &account, terms, &**clock).await?;
    // Other nodes hear of it within a second; this one at once.
    shared.forget(id);
    let tag = tag_of(&account);
    Ok(HttpResponse::Ok()
        .insert_header((ETAG, tag))
        .json(AccountDto::of(account)))
}

/// Changes the terms of an account, waiting a little for what nodes give back for it.
async fn change_terms(
    directory: &dyn Directory,
    account: &Account,
    terms: AccountTerms,
    clock: &dyn Clock,
) -> Result<Account, DirectoryError> {
    let until = tokio::time::Instant::now() + RECALLED_WITHIN;
    loop {
        let changed = directory
            .update_account(account.id, account.terms(), terms, clock.now())
            .await;
        if !matches!(changed, Err(DirectoryError::OnLease)) || tokio::time::Instant::now() >= until
        {
            return changed;
        }
        tokio::time::sleep(RECALLED_AGAIN).await;
    }
}
