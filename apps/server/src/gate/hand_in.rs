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
    /// What the account pays.
    pub(crate) charge: Nanos,
}

impl Replay {
    /// Hands a settlement to the books, or to the spool where they do not answer in time, until one
    /// of them has it. The books take a call once, whichever way it comes.
    ///
    /// A call whose hold covers it costs what it costs, whoever says so. One that outgrew its hold
    /// may be charged more than the hold by books that answer; where they do not even get to hear
    /// of it, the hold is all that is charged. Once they were asked, only they know.
    pub(crate) async fn hand_in(
        &self,
        mut settlement: Settlement,
        leases: &Arc<Leases>,
    ) -> Result<Paid, BooksError> {
        let promise = promised(&settlement);
        let mut pause = SHORTEST_PAUSE;
        let mut ask_books = !self.are_books_away();
        if promise.overrun.is_zero() || !ask_books {
            settlement.promised = Some(Amount::of(promise.charge));
        }
        loop {
            if ask_books && let Some(answer) = self.ask_books(&settlement, leases).await {
                return answer;
            }
            if settlement.promised.is_some() {
                match self.keep(&settlement).await {
                    // What was promised stays held until the books have taken it: its lease covers
                    // it until then.
                    Ok(()) => {
                        let (account, call) = (settlement.account, settlement.call);
                        leases.promised(account, call, promise.charge);
                        return Ok(Paid {
                            charge: promise.charge,
                        });
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
        settlement: &Settlement,
        leases: &Arc<Leases>,
    ) -> Option<Result<Paid, BooksError>> {
        let call = settlement.call;
        let asked = self.books().settle(settlement.clone());
        let Ok(answer) = tokio::time::timeout(self.patience(), asked).await else {
            tracing::warn!(%call, "the books do not answer in time");
            return None;
        };
        Some(match answer {
            Ok(settled) => {
                self.books_answered();
                leases.settled(settlement, &settled.call.used);
                Ok(Paid {
                    charge: settled.call.charge,
                })
            }
            Err(BooksError::Unavailable(error)) => {
                tracing::warn!(%call, %error, "the books cannot be reached");
                return None;
            }
            Err(error) => {
                tracing::error!(%call, %error, "a call cannot be charged; it is set apart");
                if let Err(error) = self.set_apart(settlement, &error).await {
                    tracing::error!(%call, %error, "it could not be set apart");
                }
                Err(error)
            }
        })
    }
}

#[cfg(test)]
mod tests;
