//! The books in memory: lock, load, ask the rule, save.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use billing_core::adjustment::{AdjustedSoFar, Adjustment};
use billing_core::budget::{Amount, BudgetScope};
use billing_core::call::Settlement;
use billing_core::id::{AccountId, CallId, NodeId, TierScheduleId};
use billing_core::lease::{
    Claim, ClaimChange, HOUSE, HOUSE_CLAIM_FOR, LeaseAsk, LeaseGrant, LeaseReturn, LeasedBudget,
    Recall, grant, recalled, take_back,
};
use billing_core::ledger::{
    Entry, LedgerCode, LedgerHead, LedgerKind, LedgerTxn, replayed_balance,
};
use billing_core::money::{MoneyError, Nanos};
use billing_core::port::books::{
    AccountProof, Adjusted, Books, BooksError, Credited, Lapsed, Lapsing, OpenWindow, Settled,
};
use billing_core::port::directory::ChangeSubject;
use billing_core::settlement::{AccountState, Booking, BudgetUse, code_of, settle};
use billing_core::tier_schedule::TierSchedule;
use billing_core::wallet::{AccountStatus, Credit, Lot, LotKind, Wallet};
use time::OffsetDateTime;

use super::{Booked, Memory, Page, Recorded, State};

#[async_trait]
impl Books for Memory {
    async fn lease(&self, ask: LeaseAsk) -> Result<LeaseGrant, BooksError> {
        let mut state = self.state();
        let limit = state.limit(ask.account, ask.scope)?;
        if matches!(state.quota(ask.account, ask.scope), Ok((_, false))) {
            return Err(BooksError::NoSuchBudget);
        }
        let coming = state.carry_over(ask.account, ask.scope, self.clock.now())?;
        let page = state.page(ask.account)?;
        let available = match ask.scope {
            BudgetScope::Wallet => page.wallet.available(),
            BudgetScope::KeyLimit { .. }
            | BudgetScope::MemberLimit { .. }
            | BudgetScope::Quota { .. }
            | BudgetScope::CallLimit { .. }
            | BudgetScope::Tier { .. }
            | BudgetScope::TierCharge { .. }
            | BudgetScope::TierOverrun { .. } => page.in_use(ask.scope, limit).available(),
        };
        let budget = LeasedBudget {
            stopped: page.wallet.status != AccountStatus::Active,
            available,
            coming,
            leases: page.leases_of(ask.scope),
            claims: page.claims_of(ask.scope),
        };
        let granting = grant(&budget, &ask, self.clock.now());
        if let Some(lease) = granting.lease {
            page.add_lease(ask.scope, lease.granted);
            page.write_lease(ask.scope, lease);
        }
        match granting.claim {
            ClaimChange::Keep => {}
            ClaimChange::Put(claim) => {
                page.claims.insert((ask.node, ask.scope), claim);
            }
            ClaimChange::Drop => {
                page.claims.remove(&(ask.node, ask.scope));
            }
        }
        Ok(granting.answer)
    }

    async fn give_back(&self, back: LeaseReturn) -> Result<(), BooksError> {
        let mut state = self.state();
        let page = state.page(back.account)?;
        let leases = page.leases_of(back.scope);
        let own = leases.iter().find(|lease| lease.node == back.node);
        if let Some((lease, freed)) = own.and_then(|own| take_back(own, &back)) {
            page.write_lease(back.scope, lease);
            page.free(back.scope, freed);
        }
        Ok(())
    }

    async fn recalls(&self, node: NodeId) -> Result<Vec<Recall>, BooksError> {
        let now = self.clock.now();
        let state = self.state();
        let mut recalls = Vec::new();
        for (account, page) in &state.books {
            let scopes = page.leases.keys().filter(|(of, _)| *of == node);
            for (_, scope) in scopes {
                let leases = page.leases_of(*scope);
                let own = leases.iter().find(|lease| lease.node == node);
                let wanted = own.map(|own| recalled(own, &page.claims_of(*scope), now));
                recalls.push(Recall {
                    account: *account,
                    scope: *scope,
                    wanted: wanted.unwrap_or_default(),
                });
            }
        }
        recalls.retain(|recall| !recall.wanted.is_zero());
        Ok(recalls)
    }

    async fn settle(&self, settlement: Arc<Settlement>) -> Result<Settled, BooksError> {
        let mut state = self.state();
        let now = self.clock.now();
        let txn = state.txn_id(now);
        let account = settlement.account;
        let mut limits = BTreeMap::new();
        for scope in settlement.uses() {
            limits.insert(scope, state.limit(account, scope).unwrap_or(None));
        }
        state.page(account)?;
        let of_id = state.books.values();
        let mut of_id = of_id.filter_map(|page| page.calls.get(&settlement.call));
        if let Some(earlier) = of_id.next() {
            let other = &earlier.settlement;
            if (other.account, other.key) != (account, settlement.key)
                || other.facts.started_at != settlement.facts.started_at
            {
                let why = format!("{} stands for another call already", settlement.call);
                return Err(BooksError::Inconsistent(why));
            }
            return Ok(Settled {
                call: earlier.settled.clone(),
                replayed: true,
            });
        }
        let page = state.page(account)?;
        page.settle(
            Arc::unwrap_or_clone(settlement),
            &limits,
            Booking { txn, now },
        )
    }

    async fn add_credit(
        &self,
        account: AccountId,
        credit: Credit,
        now: OffsetDateTime,
    ) -> Result<Credited, BooksError> {
        let mut state = self.state();
        let txn = state.txn_id(now);
        let credited = state.page(account)?.add_credit(account, credit, txn, now)?;
        if !credited.replayed {
            state.changes.push(ChangeSubject::Account(account));
        }
        Ok(credited)
    }

    async fn adjust(
        &self,
        account: AccountId,
        adjustment: Adjustment,
        now: OffsetDateTime,
    ) -> Result<Adjusted, BooksError> {
        let mut state = self.state();
        let txn = state.txn_id(now);
        let booking = Booking { txn, now };
        let adjusted = state.page(account)?.adjust(account, adjustment, booking)?;
        state.changes.push(ChangeSubject::Account(account));
        Ok(adjusted)
    }

    async fn lapsing(
        &self,
        by: OffsetDateTime,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<Lapsing>, BooksError> {
        let mut lapsing = self.state().lapsing(by, after);
        lapsing.truncate(usize::try_from(limit).unwrap());
        Ok(lapsing)
    }

    async fn lapse(&self, account: AccountId, now: OffsetDateTime) -> Result<Lapsed, BooksError> {
        let mut state = self.state();
        let txn = state.txn_id(now);
        let page = state.page(account)?;
        let lapsed = page.lapse(account, Booking { txn, now })?;
        state.changes.push(ChangeSubject::Account(account));
        Ok(lapsed)
    }

    async fn lots(&self, account: AccountId, limit: u32) -> Result<Vec<Lot>, BooksError> {
        let mut held = self.state().page(account)?.held_lots();
        held.truncate(usize::try_from(limit).unwrap());
        Ok(held)
    }

    async fn adjustments(
        &self,
        account: AccountId,
        calls: &[CallId],
    ) -> Result<BTreeMap<CallId, AdjustedSoFar>, BooksError> {
        let mut state = self.state();
        let page = state.page(account)?;
        let sum = |call: &CallId| Some((*call, *page.adjusted.get(call)?));
        Ok(calls.iter().filter_map(sum).collect())
    }

    async fn open_windows(
        &self,
        schedule: TierScheduleId,
        before: i64,
        limit: u32,
    ) -> Result<Vec<OpenWindow>, BooksError> {
        let state = self.state();
        let pages = state.books.iter();
        let open = pages.flat_map(|(account, page)| page.open_windows(*account, schedule));
        let open = open.filter(|window| window.window_start < before);
        Ok(open.take(usize::try_from(limit).unwrap()).collect())
    }

    async fn last_closed(
        &self,
        account: AccountId,
        schedule: TierScheduleId,
    ) -> Result<Option<i64>, BooksError> {
        Ok(self.state().page(account)?.last_closed(schedule))
    }

    async fn note_windows(
        &self,
        account: AccountId,
        schedule: &TierSchedule,
        window_starts: &[i64],
    ) -> Result<(), BooksError> {
        self.state()
            .page(account)?
            .note_windows(schedule, window_starts);
        Ok(())
    }

    async fn close_window(
        &self,
        window: &OpenWindow,
        adjustment: Option<Adjustment>,
        now: OffsetDateTime,
    ) -> Result<Option<Adjusted>, BooksError> {
        let mut state = self.state();
        let txn = state.txn_id(now);
        let booking = Booking { txn, now };
        state
            .page(window.account)?
            .close_window(window, adjustment, booking)
    }

    async fn wallet(&self, account: AccountId) -> Result<Wallet, BooksError> {
        Ok(self.state().page(account)?.wallet)
    }

    async fn verify(
        &self,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<AccountProof>, BooksError> {
        let state = self.state();
        let pages = state.books.iter().filter(|(id, _)| Some(**id) > after);
        let proofs = pages.map(|(account, page)| page.prove(*account));
        Ok(proofs.take(usize::try_from(limit).unwrap()).collect())
    }
}

impl State {
    pub(super) fn page(&mut self, account: AccountId) -> Result<&mut Page, BooksError> {
        self.books.get_mut(&account).ok_or(BooksError::NoSuchBudget)
    }

    /// Moves what may come on top of a window into it, and recalls what may come later: how much.
    fn carry_over(
        &mut self,
        account: AccountId,
        scope: BudgetScope,
        now: OffsetDateTime,
    ) -> Result<Amount, BooksError> {
        let subscribed = self.subscribed(account);
        let Some(carry) = subscribed.and_then(|subscribed| subscribed.carry(scope)) else {
            return Ok(Amount::ZERO);
        };
        let limit = self.limit(account, carry.from)?;
        let page = self.page(account)?;
        let before = page.in_use(carry.from, limit);
        let (came, _) = page.carried.entry(scope).or_default();
        let more = carry.more(*came, before.available());
        *came = came.plus(more);
        let coming = carry.coming(*came, before.leased);
        let (_, went) = page.carried.entry(carry.from).or_default();
        *went = went.plus(more);
        if !coming.is_zero() {
            let claim = Claim {
                node: HOUSE,
                since: now,
                wanted: coming,
                expires_at: now + HOUSE_CLAIM_FOR,
            };
            page.claims.insert((HOUSE, carry.from), claim);
        } else if !more.is_zero() {
            page.claims.remove(&(HOUSE, carry.from));
        }
        Ok(coming)
    }

    fn limit(&self, account: AccountId, scope: BudgetScope) -> Result<Option<Amount>, BooksError> {
        match scope {
            BudgetScope::Wallet => Ok(None),
            BudgetScope::KeyLimit { key, .. } => self
                .keys
                .get(&key)
                .filter(|(key, _)| key.account == account)
                .map(|(key, _)| key.limit.map(|l| l.amount))
                .ok_or(BooksError::NoSuchBudget),
            BudgetScope::Quota { .. } | BudgetScope::CallLimit { .. } => {
                self.quota(account, scope).map(|(limit, _)| limit)
            }
            BudgetScope::MemberLimit { .. }
            | BudgetScope::Tier { .. }
            | BudgetScope::TierCharge { .. }
            | BudgetScope::TierOverrun { .. } => Err(BooksError::NoSuchBudget),
        }
    }
}

impl Page {
    pub(super) fn new(wallet: Wallet) -> Self {
        Self {
            wallet,
            lots: Vec::new(),
            uses: BTreeMap::new(),
            carried: BTreeMap::new(),
            leases: BTreeMap::new(),
            heard: BTreeMap::new(),
            claims: BTreeMap::new(),
            calls: BTreeMap::new(),
            journal: Vec::new(),
            keys: BTreeMap::new(),
            adjusted: BTreeMap::new(),
            adjusted_windows: BTreeMap::new(),
            parts: Vec::new(),
            closed: BTreeMap::new(),
        }
    }

    fn in_use(&self, scope: BudgetScope, limit: Option<Amount>) -> BudgetUse {
        let known = self.uses.get(&scope).copied().unwrap_or_default();
        let (came, went) = self.carried.get(&scope).copied().unwrap_or_default();
        let limit = limit.map(|limit| limit.plus(came).less(went));
        BudgetUse { limit, ..known }
    }

    fn settle(
        &mut self,
        settlement: Settlement,
        limits: &BTreeMap<BudgetScope, Option<Amount>>,
        booking: Booking,
    ) -> Result<Settled, BooksError> {
        let uses = limits.iter().filter(|(s, _)| **s != BudgetScope::Wallet);
        let state = AccountState {
            account: settlement.account,
            wallet: self.wallet,
            lots: self.lots.clone(),
            uses: uses.map(|(s, l)| (*s, self.in_use(*s, *l))).collect(),
            leases: self.leases.clone(),
        };
        let changes = settle(state, std::slice::from_ref(&settlement), booking)
            .map_err(|e| BooksError::Inconsistent(e.to_string()))?;
        self.wallet = changes.state.wallet;
        self.lots = changes.state.lots;
        self.leases = changes.state.leases;
        self.uses.extend(changes.state.uses);
        let txn = changes.txn.as_ref().map(LedgerTxn::id);
        self.journal.extend(changes.txn.map(|txn| Booked {
            txn,
            note: String::new(),
        }));
        let settled = changes.calls.into_iter().next().unwrap();
        let recorded = Recorded {
            settlement,
            settled: settled.clone(),
            txn,
            settled_at: booking.now,
        };
        self.calls.insert(settled.call, recorded);
        Ok(Settled {
            call: settled,
            replayed: false,
        })
    }

    pub(super) fn add_credit(
        &mut self,
        account: AccountId,
        credit: Credit,
        id: billing_core::id::LedgerTxnId,
        now: OffsetDateTime,
    ) -> Result<Credited, BooksError> {
        let kind = credit.kind.name();
        let end = credit.expires_at;
        let fingerprint = format!("{kind} {} {} {end:?}", credit.amount, credit.currency);
        if let Some((before, txn, balance)) = self.keys.get(&credit.key) {
            if *before != fingerprint {
                return Err(BooksError::KeyReused);
            }
            return Ok(Credited {
                txn: *txn,
                balance: *balance,
                replayed: true,
            });
        }
        let balance = credit.check(&self.wallet)?;
        let txn = journal(account, &credit, id, now)?;
        self.wallet.posted = balance;
        self.lots.push(Lot {
            id: credit.lot,
            kind: credit.kind,
            priority: credit.priority,
            effective_at: now,
            expires_at: credit.expires_at,
            created_at: now,
            granted: Amount::of(credit.amount),
            remaining: Amount::of(credit.amount),
        });
        let note = credit.note;
        self.journal.push(Booked { txn, note });
        self.keys.insert(credit.key, (fingerprint, id, balance));
        Ok(Credited {
            txn: id,
            balance,
            replayed: false,
        })
    }

    pub(super) fn prove(&self, account: AccountId) -> AccountProof {
        let mut totals = BTreeMap::<LedgerCode, i128>::new();
        for entry in self.journal.iter().flat_map(|b| b.txn.entries()) {
            *totals.entry(entry.code).or_default() += i128::from(entry.amount.get());
        }
        let sum = |amounts: Vec<Amount>| amounts.into_iter().fold(Amount::ZERO, Amount::plus);
        let of_wallet = self
            .leases
            .iter()
            .filter(|((_, s), _)| *s == BudgetScope::Wallet);
        let leased = sum(of_wallet.map(|(_, a)| *a).collect());
        let charged = Nanos::total(self.calls.values().map(|c| c.settled.charge));
        // What was given back is in a lot; what was charged afterwards is not in a call.
        let entries = self.journal.iter().flat_map(|b| b.txn.entries());
        let later = entries.filter(|e| e.code == LedgerCode::RevenueAdjustment);
        let later = later
            .map(|e| -i128::from(e.amount.get()))
            .filter(|a| *a > 0);
        // What pays a fee is taken from lots.
        let fees = self.journal.iter().map(|b| &b.txn);
        let fees = fees.filter(|txn| txn.kind() == LedgerKind::Fee);
        let fees = fees.flat_map(LedgerTxn::entries);
        let fees = fees.filter(|e| e.code == LedgerCode::WalletPaid);
        let fees = fees.map(|e| i128::from(e.amount.get()));
        let charged = charged + later.sum::<i128>() + fees.sum::<i128>() + self.lapsed();
        let credited = sum(self.lots.iter().map(|l| l.granted).collect());
        let posted = i128::from(self.wallet.posted.get());
        let mut broken = Vec::new();
        let mut must = |holds: bool, what: &str| {
            if !holds {
                broken.push(what.to_owned());
            }
        };
        must(
            replayed_balance(&totals) == posted,
            "the journal gives another balance",
        );
        must(leased == self.wallet.leased, "the leases give another sum");
        must(
            i128::from(credited.get()) - charged == posted,
            "credit less charges is not the balance",
        );
        AccountProof {
            account,
            calls: u64::try_from(self.calls.len()).unwrap(),
            transactions: u64::try_from(self.journal.len()).unwrap(),
            broken,
        }
    }
}

fn journal(
    account: AccountId,
    credit: &Credit,
    id: billing_core::id::LedgerTxnId,
    now: OffsetDateTime,
) -> Result<LedgerTxn, MoneyError> {
    let (kind, debit) = match credit.kind {
        LotKind::Paid => (LedgerKind::TopUp, LedgerCode::PaymentClearing),
        LotKind::Promo => (LedgerKind::Promo, LedgerCode::PromoExpense),
    };
    let head = LedgerHead {
        id,
        account,
        currency: credit.currency,
        kind,
        key: credit.key.clone(),
        booked_at: now,
    };
    let entries = [
        Entry {
            code: debit,
            amount: credit.amount,
            lot: None,
        },
        Entry {
            code: code_of(credit.kind),
            amount: credit.amount.negated()?,
            lot: Some(credit.lot),
        },
    ];
    Ok(LedgerTxn::new(head, entries).unwrap())
}
