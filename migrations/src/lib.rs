//! The schema of Tollgate: one file a step, forward only, the same on SQLite and PostgreSQL.
//!
//! A step that has shipped is never edited. A new one is a new file, a line in [`Migrator`], and a
//! `CHANGELOG` entry when an operator can see it. Steps run on a live system: first widen, then
//! move, and narrow in a later release.
//!
//! Money is `BIGINT` nanos, an instant is `BIGINT` microseconds since the Unix epoch, an id is
//! `BIGINT`, a price is text. Every row that a call writes carries `account_id`.

use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement,
};
use sea_orm_migration::{MigrationTrait, MigratorTrait};

mod m20261122_000001_directory;
mod m20261122_000002_plans;
mod m20261122_000003_budgets;
mod m20261122_000004_ledger;
mod m20261122_000005_calls;
mod m20261122_000006_prices;
mod m20261122_000007_change_feed;
mod m20261122_000008_leases;
mod m20261122_000009_nodes;
mod m20261122_000010_deployment;
mod m20261122_000011_calls;
mod m20261122_000012_proofs;
mod m20261122_000013_retention;
mod m20261122_000014_retention;
mod m20261122_000015_journal;
mod m20261122_000016_versions;
mod m20261123_000017_journal;
mod m20261123_000018_rates;
mod m20261123_000019_pricing;
mod m20261123_000020_tiers;
mod m20261123_000021_adjustments;
mod m20261123_000022_windows;
mod m20261123_000023_plans;
mod m20261123_000024_subscriptions;
mod m20261123_000025_missing;
mod m20261123_000026_orders;
mod m20261123_000027_invoices;
mod m20261123_000028_clock;
mod m20261124_000029_messages;
mod m20261124_000030_rollover;
mod m20261124_000031_deliveries;
mod m20261124_000032_coupons;
mod m20261124_000033_plan_usage;
mod m20261124_000034_lapse;
mod step;

/// Every step, in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_000001_directory::STEP),
            Box::new(m20261122_000002_plans::STEP),
            Box::new(m20261122_000003_budgets::STEP),
            Box::new(m20261122_000004_ledger::STEP),
            Box::new(m20261122_000005_calls::STEP),
            Box::new(m20261122_000006_prices::STEP),
            Box::new(m20261122_000007_change_feed::STEP),
            Box::new(m20261122_000008_leases::STEP),
            Box::new(m20261122_000009_nodes::STEP),
            Box::new(m20261122_000010_deployment::STEP),
            Box::new(m20261122_000011_calls::STEP),
            Box::new(m20261122_000012_proofs::STEP),
            Box::new(m20261122_000013_retention::STEP),
            Box::new(m20261122_000014_retention::STEP),
            Box::new(m20261122_000015_journal::STEP),
            Box::new(m20261122_000016_versions::STEP),
            Box::new(m20261123_000017_journal::STEP),
            Box::new(m20261123_000018_rates::STEP),
            Box::new(m20261123_000019_pricing::STEP),
            Box::new(m20261123_000020_tiers::STEP),
            Box::new(m20261123_000021_adjustments::STEP),
            Box::new(m20261123_000022_windows::STEP),
            Box::new(m20261123_000023_plans::STEP),
            Box::new(m20261123_000024_subscriptions::STEP),
            Box::new(m20261123_000025_missing::STEP),
            Box::new(m20261123_000026_orders::STEP),
            Box::new(m20261123_000027_invoices::STEP),
            Box::new(m20261123_000028_clock::STEP),
            Box::new(m20261124_000029_messages::STEP),
            Box::new(m20261124_000030_rollover::STEP),
            Box::new(m20261124_000031_deliveries::STEP),
            Box::new(m20261124_000032_coupons::STEP),
            Box::new(m20261124_000033_plan_usage::STEP),
            Box::new(m20261124_000034_lapse::STEP),
        ]
    }
}

impl Migrator {
    /// The names of the steps that a database has and this version does not know, in order: it was
    /// migrated by a newer one. Only looks, so that processes that start together do not collide.
    ///
    /// # Errors
    /// [`DbErr`].
    pub async fn unknown<C: ConnectionTrait>(db: &C) -> Result<Vec<String>, DbErr> {
        let backend = db.get_database_backend();
        let is_there = if backend == DbBackend::Postgres {
            "SELECT 1 AS one FROM pg_class WHERE oid = to_regclass('seaql_migrations')"
        } else {
            "SELECT 1 AS one FROM sqlite_master WHERE name = 'seaql_migrations'"
        };
        let is_there = Statement::from_string(backend, is_there);
        if db.query_one_raw(is_there).await?.is_none() {
            return Ok(Vec::new());
        }
        let taken = "SELECT version FROM seaql_migrations ORDER BY version";
        let taken = Statement::from_string(backend, taken);
        let known = Self::get_migration_files();
        let mut unknown = Vec::new();
        for row in db.query_all_raw(taken).await? {
            let step: String = row.try_get("", "version")?;
            if known.iter().all(|k| k.name() != step) {
                unknown.push(step);
            }
        }
        Ok(unknown)
    }

    /// The names of the steps that a database lacks, in order.
    ///
    /// # Errors
    /// [`DbErr`], also when the database has a step that this version does not know.
    pub async fn pending<C: ConnectionTrait>(db: &C) -> Result<Vec<String>, DbErr> {
        let pending = Self::get_pending_migrations(db).await?;
        Ok(pending.iter().map(|m| m.name().to_owned()).collect())
    }

    /// Takes the next step.
    ///
    /// # Errors
    /// [`DbErr`].
    pub async fn step(tx: &DatabaseTransaction) -> Result<(), DbErr> {
        Self::up(tx, Some(1)).await
    }
}
