//! What plan versions say beside their first columns, and what plans pay of calls.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261123_000023_plans",
    statements: &[
        // Everything that the version says; the columns beside it are what is looked for.
        "ALTER TABLE plan_version ADD COLUMN terms TEXT NOT NULL DEFAULT '{}'",
        "ALTER TABLE plan_version ADD COLUMN archived_at BIGINT",
        // What happens to calls that no quota covers, where the account chose other than the plan.
        "ALTER TABLE subscription ADD COLUMN after_quota TEXT",
        // How many of the version: its quotas are so many times those of the plan.
        "ALTER TABLE subscription ADD COLUMN quantity BIGINT NOT NULL DEFAULT 1",
        // What the plan paid of the call's price; null where it held no quota.
        "ALTER TABLE call ADD COLUMN covered BIGINT",
    ],
};
