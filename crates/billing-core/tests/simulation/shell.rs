//! The shell around a lease book: what a node says to the store, and what it does with answers.

use std::rc::Rc;

use billing_core::id::{CallId, NodeId};
use billing_core::lease::{LeaseAsk, LeaseGrant, LeaseReturn, Recall};
use billing_core::lease_book::{Decision, Held, Order};
use billing_core::settlement::SettledCall;

use super::flaw::Flaw;
use super::message::{Body, Handed, Peer, Reply, Request};
use super::node::{Errand, Mode, Stage};
use super::setup::{MS, Micros};
use super::{Timer, World, watch};

impl World {
    /// A process starts: first it hands in what its disk holds, then it joins.
    pub(super) fn start(&mut self, who: usize) -> bool {
        self.tally.restarts += u64::from(self.nodes[who].life > 0);
        for timer in [Timer::Tick, Timer::Beat, Timer::Recalls] {
            let wait = self.rng.span(MS, 20 * MS);
            self.timer(who, wait, timer);
        }
        let unread = self.nodes[who].spool.is_empty() || self.setup.flaw == Flaw::JoinsBeforeReplay;
        if unread {
            self.join_anew(who);
        } else {
            self.nodes[who].mode = Mode::Replaying;
        }
        if !self.nodes[who].spool.is_empty() {
            self.nodes[who].draining = true;
            self.timer(who, 0, Timer::Drain);
        }
        true
    }

    /// Joins as a process that has started.
    fn join_anew(&mut self, who: usize) {
        let ended = self.nodes[who].last_id;
        self.join(who, ended);
    }

    fn join(&mut self, who: usize, ended: Option<NodeId>) {
        let id = NodeId::new(self.next_id());
        let node = &mut self.nodes[who];
        node.joins_as = id;
        node.joins_after = ended;
        node.mode = Mode::Joining;
        node.ready = false;
        self.send(who, Body::Join { ended });
    }

    pub(super) fn tick(&mut self, who: usize) -> bool {
        let wait = self.rng.span(12 * MS, 25 * MS);
        self.timer(who, wait, Timer::Tick);
        let node = &mut self.nodes[who];
        if node.lives() {
            let clock = node.clock(self.now);
            node.book.tick(clock);
            self.obey(who);
            self.goes(who);
        }
        true
    }

    pub(super) fn beat(&mut self, who: usize) {
        let node = &self.nodes[who];
        if matches!(node.mode, Mode::Up | Mode::Stopping) {
            let (clock, news) = (node.clocks.wall(self.now), node.news);
            self.send(who, Body::Beat { clock, news });
        }
    }

    /// Asks what others lack of what this node has.
    pub(super) fn look(&mut self, who: usize) -> bool {
        if matches!(self.nodes[who].mode, Mode::Up | Mode::Stopping) {
            self.send(who, Body::Recalls);
        }
        true
    }

    /// Hands in the first settlement of the spool.
    pub(super) fn drain(&mut self, who: usize) -> bool {
        let node = &mut self.nodes[who];
        if let Some(handed) = node.spool.front().cloned() {
            let replay = true;
            self.send(who, Body::Settle { handed, replay });
            return true;
        }
        node.draining = false;
        if node.mode == Mode::Replaying {
            self.join_anew(who);
        }
        true
    }

    /// Writes a settlement to the spool: its client sees the end of its answer.
    pub(super) fn spooled(&mut self, who: usize, id: CallId) -> bool {
        let flaw = self.setup.flaw;
        let node = &mut self.nodes[who];
        let Some(call) = node.calls.get_mut(&id) else {
            return false;
        };
        let Some(handed) = call.handed.clone() else {
            return false;
        };
        call.stage = Stage::Spooled;
        let account = call.account;
        if let Some(most) = handed.settlement.promised {
            let clock = node.clock(self.now);
            node.book.promised(account, id, most, clock);
        }
        node.spool.push_back(handed.clone());
        self.tally.spooled += 1;
        self.done.insert(id, handed);
        if flaw == Flaw::ForgetsTheSpooled {
            let clock = node.clock(self.now);
            node.book.released(account, id, clock);
        }
        if !node.draining {
            node.draining = true;
            self.timer(who, 20 * MS, Timer::Drain);
        }
        self.obey(who);
        true
    }

    pub(super) fn node_hears(&mut self, request: &Rc<Request>, reply: &Reply) -> bool {
        let who = request.who;
        let node = &mut self.nodes[who];
        if node.life != request.life {
            return false;
        }
        let first = node.pending.remove(&request.id);
        self.tally.answers_ignored += u64::from(!first);
        self.touched.1 = Some(who);
        self.trace.mark(request.id);
        self.trace.note(|| {
            let (now, what) = (self.now, request.body.name());
            format!(
                "{now:>9}   node {who} hears of {what} #{}: {reply:?}",
                request.id
            )
        });
        match (&request.body, reply) {
            (Body::Lease(ask), Reply::Granted(grant, at)) => self.granted(who, ask, *grant, *at),
            (Body::GiveBack(back), Reply::Returned) => self.returned(who, back),
            (Body::Settle { handed, replay }, Reply::Settled(call)) if *replay => {
                self.drained(who, handed, call);
                if first {
                    self.timer(who, 0, Timer::Drain);
                }
            }
            (Body::Settle { handed, .. }, Reply::Settled(call)) => {
                self.tally.settled_late_answers += u64::from(!first);
                self.call_settled(who, handed, call);
            }
            (Body::Recalls, Reply::Recalls(recalls)) => self.recalled(who, recalls),
            (
                Body::Beat { .. },
                Reply::Alive {
                    peers,
                    news,
                    changed,
                },
            ) => {
                for account in changed {
                    let clock = node.clock(self.now);
                    node.pace(*account, self.now).reasons += 1;
                    node.book.changed(*account, clock);
                    self.tally.news += 1;
                }
                node.news = node.news.max(*news);
                self.alive(who, request, peers);
            }
            (Body::Join { .. }, Reply::Done) => self.joined(who, request.node),
            (Body::Leave(id), Reply::Done) => node.earlier.retain(|earlier| earlier != id),
            (Body::Reclaim { peer, account }, Reply::Done) => {
                node.reclaiming.remove(&(*peer, *account));
            }
            (_, Reply::Fenced) => {
                if request.node == node.id && matches!(node.mode, Mode::Up | Mode::Stopping) {
                    self.tally.zombies += 1;
                    self.join(who, None);
                }
                self.failed(request);
            }
            (_, Reply::Unavailable) if first => self.failed(request),
            _ => {}
        }
        self.obey(who);
        true
    }

    fn recalled(&mut self, who: usize, recalls: &[Recall]) {
        let node = &mut self.nodes[who];
        let clock = node.clock(self.now);
        for recall in recalls {
            self.tally.recalls_heard += 1;
            node.pace(recall.account, self.now).reasons += 1;
            let (account, scope) = (recall.account, recall.scope);
            node.book.recall(account, scope, recall.wanted, clock);
        }
    }

    pub(super) fn gives_up(&mut self, request: &Rc<Request>) -> bool {
        let node = &mut self.nodes[request.who];
        if node.life != request.life || !node.pending.remove(&request.id) {
            return false;
        }
        self.trace.note(|| {
            let (now, what) = (self.now, request.body.name());
            format!(
                "{now:>9}   node {} gives up {what} #{}",
                request.who, request.id
            )
        });
        self.touched.1 = Some(request.who);
        self.failed(request);
        self.obey(request.who);
        true
    }

    fn failed(&mut self, request: &Rc<Request>) {
        let who = request.who;
        let node = &mut self.nodes[who];
        let clock = node.clock(self.now);
        match &request.body {
            Body::Lease(ask) => node.book.unanswered(ask.account, ask.scope, ask.seq, clock),
            Body::GiveBack(back) => node
                .book
                .unanswered(back.account, back.scope, back.seq, clock),
            Body::Settle { replay: true, .. } => self.timer(who, 50 * MS, Timer::Drain),
            Body::Settle { handed, .. } => self.settlement_failed(who, handed.settlement.call),
            Body::Join { .. } => self.timer(who, 40 * MS, Timer::Join),
            Body::Reclaim { peer, account } => {
                node.reclaiming.remove(&(*peer, *account));
            }
            Body::Recalls
            | Body::Beat { .. }
            | Body::Fence { .. }
            | Body::Leave(_)
            | Body::StillSettles(_) => {}
        }
    }

    fn settlement_failed(&mut self, who: usize, id: CallId) {
        let crowded = !self.nodes[who].spool.is_empty();
        let Some(call) = self.nodes[who].calls.get_mut(&id) else {
            return;
        };
        if call.stage != Stage::Ending {
            return;
        }
        call.tries += 1;
        if call.tries > 1 || crowded {
            call.stage = Stage::Spooling;
            let flush = self.rng.span(200, 4 * MS);
            self.timer(who, flush, Timer::Spooled(id));
        } else {
            self.timer(who, 10 * MS, Timer::Hand(id));
        }
    }

    pub(super) fn hand_in(&mut self, who: usize, id: CallId) -> bool {
        let call = self.nodes[who].calls.get(&id);
        let handed = call.filter(|call| call.stage == Stage::Ending);
        let Some(handed) = handed.and_then(|call| call.handed.clone()) else {
            return false;
        };
        let replay = false;
        self.send(who, Body::Settle { handed, replay });
        true
    }

    fn granted(&mut self, who: usize, ask: &LeaseAsk, grant: LeaseGrant, at: Micros) {
        let place = self.store.pages[&ask.account].place(ask.scope);
        let node = &mut self.nodes[who];
        let row = (ask.account, place);
        if matches!(node.errands.get(&row), Some(Errand::Lease(seq)) if *seq == ask.seq) {
            node.errands.remove(&row);
            node.told.insert(row, at);
        }
        let clock = node.clock(self.now);
        node.book
            .granted(ask.account, ask.scope, ask.seq, grant, clock);
    }

    fn returned(&mut self, who: usize, back: &LeaseReturn) {
        let place = self.store.pages[&back.account].place(back.scope);
        let node = &mut self.nodes[who];
        let row = (back.account, place);
        if matches!(node.errands.get(&row), Some(Errand::GiveBack(seq, _)) if *seq == back.seq) {
            node.errands.remove(&row);
        }
        let clock = node.clock(self.now);
        node.book
            .returned(back.account, back.scope, back.seq, clock);
    }

    fn alive(&mut self, who: usize, request: &Rc<Request>, peers: &[Peer]) {
        let flaw = self.setup.flaw;
        let node = &mut self.nodes[who];
        if request.node != node.id || !matches!(node.mode, Mode::Up | Mode::Stopping) {
            return;
        }
        let clock = node.clock(self.now);
        node.book.confirmed(request.sent);
        node.ready = true;
        let dead = if flaw == Flaw::FencesByWallClock {
            watch::late(node.clocks.wall(self.now), peers)
        } else {
            watch::saw(&mut node.watch, (request.sent, clock), peers)
        };
        let settled = node.settled_ids(flaw);
        let earlier = node.earlier.iter().copied();
        let told = earlier.map(|id| {
            if settled.contains(&id) {
                Body::Leave(id)
            } else {
                Body::StillSettles(id)
            }
        });
        let mut bodies: Vec<Body> = told.collect();
        for (peer, pulse) in dead {
            bodies.push(Body::Fence { peer, pulse });
            if flaw == Flaw::ReclaimsWithoutFence {
                let accounts = self.store.pages.keys();
                bodies.extend(accounts.map(|&account| Body::Reclaim { peer, account }));
            }
        }
        for peer in peers {
            let Some(account) = peer.leases else {
                continue;
            };
            if node.reclaiming.insert((peer.node, account)) {
                let peer = peer.node;
                bodies.push(Body::Reclaim { peer, account });
            }
        }
        for body in bodies {
            self.send(who, body);
        }
    }

    fn joined(&mut self, who: usize, id: NodeId) {
        let node = &mut self.nodes[who];
        if node.mode != Mode::Joining || node.joins_as != id {
            return;
        }
        self.tally.rejoins += u64::from(!node.calls.is_empty());
        if node.id == NodeId::new(0) {
            self.tally.earlier_ids_of_ended_lives += node.noted.len() as u64;
        }
        node.rejoined(self.now);
        node.mode = if node.stop_by > 0 {
            Mode::Stopping
        } else {
            Mode::Up
        };
        self.beat(who);
    }

    /// The first settlement of the spool is in the journal.
    fn drained(&mut self, who: usize, handed: &Rc<Handed>, settled: &SettledCall) {
        let node = &mut self.nodes[who];
        let id = handed.settlement.call;
        if node
            .spool
            .front()
            .is_none_or(|first| first.settlement.call != id)
        {
            return;
        }
        node.spool.pop_front();
        self.tally.settled_from_spool += 1;
        self.tally.settled_by_restarted += u64::from(node.life != handed.life);
        if !self.store.pages[&settled_account(handed)]
            .calls
            .contains_key(&id)
        {
            self.fail(|| format!("{id} left the spool and is not in the journal"));
        }
        if self.nodes[who].calls.remove(&id).is_some() {
            self.book_settled(who, handed, settled);
        }
    }

    /// Tells the book what the store drew.
    pub(super) fn book_settled(&mut self, who: usize, handed: &Handed, settled: &SettledCall) {
        let unheard = self.unheard.remove(&settled.call);
        let node = &mut self.nodes[who];
        if let Some((id, account, drawn)) = unheard
            && id == node.id
        {
            for (place, part) in drawn.iter().enumerate() {
                let sum = node.drawn.entry((account, place)).or_default();
                *sum = sum.saturating_sub(*part);
            }
        }
        if let (Some(tiers), Some(position)) = (&handed.settlement.terms.tiers, settled.position) {
            let seen = node.seen.entry(tiers.position()).or_default();
            *seen = position.max(*seen);
        }
        let clock = node.clock(self.now);
        let held = Held {
            node: handed.settlement.node,
            parts: &handed.settlement.held,
        };
        let account = handed.settlement.account;
        node.pace(account, self.now).reasons += 1;
        node.book
            .settled(account, settled.call, held, &settled.used, clock);
        self.touched.1 = Some(who);
    }

    /// Does what a book orders.
    pub(super) fn obey(&mut self, who: usize) {
        self.touched.1 = Some(who);
        loop {
            let orders = self.nodes[who].book.take_orders();
            if orders.is_empty() {
                return;
            }
            for order in &orders {
                self.judge_order(who, order);
            }
            for order in orders {
                self.obey_one(who, order);
            }
        }
    }

    fn judge_order(&mut self, who: usize, order: &Order) {
        let Order::Decided { call: id, decision } = order else {
            return;
        };
        let Decision::Refused(refusal) = decision else {
            return;
        };
        if let Some(call) = self.nodes[who].calls.remove(id) {
            self.judge_fit(who, (*id, &call), refusal);
            self.nodes[who].calls.insert(*id, call);
        }
    }

    fn obey_one(&mut self, who: usize, order: Order) {
        let node = self.nodes[who].id;
        match order {
            Order::Lease {
                account,
                scope,
                seq,
                needed,
                wanted,
                under_way,
            } => {
                let place = self.store.pages[&account].place(scope);
                let row = (account, place);
                let before = self.nodes[who].errands.insert(row, Errand::Lease(seq));
                self.tally.asks += 1;
                self.tally.asks_repeated += u64::from(before.is_some());
                if before.is_none() {
                    self.judge_pace(who, account);
                }
                self.send(
                    who,
                    Body::Lease(LeaseAsk {
                        node,
                        account,
                        scope,
                        seq,
                        needed,
                        wanted,
                        under_way,
                    }),
                );
            }
            Order::GiveBack {
                account,
                scope,
                seq,
                amount,
            } => {
                let place = self.store.pages[&account].place(scope);
                let errand = Errand::GiveBack(seq, amount);
                self.nodes[who].errands.insert((account, place), errand);
                self.tally.returns += 1;
                self.send(
                    who,
                    Body::GiveBack(LeaseReturn {
                        node,
                        account,
                        scope,
                        seq,
                        amount,
                    }),
                );
            }
            Order::Decided { call, decision } => self.decided(who, call, decision),
        }
    }
}

const fn settled_account(handed: &Handed) -> billing_core::id::AccountId {
    handed.settlement.account
}
