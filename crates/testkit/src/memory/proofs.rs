//! Proofs in memory: nothing is carried over, what was proved when is remembered.

use std::collections::BTreeMap;

use async_trait::async_trait;
use billing_core::budget::Amount;
use billing_core::id::AccountId;
use billing_core::money::Nanos;
use billing_core::port::books::{AccountProof, BooksError};
use billing_core::port::directory::ChangeSubject;
use billing_core::port::proofs::{Depth, Parked, Proofs, Standing, ToProve};
use billing_core::wallet::AccountStatus;
use time::OffsetDateTime;

use super::{Memory, Page, State};

/// What proofs remember.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    proved: BTreeMap<AccountId, (OffsetDateTime, Seen)>,
    parked: BTreeMap<AccountId, (Parked, AccountStatus)>,
}

/// Balance, leases and transactions.
type Seen = (Nanos, Amount, usize);

fn seen(page: &Page) -> Seen {
    (page.wallet.posted, page.wallet.leased, page.journal.len())
}

#[async_trait]
impl Proofs for Memory {
    async fn to_prove(
        &self,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<ToProve>, BooksError> {
        let state = self.state();
        let pages = state.books.iter().filter(|(id, _)| Some(**id) > after);
        let to_prove = pages.map(|(account, page)| {
            let last = state.proofs.proved.get(account);
            ToProve {
                account: *account,
                proved_at: last.map(|(at, _)| *at),
                moved: last.is_none_or(|(_, before)| *before != seen(page)),
            }
        });
        Ok(to_prove.take(usize::try_from(limit).unwrap()).collect())
    }

    async fn prove(
        &self,
        accounts: &[AccountId],
        _: Depth,
        now: OffsetDateTime,
    ) -> Result<Vec<AccountProof>, BooksError> {
        let mut state = self.state();
        let mut proofs = Vec::new();
        for account in accounts {
            let Some(page) = state.books.get(account) else {
                continue;
            };
            let (proof, seen) = (page.prove(*account), seen(page));
            if proof.broken.is_empty() {
                state.proofs.proved.insert(*account, (now, seen));
            }
            proofs.push(proof);
        }
        Ok(proofs)
    }

    async fn park(
        &self,
        account: AccountId,
        why: &[String],
        now: OffsetDateTime,
    ) -> Result<bool, BooksError> {
        let mut state = self.state();
        let was = state.page(account)?.wallet.status;
        if state.proofs.parked.contains_key(&account) {
            return Ok(false);
        }
        let parked = Parked {
            account,
            since: now,
            why: why.to_vec(),
        };
        state.proofs.parked.insert(account, (parked, was));
        state.set_status(account, AccountStatus::Parked)?;
        Ok(true)
    }

    async fn unpark(&self, account: AccountId, _: OffsetDateTime) -> Result<bool, BooksError> {
        let mut state = self.state();
        let Some((_, was)) = state.proofs.parked.remove(&account) else {
            return Ok(false);
        };
        state.proofs.proved.remove(&account);
        state.set_status(account, was)?;
        Ok(true)
    }

    async fn parked(&self, account: AccountId) -> Result<Option<Parked>, BooksError> {
        let state = self.state();
        let parked = state.proofs.parked.get(&account);
        Ok(parked.map(|(parked, _)| parked.clone()))
    }

    async fn standing(&self, limit: u32) -> Result<Standing, BooksError> {
        let state = self.state();
        let at = || state.proofs.proved.values().map(|(at, _)| *at);
        let parked = state.proofs.parked.values().map(|(parked, _)| parked);
        let mut parked: Vec<Parked> = parked.cloned().collect();
        parked.sort_by_key(|parked| std::cmp::Reverse(parked.since));
        let parked_accounts = u64::try_from(parked.len()).unwrap();
        parked.truncate(usize::try_from(limit).unwrap());
        Ok(Standing {
            accounts: u64::try_from(state.books.len()).unwrap(),
            proved: u64::try_from(state.proofs.proved.len()).unwrap(),
            oldest: at().min(),
            newest: at().max(),
            parked_accounts,
            parked,
        })
    }
}

impl State {
    fn set_status(&mut self, account: AccountId, status: AccountStatus) -> Result<(), BooksError> {
        self.page(account)?.wallet.status = status;
        if let Some(account) = self.accounts.get_mut(&account) {
            account.status = status;
        }
        self.changes.push(ChangeSubject::Account(account));
        Ok(())
    }
}
