//! The list of an account's calls: on PostgreSQL it is the key of `call` itself.
//!
//! There a queue and a second table cost more than the one index that they spare: twice the rows,
//! and all of them deleted again. On SQLite they stay (see step 5). Who reads either finds both
//! names on both databases. And what makes settling cheaper there.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261122_000011_calls",
    statements: &[
        "{postgres}ALTER TABLE call DROP CONSTRAINT call_pkey, ADD PRIMARY KEY (account_id, id)",
        "{postgres}DROP TABLE account_call",
        "{postgres}DROP TABLE call_unlisted",
        "{postgres}CREATE VIEW account_call AS SELECT account_id, id AS call_id FROM call",
        "{postgres}CREATE VIEW call_unlisted AS SELECT account_id, call_id FROM account_call \
         WHERE false",
        // A condition on what a settlement changes would put each new version of a lease into every
        // index of the table.
        "{postgres}DROP INDEX lease_empty",
        "{postgres}CREATE INDEX lease_asked ON lease (asked_at)",
        // Room for the next version of a row on its own page, so that no index changes.
        "{postgres}ALTER TABLE wallet SET (fillfactor = 70)",
        "{postgres}ALTER TABLE lot SET (fillfactor = 70)",
        "{postgres}ALTER TABLE lease SET (fillfactor = 70)",
        "{postgres}ALTER TABLE quota_usage SET (fillfactor = 70)",
        "{postgres}ALTER TABLE usage_rollup SET (fillfactor = 80)",
    ],
};
