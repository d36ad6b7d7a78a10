//! How a run ends: everything heals, and then nothing may be left, and everybody is served.

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::{AccountId, CallId};

use super::World;
use super::checks::micros;
use super::node::{Call, Mode, Stage};
use super::page::SCOPES;
use super::setup::{LONGEST, MS, Micros, RECALL};

/// A call that was made to see whether it is served.
struct Probe {
    who: usize,
    id: CallId,
}

impl World {
    pub(super) fn come_to_rest(&mut self) {
        self.resting = true;
        self.away_until = self.now;
        for node in &mut self.nodes {
            node.cut_until = self.now;
            node.paused_until = self.now;
            node.clocks.go_on(self.now);
        }
        self.reactivate(Micros::MAX);
        // What was under way arrives, and nodes that were paused find out what they have missed.
        let heard = self.now + LONGEST + 1_500 * MS;
        self.rest("time does not pass", Micros::MAX - heard, |world| {
            world.now >= heard
        });
        self.rest(
            "calls, spools or messages are left",
            30_000 * MS,
            Self::is_at_rest,
        );
        self.check_done();
        self.check_windows();
        let accounts: Vec<AccountId> = self.store.pages.keys().copied().collect();
        for account in accounts {
            self.probe_all(account);
            self.probe_last_cents(account);
            self.probe_two_budgets(account);
        }
        let idle = micros(self.setup.policy.idle_after);
        self.rest(
            "leases are stranded",
            idle + 10_000 * MS,
            Self::nothing_is_leased,
        );
    }

    /// Lets time pass until something is true.
    fn rest(&mut self, what: &str, most: Micros, wanted: impl Fn(&Self) -> bool) {
        let until = self.now + most;
        while self.wrong.is_none() && !wanted(self) {
            if self.now > until {
                let left = self.left();
                self.fail(|| format!("after {most} µs {what}: {left}"));
                return;
            }
            self.step();
        }
    }

    fn left(&self) -> String {
        let mut left = Vec::new();
        for (who, node) in self.nodes.iter().enumerate() {
            let (mode, spool) = (node.mode, node.spool.len());
            left.push(format!(
                "node {who} {mode:?} {:?}, {} calls, {spool} spooled, errands {:?}",
                node.book.size(),
                node.calls.len(),
                node.errands
            ));
        }
        for (account, page) in &self.store.pages {
            left.push(format!("{account} {:?}", page.budgets));
        }
        left.join("\n")
    }

    fn is_at_rest(&self) -> bool {
        self.gathered.is_empty()
            && self.store.is_reclaimed()
            && self.nodes.iter().all(|node| {
                let row = self.store.nodes.get(&node.id);
                let known = row.is_some_and(|row| row.fenced.is_none());
                let idle = known && node.calls.is_empty() && node.spool.is_empty();
                node.mode == Mode::Up && node.ready && idle && node.errands.is_empty()
            })
    }

    fn nothing_is_leased(&self) -> bool {
        let mut pages = self.store.pages.values();
        pages.all(|page| (0..SCOPES).all(|place| page.leased(place).is_zero()))
    }

    /// Every call whose client has seen its end was charged.
    fn check_done(&mut self) {
        for (id, handed) in std::mem::take(&mut self.done) {
            let page = &self.store.pages[&handed.settlement.account];
            if !page.calls.contains_key(&id) {
                self.fail(|| format!("the client of {id} has seen its end, and it is not charged"));
            }
        }
    }

    /// Whatever node settled them and in whatever order, the calls of a window together cost what its
    /// total does.
    fn check_windows(&mut self) {
        let wrong = self.store.pages.iter().find_map(|(account, page)| {
            let wrong = page.windows.mischarged(page.schedule.as_ref()?)?;
            Some(format!("{account}: {wrong}"))
        });
        if let Some(wrong) = wrong {
            self.fail(|| wrong);
        }
    }

    fn probe(&mut self, who: usize, account: AccountId, demands: &[(BudgetScope, u64)]) -> Probe {
        let demands = demands.iter().map(|(s, n)| (*s, Amount::new(*n)));
        let demands = demands.filter(|(_, n)| !n.is_zero()).collect();
        let call = Call {
            probe: true,
            ..self.call_of(account, demands, 4_000 * MS, (0, None))
        };
        self.tally.probes += 1;
        let id = self.begin_call(who, call);
        Probe { who, id }
    }

    fn has(&self, probe: &Probe) -> bool {
        let call = self.nodes[probe.who].calls.get(&probe.id);
        call.is_some_and(|call| call.stage == Stage::Running)
    }

    fn end(&mut self, probe: &Probe) {
        self.finish(probe.who, probe.id);
        self.obey(probe.who);
    }

    fn funds(&mut self, account: AccountId, place: usize) -> (BudgetScope, u64) {
        let page = &self.store.pages[&account];
        (page.scopes[place], page.funds(place).get())
    }

    /// One node gets everything, wherever it is.
    fn probe_all(&mut self, account: AccountId) {
        if self.funds(account, 0).1 == 0 {
            self.top_up(account, 100);
        }
        for place in 0..SCOPES {
            let all = self.funds(account, place);
            if all.1 == 0 || self.wrong.is_some() {
                continue;
            }
            self.tally.probes_of_all += 1;
            let who = self.rng.place(self.nodes.len());
            let probe = self.probe(who, account, &[all]);
            self.rest("a node did not get all there is", RECALL, |w| w.has(&probe));
            self.end(&probe);
        }
    }

    /// All nodes together get everything, to the last unit.
    fn probe_last_cents(&mut self, account: AccountId) {
        let (wallet, funds) = self.funds(account, 0);
        let count = self.nodes.len() as u64;
        if self.wrong.is_some() || funds < count {
            return;
        }
        self.tally.probes_of_last_cents += 1;
        let mut probes = Vec::new();
        for who in 0..self.nodes.len() {
            let extra = if who == 0 { funds % count } else { 0 };
            probes.push(self.probe(who, account, &[(wallet, funds / count + extra)]));
        }
        let held = |w: &Self| probes.iter().all(|probe| w.has(probe));
        self.rest("the last of a wallet is not shared out", 2 * RECALL, held);
        for probe in &probes {
            self.end(probe);
        }
    }

    /// Two nodes each have one of the two budgets that both need most of: both are served.
    fn probe_two_budgets(&mut self, account: AccountId) {
        let (wallet, funds) = self.funds(account, 0);
        let (limit, room) = self.funds(account, 1);
        let both = funds.min(room);
        if self.wrong.is_some() || self.nodes.len() < 2 || both == 0 {
            return;
        }
        self.tally.probes_of_two_budgets += 1;
        for (who, all) in [(0, (wallet, funds)), (1, (limit, room))] {
            let probe = self.probe(who, account, &[all]);
            self.rest("a node did not get all there is", RECALL, |w| w.has(&probe));
            self.end(&probe);
        }
        let most = both / 2 + 1;
        let mut probes: Vec<Probe> = (0..self.nodes.len())
            .map(|who| self.probe(who, account, &[(wallet, most), (limit, most)]))
            .collect();
        let until = self.now + RECALL * i64::try_from(probes.len()).unwrap_or(1);
        while self.wrong.is_none() && !probes.is_empty() {
            let Some(at) = probes.iter().position(|probe| self.has(probe)) else {
                if self.now > until {
                    let left = self.left();
                    self.fail(|| {
                        format!("nodes that need two budgets wait for each other: {left}")
                    });
                    return;
                }
                self.step();
                continue;
            };
            let probe = probes.remove(at);
            self.end(&probe);
        }
    }
}
