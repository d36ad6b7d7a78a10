//! What must hold after every event, and at the end.

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::{AccountId, NodeId};
use billing_core::lease_book::{HoldAsk, Refusal, RefusalCause};
use time::Duration;

use super::{Seat, World, limit_of};

impl World {
    /// A refusal must be true.
    pub(super) fn judge(&mut self, seat: usize, ask: &HoldAsk, refusal: Refusal) {
        let Refusal {
            scope,
            needed,
            cause,
            ..
        } = refusal;
        if cause == RefusalCause::Unavailable {
            return;
        }
        let book = &self.seats[seat].book;
        let fits = |(scope, amount): &(BudgetScope, Amount)| {
            let (leased, held) = book.leased(ask.account, *scope);
            leased.less(held) >= *amount
        };
        if !self.lapses && ask.demands.iter().all(fits) {
            self.wrong = Some(format!("{ask:?} fits and was refused: {refusal:?}"));
        }
        let misled = self.misled.iter().any(|(account, of, until)| {
            (*account, *of) == (ask.account, scope) && self.now < *until
        });
        if self.seats.len() > 1 || self.lapses || misled || cause != RefusalCause::Insufficient {
            return;
        }
        // A node that is alone and told of all news knows what there is.
        let node = self.seats[seat].node;
        let strays = self
            .strays
            .iter()
            .filter(|(n, a, s, _)| (*n, *a, *s) == (node, ask.account, scope));
        let strayed = strays.fold(Amount::ZERO, |sum, (.., amount)| sum.plus(*amount));
        let own = book.held_by(ask.account, ask.call).unwrap_or_default();
        let own = own.iter().find(|(s, _)| *s == scope).map(|(_, a)| *a);
        let there = self.store.pages[&ask.account].available(scope);
        let there = there
            .plus(self.store.row(node, ask.account, scope))
            .less(strayed);
        if there.less(own.unwrap_or_default()) >= needed {
            self.wrong = Some(format!("{refusal:?}, but {there} is there"));
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(wrong) = &self.wrong {
            return Err(wrong.clone());
        }
        if let Some(broken) = self.store.broken() {
            return Err(broken);
        }
        (0..self.seats.len()).try_for_each(|seat| self.check_seat(seat))
    }

    pub(super) fn check_seat(&self, seat: usize) -> Result<(), String> {
        let Seat { node, book } = &self.seats[seat];
        if let Some(broken) = book.broken_invariant() {
            return Err(format!("{node}: {broken}"));
        }
        let waiting = self.waiters.iter().filter(|w| w.seat == seat).count();
        if book.size().waiting != waiting {
            return Err(format!(
                "{waiting} calls wait, the book says {:?}",
                book.size()
            ));
        }
        if self.lapses {
            return Ok(());
        }
        let open = self
            .opens
            .iter()
            .filter(|o| o.seat == seat && !o.lost)
            .count();
        let ending = self.acks.iter().filter(|a| a.node == *node).count();
        if book.size().holds != open + ending {
            return Err(format!(
                "{open} calls hold, {ending} end, the book says {:?}",
                book.size()
            ));
        }
        self.accounts.iter().try_for_each(|id| {
            let mut scopes = [BudgetScope::Wallet, limit_of(*id)].into_iter();
            scopes.try_for_each(|scope| self.check_lease(seat, *id, scope))
        })
    }

    /// What the store has on lease for a node is what the node knows of, and what is on its way.
    fn check_lease(&self, seat: usize, id: AccountId, scope: BudgetScope) -> Result<(), String> {
        let Seat { node, book } = &self.seats[seat];
        let sum =
            |amounts: &mut dyn Iterator<Item = Amount>| amounts.fold(Amount::ZERO, Amount::plus);
        let (leased, held) = book.leased(id, scope);
        let here = |n: NodeId, a: AccountId, s: BudgetScope| (n, a, s) == (*node, id, scope);
        let coming = sum(&mut self
            .answers
            .iter()
            .filter(|a| here(a.wish.node, a.wish.account, a.wish.scope))
            .filter_map(|a| a.grant.map(|g| g.granted)));
        let going = sum(&mut self
            .returns
            .iter()
            .filter(|r| here(r.node, r.account, r.scope))
            .map(|r| r.amount));
        let stray = sum(&mut self
            .strays
            .iter()
            .filter(|(n, a, s, _)| here(*n, *a, *s))
            .map(|(.., amount)| *amount));
        let drawn = sum(&mut self
            .acks
            .iter()
            .filter(|a| a.node == *node && a.account == id)
            .flat_map(|a| &a.from_lease)
            .filter(|(s, _)| *s == scope)
            .map(|(_, amount)| *amount));
        let row = self.store.row(*node, id, scope);
        let known = leased.plus(coming).plus(going).plus(stray);
        if row.plus(drawn) == known {
            return Ok(());
        }
        Err(format!(
            "{id} {scope}: the store leased {row} and {drawn} were drawn; the book has {leased} \
             ({held} held), {coming} come, {going} go, {stray} strayed"
        ))
    }

    /// Every call ends, every message arrives, every lease is given back: nothing may be left.
    pub(crate) fn end(mut self) -> Result<(), String> {
        while self.hear(0) || self.arrive(0) || self.acknowledge(0) {}
        self.now += Duration::hours(1);
        for seat in 0..self.seats.len() {
            self.tick(seat);
        }
        while self.settle(0, Some(70)) || self.acknowledge(0) || self.hear(0) || self.arrive(0) {}
        self.check().map_err(|e| format!("at the end: {e}"))?;
        for seat in 0..self.seats.len() {
            self.seats[seat].book.give_all_back();
            self.obey(seat);
        }
        while self.bring_back(0) {}
        self.check()
            .map_err(|e| format!("after all was given back: {e}"))?;
        let sizes = self.seats.iter().map(|s| s.book.size());
        let busy = sizes.filter(|size| size.holds + size.waiting > 0).count();
        if busy > 0 {
            return Err(format!("{busy} books still hold or wait"));
        }
        // A grant that was lost on the way, or a settlement of a lapsed hold, is the store's to
        // find: it takes it back when the node joins again.
        if self.lapses || !self.strays.is_empty() {
            for node in self.seats.iter().map(|s| s.node).collect::<Vec<_>>() {
                self.reclaim(node);
            }
        }
        if self.store.nothing_is_leased() {
            return Ok(());
        }
        Err(format!("leases are left: {:?}", self.store.pages))
    }
}
