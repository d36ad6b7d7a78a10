//! The checker: proves the books again and again beside the calls, and parks an account whose
//! books do not hold.
//!
//! Accounts that have just moved on this node come first, then one after the other in order of id,
//! over and over. What an account was proved by any node is left alone for a while, so that nodes
//! share the work without talking to each other. The checker works for a small share of the time
//! and rests for the others, however much there is to prove.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use billing_core::id::AccountId;
use billing_core::port::books::{AccountProof, BooksError};
use billing_core::port::proofs::{Depth, ToProve};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::config::Checker;
use crate::metrics::{self, METRICS};
use crate::wiring::Ports;

/// How many accounts are looked at to find those that are due.
const PAGE: u32 = 200;
/// An account with at most so many calls and transactions is proved from the beginning each time.
const SMALL: u64 = 2_000;
/// How many parts of the time the checker rests for each one that it works.
const REST: u32 = 49;
/// How often it is looked up how many accounts are parked, and how the proofs stand.
const STANDING: Duration = Duration::from_mins(1);

/// Accounts whose money has just moved on this node: a sample, the latest of those that share a
/// place. Noting one is a single store, for it is done on the path of a call.
#[derive(Debug)]
pub(crate) struct Moved([AtomicI64; 256]);

/// The accounts that have moved on this node.
pub(crate) static MOVED: Moved = Moved([const { AtomicI64::new(0) }; 256]);

impl Moved {
    /// The money of an account has moved.
    pub(crate) fn note(&self, account: AccountId) {
        let mixed = account
            .get()
            .unsigned_abs()
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = usize::try_from(mixed >> 56).unwrap_or(0);
        if let Some(place) = self.0.get(place) {
            place.store(account.get(), Ordering::Relaxed);
        }
    }

    /// Up to so many of them, which are forgotten thereby.
    fn take(&self, most: usize) -> Vec<AccountId> {
        let mut taken = Vec::new();
        for place in &self.0 {
            if taken.len() == most {
                break;
            }
            if place.load(Ordering::Relaxed) != 0 {
                taken.push(AccountId::new(place.swap(0, Ordering::Relaxed)));
            }
        }
        taken
    }
}

/// Runs until told to stop.
pub(crate) async fn run(ports: Ports, settings: Checker, stop: CancellationToken) {
    if settings.every_ms == 0 {
        return;
    }
    let every = Duration::from_millis(settings.every_ms);
    // Nodes begin at different places.
    let start = AccountId::new(somewhere_below(ports.ids.next()));
    let mut round = Round {
        ports,
        settings,
        after: Some(start),
        stood: None,
    };
    let mut rest = every;
    loop {
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = stop.cancelled() => return,
        }
        let begun = Instant::now();
        tokio::select! {
            done = round.work() => if let Err(error) = done {
                tracing::warn!(%error, "books were not proved");
            },
            // A proof only reads; it may be left.
            () = stop.cancelled() => return,
        }
        rest = (begun.elapsed() * REST).max(every);
    }
}

struct Round {
    ports: Ports,
    settings: Checker,
    after: Option<AccountId>,
    stood: Option<Instant>,
}

impl Round {
    async fn work(&mut self) -> Result<(), BooksError> {
        let most = self.settings.accounts;
        let mut accounts = self.just_moved(most).await?;
        accounts.extend(
            self.next_in_order(most.saturating_sub(accounts.len()))
                .await?,
        );
        accounts.sort_unstable();
        accounts.dedup();
        for failed in self.failing(&accounts, Depth::FullUpTo(SMALL)).await? {
            let account = failed.account;
            tracing::warn!(account = %account, findings = failed.broken.len(),
                "books did not hold; proving them once more from the beginning");
            for failed in self.failing(&[account], Depth::Full).await? {
                self.park(&failed).await?;
            }
        }
        if self.stood.is_none_or(|at| at.elapsed() > STANDING) {
            self.tell().await?;
        }
        Ok(())
    }

    /// Those that have moved and were not proved a moment ago.
    async fn just_moved(&self, most: usize) -> Result<Vec<AccountId>, BooksError> {
        let mut due = Vec::new();
        for account in MOVED.take(most) {
            let before = AccountId::new(account.get().saturating_sub(1));
            let found = self.ports.proofs.to_prove(Some(before), 1).await?;
            let own = found.into_iter().find(|found| found.account == account);
            due.extend(own.filter(|own| self.is_due(own)).map(|own| own.account));
        }
        Ok(due)
    }

    /// The next ones that are due; at the end it begins anew.
    async fn next_in_order(&mut self, most: usize) -> Result<Vec<AccountId>, BooksError> {
        let page = self.ports.proofs.to_prove(self.after, PAGE).await?;
        let due = page.iter().filter(|account| self.is_due(account));
        let due: Vec<AccountId> = due.map(|due| due.account).take(most).collect();
        self.after = if due.len() == most && most > 0 {
            due.last().copied()
        } else {
            page.last().map(|last| last.account)
        };
        Ok(due)
    }

    fn is_due(&self, account: &ToProve) -> bool {
        let now = self.ports.clock.now();
        let seconds = if account.moved {
            self.settings.moved_s
        } else {
            self.settings.again_s
        };
        let wait = time::Duration::seconds(i64::from(seconds));
        account
            .proved_at
            .is_none_or(|at| at.saturating_add(wait) <= now)
    }

    /// Proves accounts; answers with those whose books do not hold.
    async fn failing(
        &self,
        accounts: &[AccountId],
        depth: Depth,
    ) -> Result<Vec<AccountProof>, BooksError> {
        if accounts.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.ports.clock.now();
        let mut proofs = self.ports.proofs.prove(accounts, depth, now).await?;
        metrics::add(
            &METRICS.proofs,
            u64::try_from(proofs.len()).unwrap_or(u64::MAX),
        );
        let all = proofs.len();
        proofs.retain(|proof| !proof.broken.is_empty());
        if proofs.len() < all {
            metrics::set(&METRICS.last_proof_s, seconds(now));
        }
        Ok(proofs)
    }

    async fn park(&self, proof: &AccountProof) -> Result<(), BooksError> {
        let (account, why) = (proof.account, &proof.broken);
        let now = self.ports.clock.now();
        if self.ports.proofs.park(account, why, now).await? {
            metrics::add(&METRICS.proofs_failed, 1);
            let first = why.first().map(String::as_str).unwrap_or_default();
            tracing::error!(account = %account, findings = why.len(), first,
                "the books do not hold: the account is parked and its calls are refused; \
                 `tollgate ledger verify --account` says more, `tollgate accounts unpark` ends it");
            self.count_parked().await?;
        }
        Ok(())
    }

    async fn tell(&mut self) -> Result<(), BooksError> {
        self.count_parked().await?;
        self.stood = Some(Instant::now());
        Ok(())
    }

    async fn count_parked(&self) -> Result<(), BooksError> {
        let standing = self.ports.proofs.standing(0).await?;
        metrics::set(&METRICS.parked_accounts, standing.parked_accounts);
        metrics::set(
            &METRICS.unproved_accounts,
            standing.accounts.saturating_sub(standing.proved),
        );
        Ok(())
    }
}

/// Any id below another.
fn somewhere_below(id: i64) -> i64 {
    let random = getrandom::u32().unwrap_or(0);
    let share = (i128::from(id) * i128::from(random)) >> 32;
    i64::try_from(share).unwrap_or(0)
}

fn seconds(at: OffsetDateTime) -> u64 {
    u64::try_from(at.unix_timestamp()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moved_is_taken_once_and_bounded() {
        let moved = Moved([const { AtomicI64::new(0) }; 256]);
        let mut ids = billing_core::id::IdSequence::new(3);
        for ms in 0..10_000 {
            moved.note(AccountId::new(ids.next(1_800_000_000_000 + ms)));
        }
        let some = moved.take(20);
        assert_eq!(some.len(), 20);
        let rest = moved.take(1000);
        assert!(rest.len() > 200, "{} places are used", rest.len());
        assert!(moved.take(1000).is_empty());
    }
}
