//! Lots whose time is over are found.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261124_000034_lapse",
    statements: &[
        // When nothing was left of a lot that lapses; null before, and for good where it never lapses.
        "ALTER TABLE lot ADD COLUMN lapsed_at BIGINT",
        // Not by what is left: a settlement changes that, and is not to change an index.
        r"CREATE INDEX lot_lapsing ON lot (expires_at, account_id)
        WHERE expires_at IS NOT NULL AND lapsed_at IS NULL",
    ],
};
