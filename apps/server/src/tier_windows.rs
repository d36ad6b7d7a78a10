//! Windows of tier schedules that are over: what they come to is booked.

use std::collections::BTreeSet;

use billing_core::adjustment::Adjustment;
use billing_core::budget::Amount;
use billing_core::id::{AccountId, LotId};
use billing_core::money::{Currency, Nanos};
use billing_core::period::Period;
use billing_core::port::books::{Adjusted, Books, BooksError, OpenWindow};
use billing_core::port::clock::Clock;
use billing_core::price_book::PriceBook;
use billing_core::tier_schedule::{Close, TierSchedule};
use time::OffsetDateTime;

use crate::ids::Ids;
use crate::recall::booked_once_recalled;

/// How many windows are read at a time.
const PAGE: u32 = 500;

/// A window, and what closing it books: above zero is charged, below zero given back.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) account: AccountId,
    pub(crate) reach: String,
    pub(crate) window_start: i64,
    pub(crate) true_up: Nanos,
    pub(crate) currency: Currency,
    /// What of a charge its funds did not cover.
    pub(crate) uncollected: Nanos,
}

/// What could not be closed: a window, or those of a schedule.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) account: Option<AccountId>,
    pub(crate) reach: String,
    pub(crate) window_start: Option<i64>,
    pub(crate) why: BooksError,
}

/// What became of the windows that are over.
#[derive(Debug, Default)]
pub(crate) struct Closings {
    pub(crate) dues: Vec<Due>,
    pub(crate) failed: Vec<Failed>,
}

/// How windows are closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closer<'a> {
    pub(crate) books: &'a dyn Books,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) ids: &'a Ids,
    /// How long after its end a window is closed.
    pub(crate) grace: time::Duration,
    /// Whether it is booked; else it is only said what closing would come to.
    pub(crate) is_booked: bool,
}

impl Closer<'_> {
    /// Closes every window that is over. One that cannot be closed keeps no other from it.
    pub(crate) async fn close_all(self, book: &PriceBook) -> Closings {
        let mut closings = Closings::default();
        for schedule in book.tiers().iter() {
            let in_force = book.tiers().in_force(schedule);
            let closed = self.close_schedule((schedule, in_force), &mut closings);
            if let Err(why) = closed.await {
                let is_away = matches!(why, BooksError::Unavailable(_));
                closings.failed.push(Failed {
                    account: None,
                    reach: schedule.reach.to_string(),
                    window_start: None,
                    why,
                });
                if is_away {
                    break;
                }
            }
        }
        closings
    }

    /// Closes the windows of a schedule, each at most once: one that fails is found open again.
    async fn close_schedule(
        self,
        (schedule, in_force): (&TierSchedule, Period),
        closings: &mut Closings,
    ) -> Result<(), BooksError> {
        let now = self.clock.now().saturating_sub(self.grace);
        let Some(before) = schedule.over_before(now) else {
            return Ok(());
        };
        let mut unused = unused(self.books, schedule, in_force, now).await?;
        if self.is_booked
            && let Some(account) = schedule.committed()
        {
            let starts: Vec<i64> = unused.drain(..).map(|window| window.window_start).collect();
            self.books.note_windows(account, schedule, &starts).await?;
        }
        let mut seen = BTreeSet::new();
        let mut limit = PAGE;
        loop {
            let open = self.books.open_windows(schedule.id, before, limit).await?;
            let place = |window: &OpenWindow| (window.account, window.window_start);
            let known = open.iter().filter(|window| seen.contains(&place(window)));
            let known = u32::try_from(known.count()).unwrap_or(u32::MAX);
            let is_last = u32::try_from(open.len()).is_ok_and(|read| read < limit);
            for window in open {
                unused.retain(|other| place(other) != place(&window));
                if seen.insert(place(&window)) {
                    self.take((schedule, in_force), &window, closings).await?;
                }
            }
            if is_last {
                break;
            }
            limit = PAGE.saturating_add(known.saturating_mul(2));
        }
        for window in unused {
            self.take((schedule, in_force), &window, closings).await?;
        }
        Ok(())
    }

    /// Closes a window, or notes why it could not be.
    async fn take(
        self,
        of: (&TierSchedule, Period),
        window: &OpenWindow,
        closings: &mut Closings,
    ) -> Result<(), BooksError> {
        match self.close(of, window).await {
            Ok(due) => closings.dues.extend(due),
            Err(why @ BooksError::Unavailable(_)) => return Err(why),
            Err(why) => closings.failed.push(Failed {
                account: Some(window.account),
                reach: of.0.reach.to_string(),
                window_start: Some(window.window_start),
                why,
            }),
        }
        Ok(())
    }

    async fn close(
        self,
        (schedule, in_force): (&TierSchedule, Period),
        window: &OpenWindow,
    ) -> Result<Option<Due>, BooksError> {
        let closed = schedule.close(in_force, window.window_start, &window.close);
        let closed = closed.map_err(|error| BooksError::Inconsistent(error.to_string()))?;
        let (Some(terms), Some(closed)) = (&schedule.terms, closed) else {
            return Ok(None);
        };
        let lot = LotId::new(self.ids.next());
        let adjustment = window.adjustment(&closed, terms.currency, lot);
        let mut due = Due {
            account: window.account,
            reach: schedule.reach.to_string(),
            window_start: window.window_start,
            true_up: closed.true_up,
            currency: terms.currency,
            uncollected: Nanos::ZERO,
        };
        if self.is_booked {
            let adjusted = book_window(self.books, window, adjustment, self.clock).await?;
            due.uncollected = adjusted.map_or(Nanos::ZERO, |adjusted| adjusted.uncollected);
        }
        Ok(Some(due).filter(|due| !due.true_up.is_zero()))
    }
}

/// The windows of a schedule with a minimum that are over and were never closed. What is used is
/// counted from the first call of a window on; a minimum is owed in those without a call too.
async fn unused(
    books: &dyn Books,
    schedule: &TierSchedule,
    in_force: Period,
    over: OffsetDateTime,
) -> Result<Vec<OpenWindow>, BooksError> {
    let Some(account) = schedule.committed() else {
        return Ok(Vec::new());
    };
    let known = books.last_closed(account, schedule.id).await?;
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

async fn book_window(
    books: &dyn Books,
    window: &OpenWindow,
    adjustment: Option<Adjustment>,
    clock: &dyn Clock,
) -> Result<Option<Adjusted>, BooksError> {
    booked_once_recalled(|takes_what_is_there| {
        let adjustment = adjustment.clone().map(|adjustment| Adjustment {
            takes_what_is_there,
            ..adjustment
        });
        books.close_window(window, adjustment, clock.now())
    })
    .await
}

#[cfg(test)]
mod tests;
