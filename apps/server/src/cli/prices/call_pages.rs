//! The calls of an account, the oldest first. They are listed the newest first and may be millions, so
//! they are looked through once for where pages begin, and read page by page from the last.

use billing_core::id::{AccountId, CallId};
use billing_core::port::reports::{CallDetail, CallFilter};

use crate::cli::CliError;
use crate::wiring::Ports;

/// How many calls are read at a time.
const PAGE: u32 = 1000;

/// Where the pages of an account's calls begin.
#[derive(Debug)]
pub(super) struct CallPages {
    pub(super) account: AccountId,
    /// How many calls there are.
    pub(super) calls: u64,
    /// The newest page first.
    pages: Vec<CallPage>,
}

/// Calls of an account from one on, up to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallPage {
    account: AccountId,
    first: CallId,
    /// Itself outside; `None` for the newest.
    before: Option<CallId>,
}

impl CallPages {
    /// The calls of an account that a filter lets through.
    pub(super) async fn of(
        ports: &Ports,
        account: AccountId,
        filter: &CallFilter,
    ) -> Result<Self, CliError> {
        let (mut pages, mut calls, mut before) = (Vec::new(), 0_u64, None);
        loop {
            let page = listed(ports, account, filter, before).await?;
            let Some(last) = page.last() else {
                return Ok(Self {
                    account,
                    calls,
                    pages,
                });
            };
            calls = calls.saturating_add(u64::try_from(page.len()).unwrap_or(0));
            let first = last.id;
            pages.push(CallPage {
                account,
                first,
                before,
            });
            before = Some(first);
        }
    }

    pub(super) fn oldest_first(self) -> impl Iterator<Item = CallPage> {
        self.pages.into_iter().rev()
    }
}

impl CallPage {
    /// Its calls, the oldest first, with those that were settled since the pages were looked for.
    pub(super) async fn read(
        self,
        ports: &Ports,
        filter: &CallFilter,
    ) -> Result<Vec<CallDetail>, CliError> {
        let (mut calls, mut before) = (Vec::new(), self.before);
        loop {
            let page = listed(ports, self.account, filter, before).await?;
            let Some(last) = page.last() else { break };
            before = Some(last.id);
            let is_last = last.id <= self.first;
            calls.extend(page.into_iter().filter(|call| call.id >= self.first));
            if is_last {
                break;
            }
        }
        calls.reverse();
        Ok(calls)
    }
}

async fn listed(
    ports: &Ports,
    account: AccountId,
    filter: &CallFilter,
    before: Option<CallId>,
) -> Result<Vec<CallDetail>, CliError> {
    let listed = ports.reports.calls(account, filter.clone(), before, PAGE);
    let listed = listed.await;
    listed.map_err(|error| CliError::Argument(format!("calls cannot be read: {error}")))
}
