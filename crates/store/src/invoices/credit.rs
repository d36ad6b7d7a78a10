//! Credit notes: what is given back of invoices, into the wallet.

use billing_core::budget::Amount;
use billing_core::id::{AccountId, CreditNoteId, InvoiceId, LotId};
use billing_core::invoice::{
    CreditAsk, CreditLine, CreditNote, CreditTo, CreditedLine, Deferral, Invoice,
};
use billing_core::ledger::{LedgerHead, LedgerKind};
use billing_core::money::{Minor, MoneyError, Nanos};
use billing_core::port::invoices::{CreditWish, InvoiceName, InvoicesError, NoteIssued};
use billing_core::port::subscriptions::RecordError;
use billing_core::subscription::Subscription;
use billing_core::wallet::{Lot, LotKind};
use sea_orm::ConnectionTrait;
use time::OffsetDateTime;

use super::issue::line_of;
use super::{Desk, Fault, book, deferral, locked, row};
use crate::books::{credit, load};
use crate::db;
use crate::error::StoreError;
use crate::instant::{get, micros};

/// What a note is to give back, and under which key.
struct Asked<'a> {
    lines: Vec<(usize, Minor)>,
    reason: &'a str,
    key: &'a str,
    fingerprint: &'a str,
    /// When the time of the lines ends with that, where it does.
    ends_at: Option<OffsetDateTime>,
}

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
    let invoice = found.ok_or(InvoicesError::NotFound)?;
    let notes = row::notes(tx, account, id).await?;
    let lines = if wish.lines.is_empty() {
        left(&invoice, &notes).map_err(Fault::from)?
    } else {
        wish.lines.clone()
    };
    let asked = Asked {
        lines,
        reason: &wish.reason,
        key: &wish.key,
        fingerprint: &fingerprint,
        ends_at: None,
    };
    let note = issue(tx, invoice, &notes, asked, desk, now).await?;
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

/// What can still be given back of each line.
fn left(invoice: &Invoice, notes: &[CreditNote]) -> Result<Vec<(usize, Minor)>, MoneyError> {
    let mut lines = Vec::new();
    for (line, whole) in invoice.content.creditable()?.into_iter().enumerate() {
        let given = notes.iter().flat_map(|note| &note.lines);
        let given = given.filter(|given| given.line == line);
        let given = Minor::total(given.map(|given| given.amount))?;
        let left = whole.amount.minus(given)?;
        if left > Minor::ZERO {
            lines.push((line, left));
        }
    }
    Ok(lines)
}

/// A change of plan gives back more than it charges: the invoices of the subscription give it back, the
/// newest first, as far as there are any.
pub(super) async fn of_change<C: ConnectionTrait>(
    tx: &C,
    subscription: &Subscription,
    back: Minor,
    desk: Desk<'_>,
    now: OffsetDateTime,
) -> Result<(), RecordError> {
    let mut rest = back;
    for invoice in row::of_subscription(tx, subscription.id, ["open", "paid"]).await? {
        if rest <= Minor::ZERO {
            break;
        }
        let (account, id) = (invoice.content.head.account, invoice.content.head.id);
        let notes = row::notes(tx, account, id).await?;
        let mut lines = Vec::new();
        for (line, left) in left(&invoice, &notes).map_err(Fault::from)? {
            let part = left.min(rest);
            if part > Minor::ZERO {
                lines.push((line, part));
                rest = rest.minus(part).map_err(Fault::from)?;
            }
        }
        if lines.is_empty() {
            continue;
        }
        let key = format!("change:{}:{}:{id}", subscription.id, subscription.revision);
        let asked = Asked {
            lines,
            reason: "change of plan",
            key: &key,
            fingerprint: &key,
            ends_at: None,
        };
        issue(tx, invoice, &notes, asked, desk, now).await?;
    }
    if rest > Minor::ZERO {
        let what = format!("{} would give back more than was charged", subscription.id);
        return Err(RecordError::Inconsistent(what));
    }
    Ok(())
}

async fn issue<C: ConnectionTrait>(
    tx: &C,
    invoice: Invoice,
    notes: &[CreditNote],
    asked: Asked<'_>,
    desk: Desk<'_>,
    now: OffsetDateTime,
) -> Result<CreditNote, Fault> {
    let account = invoice.content.head.account;
    let wallet = load::locked_wallet(tx, account).await?;
    let wallet = wallet.ok_or_else(|| StoreError::unreadable("wallet", "it is not there"))?;
    let deferrals = deferral::of_invoice(tx, &invoice).await?;
    let unearned = |line: usize| {
        deferrals
            .iter()
            .find(|(of, _)| *of == line)
            .map(|(_, d)| *d)
    };
    let lines = asked.lines.iter().map(|(line, amount)| CreditLine {
        line: *line,
        amount: *amount,
        unused: unearned(*line).map_or(Nanos::ZERO, |deferral| deferral.left),
    });
    let (number, at) = row::next_number(tx, &desk.house.credit_notes, now).await?;
    let lot = LotId::new(desk.ids.next(now).get());
    let ask = CreditAsk {
        id: CreditNoteId::new(desk.ids.next(now).get()),
        number,
        at,
        reason: asked.reason.to_owned(),
        lines: lines.collect(),
        to: CreditTo::Wallet(lot),
    };
    let issued = invoice.credit(notes, ask)?;
    let note = issued.note;
    for credited in &note.lines {
        if let Some(before) = unearned(credited.line) {
            let of = line_of(&invoice, credited.line);
            let part = taken(&invoice, credited, before)?;
            deferral::take_back(tx, of, (before, part), asked.ends_at).await?;
        }
    }
    let back = note.back.nanos(note.currency)?;
    if back > Nanos::ZERO {
        let lot = given(lot, back, now);
        credit::insert_lot(tx, account.get(), &lot).await?;
    }
    let head = LedgerHead {
        id: desk.ids.next(now),
        account,
        currency: note.currency,
        kind: LedgerKind::CreditNote,
        key: note.key(),
        booked_at: now,
    };
    let words = format!("credit note {} of {}", note.number, note.invoice_number);
    book(tx, head, issued.entries, &words, wallet.posted).await?;
    row::insert_note(tx, &note, (asked.key, asked.fingerprint)).await?;
    row::update(tx, &issued.invoice).await?;
    Ok(note)
}

/// What of a credited line was not earned.
fn taken(
    invoice: &Invoice,
    credited: &CreditedLine,
    before: Deferral,
) -> Result<Nanos, MoneyError> {
    let net = credited.net()?.nanos(invoice.content.head.currency)?;
    Ok(net.min(before.left.max(Nanos::ZERO)))
}

/// Credit that was bought once and is given back.
fn given(id: LotId, amount: Nanos, now: OffsetDateTime) -> Lot {
    let amount = Amount::of(amount);
    Lot {
        id,
        kind: LotKind::Paid,
        priority: 0,
        effective_at: now,
        expires_at: None,
        created_at: now,
        granted: amount,
        remaining: amount,
    }
}
