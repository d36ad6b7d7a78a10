//! Credit notes: what is given back of invoices, into the wallet.

use billing_core::id::{AccountId, CreditNoteId, InvoiceId, LotId, SubscriptionId};
use billing_core::invoice::{CreditNote, Invoice, Invoiced, NoteIssue, NotePlan};
use billing_core::ledger::{LedgerHead, LedgerKind};
use billing_core::port::invoices::{CreditWish, InvoiceName, InvoicesError, NoteIssued};
use sea_orm::ConnectionTrait;
use time::OffsetDateTime;

use super::deferral::line_of;
use super::{Desk, Fault, book, deferral, locked, row};
use crate::books::{load, lots};
use crate::db;
use crate::error::StoreError;
use crate::instant::{get, micros};

/// Gives back what a person wishes, once for its key.
pub(super) async fn by_hand<C: ConnectionTrait>(
    tx: &C,
    (account, id): (AccountId, InvoiceId),
    wish: &CreditWish,
    desk: Desk<'_>,
    now: OffsetDateTime,
) -> Result<NoteIssued, InvoicesError> {
    locked(tx, account).await?;
    let fingerprint = fingerprint(id, wish);
    let text = "SELECT facts, fingerprint FROM credit_note WHERE account_id = ? AND idem_key = ?";
    let values = vec![account.get().into(), wish.key.as_str().into()];
    if let Some(before) = db::one(tx, text, values).await? {
        if get::<String>(&before, "fingerprint")? != fingerprint {
            return Err(InvoicesError::KeyReused);
        }
        return Ok(NoteIssued {
            note: row::note(&before)?,
            replayed: true,
        });
    }
    let found = row::find(tx, account, &InvoiceName::Id(id)).await?;
    let of = Invoiced {
        unearned: match &found {
            Some(invoice) => deferral::of_invoice(tx, invoice).await?,
            None => Vec::new(),
        },
        invoice: found.ok_or(InvoicesError::NotFound)?,
        notes: row::notes(tx, account, id).await?,
    };
    let lines = if wish.lines.is_empty() {
        of.creditable().map_err(Fault::from)?
    } else {
        wish.lines.clone()
    };
    let plan = NotePlan {
        of,
        lines,
        reason: wish.reason.clone(),
        key: wish.key.clone(),
    };
    let note = issue(tx, &plan, &fingerprint, desk, now).await?;
    db::note_change(tx, "account", Some(account.get()), micros(now)).await?;
    Ok(NoteIssued {
        note,
        replayed: false,
    })
}

/// What must be the same when a key comes again.
fn fingerprint(invoice: InvoiceId, wish: &CreditWish) -> String {
    let lines = wish.lines.iter();
    let lines = lines.map(|(line, amount)| format!("{line}={}", amount.get()));
    let lines: Vec<String> = lines.collect();
    format!("{invoice} {} {}", lines.join(","), wish.reason)
}

/// The invoices of a subscription that are open or paid, the newest first, with what became of them.
pub(super) async fn of_subscription<C: ConnectionTrait>(
    tx: &C,
    of: (AccountId, SubscriptionId),
) -> Result<Vec<Invoiced>, StoreError> {
    let invoices = row::of_subscription(tx, of.1, ["open", "paid"]).await?;
    let notes = row::notes_of_subscription(tx, of).await?;
    let unearned = deferral::of_subscription(tx, of).await?;
    let with = |invoice: Invoice| {
        let id = invoice.content.head.id;
        let notes = notes.iter().filter(|note| note.invoice == id).cloned();
        let lines = unearned.iter().filter(|(of, _)| *of == id);
        Invoiced {
            invoice,
            notes: notes.collect(),
            unearned: lines.map(|(_, line)| *line).collect(),
        }
    };
    Ok(invoices.into_iter().map(with).collect())
}

/// Issues a note, whose key must be free for this account.
pub(super) async fn issue<C: ConnectionTrait>(
    tx: &C,
    plan: &NotePlan,
    fingerprint: &str,
    desk: Desk<'_>,
    now: OffsetDateTime,
) -> Result<CreditNote, Fault> {
    let account = plan.of.invoice.content.head.account;
    let wallet = load::locked_wallet(tx, account).await?;
    let wallet = wallet.ok_or_else(|| StoreError::unreadable("wallet", "it is not there"))?;
    let (number, at) = row::next_number(tx, &desk.house.credit_notes, now).await?;
    let made = plan.issue(NoteIssue {
        id: CreditNoteId::new(desk.ids.next(now).get()),
        number,
        at,
        lot: LotId::new(desk.ids.next(now).get()),
        now,
    })?;
    for (line, rest) in made.unearned {
        deferral::set(tx, line_of(&made.invoice, line), rest).await?;
    }
    if let Some(lot) = &made.lot {
        lots::insert(tx, account, lot).await?;
    }
    let note = made.note;
    let head = LedgerHead {
        id: desk.ids.next(now),
        account,
        currency: note.currency,
        kind: LedgerKind::CreditNote,
        key: note.key(),
        booked_at: now,
    };
    let words = format!("credit note {} of {}", note.number, note.invoice_number);
    book(tx, head, made.entries, &words, wallet.posted).await?;
    row::insert_note(tx, &note, (&plan.key, fingerprint)).await?;
    row::update(tx, &made.invoice).await?;
    Ok(note)
}
