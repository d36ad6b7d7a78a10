//! Where batches are committed: one transaction each, tried again while the database fails, and taken
//! apart where the database refuses it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use billing_core::call::Settlement;
use billing_core::id::AccountId;
use billing_core::port::clock::Clock;
use sea_orm::{ConnectionTrait, DbBackend};
use time::OffsetDateTime;

use super::Counted;
use super::op::{self, Answer, Op};
use crate::books::lease;
use crate::books::settle::{self, Batch, Done, Left, Record};
use crate::books::shelf::Shelf;
use crate::db;
use crate::embedded::Embedded;
use crate::error::StoreError;
use crate::rows::{self, Form, one_by_one};
use crate::txn_ids::TxnIds;
use crate::writer::Writer;

/// How often a batch is tried while the database fails.
const TRIES: u32 = 4;
/// From how many settlements on it is worth writing them on a thread of their own, so that the next
/// batch is charged meanwhile.
const WORTH_A_THREAD: usize = 256;

/// Where batches are committed.
pub(super) struct Desk {
    pub(super) writer: Writer,
    /// Where settlements are written on SQLite.
    pub(super) embedded: Option<Arc<Mutex<Embedded>>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: TxnIds,
    pub(super) shelf: Arc<Shelf>,
    pub(super) counted: Arc<Counted>,
}

impl Desk {
    /// Commits and answers. A batch that the database refuses is taken apart until what it refuses
    /// stands alone, so that nobody else suffers from it.
    pub(super) async fn commit(&self, ops: Vec<Op>) {
        let mut groups = vec![ops];
        while let Some(group) = groups.pop() {
            match self.persist(&group).await {
                Ok(answers) => op::tell(group.into_iter().zip(answers)),
                Err(error) if error.is_poison() && group.len() > 1 => {
                    tracing::error!(%error, calls = group.len(), "a batch was refused; taking it apart");
                    groups.extend(apart(group));
                }
                Err(error) => {
                    tracing::error!(%error, waiting = group.len(), "settlements were not committed");
                    let error = Arc::new(error);
                    for op in group {
                        op.fail(StoreError::Shared(Arc::clone(&error)).into());
                    }
                }
            }
        }
    }

    /// Tries until the database answers, a bounded number of times. From the second time on a look
    /// is taken for what is on record: the first may have been committed and its answer lost.
    async fn persist(&self, ops: &[Op]) -> Result<Vec<Answer>, StoreError> {
        let mut pause = Duration::from_millis(20);
        let mut tries = 1;
        let mut record = Record::Unseen;
        loop {
            let was = std::mem::replace(&mut record, Record::Seen);
            match self.attempt(ops, was).await {
                Err(error) if error.is_duplicate() && was == Record::Unseen => {
                    self.ids.draw_again();
                }
                Err(error) if error.is_stale() && was == Record::Unseen => self.shelf.was_wrong(),
                Err(error) if !error.is_poison() && tries < TRIES => {
                    tracing::warn!(%error, tries, "a batch was not committed; trying again");
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(4);
                    tries = tries.saturating_add(1);
                }
                other => return other,
            }
        }
    }

    async fn attempt(&self, ops: &[Op], record: Record) -> Result<Vec<Answer>, StoreError> {
        let now = self.clock.now();
        let leased = ops.iter().filter_map(Op::leased);
        let leased: BTreeSet<AccountId> = leased.inspect(|a| self.shelf.forget(*a)).collect();
        let calls: Vec<&Settlement> = ops.iter().filter_map(Op::settlement).collect();
        let is_plain =
            calls.len() == ops.len() && record == Record::Unseen && !settle::has_old(&calls, now);
        let backend = self.writer.get_database_backend();
        let embedded = self.embedded.as_ref().filter(|_| is_plain);
        let form = match embedded {
            Some(_) => Form::OneByOne,
            None => backend.into(),
        };
        let batch = Batch::new(&calls, record, &self.shelf, &self.ids, now, form)?;
        let (answers, mut left) = if let Some(embedded) = embedded {
            let done = self.write_one_by_one(embedded, batch, calls.len()).await?;
            let answers = done.answers.into_iter().map(Answer::Settled);
            (answers.collect(), done.left)
        } else if is_plain && batch.is_ready() && backend == DbBackend::Postgres {
            let (rows, done) = batch.into_rows();
            let pool = self.writer.connection().get_postgres_connection_pool();
            rows::write_alone(pool, rows).await?;
            let answers = done.answers.into_iter().map(Answer::Settled);
            (answers.collect(), done.left)
        } else {
            let tx = self.writer.begin().await?;
            let result = self.write(&tx, ops, batch, now).await;
            db::finish(tx, result).await?
        };
        left.books.retain(|(account, _)| !leased.contains(account));
        self.shelf.put(left);
        self.counted.note_batch(ops);
        Ok(answers)
    }

    /// Settlements alone, on SQLite's own connection.
    async fn write_one_by_one(
        &self,
        embedded: &Arc<Mutex<Embedded>>,
        batch: Batch<'_>,
        calls: usize,
    ) -> Result<Done, StoreError> {
        if calls < WORTH_A_THREAD || !batch.is_ready() {
            let _turn = self.writer.turn().await?;
            let embedded = embedded.lock().unwrap_or_else(PoisonError::into_inner);
            return embedded.transaction(|tx| batch.write_one_by_one(tx));
        }
        let (rows, done) = batch.into_rows();
        let turn = self.writer.turn().await?;
        let embedded = Arc::clone(embedded);
        let writing = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let embedded = embedded.lock().unwrap_or_else(PoisonError::into_inner);
            embedded.transaction(|tx| one_by_one::write(tx, &rows))
        });
        writing.await.map_err(|_| StoreError::Closed)??;
        Ok(done)
    }

    /// What is given back first, then settlements, then leases, which see what became free.
    async fn write<C: ConnectionTrait>(
        &self,
        tx: &C,
        ops: &[Op],
        batch: Batch<'_>,
        now: OffsetDateTime,
    ) -> Result<(Vec<Answer>, Left), StoreError> {
        for op in ops {
            if let Op::GiveBack(back, _) = op {
                lease::give_back(tx, back, now).await?;
            }
        }
        let done = batch.write(tx).await?;
        let mut settled = done.answers.into_iter();
        let mut answers = Vec::with_capacity(ops.len());
        for op in ops {
            answers.push(match op {
                Op::Settle(..) => {
                    Answer::Settled(settled.next().unwrap_or(Err(StoreError::Closed.into())))
                }
                Op::Lease(ask, _) => Answer::Granted(lease::lease(tx, ask, now).await?),
                Op::GiveBack(..) => Answer::Returned,
            });
        }
        Ok((answers, done.left))
    }
}

/// By account; what is of one account already, one by one.
fn apart(group: Vec<Op>) -> Vec<Vec<Op>> {
    let mut by_account: BTreeMap<AccountId, Vec<Op>> = BTreeMap::new();
    for op in group {
        by_account.entry(op.account()).or_default().push(op);
    }
    if by_account.len() > 1 {
        return by_account.into_values().collect();
    }
    // The last first, because groups are taken from the end.
    let singles = by_account.into_values().flatten().map(|op| vec![op]);
    let mut singles: Vec<Vec<Op>> = singles.collect();
    singles.reverse();
    singles
}
