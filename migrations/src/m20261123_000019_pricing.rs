//! What is asked for models beside what they cost, and what a call is rated with beside its price.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261123_000019_pricing",
    statements: &[
        // Never changed: a later rule of the same audience and models takes over from its instant on.
        r"CREATE TABLE sale_rule (
        id BIGINT PRIMARY KEY,
        audience TEXT NOT NULL,
        models TEXT NOT NULL,
        price TEXT NOT NULL,
        effective_from BIGINT NOT NULL,
        price_edition_id BIGINT NOT NULL REFERENCES price_edition (id)
    ){rows}",
        // What the call costs the house; null where that is not known, and of calls that were
        // settled before this step.
        "ALTER TABLE call ADD COLUMN cost BIGINT",
        // What the charge follows from beside usage, tier, beginning and price version; null where
        // there is nothing of it.
        "ALTER TABLE call ADD COLUMN rating TEXT",
    ],
};
