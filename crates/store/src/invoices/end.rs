//! Invoices that will not be paid: void, or given up.

use billing_core::id::{AccountId, InvoiceId, LotId};
use billing_core::invoice::{Booked, Invoice, LeftOpen};
use billing_core::ledger::{Entry, LedgerCode, LedgerHead, LedgerKind};
use billing_core::money::Nanos;
use billing_core::port::invoices::{InvoiceName, InvoicesError};
use billing_core::port::subscriptions::RecordError;
use billing_core::subscription::{State, Subscription};
use billing_core::wallet::Wallet;
use sea_orm::{ConnectionTrait, QueryResult};
use time::OffsetDateTime;

use super::{Desk, Fault, book, deferral, locked, row};
use crate::books::load;
use crate::coupons;
use crate::db;
use crate::error::StoreError;
use crate::instant::{get, micros};

/// Voids an invoice of which nothing was paid.
pub(super) async fn void_by_hand<C: ConnectionTrait>(
    tx: &C,
    (account, id): (AccountId, InvoiceId),
    desk: Desk<'_>,
    now: OffsetDateTime,
) -> Result<Invoice, InvoicesError> {
    let wallet = locked(tx, account).await?;
    let found = row::find(tx, account, &InvoiceName::Id(id)).await?;
    let invoice = found.ok_or(InvoicesError::NotFound)?;
    invoice.check_voidable()?;
    let voided = void(tx, invoice, &wallet, desk, now).await?;
    db::note_change(tx, "account", Some(account.get()), micros(now)).await?;
    Ok(voided)
}

async fn void<C: ConnectionTrait>(
    tx: &C,
    invoice: Invoice,
    wallet: &Wallet,
    desk: Desk<'_>,
    now: OffsetDateTime,
) -> Result<Invoice, Fault> {
    let booked = booked(tx, &invoice).await?;
    let (account, off) = (invoice.content.head.account, &invoice.content.discounts);
    coupons::given_back(tx, account, off).await?;
    // Nothing is earned of what is not paid.
    let done = invoice.void(&booked, Nanos::ZERO, now)?;
    close(tx, done, LedgerKind::InvoiceVoid, wallet, desk, now).await
}

async fn close<C: ConnectionTrait>(
    tx: &C,
    done: Booked,
    kind: LedgerKind,
    wallet: &Wallet,
    desk: Desk<'_>,
    now: OffsetDateTime,
) -> Result<Invoice, Fault> {
    let Booked { invoice, entries } = done;
    let head = LedgerHead {
        id: desk.ids.next(now),
        account: invoice.content.head.account,
        currency: invoice.content.head.currency,
        kind,
        key: invoice.end_key(),
        booked_at: now,
    };
    let note = format!("invoice {} is {}", invoice.number, invoice.status.name());
    book(tx, head, entries, &note, wallet.posted).await?;
    deferral::drop_all(tx, &invoice).await?;
    row::update(tx, &invoice).await?;
    Ok(invoice)
}

/// A subscription has ended: what it still owes is given up, or void.
pub(crate) async fn of_ended<C: ConnectionTrait>(
    tx: &C,
    subscription: &Subscription,
    desk: Desk<'_>,
    now: OffsetDateTime,
) -> Result<(), RecordError> {
    let State::Ended { why, .. } = subscription.state else {
        return Ok(());
    };
    for invoice in row::of_subscription(tx, subscription.id, ["open", "open"]).await? {
        let account = invoice.content.head.account;
        let wallet = load::locked_wallet(tx, account).await?;
        let wallet = wallet.ok_or_else(|| StoreError::unreadable("wallet", "it is not there"))?;
        let left = invoice.left_open(subscription, why).map_err(Fault::from)?;
        if left == LeftOpen::Void {
            void(tx, invoice, &wallet, desk, now).await?;
            continue;
        }
        let lines = deferral::of_invoice(tx, &invoice).await?;
        let unearned = lines.iter().map(|(_, deferral)| deferral.left);
        let unearned = unearned.into_iter().try_fold(Nanos::ZERO, Nanos::plus);
        let unearned = unearned.map_err(Fault::from)?;
        let done = invoice.write_off(unearned, now).map_err(Fault::from)?;
        close(tx, done, LedgerKind::WriteOff, &wallet, desk, now).await?;
    }
    Ok(())
}

/// What was booked when an invoice became final.
async fn booked<C: ConnectionTrait>(tx: &C, invoice: &Invoice) -> Result<Vec<Entry>, StoreError> {
    let text = "SELECT l.code, l.amount, l.lot_id FROM ledger_txn t JOIN ledger_leg l \
                ON l.account_id = t.account_id AND l.txn_id = t.id \
                WHERE t.account_id = ? AND t.idem_key = ?";
    let account = invoice.content.head.account.get();
    let rows = db::all(tx, text, vec![account.into(), invoice.key().into()]).await?;
    let of = |row: &QueryResult| {
        let code: String = get(row, "code")?;
        let unknown = || StoreError::unreadable("ledger_entry", format!("\"{code}\""));
        let lot: Option<i64> = get(row, "lot_id")?;
        Ok(Entry {
            code: LedgerCode::of_name(&code).ok_or_else(unknown)?,
            amount: Nanos::new(get(row, "amount")?),
            lot: lot.map(LotId::new),
        })
    };
    rows.iter().map(of).collect()
}
