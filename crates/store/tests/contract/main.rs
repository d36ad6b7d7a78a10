//! Every port's rules on SQLite and on PostgreSQL, and what only a database can break.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

mod changed;
mod claims;
mod listed;
mod moved_date;
mod open;
mod postgres;
mod proofs;
mod retention;
mod schema;
mod spool;
mod sqlite;
mod store;
mod tampered;
mod told;
