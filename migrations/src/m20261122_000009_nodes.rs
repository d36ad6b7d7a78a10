//! Nodes have a number for their ids, a name that only one living node has, and can say that they
//! leave; what the dead have on lease is found without reading every lease.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261122_000009_nodes",
    statements: &[
        "ALTER TABLE node ADD COLUMN number BIGINT",
        // Set together with `fenced_at`, which every lease asks for.
        "ALTER TABLE node ADD COLUMN left_at BIGINT",
        "UPDATE node SET fenced_at = heartbeat_at WHERE fenced_at IS NULL AND EXISTS \
         (SELECT 1 FROM node later WHERE later.name = node.name AND later.id > node.id \
          AND later.fenced_at IS NULL)",
        "DROP INDEX node_unfenced",
        "CREATE UNIQUE INDEX node_name ON node (name) WHERE fenced_at IS NULL",
        "CREATE UNIQUE INDEX node_number ON node (number) WHERE fenced_at IS NULL",
        "DROP INDEX lease_of_node",
        "CREATE INDEX lease_of_node ON lease (node_id, account_id)",
    ],
};
