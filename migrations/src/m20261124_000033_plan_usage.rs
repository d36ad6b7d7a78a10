//! Whose a key is, which plan a call was under, and what plans and quotas were used for.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261124_000033_plan_usage",
    statements: &[
        // A member of the account, for good; null for keys of nobody, as all of before are.
        r#"ALTER TABLE api_key ADD COLUMN member_id BIGINT REFERENCES "user" (id)"#,
        // Null where the account was on no plan, or a build that did not know of this recorded the
        // call: then it is in no row of `plan_rollup` either.
        "ALTER TABLE call ADD COLUMN plan_version_id BIGINT",
        // A call under a plan is counted in one of two rows of a bucket: under the quota 0 where it
        // drew of no quota, under -1 where it drew of any; and in a row of each quota that it drew.
        r"CREATE TABLE plan_rollup (
        account_id BIGINT NOT NULL,
        bucket_start BIGINT NOT NULL,
        plan_version_id BIGINT NOT NULL,
        quota_id BIGINT NOT NULL,
        calls BIGINT NOT NULL,
        void_calls BIGINT NOT NULL,
        prompt_tokens BIGINT NOT NULL,
        cache_read_tokens BIGINT NOT NULL,
        answer_tokens BIGINT NOT NULL,
        charge BIGINT NOT NULL,
        covered BIGINT NOT NULL,
        drawn BIGINT NOT NULL,
        PRIMARY KEY (account_id, bucket_start, plan_version_id, quota_id)
    ){clustered}",
        "{postgres}ALTER TABLE plan_rollup SET (fillfactor = 80)",
    ],
};
