//! A subscription as a row: its facts in one text, and beside it what is looked for.

use billing_core::id::{AccountId, PlanVersionId};
use billing_core::plan::AfterQuota;
use billing_core::subscription::{Access, ManagedBy, State, Subscription};
use sea_orm::{ConnectionTrait, QueryResult, Value};
use time::OffsetDateTime;

use crate::db;
use crate::error::StoreError;
use crate::instant::{get, micros};
use crate::plans;

const TABLE: &str = "subscription";

/// What a row says; `None` where nothing is billed for it.
pub(crate) fn facts(row: &QueryResult) -> Result<Option<Subscription>, StoreError> {
    let facts: String = get(row, "facts")?;
    if facts.is_empty() {
        return Ok(None);
    }
    plans::read(TABLE, &facts).map(Some)
}

/// A revision as stored.
pub(crate) fn revision(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// A new subscription.
pub(crate) async fn insert<C: ConnectionTrait>(
    tx: &C,
    subscription: &Subscription,
    due_at: Option<OffsetDateTime>,
    after_quota: Option<AfterQuota>,
) -> Result<(), StoreError> {
    let text = "INSERT INTO subscription (plan_version_id, state, anchor, period_start, \
                period_end, auto_renew, managed_by, quantity, ended_at, access_until, due_at, \
                revision, facts, id, account_id, created_at, after_quota) \
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let after_quota = after_quota.map(|after| plans::json(&after)).transpose()?;
    let mut values = columns(subscription, due_at)?;
    values.extend([
        subscription.id.get().into(),
        subscription.account.get().into(),
        micros(subscription.started_at).into(),
        after_quota.into(),
    ]);
    db::run(tx, text, values).await?;
    let held = (subscription.account, subscription.version);
    hold(tx, held, subscription.quantity).await
}

/// Writes what has become of a subscription that stood at a revision; says whether it did.
pub(crate) async fn update<C: ConnectionTrait>(
    tx: &C,
    subscription: &Subscription,
    due_at: Option<OffsetDateTime>,
    stood_at: u64,
) -> Result<bool, StoreError> {
    let text = "UPDATE subscription SET plan_version_id = ?, state = ?, anchor = ?, \
                period_start = ?, period_end = ?, auto_renew = ?, managed_by = ?, quantity = ?, \
                ended_at = ?, access_until = ?, due_at = ?, revision = ?, facts = ? \
                WHERE id = ? AND revision = ? AND parked_at IS NULL";
    let mut values = columns(subscription, due_at)?;
    values.extend([subscription.id.get().into(), revision(stood_at).into()]);
    if db::run(tx, text, values).await? == 0 {
        return Ok(false);
    }
    let held = (subscription.account, subscription.version);
    hold(tx, held, subscription.quantity).await?;
    Ok(true)
}

/// What both write, in order.
fn columns(
    subscription: &Subscription,
    due_at: Option<OffsetDateTime>,
) -> Result<Vec<Value>, StoreError> {
    let period = subscription.billed_period().map(|(_, period)| period);
    let start = period.map_or(subscription.started_at, |period| period.start);
    let ended_at = if let State::Ended { at, .. } = subscription.state {
        Some(at)
    } else {
        None
    };
    let access_until = match subscription.access() {
        Access::Until(end) => Some(end),
        Access::Open | Access::Closed => None,
    };
    Ok(vec![
        subscription.version.get().into(),
        subscription.state.name().into(),
        micros(subscription.cycle.start).into(),
        micros(start).into(),
        micros(subscription.billed_through).into(),
        subscription.auto_renew.into(),
        match subscription.managed_by {
            ManagedBy::House => "house",
            ManagedBy::Gateway => "gateway",
        }
        .into(),
        i64::from(subscription.quantity).into(),
        ended_at.map(micros).into(),
        access_until.map(micros).into(),
        due_at.map(micros).into(),
        revision(subscription.revision).into(),
        plans::json(subscription)?.into(),
    ])
}

/// Notes that an account is on a version, so that its quotas stay bounded by it for good.
pub(crate) async fn hold<C: ConnectionTrait>(
    tx: &C,
    (account, version): (AccountId, PlanVersionId),
    quantity: u32,
) -> Result<(), StoreError> {
    let text = "INSERT INTO plan_held (account_id, plan_version_id, quantity) VALUES (?, ?, ?) \
                ON CONFLICT (account_id, plan_version_id) DO UPDATE SET quantity = \
                CASE WHEN excluded.quantity > plan_held.quantity THEN excluded.quantity \
                ELSE plan_held.quantity END";
    let values = vec![
        account.get().into(),
        version.get().into(),
        i64::from(quantity).into(),
    ];
    db::run(tx, text, values).await?;
    Ok(())
}
