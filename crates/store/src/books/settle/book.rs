//! A batch account by account: the rule is asked, and what it answers is put on the page.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use billing_core::call::Settlement;
use billing_core::id::{AccountId, CallId, LedgerTxnId};
use billing_core::ledger::LedgerTxn;
use billing_core::port::books::{BooksError, Settled};
use billing_core::settlement::{Booking, SettleError, SettledCall, settle};
use billing_core::wallet::Lot;
use time::OffsetDateTime;

use super::{Done, Left, OfAccount};
use crate::books::load::{Identity, Loaded};
use crate::books::save::Page;
use crate::books::shelf::Shelved;
use crate::error::StoreError;
use crate::instant::micros;
use crate::rows::{Form, Rows};
use crate::txn_ids::TxnIds;

/// A call, what it was charged, and where that is booked.
struct Line<'a> {
    place: usize,
    settlement: &'a Settlement,
    settled: SettledCall,
    txn: Option<LedgerTxnId>,
}

/// A batch, account by account.
pub(super) struct Book<'a> {
    page: Page<'a>,
    pub(super) recorded: HashMap<(AccountId, CallId), (Identity, SettledCall)>,
    /// The least id of a call that is surely known if it was charged.
    pub(super) kept_from: i64,
    ids: &'a TxnIds,
    now: OffsetDateTime,
    answers: Vec<Option<Result<Settled, BooksError>>>,
    lines: Vec<Line<'a>>,
    /// Calls that stand in the batch before, by both places.
    repeated: Vec<(usize, usize)>,
    left: Left,
}

impl<'a> Book<'a> {
    /// An empty one for so many calls.
    pub(super) fn new(form: Form, ids: &'a TxnIds, now: OffsetDateTime, calls: usize) -> Self {
        Self {
            page: Page::new(form, micros(now)),
            recorded: HashMap::new(),
            kept_from: i64::MIN,
            ids,
            now,
            answers: std::iter::repeat_with(|| None).take(calls).collect(),
            lines: Vec::with_capacity(calls),
            repeated: Vec::new(),
            left: Left::default(),
        }
    }

    /// Some of the books are taken from the shelf.
    pub(super) fn note_guess(&mut self) {
        self.left.was_guessed = true;
    }

    /// Asks the rule. An account whose books it refuses writes nothing; the others go on.
    pub(super) fn settle(
        &mut self,
        of: &OfAccount<'a>,
        loaded: Option<Loaded>,
    ) -> Result<(), StoreError> {
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
    pub(super) fn enter(&mut self) {
        self.lines.sort_unstable_by_key(|line| line.settled.call);
        for line in &self.lines {
            self.page.call(line.settlement, &line.settled, line.txn);
        }
    }

    /// What is to be written, and what it comes to when that is done.
    pub(super) fn close(mut self) -> (Vec<Rows>, Done) {
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
        let done = Done {
            answers: answers.map(|a| a.unwrap_or_else(|| Err(lost()))).collect(),
            left: self.left,
        };
        (self.page.into_rows(), done)
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
