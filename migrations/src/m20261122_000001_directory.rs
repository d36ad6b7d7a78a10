//! Users, accounts, members, sessions and keys.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261122_000001_directory",
    statements: &[
        r#"CREATE TABLE "user" (
        id BIGINT PRIMARY KEY,
        email TEXT NOT NULL UNIQUE,
        password_hash TEXT NOT NULL,
        operator BOOLEAN NOT NULL,
        created_at BIGINT NOT NULL
    ){rows}"#,
        r"CREATE TABLE account (
        id BIGINT PRIMARY KEY,
        name TEXT NOT NULL,
        currency TEXT NOT NULL,
        zone TEXT NOT NULL,
        status TEXT NOT NULL,
        credit_limit BIGINT NOT NULL,
        created_at BIGINT NOT NULL
    ){rows}",
        r#"CREATE TABLE membership (
        account_id BIGINT NOT NULL REFERENCES account (id),
        user_id BIGINT NOT NULL REFERENCES "user" (id),
        role TEXT NOT NULL,
        limit_amount BIGINT,
        limit_window TEXT,
        PRIMARY KEY (account_id, user_id)
    ){clustered}"#,
        "CREATE INDEX membership_of_user ON membership (user_id, account_id)",
        r#"CREATE TABLE session (
        hash BYTEA PRIMARY KEY,
        user_id BIGINT NOT NULL REFERENCES "user" (id),
        created_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL
    ){clustered}"#,
        "CREATE INDEX session_expiry ON session (expires_at)",
        r"CREATE TABLE api_key (
        id BIGINT PRIMARY KEY,
        account_id BIGINT NOT NULL REFERENCES account (id),
        name TEXT NOT NULL,
        hash BYTEA NOT NULL UNIQUE,
        visible_prefix TEXT NOT NULL,
        limit_amount BIGINT,
        limit_window TEXT,
        models TEXT NOT NULL,
        cap_output BOOLEAN NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT,
        revoked_at BIGINT
    ){rows}",
        "CREATE INDEX api_key_of_account ON api_key (account_id, id)",
    ],
};
