//! The journal: double entry, append-only, one account a transaction.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261122_000004_ledger",
    statements: &[
        r"CREATE TABLE ledger_txn (
        account_id BIGINT NOT NULL,
        id BIGINT NOT NULL,
        kind TEXT NOT NULL,
        idem_key TEXT,
        fingerprint TEXT,
        booked_at BIGINT NOT NULL,
        balance_after BIGINT NOT NULL,
        note TEXT NOT NULL,
        PRIMARY KEY (account_id, id)
    ){clustered}",
        // A settlement has no key: its calls are recorded once each.
        "CREATE UNIQUE INDEX ledger_txn_key ON ledger_txn (account_id, idem_key)
        WHERE idem_key IS NOT NULL",
        r"CREATE TABLE ledger_entry (
        account_id BIGINT NOT NULL,
        txn_id BIGINT NOT NULL,
        leg BIGINT NOT NULL,
        code TEXT NOT NULL,
        amount BIGINT NOT NULL,
        lot_id BIGINT,
        PRIMARY KEY (account_id, txn_id, leg),
        CONSTRAINT ledger_entry_amount CHECK (amount <> 0)
    ){clustered}",
    ],
};
