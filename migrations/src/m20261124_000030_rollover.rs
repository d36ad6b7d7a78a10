//! What rolls over from a quota's window to the next.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261124_000030_rollover",
    statements: &[
        "ALTER TABLE plan_quota ADD COLUMN rollover BIGINT NOT NULL DEFAULT 0",
        // What came from the window before, and what went on to the one after.
        "ALTER TABLE quota_usage ADD COLUMN came BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE quota_usage ADD COLUMN went BIGINT NOT NULL DEFAULT 0",
    ],
};
