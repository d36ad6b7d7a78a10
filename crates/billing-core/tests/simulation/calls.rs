//! Calls: how they come, what they hold, how they end.

use std::rc::Rc;

use billing_core::budget::{Amount, BudgetScope, BudgetUnit};
use billing_core::call::{Basis, CallFacts, Settlement, UsageBounds, UsageSource};
use billing_core::id::{AccountId, CallId, KeyId, NodeId};
use billing_core::lease_book::{Decision, Held, HoldAsk};
use billing_core::price::{Attributes, ServiceTier};
use billing_core::settlement::{SettledCall, promised};
use billing_core::terms::Terms;
use time::{Duration, OffsetDateTime};

use super::flaw::Flaw;
use super::message::{Body, Handed};
use super::node::{Call, Mode, Stage, add_parts};
use super::setup::{MS, Micros};
use super::{Event, Timer, World, plan, tiers};

/// More tokens than the model can produce.
const ABSURD: u64 = 50_000;

impl World {
    /// A call comes in at some node.
    pub(super) fn client(&mut self) -> bool {
        if self.resting {
            return false;
        }
        let wait = self.rng.span(0, 2 * self.setup.calls_every);
        self.later(wait, Event::Client);
        let who = self.rng.place(self.nodes.len());
        if !self.nodes[who].serves() {
            return false;
        }
        let place = self.rng.place(self.setup.accounts);
        let Some((account, page)) = self.store.pages.iter().nth(place) else {
            return false;
        };
        let (account, [wallet, limit, quota]) = (*account, page.scopes);
        let portion = self.rng.between(1, self.setup.largest);
        let node = &self.nodes[who];
        let began = tiers::began(node.clocks.wall(self.now), self.setup.midnight);
        let seen = |scope| node.seen.get(&scope).copied().unwrap_or_default();
        let terms = match &page.schedule {
            Some(schedule) => schedule.terms(&self.price, began, seen),
            None => Terms::listed(self.price.clone()),
        };
        let counted = quota.unit() == BudgetUnit::Calls;
        let (of_plan, of_wallet) = match self.rng.below(10) {
            0..=5 => (None, portion),
            // All of it, or what a quota in tokens has left.
            _ if counted => (Some(1), 0),
            6..=7 => (Some(portion), 0),
            _ => {
                let part = self.rng.between(1, portion);
                (Some(part), portion - part)
            }
        };
        let mut demands = Vec::new();
        if of_wallet != 0 {
            let money = tiers::hold(&terms, 0, portion, began, self.setup.flaw);
            let amount = Amount::new(plan::left(money, of_wallet, portion));
            demands.push((wallet, amount));
            if self.rng.chance(500) {
                demands.push((limit, amount));
            }
        }
        demands.extend(of_plan.map(|of_plan| (quota, Amount::new(of_plan))));
        let patience = match self.rng.below(10) {
            0..=2 => 0,
            3..=6 => self.rng.span(MS, 300 * MS),
            _ => self.rng.span(MS, 1_500 * MS),
        };
        let percent = match self.rng.below(100) {
            0..=9 => None,
            10..=14 => Some(self.rng.between(100, 250)),
            15..=30 => Some(100),
            _ => Some(self.rng.between(0, 100)),
        };
        // What is counted by the call needs no more, however long it is.
        let is_counted = of_wallet == 0 && counted;
        let extends = if self.rng.chance(250) && !is_counted {
            self.rng.between(1, 3)
        } else {
            0
        };
        self.tally.calls += 1;
        let call = Call {
            terms,
            began,
            portion,
            of_wallet,
            ..self.call_of(account, demands, patience, (extends, percent))
        };
        self.begin_call(who, call);
        true
    }

    /// Asks the book for a first hold.
    pub(super) fn begin_call(&mut self, who: usize, mut call: Call) -> CallId {
        let id = CallId::new(self.next_id());
        call.asked = self.now;
        call.unmet = self.now;
        let decision = self.authorize(who, id, &call, call.demands.clone());
        let node = &mut self.nodes[who];
        match decision {
            Decision::Held => {
                self.tally.held_at_once += 1;
                node.calls.insert(id, call);
                self.held(who, id);
            }
            Decision::Waiting => {
                let leaves = !call.probe && self.rng.chance(50);
                node.calls.insert(id, call);
                if leaves {
                    let wait = self.rng.span(0, 500 * MS);
                    self.timer(who, wait, Timer::Call(id));
                }
            }
            Decision::Refused(refusal) => self.judge_refusal(who, (id, &call), &refusal),
        }
        self.obey(who);
        id
    }

    fn authorize(
        &mut self,
        who: usize,
        id: CallId,
        call: &Call,
        demands: Vec<(BudgetScope, Amount)>,
    ) -> Decision {
        let node = &mut self.nodes[who];
        let clock = node.clock(self.now);
        let ask = HoldAsk {
            account: call.account,
            call: id,
            demands,
            wait_until: clock.saturating_add(Duration::microseconds(call.patience)),
        };
        node.pace(call.account, self.now).reasons += 1;
        let decision = node.book.authorize(ask, clock);
        self.touched.1 = Some(who);
        let now = self.now;
        self.trace.note(|| {
            let Call { account, demands, patience, .. } = call;
            format!("{now:>9}   node {who}: {id} of {account} wants {demands:?} within {patience}: {decision:?}")
        });
        if let Decision::Refused(refusal) = decision {
            self.judge_fit(who, (id, call), &refusal);
        }
        decision
    }

    /// A call has been given what it asked for.
    fn held(&mut self, who: usize, id: CallId) {
        self.judge_hold(who, id);
        let flaw = self.setup.flaw;
        let wait = if self.rng.chance(150) {
            self.rng.span(0, 1_500 * MS)
        } else {
            self.rng.span(0, 40 * MS)
        };
        let Some(call) = self.nodes[who].calls.get_mut(&id) else {
            return;
        };
        let parts = call.wants();
        add_parts(&mut call.holds, &parts);
        let money = parts
            .iter()
            .find(|(scope, _)| *scope == BudgetScope::Wallet);
        call.covered += money.map_or(0, |(_, amount)| amount.get());
        call.tokens += call.portion;
        call.stage = Stage::Running;
        // What it will want of the same again: for one that is in tiers that may be less or more.
        let more = tiers::hold(&call.terms, call.tokens, call.portion, call.began, flaw);
        let more = plan::left(more, call.of_wallet, call.portion);
        for (scope, amount) in &mut call.demands {
            if scope.unit() == BudgetUnit::Nanos {
                *amount = Amount::new(more);
            }
        }
        if !call.probe {
            self.timer(who, wait, Timer::Call(id));
        }
    }

    /// The book has decided for a call that waited.
    pub(super) fn decided(&mut self, who: usize, id: CallId, decision: Decision) {
        let now = self.now;
        self.trace
            .note(|| format!("{now:>9}   node {who}: {id} is decided: {decision:?}"));
        let Some(call) = self.nodes[who].calls.get(&id) else {
            self.fail(|| format!("{id} was decided and does not wait"));
            return;
        };
        let stage = call.stage;
        if !matches!(stage, Stage::Waiting | Stage::Extending) {
            // It wanted more and is over meanwhile; its settlement ends whatever it holds.
            return;
        }
        match decision {
            Decision::Held => {
                if stage == Stage::Waiting {
                    self.tally.held_after_waiting += 1;
                } else {
                    self.tally.extensions_held += 1;
                }
                self.held(who, id);
            }
            Decision::Refused(refusal) => {
                if let Some(call) = self.nodes[who].calls.remove(&id) {
                    self.judge_refusal(who, (id, &call), &refusal);
                    if stage == Stage::Extending {
                        self.nodes[who].calls.insert(id, call);
                        self.finish(who, id);
                    }
                }
            }
            Decision::Waiting => self.fail(|| format!("{id} is decided to wait")),
        }
    }

    /// A call's upstream, or its client, has done something.
    pub(super) fn call_goes_on(&mut self, who: usize, id: CallId) -> bool {
        self.touched.1 = Some(who);
        let node = &mut self.nodes[who];
        let clock = node.clock(self.now);
        let Some(call) = node.calls.get_mut(&id) else {
            return false;
        };
        match call.stage {
            Stage::Waiting => {
                let account = call.account;
                node.book.released(account, id, clock);
                node.calls.remove(&id);
                self.tally.clients_gone += 1;
            }
            Stage::Running if call.extends > 0 => {
                call.extends -= 1;
                self.extend(who, id);
            }
            Stage::Running | Stage::Extending => self.finish(who, id),
            Stage::Ending | Stage::Spooling | Stage::Spooled => return false,
        }
        self.obey(who);
        true
    }

    fn extend(&mut self, who: usize, id: CallId) {
        self.tally.extensions += 1;
        let Some(mut call) = self.nodes[who].calls.remove(&id) else {
            return;
        };
        call.asked = self.now;
        call.unmet = self.now;
        call.stage = Stage::Extending;
        let decision = self.authorize(who, id, &call, call.more());
        if let Decision::Refused(refusal) = decision {
            self.judge_refusal(who, (id, &call), &refusal);
        }
        self.nodes[who].calls.insert(id, call);
        match decision {
            Decision::Held => {
                self.tally.extensions_held += 1;
                self.held(who, id);
            }
            Decision::Waiting => {
                if self.rng.chance(100) {
                    let wait = self.rng.span(0, 500 * MS);
                    self.timer(who, wait, Timer::Call(id));
                }
            }
            Decision::Refused(_) => self.finish(who, id),
        }
    }

    /// A call's answer is over, or nothing of it came.
    pub(super) fn finish(&mut self, who: usize, id: CallId) {
        let flaw = self.setup.flaw;
        let node = &mut self.nodes[who];
        let clock = node.clock(self.now);
        let Some(call) = node.calls.get_mut(&id) else {
            return;
        };
        let account = call.account;
        let none = Held {
            node: node.id,
            parts: &[],
        };
        let Held { node: under, parts } = node.book.held_by(account, id).unwrap_or(none);
        let (mut under, held) = (under, parts.to_vec());
        if held != call.holds {
            let holds = call.holds.clone();
            self.fail(|| format!("{id} holds {holds:?}, the book says {held:?}"));
            return;
        }
        if flaw == Flaw::SettlesUnderItsNewId {
            under = node.id;
        }
        let Some(percent) = call.percent else {
            self.tally.voids += 1;
            if flaw != Flaw::KeepsVoidHolds {
                node.book.released(account, id, clock);
            }
            let recorded = self.rng.chance(300) && !self.resting;
            if recorded {
                self.settle_call(who, id, (under, held), None);
            } else {
                self.nodes[who].calls.remove(&id);
            }
            return;
        };
        let tokens = if self.rng.chance(10) {
            ABSURD
        } else {
            call.tokens * percent / 100
        };
        self.settle_call(who, id, (under, held), Some(tokens));
    }

    fn settle_call(
        &mut self,
        who: usize,
        id: CallId,
        (under, held): (NodeId, Vec<(BudgetScope, Amount)>),
        tokens: Option<u64>,
    ) {
        let told = self.rng.chance(500);
        let node = &mut self.nodes[who];
        let Some(call) = node.calls.get_mut(&id) else {
            return;
        };
        call.released = tokens.is_none();
        let away = !node.spool.is_empty();
        let of_wallet = held.iter().find(|(scope, _)| *scope == BudgetScope::Wallet);
        let of_wallet = of_wallet.map_or(0, |(_, amount)| amount.get());
        let price = match tokens {
            Some(ABSURD) => of_wallet,
            tokens => tokens.unwrap_or(0),
        };
        let basis = tokens.map_or(Basis::Void, |tokens| Basis::Delivered {
            usage: tiers::usage(tokens),
            source: UsageSource::Provider,
        });
        let used = tokens.unwrap_or(0);
        let mut settlement = Settlement {
            call: id,
            account: call.account,
            key: KeyId::new(call.account.get()),
            node: under,
            model: self.price.model().clone(),
            terms: call.terms.clone(),
            tier: ServiceTier::Standard,
            attributes: Attributes::NONE,
            basis,
            bounds: UsageBounds {
                prompt_tokens: ABSURD - 1,
                answer_tokens: ABSURD,
            },
            held,
            promised: None,
            facts: facts(call.began),
        };
        let sent = promise(&mut settlement, told, away);
        let handed = Rc::new(Handed {
            settlement,
            who,
            life: node.life,
            price,
            covered: call.covered,
            tokens: used,
            fits: used <= call.tokens,
            granted: call.tokens,
        });
        call.handed = Some(handed.clone());
        call.stage = if sent { Stage::Ending } else { Stage::Spooling };
        if self.setup.flaw == Flaw::DoneTooEarly {
            self.done.insert(id, handed.clone());
        }
        if sent {
            let replay = false;
            self.send(who, Body::Settle { handed, replay });
        } else {
            self.tally.tiered_while_away += 1;
            let flush = self.rng.span(200, 4 * MS);
            self.timer(who, flush, Timer::Spooled(id));
        }
    }

    /// A call that is told apart by what it wants.
    pub(super) fn call_of(
        &self,
        account: AccountId,
        demands: Vec<(BudgetScope, Amount)>,
        patience: Micros,
        (extends, percent): (u64, Option<u64>),
    ) -> Call {
        Call {
            account,
            stage: Stage::Waiting,
            demands,
            terms: Terms::listed(self.price.clone()),
            began: tiers::began(self.now, self.setup.midnight),
            portion: 0,
            of_wallet: 0,
            covered: 0,
            tokens: 0,
            holds: Vec::new(),
            released: false,
            extends,
            percent,
            asked: 0,
            patience,
            unmet: 0,
            tries: 0,
            handed: None,
            probe: false,
        }
    }

    /// The store has a call's settlement: its client sees the end.
    pub(super) fn call_settled(&mut self, who: usize, handed: &Rc<Handed>, settled: &SettledCall) {
        let id = settled.call;
        let calls = &mut self.nodes[who].calls;
        if calls
            .get(&id)
            .is_none_or(|call| call.stage != Stage::Ending)
        {
            return;
        }
        calls.remove(&id);
        if !self.store.pages[&handed.settlement.account]
            .calls
            .contains_key(&id)
        {
            self.fail(|| format!("{id} is done and not in the journal"));
        }
        self.done.insert(id, handed.clone());
        self.book_settled(who, handed, settled);
    }
}

/// Says what a call's caller is told that it costs, as a gate does, and whether the books are asked.
///
/// What a call in tiers costs the books alone know, so its caller is told nothing, be they away or
/// not; it is promised that it will not pass its hold.
fn promise(settlement: &mut Settlement, told: bool, away: bool) -> bool {
    let promise = promised(settlement);
    if settlement.terms.tiers.is_none() {
        settlement.promised = told.then(|| Amount::of(promise.charge));
        return true;
    }
    let within = told && promise.overrun.is_zero();
    settlement.promised = (within || away).then_some(promise.most);
    !away
}

impl Call {
    /// What a stream that goes on asks for: as much again, but it is still one call.
    pub(super) fn more(&self) -> Vec<(BudgetScope, Amount)> {
        let demands = self.demands.iter().copied();
        demands
            .filter(|(scope, _)| scope.unit() != BudgetUnit::Calls)
            .collect()
    }

    /// What it wants now.
    pub(super) fn wants(&self) -> Vec<(BudgetScope, Amount)> {
        let mut wants = if self.stage == Stage::Extending {
            self.more()
        } else {
            self.demands.clone()
        };
        // Who needs nothing of a budget holds nothing of it.
        wants.retain(|(_, amount)| !amount.is_zero());
        wants
    }
}

impl Mode {
    /// Whether calls of it may be under way.
    pub(super) const fn has_calls(self) -> bool {
        !matches!(self, Self::Down | Self::Replaying)
    }
}

fn facts(started_at: OffsetDateTime) -> CallFacts {
    CallFacts {
        endpoint: String::new(),
        outcome: String::new(),
        streamed: false,
        status: 200,
        upstream_id: None,
        finish_reason: None,
        started_at,
        first_byte_ms: None,
        latency_ms: 1,
        attempts: Vec::new(),
        idempotency_key: None,
    }
}
