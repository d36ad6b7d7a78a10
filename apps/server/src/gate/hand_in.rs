//! The end of a call: its settlement is durable somewhere before anybody is told.

use std::sync::Arc;
use std::time::Duration;

use billing_core::budget::Amount;
use billing_core::call::Settlement;
use billing_core::money::Nanos;
use billing_core::port::books::BooksError;
use billing_core::settlement::promised;

use super::{Leases, Replay};

/// The shortest and the longest pause between two tries of a settlement that nobody takes.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a call that is over costs. It is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paid {
    /// What the account pays; `None` where only the books know, and have not answered yet.
    pub(crate) charge: Option<Nanos>,
}

impl Replay {
    /// Hands a settlement to the books, or to the spool where they do not answer in time, until one
    /// of them has it. The books take a call once, whichever way it comes.
    ///
    /// A call whose hold covers it costs what it costs, whoever says so. One that outgrew its hold
    /// may be charged more than the hold by books that answer; where they do not even get to hear
    /// of it, the hold is all that is charged. Once they were asked, only they know.
    ///
    /// What a call in price tiers costs depends on all that were settled before it, so the books
    /// alone know. Until they have answered nobody is told.
    pub(crate) fn hand_in<'a>(
        &'a self,
        mut settlement: Settlement,
        leases: &'a Arc<Leases>,
    ) -> impl Future<Output = Result<Paid, BooksError>> + use<'a> {
        let promise = promised(&settlement);
        let ask_books = !self.are_books_away();
        let told = Some(promise.charge).filter(|_| settlement.terms.tiers.is_none());
        if promise.overrun.is_zero() || !ask_books {
            settlement.promised = Some(told.map_or(promise.most, Amount::of));
        }
        // Once for all who look at it: it is large, and waits for the books with the call.
        self.until_durable(Arc::new(settlement), told, ask_books, leases)
    }

    /// Asks the books, unless they are known to be away, and the spool, until one of them has it.
    async fn until_durable(
        &self,
        settlement: Arc<Settlement>,
        told: Option<Nanos>,
        mut ask_books: bool,
        leases: &Arc<Leases>,
    ) -> Result<Paid, BooksError> {
        let mut pause = SHORTEST_PAUSE;
        loop {
            if ask_books && let Some(answer) = self.ask_books(&settlement, leases).await {
                return answer;
            }
            if let Some(most) = settlement.promised {
                match Box::pin(self.keep(&settlement)).await {
                    // What was promised stays held until the books have taken it: its lease covers
                    // it until then.
                    Ok(()) => {
                        let (account, call) = (settlement.account, settlement.call);
                        leases.promised(account, call, most);
                        return Ok(Paid { charge: told });
                    }
                    Err(error) => {
                        tracing::warn!(call = %settlement.call, %error, "a settlement waits");
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            // Whichever has room or is back first.
            ask_books = true;
        }
    }

    /// What the books say to a settlement; `None` where they say nothing in time.
    async fn ask_books(
        &self,
        settlement: &Arc<Settlement>,
        leases: &Arc<Leases>,
    ) -> Option<Result<Paid, BooksError>> {
        let call = settlement.call;
        let asked = self.books().settle(Arc::clone(settlement));
        let Ok(answer) = tokio::time::timeout(self.patience(), asked).await else {
            tracing::warn!(%call, "the books do not answer in time");
            return None;
        };
        Some(match answer {
            Ok(settled) => {
                self.books_answered();
                leases.settled(settlement, &settled.call.used);
                self.prices().note(settlement, &settled.call);
                Ok(Paid {
                    charge: Some(settled.call.charge),
                })
            }
            Err(BooksError::Unavailable(error)) => {
                tracing::warn!(%call, %error, "the books cannot be reached");
                return None;
            }
            Err(error) => {
                tracing::error!(%call, %error, "a call cannot be charged; it is set apart");
                if let Err(error) = Box::pin(self.set_apart(settlement, &error)).await {
                    tracing::error!(%call, %error, "it could not be set apart");
                }
                Err(error)
            }
        })
    }
}

#[cfg(test)]
mod tests;
