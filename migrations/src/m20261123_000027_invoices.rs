//! Invoices, credit notes, their numbers, and what of fees is not earned yet.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261123_000027_invoices",
    statements: &[
        // To whom the account's invoices are written; null where it has not said.
        "ALTER TABLE account ADD COLUMN billing_details TEXT",
        // The last number of each series, and when it was taken. Whoever makes a document final takes
        // the next in the same transaction.
        r"CREATE TABLE document_series (
        series TEXT PRIMARY KEY,
        last BIGINT NOT NULL,
        taken_at BIGINT NOT NULL
    ){clustered}",
        // Everything about it; the columns beside it are what is looked for.
        r"CREATE TABLE invoice (
        account_id BIGINT NOT NULL REFERENCES account (id),
        id BIGINT NOT NULL,
        subscription_id BIGINT,
        series TEXT NOT NULL,
        place BIGINT NOT NULL,
        number TEXT NOT NULL,
        status TEXT NOT NULL,
        issued_at BIGINT NOT NULL,
        total BIGINT NOT NULL,
        facts TEXT NOT NULL,
        PRIMARY KEY (account_id, id)
    ){clustered}",
        "CREATE UNIQUE INDEX invoice_number ON invoice (number)",
        "CREATE INDEX invoice_of_subscription ON invoice (subscription_id, id)
        WHERE subscription_id IS NOT NULL",
        r"CREATE TABLE credit_note (
        account_id BIGINT NOT NULL REFERENCES account (id),
        id BIGINT NOT NULL,
        invoice_id BIGINT NOT NULL,
        series TEXT NOT NULL,
        place BIGINT NOT NULL,
        number TEXT NOT NULL,
        idem_key TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        issued_at BIGINT NOT NULL,
        total BIGINT NOT NULL,
        facts TEXT NOT NULL,
        PRIMARY KEY (account_id, id)
    ){clustered}",
        "CREATE UNIQUE INDEX credit_note_number ON credit_note (number)",
        "CREATE UNIQUE INDEX credit_note_key ON credit_note (account_id, idem_key)",
        "CREATE INDEX credit_note_of_invoice ON credit_note (account_id, invoice_id)",
        // What of a line is not earned yet; `next_at` is null while nothing is to be earned.
        r"CREATE TABLE fee_deferral (
        account_id BIGINT NOT NULL,
        invoice_id BIGINT NOT NULL,
        line BIGINT NOT NULL,
        unearned BIGINT NOT NULL,
        earned_to BIGINT NOT NULL,
        until_at BIGINT NOT NULL,
        next_at BIGINT,
        PRIMARY KEY (account_id, invoice_id, line)
    ){clustered}",
        "CREATE INDEX fee_deferral_next ON fee_deferral (next_at) WHERE next_at IS NOT NULL",
        // The invoice that asks for the fee; null for what was charged before there were invoices.
        "ALTER TABLE subscription_fee ADD COLUMN invoice_id BIGINT",
    ],
};
