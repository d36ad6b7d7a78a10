//! Calls, their attempts and keys, the list by account, and the roll-ups.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261122_000005_calls",
    statements: &[
        // In order of time, and no index that leads with the account: it would cost three times the
        // rest of a settlement. `account_call` is that index, filled in order by a background task.
        // `uses` are the limits and quotas that the call drew on, wallet apart. The last upstream try
        // stands in the row, earlier ones in `call_attempt`.
        r"CREATE TABLE call (
        id BIGINT NOT NULL,
        account_id BIGINT NOT NULL,
        key_id BIGINT NOT NULL,
        endpoint TEXT NOT NULL,
        model TEXT NOT NULL,
        outcome TEXT NOT NULL,
        streamed BOOLEAN NOT NULL,
        status BIGINT NOT NULL,
        usage TEXT NOT NULL,
        usage_source TEXT,
        tier TEXT NOT NULL,
        price_version_id BIGINT NOT NULL,
        held BIGINT NOT NULL,
        charge BIGINT NOT NULL,
        overrun BIGINT NOT NULL,
        quarantined BOOLEAN NOT NULL,
        on_credit BIGINT NOT NULL,
        draws TEXT,
        uses TEXT,
        balance_after BIGINT NOT NULL,
        ledger_txn_id BIGINT,
        started_at BIGINT NOT NULL,
        settled_at BIGINT NOT NULL,
        first_byte_ms BIGINT,
        latency_ms BIGINT NOT NULL,
        upstream_id TEXT,
        finish_reason TEXT,
        attempts BIGINT NOT NULL,
        channel TEXT,
        attempt_status BIGINT,
        attempt_outcome TEXT,
        attempt_ms BIGINT,
        PRIMARY KEY (id, account_id),
        CONSTRAINT call_charge CHECK (charge >= 0 AND overrun >= 0 AND on_credit >= 0)
    ){clustered}",
        r"CREATE TABLE call_attempt (
        account_id BIGINT NOT NULL,
        call_id BIGINT NOT NULL,
        seq BIGINT NOT NULL,
        channel TEXT NOT NULL,
        status BIGINT,
        outcome TEXT NOT NULL,
        latency_ms BIGINT NOT NULL,
        PRIMARY KEY (call_id, account_id, seq)
    ){clustered}",
        r"CREATE TABLE call_idempotency (
        account_id BIGINT NOT NULL,
        key TEXT NOT NULL,
        call_id BIGINT NOT NULL,
        PRIMARY KEY (account_id, key)
    ){clustered}",
        // The calls of an account, and those that wait to be put there.
        r"CREATE TABLE account_call (
        account_id BIGINT NOT NULL,
        call_id BIGINT NOT NULL,
        PRIMARY KEY (account_id, call_id)
    ){clustered}",
        r"CREATE TABLE call_unlisted (
        {queue},
        account_id BIGINT NOT NULL,
        call_id BIGINT NOT NULL
    ){rows}",
        r"CREATE TABLE usage_rollup (
        account_id BIGINT NOT NULL,
        bucket_start BIGINT NOT NULL,
        key_id BIGINT NOT NULL,
        model TEXT NOT NULL,
        calls BIGINT NOT NULL,
        void_calls BIGINT NOT NULL,
        prompt_tokens BIGINT NOT NULL,
        cache_read_tokens BIGINT NOT NULL,
        answer_tokens BIGINT NOT NULL,
        charge BIGINT NOT NULL,
        overrun BIGINT NOT NULL,
        PRIMARY KEY (account_id, bucket_start, key_id, model)
    ){clustered}",
    ],
};
