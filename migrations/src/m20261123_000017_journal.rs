//! On SQLite the journal lies in order of time, and a list by account is filled later.
//!
//! In order of accounts a batch of settlements over a thousand accounts writes a thousand pages.
//! `account_txn` is that order, filled by the background task that lists calls (see step 5). Not
//! listed yet is what lies beyond `txn_listed.upto`: no row is put into a queue and taken out again.
//! On PostgreSQL the journal stays as it is. Who reads it finds the same names on both.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261123_000017_journal",
    statements: &[
        "{sqlite}DROP VIEW ledger_leg",
        "{sqlite}DROP INDEX ledger_txn_key",
        "{sqlite}ALTER TABLE ledger_txn RENAME TO ledger_txn_before",
        r"{sqlite}CREATE TABLE ledger_txn (
        account_id BIGINT NOT NULL,
        id BIGINT NOT NULL,
        kind TEXT NOT NULL,
        idem_key TEXT,
        fingerprint TEXT,
        booked_at BIGINT NOT NULL,
        balance_after BIGINT NOT NULL,
        note TEXT NOT NULL,
        code TEXT,
        amount BIGINT,
        lot_id BIGINT,
        PRIMARY KEY (id, account_id)
    ){clustered}",
        r"{sqlite}INSERT INTO ledger_txn (account_id, id, kind, idem_key, fingerprint, booked_at,
        balance_after, note, code, amount, lot_id)
        SELECT account_id, id, kind, idem_key, fingerprint, booked_at, balance_after, note, code,
        amount, lot_id FROM ledger_txn_before ORDER BY id, account_id",
        "{sqlite}CREATE UNIQUE INDEX ledger_txn_key ON ledger_txn (account_id, idem_key)
        WHERE idem_key IS NOT NULL",
        r"{sqlite}CREATE TABLE account_txn (
        account_id BIGINT NOT NULL,
        txn_id BIGINT NOT NULL,
        PRIMARY KEY (account_id, txn_id)
    ){clustered}",
        "{sqlite}INSERT INTO account_txn (account_id, txn_id)
        SELECT account_id, id FROM ledger_txn_before ORDER BY account_id, id",
        "{sqlite}DROP TABLE ledger_txn_before",
        // Transactions up to `upto` are listed; those up to `until` are, or are about to be.
        r"{sqlite}CREATE TABLE txn_listed (
        id BIGINT PRIMARY KEY,
        upto BIGINT NOT NULL,
        until BIGINT NOT NULL
    ){rows}",
        "{sqlite}INSERT INTO txn_listed (id, upto, until)
        SELECT 1, COALESCE(MAX(id), -9223372036854775808), COALESCE(MAX(id), -9223372036854775808)
        FROM ledger_txn",
        // What was booked by a clock that is behind is passed by already: it is listed at once.
        r"{sqlite}CREATE TRIGGER ledger_txn_late AFTER INSERT ON ledger_txn
        WHEN NEW.id <= (SELECT until FROM txn_listed WHERE id = 1)
        BEGIN
            INSERT INTO account_txn (account_id, txn_id) SELECT NEW.account_id, NEW.id
            WHERE NOT EXISTS (SELECT 1 FROM account_txn j
            WHERE j.account_id = NEW.account_id AND j.txn_id = NEW.id);
        END",
        // Before its end a round of the task has listed some of them already. Which of two lower
        // bounds of an id is sought in the key is told by what is thought likely.
        r"{sqlite}CREATE VIEW txn_unlisted AS
        SELECT t.account_id, t.id, t.kind, t.idem_key, t.fingerprint, t.booked_at, t.balance_after,
        t.note, t.code, t.amount, t.lot_id FROM ledger_txn t
        WHERE likelihood(t.id > (SELECT s.upto FROM txn_listed s WHERE s.id = 1), 0.0000001)
        AND NOT EXISTS (SELECT 1 FROM account_txn j
        WHERE j.account_id = t.account_id AND j.txn_id = t.id)",
        // The journal, for whoever asks for an account's part of it.
        r"{sqlite}CREATE VIEW account_journal AS
        SELECT j.account_id, j.txn_id AS id, t.kind, t.idem_key, t.fingerprint, t.booked_at,
        t.balance_after, t.note, t.code, t.amount, t.lot_id
        FROM account_txn j CROSS JOIN ledger_txn t
        WHERE t.id = j.txn_id AND t.account_id = j.account_id
        UNION ALL
        SELECT account_id, id, kind, idem_key, fingerprint, booked_at, balance_after, note, code,
        amount, lot_id FROM txn_unlisted",
        r"{sqlite}CREATE VIEW ledger_leg AS
        SELECT account_id, txn_id, leg, code, amount, lot_id FROM ledger_entry
        UNION ALL
        SELECT account_id, id, 0, code, amount, lot_id FROM account_journal
        WHERE amount IS NOT NULL
        UNION ALL
        SELECT account_id, id, 1, 'revenue_usage', -amount, NULL FROM account_journal
        WHERE amount IS NOT NULL",
        "{postgres}CREATE VIEW account_txn AS SELECT account_id, id AS txn_id FROM ledger_txn",
        "{postgres}CREATE VIEW txn_unlisted AS SELECT * FROM ledger_txn WHERE false",
        "{postgres}CREATE VIEW account_journal AS SELECT * FROM ledger_txn",
    ],
};
