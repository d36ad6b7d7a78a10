//! Tier schedules that a file changes, in words.

use billing_core::money::Exact;
use billing_core::price_change::TierChange;
use billing_core::tier_schedule::{TierPrice, TierPricing, TierTerms};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::catalogue::report::in_words;
use crate::http::tiers::words::{held, packages, place};

/// What a schedule says, tier by tier.
pub(super) fn terms_in_words(terms: &TierTerms) -> Vec<String> {
    let mut lines = match &terms.pricing {
        TierPricing::Package(package) | TierPricing::PerCall(package) => {
            vec![packages(package, terms)]
        }
        TierPricing::Graduated(tiers) | TierPricing::Volume(tiers) => {
            let is_volume = matches!(terms.pricing, TierPricing::Volume(_));
            let mut lines = Vec::with_capacity(tiers.all().len());
            for (number, tier) in (1_usize..).zip(tiers.all()) {
                let mut line = format!("{}: {}", place(number, terms), held(&tier.price, terms));
                if let TierPrice::Rates(rates) = &tier.price {
                    line = format!("{line}: {}", in_words(terms.currency, rates, &[]));
                }
                if tier.flat != Exact::ZERO {
                    line = format!("{line}, and {} {} once", tier.flat, terms.currency);
                }
                if is_volume {
                    line.push_str(", for all of the window where its total falls here");
                }
                lines.push(line);
            }
            lines
        }
    };
    if let Some(minimum) = terms.minimum {
        let currency = terms.currency;
        lines.push(format!(
            "at least {minimum} {currency} are due for a window"
        ));
    }
    lines
}

/// What a file makes of a schedule, and from when on where that is to be known.
pub(super) fn change_in_words(change: &TierChange, from: OffsetDateTime) -> Vec<String> {
    let kind = match (&change.old, &change.new) {
        (None, _) => "new",
        (Some(_), Some(_)) => "changed",
        (Some(_), None) => "ended",
    };
    let mut lines = vec![format!("tier schedule {}: {kind}", change.reach)];
    let terms = change.new.iter().flat_map(|terms| terms_in_words(terms));
    lines.extend(terms.map(|line| format!("  {line}")));
    if change.begins_anew() {
        lines.push(format!("  {}", anew(change, from)));
    }
    lines
}

/// What becomes of what was used of a schedule that another takes the place of.
fn anew(change: &TierChange, from: OffsetDateTime) -> String {
    let before = from.saturating_sub(Duration::nanoseconds(1));
    let old = change.old.as_deref();
    if old.is_some_and(|old| old.window_end(before) == Some(from)) {
        return "it begins where a window does, so nothing is lost of what was used".to_owned();
    }
    let mut text = "what was used so far no longer counts: every account begins in the first tier \
                    again"
        .to_owned();
    let next = old.and_then(|old| old.window_end(from));
    if let Some(next) = next.and_then(|next| next.format(&Rfc3339).ok()) {
        text =
            format!("{text}. With `--from {next}` it does so where the next window begins anyway");
    }
    text
}
