//! What of fees is not earned yet: kept line by line, and booked as time passes once it is paid.

use billing_core::id::{AccountId, InvoiceId, SubscriptionId};
use billing_core::invoice::{Deferral, Draft, Invoice, recognition};
use billing_core::ledger::{LedgerHead, LedgerKind};
use billing_core::money::Nanos;
use billing_core::period::Period;
use sea_orm::{ConnectionTrait, QueryResult};
use time::OffsetDateTime;

use super::{Fault, book};
use crate::books::load;
use crate::db;
use crate::error::StoreError;
use crate::instant::{get, instant, micros};
use crate::txn_ids::TxnIds;

const TABLE: &str = "fee_deferral";

/// A line of an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineOf {
    pub(crate) account: AccountId,
    pub(crate) invoice: InvoiceId,
    pub(crate) line: usize,
}

/// Notes what of a draft's lines is not earned at once. Nothing is earned before it is paid.
pub(super) async fn insert<C: ConnectionTrait>(tx: &C, draft: &Draft) -> Result<(), Fault> {
    for (line, deferral) in draft.deferrals()? {
        let text = "INSERT INTO fee_deferral (account_id, invoice_id, line, unearned, earned_to, \
                    until_at) VALUES (?, ?, ?, ?, ?, ?)";
        let values = vec![
            draft.head.account.get().into(),
            draft.head.id.get().into(),
            place(line).into(),
            deferral.left.get().into(),
            micros(deferral.from).into(),
            micros(deferral.until).into(),
        ];
        db::run(tx, text, values).await?;
    }
    Ok(())
}

fn place(line: usize) -> i64 {
    i64::try_from(line).unwrap_or(i64::MAX)
}

/// An invoice is paid: from now on its fees are earned, as far as time has passed.
pub(crate) async fn begin<C: ConnectionTrait>(tx: &C, invoice: &Invoice) -> Result<(), StoreError> {
    for (line, left) in of_invoice(tx, invoice).await? {
        let text = "UPDATE fee_deferral SET next_at = ? \
                    WHERE account_id = ? AND invoice_id = ? AND line = ?";
        let head = &invoice.content.head;
        let values = vec![
            left.next_at().map(micros).into(),
            head.account.get().into(),
            head.id.get().into(),
            place(line).into(),
        ];
        db::run(tx, text, values).await?;
    }
    Ok(())
}

/// A fee turned out to be for another period than it was charged for, of which nothing was earned.
pub(crate) async fn move_to<C: ConnectionTrait>(
    tx: &C,
    invoice: &Invoice,
    line: usize,
    Period { start, end }: Period,
) -> Result<(), StoreError> {
    let lines = of_invoice(tx, invoice).await?.into_iter();
    for (of, left) in lines.filter(|(of, _)| *of == line) {
        let moved = Deferral {
            from: start,
            until: end,
            ..left
        };
        set(tx, line_of(invoice, of), moved).await?;
    }
    Ok(())
}

/// Notes what is left of a line. Where it is not paid, nothing of it is booked yet.
pub(super) async fn set<C: ConnectionTrait>(
    tx: &C,
    of: LineOf,
    left: Deferral,
) -> Result<(), StoreError> {
    let text = "UPDATE fee_deferral SET unearned = ?, earned_to = ?, until_at = ?, \
                next_at = CASE WHEN next_at IS NOT NULL THEN ? END \
                WHERE account_id = ? AND invoice_id = ? AND line = ?";
    let values = vec![
        left.left.get().into(),
        micros(left.from).into(),
        micros(left.until).into(),
        left.next_at().map(micros).into(),
        of.account.get().into(),
        of.invoice.get().into(),
        place(of.line).into(),
    ];
    db::run(tx, text, values).await?;
    Ok(())
}

/// What of the lines of an invoice is not earned yet, by the books.
pub(super) async fn of_invoice<C: ConnectionTrait>(
    tx: &C,
    invoice: &Invoice,
) -> Result<Vec<(usize, Deferral)>, StoreError> {
    let text = "SELECT * FROM fee_deferral WHERE account_id = ? AND invoice_id = ? ORDER BY line";
    let head = &invoice.content.head;
    let values = vec![head.account.get().into(), head.id.get().into()];
    let rows = db::all(tx, text, values).await?;
    rows.iter().map(line).collect()
}

/// What of the lines of a subscription's invoices is not earned yet, each with its invoice.
pub(super) async fn of_subscription<C: ConnectionTrait>(
    tx: &C,
    (account, subscription): (AccountId, SubscriptionId),
) -> Result<Vec<(InvoiceId, (usize, Deferral))>, StoreError> {
    let text = "SELECT d.* FROM invoice i JOIN fee_deferral d \
                ON d.account_id = i.account_id AND d.invoice_id = i.id \
                WHERE i.account_id = ? AND i.subscription_id = ? AND d.unearned > 0 \
                ORDER BY d.invoice_id, d.line";
    let values = vec![account.get().into(), subscription.get().into()];
    let rows = db::all(tx, text, values).await?;
    let of = |row: &QueryResult| Ok((InvoiceId::new(get(row, "invoice_id")?), line(row)?));
    rows.iter().map(of).collect()
}

fn line(row: &QueryResult) -> Result<(usize, Deferral), StoreError> {
    let line: i64 = get(row, "line")?;
    Ok((usize::try_from(line).unwrap_or(usize::MAX), deferral(row)?))
}

fn deferral(row: &QueryResult) -> Result<Deferral, StoreError> {
    Ok(Deferral {
        left: Nanos::new(get(row, "unearned")?),
        from: instant(TABLE, get(row, "earned_to")?)?,
        until: instant(TABLE, get(row, "until_at")?)?,
    })
}

/// An invoice is void or given up: nothing of it is earned any more.
pub(super) async fn drop_all<C: ConnectionTrait>(
    tx: &C,
    invoice: &Invoice,
) -> Result<(), StoreError> {
    let text = "UPDATE fee_deferral SET unearned = 0, next_at = NULL \
                WHERE account_id = ? AND invoice_id = ?";
    let head = &invoice.content.head;
    let values = vec![head.account.get().into(), head.id.get().into()];
    db::run(tx, text, values).await?;
    Ok(())
}

/// Lines of which something is to be booked.
pub(super) async fn due<C: ConnectionTrait>(
    db: &C,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Vec<LineOf>, StoreError> {
    let text = "SELECT account_id, invoice_id, line FROM fee_deferral WHERE next_at <= ? \
                ORDER BY next_at LIMIT ?";
    let values = vec![micros(now).into(), i64::from(limit).into()];
    let rows = db::all(db, text, values).await?;
    let of = |row: &QueryResult| {
        let line: i64 = get(row, "line")?;
        Ok(LineOf {
            account: AccountId::new(get(row, "account_id")?),
            invoice: InvoiceId::new(get(row, "invoice_id")?),
            line: usize::try_from(line).unwrap_or(usize::MAX),
        })
    };
    rows.iter().map(of).collect()
}

/// Books what a line has earned; nothing where another was first.
pub(super) async fn recognize<C: ConnectionTrait>(
    tx: &C,
    of: &LineOf,
    ids: &TxnIds,
    now: OffsetDateTime,
) -> Result<(), Fault> {
    let Some(wallet) = load::locked_wallet(tx, of.account).await? else {
        return Ok(());
    };
    let text = "SELECT * FROM fee_deferral WHERE account_id = ? AND invoice_id = ? AND line = ? \
                AND next_at IS NOT NULL";
    let values = vec![
        of.account.get().into(),
        of.invoice.get().into(),
        place(of.line).into(),
    ];
    let Some(row) = db::one(tx, text, values).await? else {
        return Ok(());
    };
    let before = deferral(&row)?;
    let Some((earned, rest)) = before.booked(now) else {
        return Ok(set(tx, *of, before).await?);
    };
    let head = LedgerHead {
        id: ids.next(now),
        account: of.account,
        currency: wallet.currency,
        kind: LedgerKind::Recognition,
        key: format!(
            "recognition:{}:{}:{}:{}",
            of.invoice,
            of.line,
            micros(rest.from),
            rest.left.get()
        ),
        booked_at: now,
    };
    let note = "fee of a subscription, earned";
    book(tx, head, recognition(earned)?, note, wallet.posted).await?;
    set(tx, *of, rest).await?;
    Ok(())
}

/// A line of an invoice.
pub(super) const fn line_of(invoice: &Invoice, line: usize) -> LineOf {
    LineOf {
        account: invoice.content.head.account,
        invoice: invoice.content.head.id,
        line,
    }
}
