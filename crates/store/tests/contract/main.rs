//! Every port's rules on SQLite and on PostgreSQL, and what only a database can break.

mod open;
mod postgres;
mod schema;
mod sqlite;
mod store;
mod tampered;
