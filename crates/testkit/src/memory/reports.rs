//! The read models in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use billing_core::budget::{Amount, BudgetScope};
use billing_core::call::Basis;
use billing_core::id::{AccountId, CallId, KeyId, LedgerTxnId, TierScheduleId};
use billing_core::meter::{Meter, Usage};
use billing_core::money::Nanos;
use billing_core::port::reports::{
    AdjustmentLine, CallDetail, CallFilter, CreditTotals, LedgerLine, ReportError, ReportedDay,
    Reports, UsageGroup, UsageLine,
};
use billing_core::quota::carry::Counted;
use time::OffsetDateTime;

use super::{Memory, Recorded};

mod groups;

type Result<T> = std::result::Result<T, ReportError>;

fn size(limit: u32) -> usize {
    usize::try_from(limit).unwrap()
}

#[async_trait]
impl Reports for Memory {
    async fn call(&self, account: AccountId, call: CallId) -> Result<Option<CallDetail>> {
        Ok(self.recorded(account).get(&call).map(detail))
    }

    async fn call_by_idempotency_key(
        &self,
        account: AccountId,
        key: &str,
    ) -> Result<Option<CallId>> {
        let calls = self.recorded(account).into_values();
        let mut calls = calls.map(|c| c.settlement);
        let found = calls.find(|s| s.facts.idempotency_key.as_deref() == Some(key));
        Ok(found.map(|s| s.call))
    }

    async fn calls(
        &self,
        account: AccountId,
        filter: CallFilter,
        before: Option<CallId>,
        limit: u32,
    ) -> Result<Vec<CallDetail>> {
        let is_wanted = |call: &CallDetail| {
            before.is_none_or(|b| call.id < b)
                && filter.key.is_none_or(|k| call.key == k)
                && filter.model.as_ref().is_none_or(|m| call.model == *m)
                && filter.from.is_none_or(|at| call.started_at >= at)
                && filter.to.is_none_or(|at| call.started_at < at)
        };
        let calls = self.recorded(account);
        let calls = calls.values().rev().map(detail).filter(is_wanted);
        Ok(calls.take(size(limit)).collect())
    }

    async fn call_adjustments(
        &self,
        account: AccountId,
        calls: &[CallId],
    ) -> Result<BTreeMap<CallId, Vec<AdjustmentLine>>> {
        let state = self.state();
        let page = state.books.get(&account);
        let of_page = page.into_iter().flat_map(|page| {
            let of_call = |call: &CallId| (*call, page.adjustments_of(*call));
            calls.iter().map(of_call)
        });
        Ok(of_page.filter(|(_, lines)| !lines.is_empty()).collect())
    }

    async fn window_adjustments(
        &self,
        account: AccountId,
        schedule: TierScheduleId,
        window_start: i64,
    ) -> Result<Vec<AdjustmentLine>> {
        let state = self.state();
        let page = state.books.get(&account);
        let closes = page.map(|page| page.closes_of(schedule, window_start));
        Ok(closes.unwrap_or_default())
    }

    async fn usage(
        &self,
        account: AccountId,
        from: OffsetDateTime,
        to: OffsetDateTime,
        group: UsageGroup,
    ) -> Result<Vec<UsageLine>> {
        let mut lines = BTreeMap::new();
        let calls = self.recorded(account);
        let state = self.state();
        for call in calls.values().map(detail) {
            let start = quarter(call.started_at);
            if start >= quarter(from) && start < to {
                groups::count(&mut lines, &state, group, &call);
            }
        }
        let mut lines: Vec<UsageLine> = lines.into_values().collect();
        if lines.is_empty() && group == UsageGroup::Total {
            lines.push(UsageLine::default());
        }
        Ok(lines)
    }

    async fn usage_by_day(
        &self,
        account: AccountId,
        days: &[ReportedDay],
    ) -> Result<Vec<UsageLine>> {
        let mut lines = BTreeMap::new();
        for call in self.recorded(account).values().map(detail) {
            let start = quarter(call.started_at);
            let mut days = days.iter();
            let Some(day) = days.find(|day| (quarter(day.start)..day.end).contains(&start)) else {
                continue;
            };
            let line: &mut UsageLine = lines.entry(day.date).or_default();
            line.group = day.date.to_string();
            add(line, &call);
        }
        Ok(lines.into_values().collect())
    }

    async fn key_spend(
        &self,
        account: AccountId,
        key: KeyId,
        since: OffsetDateTime,
    ) -> Result<Nanos> {
        let calls = self.recorded(account);
        let calls = calls.values().filter(|c| c.settlement.key == key);
        let calls = calls.filter(|c| c.settlement.facts.started_at >= quarter(since));
        let sum = Nanos::total(calls.map(|c| c.settled.charge));
        Ok(Nanos::new(i64::try_from(sum).unwrap()))
    }

    async fn counted(&self, account: AccountId, scopes: &[BudgetScope]) -> Result<Vec<Counted>> {
        let state = self.state();
        let Some(page) = state.books.get(&account) else {
            return Ok(vec![Counted::default(); scopes.len()]);
        };
        let counted = scopes.iter().map(|scope| {
            let (came, went) = page.carried.get(scope).copied().unwrap_or_default();
            let used = page.uses.get(scope).map_or(Amount::ZERO, |of| of.used);
            Counted { used, came, went }
        });
        Ok(counted.collect())
    }

    async fn credits(&self, account: AccountId) -> Result<CreditTotals> {
        let state = self.state();
        let Some(page) = state.books.get(&account) else {
            return Ok(CreditTotals::default());
        };
        let sum = |nanos: i128| Nanos::new(i64::try_from(nanos).unwrap());
        let credited = page.lots.iter().map(|l| i128::from(l.granted.get())).sum();
        let charged = Nanos::total(page.calls.values().map(|c| c.settled.charge));
        Ok(CreditTotals {
            credited: sum(credited),
            charged: sum(charged),
            balance: page.wallet.posted,
            credit_limit: page.wallet.credit_limit,
        })
    }

    async fn ledger(
        &self,
        account: AccountId,
        before: Option<LedgerTxnId>,
        limit: u32,
    ) -> Result<Vec<LedgerLine>> {
        let state = self.state();
        let page = state.books.get(&account);
        let mut booked: Vec<_> = page.iter().flat_map(|p| &p.journal).collect();
        booked.sort_by_key(|b| std::cmp::Reverse(b.txn.id()));
        let booked = booked.into_iter();
        let booked = booked.filter(|b| before.is_none_or(|before| b.txn.id() < before));
        let lines = booked.take(size(limit)).flat_map(|booked| {
            booked.txn.entries().iter().map(|entry| LedgerLine {
                txn: booked.txn.id(),
                kind: booked.txn.kind(),
                booked_at: booked.txn.booked_at(),
                code: entry.code,
                amount: entry.amount,
                lot: entry.lot,
                note: booked.note.clone(),
            })
        });
        Ok(lines.collect())
    }
}

impl Memory {
    fn recorded(&self, account: AccountId) -> BTreeMap<CallId, Recorded> {
        let state = self.state();
        let page = state.books.get(&account);
        page.map(|p| p.calls.clone()).unwrap_or_default()
    }
}

fn quarter(at: OffsetDateTime) -> OffsetDateTime {
    let seconds = at.unix_timestamp();
    OffsetDateTime::from_unix_timestamp(seconds - seconds.rem_euclid(900)).unwrap()
}

fn add(line: &mut UsageLine, call: &CallDetail) {
    line.calls += 1;
    line.void_calls += u64::from(call.source.is_none());
    line.charge = line.charge.plus(call.charge).unwrap();
    if call.quarantined {
        return;
    }
    let of_caches = [
        Meter::CacheRead,
        Meter::AudioCacheRead,
        Meter::ImageCacheRead,
    ];
    count(&mut line.prompt_tokens, call.usage.prompt_tokens());
    for meter in of_caches {
        count(&mut line.cache_read_tokens, call.usage.get(meter));
    }
    count(&mut line.answer_tokens, call.usage.answer_tokens());
}

/// To the largest number that a database keeps.
fn count(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more).min(i64::MAX.unsigned_abs());
}

fn detail(recorded: &Recorded) -> CallDetail {
    let Recorded {
        settlement,
        settled,
        txn,
        settled_at,
    } = recorded;
    let facts = settlement.facts.clone();
    let (usage, source) = match settlement.basis {
        Basis::Delivered { usage, source } => (usage, Some(source)),
        Basis::Void => (Usage::NONE, None),
    };
    let of_wallet = |(scope, _): &&(BudgetScope, Amount)| *scope == BudgetScope::Wallet;
    let held = settlement.held.iter().find(of_wallet);
    let due = !settled.charge.is_zero() || !settled.overrun.is_zero();
    let last = facts.attempts.last();
    let answered = last.filter(|a| source.is_some() || a.outcome == "ok");
    CallDetail {
        id: settlement.call,
        account: settlement.account,
        key: settlement.key,
        endpoint: facts.endpoint,
        model: settlement.model.to_string(),
        channel: answered.map(|a| a.channel.clone()).unwrap_or_default(),
        outcome: facts.outcome,
        streamed: facts.streamed,
        status: facts.status,
        usage,
        source,
        tier: settlement.tier,
        price_version: settlement.terms.price_version(),
        rating: settlement.rating(settled.position),
        plan: settlement.terms.plan,
        cost: settled.cost,
        held: held.map_or(Nanos::ZERO, |(_, amount)| amount.money()),
        charge: settled.charge,
        overrun: settled.overrun,
        covered: settled.covered,
        used: settled.used.clone(),
        quarantined: settled.quarantined,
        on_credit: settled.on_credit,
        draws: settled.draws.clone(),
        balance_after: settled.balance_after,
        ledger_txn: txn.filter(|_| due),
        started_at: facts.started_at,
        settled_at: *settled_at,
        first_byte_ms: facts.first_byte_ms,
        latency_ms: facts.latency_ms,
        upstream_id: facts.upstream_id,
        finish_reason: facts.finish_reason,
        attempts: facts.attempts,
    }
}
