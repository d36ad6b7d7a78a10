//! Documents as rows: what they say in one text, and beside it what is looked for.

use billing_core::id::{AccountId, InvoiceId, SubscriptionId};
use billing_core::invoice::{CreditNote, DocumentNumber, Invoice, Numbering};
use billing_core::port::invoices::InvoiceName;
use billing_core::subscription::Fee;
use sea_orm::{ConnectionTrait, QueryResult};
use time::OffsetDateTime;

use crate::db;
use crate::error::StoreError;
use crate::instant::{get, instant, micros};
use crate::plans;

const INVOICE: &str = "invoice";
const NOTE: &str = "credit_note";
const SERIES: &str = "document_series";

/// What an invoice's row says.
pub(super) fn invoice(row: &QueryResult) -> Result<Invoice, StoreError> {
    plans::read(INVOICE, &get::<String>(row, "facts")?)
}

pub(super) fn note(row: &QueryResult) -> Result<CreditNote, StoreError> {
    plans::read(NOTE, &get::<String>(row, "facts")?)
}

/// The next number of a series, and when it counts as taken: never before the one in front of it,
/// whatever this node's clock says. Nobody else takes one until this transaction is over; one that is
/// rolled back has taken none.
pub(super) async fn next_number<C: ConnectionTrait>(
    tx: &C,
    numbering: &Numbering,
    now: OffsetDateTime,
) -> Result<(DocumentNumber, OffsetDateTime), StoreError> {
    let series = numbering.series(now);
    let text = "INSERT INTO document_series (series, last, taken_at) VALUES (?, 1, ?) \
                ON CONFLICT (series) DO UPDATE SET last = document_series.last + 1, taken_at = \
                CASE WHEN excluded.taken_at > document_series.taken_at THEN excluded.taken_at \
                ELSE document_series.taken_at END RETURNING last, taken_at";
    let values = vec![series.prefix().into(), micros(now).into()];
    let row = db::one(tx, text, values).await?;
    let row = row.ok_or_else(|| StoreError::unreadable(SERIES, "no number is given"))?;
    let last: i64 = get(&row, "last")?;
    let before = u64::try_from(last)
        .ok()
        .and_then(|last| last.checked_sub(1));
    let taken_at = instant(SERIES, get(&row, "taken_at")?)?;
    Ok((series.after(before), taken_at.max(now)))
}

/// The place of a number as stored.
fn place(number: &DocumentNumber) -> i64 {
    i64::try_from(number.sequence).unwrap_or(i64::MAX)
}

/// The newest invoice of a subscription.
pub(crate) async fn newest<C: ConnectionTrait>(
    tx: &C,
    (account, subscription): (AccountId, SubscriptionId),
) -> Result<Option<Invoice>, StoreError> {
    let text = "SELECT facts FROM invoice WHERE subscription_id = ? AND account_id = ? \
                ORDER BY id DESC LIMIT 1";
    let values = vec![subscription.get().into(), account.get().into()];
    let found = db::one(tx, text, values).await?;
    found.as_ref().map(invoice).transpose()
}

/// An invoice that has just become final.
pub(super) async fn insert<C: ConnectionTrait>(
    tx: &C,
    invoice: &Invoice,
    subscription: Option<SubscriptionId>,
) -> Result<(), StoreError> {
    let head = &invoice.content.head;
    let text = "INSERT INTO invoice (account_id, id, subscription_id, series, place, number, \
                status, issued_at, total, facts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values = vec![
        head.account.get().into(),
        head.id.get().into(),
        subscription.map(SubscriptionId::get).into(),
        invoice.number.series.prefix().into(),
        place(&invoice.number).into(),
        invoice.number.to_string().into(),
        invoice.status.name().into(),
        micros(invoice.issued_at).into(),
        invoice.content.totals.total.get().into(),
        plans::json(invoice)?.into(),
    ];
    db::run(tx, text, values).await?;
    Ok(())
}

/// What has become of an invoice.
pub(crate) async fn update<C: ConnectionTrait>(
    tx: &C,
    invoice: &Invoice,
) -> Result<(), StoreError> {
    let head = &invoice.content.head;
    let text = "UPDATE invoice SET status = ?, facts = ? WHERE account_id = ? AND id = ?";
    let values = vec![
        invoice.status.name().into(),
        plans::json(invoice)?.into(),
        head.account.get().into(),
        head.id.get().into(),
    ];
    if db::run(tx, text, values).await? == 1 {
        return Ok(());
    }
    let gone = format!("{} is not there", head.id);
    Err(StoreError::unreadable(INVOICE, gone))
}

/// A credit note that was just issued, under the key of whoever asked for it.
pub(super) async fn insert_note<C: ConnectionTrait>(
    tx: &C,
    note: &CreditNote,
    (key, fingerprint): (&str, &str),
) -> Result<(), StoreError> {
    let text = "INSERT INTO credit_note (account_id, id, invoice_id, series, place, number, \
                idem_key, fingerprint, issued_at, total, facts) \
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values = vec![
        note.account.get().into(),
        note.id.get().into(),
        note.invoice.get().into(),
        note.number.series.prefix().into(),
        place(&note.number).into(),
        note.number.to_string().into(),
        key.into(),
        fingerprint.into(),
        micros(note.issued_at).into(),
        note.total.get().into(),
        plans::json(note)?.into(),
    ];
    db::run(tx, text, values).await?;
    Ok(())
}

/// An invoice of an account, by id or number.
pub(super) async fn find<C: ConnectionTrait>(
    db: &C,
    account: AccountId,
    name: &InvoiceName,
) -> Result<Option<Invoice>, StoreError> {
    let (text, value) = match name {
        InvoiceName::Id(id) => (
            "SELECT facts FROM invoice WHERE account_id = ? AND id = ?",
            id.get().into(),
        ),
        InvoiceName::Number(number) => (
            "SELECT facts FROM invoice WHERE account_id = ? AND number = ?",
            number.as_str().into(),
        ),
    };
    let row = db::one(db, text, vec![account.get().into(), value]).await?;
    row.as_ref().map(invoice).transpose()
}

/// The invoice that asks for a fee.
pub(crate) async fn of_fee<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    fee: &Fee,
) -> Result<Option<Invoice>, StoreError> {
    let text = "SELECT i.facts FROM subscription_fee f JOIN invoice i \
                ON i.account_id = f.account_id AND i.id = f.invoice_id \
                WHERE f.fee_key = ? AND f.account_id = ?";
    let values = vec![fee.key.as_str().into(), account.get().into()];
    let row = db::one(tx, text, values).await?;
    row.as_ref().map(invoice).transpose()
}

/// The invoices of a subscription, newest first.
pub(super) async fn of_subscription<C: ConnectionTrait>(
    tx: &C,
    subscription: SubscriptionId,
    statuses: [&str; 2],
) -> Result<Vec<Invoice>, StoreError> {
    let text = "SELECT facts FROM invoice WHERE subscription_id = ? AND status IN (?, ?) \
                ORDER BY id DESC LIMIT 200";
    let [one, other] = statuses;
    let values = vec![subscription.get().into(), one.into(), other.into()];
    let rows = db::all(tx, text, values).await?;
    rows.iter().map(invoice).collect()
}

/// The credit notes of an invoice, in the order in which they were issued.
pub(super) async fn notes<C: ConnectionTrait>(
    db: &C,
    account: AccountId,
    invoice: InvoiceId,
) -> Result<Vec<CreditNote>, StoreError> {
    let text = "SELECT facts FROM credit_note WHERE account_id = ? AND invoice_id = ? ORDER BY id";
    let values = vec![account.get().into(), invoice.get().into()];
    let rows = db::all(db, text, values).await?;
    rows.iter().map(note).collect()
}

/// The credit notes of a subscription's invoices, in the order in which they were issued.
pub(super) async fn notes_of_subscription<C: ConnectionTrait>(
    db: &C,
    (account, subscription): (AccountId, SubscriptionId),
) -> Result<Vec<CreditNote>, StoreError> {
    let text = "SELECT n.facts FROM invoice i JOIN credit_note n \
                ON n.account_id = i.account_id AND n.invoice_id = i.id \
                WHERE i.account_id = ? AND i.subscription_id = ? ORDER BY n.id";
    let values = vec![account.get().into(), subscription.get().into()];
    let rows = db::all(db, text, values).await?;
    rows.iter().map(note).collect()
}
