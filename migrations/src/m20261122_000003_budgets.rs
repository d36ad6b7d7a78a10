//! What calls draw on: wallets, lots, limits and quotas in use, and the leases of nodes.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261122_000003_budgets",
    statements: &[
        // The row of a wallet is the lock on an account's books.
        r"CREATE TABLE wallet (
        account_id BIGINT PRIMARY KEY,
        currency TEXT NOT NULL,
        posted BIGINT NOT NULL,
        leased BIGINT NOT NULL,
        credit_limit BIGINT NOT NULL,
        status TEXT NOT NULL,
        CONSTRAINT wallet_leased CHECK (leased >= 0),
        CONSTRAINT wallet_credit_limit CHECK (credit_limit >= 0),
        CONSTRAINT wallet_overspent CHECK (posted + credit_limit - leased >= 0)
    ){rows}",
        r"CREATE TABLE lot (
        account_id BIGINT NOT NULL,
        id BIGINT NOT NULL,
        kind TEXT NOT NULL,
        priority BIGINT NOT NULL,
        effective_at BIGINT NOT NULL,
        expires_at BIGINT,
        created_at BIGINT NOT NULL,
        granted BIGINT NOT NULL,
        remaining BIGINT NOT NULL,
        PRIMARY KEY (account_id, id),
        CONSTRAINT lot_remaining CHECK (remaining >= 0 AND remaining <= granted)
    ){clustered}",
        // Serves key limits, member limits and plan quotas alike; `kind`, `subject`, `unit` and
        // `window_start` are those of a lease.
        r"CREATE TABLE quota_usage (
        account_id BIGINT NOT NULL,
        kind BIGINT NOT NULL,
        subject BIGINT NOT NULL,
        unit BIGINT NOT NULL,
        window_start BIGINT NOT NULL,
        used BIGINT NOT NULL,
        leased BIGINT NOT NULL,
        PRIMARY KEY (account_id, kind, subject, unit, window_start),
        CONSTRAINT quota_usage_counts CHECK (used >= 0 AND leased >= 0)
    ){clustered}",
        r"CREATE TABLE node (
        id BIGINT PRIMARY KEY,
        name TEXT NOT NULL,
        started_at BIGINT NOT NULL,
        heartbeat_at BIGINT NOT NULL,
        fenced_at BIGINT
    ){rows}",
        "CREATE INDEX node_unfenced ON node (name) WHERE fenced_at IS NULL",
        r"CREATE TABLE lease (
        account_id BIGINT NOT NULL,
        node_id BIGINT NOT NULL,
        kind BIGINT NOT NULL,
        subject BIGINT NOT NULL,
        unit BIGINT NOT NULL,
        window_start BIGINT NOT NULL,
        amount BIGINT NOT NULL,
        PRIMARY KEY (account_id, node_id, kind, subject, unit, window_start),
        CONSTRAINT lease_amount CHECK (amount >= 0)
    ){clustered}",
    ],
};
