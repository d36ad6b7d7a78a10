//! Rows of the control plane as SeaORM entities. They stay in this crate.
//!
//! Wallets are none: whatever changes one counts its version up, which an entity would not.
#![expect(
    unreachable_pub,
    reason = "SeaORM's derive makes public items beside each model"
)]

pub(crate) mod account;
pub(crate) mod api_key;
pub(crate) mod change_feed;
pub(crate) mod membership;
pub(crate) mod session;
pub(crate) mod user;
