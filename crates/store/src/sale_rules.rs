//! The rules of what is asked for models.

use billing_core::id::SaleRuleId;
use billing_core::reach::Reach;
use billing_core::sale::SaleRule;
use sea_orm::{ConnectionTrait, QueryResult};

use crate::db;
use crate::error::StoreError;
use crate::instant::{get, instant, micros};
use crate::rows::BatchSql;
use crate::rows::Kind::{Int, Text};

const TABLE: &str = "sale_rule";

static INSERT: BatchSql = BatchSql::new(
    &[
        ("id", Int),
        ("audience", Text),
        ("models", Text),
        ("price", Text),
        ("effective_from", Int),
        ("price_edition_id", Int),
    ],
    "INSERT INTO sale_rule ({columns}) SELECT {columns} FROM {rows} v",
);

/// Records rules of an edition.
pub(crate) async fn record<C: ConnectionTrait>(
    tx: &C,
    rules: &[SaleRule],
    edition: i64,
) -> Result<(), StoreError> {
    let mut rows = INSERT.rows(tx.get_database_backend());
    for rule in rules {
        let [audience, models] = [
            rule.reach.audience.to_string(),
            rule.reach.models.to_string(),
        ];
        let price = serde_json::to_string(&rule.price)
            .map_err(|e| StoreError::unreadable(TABLE, e.to_string()))?;
        rows.push([
            rule.id.get().into(),
            audience.as_str().into(),
            models.as_str().into(),
            price.as_str().into(),
            micros(rule.effective_from).into(),
            edition.into(),
        ]);
    }
    rows.run(tx).await?;
    Ok(())
}

/// Every rule, whether or not it holds.
pub(crate) async fn all<C: ConnectionTrait>(tx: &C) -> Result<Vec<SaleRule>, StoreError> {
    let rows = db::all(tx, "SELECT * FROM sale_rule ORDER BY id", Vec::new()).await?;
    rows.iter().map(rule).collect()
}

fn rule(row: &QueryResult) -> Result<SaleRule, StoreError> {
    let unreadable = |why: String| StoreError::unreadable(TABLE, why);
    let [audience, models, price] = ["audience", "models", "price"].map(|c| get::<String>(row, c));
    Ok(SaleRule {
        id: SaleRuleId::new(get(row, "id")?),
        reach: Reach {
            audience: audience?.parse().map_err(|e| unreadable(format!("{e}")))?,
            models: models?.parse().map_err(|e| unreadable(format!("{e}")))?,
        },
        price: serde_json::from_str(&price?).map_err(|e| unreadable(e.to_string()))?,
        effective_from: instant(TABLE, get(row, "effective_from")?)?,
    })
}
