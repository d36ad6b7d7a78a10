//! Settles a batch of calls of any accounts inside a transaction.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use billing_core::budget::BudgetScope;
use billing_core::call::Settlement;
use billing_core::id::{AccountId, CallId, LedgerTxnId, NodeId};
use billing_core::ledger::LedgerTxn;
use billing_core::port::books::{BooksError, Settled};
use billing_core::settlement::{Booking, SettleError, SettledCall, settle};
use billing_core::wallet::Lot;
use sea_orm::{ConnectionTrait, DbBackend};
use time::OffsetDateTime;

use super::load::{self, Identity, Loaded, Wanted};
use super::save::Page;
use super::shelf::{Shelf, Shelved};
use crate::error::StoreError;
use crate::instant::micros;
use crate::open::TxnIds;
use crate::retention;

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
        backend: DbBackend,
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
        let book = Book {
            page: Page::new(backend, micros(now)),
            recorded: HashMap::new(),
            kept_from: i64::MIN,
            ids,
            now,
            answers: calls.iter().map(|_| None).collect(),
            lines: Vec::with_capacity(calls.len()),
            repeated: Vec::new(),
            left: Left {
                books: Vec::with_capacity(accounts.len()),
                was_guessed: !guesses.is_empty(),
            },
        };
        let is_settled = guesses.len() == accounts.len();
        let surely_kept = retention::surely_kept_from(now);
        let mut batch = Self {
            has_old: calls.iter().any(|s| s.call.get() < surely_kept),
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
        self.book.write(tx).await
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

    /// The books that are not guessed, and the calls on record.
    async fn look<C: ConnectionTrait>(
        &mut self,
        tx: &C,
    ) -> Result<BTreeMap<AccountId, Loaded>, StoreError> {
        let mut wanted = Wanted::default();
        for of in &self.accounts {
            if self.guesses.contains_key(&of.account) {
                // All locks of a batch are taken in one go, in order, or it may wait in a circle.
                wanted.locked.insert(of.account);
            } else {
                of.want(&mut wanted);
            }
        }
        // Locked first, so that nobody else records one of the calls after the look.
        let states = load::states(tx, &wanted).await?;
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
            is_wallet_alone &= limits(settlement).next().is_none();
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
            let scopes = limits(settlement).map(|scope| (self.account, scope));
            wanted.scopes.extend(scopes);
        }
    }
}

/// What a call draws beside the wallet.
fn limits(settlement: &Settlement) -> impl Iterator<Item = BudgetScope> {
    let scopes = settlement.held.iter().map(|(scope, _)| *scope);
    scopes.filter(|scope| *scope != BudgetScope::Wallet)
}

/// A call, what it was charged, and where that is booked.
struct Line<'a> {
    place: usize,
    settlement: &'a Settlement,
    settled: SettledCall,
    txn: Option<LedgerTxnId>,
}

/// A batch, account by account.
struct Book<'a> {
    page: Page<'a>,
    recorded: HashMap<(AccountId, CallId), (Identity, SettledCall)>,
    /// The least id of a call that is surely known if it was charged.
    kept_from: i64,
    ids: &'a TxnIds,
    now: OffsetDateTime,
    answers: Vec<Option<Result<Settled, BooksError>>>,
    lines: Vec<Line<'a>>,
    /// Calls that stand in the batch before, by both places.
    repeated: Vec<(usize, usize)>,
    left: Left,
}

impl<'a> Book<'a> {
    /// Asks the rule. An account whose books it refuses writes nothing; the others go on.
    fn settle(&mut self, of: &OfAccount<'a>, loaded: Option<Loaded>) -> Result<(), StoreError> {
        let (fresh, repeated) = self.fresh(of);
        let refuse = |book: &mut Self, error: &dyn Fn() -> BooksError| {
            let places = fresh.iter().map(|(place, _)| *place);
            for place in places.chain(repeated.iter().map(|(place, _)| *place)) {
                book.answer(place, Err(error()));
            }
        };
        let Some(mut loaded) = loaded else {
            refuse(self, &|| BooksError::NoSuchBudget);
            return Ok(());
        };
        if fresh.is_empty() {
            return Ok(());
        }
        // As the rule leaves them.
        loaded.state.lots.sort_by_key(Lot::draw_order);
        let booking = Booking {
            txn: self.ids.next(self.now),
            now: self.now,
        };
        let calls: Vec<&Settlement> = fresh.iter().map(|(_, settlement)| *settlement).collect();
        let changes = match settle(loaded.state.clone(), &calls, booking) {
            Ok(changes) => changes,
            Err(_) if loaded.is_guess => return Err(StoreError::Stale),
            Err(error) => {
                refuse(self, &|| refused(&error));
                return Ok(());
            }
        };
        let version = self.page.books(&loaded, &changes.state);
        if let Some(txn) = &changes.txn {
            self.page.txn(txn, changes.state.wallet.posted.get());
        }
        let txn = changes.txn.as_ref().map(LedgerTxn::id);
        let lines = fresh.into_iter().zip(changes.calls);
        self.lines
            .extend(lines.map(|((place, settlement), settled)| Line {
                place,
                settlement,
                settled,
                txn,
            }));
        self.repeated.extend(repeated);
        let shelved = Shelved::of(changes.state, version, &of.nodes);
        self.left.books.push((of.account, shelved));
        Ok(())
    }

    /// The calls that are not on record, and those that come again after one of them. The others are
    /// answered.
    #[expect(clippy::type_complexity, reason = "two lists of places, used once")]
    fn fresh(&mut self, of: &OfAccount<'a>) -> (Vec<(usize, &'a Settlement)>, Vec<(usize, usize)>) {
        let mut fresh = Vec::with_capacity(of.calls.len());
        let mut repeated = Vec::new();
        let mut first: HashMap<CallId, (usize, Identity)> = HashMap::new();
        for (place, settlement) in &of.calls {
            let (place, call) = (*place, settlement.call);
            let identity = Identity::of(settlement);
            if let Some((of_id, settled)) = self.recorded.get(&(of.account, call)) {
                let settled = Settled {
                    call: settled.clone(),
                    replayed: true,
                };
                let is_same = *of_id == identity;
                self.answer(
                    place,
                    is_same.then_some(settled).ok_or_else(|| collides(call)),
                );
                continue;
            }
            if call.get() < self.kept_from {
                self.answer(place, Err(BooksError::NoLongerKept));
                continue;
            }
            match first.entry(call) {
                Entry::Vacant(entry) => {
                    entry.insert((place, identity));
                    fresh.push((place, *settlement));
                }
                Entry::Occupied(entry) if entry.get().1 == identity => {
                    repeated.push((place, entry.get().0));
                }
                Entry::Occupied(_) => self.answer(place, Err(collides(call))),
            }
        }
        (fresh, repeated)
    }

    fn answer(&mut self, place: usize, answer: Result<Settled, BooksError>) {
        if let Some(empty) = self.answers.get_mut(place) {
            *empty = Some(answer);
        }
    }

    /// Puts the calls on the page, in the order of their table, so that its rows are put at its end
    /// one after the other.
    fn enter(&mut self) {
        self.lines.sort_unstable_by_key(|line| line.settled.call);
        for line in &self.lines {
            self.page.call(line.settlement, &line.settled, line.txn);
        }
    }

    async fn write<C: ConnectionTrait>(mut self, tx: &C) -> Result<Done, StoreError> {
        self.page.write(tx).await?;
        for line in self.lines {
            if let Some(empty) = self.answers.get_mut(line.place) {
                let (call, replayed) = (line.settled, false);
                *empty = Some(Ok(Settled { call, replayed }));
            }
        }
        for (place, earlier) in self.repeated {
            let Some(Some(Ok(Settled { call, .. }))) = self.answers.get(earlier) else {
                continue;
            };
            let (call, replayed) = (call.clone(), true);
            if let Some(empty) = self.answers.get_mut(place) {
                *empty = Some(Ok(Settled { call, replayed }));
            }
        }
        let lost = || BooksError::Inconsistent("a batch lost a call".to_owned());
        let answers = self.answers.into_iter();
        Ok(Done {
            answers: answers.map(|a| a.unwrap_or_else(|| Err(lost()))).collect(),
            left: self.left,
        })
    }
}

fn refused(error: &SettleError) -> BooksError {
    match error {
        SettleError::Money(error) => BooksError::Money(error.clone()),
        SettleError::ForeignCall(_) | SettleError::Ledger(_) => {
            BooksError::Inconsistent(error.to_string())
        }
    }
}

fn collides(call: CallId) -> BooksError {
    BooksError::Inconsistent(format!("{call} stands for another call already"))
}
