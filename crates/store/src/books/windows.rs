//! Windows of tier schedules that are over: what is still to be settled of them.

use billing_core::adjustment::Adjustment;
use billing_core::budget::{BudgetScope, BudgetUnit};
use billing_core::id::{AccountId, TierScheduleId};
use billing_core::money::Nanos;
use billing_core::port::books::{Adjusted, BooksError, OpenWindow};
use billing_core::settlement::Booking;
use billing_core::tier_schedule::{Close, TierSchedule};
use sea_orm::ConnectionTrait;
use time::OffsetDateTime;

use super::adjust::{adjust_books, earlier};
use super::load;
use crate::db;
use crate::error::StoreError;
use crate::instant::{amount, get, micros, stored};
use crate::rows::BatchSql;
use crate::rows::Kind::Int;

static NOTED: BatchSql = BatchSql::new(
    &[
        ("account_id", Int),
        ("kind", Int),
        ("subject", Int),
        ("unit", Int),
        ("window_start", Int),
    ],
    "INSERT INTO quota_usage ({columns}, used, leased) SELECT {columns}, 0, 0 FROM {rows} v \
     WHERE true ON CONFLICT (account_id, kind, subject, unit, window_start) DO NOTHING",
);

/// The windows of a schedule that began before a second and are not closed as they stand now.
pub(crate) async fn open<C: ConnectionTrait>(
    db: &C,
    schedule: TierScheduleId,
    before: i64,
    limit: u32,
) -> Result<Vec<OpenWindow>, StoreError> {
    let window_start = 0;
    let used = BudgetScope::Tier {
        schedule,
        unit: BudgetUnit::Calls,
        window_start,
    };
    let charged = BudgetScope::TierCharge {
        schedule,
        window_start,
    };
    // The one counter of positions that a schedule has, whatever it counts.
    let text = "SELECT c.account_id, c.window_start, c.used AS charged, p.used AS used, \
                COALESCE(t.trued_up, 0) AS trued_up, COALESCE(t.times, 0) AS times \
                FROM quota_usage c \
                JOIN quota_usage p ON p.account_id = c.account_id AND p.kind = ? \
                  AND p.subject = c.subject AND p.window_start = c.window_start \
                LEFT JOIN tier_close t ON t.account_id = c.account_id \
                  AND t.tier_schedule_id = c.subject AND t.window_start = c.window_start \
                WHERE c.kind = ? AND c.subject = ? AND c.window_start < ? \
                  AND (t.account_id IS NULL OR t.charged <> c.used OR t.used <> p.used) \
                ORDER BY c.account_id, c.window_start LIMIT ?";
    let values = vec![
        used.row().kind.into(),
        charged.row().kind.into(),
        schedule.get().into(),
        before.into(),
        i64::from(limit).into(),
    ];
    let rows = db::all(db, text, values).await?;
    let window = |row| {
        Ok(OpenWindow {
            account: AccountId::new(get(row, "account_id")?),
            schedule,
            window_start: get(row, "window_start")?,
            close: Close {
                used: amount(get(row, "used")?),
                charged: amount(get(row, "charged")?),
                trued_up: Nanos::new(get(row, "trued_up")?),
            },
            times: get(row, "times")?,
        })
    };
    rows.iter().map(window).collect()
}

/// The last window of a schedule that an account has had closed.
pub(crate) async fn last_closed<C: ConnectionTrait>(
    db: &C,
    account: AccountId,
    schedule: TierScheduleId,
) -> Result<Option<i64>, StoreError> {
    let text = "SELECT window_start FROM tier_close WHERE account_id = ? \
                AND tier_schedule_id = ? ORDER BY window_start DESC LIMIT 1";
    let values = vec![account.get().into(), schedule.get().into()];
    let row = db::one(db, text, values).await?;
    row.map(|row| get(&row, "window_start")).transpose()
}

/// Notes windows that have no counters yet as ones of which nothing was used.
pub(crate) async fn note_used<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    schedule: &TierSchedule,
    window_starts: &[i64],
) -> Result<(), StoreError> {
    let mut counters = NOTED.rows(tx.get_database_backend());
    for start in window_starts {
        for scope in schedule.scopes(*start) {
            let row = scope.row();
            counters.push([
                account.get().into(),
                i64::from(row.kind).into(),
                row.subject.into(),
                i64::from(row.unit).into(),
                row.window_start.into(),
            ]);
        }
    }
    counters.run(tx).await?;
    Ok(())
}

/// Books what closing a window comes to, and notes that it is closed, in one transaction; `None` when
/// nodes have on lease what it would take.
pub(crate) async fn close<C: ConnectionTrait>(
    tx: &C,
    window: &OpenWindow,
    adjustment: Option<&Adjustment>,
    booking: Booking,
) -> Result<Option<Option<Adjusted>>, BooksError> {
    // The wallet is the lock on the account's books.
    if load::locked_wallet(tx, window.account).await?.is_none() {
        return Err(BooksError::NoSuchBudget);
    }
    if times(tx, window).await? != window.times {
        // Others have closed it since it was read: by this very answer, or by a newer one.
        let earlier = match adjustment {
            None => None,
            Some(adjustment) => earlier(tx, window.account, adjustment).await?,
        };
        return Ok(Some(earlier.and_then(Result::ok)));
    }
    let adjusted = match adjustment {
        None => None,
        Some(adjustment) => {
            let Some(adjusted) = adjust_books(tx, window.account, adjustment, booking).await?
            else {
                return Ok(None);
            };
            Some(adjusted)
        }
    };
    let more = adjustment.map_or(Nanos::ZERO, |adjustment| adjustment.amount);
    note(tx, window, more, booking.now).await?;
    Ok(Some(adjusted))
}

/// How often a window has been closed.
async fn times<C: ConnectionTrait>(tx: &C, window: &OpenWindow) -> Result<i64, StoreError> {
    let text = "SELECT times FROM tier_close \
                WHERE account_id = ? AND tier_schedule_id = ? AND window_start = ?";
    let values = vec![
        window.account.get().into(),
        window.schedule.get().into(),
        window.window_start.into(),
    ];
    let row = db::one(tx, text, values).await?;
    row.map_or(Ok(0), |row| get(&row, "times"))
}

async fn note<C: ConnectionTrait>(
    tx: &C,
    window: &OpenWindow,
    more: Nanos,
    now: OffsetDateTime,
) -> Result<(), BooksError> {
    let text = "INSERT INTO tier_close (account_id, tier_schedule_id, window_start, used, charged, \
                trued_up, times, closed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) \
                ON CONFLICT (account_id, tier_schedule_id, window_start) DO UPDATE SET \
                used = excluded.used, charged = excluded.charged, \
                trued_up = excluded.trued_up, times = excluded.times, \
                closed_at = excluded.closed_at";
    let trued_up = window.close.trued_up.plus(more)?;
    let values = vec![
        window.account.get().into(),
        window.schedule.get().into(),
        window.window_start.into(),
        stored(window.close.used).into(),
        stored(window.close.charged).into(),
        trued_up.get().into(),
        window.times.saturating_add(1).into(),
        micros(now).into(),
    ];
    db::run(tx, text, values).await?;
    Ok(())
}
