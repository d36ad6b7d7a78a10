//! The ports of `billing-core` over SeaORM: the same on SQLite and on PostgreSQL.
//!
//! A [`Store`] is several ports at once: `Books`, `Nodes`, `Directory`, `Catalogue`, `Plans`,
//! `Subscriptions`, `Collector`, `Invoices`, `Coupons`, `Reports`, `Proofs`.
//! Decisions are made by rules of `billing-core`; this crate locks and loads what they look at,
//! calls them, and writes what they answer, in one transaction. It decides nothing itself.
//!
//! # Where things are
//! - One file a port: `books`, `nodes`, `directory`, `catalogue`, `plans`, `subscriptions`, `invoices`,
//!   `reports`.
//! - The hot path is constant SQL over arrays (`jsonb_each` on SQLite, `unnest` on PostgreSQL), and
//!   row by row where SQLite settles; `rows` alone knows the difference. Control-plane rows are
//!   SeaORM entities.
//! - The row of a wallet is the lock on an account's books: whoever changes them takes it first.
//! - `spool` is the one part that has a file of its own, on the node's disk, beside the database.
//! - Settlements and leases go to one committer, which puts all that waits into one transaction.
//!   On SQLite it has a connection of its own for settlements (`embedded`), beside SeaORM's.
//! - Whoever else writes on SQLite waits for a turn (`writer`).
//!
//! # Adding a table
//! A step in `migrations`, what reads and writes it here, then `TOLLGATE_BLESS=1 cargo nextest run
//! -p store schema` to renew `docs/reference/entities.md`.

mod adjustment_list;
mod books;
mod call_list;
mod call_row;
mod catalogue;
mod coupons;
mod db;
mod deployment;
mod directory;
mod embedded;
mod entity;
mod error;
#[cfg(test)]
mod hot_statements;
mod instant;
mod invoices;
#[cfg(test)]
mod list_plans;
mod listen;
mod listing;
mod look;
mod messages;
mod moved_date;
mod nodes;
mod open;
#[cfg(test)]
mod partitioned;
mod plans;
mod pricing_rules;
mod purge;
mod reports;
mod retention;
mod rows;
mod schema;
mod spool;
mod store_time;
mod subscriptions;
mod txn_ids;
mod verify;
mod writer;

pub use books::committer::{Committed, WAITED};
pub use deployment::DeploymentId;
pub use error::StoreError;
pub use listen::{Listener, NEWS, RECALL, Told};
pub use listing::Listed;
pub use look::{LeaseLook, Look, NodeLook};
pub use open::{Store, StoreConfig};
pub use spool::{
    EarlierLife, Opened, SpoolConfig, SpoolFile, SpoolHeader, SpoolOpenError, SpoolView,
};
