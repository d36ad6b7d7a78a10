//! The rules of money for metered AI traffic.
//!
//! Everything here is a value, a rule over values, or a port. Nothing reads a clock, draws a random
//! number, touches a file, a socket or a database, or computes with floating point. Time comes in
//! as an argument.
#![deny(
    missing_docs,
    clippy::missing_errors_doc,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

pub mod adjustment;
pub mod attribute;
pub mod billing_run;
pub mod budget;
pub mod call;
pub mod call_record;
pub mod charge;
pub mod charge_model;
pub mod correction;
pub mod fee_payment;
pub mod id;
pub mod invoice;
pub mod lapse;
pub mod lease;
pub mod lease_book;
pub mod ledger;
pub mod message;
pub mod meter;
pub mod money;
pub mod node;
pub mod node_watch;
pub mod period;
pub mod plan;
pub mod port;
pub mod price;
pub mod price_book;
pub mod price_change;
pub mod price_replay;
pub mod proration;
pub mod quota;
pub mod rate_limit;
pub mod reach;
pub mod sale;
pub mod settlement;
pub mod steady;
pub mod subscription;
pub mod subscription_order;
pub mod terms;
pub mod tier_schedule;
pub mod wallet;
pub mod zone;
