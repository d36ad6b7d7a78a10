//! Wallets: what an account has, and how it gets more.

use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, HttpResponse, web};
use billing_core::id::{AccountId, LedgerTxnId, LotId};
use billing_core::money::{Currency, Nanos};
use billing_core::port::books::{Books, BooksError, Credited};
use billing_core::port::clock::Clock;
use billing_core::port::directory::{Directory, Role};
use billing_core::port::reports::Reports;
use billing_core::wallet::{Credit, Lot, LotKind, Wallet};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::access::{self, Operator, SignedIn};
use super::error::{ApiError, Problem};
use super::extract::Body;
use super::fields::{Fields, FromFields, Noted};
use super::wire::{MoneyDto, instant};
use crate::ids::Ids;

/// How many lots are shown.
const LOTS: u32 = 100;

/// The money of an account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WalletDto {
    /// All credit less all charges. Below zero while the account owes.
    balance: MoneyDto,
    /// Set aside on nodes for calls. Neither spent nor lost: what calls do not use comes back.
    on_lease: MoneyDto,
    /// How far the balance may go below zero.
    credit_limit: MoneyDto,
    /// What may still be set aside: balance and credit limit less what is on lease.
    available: MoneyDto,
    /// The credit that it is made of, in the order in which it is drawn; the first 100.
    lots: Vec<LotDto>,
}

/// A part of the credit of an account, added at one time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LotDto {
    /// Its id.
    #[schema(example = "lot_0001fv5kz4y00")]
    id: String,
    /// `paid` where it was bought, `promo` where it was given.
    #[schema(value_type = String, example = "promo")]
    kind: LotKind,
    /// What it held at first.
    granted: MoneyDto,
    /// What is left of it.
    remaining: MoneyDto,
    /// When what is left of it lapses; missing where it never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2027-01-31T00:00:00Z")]
    expires_at: Option<String>,
}

impl LotDto {
    fn of(lot: &Lot, currency: Currency) -> Self {
        Self {
            id: lot.id.to_string(),
            kind: lot.kind,
            granted: MoneyDto::of_amount(lot.granted, currency),
            remaining: MoneyDto::of_amount(lot.remaining, currency),
            expires_at: lot.expires_at.map(instant),
        }
    }
}

impl WalletDto {
    /// The wallet of an account with its lots.
    pub(crate) async fn read(books: &dyn Books, account: AccountId) -> Result<Self, BooksError> {
        let wallet = books.wallet(account).await?;
        let lots = books.lots(account, LOTS).await?;
        Ok(Self::of(&wallet, &lots))
    }

    fn of(wallet: &Wallet, lots: &[Lot]) -> Self {
        let lots = lots.iter().map(|lot| LotDto::of(lot, wallet.currency));
        Self {
            lots: lots.collect(),
            balance: MoneyDto::of(wallet.posted, wallet.currency),
            on_lease: MoneyDto::of_amount(wallet.leased, wallet.currency),
            credit_limit: MoneyDto::of_amount(wallet.credit_limit, wallet.currency),
            available: MoneyDto::of_amount(wallet.available(), wallet.currency),
        }
    }
}

/// Read the wallet of an account
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/wallet", operation_id = "read_wallet", tag = "wallet",
    params(("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00")),
    responses(
        (status = 200, description = "The wallet", body = WalletDto),
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
) -> Result<web::Json<WalletDto>, ApiError> {
    let account = access::account(&**directory, &user, path.into_inner(), Role::Member).await?;
    Ok(web::Json(WalletDto::read(&**books, account.id).await?))
}

/// Credit to be added.
#[derive(ToSchema)]
pub(crate) struct NewTopUp {
    /// How much; more than nothing, in the account's currency.
    #[schema(value_type = MoneyDto)]
    amount: (Nanos, Currency),
    /// `paid` for credit that was bought, `promo` for credit that is given.
    #[schema(value_type = String, example = "paid")]
    kind: LotKind,
    /// What the statement says of it.
    #[schema(required = false, max_length = 200, example = "bank transfer 4711")]
    note: String,
    /// When what is left of it lapses, a time to come; never unless given. What calls hold then stays
    /// theirs.
    #[schema(value_type = Option<String>, example = "2027-01-31T00:00:00Z")]
    expires_at: Option<OffsetDateTime>,
}

impl FromFields for NewTopUp {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let amount = fields.money("amount");
        let amount = fields
            .required("amount", amount)
            .and_then(|(amount, currency)| {
                if amount.is_zero() {
                    return fields.wrong_at(
                        "amount/amount",
                        "zero",
                        "amount must be more than nothing.",
                    );
                }
                Ok((amount, currency))
            });
        let kind = fields.word("kind", LotKind::of_name, "paid, promo");
        let kind = fields.required("kind", kind);
        let note = fields.text("note", 0, 200);
        let expires_at = fields.instant("expires_at");
        Ok(Self {
            amount: amount?,
            kind: kind?,
            note: note?.unwrap_or_default(),
            expires_at: expires_at?,
        })
    }
}

/// Credit that was added.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopUpDto {
    /// The ledger transaction that booked it.
    #[schema(example = "txn_0001fv5kz4y00")]
    id: String,
    /// The account.
    account: String,
    /// How much.
    amount: MoneyDto,
    /// Bought or given.
    #[schema(value_type = String, example = "paid")]
    kind: LotKind,
    /// What the statement says of it.
    note: String,
    /// When what is left of it lapses; missing where it never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2027-01-31T00:00:00Z")]
    expires_at: Option<String>,
    /// The balance after it.
    balance_after: MoneyDto,
}

/// Add credit to an account
///
/// Once for its `Idempotency-Key`, which is kept for ever: the same key with the same body gives
/// the first answer again and adds nothing.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/top-ups", operation_id = "top_up", tag = "wallet",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        ("Idempotency-Key" = String, Header, description = "Names this top-up once and for all; \
            1 to 255 visible ASCII characters"),
    ),
    request_body = NewTopUp,
    responses(
        (status = 201, description = "Added", body = TopUpDto,
            headers(("idempotent-replayed" = String, description = "`true` where the key was \
                used before and nothing was added"))),
        (status = 400, description = "The Idempotency-Key is missing, or the body is not JSON",
            body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not an operator", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong, or the key was used with another body",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The books cannot be reached; repeat with the same key",
            body = Problem, content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
#[expect(
    clippy::too_many_arguments,
    reason = "a handler takes each thing that it uses"
)]
pub(crate) async fn top_up(
    request: HttpRequest,
    path: web::Path<AccountId>,
    _operator: Operator,
    body: Body<NewTopUp>,
    books: web::Data<dyn Books>,
    reports: web::Data<dyn Reports>,
    ids: web::Data<Ids>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, ApiError> {
    let account = path.into_inner();
    let key = idempotency_key(request.headers())?;
    let NewTopUp {
        amount: (amount, currency),
        kind,
        note,
        expires_at,
    } = body.0;
    let now = clock.now();
    if expires_at.is_some_and(|end| end <= now) {
        return Err(ApiError::field(
            "/expires_at",
            "in_the_past",
            "expires_at has passed.",
        ));
    }
    if books.wallet(account).await?.currency != currency {
        let detail = format!("The account is not kept in {currency}.");
        return Err(ApiError::field(
            "/amount/currency",
            "wrong_currency",
            detail,
        ));
    }
    let credit = Credit {
        lot: LotId::new(ids.next()),
        kind,
        amount,
        currency,
        priority: 0,
        expires_at,
        key: format!("top_up:{key}"),
        note: note.clone(),
    };
    let credited = books.add_credit(account, credit, now).await?;
    if credited.replayed && note_of(&**reports, account, &credited).await? != Some(note.clone()) {
        return Err(ApiError::KeyReused);
    }
    let mut response = HttpResponse::Created();
    if credited.replayed {
        response.insert_header(("idempotent-replayed", "true"));
    }
    Ok(response.json(TopUpDto {
        id: credited.txn.to_string(),
        account: account.to_string(),
        amount: MoneyDto::of(amount, currency),
        kind,
        note,
        expires_at: expires_at.map(instant),
        balance_after: MoneyDto::of(credited.balance, currency),
    }))
}

/// What was noted when the key was first used: part of the body, though not of the money.
async fn note_of(
    reports: &dyn Reports,
    account: AccountId,
    credited: &Credited,
) -> Result<Option<String>, ApiError> {
    let after = LedgerTxnId::new(credited.txn.get().saturating_add(1));
    let lines = reports.ledger(account, Some(after), 1).await?;
    Ok(lines
        .into_iter()
        .find(|line| line.txn == credited.txn)
        .map(|line| line.note))
}

/// The key under which something that moves money is done once.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<String, ApiError> {
    let Some(value) = headers.get("idempotency-key") else {
        return Err(ApiError::BadHeader {
            code: "idempotency_key_required",
            detail: "Send an Idempotency-Key, so that a repetition adds nothing.".to_owned(),
        });
    };
    let key = value.to_str().unwrap_or("").trim();
    if (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(key.to_owned());
    }
    Err(ApiError::BadHeader {
        code: "idempotency_key_malformed",
        detail: "An Idempotency-Key has 1 to 255 visible ASCII characters.".to_owned(),
    })
}
