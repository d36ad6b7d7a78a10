//! Leases that nodes ask for by number, and claims to what others have on lease.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261122_000008_leases",
    statements: &[
        // The last ask or return that was heard, what it granted and when, so that a repetition is
        // known and answered alike.
        "ALTER TABLE lease ADD COLUMN seq BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE lease ADD COLUMN granted BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE lease ADD COLUMN asked_at BIGINT NOT NULL DEFAULT 0",
        "CREATE INDEX lease_empty ON lease (asked_at) WHERE amount = 0",
        "CREATE INDEX lease_of_node ON lease (node_id)",
        r"CREATE TABLE lease_claim (
        account_id BIGINT NOT NULL,
        kind BIGINT NOT NULL,
        subject BIGINT NOT NULL,
        unit BIGINT NOT NULL,
        window_start BIGINT NOT NULL,
        node_id BIGINT NOT NULL,
        since BIGINT NOT NULL,
        wanted BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        PRIMARY KEY (account_id, kind, subject, unit, window_start, node_id),
        CONSTRAINT lease_claim_wanted CHECK (wanted > 0)
    ){clustered}",
    ],
};
