//! What a call is rated with: fixed when it is authorized, whatever changes while it runs.

use std::sync::Arc;

use crate::price::PriceVersion;

/// The terms of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// What the account pays.
    pub price: Arc<PriceVersion>,
}

impl Terms {
    /// The catalogue's price, as it is listed.
    pub const fn listed(price: Arc<PriceVersion>) -> Self {
        Self { price }
    }
}
