//! Ports: what the rules need from the world, drawn by decision and not by table.

pub mod books;
pub mod catalogue;
pub mod clock;
pub mod coupons;
pub mod directory;
pub mod invoices;
pub mod messages;
pub mod nodes;
pub mod orders;
pub mod plans;
pub mod proofs;
pub mod reports;
pub mod spool;
pub mod subscriptions;
pub mod tax;
