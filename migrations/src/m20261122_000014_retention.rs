//! Retention finds what it deletes without looking through what it keeps.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261122_000014_retention",
    statements: &[
        // The line of the last round that went through all accounts.
        "ALTER TABLE retention ADD COLUMN passed_since BIGINT NOT NULL DEFAULT 0",
        // Only calls with an idempotency key pay for it.
        "CREATE INDEX call_idempotency_of_call ON call_idempotency (account_id, call_id)",
    ],
};
