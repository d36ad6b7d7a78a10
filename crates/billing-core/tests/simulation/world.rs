//! A simulation of several nodes over one store, from one seed.
//!
//! The lease books, the rules of leases and of settlement are the real ones; the nodes around them,
//! the network, the disks, the clocks and the store's tables are not. Each step is one event: a
//! message arrives, a timer ends, a call comes or goes, something fails. After each, what must
//! always be true is checked; at the end everything heals, and nothing may be left.

mod calls;
mod checks;
mod clocks;
mod faults;
pub(crate) mod flaw;
mod message;
mod node;
mod page;
mod plan;
mod rest;
pub(crate) mod rng;
mod service;
mod setup;
mod shell;
mod store;
pub(crate) mod tally;
mod tiers;
mod watch;

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;
use std::sync::Arc;

use billing_core::id::{AccountId, CallId, NodeId, PriceVersionId};
use billing_core::meter::Meter;
use billing_core::money::Currency;
use billing_core::price::{ModelName, PriceVersion, Rate, ServiceTier};

use clocks::Clocks;
use flaw::Flaw;
use message::{Body, Handed, Reply, Request};
use node::{Mode, Node};
use rng::Rng;
use setup::{BEAT, LONGEST, MS, Micros, SECOND, Setup, TIMEOUT};
use store::Store;
use tally::{Tally, Trace};

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    /// The same for the same seed, and hardly for another.
    pub(crate) hash: u64,
    /// The promise that was broken, in words.
    pub(crate) wrong: Option<String>,
    /// The last events, if they were to be written down.
    pub(crate) lines: Vec<String>,
}

/// Runs one seed for so many steps and then until everything is at rest.
pub(crate) fn run(seed: u64, steps: u64, flaw: Flaw, written: bool) -> Outcome {
    let mut world = World::new(seed, flaw, written);
    while world.wrong.is_none() && world.tally.steps < steps {
        world.step();
    }
    if world.wrong.is_none() {
        world.come_to_rest();
    }
    Outcome {
        hash: world.trace.hash(),
        tally: world.tally,
        wrong: world.wrong,
        lines: world.trace.into_lines(),
    }
}

/// Something that will happen.
#[derive(Debug)]
enum Event {
    ToStore(Rc<Request>),
    ToNode(Rc<Request>, Box<Reply>),
    Timeout(Rc<Request>),
    Timer(usize, u32, Timer),
    /// The store commits the settlements that it has gathered.
    Commit,
    Client,
    Credit,
    Sweep,
    Fault(Fault),
}

/// What a node has set itself to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    Start,
    Tick,
    Beat,
    Recalls,
    Nudge,
    Drain,
    Join,
    Hand(CallId),
    Spooled(CallId),
    Call(CallId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Crash,
    Pause,
    Standstill,
    Step,
    Cut,
    Outage,
}

struct Entry {
    at: Micros,
    order: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

struct World {
    setup: Setup,
    rng: Rng,
    now: Micros,
    ids: i64,
    order: u64,
    queue: BinaryHeap<Reverse<Entry>>,
    store: Store,
    /// Until when the store is away.
    away_until: Micros,
    /// Settlements that wait for the store's next commit.
    gathered: Vec<Rc<Request>>,
    nodes: Vec<Node>,
    price: Arc<PriceVersion>,
    /// What is known of calls whose client has seen the end.
    done: BTreeMap<CallId, Rc<Handed>>,
    /// The draws of settled calls that their node has not heard of.
    unheard: BTreeMap<CallId, (NodeId, AccountId, [u64; page::SCOPES])>,
    /// Everything heals: nothing new begins, nothing fails.
    resting: bool,
    /// Whose books and which node the present event has touched.
    touched: (Vec<AccountId>, Option<usize>),
    trace: Trace,
    tally: Tally,
    wrong: Option<String>,
}

impl World {
    fn new(seed: u64, flaw: Flaw, written: bool) -> Self {
        let mut rng = Rng::new(seed ^ 0x7011_6a7e);
        let setup = Setup::draw(&mut rng, flaw);
        let store = Store::open(&mut rng, setup.accounts, flaw);
        let mut world = Self {
            rng,
            now: 0,
            ids: 0,
            order: 0,
            queue: BinaryHeap::new(),
            store,
            away_until: 0,
            gathered: Vec::new(),
            nodes: Vec::new(),
            price: a_nano_a_token(),
            done: BTreeMap::new(),
            unheard: BTreeMap::new(),
            resting: false,
            touched: (Vec::new(), None),
            trace: Trace::new(written),
            tally: Tally::default(),
            wrong: None,
            setup,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        let setup = self.setup.clone();
        self.trace.note(|| format!("{setup:?}"));
        for who in 0..setup.nodes {
            let skew = self.rng.span(-setup.skew, setup.skew);
            let origin = self.rng.span(0, 5_000) * SECOND;
            let clocks = Clocks::new(skew, origin, setup.flaw == Flaw::GoesByTheWallClock);
            self.nodes.push(Node::new(clocks, setup.policy));
            self.timer(who, 0, Timer::Start);
        }
        let accounts: Vec<AccountId> = self.store.pages.keys().copied().collect();
        for account in accounts {
            self.top_up(account, 800);
        }
        self.later(0, Event::Client);
        self.later(setup.credits_every, Event::Credit);
        self.later(100 * MS, Event::Sweep);
        for (every, fault) in [
            (setup.crashes_every, Fault::Crash),
            (setup.pauses_every, Fault::Pause),
            (setup.standstills_every, Fault::Standstill),
            (setup.steps_every, Fault::Step),
            (setup.cuts_every, Fault::Cut),
            (setup.outages_every, Fault::Outage),
        ] {
            if every > 0 {
                let wait = self.rng.span(0, 2 * every);
                self.later(wait, Event::Fault(fault));
            }
        }
    }

    fn next_id(&mut self) -> i64 {
        self.ids += 1;
        self.ids
    }

    fn later(&mut self, wait: Micros, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Entry {
            at: self.now + wait,
            order: self.order,
            event,
        }));
    }

    fn timer(&mut self, who: usize, wait: Micros, timer: Timer) {
        let life = self.nodes[who].life;
        self.later(wait, Event::Timer(who, life, timer));
    }

    /// Lets the next event happen, and checks what it touched.
    fn step(&mut self) {
        let Some(Reverse(Entry { at, event, .. })) = self.queue.pop() else {
            self.wrong = Some("nothing will ever happen again".to_owned());
            return;
        };
        self.now = self.now.max(at);
        if let Some(until) = self.sleeps(&event) {
            self.later(until - self.now, event);
            return;
        }
        self.touched = (Vec::new(), None);
        if !self.happen(event) {
            return;
        }
        self.tally.steps += 1;
        self.trace.mark(u64::try_from(self.now).unwrap_or(0));
        self.check();
    }

    /// Until when the node that this event is for is paused.
    fn sleeps(&self, event: &Event) -> Option<Micros> {
        let who = match event {
            Event::ToNode(request, _) | Event::Timeout(request) => request.who,
            Event::Timer(who, ..) => *who,
            Event::ToStore(_)
            | Event::Commit
            | Event::Client
            | Event::Credit
            | Event::Sweep
            | Event::Fault(_) => return None,
        };
        let until = self.nodes[who].paused_until;
        (until > self.now).then_some(until)
    }

    /// `false` when nothing came of it.
    fn happen(&mut self, event: Event) -> bool {
        match event {
            Event::ToStore(request) => self.store_hears(&request),
            Event::ToNode(request, reply) => self.node_hears(&request, &reply),
            Event::Timeout(request) => self.gives_up(&request),
            Event::Timer(who, life, timer) => {
                self.nodes[who].life == life && self.on_timer(who, timer)
            }
            Event::Commit => self.commit(),
            Event::Client => self.client(),
            Event::Credit => self.credit(),
            Event::Sweep => {
                self.tally.rows_swept += self.store.sweep(self.now);
                self.later(100 * MS, Event::Sweep);
                true
            }
            Event::Fault(fault) => self.fault(fault),
        }
    }

    /// Sends a message to the store, and gives it up after a while.
    fn send(&mut self, who: usize, body: Body) {
        self.order += 1;
        let node = &mut self.nodes[who];
        let request = Rc::new(Request {
            id: self.order,
            who,
            life: node.life,
            node: if matches!(body, Body::Join { .. }) {
                node.joins_as
            } else {
                node.id
            },
            sent: node.clocks.steady(self.now),
            body,
        });
        node.pending.insert(request.id);
        self.tally.messages += 1;
        self.later(TIMEOUT, Event::Timeout(request.clone()));
        if self.is_lost(who) {
            self.trace
                .note(|| format!("          lost: {} of node {who}", request.body.name()));
            return;
        }
        if self.rng.chance(self.now_and_then(self.setup.twice)) {
            self.tally.messages_twice += 1;
            let wait = self.rng.span(0, LONGEST / 2) * self.rng.span(0, 2);
            self.later(wait, Event::ToStore(request.clone()));
        }
        let mut wait = self.delay();
        if matches!(request.body, Body::Fence { .. }) && self.rng.chance(self.now_and_then(300)) {
            // Time for whom it is about to come back.
            wait += self.rng.span(0, 300 * MS);
        }
        self.later(wait, Event::ToStore(request));
    }

    fn answer(&mut self, request: &Rc<Request>, reply: Reply) {
        if self.is_lost(request.who) {
            self.trace.note(|| format!("          lost: {reply:?}"));
            return;
        }
        let wait = self.delay();
        self.later(wait, Event::ToNode(request.clone(), Box::new(reply)));
    }

    const fn now_and_then(&self, per_mille: u64) -> u64 {
        if self.resting { 0 } else { per_mille }
    }

    fn is_lost(&mut self, who: usize) -> bool {
        let lost = self.rng.chance(self.now_and_then(self.setup.lost))
            || self.nodes[who].cut_until > self.now;
        self.tally.messages_lost += u64::from(lost);
        lost
    }

    /// How long a message is under way: mostly little, and now and then long.
    fn delay(&mut self) -> Micros {
        if self.rng.chance(self.now_and_then(self.setup.late)) {
            self.tally.messages_late += 1;
            let most = self.rng.one_of(&[20 * MS, 200 * MS, LONGEST - MS]);
            return self.rng.span(0, most);
        }
        self.rng.span(100, 2 * MS)
    }

    fn fail(&mut self, wrong: impl FnOnce() -> String) {
        if self.wrong.is_none() {
            self.wrong = Some(wrong());
        }
    }

    fn on_timer(&mut self, who: usize, timer: Timer) -> bool {
        match timer {
            Timer::Start => self.start(who),
            Timer::Tick => self.tick(who),
            Timer::Beat => {
                self.beat(who);
                let jitter = self.rng.span(0, 10 * MS);
                self.timer(who, BEAT + jitter, Timer::Beat);
                true
            }
            Timer::Nudge => self.look(who),
            Timer::Recalls => {
                self.look(who);
                let jitter = self.rng.span(0, 10 * MS);
                self.timer(who, self.setup.recalls_every + jitter, Timer::Recalls);
                true
            }
            Timer::Drain => self.drain(who),
            Timer::Join => {
                if self.nodes[who].mode == Mode::Joining {
                    let ended = self.nodes[who].joins_after;
                    self.send(who, Body::Join { ended });
                }
                true
            }
            Timer::Hand(call) => self.hand_in(who, call),
            Timer::Spooled(call) => self.spooled(who, call),
            Timer::Call(call) => self.call_goes_on(who, call),
        }
    }
}

/// A price under which a token of input costs a nano.
fn a_nano_a_token() -> Arc<PriceVersion> {
    let rate = Rate {
        meter: Meter::Input,
        tier: ServiceTier::Standard,
        above: None,
        price: "0.000000001".parse().unwrap(),
    };
    let (id, model) = (PriceVersionId::new(1), ModelName::new("m"));
    let from = time::OffsetDateTime::UNIX_EPOCH;
    Arc::new(PriceVersion::new(id, model, Currency::USD, from, vec![rate]).unwrap())
}
