//! What is asked of the committer, and the way back to who asked.

use std::collections::HashMap;
use std::sync::Arc;

use billing_core::call::Settlement;
use billing_core::id::AccountId;
use billing_core::lease::{LeaseAsk, LeaseGrant, LeaseReturn};
use billing_core::port::books::{BooksError, Settled};
use tokio::runtime::{Handle, Id};
use tokio::sync::oneshot;

use crate::error::StoreError;

/// What is asked.
#[derive(Debug)]
pub(super) enum Op {
    Settle(Arc<Settlement>, Reply<Settled>),
    Lease(LeaseAsk, Reply<LeaseGrant>),
    GiveBack(LeaseReturn, Reply<()>),
}

/// What came of one [`Op`].
#[derive(Debug)]
pub(super) enum Answer {
    Settled(Result<Settled, BooksError>),
    Granted(Result<LeaseGrant, BooksError>),
    Returned,
}

type Said<T> = Result<T, BooksError>;

/// The way back to who asked.
#[derive(Debug)]
pub(super) struct Reply<T> {
    to: oneshot::Sender<Said<T>>,
    /// Where it is waited for.
    at: Option<Handle>,
    /// How many transactions were committed when it was asked.
    after: u64,
}

impl<T> Reply<T> {
    /// A way back to here, and its end; so many transactions are committed now.
    pub(super) fn channel(after: u64) -> (Self, oneshot::Receiver<Said<T>>) {
        let (to, answer) = oneshot::channel();
        let at = Handle::try_current().ok();
        (Self { to, at, after }, answer)
    }

    /// Whoever asked may have left; the commit stands all the same.
    fn send(self, said: Said<T>) {
        drop(self.to.send(said));
    }
}

/// Tells all who asked what came of it.
///
/// To wake a task of another thread is a system call, so those that wait on one runtime are woken
/// by a task there: one call to the system for all of them.
pub(super) fn tell(answered: impl Iterator<Item = (Op, Answer)>) {
    let mut by_runtime: HashMap<Id, (Handle, Vec<(Op, Answer)>)> = HashMap::new();
    for (op, answer) in answered {
        match op.waits_at().cloned() {
            Some(handle) => {
                let there = by_runtime.entry(handle.id());
                let (_, told) = there.or_insert_with(|| (handle, Vec::new()));
                told.push((op, answer));
            }
            None => op.answer(answer),
        }
    }
    for (handle, told) in by_runtime.into_values() {
        drop(handle.spawn(async move {
            for (op, answer) in told {
                op.answer(answer);
            }
        }));
    }
}

impl Op {
    pub(super) fn account(&self) -> AccountId {
        match self {
            Self::Settle(settlement, _) => settlement.account,
            Self::Lease(ask, _) => ask.account,
            Self::GiveBack(back, _) => back.account,
        }
    }

    /// The account whose leases it changes.
    pub(super) fn leased(&self) -> Option<AccountId> {
        let is_lease = !matches!(self, Self::Settle(..));
        is_lease.then(|| self.account())
    }

    pub(super) fn settlement(&self) -> Option<&Settlement> {
        match self {
            Self::Settle(settlement, _) => Some(settlement),
            Self::Lease(..) | Self::GiveBack(..) => None,
        }
    }

    /// How many transactions were committed when a settlement was handed in.
    pub(super) fn settle_asked_after(&self) -> Option<u64> {
        match self {
            Self::Settle(_, reply) => Some(reply.after),
            Self::Lease(..) | Self::GiveBack(..) => None,
        }
    }

    /// The runtime on which the answer is waited for.
    pub(super) fn waits_at(&self) -> Option<&Handle> {
        match self {
            Self::Settle(_, reply) => reply.at.as_ref(),
            Self::Lease(_, reply) => reply.at.as_ref(),
            Self::GiveBack(_, reply) => reply.at.as_ref(),
        }
    }

    fn answer(self, answer: Answer) {
        match (self, answer) {
            (Self::Settle(_, reply), Answer::Settled(answer)) => reply.send(answer),
            (Self::Lease(_, reply), Answer::Granted(answer)) => reply.send(answer),
            (Self::GiveBack(_, reply), Answer::Returned) => reply.send(Ok(())),
            (op, _) => op.fail(StoreError::Closed.into()),
        }
    }

    pub(super) fn fail(self, error: BooksError) {
        match self {
            Self::Settle(_, reply) => reply.send(Err(error)),
            Self::Lease(_, reply) => reply.send(Err(error)),
            Self::GiveBack(_, reply) => reply.send(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use billing_core::budget::BudgetScope;
    use billing_core::id::NodeId;
    use billing_core::lease::LeaseSeq;

    use super::*;

    fn asked(account: i64) -> (Op, oneshot::Receiver<Said<()>>) {
        let (reply, answer) = Reply::channel(0);
        let back = LeaseReturn {
            node: NodeId::new(1),
            account: AccountId::new(account),
            scope: BudgetScope::Wallet,
            seq: LeaseSeq::new(1),
            amount: billing_core::budget::Amount::ZERO,
        };
        (Op::GiveBack(back, reply), answer)
    }

    #[tokio::test]
    async fn everybody_is_told_wherever_it_waits() {
        let (mut ops, mut answers): (Vec<_>, Vec<_>) = (0..40).map(asked).unzip();
        let elsewhere = std::thread::spawn(|| (0..40).map(asked).unzip());
        let (others, waiting): (Vec<_>, Vec<_>) = elsewhere.join().unwrap();
        ops.extend(others);
        answers.extend(waiting);
        let telling = move || tell(ops.into_iter().map(|op| (op, Answer::Returned)));
        std::thread::spawn(telling).join().unwrap();
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
    }

    #[test]
    fn whose_runtime_is_gone_is_not_waited_for() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let (ops, answers): (Vec<_>, Vec<_>) = {
            let _there = runtime.enter();
            (0..3).map(asked).unzip()
        };
        drop(runtime);
        tell(ops.into_iter().map(|op| (op, Answer::Returned)));
        for mut answer in answers {
            assert!(answer.try_recv().is_err());
        }
    }
}
