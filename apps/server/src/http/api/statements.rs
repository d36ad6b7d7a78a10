//! Statements: what moved in a wallet, month by month.

mod shown;

use actix_web::{HttpResponse, web};
use billing_core::id::AccountId;
use billing_core::invoice::Statement;
use billing_core::port::clock::Clock;
use billing_core::port::directory::{Account, Directory, Role, User};
use billing_core::port::invoices::Invoices;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

pub(crate) use self::shown::{StatedMonthDto, StatementDto, csv};
use super::access::{self, SignedIn};
use super::csv::response;
use super::error::{ApiError, Problem};
use super::extract::Query;
use super::invoices::{Paper, Setting, paper};
use crate::statements::{StatedMonth, months, of_month};

/// Which month of which account.
type Named = web::Path<(AccountId, String)>;

/// The months of which there are statements.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatedMonths {
    /// The newest first.
    data: Vec<StatedMonthDto>,
}

/// List the statements of an account
///
/// One for each month that the account has been there, by its zone, the newest first.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/statements", operation_id = "list_statements",
    tag = "wallet",
    params(("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00")),
    responses(
        (status = 200, description = "The months", body = StatedMonths),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn list(
    path: web::Path<AccountId>,
    SignedIn(user): SignedIn,
    directory: web::Data<dyn Directory>,
    clock: web::Data<dyn Clock>,
) -> Result<web::Json<StatedMonths>, ApiError> {
    let account = access::account(&**directory, &user, path.into_inner(), Role::Member).await?;
    let now = clock.now();
    let months = months(&account, now);
    let data = months.iter().map(|month| StatedMonthDto::of(month, now));
    Ok(web::Json(StatedMonths {
        data: data.collect(),
    }))
}

/// The statement that is asked for, where the user may see it.
async fn find(
    (account, month): (AccountId, String),
    user: &User,
    directory: &dyn Directory,
    (invoices, now): (&dyn Invoices, OffsetDateTime),
) -> Result<(Account, StatedMonth, Statement), ApiError> {
    let account = access::account(directory, user, account, Role::Member).await?;
    let found = of_month(&account, &month, (invoices, now)).await?;
    let (stated, statement) = found.ok_or(ApiError::NotFound("statement"))?;
    Ok((account, stated, statement))
}

/// Read a statement
///
/// The balance before, what moved, and the balance after. Usage is summed by the account's days. Of a
/// month that is not over, what moved so far.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/statements/{month}", operation_id = "read_statement",
    tag = "wallet",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        ("month" = String, Path, description = "The month", example = "2026-11"),
    ),
    responses(
        (status = 200, description = "The statement", body = StatementDto),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's; or no month in which the \
            account was there", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "More than 10,000 transactions beside usage: read the journal",
            body = Problem, content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn read(
    path: Named,
    SignedIn(user): SignedIn,
    directory: web::Data<dyn Directory>,
    invoices: web::Data<dyn Invoices>,
    clock: web::Data<dyn Clock>,
) -> Result<web::Json<StatementDto>, ApiError> {
    let now = clock.now();
    let found = find(path.into_inner(), &user, &**directory, (&**invoices, now)).await?;
    let (_, stated, statement) = found;
    Ok(web::Json(StatementDto::of(&stated, &statement, now)))
}

/// Get a statement as PDF
///
/// A4, in the account's language, or in another.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/statements/{month}/statement.pdf",
    operation_id = "statement_pdf", tag = "wallet",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        ("month" = String, Path, description = "The month", example = "2026-11"),
        ("lang" = Option<String>, Query, description = "`en` or `zh-CN`"),
    ),
    responses(
        (status = 200, description = "The statement", body = Vec<u8>,
            content_type = "application/pdf"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's; or no month in which the \
            account was there", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "More than 10,000 transactions beside usage: read the journal",
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
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, ApiError> {
    let desk = (&**invoices, clock.now());
    let found = find(path.into_inner(), &user, &**directory, desk).await?;
    on_paper(found, setting.0, Paper::Pdf).await
}

/// Get a statement as a page
///
/// One HTML page without scripts, in the account's language, or in another.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/statements/{month}/statement.html",
    operation_id = "statement_html", tag = "wallet",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        ("month" = String, Path, description = "The month", example = "2026-11"),
        ("lang" = Option<String>, Query, description = "`en` or `zh-CN`"),
    ),
    responses(
        (status = 200, description = "The statement", body = String, content_type = "text/html"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's; or no month in which the \
            account was there", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "More than 10,000 transactions beside usage: read the journal",
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
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, ApiError> {
    let desk = (&**invoices, clock.now());
    let found = find(path.into_inner(), &user, &**directory, desk).await?;
    on_paper(found, setting.0, Paper::Html).await
}

async fn on_paper(
    (account, stated, statement): (Account, StatedMonth, Statement),
    setting: Setting,
    on: Paper,
) -> Result<HttpResponse, ApiError> {
    let number = format!("statement-{}", stated.month);
    let set = move || on.of_statement(&statement, setting.lang, &account.zone);
    paper::answer(on, number, set).await
}

/// Download a statement
///
/// As comma-separated values: each movement, between the balances.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/statements/{month}/statement.csv",
    operation_id = "download_statement", tag = "wallet",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        ("month" = String, Path, description = "The month", example = "2026-11"),
    ),
    responses(
        (status = 200, description = "A line a movement, after one of names", body = String,
            content_type = "text/csv"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's; or no month in which the \
            account was there", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "More than 10,000 transactions beside usage: read the journal",
            body = Problem, content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn download(
    path: Named,
    SignedIn(user): SignedIn,
    directory: web::Data<dyn Directory>,
    invoices: web::Data<dyn Invoices>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, ApiError> {
    let desk = (&**invoices, clock.now());
    let found = find(path.into_inner(), &user, &**directory, desk).await?;
    let (_, stated, statement) = found;
    let file = format!("statement-{}.csv", stated.month);
    Ok(response(&file).body(csv(&statement)))
}
