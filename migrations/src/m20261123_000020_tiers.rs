//! How prices fall with use, and what closing a window of that came to.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261123_000020_tiers",
    statements: &[
        // Never changed: a later schedule of the same audience and models takes over from its
        // instant on. `terms` is `null` where it only ends an earlier one.
        r"CREATE TABLE tier_schedule (
        id BIGINT PRIMARY KEY,
        audience TEXT NOT NULL,
        models TEXT NOT NULL,
        terms TEXT NOT NULL,
        effective_from BIGINT NOT NULL,
        price_edition_id BIGINT NOT NULL REFERENCES price_edition (id)
    ){rows}",
        // A window that was closed: how far it had been used then, and what was charged (above zero)
        // or given back for it since. Calls that end later open it again.
        r"CREATE TABLE tier_close (
        account_id BIGINT NOT NULL,
        tier_schedule_id BIGINT NOT NULL,
        window_start BIGINT NOT NULL,
        used BIGINT NOT NULL,
        charged BIGINT NOT NULL,
        trued_up BIGINT NOT NULL,
        times BIGINT NOT NULL,
        closed_at BIGINT NOT NULL,
        PRIMARY KEY (account_id, tier_schedule_id, window_start)
    ){clustered}",
    ],
};
