//! What a call is rated with: fixed when it is authorized, whatever changes while it runs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{PriceVersionId, SaleRuleId};
use crate::price::{Attributes, PriceError, PriceVersion};
use crate::sale::SaleRule;

/// The terms of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// What the account pays.
    pub price: Arc<PriceVersion>,
    /// What the house pays, and by which rule the price follows from it; `None` where the
    /// catalogue's price is both.
    pub resold: Option<Resold>,
}

/// How a price came to differ from what the house pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resold {
    /// What the house pays.
    pub cost: Arc<PriceVersion>,
    /// The rule.
    pub rule: SaleRuleId,
}

impl Terms {
    /// The catalogue's price, as it is listed.
    pub const fn listed(price: Arc<PriceVersion>) -> Self {
        Self {
            price,
            resold: None,
        }
    }

    /// What a rule makes of the catalogue's price.
    ///
    /// # Errors
    /// As [`crate::sale::SalePrice::of`].
    pub fn resold(cost: Arc<PriceVersion>, rule: &SaleRule) -> Result<Self, PriceError> {
        let price = Arc::new(rule.price.of(&cost)?);
        let rule = rule.id;
        let resold = Some(Resold { cost, rule });
        Ok(Self { price, resold })
    }

    /// What the house pays.
    pub fn cost(&self) -> &Arc<PriceVersion> {
        let resold = self.resold.as_ref();
        resold.map_or(&self.price, |resold| &resold.cost)
    }

    /// The version of the catalogue's price, from which everything else follows.
    pub fn price_version(&self) -> PriceVersionId {
        self.price.id()
    }
}

/// What the charge of a call follows from beside its usage, its service tier, its beginning and the
/// catalogue's price version: most calls have nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RatingRecord {
    /// The rule by which the price follows from the catalogue's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<SaleRuleId>,
    /// What else was known of the call that prices depend on.
    #[serde(default, skip_serializing_if = "Attributes::is_none")]
    pub attributes: Attributes,
}

impl RatingRecord {
    /// Whether there is nothing of it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
