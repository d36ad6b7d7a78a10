//! Nodes, their messages and the store, driven one event at a time and checked after each.

mod calls;
mod checks;

use std::sync::Arc;

use billing_core::budget::{Amount, BudgetScope};
use billing_core::call::Settlement;
use billing_core::id::{AccountId, CallId, KeyId, NodeId};
use billing_core::lease_book::{Decision, HoldAsk, LeaseBook, LeasePolicy, Order};
use billing_core::money::Nanos;
use billing_core::port::books::LeaseGrant;
use billing_core::price::PriceVersion;
use billing_core::wallet::LotKind;
use time::{Duration, OffsetDateTime};

use crate::script::{Script, Step};
use crate::store::{Flaw, Store, a_nano_a_token};

type Parts = Vec<(BudgetScope, Amount)>;

/// A place where a node runs; who takes it after a crash is another node.
struct Seat {
    node: NodeId,
    book: LeaseBook,
}

/// A call that holds, or did when its node was last heard of.
#[derive(Clone)]
struct Open {
    call: CallId,
    account: AccountId,
    seat: usize,
    node: NodeId,
    held: Parts,
    /// Its node has crashed: what it delivered may still be settled, from a spool.
    lost: bool,
}

struct Waiter {
    ask: HoldAsk,
    seat: usize,
}

#[derive(Clone, Copy)]
struct Wish {
    seat: usize,
    node: NodeId,
    account: AccountId,
    scope: BudgetScope,
    range: (Amount, Amount),
}

struct Answer {
    wish: Wish,
    /// `None` from a store that took the node for dead.
    grant: Option<LeaseGrant>,
    /// More became available after it was given.
    outdated: bool,
}

struct Return {
    node: NodeId,
    account: AccountId,
    scope: BudgetScope,
    amount: Amount,
}

/// What a node has yet to hear about a settlement.
struct Ack {
    seat: usize,
    node: NodeId,
    account: AccountId,
    call: CallId,
    held: Parts,
    used: Parts,
    from_lease: Parts,
}

pub(crate) struct World {
    pub(crate) store: Store,
    flaw: Flaw,
    policy: LeasePolicy,
    lapses: bool,
    now: OffsetDateTime,
    ids: i64,
    price: Arc<PriceVersion>,
    accounts: Vec<AccountId>,
    seats: Vec<Seat>,
    opens: Vec<Open>,
    waiters: Vec<Waiter>,
    wishes: Vec<Wish>,
    answers: Vec<Answer>,
    returns: Vec<Return>,
    acks: Vec<Ack>,
    settled: Vec<(Settlement, Nanos)>,
    /// Leases whose grant was lost on the way: the store's until the node joins again.
    strays: Vec<(NodeId, AccountId, BudgetScope, Amount)>,
    /// Budgets of which a node believes an outdated word, and until when.
    misled: Vec<(AccountId, BudgetScope, OffsetDateTime)>,
    wrong: Option<String>,
}

/// Runs a script to its end, every promise checked after every event.
pub(crate) fn run(script: &Script, flaw: Flaw) -> Result<(), String> {
    let mut world = World::new(script, flaw);
    for (i, step) in script.steps.iter().enumerate() {
        world.apply(*step);
        world
            .check()
            .map_err(|e| format!("after step {i}, {step:?}: {e}"))?;
    }
    world.end()
}

pub(crate) fn limit_of(account: AccountId) -> BudgetScope {
    BudgetScope::KeyLimit {
        key: KeyId::new(account.get()),
        window_start: 0,
    }
}

impl World {
    pub(crate) fn new(script: &Script, flaw: Flaw) -> Self {
        let hold_for = if script.lapses {
            Duration::seconds(8)
        } else {
            Duration::weeks(52)
        };
        let policy = LeasePolicy {
            slice: Amount::new(script.slice),
            dry_for: Duration::seconds(2),
            max_waiting: 4,
            idle_after: Duration::seconds(15),
            hold_for,
        };
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(365 * 56);
        let mut store = Store::new(flaw);
        let mut accounts = Vec::new();
        for (n, opening) in (1..).zip(&script.accounts) {
            let id = AccountId::new(n);
            store.open(id, opening.credit, &[(limit_of(id), opening.limit)]);
            for (amount, kind) in [
                (opening.paid, LotKind::Paid),
                (opening.promo, LotKind::Promo),
            ] {
                if amount > 0 {
                    store.add_credit(id, amount, kind, now);
                }
            }
            accounts.push(id);
        }
        let mut world = Self {
            store,
            flaw,
            policy,
            lapses: script.lapses,
            now,
            ids: 0,
            price: a_nano_a_token(),
            accounts,
            seats: Vec::new(),
            opens: Vec::new(),
            waiters: Vec::new(),
            wishes: Vec::new(),
            answers: Vec::new(),
            returns: Vec::new(),
            acks: Vec::new(),
            settled: Vec::new(),
            strays: Vec::new(),
            misled: Vec::new(),
            wrong: None,
        };
        for _ in 0..script.seats {
            let node = NodeId::new(world.next_id());
            world.seats.push(Seat {
                node,
                book: LeaseBook::new(policy),
            });
        }
        world
    }

    /// Lets one event happen. `false` when there was nothing for it to happen to.
    pub(crate) fn apply(&mut self, step: Step) -> bool {
        match step {
            Step::Authorize {
                seat,
                account,
                on,
                amount,
                patience,
            } => {
                let account = self.accounts[account % self.accounts.len()];
                self.authorize(seat % self.seats.len(), account, on, (amount, patience))
            }
            Step::Extend {
                pick,
                amount,
                patience,
            } => self.extend(pick, amount, patience),
            Step::Hear { pick } => self.hear(pick),
            Step::Lose { pick, answer } => self.lose(pick, answer),
            Step::Arrive { pick } => self.arrive(pick),
            Step::Return { pick } => self.bring_back(pick),
            Step::Settle { pick, percent } => self.settle(pick, Some(percent)),
            Step::Void { pick } => self.settle(pick, None),
            Step::Repeat { pick } => self.repeat(pick),
            Step::Acknowledge { pick } => self.acknowledge(pick),
            Step::Release { pick } => self.release(pick),
            Step::Pass { seconds } => {
                self.now += Duration::seconds(seconds);
                true
            }
            Step::Tick { seat } => self.tick(seat % self.seats.len()),
            Step::TopUp {
                account,
                amount,
                told,
            } => {
                let account = self.accounts[account % self.accounts.len()];
                self.top_up(account, amount, told)
            }
            Step::Recall {
                seat,
                account,
                limit,
                amount,
            } => {
                let account = self.accounts[account % self.accounts.len()];
                let scope = if limit {
                    limit_of(account)
                } else {
                    BudgetScope::Wallet
                };
                let seat = seat % self.seats.len();
                self.seats[seat]
                    .book
                    .recall(account, scope, Amount::new(amount));
                self.obey(seat)
            }
            Step::Crash { seat } => self.crash(seat % self.seats.len()),
            Step::Fence { seat } => self.fence(seat % self.seats.len()),
        }
    }

    fn next_id(&mut self) -> i64 {
        self.ids += 1;
        self.ids
    }

    fn authorize(&mut self, seat: usize, account: AccountId, on: u8, wish: (u64, i64)) -> bool {
        let scopes: &[BudgetScope] = match on {
            0 => &[BudgetScope::Wallet],
            1 => &[BudgetScope::Wallet, limit_of(account)],
            _ => &[limit_of(account)],
        };
        let (amount, patience) = wish;
        let call = CallId::new(self.next_id());
        self.ask(seat, account, call, (scopes, amount, patience))
    }

    fn extend(&mut self, pick: usize, amount: u64, patience: i64) -> bool {
        let Some(open) = chosen(&self.opens, pick).filter(|o| !o.lost).cloned() else {
            return false;
        };
        if self.waiters.iter().any(|w| w.ask.call == open.call) {
            return false;
        }
        let scopes: Vec<BudgetScope> = open.held.iter().map(|(s, _)| *s).collect();
        self.ask(
            open.seat,
            open.account,
            open.call,
            (&scopes, amount, patience),
        )
    }

    fn ask(
        &mut self,
        seat: usize,
        account: AccountId,
        call: CallId,
        (scopes, amount, patience): (&[BudgetScope], u64, i64),
    ) -> bool {
        let demands: Parts = scopes.iter().map(|s| (*s, Amount::new(amount))).collect();
        let wait_until = self.now + Duration::seconds(patience);
        let ask = HoldAsk {
            account,
            call,
            demands,
            wait_until,
        };
        match self.seats[seat].book.authorize(ask.clone(), self.now) {
            Decision::Held => self.hold(seat, &ask),
            Decision::Waiting => self.waiters.push(Waiter { ask, seat }),
            Decision::Refused(refusal) => self.judge(seat, &ask, refusal),
        }
        self.obey(seat)
    }

    fn hold(&mut self, seat: usize, ask: &HoldAsk) {
        if self.acks.iter().any(|a| a.call == ask.call) {
            // More was held for a call that is over; the book ends it when it hears so.
            return;
        }
        let node = self.seats[seat].node;
        let known = self.opens.iter().position(|o| o.call == ask.call);
        let at = known.unwrap_or_else(|| {
            self.opens.push(Open {
                call: ask.call,
                account: ask.account,
                seat,
                node,
                held: Vec::new(),
                lost: false,
            });
            self.opens.len() - 1
        });
        let book = &self.seats[seat].book;
        let Some(held) = book.held_by(ask.account, ask.call) else {
            self.wrong = Some(format!("{} is held and holds nothing", ask.call));
            return;
        };
        self.opens[at].held = held.to_vec();
        self.opens[at].node = node;
    }

    /// Does what a book orders; messages wait until their own events.
    fn obey(&mut self, seat: usize) -> bool {
        let node = self.seats[seat].node;
        for order in self.seats[seat].book.take_orders() {
            match order {
                Order::Lease {
                    account,
                    scope,
                    at_least,
                    at_most,
                } => {
                    let range = (at_least, at_most);
                    self.wishes.push(Wish {
                        seat,
                        node,
                        account,
                        scope,
                        range,
                    });
                }
                Order::GiveBack {
                    account,
                    scope,
                    amount,
                } => {
                    self.returns.push(Return {
                        node,
                        account,
                        scope,
                        amount,
                    });
                    if self.seats.len() == 1 {
                        self.bring_back(self.returns.len() - 1);
                    }
                }
                Order::Decided { call, decision } => self.decided(call, decision),
            }
        }
        true
    }

    fn decided(&mut self, call: CallId, decision: Decision) {
        let Some(at) = self.waiters.iter().position(|w| w.ask.call == call) else {
            self.wrong = Some(format!("{call} was decided and did not wait"));
            return;
        };
        let Waiter { ask, seat } = self.waiters.remove(at);
        match decision {
            Decision::Held => self.hold(seat, &ask),
            Decision::Refused(refusal) => self.judge(seat, &ask, refusal),
            Decision::Waiting => self.wrong = Some(format!("{call} is decided to wait")),
        }
    }

    fn hear(&mut self, pick: usize) -> bool {
        let Some(wish) = taken(&mut self.wishes, pick) else {
            return false;
        };
        let grant = self
            .store
            .lease(wish.node, wish.account, wish.scope, wish.range);
        self.answers.push(Answer {
            wish,
            grant,
            outdated: false,
        });
        true
    }

    fn lose(&mut self, pick: usize, answer: bool) -> bool {
        let wish = if answer {
            let Some(Answer { wish, grant, .. }) = taken(&mut self.answers, pick) else {
                return false;
            };
            let granted = grant.map_or(Amount::ZERO, |g| g.granted);
            self.strays
                .push((wish.node, wish.account, wish.scope, granted));
            wish
        } else {
            let Some(wish) = taken(&mut self.wishes, pick) else {
                return false;
            };
            wish
        };
        if self.seats[wish.seat].node == wish.node {
            self.seats[wish.seat]
                .book
                .lease_failed(wish.account, wish.scope);
        }
        self.obey(wish.seat)
    }

    fn arrive(&mut self, pick: usize) -> bool {
        let Some(Answer {
            wish,
            grant,
            outdated,
        }) = taken(&mut self.answers, pick)
        else {
            return false;
        };
        let Wish {
            seat,
            node,
            account,
            scope,
            ..
        } = wish;
        if outdated {
            self.misled
                .push((account, scope, self.now + self.policy.dry_for));
        }
        if self.seats[seat].node != node {
            return true;
        }
        let hearers = if self.flaw == Flaw::CountsOnTwoNodes {
            (0..self.seats.len()).collect()
        } else {
            vec![seat]
        };
        for hearer in hearers {
            match grant {
                Some(grant) => self.seats[hearer]
                    .book
                    .granted(account, scope, grant, self.now),
                None => self.seats[hearer].book.lease_failed(account, scope),
            }
            self.obey(hearer);
        }
        true
    }

    fn bring_back(&mut self, pick: usize) -> bool {
        let Some(Return {
            node,
            account,
            scope,
            amount,
        }) = taken(&mut self.returns, pick)
        else {
            return false;
        };
        let twice = matches!(self.flaw, Flaw::GivesBackTwice | Flaw::FreesTwice);
        for _ in 0..if twice { 2 } else { 1 } {
            self.store.give_back(node, account, scope, amount);
        }
        self.outdate(account);
        true
    }

    fn outdate(&mut self, account: AccountId) {
        let of_it = self
            .answers
            .iter_mut()
            .filter(|a| a.wish.account == account);
        of_it.for_each(|answer| answer.outdated = true);
    }

    fn tick(&mut self, seat: usize) -> bool {
        self.seats[seat].book.tick(self.now);
        self.obey(seat);
        let late = self
            .waiters
            .iter()
            .find(|w| w.seat == seat && w.ask.wait_until <= self.now);
        if let Some(Waiter { ask, .. }) = late {
            let node = self.seats[seat].node;
            let about = |w: &Wish| {
                w.node == node
                    && w.account == ask.account
                    && ask.demands.iter().any(|(s, _)| *s == w.scope)
            };
            let asked = self
                .wishes
                .iter()
                .chain(self.answers.iter().map(|a| &a.wish))
                .any(about);
            if !asked {
                self.wrong = Some(format!("{ask:?} waits beyond its patience"));
            }
        }
        true
    }

    fn top_up(&mut self, account: AccountId, amount: u64, told: bool) -> bool {
        self.store
            .add_credit(account, amount, LotKind::Paid, self.now);
        self.outdate(account);
        if told || self.seats.len() == 1 {
            for seat in 0..self.seats.len() {
                self.seats[seat].book.changed(account, self.now);
                self.obey(seat);
            }
        }
        true
    }

    fn crash(&mut self, seat: usize) -> bool {
        let dead = self.seats[seat].node;
        let node = NodeId::new(self.next_id());
        self.seats[seat] = Seat {
            node,
            book: LeaseBook::new(self.policy),
        };
        self.waiters.retain(|w| w.seat != seat);
        self.acks.retain(|a| a.node != dead);
        for open in self.opens.iter_mut().filter(|o| o.seat == seat) {
            open.lost = true;
        }
        self.reclaim(dead);
        true
    }

    fn fence(&mut self, seat: usize) -> bool {
        let dead = self.seats[seat].node;
        self.reclaim(dead);
        if self.flaw == Flaw::IgnoresTheFence {
            return true;
        }
        self.seats[seat].node = NodeId::new(self.next_id());
        self.seats[seat].book.fenced();
        self.obey(seat);
        let node = self.seats[seat].node;
        for ack in self.acks.iter_mut().filter(|a| a.node == dead) {
            (ack.node, ack.held, ack.from_lease) = (node, Vec::new(), Vec::new());
        }
        true
    }

    fn reclaim(&mut self, dead: NodeId) {
        self.store.reclaim(dead);
        self.strays.retain(|(node, ..)| *node != dead);
        for account in self.accounts.clone() {
            self.outdate(account);
        }
    }
}

fn chosen<T>(items: &[T], pick: usize) -> Option<&T> {
    items.get(pick.checked_rem(items.len())?)
}

fn taken<T>(items: &mut Vec<T>, pick: usize) -> Option<T> {
    let at = pick.checked_rem(items.len())?;
    Some(items.remove(at))
}
