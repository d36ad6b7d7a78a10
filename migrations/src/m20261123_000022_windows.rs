//! What the house bore in a window of price tiers, and what its calls were corrected by.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261123_000022_windows",
    statements: &[
        "ALTER TABLE tier_close ADD COLUMN overrun BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE tier_close ADD COLUMN adjusted BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE adjustment ADD COLUMN tier_schedule_id BIGINT",
        "ALTER TABLE adjustment ADD COLUMN window_start BIGINT",
        "CREATE INDEX adjustment_of_window \
         ON adjustment (account_id, tier_schedule_id, window_start)",
    ],
};
