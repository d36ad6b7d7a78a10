//! Which calls an adjustment corrects.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261123_000021_adjustments",
    statements: &[r"CREATE TABLE adjustment (
        account_id BIGINT NOT NULL,
        call_id BIGINT NOT NULL,
        ledger_txn_id BIGINT NOT NULL,
        amount BIGINT NOT NULL,
        PRIMARY KEY (account_id, call_id, ledger_txn_id)
    ){clustered}"],
};
