//! Subscriptions that are billed: how they stand, their fees, how these were paid.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261123_000024_subscriptions",
    statements: &[
        // Everything about it; the columns beside it are what is looked for. Empty where an operator
        // gave it and nothing is billed.
        "ALTER TABLE subscription ADD COLUMN facts TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE subscription ADD COLUMN revision BIGINT NOT NULL DEFAULT 0",
        // When it is to be looked at next; null where nothing happens to it by itself.
        "ALTER TABLE subscription ADD COLUMN due_at BIGINT",
        // Until when its quotas are open; null until something happens to it.
        "ALTER TABLE subscription ADD COLUMN access_until BIGINT",
        "ALTER TABLE subscription ADD COLUMN parked_at BIGINT",
        "ALTER TABLE subscription ADD COLUMN parked_why TEXT",
        "UPDATE subscription SET managed_by = 'operator'",
        "UPDATE subscription SET access_until = period_end WHERE NOT auto_renew",
        "CREATE INDEX subscription_due ON subscription (due_at) WHERE due_at IS NOT NULL",
        // Every version that an account was ever on, and how many of it at most: what was settled
        // under it keeps its bound.
        r"CREATE TABLE plan_held (
        account_id BIGINT NOT NULL,
        plan_version_id BIGINT NOT NULL,
        quantity BIGINT NOT NULL,
        PRIMARY KEY (account_id, plan_version_id)
    ){clustered}",
        "INSERT INTO plan_held (account_id, plan_version_id, quantity)
        SELECT account_id, plan_version_id, MAX(quantity) FROM subscription
        GROUP BY account_id, plan_version_id",
        // What was charged, once for its key; null in `paid_at` until it is paid.
        r"CREATE TABLE subscription_fee (
        fee_key TEXT PRIMARY KEY,
        subscription_id BIGINT NOT NULL REFERENCES subscription (id),
        account_id BIGINT NOT NULL REFERENCES account (id),
        kind TEXT NOT NULL,
        period_start BIGINT NOT NULL,
        period_end BIGINT NOT NULL,
        amount BIGINT NOT NULL,
        fee TEXT NOT NULL,
        charged_at BIGINT NOT NULL,
        paid_at BIGINT
    ){clustered}",
        "CREATE INDEX subscription_fee_of ON subscription_fee (subscription_id, period_start)",
        // What came of each try to collect a fee; `waits` while nodes have on lease what pays it.
        r"CREATE TABLE fee_try (
        fee_key TEXT NOT NULL,
        number BIGINT NOT NULL,
        outcome TEXT NOT NULL,
        began_at BIGINT NOT NULL,
        PRIMARY KEY (fee_key, number)
    ){clustered}",
        // What is to be said to whoever looks after the account.
        r"CREATE TABLE subscription_message (
        subscription_id BIGINT NOT NULL,
        revision BIGINT NOT NULL,
        place BIGINT NOT NULL,
        account_id BIGINT NOT NULL,
        kind TEXT NOT NULL,
        made_at BIGINT NOT NULL,
        PRIMARY KEY (subscription_id, revision, place)
    ){clustered}",
    ],
};
