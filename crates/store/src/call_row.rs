//! The row of a call: how a settlement becomes one, and how it reads back.

use std::collections::HashMap;

use billing_core::budget::{Amount, BudgetRow, BudgetScope};
use billing_core::call::{Attempt, Basis, Settlement, UsageSource};
use billing_core::id::{AccountId, CallId, KeyId, LedgerTxnId, PlanVersionId, PriceVersionId};
use billing_core::meter::Usage;
use billing_core::money::Nanos;
use billing_core::port::reports::CallDetail;
use billing_core::price::ServiceTier;
use billing_core::settlement::SettledCall;
use billing_core::terms::RatingRecord;
use sea_orm::{ConnectionTrait, QueryResult};

use crate::db;
use crate::error::StoreError;
use crate::instant::{amount, get, instant, micros, stored};
use crate::rows::Kind::{Bool, Int, OptInt, OptText, Text};
use crate::rows::{BatchSql, Cell, Rows, Shape};

const TABLE: &str = "call";

const SHAPE: Shape = &[
    ("id", Int),
    ("account_id", Int),
    ("key_id", Int),
    ("endpoint", Text),
    ("model", Text),
    ("outcome", Text),
    ("streamed", Bool),
    ("status", Int),
    ("usage", Text),
    ("usage_source", OptText),
    ("tier", Text),
    ("price_version_id", Int),
    ("held", Int),
    ("charge", Int),
    ("overrun", Int),
    ("quarantined", Bool),
    ("on_credit", Int),
    ("draws", OptText),
    ("uses", OptText),
    ("balance_after", Int),
    ("ledger_txn_id", OptInt),
    ("started_at", Int),
    ("settled_at", Int),
    ("first_byte_ms", OptInt),
    ("latency_ms", Int),
    ("upstream_id", OptText),
    ("finish_reason", OptText),
    ("attempts", Int),
    ("channel", OptText),
    ("attempt_status", OptInt),
    ("attempt_outcome", OptText),
    ("attempt_ms", OptInt),
    ("cost", OptInt),
    ("rating", OptText),
    ("covered", OptInt),
    ("plan_version_id", OptInt),
];

pub(crate) static INSERT: BatchSql = BatchSql::new(
    SHAPE,
    "INSERT{fail} INTO call ({columns}) SELECT {columns} FROM {rows} v",
);

static EARLIER_ATTEMPTS: BatchSql = BatchSql::new(
    &[("call_id", Int), ("account_id", Int)],
    "SELECT a.call_id, a.channel, a.status, a.outcome, a.latency_ms \
     FROM {rows} v CROSS JOIN call_attempt a \
     WHERE a.call_id = v.call_id AND a.account_id = v.account_id \
     ORDER BY a.call_id, a.seq",
);

/// Puts a settled call into a batch for [`INSERT`].
pub(crate) fn push(
    rows: &mut Rows,
    settlement: &Settlement,
    settled: &SettledCall,
    txn: Option<LedgerTxnId>,
    settled_at: i64,
) {
    let facts = &settlement.facts;
    let (usage, source) = match &settlement.basis {
        Basis::Delivered { usage, source } => (usage_text(usage), Some(source.name())),
        Basis::Void => ("{}".to_owned(), None),
    };
    let last = facts.attempts.last();
    let draws = draws_text(settled);
    let uses = uses_text(&settled.used);
    let rating = rating_text(&settlement.rating(settled.position));
    let due = !settled.charge.is_zero() || !settled.overrun.is_zero();
    rows.push([
        settled.call.get().into(),
        settlement.account.get().into(),
        settlement.key.get().into(),
        facts.endpoint.as_str().into(),
        settlement.model.as_str().into(),
        facts.outcome.as_str().into(),
        facts.streamed.into(),
        i64::from(facts.status).into(),
        usage.as_str().into(),
        source.into(),
        settlement.tier.name().into(),
        settlement.terms.price_version().get().into(),
        stored(held(settlement)).into(),
        settled.charge.get().into(),
        settled.overrun.get().into(),
        settled.quarantined.into(),
        settled.on_credit.get().into(),
        draws.as_deref().into(),
        uses.as_deref().into(),
        settled.balance_after.get().into(),
        txn.filter(|_| due).map(LedgerTxnId::get).into(),
        micros(facts.started_at).into(),
        settled_at.into(),
        facts.first_byte_ms.map(i64::from).into(),
        i64::from(facts.latency_ms).into(),
        facts.upstream_id.as_deref().into(),
        facts.finish_reason.as_deref().into(),
        count(facts.attempts.len()).into(),
        last.map(|a| a.channel.as_str()).into(),
        last.and_then(|a| a.status).map(i64::from).into(),
        last.map(|a| a.outcome.as_str()).into(),
        last.map(|a| i64::from(a.latency_ms)).into(),
        settled.cost.map(Nanos::get).into(),
        rating.as_deref().into(),
        settled.covered.map(Nanos::get).into(),
        settlement.terms.plan.map(PlanVersionId::get).into(),
    ]);
}

fn held(settlement: &Settlement) -> Amount {
    let wallet = settlement
        .held
        .iter()
        .find(|(scope, _)| *scope == BudgetScope::Wallet);
    wallet.map_or(Amount::ZERO, |(_, held)| *held)
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn usage_text(usage: &Usage) -> String {
    serde_json::to_string(usage).unwrap_or_else(|_| "{}".to_owned())
}

fn draws_text(settled: &SettledCall) -> Option<String> {
    if settled.draws.is_empty() {
        return None;
    }
    serde_json::to_string(&settled.draws).ok()
}

/// What a call is rated with beside its price, where there is any of it.
fn rating_text(rating: &RatingRecord) -> Option<String> {
    if rating.is_empty() {
        return None;
    }
    serde_json::to_string(rating).ok()
}

/// What a call drew from each budget, where that is not the wallet alone.
fn uses_text(used: &[(BudgetScope, Amount)]) -> Option<String> {
    if let [(BudgetScope::Wallet, _)] = used {
        return None;
    }
    let rows: Vec<[i64; 5]> = used
        .iter()
        .map(|(scope, taken)| {
            let row = scope.row();
            let (kind, unit) = (i64::from(row.kind), i64::from(row.unit));
            [kind, row.subject, unit, row.window_start, stored(*taken)]
        })
        .collect();
    serde_json::to_string(&rows).ok()
}

/// What a call drew from each budget.
pub(crate) fn read_uses(
    text: Option<&str>,
    charge: Nanos,
) -> Result<Vec<(BudgetScope, Amount)>, StoreError> {
    let Some(text) = text else {
        return Ok(vec![(BudgetScope::Wallet, Amount::of(charge))]);
    };
    let rows: Vec<[i64; 5]> =
        serde_json::from_str(text).map_err(|e| StoreError::unreadable(TABLE, e.to_string()))?;
    rows.into_iter()
        .map(|[kind, subject, unit, window_start, taken]| {
            Ok((scope(kind, subject, unit, window_start)?, amount(taken)))
        })
        .collect()
}

/// The scope that stored columns mean.
pub(crate) fn scope(
    kind: i64,
    subject: i64,
    unit: i64,
    window_start: i64,
) -> Result<BudgetScope, StoreError> {
    let row = BudgetRow {
        kind: i16::try_from(kind).unwrap_or(-1),
        subject,
        unit: i16::try_from(unit).unwrap_or(-1),
        window_start,
    };
    let unknown = || StoreError::unreadable("lease", format!("no budget has the kind {kind}"));
    BudgetScope::of_row(row).ok_or_else(unknown)
}

/// What was settled, from the row.
pub(crate) fn settled(row: &QueryResult) -> Result<SettledCall, StoreError> {
    let charge = Nanos::new(get(row, "charge")?);
    let draws: Option<String> = get(row, "draws")?;
    let uses: Option<String> = get(row, "uses")?;
    Ok(SettledCall {
        call: CallId::new(get(row, "id")?),
        charge,
        overrun: Nanos::new(get(row, "overrun")?),
        quarantined: get(row, "quarantined")?,
        on_credit: Nanos::new(get(row, "on_credit")?),
        draws: json(draws.as_deref().unwrap_or("[]"))?,
        balance_after: Nanos::new(get(row, "balance_after")?),
        cost: get::<Option<i64>>(row, "cost")?.map(Nanos::new),
        position: rating(row)?.tiers.map(|tiers| tiers.position),
        covered: get::<Option<i64>>(row, "covered")?.map(Nanos::new),
        used: read_uses(uses.as_deref(), charge)?,
        used_after: Vec::new(),
    })
}

/// The calls of rows, with all their attempts.
pub(crate) async fn details<C: ConnectionTrait>(
    db: &C,
    rows: &[QueryResult],
) -> Result<Vec<CallDetail>, StoreError> {
    let mut calls = rows.iter().map(detail).collect::<Result<Vec<_>, _>>()?;
    let mut several = EARLIER_ATTEMPTS.rows(db.get_database_backend());
    for (call, row) in calls.iter().zip(rows) {
        if get::<i64>(row, "attempts")? > 1 {
            several.push([call.id.get().into(), call.account.get().into()]);
        }
    }
    let mut earlier: HashMap<i64, Vec<Attempt>> = HashMap::new();
    for row in several.query(db).await? {
        let attempt = Attempt {
            channel: get(&row, "channel")?,
            status: get::<Option<i64>>(&row, "status")?.map(narrow),
            outcome: get(&row, "outcome")?,
            latency_ms: narrow(get(&row, "latency_ms")?),
        };
        earlier
            .entry(get(&row, "call_id")?)
            .or_default()
            .push(attempt);
    }
    for call in &mut calls {
        if let Some(mut attempts) = earlier.remove(&call.id.get()) {
            attempts.append(&mut call.attempts);
            call.attempts = attempts;
        }
    }
    Ok(calls)
}

fn detail(row: &QueryResult) -> Result<CallDetail, StoreError> {
    let settled = settled(row)?;
    let source: Option<String> = get(row, "usage_source")?;
    let source = source.as_deref().and_then(UsageSource::of_name);
    let tier: String = get(row, "tier")?;
    let last = last_attempt(row)?;
    let answered = |a: &&Attempt| source.is_some() || a.outcome == "ok";
    Ok(CallDetail {
        id: settled.call,
        account: AccountId::new(get(row, "account_id")?),
        key: KeyId::new(get(row, "key_id")?),
        endpoint: get(row, "endpoint")?,
        model: get(row, "model")?,
        channel: last
            .as_ref()
            .filter(answered)
            .map(|a| a.channel.clone())
            .unwrap_or_default(),
        outcome: get(row, "outcome")?,
        streamed: get(row, "streamed")?,
        status: narrow(get(row, "status")?),
        usage: json(&get::<String>(row, "usage")?)?,
        source,
        tier: ServiceTier::of_provider(&tier),
        price_version: PriceVersionId::new(get(row, "price_version_id")?),
        rating: rating(row)?,
        plan: get::<Option<i64>>(row, "plan_version_id")?.map(PlanVersionId::new),
        cost: settled.cost,
        held: Nanos::new(get(row, "held")?),
        charge: settled.charge,
        overrun: settled.overrun,
        covered: settled.covered,
        used: settled.used,
        quarantined: settled.quarantined,
        on_credit: settled.on_credit,
        draws: settled.draws,
        balance_after: settled.balance_after,
        ledger_txn: get::<Option<i64>>(row, "ledger_txn_id")?.map(LedgerTxnId::new),
        started_at: instant(TABLE, get(row, "started_at")?)?,
        settled_at: instant(TABLE, get(row, "settled_at")?)?,
        first_byte_ms: get::<Option<i64>>(row, "first_byte_ms")?.map(narrow),
        latency_ms: narrow(get(row, "latency_ms")?),
        upstream_id: get(row, "upstream_id")?,
        finish_reason: get(row, "finish_reason")?,
        attempts: last.into_iter().collect(),
    })
}

/// What a call was rated with beside its price.
fn rating(row: &QueryResult) -> Result<RatingRecord, StoreError> {
    let text: Option<String> = get(row, "rating")?;
    text.as_deref()
        .map_or_else(|| Ok(RatingRecord::default()), json)
}

fn last_attempt(row: &QueryResult) -> Result<Option<Attempt>, StoreError> {
    let Some(channel) = get(row, "channel")? else {
        return Ok(None);
    };
    let outcome: Option<String> = get(row, "attempt_outcome")?;
    Ok(Some(Attempt {
        channel,
        status: get::<Option<i64>>(row, "attempt_status")?.map(narrow),
        outcome: outcome.unwrap_or_default(),
        latency_ms: narrow(get::<Option<i64>>(row, "attempt_ms")?.unwrap_or_default()),
    }))
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::unreadable(TABLE, e.to_string()))
}

/// A stored number in the narrower type that it was written from.
fn narrow<T: TryFrom<i64> + Default>(value: i64) -> T {
    T::try_from(value).unwrap_or_default()
}

/// One call of an account.
pub(crate) async fn find<C: ConnectionTrait>(
    db: &C,
    account: AccountId,
    call: CallId,
) -> Result<Option<CallDetail>, StoreError> {
    let text = "SELECT * FROM call WHERE id = ? AND account_id = ?";
    let rows = db::all(db, text, vec![call.get().into(), account.get().into()]).await?;
    Ok(details(db, &rows).await?.pop())
}

/// Puts the attempts before a call's last into a batch.
pub(crate) fn push_attempts(rows: &mut Rows, settlement: &Settlement) {
    let attempts = &settlement.facts.attempts;
    let earlier = attempts.len().saturating_sub(1);
    for (seq, attempt) in attempts.iter().take(earlier).enumerate() {
        let status: Cell<'_> = attempt.status.map(i64::from).into();
        rows.push([
            settlement.account.get().into(),
            settlement.call.get().into(),
            count(seq).into(),
            attempt.channel.as_str().into(),
            status,
            attempt.outcome.as_str().into(),
            i64::from(attempt.latency_ms).into(),
        ]);
    }
}
