//! What decides, beside the quantities, which rate of a price applies to a call.

use time::OffsetDateTime;

use super::{Attributes, ServiceTier};

/// What decides which of a price's rates apply to a call. With the usage and the price version it
/// is all that a charge is derived from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// The tier that the provider says it gave.
    pub tier: ServiceTier,
    /// When the call was authorized.
    pub at: OffsetDateTime,
    /// What else is known of it.
    pub attributes: Attributes,
}

impl Circumstances {
    /// A call of an instant, in a tier, of which nothing else is known.
    pub const fn new(tier: ServiceTier, at: OffsetDateTime) -> Self {
        Self {
            tier,
            at,
            attributes: Attributes::NONE,
        }
    }
}
