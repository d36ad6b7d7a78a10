//! Writes what settlements changed: one statement a table, over all accounts of the batch.

use std::collections::BTreeMap;

use super::load::Loaded;
use crate::call_row;
use crate::instant::{micros, stored};
use crate::rows::{Cell, Form, Rows};
use billing_core::call::{Basis, Settlement};
use billing_core::id::{AccountId, LedgerTxnId, LotId};
use billing_core::ledger::{Entry, LedgerCode, LedgerKind, LedgerTxn};
use billing_core::meter::{Meter, Usage};
use billing_core::settlement::{AccountState, SettledCall};

pub(crate) mod plan_rollup;
mod statements;

use self::plan_rollup::PlanRollup;
use self::statements::{ATTEMPTS, CHARGES, KEYS, LEASES, LOTS, ROLLUP, UNLISTED, USES, WALLETS};
pub(in crate::books) use self::statements::{ENTRIES, TXNS};

/// The width of a bucket of the roll-ups, in microseconds: a quarter of an hour.
pub(crate) const BUCKET_US: i64 = 15 * 60 * 1_000_000;

/// What a batch writes, collected account by account.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    settled_at: i64,
    /// Whether calls are put into their accounts' lists later.
    is_queued: bool,
    calls: Rows,
    attempts: Rows,
    keys: Rows,
    unlisted: Rows,
    wallets: Rows,
    lots: Rows,
    uses: Rows,
    leases: Rows,
    charges: Rows,
    txns: Rows,
    entries: Rows,
    rollup: BTreeMap<(AccountId, i64, i64, &'a str), Bucket>,
    rollup_rows: Rows,
    plans: PlanRollup,
}

#[derive(Debug, Default)]
struct Bucket {
    calls: i64,
    void_calls: i64,
    prompt_tokens: i64,
    cache_read_tokens: i64,
    answer_tokens: i64,
    charge: i64,
    overrun: i64,
}

impl<'a> Page<'a> {
    pub(crate) fn new(form: Form, settled_at: i64) -> Self {
        Self {
            settled_at,
            is_queued: form != Form::Arrays,
            calls: call_row::INSERT.rows(form),
            attempts: ATTEMPTS.rows(form),
            keys: KEYS.rows(form),
            unlisted: UNLISTED.rows(form),
            wallets: WALLETS.rows(form),
            lots: LOTS.rows(form),
            uses: USES.rows(form),
            leases: LEASES.rows(form),
            charges: CHARGES.rows(form),
            txns: TXNS.rows(form),
            entries: ENTRIES.rows(form),
            rollup: BTreeMap::new(),
            rollup_rows: ROLLUP.rows(form),
            plans: PlanRollup::new(form),
        }
    }

    /// A call and what it was charged.
    pub(crate) fn call(
        &mut self,
        settlement: &'a Settlement,
        settled: &SettledCall,
        txn: Option<LedgerTxnId>,
    ) {
        call_row::push(&mut self.calls, settlement, settled, txn, self.settled_at);
        call_row::push_attempts(&mut self.attempts, settlement);
        let (account, call) = (settlement.account.get(), settlement.call.get());
        if let Some(key) = settlement.facts.idempotency_key.as_deref() {
            self.keys.push([account.into(), key.into(), call.into()]);
        }
        if self.is_queued {
            self.unlisted.push([account.into(), call.into()]);
        }
        self.count(settlement, settled);
    }

    fn count(&mut self, settlement: &'a Settlement, settled: &SettledCall) {
        let started = micros(settlement.facts.started_at);
        let bucket = started.saturating_sub(started.rem_euclid(BUCKET_US));
        self.plans.count(settlement, settled, bucket);
        let model = settlement.model.as_str();
        let key = (settlement.account, bucket, settlement.key.get(), model);
        let sum = self.rollup.entry(key).or_default();
        sum.calls = sum.calls.saturating_add(1);
        sum.charge = sum.charge.saturating_add(settled.charge.get());
        sum.overrun = sum.overrun.saturating_add(settled.overrun.get());
        match &settlement.basis {
            Basis::Void => sum.void_calls = sum.void_calls.saturating_add(1),
            Basis::Delivered { usage, .. } => {
                let counted = Counted::of(usage, settled.quarantined);
                sum.prompt_tokens = sum.prompt_tokens.saturating_add(counted.prompt);
                sum.cache_read_tokens = sum.cache_read_tokens.saturating_add(counted.cached);
                sum.answer_tokens = sum.answer_tokens.saturating_add(counted.answer);
            }
        }
    }

    /// The books of an account after it, beside what they were. Answers with their version then.
    pub(crate) fn books(&mut self, loaded: &Loaded, after: &AccountState) -> i64 {
        let before = &loaded.state;
        let account = after.account.get();
        let mut version = loaded.version;
        if loaded.is_guess || before.wallet != after.wallet {
            self.wallets.push([
                account.into(),
                after.wallet.posted.get().into(),
                stored(after.wallet.leased).into(),
                version.into(),
                before.wallet.posted.get().into(),
                stored(before.wallet.leased).into(),
            ]);
            version = version.saturating_add(1);
        }
        // Both are in the order in which they are drawn.
        for (was, lot) in before.lots.iter().zip(&after.lots) {
            if (was.id, was.remaining) != (lot.id, lot.remaining) {
                let left = stored(lot.remaining);
                self.lots
                    .push([account.into(), lot.id.get().into(), left.into()]);
            }
        }
        for (scope, budget) in &after.uses {
            if before.uses.get(scope) != Some(budget) {
                let row = scope.row();
                self.uses.push([
                    account.into(),
                    i64::from(row.kind).into(),
                    row.subject.into(),
                    i64::from(row.unit).into(),
                    row.window_start.into(),
                    stored(budget.used).into(),
                    stored(budget.leased).into(),
                ]);
            }
        }
        for ((node, scope), amount) in &after.leases {
            if before.leases.get(&(*node, *scope)) != Some(amount) {
                let row = scope.row();
                self.leases.push([
                    account.into(),
                    node.get().into(),
                    i64::from(row.kind).into(),
                    row.subject.into(),
                    i64::from(row.unit).into(),
                    row.window_start.into(),
                    stored(*amount).into(),
                ]);
            }
        }
        version
    }

    /// A transaction of the journal, by which the balance came to be.
    pub(crate) fn txn(&mut self, txn: &LedgerTxn, balance_after: i64) {
        let (account, id) = (txn.account().get(), txn.id().get());
        if let Some(leg) = against_revenue(txn) {
            self.charges.push([
                account.into(),
                id.into(),
                micros(txn.booked_at()).into(),
                balance_after.into(),
                leg.code.name().into(),
                leg.amount.get().into(),
                leg.lot.map(LotId::get).into(),
            ]);
            return;
        }
        self.txns.push([
            account.into(),
            id.into(),
            txn.kind().name().into(),
            Cell::Null,
            Cell::Null,
            micros(txn.booked_at()).into(),
            balance_after.into(),
            "".into(),
        ]);
        push_entries(&mut self.entries, txn);
    }

    /// Everything that is to be written, each table's rows together.
    pub(crate) fn into_rows(mut self) -> Vec<Rows> {
        for ((account, bucket, key, model), sum) in &self.rollup {
            self.rollup_rows.push([
                account.get().into(),
                (*bucket).into(),
                (*key).into(),
                (*model).into(),
                sum.calls.into(),
                sum.void_calls.into(),
                sum.prompt_tokens.into(),
                sum.cache_read_tokens.into(),
                sum.answer_tokens.into(),
                sum.charge.into(),
                sum.overrun.into(),
            ]);
        }
        vec![
            self.wallets,
            self.lots,
            self.uses,
            self.leases,
            self.charges,
            self.txns,
            self.entries,
            self.calls,
            self.attempts,
            self.keys,
            self.unlisted,
            self.rollup_rows,
            self.plans.into_rows(),
        ]
    }
}

/// The other leg of a settlement that has two.
fn against_revenue(txn: &LedgerTxn) -> Option<&Entry> {
    let [leg, revenue] = txn.entries() else {
        return None;
    };
    let is_one = txn.kind() == LedgerKind::Settlement
        && revenue.code == LedgerCode::RevenueUsage
        && revenue.lot.is_none();
    is_one.then_some(leg)
}

pub(crate) fn push_entries(rows: &mut Rows, txn: &LedgerTxn) {
    for (leg, entry) in txn.entries().iter().enumerate() {
        rows.push([
            txn.account().get().into(),
            txn.id().get().into(),
            i64::try_from(leg).unwrap_or(i64::MAX).into(),
            entry.code.name().into(),
            entry.amount.get().into(),
            entry.lot.map(LotId::get).into(),
        ]);
    }
}

/// The tokens of one call as the roll-ups count them: none where the report is not believed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    pub(crate) prompt: i64,
    pub(crate) cached: i64,
    pub(crate) answer: i64,
}

impl Counted {
    fn add(&mut self, more: Self) {
        self.prompt = self.prompt.saturating_add(more.prompt);
        self.cached = self.cached.saturating_add(more.cached);
        self.answer = self.answer.saturating_add(more.answer);
    }

    pub(crate) fn of(usage: &Usage, quarantined: bool) -> Self {
        if quarantined {
            return Self::default();
        }
        let cached = usage
            .get(Meter::CacheRead)
            .saturating_add(usage.get(Meter::AudioCacheRead))
            .saturating_add(usage.get(Meter::ImageCacheRead));
        let fit = |quantity| i64::try_from(quantity).unwrap_or(i64::MAX);
        Self {
            prompt: fit(usage.prompt_tokens()),
            cached: fit(cached),
            answer: fit(usage.answer_tokens()),
        }
    }
}
