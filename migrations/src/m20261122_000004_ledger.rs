//! The journal: double entry, append-only, one account a transaction.

use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::sea_orm::DbErr;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261122_000004_ledger"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        crate::dialect::run(manager, STATEMENTS).await
    }
}

const STATEMENTS: &[&str] = &[
    r"CREATE TABLE ledger_txn (
        account_id BIGINT NOT NULL,
        id BIGINT NOT NULL,
        kind TEXT NOT NULL,
        idem_key TEXT,
        fingerprint TEXT,
        booked_at BIGINT NOT NULL,
        balance_after BIGINT NOT NULL,
        note TEXT NOT NULL,
        PRIMARY KEY (account_id, id)
    ){clustered}",
    // A settlement has no key: its calls are recorded once each.
    "CREATE UNIQUE INDEX ledger_txn_key ON ledger_txn (account_id, idem_key)
        WHERE idem_key IS NOT NULL",
    r"CREATE TABLE ledger_entry (
        account_id BIGINT NOT NULL,
        txn_id BIGINT NOT NULL,
        leg BIGINT NOT NULL,
        code TEXT NOT NULL,
        amount BIGINT NOT NULL,
        lot_id BIGINT,
        PRIMARY KEY (account_id, txn_id, leg),
        CONSTRAINT ledger_entry_amount CHECK (amount <> 0)
    ){clustered}",
];
