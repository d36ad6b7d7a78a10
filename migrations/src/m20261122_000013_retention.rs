//! How far back calls are kept.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261122_000013_retention",
    statements: &[
        // One row, or none while all calls are kept. `calls_since` stands before the first call is
        // deleted because of it. `passed_account` is where the next round goes on.
        r"CREATE TABLE retention (
        id BIGINT PRIMARY KEY,
        calls_since BIGINT NOT NULL,
        passed_account BIGINT NOT NULL,
        CONSTRAINT retention_one CHECK (id = 1)
    ){rows}",
    ],
};
