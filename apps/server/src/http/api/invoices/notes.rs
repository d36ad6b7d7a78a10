//! Credit notes: read, and set on paper as invoices are.

use actix_web::{HttpResponse, web};
use billing_core::id::AccountId;
use billing_core::invoice::{CreditNote, Invoice};
use billing_core::port::directory::{Account, Directory, User};
use billing_core::port::invoices::Invoices;

use super::paper::answer;
use super::{CreditNoteDto, Paper, Setting, find};
use crate::http::api::access::SignedIn;
use crate::http::api::error::{ApiError, Problem};
use crate::http::api::extract::Query;

/// Which credit note of which invoice of which account.
type Named = web::Path<(AccountId, String, String)>;

/// The credit note of an invoice that has this number or id.
pub(crate) fn named<'a>(notes: &'a [CreditNote], name: &str) -> Option<&'a CreditNote> {
    let mut notes = notes.iter();
    notes.find(|note| note.number.to_string() == name || note.id.to_string() == name)
}

/// A note that the user may see, with its invoice.
async fn found(
    (account, invoice, name): (AccountId, String, String),
    user: &User,
    directory: &dyn Directory,
    invoices: &dyn Invoices,
) -> Result<(Account, Invoice, CreditNote), ApiError> {
    let (account, invoice) = find((account, invoice), user, directory, invoices).await?;
    let id = invoice.content.head.id;
    let notes = invoices.credit_notes(account.id, id).await?;
    let note = named(&notes, &name).cloned();
    Ok((
        account,
        invoice,
        note.ok_or(ApiError::NotFound("credit note"))?,
    ))
}

/// Read a credit note
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/invoices/{invoice}/credit-notes/{note}",
    operation_id = "read_credit_note", tag = "invoices",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        ("invoice" = String, Path, description = "The invoice's number or id",
            example = "INV-000001"),
        ("note" = String, Path, description = "Its number or id", example = "CN-000001"),
    ),
    responses(
        (status = 200, description = "The credit note", body = CreditNoteDto),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, invoice or credit note, or not the user's",
            body = Problem, content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn read(
    path: Named,
    SignedIn(user): SignedIn,
    directory: web::Data<dyn Directory>,
    invoices: web::Data<dyn Invoices>,
) -> Result<web::Json<CreditNoteDto>, ApiError> {
    let (_, _, note) = found(path.into_inner(), &user, &**directory, &**invoices).await?;
    Ok(web::Json(CreditNoteDto::of(&note)))
}

/// Get a credit note as PDF
///
/// A4, in the language of its invoice, or in another.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/invoices/{invoice}/credit-notes/{note}/credit-note.pdf",
    operation_id = "credit_note_pdf", tag = "invoices",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        ("invoice" = String, Path, description = "The invoice's number or id",
            example = "INV-000001"),
        ("note" = String, Path, description = "Its number or id", example = "CN-000001"),
        ("lang" = Option<String>, Query, description = "`en` or `zh-CN`"),
    ),
    responses(
        (status = 200, description = "The credit note", body = Vec<u8>,
            content_type = "application/pdf"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, invoice or credit note, or not the user's",
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
    let found = found(path.into_inner(), &user, &**directory, &**invoices).await?;
    on_paper(found, setting.0, Paper::Pdf).await
}

/// Get a credit note as a page
///
/// One HTML page without scripts, in the language of its invoice, or in another.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/invoices/{invoice}/credit-notes/{note}/credit-note.html",
    operation_id = "credit_note_html", tag = "invoices",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        ("invoice" = String, Path, description = "The invoice's number or id",
            example = "INV-000001"),
        ("note" = String, Path, description = "Its number or id", example = "CN-000001"),
        ("lang" = Option<String>, Query, description = "`en` or `zh-CN`"),
    ),
    responses(
        (status = 200, description = "The credit note", body = String, content_type = "text/html"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, invoice or credit note, or not the user's",
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
    let found = found(path.into_inner(), &user, &**directory, &**invoices).await?;
    on_paper(found, setting.0, Paper::Html).await
}

async fn on_paper(
    (account, invoice, note): (Account, Invoice, CreditNote),
    setting: Setting,
    paper: Paper,
) -> Result<HttpResponse, ApiError> {
    let number = note.number.to_string();
    let set = move || paper.of_note((&note, &invoice), setting.lang, &account.zone);
    answer(paper, number, set).await
}
