//! The schema of Tollgate: one file a step, forward only, the same on SQLite and PostgreSQL.
//!
//! A step that has shipped is never edited. A new one is a new file, a line in [`Migrator`], and a
//! `CHANGELOG` entry when an operator can see it. Steps run on a live system: first widen, then
//! move, and narrow in a later release.
//!
//! Money is `BIGINT` nanos, an instant is `BIGINT` microseconds since the Unix epoch, an id is
//! `BIGINT`, a price is text. Every row that a call writes carries `account_id`.

use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr};
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
        ]
    }
}

impl Migrator {
    /// The names of the steps that a database has and this version does not know, in order: it was
    /// migrated by a newer one.
    ///
    /// # Errors
    /// [`DbErr`].
    pub async fn unknown<C: ConnectionTrait>(db: &C) -> Result<Vec<String>, DbErr> {
        let known = Self::get_migration_files();
        let taken = Self::get_migration_models(db).await?;
        let unknown = taken.into_iter().map(|step| step.version);
        Ok(unknown
            .filter(|step| known.iter().all(|k| k.name() != step))
            .collect())
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
