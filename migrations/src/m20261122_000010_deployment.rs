//! Which deployment these books are.

use crate::step::Step;

/// One row; its id is drawn at the first start. What a node keeps outside the database, such as its
/// spool, names it, so that it is never played into other books.
pub(crate) const STEP: Step = Step {
    name: "m20261122_000010_deployment",
    statements: &[r"CREATE TABLE deployment (
        one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
        id TEXT NOT NULL,
        created_at BIGINT NOT NULL
    ){rows}"],
};
