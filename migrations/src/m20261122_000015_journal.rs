//! A transaction with two legs, one of them the revenue of calls, is one row of the journal.
//!
//! Nearly every settlement is one: a lot is drawn, and revenue is as much. Two rows in another table
//! cost a batch over many accounts more than all that it changes in their wallets.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261122_000015_journal",
    statements: &[
        // The leg against the revenue of calls. None where the legs stand in `ledger_entry`.
        "ALTER TABLE ledger_txn ADD COLUMN code TEXT",
        "ALTER TABLE ledger_txn ADD COLUMN amount BIGINT",
        "ALTER TABLE ledger_txn ADD COLUMN lot_id BIGINT",
        // All legs of the journal, whichever way they are kept.
        r"CREATE VIEW ledger_leg AS
        SELECT account_id, txn_id, leg, code, amount, lot_id FROM ledger_entry
        UNION ALL
        SELECT account_id, id, CAST(0 AS BIGINT), code, amount, lot_id FROM ledger_txn
        WHERE amount IS NOT NULL
        UNION ALL
        SELECT account_id, id, CAST(1 AS BIGINT), CAST('revenue_usage' AS TEXT), -amount,
        CAST(NULL AS BIGINT) FROM ledger_txn WHERE amount IS NOT NULL",
    ],
};
