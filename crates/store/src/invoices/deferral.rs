//! What of fees is not earned yet: kept line by line, and booked as time passes once it is paid.

use billing_core::id::{AccountId, InvoiceId};
use billing_core::invoice::{Deferral, Draft, Invoice, recognition};
use billing_core::ledger::{LedgerHead, LedgerKind};
use billing_core::money::Nanos;
use billing_core::period::Period;
use sea_orm::{ConnectionTrait, QueryResult};
use time::{Duration, OffsetDateTime, Time, UtcOffset};

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
    let text = "UPDATE fee_deferral SET next_at = CASE WHEN unearned > 0 THEN earned_to END \
                WHERE account_id = ? AND invoice_id = ?";
    let head = &invoice.content.head;
    let values = vec![head.account.get().into(), head.id.get().into()];
    db::run(tx, text, values).await?;
    Ok(())
}

/// A fee turned out to be for another period than it was charged for, of which nothing was earned.
pub(crate) async fn move_to<C: ConnectionTrait>(
    tx: &C,
    invoice: &Invoice,
    line: usize,
    period: Period,
) -> Result<(), StoreError> {
    let text = "UPDATE fee_deferral SET earned_to = ?, until_at = ?, \
                next_at = CASE WHEN next_at IS NOT NULL THEN ? END \
                WHERE account_id = ? AND invoice_id = ? AND line = ?";
    let head = &invoice.content.head;
    let values = vec![
        micros(period.start).into(),
        micros(period.end).into(),
        micros(period.start).into(),
        head.account.get().into(),
        head.id.get().into(),
        place(line).into(),
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
    let of = |row: &QueryResult| {
        let line: i64 = get(row, "line")?;
        Ok((usize::try_from(line).unwrap_or(usize::MAX), deferral(row)?))
    };
    rows.iter().map(of).collect()
}

fn deferral(row: &QueryResult) -> Result<Deferral, StoreError> {
    Ok(Deferral {
        left: Nanos::new(get(row, "unearned")?),
        from: instant(TABLE, get(row, "earned_to")?)?,
        until: instant(TABLE, get(row, "until_at")?)?,
    })
}

/// Takes back what is not earned of a line. Where its time ends with that, what is left is earned by
/// then.
pub(super) async fn take_back<C: ConnectionTrait>(
    tx: &C,
    of: LineOf,
    (before, amount): (Deferral, Nanos),
    ends_at: Option<OffsetDateTime>,
) -> Result<(), StoreError> {
    let (_, rest) = before.taken_back(amount);
    let until = ends_at.map_or(rest.until, |end| {
        end.clamp(rest.from, rest.until.max(rest.from))
    });
    let is_done = rest.left <= Nanos::ZERO;
    let text = "UPDATE fee_deferral SET unearned = ?, until_at = ?, next_at = CASE \
                WHEN ? OR next_at IS NULL THEN NULL ELSE earned_to END \
                WHERE account_id = ? AND invoice_id = ? AND line = ?";
    let values = vec![
        rest.left.get().into(),
        micros(until).into(),
        is_done.into(),
        of.account.get().into(),
        of.invoice.get().into(),
        place(of.line).into(),
    ];
    db::run(tx, text, values).await?;
    Ok(())
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

/// Lines of which something was earned up to the last midnight, or up to their end.
pub(super) async fn due<C: ConnectionTrait>(
    db: &C,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Vec<LineOf>, StoreError> {
    let text = "SELECT account_id, invoice_id, line FROM fee_deferral WHERE next_at <= ? \
                AND (until_at <= ? OR earned_to < ?) ORDER BY next_at LIMIT ?";
    let values = vec![
        micros(now).into(),
        micros(now).into(),
        micros(midnight(now)).into(),
        i64::from(limit).into(),
    ];
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

/// Books what a line has earned up to the last midnight, or to its end; nothing where another was
/// first.
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
    let upto = if before.until <= now {
        before.until
    } else {
        midnight(now)
    };
    let (earned, rest) = before.earned(upto);
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
    let is_done = rest.left <= Nanos::ZERO;
    let tomorrow = midnight(rest.from).saturating_add(Duration::DAY);
    let next_at = (!is_done).then(|| tomorrow.min(rest.until));
    let text = "UPDATE fee_deferral SET unearned = ?, earned_to = ?, next_at = ? \
                WHERE account_id = ? AND invoice_id = ? AND line = ?";
    let values = vec![
        rest.left.get().into(),
        micros(rest.from).into(),
        next_at.map(micros).into(),
        of.account.get().into(),
        of.invoice.get().into(),
        place(of.line).into(),
    ];
    db::run(tx, text, values).await?;
    Ok(())
}

/// The midnight of UTC that an instant follows, or is.
fn midnight(at: OffsetDateTime) -> OffsetDateTime {
    at.to_offset(UtcOffset::UTC).replace_time(Time::MIDNIGHT)
}
