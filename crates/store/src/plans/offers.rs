//! Plans as they are shown, with who is on them, and taken off sale.

use billing_core::id::{AccountId, PlanId, PlanVersionId, SubscriptionId};
use billing_core::port::plans::{Offer, Subscriber};
use sea_orm::{ConnectionTrait, QueryResult};
use time::OffsetDateTime;

use super::{Stored, VERSION, read};
use crate::db;
use crate::instant::{get, instant, micros};

/// The newest version of each plan.
pub(super) async fn all<C: ConnectionTrait>(tx: &C) -> Stored<Vec<Offer>> {
    let text = "SELECT v.*, p.code, p.name FROM plan p \
                JOIN plan_version v ON v.plan_id = p.id AND v.version = \
                (SELECT MAX(n.version) FROM plan_version n \
                 WHERE n.plan_id = p.id AND n.published_at IS NOT NULL) ORDER BY p.code";
    let rows = db::all(tx, text, Vec::new()).await?;
    rows.iter().map(offer).collect()
}

/// A version.
pub(super) async fn one<C: ConnectionTrait>(
    tx: &C,
    version: PlanVersionId,
) -> Stored<Option<Offer>> {
    let text = "SELECT v.*, p.code, p.name FROM plan_version v JOIN plan p ON p.id = v.plan_id \
                WHERE v.id = ?";
    let row = db::one(tx, text, vec![version.get().into()]).await?;
    row.as_ref().map(offer).transpose()
}

/// Who is on any version of a plan, after one: so many at most.
pub(super) async fn subscribers<C: ConnectionTrait>(
    tx: &C,
    plan: PlanId,
    (after, limit): (Option<SubscriptionId>, u32),
) -> Stored<Vec<Subscriber>> {
    let text = "SELECT s.id, s.account_id, v.version FROM subscription s \
                JOIN plan_version v ON v.id = s.plan_version_id \
                WHERE v.plan_id = ? AND s.ended_at IS NULL AND s.id > ? ORDER BY s.id LIMIT ?";
    let values = vec![
        plan.get().into(),
        after.map_or(i64::MIN, SubscriptionId::get).into(),
        i64::from(limit).into(),
    ];
    let rows = db::all(tx, text, values).await?;
    let subscriber = |row: &QueryResult| {
        Ok(Subscriber {
            subscription: SubscriptionId::new(get(row, "id")?),
            account: AccountId::new(get(row, "account_id")?),
            number: number(row)?,
        })
    };
    rows.iter().map(subscriber).collect()
}

/// Takes all versions of a plan off sale; says whether any was on.
pub(super) async fn archive<C: ConnectionTrait>(
    tx: &C,
    code: &str,
    now: OffsetDateTime,
) -> Stored<bool> {
    let text = "UPDATE plan_version SET archived_at = ? WHERE archived_at IS NULL \
                AND plan_id IN (SELECT id FROM plan WHERE code = ?)";
    let archived = db::run(tx, text, vec![micros(now).into(), code.into()]).await?;
    Ok(archived > 0)
}

fn offer(row: &QueryResult) -> Stored<Offer> {
    let at = |column| -> Stored<_> {
        let at: Option<i64> = get(row, column)?;
        at.map(|at| instant(VERSION, at)).transpose()
    };
    Ok(Offer {
        version: PlanVersionId::new(get(row, "id")?),
        code: get(row, "code")?,
        name: get(row, "name")?,
        number: number(row)?,
        terms: read(VERSION, &get::<String>(row, "terms")?)?,
        published_at: at("published_at")?,
        archived_at: at("archived_at")?,
    })
}

/// Which of its plan's versions.
fn number(row: &QueryResult) -> Stored<u32> {
    let number: i64 = get(row, "version")?;
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}
