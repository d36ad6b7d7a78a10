//! What must be true after every event.

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::{AccountId, CallId};
use billing_core::lease::LeaseSeq;
use billing_core::lease_book::{Refusal, RefusalCause, StaleRule, Staleness};
use time::Duration;

use super::World;
use super::node::{Call, Errand, Node, Stage};
use super::page::{Page, SCOPES};
use super::setup::{FRESH, Micros, RECALL, SECOND};
use super::store::FencedBy;

impl World {
    /// Checks what the event has touched, and now and then everything.
    pub(super) fn check(&mut self) {
        let (accounts, node) = std::mem::take(&mut self.touched);
        let all = self.tally.steps.is_multiple_of(64);
        let accounts: Vec<AccountId> = if all {
            self.store.pages.keys().copied().collect()
        } else {
            accounts
        };
        let mut broken = None;
        for account in &accounts {
            if let Some(page) = self.store.pages.get_mut(account) {
                page.note_funds(self.now);
                broken = broken.or_else(|| page.broken().map(|what| format!("{account}: {what}")));
            }
        }
        let nodes = (0..self.nodes.len()).filter(|who| all || node == Some(*who));
        let broken = broken.or_else(|| {
            let mut nodes = nodes;
            nodes.find_map(|who| self.broken_node(who, &self.nodes[who]))
        });
        if let Some(what) = broken {
            self.fail(|| what);
        }
        if self.setup.calm || self.resting {
            self.note_unmet();
        }
    }

    fn broken_node(&self, who: usize, node: &Node) -> Option<String> {
        if !node.mode.has_calls() {
            return None;
        }
        if let Some(broken) = node.book.broken_invariant() {
            return Some(format!("node {who}: {broken}"));
        }
        let (size, holding) = (node.book.size(), node.calls_that_hold());
        if size.holds != holding {
            return Some(format!(
                "node {who}: {holding} calls hold, the book says {size:?}"
            ));
        }
        let waits = |call: &&Call| matches!(call.stage, Stage::Waiting | Stage::Extending);
        let waiting = node.calls.values().filter(waits).count();
        if size.waiting < waiting {
            return Some(format!(
                "node {who}: {waiting} calls wait, the book says {size:?}"
            ));
        }
        let row = self.store.nodes.get(&node.id)?;
        if row.fenced.is_some() {
            return None;
        }
        self.store.pages.iter().find_map(|(account, page)| {
            (0..SCOPES).find_map(|place| broken_lease(who, node, (*account, page), place))
        })
    }

    /// When the funds for calls that wait were last not there, or held by others.
    fn note_unmet(&mut self) {
        for who in 0..self.nodes.len() {
            let mut met = Vec::new();
            for (id, call) in &self.nodes[who].calls {
                if matches!(call.stage, Stage::Waiting | Stage::Extending) && !self.is_met(call) {
                    met.push(*id);
                }
            }
            for id in met {
                if let Some(call) = self.nodes[who].calls.get_mut(&id) {
                    call.unmet = self.now;
                }
            }
        }
    }

    /// Whether nobody holds what a call wants.
    fn is_met(&self, call: &Call) -> bool {
        let page = &self.store.pages[&call.account];
        page.is_active()
            && call.wants().iter().all(|(scope, needed)| {
                let place = page.place(*scope);
                let held = self
                    .nodes
                    .iter()
                    .map(|node| node.leased(call.account, *scope).1);
                let held = Amount::new(held.sum());
                // Calls go by age: what an older one waits for is not idle.
                let wanted = self.wanted(call.account, *scope).max(*needed);
                page.funds(place).less(held) >= wanted
            })
    }

    /// A call that fits is not refused, unless the node is cut off. To be asked before anything
    /// else happens to the book.
    pub(super) fn judge_fit(&mut self, who: usize, (id, call): (CallId, &Call), refusal: &Refusal) {
        let node = &self.nodes[who];
        let fits = call.wants().iter().all(|(scope, needed)| {
            let (leased, held) = node.leased(call.account, *scope);
            leased - held >= needed.get()
        });
        if fits && refusal.cause != RefusalCause::Unavailable {
            self.fail(|| format!("node {who}: {id} fits and is refused: {refusal:?}"));
        }
    }

    /// What all calls that wait want of a budget.
    fn wanted(&self, account: AccountId, scope: BudgetScope) -> Amount {
        let calls = self.nodes.iter().flat_map(|node| node.calls.values());
        let waits = |call: &&Call| matches!(call.stage, Stage::Waiting | Stage::Extending);
        let waiting = calls.filter(waits).filter(|call| call.account == account);
        let wants = waiting.flat_map(Call::wants).filter(|(s, _)| *s == scope);
        wants.fold(Amount::ZERO, |sum, (_, amount)| sum.plus(amount))
    }

    /// No call is refused that should not be.
    pub(super) fn judge_refusal(
        &mut self,
        who: usize,
        (id, call): (CallId, &Call),
        refusal: &Refusal,
    ) {
        let node = &self.nodes[who];
        let now = self.now;
        let waited = now - call.asked;
        self.trace
            .note(|| format!("{now:>9}   node {who}: {id} is refused: {refusal:?}"));
        if call.probe {
            let unmet = now - call.unmet;
            self.fail(|| {
                format!("{id}, a probe at node {who}, is refused after {waited} µs, {unmet} after its funds were free: {refusal:?}")
            });
            return;
        }
        match refusal.cause {
            RefusalCause::Unavailable => {
                self.tally.refused_unavailable += 1;
                if self.setup.calm && node.ready {
                    self.fail(|| format!("node {who}: {id} is refused in calm: {refusal:?}"));
                }
            }
            RefusalCause::Insufficient => {
                self.tally.refused_insufficient += 1;
                let page = &self.store.pages[&call.account];
                let place = page.place(refusal.scope);
                let since = node
                    .told
                    .get(&(call.account, place))
                    .copied()
                    .unwrap_or(now);
                let own = node.book.held_by(call.account, id);
                let own = own.map_or(&[][..], |held| held.parts);
                let own = own.iter().find(|(scope, _)| *scope == refusal.scope);
                let own = own.map_or(0, |(_, amount)| amount.get());
                let least = page.least_funds(place, since);
                let stopped = !page.is_active() || page.suspended_until >= since;
                let fenced = self
                    .store
                    .nodes
                    .get(&node.id)
                    .is_none_or(|row| row.fenced.is_some());
                if least.saturating_sub(own) >= refusal.needed.get() && !stopped && !fenced {
                    self.fail(|| {
                        format!("node {who}: {id} is refused, {refusal:?}, but since {since} there was {least}, of which it holds {own}")
                    });
                }
            }
            RefusalCause::Busy => {
                self.tally.refused_busy += 1;
                let crowd = node.book.size().waiting >= self.setup.policy.max_waiting;
                let over = waited >= call.patience;
                if !over && !crowd {
                    self.fail(|| format!("{id} is busy after {waited} of {} µs", call.patience));
                }
                let met = now - call.unmet;
                if self.setup.calm && met > RECALL {
                    self.fail(|| format!("node {who}: {id} is busy, but what it needs has been free for {met} µs: {refusal:?}"));
                }
            }
        }
    }

    /// A book asks for a budget when a call or news gives it reason to, and else no more often than
    /// it looks again for calls that wait.
    pub(super) fn judge_pace(&mut self, who: usize, account: AccountId) {
        let looks = SECOND / micros(self.setup.policy.recheck_after) + 2;
        let most = u64::try_from(looks).unwrap_or(0) * SCOPES as u64;
        let node = &mut self.nodes[who];
        let pace = node.pace(account, self.now);
        pace.asks += 1;
        let pace = *pace;
        self.tally.most_asks_a_second = self.tally.most_asks_a_second.max(pace.asks);
        if pace.asks > most + 2 * pace.reasons {
            self.fail(|| format!("node {who} asks too often for leases of {account}: {pace:?}"));
        }
    }

    /// No hold is made on a lease that a fence took, beyond what the rule for it allows.
    pub(super) fn judge_hold(&mut self, who: usize, id: CallId) {
        let node = &self.nodes[who];
        let row = self.store.nodes.get(&node.id);
        if row.is_none_or(|row| row.fenced != Some(FencedBy::Silence)) {
            return;
        }
        let Some(call) = node.calls.get(&id) else {
            return;
        };
        if self.now < node.clocks.stood_until() + FRESH {
            // It cannot know yet that time has passed; what that may cost is the house's.
            self.tally.holds_after_standstill += 1;
            return;
        }
        let (account, wants) = (call.account, call.wants());
        self.tally.stale_holds_allowed += 1;
        let rule = |staleness: Staleness, scope| match scope {
            BudgetScope::Wallet => staleness.wallet,
            BudgetScope::KeyLimit { .. } | BudgetScope::MemberLimit { .. } => staleness.limits,
            BudgetScope::Quota { .. } | BudgetScope::CallLimit { .. } => staleness.quotas,
            BudgetScope::Tier { .. }
            | BudgetScope::TierCharge { .. }
            | BudgetScope::TierOverrun { .. } => StaleRule::Refuse,
        };
        let allowed = self.setup.policy.staleness.is_some_and(|staleness| {
            wants
                .iter()
                .all(|(scope, _)| match rule(staleness, *scope) {
                    StaleRule::Refuse => false,
                    StaleRule::UpTo(most) => node.leased(account, *scope).1 <= most.get(),
                })
        });
        if !allowed {
            self.fail(|| format!("node {who} was fenced and {id} holds on its lease all the same"));
        }
    }
}

/// What the store has on lease for a node is what its book knows of, and what is on its way.
fn broken_lease(
    who: usize,
    node: &Node,
    (account, page): (AccountId, &Page),
    place: usize,
) -> Option<String> {
    let (leased, held) = node.leased(account, page.scopes[place]);
    let lease = page.lease(node.id, place);
    let swept = || page.swept.get(&(node.id, place)).copied();
    let seq = lease
        .map(|lease| lease.seq)
        .or_else(swept)
        .unwrap_or(LeaseSeq::new(0));
    let row = lease.map_or(0, |lease| lease.amount.get());
    let drawn = node.drawn.get(&(account, place)).copied().unwrap_or(0);
    let (coming, going) = match node.errands.get(&(account, place)) {
        Some(Errand::Lease(ask)) if *ask == seq => (lease.map_or(0, |l| l.granted.get()), 0),
        Some(Errand::GiveBack(back, amount)) if *back > seq => (0, amount.get()),
        _ => (0, 0),
    };
    if row + drawn == leased + coming + going {
        return None;
    }
    let scope = page.scopes[place];
    Some(format!(
        "node {who}, {account} {scope}: the store has {row} on lease and drew {drawn}; the book has \
         {leased} ({held} held), {coming} come, {going} go"
    ))
}

/// How long a policy's time is.
pub(super) fn micros(duration: Duration) -> Micros {
    i64::try_from(duration.whole_microseconds()).unwrap_or(Micros::MAX)
}
