//! The rules beside the catalogue: what is asked for models, and how that falls with use.

use std::sync::Arc;

use billing_core::id::{SaleRuleId, TierScheduleId};
use billing_core::reach::Reach;
use billing_core::sale::SaleRule;
use billing_core::tier_schedule::{TierSchedule, TierTerms};
use sea_orm::{ConnectionTrait, QueryResult};
use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use crate::db;
use crate::error::StoreError;
use crate::instant::{get, instant, micros};
use crate::rows::Kind::{Int, Text};
use crate::rows::{BatchSql, Rows, Shape};

const SALES: &str = "sale_rule";
const TIERS: &str = "tier_schedule";

const COLUMNS: Shape = &[
    ("id", Int),
    ("audience", Text),
    ("models", Text),
    ("terms", Text),
    ("effective_from", Int),
    ("price_edition_id", Int),
];

static INSERT_SALES: BatchSql = BatchSql::new(
    COLUMNS,
    "INSERT INTO sale_rule (id, audience, models, price, effective_from, price_edition_id) \
     SELECT {columns} FROM {rows} v",
);

static INSERT_TIERS: BatchSql = BatchSql::new(
    COLUMNS,
    "INSERT INTO tier_schedule ({columns}) SELECT {columns} FROM {rows} v",
);

/// Records what is asked for models.
pub(crate) async fn record_sales<C: ConnectionTrait>(
    tx: &C,
    rules: &[SaleRule],
    edition: i64,
) -> Result<(), StoreError> {
    let mut rows = INSERT_SALES.rows(tx.get_database_backend());
    for rule in rules {
        let terms = text(SALES, &rule.price)?;
        let from = rule.effective_from;
        push(
            &mut rows,
            rule.id.get(),
            &rule.reach,
            &terms,
            [micros(from), edition],
        );
    }
    rows.run(tx).await?;
    Ok(())
}

/// Records how prices fall with use.
pub(crate) async fn record_tiers<C: ConnectionTrait>(
    tx: &C,
    schedules: &[TierSchedule],
    edition: i64,
) -> Result<(), StoreError> {
    let mut rows = INSERT_TIERS.rows(tx.get_database_backend());
    for schedule in schedules {
        let terms = text(TIERS, &schedule.terms.as_deref())?;
        let (reach, from) = (&schedule.reach, schedule.effective_from);
        push(
            &mut rows,
            schedule.id.get(),
            reach,
            &terms,
            [micros(from), edition],
        );
    }
    rows.run(tx).await?;
    Ok(())
}

fn push(rows: &mut Rows, id: i64, reach: &Reach, terms: &str, [from, edition]: [i64; 2]) {
    let [audience, models] = [reach.audience.to_string(), reach.models.to_string()];
    rows.push([
        id.into(),
        audience.as_str().into(),
        models.as_str().into(),
        terms.into(),
        from.into(),
        edition.into(),
    ]);
}

fn text(table: &'static str, terms: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(terms).map_err(|e| StoreError::unreadable(table, e.to_string()))
}

/// Every rule of what is asked, whether or not it holds.
pub(crate) async fn sales<C: ConnectionTrait>(tx: &C) -> Result<Vec<SaleRule>, StoreError> {
    let select = "SELECT id, audience, models, price AS terms, effective_from FROM sale_rule \
                  ORDER BY id";
    let rows = db::all(tx, select, Vec::new()).await?;
    let rule = |row| {
        let (id, reach, price, effective_from) = read(SALES, row)?;
        Ok(SaleRule {
            id: SaleRuleId::new(id),
            reach,
            price,
            effective_from,
        })
    };
    rows.iter().map(rule).collect()
}

/// Every schedule, whether or not it holds.
pub(crate) async fn tiers<C: ConnectionTrait>(tx: &C) -> Result<Vec<TierSchedule>, StoreError> {
    let select =
        "SELECT id, audience, models, terms, effective_from FROM tier_schedule ORDER BY id";
    let rows = db::all(tx, select, Vec::new()).await?;
    let schedule = |row| {
        let (id, reach, terms, effective_from) = read::<Option<TierTerms>>(TIERS, row)?;
        Ok(TierSchedule {
            id: TierScheduleId::new(id),
            reach,
            terms: terms.map(Arc::new),
            effective_from,
        })
    };
    rows.iter().map(schedule).collect()
}

/// The id of a row, for whom it is, what it says and from when on.
fn read<T: DeserializeOwned>(
    table: &'static str,
    row: &QueryResult,
) -> Result<(i64, Reach, T, OffsetDateTime), StoreError> {
    let unreadable = |why: String| StoreError::unreadable(table, why);
    let [audience, models, terms] = ["audience", "models", "terms"].map(|c| get::<String>(row, c));
    let reach = Reach {
        audience: audience?.parse().map_err(|e| unreadable(format!("{e}")))?,
        models: models?.parse().map_err(|e| unreadable(format!("{e}")))?,
    };
    let terms = serde_json::from_str(&terms?).map_err(|e| unreadable(e.to_string()))?;
    let from = instant(table, get(row, "effective_from")?)?;
    Ok((get(row, "id")?, reach, terms, from))
}
