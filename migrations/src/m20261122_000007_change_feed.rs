//! What nodes must forget.

use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::sea_orm::DbErr;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261122_000007_change_feed"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        crate::dialect::run(manager, STATEMENTS).await
    }
}

const STATEMENTS: &[&str] = &[r"CREATE TABLE change_feed (
        position {position},
        subject TEXT NOT NULL,
        account_id BIGINT,
        at BIGINT NOT NULL
    ){rows}"];
