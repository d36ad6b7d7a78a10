//! The smallest store that keeps the promises of the books: the rules, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use billing_core::budget::{Amount, BudgetScope};
use billing_core::call::Settlement;
use billing_core::id::{AccountId, CallId, LedgerTxnId, LotId, NodeId, PriceVersionId};
use billing_core::ledger::{
    Entry, LedgerCode, LedgerHead, LedgerKind, LedgerTxn, replayed_balance,
};
use billing_core::meter::Meter;
use billing_core::money::{Currency, Nanos};
use billing_core::port::books::{LeaseGrant, grant};
use billing_core::price::{ModelName, PriceVersion, Rate, ServiceTier};
use billing_core::settlement::{AccountState, Booking, BudgetUse, SettledCall, code_of, settle};
use billing_core::wallet::{AccountStatus, Lot, LotKind, Wallet};
use time::OffsetDateTime;

/// What is broken on purpose, so that the checks can be seen to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Nothing.
    None,
    /// The store grants what is asked for, whether it is there or not.
    GrantsBlindly,
    /// The store settles a call again when it is handed in again.
    SettlesAgain,
    /// The store takes a lease's return at its word, and the driver delivers it twice.
    FreesTwice,
    /// The driver delivers every return of a lease twice to an honest store.
    GivesBackTwice,
    /// The store grants leases to nodes that were taken for dead.
    DropsTheFence,
    /// A node that was taken for dead is not told.
    IgnoresTheFence,
    /// A lease is counted on two nodes.
    CountsOnTwoNodes,
    /// The leases of a dead node are never taken back.
    KeepsDeadLeases,
    /// A call that ended without a charge keeps its hold.
    ForgetsToRelease,
}

/// One account's books.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) state: AccountState,
    totals: BTreeMap<LedgerCode, i128>,
    calls: BTreeMap<CallId, SettledCall>,
    credited: i128,
}

/// What a settlement did.
pub(crate) struct Posted {
    pub(crate) call: SettledCall,
    pub(crate) replayed: bool,
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) pages: BTreeMap<AccountId, Page>,
    dead: BTreeSet<NodeId>,
    txns: i64,
    flaw: Flaw,
}

impl Store {
    pub(crate) const fn new(flaw: Flaw) -> Self {
        Self {
            pages: BTreeMap::new(),
            dead: BTreeSet::new(),
            txns: 0,
            flaw,
        }
    }

    pub(crate) fn open(&mut self, id: AccountId, credit_limit: u64, limits: &[(BudgetScope, u64)]) {
        let wallet = Wallet {
            currency: Currency::USD,
            posted: Nanos::ZERO,
            leased: Amount::ZERO,
            credit_limit: Amount::new(credit_limit),
            status: AccountStatus::Active,
        };
        let limited = |limit: u64| BudgetUse {
            limit: Some(Amount::new(limit)),
            ..BudgetUse::default()
        };
        let state = AccountState {
            account: id,
            wallet,
            lots: Vec::new(),
            uses: limits.iter().map(|(s, l)| (*s, limited(*l))).collect(),
            leases: BTreeMap::new(),
        };
        let page = Page {
            state,
            totals: BTreeMap::new(),
            calls: BTreeMap::new(),
            credited: 0,
        };
        self.pages.insert(id, page);
    }

    pub(crate) fn add_credit(
        &mut self,
        id: AccountId,
        amount: u64,
        kind: LotKind,
        now: OffsetDateTime,
    ) {
        self.txns += 1;
        let txn = self.txns;
        let page = self.pages.get_mut(&id).unwrap();
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
        page.state.lots.push(lot);
        page.state.wallet.posted = page.state.wallet.posted.plus(sum).unwrap();
        page.credited += i128::from(amount);
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
            account: id,
            currency: Currency::USD,
            kind: LedgerKind::TopUp,
            key: format!("credit:{txn}"),
            booked_at: now,
        };
        page.book(&LedgerTxn::new(head, entries).unwrap());
    }

    /// The answer to a wish; `None` for a node that was taken for dead.
    pub(crate) fn lease(
        &mut self,
        node: NodeId,
        id: AccountId,
        scope: BudgetScope,
        (at_least, at_most): (Amount, Amount),
    ) -> Option<LeaseGrant> {
        if self.dead.contains(&node) && self.flaw != Flaw::DropsTheFence {
            return None;
        }
        let page = self.pages.get_mut(&id)?;
        let answer = if self.flaw == Flaw::GrantsBlindly {
            LeaseGrant {
                granted: at_most.min(Amount::new(200)),
                available: Amount::ZERO,
            }
        } else {
            grant(page.available(scope), at_least, at_most)
        };
        let row = page.state.leases.entry((node, scope)).or_default();
        *row = row.plus(answer.granted);
        page.move_leased(scope, |leased| leased.plus(answer.granted));
        Some(answer)
    }

    /// Takes a part of a lease back: more than it holds gives back all of it.
    pub(crate) fn give_back(
        &mut self,
        node: NodeId,
        id: AccountId,
        scope: BudgetScope,
        amount: Amount,
    ) {
        let page = self.pages.get_mut(&id).unwrap();
        let row = page.state.leases.entry((node, scope)).or_default();
        let back = amount.min(*row);
        *row = row.less(back);
        let freed = if self.flaw == Flaw::FreesTwice {
            amount
        } else {
            back
        };
        page.move_leased(scope, |leased| leased.less(freed));
    }

    /// Takes a node for dead: what it still has on lease is free again.
    pub(crate) fn reclaim(&mut self, node: NodeId) {
        self.dead.insert(node);
        if self.flaw == Flaw::KeepsDeadLeases {
            return;
        }
        for page in self.pages.values_mut() {
            let rows: Vec<(BudgetScope, Amount)> = page
                .state
                .leases
                .iter()
                .filter(|((of, _), _)| *of == node)
                .map(|((_, scope), amount)| (*scope, *amount))
                .collect();
            page.state.leases.retain(|(of, _), _| *of != node);
            for (scope, amount) in rows {
                page.move_leased(scope, |leased| leased.less(amount));
            }
        }
    }

    pub(crate) fn settle(&mut self, settlement: &Settlement, now: OffsetDateTime) -> Posted {
        let page = self.pages.get_mut(&settlement.account).unwrap();
        let earlier = page.calls.get(&settlement.call).cloned();
        if let Some(call) = earlier
            && self.flaw != Flaw::SettlesAgain
        {
            return Posted {
                call,
                replayed: true,
            };
        }
        self.txns += 1;
        let booking = Booking {
            txn: LedgerTxnId::new(self.txns),
            now,
        };
        let batch = std::slice::from_ref(settlement);
        let changes = settle(page.state.clone(), batch, booking).unwrap();
        page.state = changes.state;
        if let Some(txn) = &changes.txn {
            page.book(txn);
        }
        let call = changes.calls.into_iter().next().unwrap();
        page.calls.insert(call.call, call.clone());
        Posted {
            call,
            replayed: false,
        }
    }

    /// What a node has on lease, as the store knows it.
    pub(crate) fn row(&self, node: NodeId, id: AccountId, scope: BudgetScope) -> Amount {
        let rows = &self.pages[&id].state.leases;
        rows.get(&(node, scope)).copied().unwrap_or_default()
    }

    /// The first promise that is not kept, in words.
    pub(crate) fn broken(&self) -> Option<String> {
        self.pages
            .iter()
            .find_map(|(id, page)| page.broken().map(|what| format!("{id}: {what}")))
    }

    /// Whether no node has anything on lease.
    pub(crate) fn nothing_is_leased(&self) -> bool {
        self.pages.values().all(|page| {
            page.state.wallet.leased.is_zero()
                && page.state.leases.values().all(|a| a.is_zero())
                && page.state.uses.values().all(|u| u.leased.is_zero())
        })
    }
}

impl Page {
    pub(crate) fn available(&self, scope: BudgetScope) -> Amount {
        match scope {
            BudgetScope::Wallet => self.state.wallet.available(),
            BudgetScope::KeyLimit { .. }
            | BudgetScope::MemberLimit { .. }
            | BudgetScope::Quota { .. } => self.state.uses[&scope].available(),
        }
    }

    fn move_leased(&mut self, scope: BudgetScope, change: impl Fn(Amount) -> Amount) {
        let leased = match scope {
            BudgetScope::Wallet => &mut self.state.wallet.leased,
            BudgetScope::KeyLimit { .. }
            | BudgetScope::MemberLimit { .. }
            | BudgetScope::Quota { .. } => &mut self.state.uses.entry(scope).or_default().leased,
        };
        *leased = change(*leased);
    }

    fn book(&mut self, txn: &LedgerTxn) {
        for entry in txn.entries() {
            *self.totals.entry(entry.code).or_default() += i128::from(entry.amount.get());
        }
    }

    fn broken(&self) -> Option<String> {
        let wallet = &self.state.wallet;
        let posted = i128::from(wallet.posted.get());
        let credit = i128::from(wallet.credit_limit.get());
        let leased = i128::from(wallet.leased.get());
        let charged: i128 = self
            .calls
            .values()
            .map(|c| i128::from(c.charge.get()))
            .sum();
        let on_credit: i128 = self
            .calls
            .values()
            .map(|c| i128::from(c.on_credit.get()))
            .sum();
        let lots: i128 = self
            .state
            .lots
            .iter()
            .map(|l| i128::from(l.remaining.get()))
            .sum();
        let journal: i128 = self.totals.values().sum();
        let rules = [
            (
                posted + credit - leased >= 0,
                "more is leased than there is",
            ),
            (
                charged <= self.credited + credit,
                "more was charged than funds and credit",
            ),
            (
                posted == self.credited - charged,
                "the balance is not credits less charges",
            ),
            (journal == 0, "the journal does not balance"),
            (
                replayed_balance(&self.totals) == posted,
                "the journal replays to another balance",
            ),
            (
                lots - on_credit == posted,
                "lots less debts are not the balance",
            ),
            (
                self.leases_of(BudgetScope::Wallet) == leased,
                "wallet.leased is not the leases' sum",
            ),
        ];
        let first = rules.iter().find(|(holds, _)| !holds);
        first
            .map(|(_, what)| format!("{what}: {wallet:?}"))
            .or_else(|| self.broken_limit())
    }

    fn broken_limit(&self) -> Option<String> {
        self.state.uses.iter().find_map(|(scope, budget)| {
            let leased = i128::from(budget.leased.get());
            let taken = i128::from(budget.used.get()) + leased;
            let limit = i128::from(budget.limit.unwrap_or(Amount::MAX).get());
            (taken > limit || self.leases_of(*scope) != leased)
                .then(|| format!("{scope}: {budget:?}, leases {}", self.leases_of(*scope)))
        })
    }

    fn leases_of(&self, scope: BudgetScope) -> i128 {
        let rows = self.state.leases.iter().filter(|((_, s), _)| *s == scope);
        rows.map(|(_, amount)| i128::from(amount.get())).sum()
    }
}

/// A price under which a token of input costs a nano.
pub(crate) fn a_nano_a_token() -> Arc<PriceVersion> {
    let rate = Rate {
        meter: Meter::Input,
        tier: ServiceTier::Standard,
        above: None,
        price: "0.000000001".parse().unwrap(),
    };
    let (id, model) = (PriceVersionId::new(1), ModelName::new("m"));
    let from = OffsetDateTime::UNIX_EPOCH;
    Arc::new(PriceVersion::new(id, model, Currency::USD, from, vec![rate]).unwrap())
}
