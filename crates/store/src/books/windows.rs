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

/// The windows of a schedule that began before a second and are not closed as they stand now, or of
/// which something is missing that the account could pay.
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
    let overrun = BudgetScope::TierOverrun {
        schedule,
        window_start,
    };
    // The one counter of positions that a schedule has, whatever it counts.
    let text = "SELECT * FROM (SELECT c.account_id, c.window_start, c.used AS charged, \
                p.used AS used, COALESCE(o.used, 0) AS overrun, \
                CAST((SELECT COALESCE(SUM(a.amount), 0) FROM adjustment a \
                  WHERE a.account_id = c.account_id AND a.tier_schedule_id = c.subject \
                  AND a.window_start = c.window_start) AS BIGINT) AS adjusted \
                FROM quota_usage c \
                JOIN quota_usage p ON p.account_id = c.account_id AND p.kind = ? \
                  AND p.subject = c.subject AND p.window_start = c.window_start \
                LEFT JOIN quota_usage o ON o.account_id = c.account_id AND o.kind = ? \
                  AND o.subject = c.subject AND o.window_start = c.window_start \
                WHERE c.kind = ? AND c.subject = ? AND c.window_start < ?) w \
                LEFT JOIN (SELECT account_id AS of_account, window_start AS of_window, trued_up, \
                  times, used AS was_used, charged AS was_charged, overrun AS was_overrun, \
                  adjusted AS was_adjusted, missing FROM tier_close \
                  WHERE tier_schedule_id = ?) t \
                  ON t.of_account = w.account_id AND t.of_window = w.window_start \
                WHERE t.of_account IS NULL OR t.was_charged <> w.charged \
                  OR t.was_used <> w.used OR t.was_overrun <> w.overrun \
                  OR t.was_adjusted <> w.adjusted \
                  OR (t.missing > 0 AND EXISTS (SELECT 1 FROM wallet m \
                    WHERE m.account_id = w.account_id AND m.posted + m.credit_limit > 0)) \
                ORDER BY w.account_id, w.window_start LIMIT ?";
    let values = vec![
        used.row().kind.into(),
        overrun.row().kind.into(),
        charged.row().kind.into(),
        schedule.get().into(),
        before.into(),
        schedule.get().into(),
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
                overrun: amount(get(row, "overrun")?),
                adjusted: Nanos::new(get(row, "adjusted")?),
                trued_up: Nanos::new(get::<Option<i64>>(row, "trued_up")?.unwrap_or(0)),
            },
            times: get::<Option<i64>>(row, "times")?.unwrap_or(0),
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
    // What its funds did not cover was not charged: it is due again once there are any.
    let uncollected = adjusted.as_ref().map_or(Nanos::ZERO, |a| a.uncollected);
    let more = adjustment.map_or(Nanos::ZERO, |adjustment| adjustment.amount);
    let more = more.minus(uncollected)?;
    note(tx, window, [more, uncollected], booking.now).await?;
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
    [more, missing]: [Nanos; 2],
    now: OffsetDateTime,
) -> Result<(), BooksError> {
    let text = "INSERT INTO tier_close (account_id, tier_schedule_id, window_start, used, charged, \
                trued_up, times, closed_at, overrun, adjusted, missing) \
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
                ON CONFLICT (account_id, tier_schedule_id, window_start) DO UPDATE SET \
                used = excluded.used, charged = excluded.charged, \
                trued_up = excluded.trued_up, times = excluded.times, \
                closed_at = excluded.closed_at, overrun = excluded.overrun, \
                adjusted = excluded.adjusted, missing = excluded.missing";
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
        stored(window.close.overrun).into(),
        window.close.adjusted.get().into(),
        missing.get().into(),
    ];
    db::run(tx, text, values).await?;
    Ok(())
}
