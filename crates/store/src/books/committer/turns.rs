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

#[cfg(test)]
mod tests {
    use billing_core::budget::{Amount, BudgetScope};
    use billing_core::id::NodeId;
    use billing_core::lease::{LeaseReturn, LeaseSeq};
    use tokio::task::JoinSet;

    use super::*;
    use crate::books::committer::op::Reply;

    /// Of an account, with a number to know it by.
    fn op(account: i64, number: i64) -> Op {
        let back = LeaseReturn {
            node: NodeId::new(number),
            account: AccountId::new(account),
            scope: BudgetScope::Wallet,
            seq: LeaseSeq::new(1),
            amount: Amount::ZERO,
        };
        Op::GiveBack(back, Reply::channel(0).0)
    }

    fn ops(asked: &[(i64, i64)]) -> Vec<Op> {
        asked.iter().map(|(account, n)| op(*account, *n)).collect()
    }

    fn named(ops: &[Op]) -> Vec<(i64, i64)> {
        let name = |op: &Op| match op {
            Op::GiveBack(back, _) => Some((back.account.get(), back.node.get())),
            Op::Settle(..) | Op::Lease(..) => None,
        };
        ops.iter().filter_map(name).collect()
    }

    fn accounts(ops: &[Op]) -> Vec<AccountId> {
        ops.iter().map(Op::account).collect()
    }

    /// Names of batches, as the committer has them.
    fn batches() -> (JoinSet<()>, [Id; 2]) {
        let mut running = JoinSet::new();
        let ids = [(); 2].map(|()| running.spawn(async {}).id());
        (running, ids)
    }

    #[tokio::test]
    async fn an_account_is_in_one_batch_at_a_time() {
        let (_running, [one, two]) = batches();
        let mut turns = Turns::default();
        let first = turns.next(ops(&[(1, 1), (2, 2), (1, 3)]), 9);
        assert_eq!(named(&first), [(1, 1), (2, 2), (1, 3)]);
        turns.begin(one, accounts(&first));
        let second = turns.next(ops(&[(1, 4), (3, 5), (2, 6)]), 9);
        assert_eq!(named(&second), [(3, 5)]);
        assert_eq!(turns.waiting(), 2);
        turns.begin(two, accounts(&second));
        assert_eq!(named(&turns.next(ops(&[(3, 7)]), 9)), []);
        turns.end(two);
        assert_eq!(named(&turns.next(Vec::new(), 9)), [(3, 7)]);
        turns.end(one);
        assert_eq!(named(&turns.next(Vec::new(), 9)), [(1, 4), (2, 6)]);
        assert_eq!(turns.waiting(), 0);
    }

    #[tokio::test]
    async fn what_waited_goes_before_what_came_also_where_not_all_fits() {
        let (_running, [one, two]) = batches();
        let mut turns = Turns::default();
        turns.begin(one, vec![AccountId::new(1)]);
        assert_eq!(named(&turns.next(ops(&[(1, 1), (1, 2), (1, 3)]), 2)), []);
        turns.end(one);
        let first = turns.next(ops(&[(1, 4), (2, 5)]), 2);
        assert_eq!(named(&first), [(1, 1), (1, 2)]);
        turns.begin(two, accounts(&first));
        // The others of the account wait on, and keep nobody else out.
        assert_eq!(named(&turns.next(Vec::new(), 2)), [(2, 5)]);
        turns.end(two);
        assert_eq!(named(&turns.next(ops(&[(1, 6)]), 2)), [(1, 3), (1, 4)]);
        assert_eq!(named(&turns.next(Vec::new(), 2)), [(1, 6)]);
    }
}
