//! Messages that are to be sent.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261124_000031_deliveries",
    statements: &[
        // `due_at` is when it is tried, or given to another sender; null once it was taken or given up.
        r"CREATE TABLE message_delivery (
        account_id BIGINT NOT NULL REFERENCES account (id),
        message_id BIGINT NOT NULL,
        tries BIGINT NOT NULL,
        fence BIGINT NOT NULL,
        due_at BIGINT,
        sent_at BIGINT,
        given_up_at BIGINT,
        PRIMARY KEY (account_id, message_id)
    ){clustered}",
        "CREATE INDEX message_delivery_due ON message_delivery (due_at) WHERE due_at IS NOT NULL",
        "CREATE INDEX message_delivery_given_up ON message_delivery (given_up_at)
        WHERE given_up_at IS NOT NULL",
    ],
};
