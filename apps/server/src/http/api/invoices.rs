//! Invoices: read, set on paper, voided, credited; their credit notes; and to whom they are written.

pub(crate) mod details;
pub(crate) mod notes;
pub(super) mod paper;
mod shown;

use actix_web::{HttpRequest, HttpResponse, web};
use billing_core::id::{AccountId, InvoiceId};
use billing_core::invoice::{Invoice, Locale, StatementError};
use billing_core::money::{Currency, Minor, Money, Nanos};
use billing_core::port::clock::Clock;
use billing_core::port::directory::{Account, Directory, Role};
use billing_core::port::invoices::{CreditWish, InvoiceName, Invoices, InvoicesError};
use utoipa::ToSchema;

pub(crate) use self::paper::Paper;
pub(crate) use self::shown::{CreditNoteDto, InvoiceDto, InvoiceSummaryDto};
use super::access::{self, Operator, SignedIn};
use super::error::{ApiError, Problem};
use super::extract::{Body, Query};
use super::fields::{Fields, FromFields, Noted};
use super::wallet::idempotency_key;
use super::wire::{MoneyDto, Page, PageOf, PageParams};

/// Which invoice of which account.
type Named = web::Path<(AccountId, String)>;

/// List the invoices of an account
///
/// Newest first.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/invoices", operation_id = "list_invoices",
    tag = "invoices",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        PageParams,
    ),
    responses(
        (status = 200, description = "A page of invoices", body = Page<InvoiceSummaryDto>),
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
    page: Query<PageOf<InvoiceId>>,
    directory: web::Data<dyn Directory>,
    invoices: web::Data<dyn Invoices>,
) -> Result<web::Json<Page<InvoiceSummaryDto>>, ApiError> {
    let account = access::account(&**directory, &user, path.into_inner(), Role::Member).await?;
    let page = page.0;
    let found = invoices.list(account.id, page.cursor, page.fetch()).await?;
    let id = |invoice: &Invoice| invoice.content.head.id;
    Ok(page.answer(found, id, |invoice| InvoiceSummaryDto::of(&invoice)))
}

/// An invoice that the user may see.
async fn find(
    (account, name): (AccountId, String),
    user: &billing_core::port::directory::User,
    directory: &dyn Directory,
    invoices: &dyn Invoices,
) -> Result<(Account, Invoice), ApiError> {
    let account = access::account(directory, user, account, Role::Member).await?;
    let invoice = named(account.id, &name, invoices).await?;
    Ok((account, invoice))
}

async fn named(
    account: AccountId,
    name: &str,
    invoices: &dyn Invoices,
) -> Result<Invoice, ApiError> {
    let name: InvoiceName = match name.parse() {
        Ok(name) => name,
        Err(never) => match never {},
    };
    let found = invoices.find(account, &name).await?;
    found.ok_or(ApiError::NotFound("invoice"))
}

/// Read an invoice
///
/// With its lines, taxes and credit notes.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/invoices/{invoice}", operation_id = "read_invoice",
    tag = "invoices",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        ("invoice" = String, Path, description = "Its number or id", example = "INV-000001"),
    ),
    responses(
        (status = 200, description = "The invoice", body = InvoiceDto),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account or invoice, or not the user's",
            body = Problem, content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn read(
    path: Named,
    SignedIn(user): SignedIn,
    directory: web::Data<dyn Directory>,
    invoices: web::Data<dyn Invoices>,
) -> Result<web::Json<InvoiceDto>, ApiError> {
    let (account, invoice) = find(path.into_inner(), &user, &**directory, &**invoices).await?;
    shown(&invoice, account.id, &**invoices).await
}

async fn shown(
    invoice: &Invoice,
    account: AccountId,
    invoices: &dyn Invoices,
) -> Result<web::Json<InvoiceDto>, ApiError> {
    let id = invoice.content.head.id;
    let notes = invoices.credit_notes(account, id).await?;
    Ok(web::Json(InvoiceDto::of(invoice, &notes)))
}

/// How an invoice is to be set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(super) lang: Option<Locale>,
}

impl FromFields for Setting {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let lang = fields.word("lang", |text| text.parse().ok(), "en, zh-CN");
        Ok(Self { lang: lang? })
    }
}

/// Get an invoice as PDF
///
/// A4, in the language that it was written in, or in another.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/invoices/{invoice}/invoice.pdf",
    operation_id = "invoice_pdf", tag = "invoices",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        ("invoice" = String, Path, description = "Its number or id", example = "INV-000001"),
        ("lang" = Option<String>, Query, description = "`en` or `zh-CN`"),
    ),
    responses(
        (status = 200, description = "The invoice", body = Vec<u8>,
            content_type = "application/pdf"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account or invoice, or not the user's",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The language is unknown", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn pdf(
    path: Named,
    setting: Query<Setting>,
    SignedIn(user): SignedIn,
    directory: web::Data<dyn Directory>,
    invoices: web::Data<dyn Invoices>,
) -> Result<HttpResponse, ApiError> {
    let found = find(path.into_inner(), &user, &**directory, &**invoices).await?;
    on_paper(found, setting.0, Paper::Pdf).await
}

/// Get an invoice as a page
///
/// One HTML page without scripts, in the language that it was written in, or in another.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/invoices/{invoice}/invoice.html",
    operation_id = "invoice_html", tag = "invoices",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        ("invoice" = String, Path, description = "Its number or id", example = "INV-000001"),
        ("lang" = Option<String>, Query, description = "`en` or `zh-CN`"),
    ),
    responses(
        (status = 200, description = "The invoice", body = String, content_type = "text/html"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account or invoice, or not the user's",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The language is unknown", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn html(
    path: Named,
    setting: Query<Setting>,
    SignedIn(user): SignedIn,
    directory: web::Data<dyn Directory>,
    invoices: web::Data<dyn Invoices>,
) -> Result<HttpResponse, ApiError> {
    let found = find(path.into_inner(), &user, &**directory, &**invoices).await?;
    on_paper(found, setting.0, Paper::Html).await
}

async fn on_paper(
    (account, invoice): (Account, Invoice),
    setting: Setting,
    paper: Paper,
) -> Result<HttpResponse, ApiError> {
    let number = invoice.number.to_string();
    let set = move || paper.of_invoice(&invoice, setting.lang, &account.zone);
    paper::answer(paper, number, set).await
}

/// Void an invoice
///
/// Only one of which nothing was paid or credited: what was booked for it is undone, it keeps its
/// number, and what it asked for is forgiven.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/invoices/{invoice}/void",
    operation_id = "void_invoice", tag = "invoices",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        ("invoice" = String, Path, description = "Its number or id", example = "INV-000001"),
    ),
    responses(
        (status = 200, description = "The invoice, void", body = InvoiceDto),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not an operator", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account or invoice", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "It was paid, credited, voided or given up", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn void(
    path: Named,
    _operator: Operator,
    invoices: web::Data<dyn Invoices>,
    clock: web::Data<dyn Clock>,
) -> Result<web::Json<InvoiceDto>, ApiError> {
    let (account, name) = path.into_inner();
    let invoice = named(account, &name, &**invoices).await?;
    let id = invoice.content.head.id;
    let void = invoices.void(account, id, clock.now()).await?;
    shown(&void, account, &**invoices).await
}

/// What is to be given back of an invoice.
#[derive(ToSchema)]
pub(crate) struct NewCreditNote {
    /// Why; it stands on the note.
    #[schema(min_length = 1, max_length = 200, example = "goodwill")]
    reason: String,
    /// Of which line, by its place from 0; all of them unless given.
    #[schema(value_type = Option<u64>, example = 0)]
    line: Option<usize>,
    /// How much of that line: with taxes where prices include them, else without.
    #[schema(value_type = Option<MoneyDto>)]
    amount: Option<(Nanos, Currency)>,
}

impl FromFields for NewCreditNote {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let reason = fields.text("reason", 1, 200);
        let reason = fields.required("reason", reason);
        let line = fields.whole("line");
        let amount = fields.money("amount");
        let (line, amount) = (line?, amount?);
        if line.is_some() != amount.is_some() {
            return fields.wrong(
                "amount",
                "half_a_line",
                "give line and amount together, or neither for all that is left.",
            );
        }
        Ok(Self {
            reason: reason?,
            line: line.map(|line| usize::try_from(line).unwrap_or(usize::MAX)),
            amount,
        })
    }
}

/// Issue a credit note
///
/// Gives back one line of an invoice, or all that is left of it. What is not paid yet is lowered
/// first; the rest is bought credit in the wallet. Once for its `Idempotency-Key`.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/invoices/{invoice}/credit-notes",
    operation_id = "credit_invoice", tag = "invoices",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        ("invoice" = String, Path, description = "Its number or id", example = "INV-000001"),
        ("Idempotency-Key" = String, Header, description = "Names this note once and for all; \
            1 to 255 visible ASCII characters"),
    ),
    request_body = NewCreditNote,
    responses(
        (status = 201, description = "Issued", body = CreditNoteDto,
            headers(("idempotent-replayed" = String, description = "`true` where the key was \
                used before and nothing was issued"))),
        (status = 400, description = "The Idempotency-Key is missing, or the body is not JSON",
            body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not an operator", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account or invoice", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "It cannot be given back: more than is left, or the invoice \
            is void or given up", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong, or the key was used for another note",
            body = Problem, content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn credit(
    request: HttpRequest,
    path: Named,
    _operator: Operator,
    body: Body<NewCreditNote>,
    invoices: web::Data<dyn Invoices>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, ApiError> {
    let (account, name) = path.into_inner();
    let key = idempotency_key(request.headers())?;
    let invoice = named(account, &name, &**invoices).await?;
    let NewCreditNote {
        reason,
        line,
        amount,
    } = body.0;
    let of_currency = invoice.content.head.currency;
    let lines = match (line, amount) {
        (Some(line), Some((amount, currency))) => {
            if currency != of_currency {
                let detail = format!("The invoice is not in {currency}.");
                let pointer = "/amount/currency";
                return Err(ApiError::field(pointer, "wrong_currency", detail));
            }
            vec![(line, minor(amount, currency)?)]
        }
        (None, _) | (_, None) => Vec::new(),
    };
    let wish = CreditWish {
        lines,
        reason,
        key: format!("note:{key}"),
    };
    let id = invoice.content.head.id;
    let issued = invoices.credit(account, id, &wish, clock.now()).await?;
    let mut response = HttpResponse::Created();
    if issued.replayed {
        response.insert_header(("idempotent-replayed", "true"));
    }
    Ok(response.json(CreditNoteDto::of(&issued.note)))
}

/// An amount in minor units, which is what documents have.
fn minor(amount: Nanos, currency: Currency) -> Result<Minor, ApiError> {
    let minor = Minor::within(Money::new(amount, currency));
    if minor.nanos(currency).is_ok_and(|whole| whole == amount) {
        return Ok(minor);
    }
    let detail = format!("amount is finer than {currency} has coins.");
    Err(ApiError::field("/amount/amount", "too_fine", detail))
}

impl From<InvoicesError> for ApiError {
    fn from(error: InvoicesError) -> Self {
        match error {
            InvoicesError::NoSuchAccount => Self::NotFound("account"),
            InvoicesError::NotFound => Self::NotFound("invoice"),
            InvoicesError::Party(why) => Self::field("/party", "not_printable", why.to_string()),
            InvoicesError::Refused(_) | InvoicesError::Credit(_) => {
                Self::Conflict(error.to_string())
            }
            InvoicesError::KeyReused => Self::KeyReused,
            InvoicesError::Statement(StatementError::TooLong) => Self::Conflict(error.to_string()),
            InvoicesError::Statement(StatementError::NotAMonth(_)) => Self::NotFound("statement"),
            InvoicesError::Statement(_) | InvoicesError::Inconsistent(_) => {
                super::error::broken(&error)
            }
            InvoicesError::Unavailable(_) => super::error::away(&error),
        }
    }
}
