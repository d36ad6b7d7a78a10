//! Whose turn it is to be in a batch.

use std::collections::{HashMap, HashSet};

use billing_core::id::AccountId;
use tokio::task::Id;

use super::op::Op;

/// Whose turn it is: an account is in one batch at a time. So no batch waits for the locks of another,
/// and what one leaves on the shelf is there for the next.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// What is of accounts that are under way, and what no longer fitted; in order.
    aside: Vec<Op>,
    under_way: HashSet<AccountId>,
    batches: HashMap<Id, Vec<AccountId>>,
}

impl Turns {
    /// How many wait that were received already.
    pub(super) fn waiting(&self) -> usize {
        self.aside.len()
    }

    /// The next batch: what waited, then what came, without those whose turn it is not.
    pub(super) fn next(&mut self, come: Vec<Op>, most: usize) -> Vec<Op> {
        if self.under_way.is_empty() && self.aside.is_empty() {
            return come;
        }
        let mut ops = Vec::with_capacity(most.min(self.aside.len().saturating_add(come.len())));
        for op in std::mem::take(&mut self.aside).into_iter().chain(come) {
            if ops.len() < most && !self.under_way.contains(&op.account()) {
                ops.push(op);
            } else {
                self.aside.push(op);
            }
        }
        ops
    }

    /// A batch is under way for these accounts.
    pub(super) fn begin(&mut self, batch: Id, accounts: Vec<AccountId>) {
        self.under_way.extend(&accounts);
        self.batches.insert(batch, accounts);
    }

    /// A batch is over.
    pub(super) fn end(&mut self, batch: Id) {
        let accounts = self.batches.remove(&batch);
        for account in accounts.into_iter().flatten() {
            self.under_way.remove(&account);
        }
    }
}
