//! The journal of an account: every movement of its money, in double entry.

use actix_web::web;
use billing_core::id::{AccountId, LedgerTxnId};
use billing_core::money::Currency;
use billing_core::port::directory::{Directory, Role};
use billing_core::port::reports::{LedgerLine, Reports};
use serde::Serialize;
use utoipa::ToSchema;

use super::access::{self, SignedIn};
use super::error::{ApiError, Problem};
use super::extract::Query;
use super::wire::{MoneyDto, Page, PageOf, PageParams, instant};

/// A balanced transaction.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TransactionDto {
    /// Its id.
    #[schema(example = "txn_0001fv5kz4y00")]
    id: String,
    /// What it records.
    #[schema(example = "top_up")]
    kind: &'static str,
    /// When it counts.
    #[schema(format = DateTime)]
    booked_at: String,
    /// What is said of it.
    note: String,
    /// Its legs; they sum to zero.
    entries: Vec<EntryDto>,
}

/// One leg of a transaction.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntryDto {
    /// The ledger account.
    #[schema(example = "wallet_paid")]
    code: &'static str,
    /// Debit above zero, credit below.
    amount: MoneyDto,
    /// The lot that it touches.
    lot: Option<String>,
}

/// Puts the legs of one transaction together; they stand side by side.
fn transactions(lines: Vec<LedgerLine>, currency: Currency) -> Vec<(LedgerTxnId, TransactionDto)> {
    let mut all: Vec<(LedgerTxnId, TransactionDto)> = Vec::new();
    for line in lines {
        let entry = EntryDto {
            code: line.code.name(),
            amount: MoneyDto::of(line.amount, currency),
            lot: line.lot.map(|lot| lot.to_string()),
        };
        match all.last_mut().filter(|(id, _)| *id == line.txn) {
            Some((_, transaction)) => transaction.entries.push(entry),
            None => all.push((
                line.txn,
                TransactionDto {
                    id: line.txn.to_string(),
                    kind: line.kind.name(),
                    booked_at: instant(line.booked_at),
                    note: line.note,
                    entries: vec![entry],
                },
            )),
        }
    }
    all
}

/// List the ledger transactions of an account
///
/// Newest first.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/ledger", operation_id = "list_ledger", tag = "wallet",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        PageParams,
    ),
    responses(
        (status = 200, description = "A page of transactions", body = Page<TransactionDto>),
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
    page: Query<PageOf<LedgerTxnId>>,
    directory: web::Data<dyn Directory>,
    reports: web::Data<dyn Reports>,
) -> Result<web::Json<Page<TransactionDto>>, ApiError> {
    let account = access::account(&**directory, &user, path.into_inner(), Role::Member).await?;
    let page = page.0;
    let lines = reports
        .ledger(account.id, page.cursor, page.fetch())
        .await?;
    let all = transactions(lines, account.currency);
    Ok(page.answer(all, |(id, _)| *id, |(_, dto)| dto))
}
