//! What fails, and what operators do meanwhile.

use billing_core::id::AccountId;
use billing_core::wallet::{AccountStatus, LotKind};

use super::flaw::Flaw;
use super::node::Mode;
use super::page::SCOPES;
use super::setup::{MS, Micros};
use super::store::at;
use super::{Event, Fault, Timer, World};

impl World {
    pub(super) fn fault(&mut self, fault: Fault) -> bool {
        if self.resting {
            return false;
        }
        let every = match fault {
            Fault::Crash => self.setup.crashes_every,
            Fault::Pause => self.setup.pauses_every,
            Fault::Standstill => self.setup.standstills_every,
            Fault::Step => self.setup.steps_every,
            Fault::Cut => self.setup.cuts_every,
            Fault::Outage => self.setup.outages_every,
        };
        let wait = self.rng.span(MS, 2 * every);
        self.later(wait, Event::Fault(fault));
        let mut who = self.rng.place(self.nodes.len());
        if fault == Fault::Crash && self.rng.chance(500) {
            // Where it hurts most.
            let spools = self.nodes.iter().position(|node| !node.spool.is_empty());
            who = spools.unwrap_or(who);
        }
        let most = self.rng.one_of(&[30 * MS, 300 * MS, 1_500 * MS]);
        let until = self.now + self.rng.span(MS, most);
        self.trace
            .note(|| format!("{:>9} {fault:?} of node {who} until {until}", self.now));
        match fault {
            Fault::Crash if self.rng.chance(250) => self.stop(who),
            Fault::Crash => self.crash(who),
            Fault::Pause => {
                self.tally.pauses += 1;
                let flaw = self.setup.flaw;
                let node = &mut self.nodes[who];
                // A machine that stands still is not woken by it.
                node.paused_until = until.max(node.clocks.stood_until());
                if flaw == Flaw::SleepsUncounted {
                    node.clocks.sleep_uncounted(until - self.now);
                }
            }
            Fault::Standstill => self.stand_still(who, until),
            Fault::Step => {
                self.tally.clock_steps += 1;
                let most = self.rng.one_of(&[100 * MS, 1_000 * MS, 600_000 * MS]);
                let skew = self.rng.span(-most, most);
                self.nodes[who].clocks.set(skew);
            }
            Fault::Cut => {
                self.tally.cuts += 1;
                self.nodes[who].cut_until = until;
            }
            Fault::Outage => {
                self.tally.outages += 1;
                self.away_until = until;
            }
        }
        true
    }

    fn stand_still(&mut self, who: usize, until: Micros) {
        let node = &mut self.nodes[who];
        if node.paused_until <= self.now {
            self.tally.standstills += 1;
            node.paused_until = until;
            node.clocks.stand_still(self.now, until);
        }
    }

    /// Kills a process.
    pub(super) fn crash(&mut self, who: usize) {
        let node = &mut self.nodes[who];
        if node.mode == Mode::Down {
            return;
        }
        self.tally.crashes += 1;
        self.tally.crashes_with_spool += u64::from(!node.spool.is_empty());
        self.tally.crashes_while_joining += u64::from(node.mode == Mode::Joining);
        if self.setup.flaw == Flaw::SpoolsInMemory {
            node.spool.clear();
        }
        self.end_of_life(who);
    }

    fn end_of_life(&mut self, who: usize) {
        let node = &mut self.nodes[who];
        // The next process runs, so its machine does: its clock must not stand still meanwhile.
        node.clocks.go_on(self.now);
        node.die(self.setup.policy);
        let most = self.rng.one_of(&[50 * MS, 1_500 * MS]);
        let wait = self.rng.span(5 * MS, most);
        self.timer(who, wait, Timer::Start);
    }

    fn stop(&mut self, who: usize) {
        let node = &mut self.nodes[who];
        if node.mode == Mode::Up {
            node.mode = Mode::Stopping;
            node.stop_by = self.now + self.rng.span(100 * MS, 2_000 * MS);
        }
    }

    /// A node that stops goes when nothing of it is left, or when its time is over.
    pub(super) fn goes(&mut self, who: usize) {
        let node = &mut self.nodes[who];
        if node.mode != Mode::Stopping {
            return;
        }
        if node.calls.is_empty() && node.spool.is_empty() {
            let clock = node.clock(self.now);
            node.book.give_all_back(clock);
            self.obey(who);
            let node = &self.nodes[who];
            let id = node.id;
            let fenced = self
                .store
                .nodes
                .get(&id)
                .is_none_or(|row| row.fenced.is_some());
            let mut left = 0;
            for (account, page) in &self.store.pages {
                for place in 0..SCOPES {
                    left += node.leased(*account, page.scopes[place]).0;
                }
            }
            if left == 0 && node.errands.is_empty() {
                let rows = self.rows_of(id);
                if rows > 0 && !fenced {
                    self.fail(|| format!("node {who} stopped and left {rows} on lease"));
                }
                self.tally.stops += 1;
                self.end_of_life(who);
                return;
            }
        }
        if self.nodes[who].stop_by < self.now {
            self.tally.stops_overrun += 1;
            self.crash(who);
        }
    }

    fn rows_of(&self, id: billing_core::id::NodeId) -> u64 {
        let pages = self.store.pages.values();
        let rows = pages.flat_map(|page| (0..SCOPES).filter_map(move |p| page.lease(id, p)));
        rows.map(|lease| lease.amount.get()).sum()
    }

    /// Somebody pays, or an operator stops an account for a while.
    pub(super) fn credit(&mut self) -> bool {
        if self.resting {
            return false;
        }
        let every = self.setup.credits_every;
        let wait = self.rng.span(MS, 2 * every);
        self.later(wait, Event::Credit);
        self.reactivate(self.now);
        let place = self.rng.place(self.setup.accounts);
        let Some(account) = self.store.pages.keys().nth(place).copied() else {
            return false;
        };
        if self.rng.chance(60) {
            self.tally.suspensions += 1;
            let until = self.now + self.rng.span(50 * MS, 600 * MS);
            if let Some(page) = self.store.pages.get_mut(&account) {
                page.state.wallet.status = AccountStatus::Suspended;
                page.suspended_until = until;
            }
            return true;
        }
        let most = self.rng.one_of(&[30, 200, 800]);
        self.top_up(account, most);
        true
    }

    /// Lets accounts go on whose time is over.
    pub(super) fn reactivate(&mut self, now: Micros) {
        let mut active = Vec::new();
        for (account, page) in &mut self.store.pages {
            let wallet = &mut page.state.wallet;
            if wallet.status != AccountStatus::Active && page.suspended_until <= now {
                wallet.status = AccountStatus::Active;
                page.suspended_until = self.now;
                active.push(*account);
            }
        }
        for account in active {
            self.store.announce(account);
        }
    }

    /// Adds credit, and raises a limit now and then.
    pub(super) fn top_up(&mut self, account: AccountId, most: u64) {
        self.tally.top_ups += 1;
        let amount = self.rng.between(1, most);
        let kind = self
            .rng
            .one_of(&[LotKind::Paid, LotKind::Paid, LotKind::Promo]);
        let raised = self.rng.chance(500).then(|| self.rng.between(1, 2));
        let txn = self.store.next_txn();
        let now = self.now;
        if let Some(page) = self.store.pages.get_mut(&account) {
            page.add_credit(txn, amount, kind, at(now));
            if let Some(place) = raised {
                page.raise_limit(if place == 1 { 1 } else { 2 }, amount);
            }
            page.note_funds(now);
        }
        self.store.announce(account);
        self.touched.0.push(account);
        self.trace
            .note(|| format!("{now:>9} credit of {amount} for {account}"));
    }
}
