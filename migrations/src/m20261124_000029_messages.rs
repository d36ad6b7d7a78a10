//! What is said to whoever looks after an account, with its facts.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261124_000029_messages",
    statements: &[
        // Once for its step; the facts are what its text is made of.
        r"CREATE TABLE message (
        account_id BIGINT NOT NULL REFERENCES account (id),
        id BIGINT NOT NULL,
        subscription_id BIGINT NOT NULL,
        once_key TEXT NOT NULL,
        kind TEXT NOT NULL,
        facts TEXT NOT NULL,
        made_at BIGINT NOT NULL,
        PRIMARY KEY (account_id, id)
    ){clustered}",
        "CREATE UNIQUE INDEX message_once ON message (account_id, once_key)",
        // Those of before, without facts, under ids of their time. Nothing is added to their table
        // any more.
        "INSERT INTO message (account_id, id, subscription_id, once_key, kind, facts, made_at)
        SELECT account_id,
        (made_at / 1000 - 1704067200000) * 4194304 + (revision % 256) * 16 + place,
        subscription_id,
        CAST(subscription_id AS TEXT) || ':' || CAST(revision AS TEXT) || ':' || CAST(place AS TEXT),
        kind, '{}', made_at
        FROM subscription_message WHERE true
        ON CONFLICT DO NOTHING",
    ],
};
