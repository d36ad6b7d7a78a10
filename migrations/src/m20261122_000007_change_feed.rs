//! What nodes must forget.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261122_000007_change_feed",
    statements: &[r"CREATE TABLE change_feed (
        position {position},
        subject TEXT NOT NULL,
        account_id BIGINT,
        at BIGINT NOT NULL
    ){rows}"],
};
