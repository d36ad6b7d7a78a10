//! Settles a batch of calls of any accounts inside a transaction.

use std::collections::BTreeMap;

use billing_core::call::Settlement;
use billing_core::id::{AccountId, NodeId};
use billing_core::port::books::{BooksError, Settled};
use rusqlite::Connection;
use sea_orm::ConnectionTrait;
use time::OffsetDateTime;

use super::load::{self, Loaded, Wanted};
use super::shelf::{Shelf, Shelved};
use crate::error::StoreError;
use crate::retention;
use crate::rows::{Form, Rows, one_by_one, write};
use crate::txn_ids::TxnIds;

mod book;

use self::book::Book;

/// One answer for each settlement, in order.
pub(crate) type Answers = Vec<Result<Settled, BooksError>>;

/// Whether calls may be on record already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    /// Hardly any call is handed in twice, so none is looked up. When one was, the database refuses
    /// the batch with [`StoreError::is_duplicate`], and it is to be settled again with a look. So it
    /// is with books from the shelf that have changed, and with a call that is older than all that
    /// are kept: [`StoreError::is_stale`].
    Unseen,
    /// They are looked up.
    Seen,
}

/// What a batch came to, once its transaction is committed.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) answers: Answers,
    /// For the shelf.
    pub(crate) left: Left,
}

/// The books as a batch left them.
#[derive(Debug, Default)]
pub(crate) struct Left {
    pub(crate) books: Vec<(AccountId, Shelved)>,
    /// Whether some of them were taken from the shelf.
    pub(crate) was_guessed: bool,
}

/// Calls that are settled together. Those on record are answered from it, the others are charged and
/// written. A call under the id of another one of the account is refused.
pub(crate) struct Batch<'a> {
    record: Record,
    accounts: Vec<OfAccount<'a>>,
    guesses: BTreeMap<AccountId, Loaded>,
    book: Book<'a>,
    /// Whether nothing is left to do but to write.
    is_settled: bool,
    /// Whether there is a call that may be older than all that are kept.
    has_old: bool,
}

impl<'a> Batch<'a> {
    /// Does what needs no database: with all books on the shelf that is everything but the writing,
    /// so that a transaction holds its locks no longer than it writes.
    ///
    /// # Errors
    /// [`StoreError::Stale`].
    pub(crate) fn new(
        calls: &[&'a Settlement],
        record: Record,
        shelf: &Shelf,
        ids: &'a TxnIds,
        now: OffsetDateTime,
        form: Form,
    ) -> Result<Self, StoreError> {
        let mut order: Vec<(AccountId, usize)> = calls.iter().map(|s| s.account).zip(0..).collect();
        order.sort_unstable();
        let accounts: Vec<OfAccount<'a>> = order
            .chunk_by(|one, next| one.0 == next.0)
            .filter_map(|places| {
                let of = |(_, place): &(AccountId, usize)| Some((*place, *calls.get(*place)?));
                let account = places.first()?.0;
                Some(OfAccount::new(
                    account,
                    places.iter().filter_map(of).collect(),
                ))
            })
            .collect();
        let guesses = match record {
            Record::Unseen => shelf.take(
                accounts
                    .iter()
                    .filter(|of| of.is_wallet_alone)
                    .map(|of| (of.account, of.nodes.as_slice())),
            ),
            Record::Seen => BTreeMap::new(),
        };
        let mut book = Book::new(form, ids, now, calls.len());
        if !guesses.is_empty() {
            book.note_guess();
        }
        let is_settled = guesses.len() == accounts.len();
        let mut batch = Self {
            has_old: has_old(calls, now),
            record,
            accounts,
            guesses,
            book,
            is_settled,
        };
        if is_settled {
            batch.charge(BTreeMap::new())?;
        }
        Ok(batch)
    }

    /// Settles and writes inside a transaction.
    pub(crate) async fn write<C: ConnectionTrait>(mut self, tx: &C) -> Result<Done, StoreError> {
        if self.has_old {
            self.look_how_far_back(tx).await?;
        }
        if !self.is_settled {
            let states = self.look(tx).await?;
            self.charge(states)?;
        }
        let (rows, done) = self.book.close();
        write(tx, rows).await?;
        Ok(done)
    }

    /// Whether nothing is to be looked at before it is written.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_settled && !self.has_old
    }

    /// What is to be written of a batch that is [ready](Batch::is_ready), and what it comes to.
    pub(crate) fn into_rows(self) -> (Vec<Rows>, Done) {
        self.book.close()
    }

    /// Settles and writes inside a transaction of SQLite's own connection. Only for what is
    /// [`Record::Unseen`] and not [old](has_old).
    pub(crate) fn write_one_by_one(mut self, tx: &Connection) -> Result<Done, StoreError> {
        if !self.is_settled {
            let looked = one_by_one::read(tx, self.wanted().rows(Form::Json))?;
            self.charge(load::states_of(&looked)?)?;
        }
        let (rows, done) = self.book.close();
        one_by_one::write(tx, &rows)?;
        Ok(done)
    }

    /// From which call on they are kept. An older one is answered from the record, or not at all.
    async fn look_how_far_back<C: ConnectionTrait>(&mut self, tx: &C) -> Result<(), StoreError> {
        self.book.kept_from = retention::kept_from(tx).await?;
        let mut calls = self.accounts.iter().flat_map(|of| &of.calls);
        let is_gone = calls.any(|(_, s)| s.call.get() < self.book.kept_from);
        if is_gone && self.record == Record::Unseen {
            return Err(StoreError::Stale);
        }
        Ok(())
    }

    /// What is to be looked at: the books that are not guessed.
    fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        for of in &self.accounts {
            if self.guesses.contains_key(&of.account) {
                // All locks of a batch are taken in one go, in order, or it may wait in a circle.
                wanted.locked.insert(of.account);
            } else {
                of.want(&mut wanted);
            }
        }
        wanted
    }

    /// The books that are not guessed, and the calls on record.
    async fn look<C: ConnectionTrait>(
        &mut self,
        tx: &C,
    ) -> Result<BTreeMap<AccountId, Loaded>, StoreError> {
        // Locked first, so that nobody else records one of the calls after the look.
        let states = load::states(tx, &self.wanted()).await?;
        if self.record == Record::Seen {
            let calls = self.accounts.iter().flat_map(|of| &of.calls);
            let calls = calls.map(|(_, settlement)| (settlement.account, settlement.call));
            self.book.recorded = load::recorded(tx, calls).await?;
        }
        Ok(states)
    }

    fn charge(&mut self, mut states: BTreeMap<AccountId, Loaded>) -> Result<(), StoreError> {
        for of in &self.accounts {
            let guess = self.guesses.remove(&of.account);
            let loaded = guess.or_else(|| states.remove(&of.account));
            self.book.settle(of, loaded)?;
        }
        self.book.enter();
        Ok(())
    }
}

/// Whether there is a call that may be older than all that are kept, as it may be where it began long
/// ago, or long after now: then the clock is not to be believed.
pub(crate) fn has_old(calls: &[&Settlement], now: OffsetDateTime) -> bool {
    let surely_kept = retention::surely_kept(now);
    calls.iter().any(|s| !surely_kept.contains(&s.call.get()))
}

/// The calls of one account in a batch.
struct OfAccount<'a> {
    account: AccountId,
    /// With their places in the batch.
    calls: Vec<(usize, &'a Settlement)>,
    nodes: Vec<NodeId>,
    /// Whether no limit or quota is drawn.
    is_wallet_alone: bool,
}

impl<'a> OfAccount<'a> {
    fn new(account: AccountId, calls: Vec<(usize, &'a Settlement)>) -> Self {
        let mut nodes = Vec::with_capacity(1);
        let mut is_wallet_alone = true;
        for (_, settlement) in &calls {
            if !nodes.contains(&settlement.node) {
                nodes.push(settlement.node);
            }
            is_wallet_alone &= settlement.uses().next().is_none();
        }
        Self {
            account,
            calls,
            nodes,
            is_wallet_alone,
        }
    }

    fn want(&self, wanted: &mut Wanted) {
        wanted.accounts.insert(self.account);
        let nodes = self.nodes.iter().map(|node| (self.account, *node));
        wanted.nodes.extend(nodes);
        for (_, settlement) in &self.calls {
            let scopes = settlement.uses().map(|scope| (self.account, scope));
            wanted.scopes.extend(scopes);
        }
    }
}
