//! Everything that speaks HTTP to callers.

pub(crate) mod api;
pub(crate) mod caller;
pub(crate) mod docs;
pub(crate) mod health;
pub(crate) mod quotas;
pub(crate) mod rates;
pub(crate) mod receipt;
pub(crate) mod request_id;
pub(crate) mod routes;
pub(crate) mod tiers;
pub(crate) mod v1;
