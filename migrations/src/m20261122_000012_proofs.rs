//! What proofs of the books remember, and the accounts whose books failed one.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261122_000012_proofs",
    statements: &[
        // The last clean proof of an account. `posted`, `leased` and `txn_id` are what it saw, so
        // that an account that has not moved since is known without a look at its journal;
        // `carried` is what the rows add up to that the next proof need not read again.
        r"CREATE TABLE account_proof (
        account_id BIGINT PRIMARY KEY,
        proved_at BIGINT NOT NULL,
        posted BIGINT NOT NULL,
        leased BIGINT NOT NULL,
        txn_id BIGINT NOT NULL,
        carried TEXT NOT NULL
    ){rows}",
        // `was` is the status that the account had before.
        r"CREATE TABLE parked_account (
        account_id BIGINT PRIMARY KEY,
        parked_at BIGINT NOT NULL,
        was TEXT NOT NULL,
        why TEXT NOT NULL
    ){rows}",
    ],
};
