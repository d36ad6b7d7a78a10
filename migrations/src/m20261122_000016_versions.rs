//! How often the books of an account were changed.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261122_000016_versions",
    statements: &[
        // Whoever writes to an account's wallet, lots or leases counts it up, so that a settlement
        // can tell that nobody did since it last saw them.
        "ALTER TABLE wallet ADD COLUMN version BIGINT NOT NULL DEFAULT 0",
    ],
};
