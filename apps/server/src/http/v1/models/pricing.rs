//! What a model costs, in OpenRouter's shape.

use std::sync::Arc;

use billing_core::meter::Meter;
use billing_core::price::{ContextThreshold, PriceVersion, Rate, ServiceTier, When};
use serde_json::{Map, Value};

use crate::catalogue::openrouter::PRICES;
use crate::http::rates::one;

/// Names like theirs for what they have none for.
const OWN: [(&str, Meter); 2] = [("image_made", Meter::OutputImage), ("page", Meter::Page)];

/// The price of one token, image, request …
///
/// `overrides` holds what OpenRouter's clients know conditions of: prompts above a size, hours of
/// every day in UTC. Whatever depends on something else stands apart, in `conditions`: a client that
/// does not know a condition would take its price for one that always holds.
pub(super) fn pricing(price: &PriceVersion) -> Map<String, Value> {
    let mut pricing = in_tier(price, ServiceTier::Standard);
    let others = ServiceTier::ALL.iter();
    let others = others.filter(|tier| **tier != ServiceTier::Standard);
    let tiers = others.map(|tier| (tier.name().to_owned(), in_tier(price, *tier)));
    let tiers: Map<String, Value> = tiers
        .filter(|(_, prices)| !prices.is_empty())
        .map(|(name, prices)| (name, Value::Object(prices)))
        .collect();
    if !tiers.is_empty() {
        pricing.insert("service_tiers".to_owned(), tiers.into());
    }
    pricing
}

fn in_tier(price: &PriceVersion, tier: ServiceTier) -> Map<String, Value> {
    let mut pricing = prices(price.rates(), tier, None);
    let mut overrides: Vec<Value> = long_prompts(price.rates(), tier, &Map::new()).collect();
    let mut conditions = Vec::new();
    for variant in price.variants() {
        let rates = &variant.rates;
        for (also, is_known) in asked(&variant.when) {
            let mut plain = prices(rates, tier, None);
            let is_priced = !plain.is_empty();
            plain.extend(also.clone());
            let plain = is_priced.then_some(Value::Object(plain));
            let all = plain.into_iter().chain(long_prompts(rates, tier, &also));
            if is_known {
                overrides.extend(all);
            } else {
                conditions.extend(all);
            }
        }
    }
    for (name, list) in [("overrides", overrides), ("conditions", conditions)] {
        if !list.is_empty() {
            pricing.insert(name.to_owned(), list.into());
        }
    }
    pricing
}

/// The prices of prompts above each size, with what else is asked.
fn long_prompts(
    rates: &[Rate],
    tier: ServiceTier,
    also: &Map<String, Value>,
) -> impl Iterator<Item = Value> {
    let of_tier = rates.iter().filter(|rate| rate.tier == tier);
    let mut above: Vec<ContextThreshold> = of_tier.filter_map(|rate| rate.above).collect();
    above.sort_unstable();
    above.dedup();
    above.into_iter().map(move |above| {
        let mut prices = prices(rates, tier, Some(above));
        // OpenRouter's bound is strict; one that includes its own size begins a token earlier.
        let inclusive = u64::from(above.inclusive);
        let tokens = above.prompt_tokens.saturating_sub(inclusive);
        prices.insert("min_prompt_tokens".to_owned(), tokens.into());
        prices.extend(also.clone());
        Value::Object(prices)
    })
}

/// A condition in OpenRouter's words, once for each span of hours; or as it is written here, where
/// these words do not reach.
fn asked(when: &Arc<When>) -> Vec<(Map<String, Value>, bool)> {
    let text = when.to_string();
    let Some(spans) = utc_hours(&text) else {
        let asked = [("when".to_owned(), Value::String(text))];
        return vec![(Map::from_iter(asked), false)];
    };
    let span = |(start, end): (String, String)| {
        let hours = [("utc_start", start), ("utc_end", end)];
        let hours = hours.map(|(name, at)| (name.to_owned(), Value::String(at)));
        (Map::from_iter(hours), true)
    };
    spans.into_iter().map(span).collect()
}

/// The spans of a condition that names nothing but hours of every day in UTC. One over midnight is
/// written as two.
fn utc_hours(when: &str) -> Option<Vec<(String, String)>> {
    let windows = when.strip_prefix("during UTC ")?.split(" | ");
    let span = |window: &str| {
        let (start, end) = window.strip_prefix("daily ")?.split_once('-')?;
        Some((start.to_owned(), end.to_owned()))
    };
    let mut spans: Vec<_> = windows.map(span).collect::<Option<_>>()?;
    let first = spans.iter().position(|(start, _)| start == "00:00");
    let last = spans.iter().position(|(_, end)| end == "24:00");
    if let (Some(first), Some(last)) = (first, last)
        && first != last
    {
        let end = spans.get(first)?.1.clone();
        spans.get_mut(last)?.1 = end;
        spans.remove(first);
    }
    for (_, end) in &mut spans {
        if end == "24:00" {
            "00:00".clone_into(end);
        }
    }
    Some(spans)
}

fn prices(
    rates: &[Rate],
    tier: ServiceTier,
    above: Option<ContextThreshold>,
) -> Map<String, Value> {
    let stated = |meter: Meter| {
        let mut rates = rates.iter();
        rates
            .find(|r| r.meter == meter && r.tier == tier && r.above == above)
            .map(|r| r.price)
    };
    let priced = PRICES
        .iter()
        .chain(&OWN)
        .filter_map(|(name, meter)| Some((*name, stated(*meter)?)));
    priced
        .map(|(name, price)| (name.to_owned(), Value::String(one(price))))
        .collect()
}

#[cfg(test)]
mod tests {
    use billing_core::id::PriceVersionId;
    use billing_core::money::Currency;
    use billing_core::price::{ModelName, Variant};
    use serde_json::{from_value, json};
    use time::OffsetDateTime;

    use super::*;

    #[test]
    fn thresholds_and_hours_are_overrides_and_other_conditions_stand_apart() {
        let rates: Vec<Rate> = from_value(json!([
            {"meter": "input", "price": "0.000001"},
            {"meter": "output", "price": "0.000004"},
            {"meter": "search", "price": "free"},
            {"meter": "input", "price": "0.000002", "above": {"prompt_tokens": 200_000}},
            {"meter": "output", "price": "0.000008",
                "above": {"prompt_tokens": 1000, "inclusive": true}},
            {"meter": "input", "price": "0.0000005", "tier": "flex"},
            {"meter": "input", "price": "0.0000007", "tier": "flex",
                "above": {"prompt_tokens": 200_000}},
        ]))
        .unwrap();
        let variants: Vec<Variant> = from_value(json!([
            {"when": "during UTC daily 00:00-00:30 | daily 16:30-24:00",
                "rates": [{"meter": "input", "price": "0.0000009"}]},
            {"when": "region=eu", "rates": [{"meter": "input", "price": "0.0000011"},
                {"meter": "input", "price": "0.0000022", "above": {"prompt_tokens": 9}}]},
            {"when": "during UTC mon-fri 08:00-09:00",
                "rates": [{"meter": "input", "price": "0.000003"}]},
        ]))
        .unwrap();
        let (id, model) = (PriceVersionId::new(1), ModelName::new("m"));
        let from = OffsetDateTime::UNIX_EPOCH;
        let price = PriceVersion::new(id, model, Currency::USD, from, rates).unwrap();
        let shown = Value::Object(pricing(&price.with_variants(variants).unwrap()));
        let plain = ["prompt", "completion", "web_search"].map(|name| shown[name].clone());
        assert_eq!(plain, ["0.000001", "0.000004", "0"].map(|p| json!(p)));
        assert_eq!(
            shown["overrides"],
            json!([
                {"min_prompt_tokens": 999, "completion": "0.000008"},
                {"min_prompt_tokens": 200_000, "prompt": "0.000002"},
                {"utc_start": "16:30", "utc_end": "00:30", "prompt": "0.0000009"},
            ])
        );
        let conditions = shown["conditions"].as_array().unwrap();
        assert_eq!(conditions.len(), 3, "{shown}");
        for condition in [
            json!({"when": "region=eu", "prompt": "0.0000011"}),
            json!({"when": "region=eu", "prompt": "0.0000022", "min_prompt_tokens": 9}),
            json!({"when": "during UTC mon-fri 08:00-09:00", "prompt": "0.000003"}),
        ] {
            assert!(conditions.contains(&condition), "{shown}");
        }
        let flex = json!({"prompt": "0.0000005", "overrides":
            [{"min_prompt_tokens": 200_000, "prompt": "0.0000007"}]});
        assert_eq!(shown["service_tiers"], json!({"flex": flex}));
    }

    #[test]
    fn hours_are_in_utc_and_of_every_day_or_stand_apart() {
        let hours = |when: &str| {
            utc_hours(when).map(|spans| {
                let spans = spans
                    .into_iter()
                    .map(|(start, end)| format!("{start}-{end}"));
                spans.collect::<Vec<_>>()
            })
        };
        for (when, spans) in [
            ("during UTC daily 08:00-09:00", Some(vec!["08:00-09:00"])),
            ("during UTC daily 20:00-24:00", Some(vec!["20:00-00:00"])),
            ("during UTC daily 00:00-24:00", Some(vec!["00:00-00:00"])),
            (
                "during UTC daily 01:00-02:00 | daily 03:00-04:00",
                Some(vec!["01:00-02:00", "03:00-04:00"]),
            ),
            ("during Asia/Shanghai daily 08:00-09:00", None),
            ("region=eu, during UTC daily 08:00-09:00", None),
            ("speed=fast", None),
        ] {
            let spans = spans.map(|spans| spans.into_iter().map(str::to_owned).collect());
            assert_eq!(hours(when), spans, "{when}");
        }
    }
}
