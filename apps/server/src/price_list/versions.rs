//! The versions of the catalogue, as they were sold.

use std::sync::Arc;

use billing_core::price::PriceVersion;
use billing_core::price_book::{Offer, PriceBook, PricedModel};
use time::{Duration, OffsetDateTime};

use crate::gate::Prices;

/// A price version of the catalogue, and what was made of it.
#[derive(Debug)]
pub(crate) struct ListedVersion {
    /// What the house pays.
    pub(crate) cost: Arc<PriceVersion>,
    /// What everybody pays, as it was sold last or will be sold first; `None` where a rule makes no
    /// price of it.
    pub(crate) price: Option<Arc<PriceVersion>>,
    /// Whether calls that come in now are rated with it.
    pub(crate) in_effect: bool,
}

/// The versions of a model, newest first.
pub(crate) fn versions(
    prices: &Prices,
    book: &PriceBook,
    model: &PricedModel,
    now: OffsetDateTime,
) -> Vec<ListedVersion> {
    let mut next: Option<OffsetDateTime> = None;
    let listed = model.versions().iter().rev().map(|cost| {
        let from = cost.effective_from();
        // The last instant at which it held; now, where it still does.
        let end = next.filter(|next| *next <= now);
        let last = end.map_or(now, |end| end - Duration::NANOSECOND);
        let in_effect = from <= now && end.is_none();
        next = Some(from);
        let offer = Offer {
            model,
            cost,
            sale: book.sales().find(None, model.name.as_str(), last.max(from)),
            discount: None,
            tiers: None,
        };
        let terms = prices.sold(&offer);
        if let Err(error) = &terms {
            tracing::error!(model = %model.name, %error, "a price cannot be listed");
        }
        ListedVersion {
            cost: Arc::clone(cost),
            price: terms.ok().map(|terms| terms.price),
            in_effect,
        }
    });
    listed.collect()
}
