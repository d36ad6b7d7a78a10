//! Plans, their immutable versions and quotas, subscriptions and what others call them.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261122_000002_plans",
    statements: &[
        r"CREATE TABLE plan (
        id BIGINT PRIMARY KEY,
        code TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        created_at BIGINT NOT NULL
    ){rows}",
        r"CREATE TABLE plan_version (
        id BIGINT PRIMARY KEY,
        plan_id BIGINT NOT NULL REFERENCES plan (id),
        version BIGINT NOT NULL,
        currency TEXT NOT NULL,
        price BIGINT NOT NULL,
        period_unit TEXT NOT NULL,
        period_count BIGINT NOT NULL,
        trial_days BIGINT NOT NULL,
        call_limit BIGINT,
        speed_boost BOOLEAN NOT NULL,
        features TEXT NOT NULL,
        published_at BIGINT,
        UNIQUE (plan_id, version)
    ){rows}",
        r"CREATE TABLE plan_quota (
        id BIGINT PRIMARY KEY,
        plan_version_id BIGINT NOT NULL REFERENCES plan_version (id),
        models TEXT NOT NULL,
        unit BIGINT NOT NULL,
        amount BIGINT NOT NULL,
        quota_window TEXT NOT NULL
    ){rows}",
        "CREATE INDEX plan_quota_of_version ON plan_quota (plan_version_id)",
        r"CREATE TABLE subscription (
        id BIGINT PRIMARY KEY,
        account_id BIGINT NOT NULL REFERENCES account (id),
        plan_version_id BIGINT NOT NULL REFERENCES plan_version (id),
        state TEXT NOT NULL,
        anchor BIGINT NOT NULL,
        period_start BIGINT NOT NULL,
        period_end BIGINT NOT NULL,
        auto_renew BOOLEAN NOT NULL,
        managed_by TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        ended_at BIGINT
    ){rows}",
        "CREATE INDEX subscription_of_account ON subscription (account_id, id)",
        r"CREATE TABLE external_ref (
        account_id BIGINT NOT NULL REFERENCES account (id),
        gateway TEXT NOT NULL,
        kind TEXT NOT NULL,
        external_id TEXT NOT NULL,
        subscription_id BIGINT REFERENCES subscription (id),
        PRIMARY KEY (gateway, kind, external_id)
    ){clustered}",
        "CREATE INDEX external_ref_of_account ON external_ref (account_id)",
    ],
};
