//! What closing a window could not collect.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261123_000025_missing",
    statements: &["ALTER TABLE tier_close ADD COLUMN missing BIGINT NOT NULL DEFAULT 0"],
};
