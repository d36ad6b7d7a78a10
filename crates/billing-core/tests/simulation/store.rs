//! The store: the real rules of leases and settlements over maps, and which nodes are alive.

use std::collections::BTreeMap;
use std::rc::Rc;

use billing_core::budget::{Amount, BudgetUnit};
use billing_core::call::Settlement;
use billing_core::id::{AccountId, LedgerTxnId, NodeId};
use billing_core::lease::{
    ClaimChange, Lease, LeaseAsk, LeaseGrant, LeaseReturn, LeaseSeq, Recall, grant, recalled,
    take_back,
};
use billing_core::node::Pulse;
use billing_core::settlement::{AccountState, Booking, SettledCall, settle};
use time::{Duration, OffsetDateTime};

use super::flaw::Flaw;
use super::message::{Handed, Peer, Reply};
use super::page::{Page, SCOPES, hollow};
use super::rng::Rng;
use super::setup::{KEEP, LONGEST, Micros};
use super::tiers::Schedule;

/// The instant that the store's clock shows.
pub(crate) fn at(now: Micros) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::microseconds(now)
}

/// A node as the store knows it.
#[derive(Debug, Clone)]
pub(crate) struct NodeRow {
    pub(crate) name: usize,
    pub(crate) pulse: Pulse,
    pub(crate) clock: Micros,
    pub(crate) heard: Micros,
    pub(crate) fenced: Option<FencedBy>,
    pub(crate) fenced_at: Micros,
    /// Since when nothing more is to be settled under its id.
    pub(crate) left: bool,
    /// Its process has ended, and a later one has joined.
    pub(crate) over: bool,
    /// It was given up: what it had on lease was freed although nobody knew what it has to settle.
    pub(crate) given_up: bool,
}

impl NodeRow {
    fn fence(&mut self, by: FencedBy, now: Micros) {
        if self.fenced.is_none() {
            self.fenced = Some(by);
            self.fenced_at = now;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FencedBy {
    Silence,
    NextLife,
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) pages: BTreeMap<AccountId, Page>,
    pub(crate) nodes: BTreeMap<NodeId, NodeRow>,
    /// Which account changed at which number of news.
    news: Vec<AccountId>,
    txns: i64,
    flaw: Flaw,
}

/// What became of one settlement.
pub(crate) struct Posted {
    pub(crate) handed: Rc<Handed>,
    pub(crate) call: SettledCall,
    pub(crate) replayed: bool,
    /// What was drawn from the node's lease, by budget.
    pub(crate) drawn: [u64; SCOPES],
    /// Its node, as it was known when the call settled.
    pub(crate) row: Option<NodeRow>,
}

impl Store {
    pub(crate) fn open(rng: &mut Rng, accounts: usize, flaw: Flaw) -> Self {
        let mut pages = BTreeMap::new();
        for n in 1..=accounts as u64 {
            let id = AccountId::new(i64::try_from(n).unwrap());
            let unit = rng.one_of(&[BudgetUnit::Calls, BudgetUnit::Tokens]);
            let most = if unit == BudgetUnit::Calls { 40 } else { 4_000 };
            let credit = rng.one_of(&[0, 0, 100]);
            let limit = rng.between(100, 4_000);
            let quota = (unit, rng.between(10, most));
            let mut page = Page::open(id, credit, limit, quota);
            page.schedule = rng.chance(500).then(|| Schedule::draw(rng, id));
            pages.insert(id, page);
        }
        Self {
            pages,
            nodes: BTreeMap::new(),
            news: Vec::new(),
            txns: 0,
            flaw,
        }
    }

    pub(crate) fn next_txn(&mut self) -> i64 {
        self.txns += 1;
        self.txns
    }

    pub(crate) fn announce(&mut self, account: AccountId) {
        self.news.push(account);
    }

    fn is_fenced(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_none_or(|row| row.fenced.is_some())
    }

    /// Answers an ask, and says whether others are to be told that the node lacks something.
    pub(crate) fn lease(&mut self, ask: &LeaseAsk, now: Micros) -> (Reply, bool) {
        if self.is_fenced(ask.node) {
            return (Reply::Fenced, false);
        }
        let flaw = self.flaw;
        let page = self.pages.get_mut(&ask.account).unwrap();
        let place = page.place(ask.scope);
        let active = page.is_active();
        let mut available = page.available(place);
        if flaw == Flaw::CountsOnTwoNodes {
            let others = page.budgets[place]
                .leases
                .iter()
                .filter(|l| l.node != ask.node);
            available = others.fold(available, |sum, lease| sum.plus(lease.amount));
        }
        let budget = &mut page.budgets[place];
        budget.stopped = !active;
        budget.available = available;
        let mut asked = *ask;
        if flaw == Flaw::GrantsAgain {
            let own = budget.leases.iter().find(|lease| lease.node == ask.node);
            asked.seq = own.map_or(ask.seq, |own| own.seq.next().max(ask.seq));
        }
        let mut granting = grant(budget, &asked, at(now));
        match granting.claim {
            ClaimChange::Keep => {}
            ClaimChange::Put(claim) => {
                budget.claims.retain(|c| c.node != ask.node);
                budget.claims.push(claim);
            }
            ClaimChange::Drop => budget.claims.retain(|c| c.node != ask.node),
        }
        if let Some(lease) = &mut granting.lease {
            lease.seq = ask.seq;
            page.put_lease(place, *lease, now);
        }
        page.heard_of(ask.node, place, now);
        let claims = matches!(granting.claim, ClaimChange::Put(_));
        if !active && flaw == Flaw::ForgetsWhenStopped {
            return (Reply::Granted(LeaseGrant::default(), now), false);
        }
        (Reply::Granted(granting.answer, now), claims)
    }

    pub(crate) fn give_back(&mut self, back: &LeaseReturn, now: Micros) -> Reply {
        let flaw = self.flaw;
        let page = self.pages.get_mut(&back.account).unwrap();
        let place = page.place(back.scope);
        let Some(mut lease) = page.lease(back.node, place) else {
            return Reply::Returned;
        };
        if flaw == Flaw::TakesBackTwice {
            lease.seq = LeaseSeq::new(0);
        }
        if let Some((after, _)) = take_back(&lease, back) {
            page.put_lease(place, after, now);
        }
        page.heard_of(back.node, place, now);
        Reply::Returned
    }

    pub(crate) fn recalls(&mut self, node: NodeId, now: Micros) -> Reply {
        let mut recalls = Vec::new();
        if self.flaw == Flaw::NeverRecalls {
            return Reply::Recalls(recalls);
        }
        let flaw = self.flaw;
        for (account, page) in &mut self.pages {
            for place in 0..SCOPES {
                let Some(lease) = page.lease(node, place) else {
                    continue;
                };
                let wanted = recalled(&lease, &page.budgets[place].claims, at(now));
                if wanted.is_zero() {
                    continue;
                }
                recalls.push(Recall {
                    account: *account,
                    scope: page.scopes[place],
                    wanted,
                });
                if flaw == Flaw::RecallsWhatIsHeld {
                    let amount = lease.amount.less(wanted);
                    page.put_lease(place, Lease { amount, ..lease }, now);
                }
            }
        }
        Reply::Recalls(recalls)
    }

    /// Settles what was gathered for one account, in one transaction.
    pub(crate) fn settle(&mut self, batch: &[Rc<Handed>], now: Micros) -> Vec<Posted> {
        let txn = self.next_txn();
        let (flaw, Some(first)) = (self.flaw, batch.first()) else {
            return Vec::new();
        };
        let nodes = &self.nodes;
        let page = self.pages.get_mut(&first.settlement.account).unwrap();
        let again = |call| flaw != Flaw::SettlesWithoutKey && page.calls.contains_key(call);
        let fresh: Vec<_> = batch
            .iter()
            .filter(|h| !again(&h.settlement.call))
            .map(|h| h.settlement.clone())
            .collect();
        let state = read(page, nodes, &fresh, flaw);
        let txn = LedgerTxnId::new(txn);
        let mut rows = state.leases.clone();
        let changes = settle(state, &fresh, Booking { txn, now: at(now) }).unwrap();
        page.state = changes.state;
        if flaw == Flaw::ReadsThePositionTooEarly {
            page.add_what_was_missed();
        }
        for ((node, scope), amount) in std::mem::take(&mut page.state.leases) {
            let place = page.place(scope);
            if let Some(lease) = page.lease(node, place) {
                page.put_row(place, Lease { amount, ..lease }, now);
            }
        }
        if let Some(txn) = &changes.txn {
            page.book(txn);
        }
        let mut posted = Vec::with_capacity(batch.len());
        let mut calls = changes.calls.into_iter().peekable();
        for handed in batch {
            let settlement = &handed.settlement;
            let settled = calls.next_if(|c| c.call == settlement.call);
            let known = page.calls.get(&settlement.call).cloned();
            if flaw == Flaw::MovesThePositionTwice && settled.is_none() {
                page.count_again(known.as_ref(), settlement);
            }
            let replayed = settled.is_none() || (known.is_some() && known == settled);
            let Some(call) = settled.or(known) else {
                continue;
            };
            let mut drawn = [0; SCOPES];
            if !replayed {
                page.record(&call);
                for (scope, held) in &settlement.held {
                    let used = call.used.iter().find(|(s, _)| s == scope);
                    let row = rows.entry((settlement.node, *scope)).or_default();
                    let part = used.map_or(Amount::ZERO, |u| u.1).min(*held).min(*row);
                    *row = row.less(part);
                    drawn[page.place(*scope)] = part.get();
                }
            }
            let row = nodes.get(&settlement.node);
            posted.push(Posted {
                handed: handed.clone(),
                call,
                replayed,
                drawn,
                row: row.cloned(),
            });
        }
        posted
    }

    pub(crate) fn beat(
        &mut self,
        node: NodeId,
        (clock, news): (Micros, u64),
        now: Micros,
    ) -> Reply {
        match self.nodes.get_mut(&node) {
            Some(row) if row.fenced.is_none() => {
                row.pulse = Pulse::new(row.pulse.get() + 1);
                row.clock = clock;
                row.heard = now;
            }
            _ => return Reply::Fenced,
        }
        let others = self.nodes.iter().filter(|(id, _)| **id != node);
        let peers = others.map(|(id, row)| Peer {
            node: *id,
            pulse: row.pulse,
            clock: row.clock,
            fenced: row.fenced.is_some(),
            leases: self.first_free(*id, row, now),
        });
        let peers = peers.filter(|p| !p.fenced || p.leases.is_some()).collect();
        let heard = usize::try_from(news).unwrap().min(self.news.len());
        Reply::Alive {
            peers,
            news: self.news.len() as u64,
            changed: self.news[heard..].to_vec(),
        }
    }

    fn first_lease(&self, node: NodeId) -> Option<AccountId> {
        let has = |page: &Page| (0..SCOPES).any(|place| page.lease(node, place).is_some());
        let mut pages = self.pages.iter();
        pages.find(|(_, page)| has(page)).map(|(id, _)| *id)
    }

    /// The first account of which a node has a lease that may be freed.
    fn first_free(&self, node: NodeId, row: &NodeRow, now: Micros) -> Option<AccountId> {
        let fenced = row.fenced.is_some();
        let kept = !row.left && now < row.fenced_at + KEEP && self.flaw != Flaw::FreesAtTheFence;
        let free = fenced && !kept;
        free.then(|| self.first_lease(node)).flatten()
    }

    /// A fenced node has calls under way.
    pub(crate) fn still_settles(&mut self, node: NodeId, now: Micros) {
        if let Some(row) = self.nodes.get_mut(&node).filter(|row| row.fenced.is_some()) {
            row.fenced_at = now;
        }
    }

    /// Nothing more will be settled under an id.
    pub(crate) fn leave(&mut self, node: NodeId, now: Micros) {
        if let Some(row) = self.nodes.get_mut(&node) {
            row.fence(FencedBy::NextLife, now);
            row.left = true;
        }
    }

    /// Makes a node known; the earlier lives of its name are over, and the one that is known to
    /// have ended has left. One that was overtaken by a later life is fenced from the start.
    pub(crate) fn join(&mut self, node: NodeId, ended: Option<NodeId>, name: usize, now: Micros) {
        if self.nodes.contains_key(&node) {
            return;
        }
        let mut fenced = None;
        for (id, row) in self.nodes.iter_mut().filter(|(_, row)| row.name == name) {
            if *id < node {
                row.fence(FencedBy::NextLife, now);
                row.left |= ended == Some(*id);
                row.over |= ended.is_some();
            } else {
                fenced = Some(FencedBy::NextLife);
            }
        }
        self.nodes.insert(
            node,
            NodeRow {
                name,
                pulse: Pulse::new(0),
                clock: now,
                heard: now,
                fenced,
                fenced_at: now,
                left: false,
                over: false,
                given_up: false,
            },
        );
    }

    /// Fences a node whose pulse is still the one that was judged. Answers with for how long it had
    /// been silent, when this did it.
    pub(crate) fn fence(&mut self, node: NodeId, pulse: Pulse, now: Micros) -> Option<Micros> {
        let flaw = self.flaw;
        let row = self.nodes.get_mut(&node)?;
        let unheard = row.pulse == pulse || flaw == Flaw::FencesUnheard;
        if row.fenced.is_some() || !unheard {
            return None;
        }
        if flaw != Flaw::ReclaimsWithoutFence {
            row.fence(FencedBy::Silence, now);
        }
        Some(now - row.heard)
    }

    /// Takes back what a fenced node has on lease of one account.
    pub(crate) fn reclaim(&mut self, node: NodeId, account: AccountId, now: Micros) -> u64 {
        let flaw = self.flaw;
        if let Some(row) = self.nodes.get_mut(&node) {
            let late = row.fenced.is_some() && now >= row.fenced_at + KEEP;
            let free = row.left || late || flaw == Flaw::FreesAtTheFence;
            if flaw == Flaw::KeepsDeadLeases || !(free || flaw == Flaw::ReclaimsWithoutFence) {
                return 0;
            }
            row.given_up |= late && !row.left;
        }
        let page = self.pages.get_mut(&account).unwrap();
        page.reclaim(node)
    }

    pub(crate) fn sweep(&mut self, now: Micros) -> u64 {
        // An answer may be late by so much, and until it is heard the ask is repeated; a copy of the
        // last repetition may be late by as much again.
        let keep = if self.flaw == Flaw::SweepsAtOnce {
            0
        } else {
            2 * LONGEST
        };
        let pages = self.pages.values_mut();
        pages.map(|page| page.sweep(now - keep)).sum()
    }

    /// Whether no fenced node has a lease left.
    pub(crate) fn is_reclaimed(&self) -> bool {
        let mut fenced = self.nodes.iter().filter(|(_, row)| row.fenced.is_some());
        fenced.all(|(id, _)| self.first_lease(*id).is_none())
    }
}

/// The state of an account that settlements need, taken out of its page.
fn read(
    page: &mut Page,
    nodes: &BTreeMap<NodeId, NodeRow>,
    fresh: &[Settlement],
    flaw: Flaw,
) -> AccountState {
    let hollow = hollow(page.state.account);
    let mut state = std::mem::replace(&mut page.state, hollow);
    // What a settlement draws on is there, whether or not anything was counted yet.
    for scope in fresh.iter().flat_map(Settlement::uses) {
        state.uses.entry(scope).or_default();
    }
    if flaw == Flaw::ReadsThePositionTooEarly {
        page.read_too_early(&mut state);
    }
    for settlement in fresh {
        let row = nodes.get(&settlement.node);
        for (scope, held) in &settlement.held {
            let lease = page.lease(settlement.node, page.place(*scope));
            let fenced = row.is_none_or(|row| row.fenced.is_some());
            let amount = match lease {
                None if fenced && flaw == Flaw::DropsTheFence => *held,
                lease => lease.map_or(Amount::ZERO, |lease| lease.amount),
            };
            state.leases.insert((settlement.node, *scope), amount);
        }
    }
    state
}
