//! Windows of tier schedules that are over: what they come to is booked.

use std::time::Duration;

use billing_core::adjustment::Adjustment;
use billing_core::budget::Amount;
use billing_core::id::{AccountId, LotId};
use billing_core::money::Nanos;
use billing_core::period::Period;
use billing_core::port::books::{Adjusted, Books, BooksError, OpenWindow};
use billing_core::port::clock::Clock;
use billing_core::price_book::PriceBook;
use billing_core::tier_schedule::{Close, TierSchedule};
use time::OffsetDateTime;

use crate::ids::Ids;

/// How long after its end a window is closed, so that nearly all its calls are settled by then. One
/// that ends later opens it again.
const GRACE: time::Duration = time::Duration::HOUR;
/// How many windows are read at a time.
const PAGE: u32 = 500;
/// How long it waits for what nodes have on lease, and how often it asks again.
const RECALLED_WITHIN: Duration = Duration::from_secs(10);
const RECALLED_AGAIN: Duration = Duration::from_millis(100);

/// A window, and what closing it books: above zero is charged, below zero given back.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) account: AccountId,
    pub(crate) reach: String,
    pub(crate) window_start: i64,
    pub(crate) true_up: Nanos,
    /// What of a charge its funds did not cover.
    pub(crate) uncollected: Nanos,
}

/// Closes every window that is over, or, where nothing is to be booked, says what closing it would
/// come to.
///
/// # Errors
/// [`BooksError`]; what was closed before it stays so.
pub(crate) async fn close_all(
    books: &dyn Books,
    book: &PriceBook,
    (clock, ids): (&dyn Clock, &Ids),
    is_booked: bool,
) -> Result<Vec<Due>, BooksError> {
    let mut dues = Vec::new();
    for schedule in book.tiers().iter() {
        let Some(before) = over_before(schedule, clock.now()) else {
            continue;
        };
        let in_force = book.tiers().in_force(schedule);
        let mut unused = unused(books, schedule, in_force, clock).await?;
        if is_booked && let Some(account) = schedule.committed() {
            let starts: Vec<i64> = unused.drain(..).map(|window| window.window_start).collect();
            books.note_windows(account, schedule, &starts).await?;
        }
        loop {
            let open = books.open_windows(schedule.id, before, PAGE).await?;
            unused.retain(|window| open.iter().all(|o| o.window_start != window.window_start));
            for window in open.iter().chain(&unused) {
                let due =
                    close(books, (schedule, in_force), window, (clock, ids), is_booked).await?;
                dues.extend(due);
            }
            let is_last = u32::try_from(open.len()).is_ok_and(|read| read < PAGE);
            if is_last || !is_booked {
                break;
            }
        }
    }
    Ok(dues)
}

/// The windows of a schedule with a minimum that are over and were never closed. What is used is
/// counted from the first call of a window on; a minimum is owed in those without a call too.
async fn unused(
    books: &dyn Books,
    schedule: &TierSchedule,
    in_force: Period,
    clock: &dyn Clock,
) -> Result<Vec<OpenWindow>, BooksError> {
    let Some(account) = schedule.committed() else {
        return Ok(Vec::new());
    };
    let known = books.last_closed(account, schedule.id).await?;
    let over = clock.now().saturating_sub(GRACE);
    let starts = schedule.windows_over(in_force, known, over).into_iter();
    let window = |window_start| OpenWindow {
        account,
        schedule: schedule.id,
        window_start,
        close: Close {
            used: Amount::ZERO,
            charged: Amount::ZERO,
            overrun: Amount::ZERO,
            adjusted: Nanos::ZERO,
            trued_up: Nanos::ZERO,
        },
        times: 0,
    };
    Ok(starts.map(window).collect())
}

/// The first second of the window that is not over yet; `None` where none ever is, or none is closed.
fn over_before(schedule: &TierSchedule, now: OffsetDateTime) -> Option<i64> {
    let terms = schedule.terms.as_ref().filter(|terms| terms.is_closed())?;
    let start = terms.window_start(now.saturating_sub(GRACE), None);
    Some(start).filter(|start| *start != 0)
}

async fn close(
    books: &dyn Books,
    (schedule, in_force): (&TierSchedule, Period),
    window: &OpenWindow,
    (clock, ids): (&dyn Clock, &Ids),
    is_booked: bool,
) -> Result<Option<Due>, BooksError> {
    let closed = schedule.close(in_force, window.window_start, &window.close);
    let closed = closed.map_err(|error| BooksError::Inconsistent(error.to_string()))?;
    let (Some(terms), Some(closed)) = (&schedule.terms, closed) else {
        return Ok(None);
    };
    let lot = LotId::new(ids.next());
    let adjustment = window.adjustment(&closed, terms.currency, lot);
    let mut due = Due {
        account: window.account,
        reach: schedule.reach.to_string(),
        window_start: window.window_start,
        true_up: closed.true_up,
        uncollected: Nanos::ZERO,
    };
    if is_booked {
        let adjusted = book_window(books, window, adjustment, clock).await?;
        due.uncollected = adjusted.map_or(Nanos::ZERO, |adjusted| adjusted.uncollected);
    }
    Ok(Some(due).filter(|due| !due.true_up.is_zero()))
}

/// Waits a little for what nodes give back for it; then it takes what is there.
async fn book_window(
    books: &dyn Books,
    window: &OpenWindow,
    mut adjustment: Option<Adjustment>,
    clock: &dyn Clock,
) -> Result<Option<Adjusted>, BooksError> {
    let until = tokio::time::Instant::now() + RECALLED_WITHIN;
    loop {
        let closing = books.close_window(window, adjustment.clone(), clock.now());
        match closing.await {
            Err(BooksError::OnLease) => {
                if let Some(adjustment) = &mut adjustment {
                    adjustment.takes_what_is_there = tokio::time::Instant::now() >= until;
                }
                tokio::time::sleep(RECALLED_AGAIN).await;
            }
            answer => return answer,
        }
    }
}
