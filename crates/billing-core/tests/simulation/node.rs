//! One node: a process around a real lease book, and a spool that outlives it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::{AccountId, CallId, NodeId};
use billing_core::lease::LeaseSeq;
use billing_core::lease_book::{LeaseBook, LeasePolicy};
use billing_core::node_watch::NodeWatch;
use billing_core::steady::Steady;
use billing_core::terms::Terms;
use time::OffsetDateTime;

use super::clocks::Clocks;
use super::flaw::Flaw;
use super::message::Handed;
use super::setup::{Micros, SECOND};
use super::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Down,
    /// It has started and hands in what its spool holds.
    Replaying,
    /// It makes itself known, for the first time or because it was fenced.
    Joining,
    Up,
    /// It takes no new calls, ends those it has, and gives everything back.
    Stopping,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) mode: Mode,
    /// Whether the store has confirmed it since it joined.
    pub(crate) ready: bool,
    /// Which life of the process this is.
    pub(crate) life: u32,
    /// The id under which it takes leases.
    pub(crate) id: NodeId,
    /// The id under which it wants to join.
    pub(crate) joins_as: NodeId,
    /// The life of its process that has ended before it joins.
    pub(crate) joins_after: Option<NodeId>,
    /// The ids under which it was fenced and has calls to settle, or under which a life before it
    /// had and has not left.
    pub(crate) earlier: Vec<NodeId>,
    /// The id of its last life, as its disk has it, and the earlier ones.
    pub(crate) last_id: Option<NodeId>,
    pub(crate) noted: Vec<NodeId>,
    pub(crate) clocks: Clocks,
    pub(crate) paused_until: Micros,
    pub(crate) cut_until: Micros,
    pub(crate) stop_by: Micros,
    pub(crate) book: LeaseBook,
    pub(crate) calls: BTreeMap<CallId, Call>,
    pub(crate) pending: BTreeSet<u64>,
    pub(crate) errands: BTreeMap<(AccountId, usize), Errand>,
    /// When the store said what the book believes of a budget.
    pub(crate) told: BTreeMap<(AccountId, usize), Micros>,
    pub(crate) watch: NodeWatch,
    pub(crate) reclaiming: BTreeSet<(NodeId, AccountId)>,
    pub(crate) news: u64,
    pub(crate) draining: bool,
    /// How often it asked for leases of an account lately, and what it had reason to.
    pub(crate) pace: BTreeMap<AccountId, Pace>,
    /// What the store drew from its leases and its book has not heard of.
    pub(crate) drawn: BTreeMap<(AccountId, usize), u64>,
    /// What is on its disk.
    pub(crate) spool: VecDeque<Rc<Handed>>,
    /// How far it knows the counters of tiers to have come.
    pub(crate) seen: BTreeMap<BudgetScope, Amount>,
}

/// Asks and their reasons in a second.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    pub(crate) since: Micros,
    pub(crate) asks: u64,
    pub(crate) reasons: u64,
}

/// What the book has told the store, and what was not answered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Errand {
    Lease(LeaseSeq),
    GiveBack(LeaseSeq, Amount),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It waits for its first hold.
    Waiting,
    Running,
    /// It runs, and waits for more.
    Extending,
    /// It is over and its settlement is on its way.
    Ending,
    /// Its settlement is being written to the spool.
    Spooling,
    /// Its client has seen the end.
    Spooled,
}

/// A call that a node has.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) account: AccountId,
    pub(crate) stage: Stage,
    /// What it wants first, and when it needs more, wallet first.
    pub(crate) demands: Vec<(BudgetScope, Amount)>,
    /// What it is rated with, and when it began by its node's wall clock.
    pub(crate) terms: Terms,
    pub(crate) began: OffsetDateTime,
    /// How many tokens it asks for each time, and for how many of them the wallet is to pay.
    pub(crate) portion: u64,
    pub(crate) of_wallet: u64,
    /// What it may rely on of the wallet.
    pub(crate) covered: u64,
    /// The tokens that it was given over time.
    pub(crate) tokens: u64,
    /// What it holds by its own count, to be compared with the book.
    pub(crate) holds: Vec<(BudgetScope, Amount)>,
    /// Its hold has ended.
    pub(crate) released: bool,
    pub(crate) extends: u64,
    /// How much of what it holds it will have used, in percent; `None` when nothing is delivered.
    pub(crate) percent: Option<u64>,
    pub(crate) asked: Micros,
    pub(crate) patience: Micros,
    /// When the funds for it were last not there.
    pub(crate) unmet: Micros,
    pub(crate) tries: u32,
    pub(crate) handed: Option<Rc<Handed>>,
    /// A call that was made to find out whether it is served.
    pub(crate) probe: bool,
}

impl Node {
    pub(crate) fn new(clocks: Clocks, policy: LeasePolicy) -> Self {
        let nobody = NodeId::new(0);
        Self {
            mode: Mode::Down,
            ready: false,
            life: 0,
            id: nobody,
            joins_as: nobody,
            joins_after: None,
            earlier: Vec::new(),
            last_id: None,
            noted: Vec::new(),
            clocks,
            paused_until: 0,
            cut_until: 0,
            stop_by: 0,
            book: LeaseBook::new(policy, nobody),
            calls: BTreeMap::new(),
            pending: BTreeSet::new(),
            errands: BTreeMap::new(),
            told: BTreeMap::new(),
            watch: watch::new(),
            reclaiming: BTreeSet::new(),
            news: 0,
            draining: false,
            pace: BTreeMap::new(),
            drawn: BTreeMap::new(),
            spool: VecDeque::new(),
            seen: BTreeMap::new(),
        }
    }

    /// Ends the process: only the disk is left.
    pub(crate) fn die(&mut self, policy: LeasePolicy) {
        let spool = std::mem::take(&mut self.spool);
        let noted = std::mem::take(&mut self.noted);
        *self = Self {
            life: self.life + 1,
            cut_until: self.cut_until,
            last_id: self.last_id,
            noted,
            spool,
            ..Self::new(self.clocks, policy)
        };
    }

    /// What the steady clock of its machine shows.
    pub(crate) fn clock(&self, now: Micros) -> Steady {
        self.clocks.steady(now)
    }

    /// What it does of an account in the present second.
    pub(crate) fn pace(&mut self, account: AccountId, now: Micros) -> &mut Pace {
        let pace = self.pace.entry(account).or_default();
        if now - pace.since >= SECOND {
            *pace = Pace {
                since: now,
                ..Pace::default()
            };
        }
        pace
    }

    /// Whether it may take calls.
    pub(crate) const fn serves(&self) -> bool {
        matches!(self.mode, Mode::Up) && self.ready
    }

    /// Whether its book is in use.
    pub(crate) const fn lives(&self) -> bool {
        !matches!(self.mode, Mode::Down | Mode::Replaying)
    }

    /// Takes another id. What the calls hold that it has is under the one of before.
    pub(crate) fn rejoined(&mut self, now: Micros) {
        let before = std::mem::replace(&mut self.id, self.joins_as);
        if before == NodeId::new(0) {
            // What the lives before had to settle is settled.
            self.earlier = std::mem::take(&mut self.noted);
        } else {
            self.earlier.push(before);
        }
        self.noted.clone_from(&self.earlier);
        self.last_id = Some(self.id);
        self.errands.clear();
        self.drawn.clear();
        self.told.clear();
        let clock = self.clock(now);
        self.book.fenced(self.id, clock);
    }

    /// The earlier ids under which nothing is left to settle.
    pub(crate) fn settled_ids(&self, flaw: Flaw) -> Vec<NodeId> {
        let early = flaw == Flaw::LeavesTooEarly;
        let ids = self.earlier.iter().copied();
        ids.filter(|id| early || self.book.holds_under(*id) == 0)
            .collect()
    }

    /// What of its leases the book knows, and what is under way between it and the store.
    pub(crate) fn leased(&self, account: AccountId, scope: BudgetScope) -> (u64, u64) {
        let (leased, held) = self.book.leased(account, scope);
        (leased.get(), held.get())
    }

    /// What it said it holds, counted from its calls.
    pub(crate) fn calls_that_hold(&self) -> usize {
        let holds = |call: &&Call| call.stage != Stage::Waiting && !call.released;
        self.calls.values().filter(holds).count()
    }
}

/// Adds what is held anew to what is held.
pub(crate) fn add_parts(holds: &mut Vec<(BudgetScope, Amount)>, more: &[(BudgetScope, Amount)]) {
    for (scope, amount) in more {
        match holds.iter_mut().find(|(s, _)| s == scope) {
            Some((_, held)) => *held = held.plus(*amount),
            None => holds.push((*scope, *amount)),
        }
    }
}
