//! Statements of months: which there are, and the one of a month.

use billing_core::invoice::{Statement, StatementMonth};
use billing_core::period::Period;
use billing_core::port::directory::Account;
use billing_core::port::invoices::{Invoices, InvoicesError};
use billing_core::zone::Zone;
use time::OffsetDateTime;

/// A month of which an account has a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatedMonth {
    pub(crate) month: StatementMonth,
    pub(crate) period: Period,
}

impl StatedMonth {
    /// Whether something may still be added to it.
    pub(crate) fn is_open(&self, now: OffsetDateTime) -> bool {
        now < self.period.end
    }
}

/// The months that an account has been there, the newest first.
pub(crate) fn months(account: &Account, now: OffsetDateTime) -> Vec<StatedMonth> {
    // A zone that cannot be read is told of by the statement itself.
    let zone: Zone = account.zone.parse().unwrap_or_else(|_| Zone::utc());
    let month_of = |at| StatementMonth::of(zone.local(at).date());
    let (mut months, last) = (Vec::new(), month_of(now));
    let mut next = Some(month_of(account.created_at));
    while let Some(month) = next.filter(|month| *month <= last) {
        let period = month.period(&zone);
        months.extend(period.map(|period| StatedMonth { month, period }));
        next = month.next();
    }
    months.reverse();
    months
}

/// The statement of a month, as `2026-11`; `None` where the account was not there yet, or it has not
/// begun.
///
/// # Errors
/// [`InvoicesError`].
pub(crate) async fn of_month(
    account: &Account,
    month: &str,
    (invoices, now): (&dyn Invoices, OffsetDateTime),
) -> Result<Option<(StatedMonth, Statement)>, InvoicesError> {
    let month: StatementMonth = month.parse()?;
    let months = months(account, now);
    let Some(stated) = months.into_iter().find(|stated| stated.month == month) else {
        return Ok(None);
    };
    let statement = invoices.statement(account.id, stated.period, now).await?;
    Ok(Some((stated, statement)))
}
