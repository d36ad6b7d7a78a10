//! What customers ask of their subscriptions: quotes that can be taken, and what came of orders.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261123_000026_orders",
    statements: &[
        // What a change was said to do and cost; taken once, by the account that asked.
        r"CREATE TABLE subscription_quote (
        account_id BIGINT NOT NULL,
        id BIGINT NOT NULL,
        subscription_id BIGINT NOT NULL,
        quote TEXT NOT NULL,
        expires_at BIGINT NOT NULL,
        taken_at BIGINT,
        PRIMARY KEY (account_id, id)
    ){clustered}",
        // What came of an order, for good: its key answers as before.
        r"CREATE TABLE subscription_order (
        account_id BIGINT NOT NULL,
        idem_key TEXT NOT NULL,
        subscription_id BIGINT NOT NULL,
        fingerprint TEXT NOT NULL,
        done TEXT NOT NULL,
        made_at BIGINT NOT NULL,
        PRIMARY KEY (account_id, idem_key)
    ){clustered}",
    ],
};
