//! Credit whose time is over: found, and taken away, or only shown. The rule is billing-core's.
//!
//! Every node may do so at once. Whoever is second finds it done.

use std::time::Duration;

use billing_core::id::AccountId;
use billing_core::money::{Currency, Nanos};
use billing_core::port::books::{Books, BooksError, Lapsing};
use billing_core::port::clock::Clock;

/// How many accounts are read at a time.
const PAGE: u32 = 500;
/// How often it is looked whether nodes have given back what is over, and how many times. What calls
/// still hold then is looked at again by the next run.
const AGAIN: Duration = Duration::from_millis(100);
const TURNS: u8 = 20;

/// Credit that lapsed, or would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LapsedCredit {
    pub(crate) account: AccountId,
    pub(crate) currency: Currency,
    pub(crate) amount: Nanos,
}

/// Takes away all credit whose time is over; `is_dry` only says what that is.
///
/// # Errors
/// [`BooksError`]. What was taken before stays so.
pub(crate) async fn lapse_all(
    books: &dyn Books,
    clock: &dyn Clock,
    is_dry: bool,
) -> Result<Vec<LapsedCredit>, BooksError> {
    let mut all = Vec::new();
    let mut waits = Vec::new();
    let mut after = None;
    loop {
        let page = books.lapsing(clock.now(), after, PAGE).await?;
        for lapsing in &page {
            if is_dry {
                all.extend(some(lapsing, lapsing.amount));
            } else {
                waits.extend(one(books, clock, lapsing, &mut all).await?);
            }
        }
        after = page.last().map(|last| last.account);
        if u32::try_from(page.len()).is_ok_and(|read| read < PAGE) {
            break;
        }
    }
    for _ in 0..TURNS {
        if waits.is_empty() {
            break;
        }
        tokio::time::sleep(AGAIN).await;
        for lapsing in std::mem::take(&mut waits) {
            waits.extend(one(books, clock, &lapsing, &mut all).await?);
        }
    }
    Ok(all)
}

/// Takes away what is free of an account's; answers with it where nodes have some of that on lease.
async fn one(
    books: &dyn Books,
    clock: &dyn Clock,
    lapsing: &Lapsing,
    all: &mut Vec<LapsedCredit>,
) -> Result<Option<Lapsing>, BooksError> {
    let lapsed = books.lapse(lapsing.account, clock.now()).await?;
    all.extend(some(lapsing, lapsed.amount));
    Ok((!lapsed.on_lease.is_zero()).then_some(*lapsing))
}

fn some(lapsing: &Lapsing, amount: Nanos) -> Option<LapsedCredit> {
    (!amount.is_zero()).then_some(LapsedCredit {
        account: lapsing.account,
        currency: lapsing.currency,
        amount,
    })
}
