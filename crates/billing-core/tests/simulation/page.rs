//! One account in the store: its books by the real rules, its leases and claims, and what must
//! always be true of them.

use std::collections::BTreeMap;

use billing_core::budget::{Amount, BudgetScope, BudgetUnit};
use billing_core::call::Settlement;
use billing_core::id::{AccountId, CallId, KeyId, LedgerTxnId, LotId, NodeId, QuotaId};
use billing_core::lease::{Lease, LeaseSeq, LeasedBudget};
use billing_core::ledger::{
    Entry, LedgerCode, LedgerHead, LedgerKind, LedgerTxn, replayed_balance,
};
use billing_core::money::{Currency, Nanos};
use billing_core::settlement::{AccountState, BudgetUse, SettledCall, code_of};
use billing_core::wallet::{AccountStatus, Lot, LotKind, Wallet};
use time::OffsetDateTime;

use super::setup::Micros;
use super::tiers::{Schedule, Windows};

/// The wallet, a key's limit and a plan's quota.
pub(crate) const SCOPES: usize = 3;

#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) scopes: [BudgetScope; SCOPES],
    pub(crate) state: AccountState,
    pub(crate) budgets: [LeasedBudget; SCOPES],
    /// When a row was last written, or a message about it came.
    pub(crate) touched: BTreeMap<(NodeId, usize), Micros>,
    /// The last number of rows that were swept away; the store does not have it.
    pub(crate) swept: BTreeMap<(NodeId, usize), LeaseSeq>,
    pub(crate) calls: BTreeMap<CallId, SettledCall>,
    totals: BTreeMap<LedgerCode, i128>,
    credited: i128,
    charged: i128,
    /// What the funds of each budget were, leases included, since when.
    funds: [Vec<(Micros, u64)>; SCOPES],
    /// Until when an operator stopped it, or when that was over.
    pub(crate) suspended_until: Micros,
    /// How its price falls with use, where it does.
    pub(crate) schedule: Option<Schedule>,
    pub(crate) windows: Windows,
    /// How far the counters had come before the last commit, and how far since: what a flaw reads.
    before: BTreeMap<BudgetScope, (Amount, Amount)>,
}

impl Page {
    pub(crate) fn open(
        id: AccountId,
        credit_limit: u64,
        limit: u64,
        quota: (BudgetUnit, u64),
    ) -> Self {
        let key = BudgetScope::KeyLimit {
            key: KeyId::new(id.get()),
            window_start: 0,
        };
        let plan = BudgetScope::Quota {
            quota: QuotaId::new(id.get()),
            unit: quota.0,
            window_start: 0,
        };
        let limited = |limit| BudgetUse {
            limit: Some(Amount::new(limit)),
            ..BudgetUse::default()
        };
        let mut state = hollow(id);
        state.wallet.credit_limit = Amount::new(credit_limit);
        state.uses = BTreeMap::from([(key, limited(limit)), (plan, limited(quota.1))]);
        Self {
            scopes: [BudgetScope::Wallet, key, plan],
            state,
            budgets: Default::default(),
            touched: BTreeMap::new(),
            swept: BTreeMap::new(),
            calls: BTreeMap::new(),
            totals: BTreeMap::new(),
            credited: 0,
            charged: 0,
            funds: Default::default(),
            suspended_until: -1,
            schedule: None,
            windows: Windows::default(),
            before: BTreeMap::new(),
        }
    }

    pub(crate) fn is_active(&self) -> bool {
        self.state.wallet.status == AccountStatus::Active
    }

    pub(crate) fn place(&self, scope: BudgetScope) -> usize {
        self.scopes.iter().position(|s| *s == scope).unwrap_or(0)
    }

    pub(crate) fn lease(&self, node: NodeId, place: usize) -> Option<Lease> {
        let leases = &self.budgets[place].leases;
        leases.iter().find(|lease| lease.node == node).copied()
    }

    /// What is neither used nor on lease.
    pub(crate) fn available(&self, place: usize) -> Amount {
        match self.scopes[place] {
            BudgetScope::Wallet => self.state.wallet.available(),
            limit @ (BudgetScope::KeyLimit { .. }
            | BudgetScope::MemberLimit { .. }
            | BudgetScope::Quota { .. }
            | BudgetScope::CallLimit { .. }
            | BudgetScope::Tier { .. }
            | BudgetScope::TierCharge { .. }
            | BudgetScope::TierOverrun { .. }) => self.state.uses[&limit].available(),
        }
    }

    /// What there is of a budget, on lease or not.
    pub(crate) fn funds(&self, place: usize) -> Amount {
        self.available(place).plus(self.leased(place))
    }

    pub(crate) fn leased(&self, place: usize) -> Amount {
        match self.scopes[place] {
            BudgetScope::Wallet => self.state.wallet.leased,
            limit @ (BudgetScope::KeyLimit { .. }
            | BudgetScope::MemberLimit { .. }
            | BudgetScope::Quota { .. }
            | BudgetScope::CallLimit { .. }
            | BudgetScope::Tier { .. }
            | BudgetScope::TierCharge { .. }
            | BudgetScope::TierOverrun { .. }) => self.state.uses[&limit].leased,
        }
    }

    pub(crate) fn leased_mut(&mut self, place: usize) -> &mut Amount {
        match self.scopes[place] {
            BudgetScope::Wallet => &mut self.state.wallet.leased,
            limit @ (BudgetScope::KeyLimit { .. }
            | BudgetScope::MemberLimit { .. }
            | BudgetScope::Quota { .. }
            | BudgetScope::CallLimit { .. }
            | BudgetScope::Tier { .. }
            | BudgetScope::TierCharge { .. }
            | BudgetScope::TierOverrun { .. }) => {
                &mut self.state.uses.entry(limit).or_default().leased
            }
        }
    }

    /// Writes a lease, and moves what it grew or shrank by.
    pub(crate) fn put_lease(&mut self, place: usize, after: Lease, now: Micros) {
        let before = self
            .lease(after.node, place)
            .map_or(Amount::ZERO, |l| l.amount);
        let leased = self.leased_mut(place);
        *leased = leased.plus(after.amount).less(before);
        self.put_row(place, after, now);
    }

    pub(crate) fn put_row(&mut self, place: usize, after: Lease, now: Micros) {
        let leases = &mut self.budgets[place].leases;
        match leases.iter_mut().find(|lease| lease.node == after.node) {
            Some(lease) => *lease = after,
            None => leases.push(after),
        }
        self.touched.insert((after.node, place), now);
        self.swept.remove(&(after.node, place));
    }

    /// Notes that a message about a row came, be it a repetition: others may be under way.
    pub(crate) fn heard_of(&mut self, node: NodeId, place: usize, now: Micros) {
        if let Some(at) = self.touched.get_mut(&(node, place)) {
            *at = now;
        }
    }

    /// Deletes a node's leases and claims; what they held is free. Answers with how much that was.
    pub(crate) fn reclaim(&mut self, node: NodeId) -> u64 {
        let mut freed = 0;
        for place in 0..SCOPES {
            if let Some(lease) = self.lease(node, place) {
                let leased = self.leased_mut(place);
                *leased = leased.less(lease.amount);
                freed += lease.amount.get();
            }
            self.budgets[place]
                .leases
                .retain(|lease| lease.node != node);
            self.budgets[place]
                .claims
                .retain(|claim| claim.node != node);
        }
        freed
    }

    /// Deletes the rows of empty leases that were last written before an instant.
    pub(crate) fn sweep(&mut self, before: Micros) -> u64 {
        let mut count = 0;
        for (place, budget) in self.budgets.iter_mut().enumerate() {
            let (touched, swept) = (&self.touched, &mut self.swept);
            budget.leases.retain(|lease| {
                let row = (lease.node, place);
                let keep =
                    !lease.amount.is_zero() || touched.get(&row).is_some_and(|at| *at >= before);
                if !keep {
                    count += 1;
                    swept.insert(row, lease.seq);
                }
                keep
            });
        }
        count
    }

    pub(crate) fn add_credit(&mut self, txn: i64, amount: u64, kind: LotKind, now: OffsetDateTime) {
        let lot = Lot {
            id: LotId::new(txn),
            kind,
            priority: 0,
            effective_at: now,
            expires_at: None,
            created_at: now,
            granted: Amount::new(amount),
            remaining: Amount::new(amount),
        };
        let sum = Amount::new(amount).money();
        self.state.lots.push(lot);
        self.state.wallet.posted = self.state.wallet.posted.plus(sum).unwrap();
        self.credited += i128::from(amount);
        let contra = match kind {
            LotKind::Paid => LedgerCode::PaymentClearing,
            LotKind::Promo => LedgerCode::PromoExpense,
        };
        let leg = |code, amount, lot| Entry { code, amount, lot };
        let entries = [
            leg(contra, sum, None),
            leg(code_of(kind), sum.negated().unwrap(), Some(lot.id)),
        ];
        let head = LedgerHead {
            id: LedgerTxnId::new(txn),
            account: self.state.account,
            currency: Currency::USD,
            kind: LedgerKind::TopUp,
            key: format!("credit:{txn}"),
            booked_at: now,
        };
        self.book(&LedgerTxn::new(head, entries).unwrap());
    }

    pub(crate) fn raise_limit(&mut self, place: usize, by: u64) {
        if let Some(budget) = self.state.uses.get_mut(&self.scopes[place]) {
            budget.limit = budget.limit.map(|limit| limit.plus(Amount::new(by)));
        }
    }

    pub(crate) fn book(&mut self, txn: &LedgerTxn) {
        for entry in txn.entries() {
            *self.totals.entry(entry.code).or_default() += i128::from(entry.amount.get());
        }
    }

    pub(crate) fn record(&mut self, call: &SettledCall) {
        self.charged += i128::from(call.charge.get());
        self.calls.insert(call.call, call.clone());
        self.state.lots.retain(|lot| !lot.remaining.is_zero());
    }

    /// Notes the funds, where they changed.
    pub(crate) fn note_funds(&mut self, now: Micros) {
        for place in 0..SCOPES {
            let funds = self.funds(place).get();
            let past = &mut self.funds[place];
            if past.last().is_none_or(|(_, last)| *last != funds) {
                past.push((now, funds));
            }
            if past.len() > 400 {
                past.drain(..200);
            }
        }
    }

    /// The least that a node may have thought there was of a budget: it was told at an instant, and
    /// has since heard of charges, but not of credit.
    pub(crate) fn least_funds(&self, place: usize, since: Micros) -> u64 {
        let mut later = self.funds[place].last().map_or(0, |(_, funds)| *funds);
        let (mut least, mut added) = (later, 0);
        let now = later;
        for (at, funds) in self.funds[place].iter().rev().skip(1) {
            added += later.saturating_sub(*funds);
            least = least.min(*funds);
            later = *funds;
            if *at < since {
                break;
            }
        }
        least.min(now.saturating_sub(added))
    }

    /// Sets the counters of tiers back to where they stood before the last commit: a flaw.
    pub(crate) fn read_too_early(&mut self, state: &mut AccountState) {
        for (scope, budget) in &mut state.uses {
            if matches!(scope, BudgetScope::Tier { .. }) {
                let (before, since) = self.before.entry(*scope).or_default();
                let now = budget.used;
                budget.used = *before;
                (*before, *since) = (now, now.less(*before));
            }
        }
    }

    /// Counts what was counted since, as a statement does that only adds.
    pub(crate) fn add_what_was_missed(&mut self) {
        for (scope, (_, since)) in &mut self.before {
            if let Some(budget) = self.state.uses.get_mut(scope) {
                budget.used = budget.used.plus(std::mem::take(since));
            }
        }
    }

    /// Counts a call once more that was counted: a flaw.
    pub(crate) fn count_again(&mut self, call: Option<&SettledCall>, settlement: &Settlement) {
        let tiers = settlement.terms.tiers.as_ref();
        for (scope, counted) in call.iter().flat_map(|call| &call.used) {
            if tiers.is_some_and(|tiers| tiers.position() == *scope)
                && let Some(budget) = self.state.uses.get_mut(scope)
            {
                budget.used = budget.used.plus(*counted);
            }
        }
    }

    /// The first promise that is not kept, in words.
    pub(crate) fn broken(&self) -> Option<String> {
        let wallet = &self.state.wallet;
        let posted = i128::from(wallet.posted.get());
        let credit = i128::from(wallet.credit_limit.get());
        let leased = i128::from(wallet.leased.get());
        let lots = self.state.lots.iter();
        let lots: i128 = lots.map(|l| i128::from(l.remaining.get())).sum();
        let owed = *self.totals.get(&LedgerCode::Unbilled).unwrap_or(&0);
        let rules = [
            (
                posted + credit - leased >= 0,
                "more is leased than there is",
            ),
            (
                self.charged <= self.credited + credit,
                "more was charged than there was",
            ),
            (
                posted == self.credited - self.charged,
                "the balance is not credits less charges",
            ),
            (
                self.totals.values().sum::<i128>() == 0,
                "the journal does not balance",
            ),
            (
                replayed_balance(&self.totals) == posted,
                "the journal replays to another balance",
            ),
            (lots - owed == posted, "lots less debts are not the balance"),
        ];
        let first = rules.iter().find(|(holds, _)| !holds);
        let used = |scope: &BudgetScope| self.state.uses.get(scope).map(|budget| budget.used);
        first
            .map(|(_, what)| format!("{what}: {wallet:?}"))
            .or_else(|| self.broken_budget())
            .or_else(|| self.windows.miscounted(used))
    }

    fn broken_budget(&self) -> Option<String> {
        for (place, scope) in self.scopes.iter().enumerate() {
            let rows = self.budgets[place].leases.iter();
            let rows = rows.fold(Amount::ZERO, |sum, lease| sum.plus(lease.amount));
            if rows != self.leased(place) {
                return Some(format!(
                    "{scope}: {} is leased, rows {rows}",
                    self.leased(place)
                ));
            }
            let passed = |b: &BudgetUse| b.limit.is_some_and(|l| b.used.plus(b.leased) > l);
            if let Some(budget) = self.state.uses.get(scope).filter(|b| passed(b)) {
                return Some(format!("{scope} is passed: {budget:?}"));
            }
        }
        None
    }
}

/// Books without anything in them.
pub(crate) fn hollow(account: AccountId) -> AccountState {
    AccountState {
        account,
        wallet: Wallet {
            currency: Currency::USD,
            posted: Nanos::ZERO,
            leased: Amount::ZERO,
            credit_limit: Amount::ZERO,
            status: AccountStatus::Active,
        },
        lots: Vec::new(),
        uses: BTreeMap::new(),
        leases: BTreeMap::new(),
    }
}
