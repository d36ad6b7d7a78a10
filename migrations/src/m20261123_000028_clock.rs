//! How far the date is ahead of the machine's.

use crate::step::Step;

/// One row at most, in microseconds; it never becomes less.
pub(crate) const STEP: Step = Step {
    name: "m20261123_000028_clock",
    statements: &[r"CREATE TABLE moved_date (
        one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
        ahead BIGINT NOT NULL CHECK (ahead >= 0)
    ){rows}"],
};
