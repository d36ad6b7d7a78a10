//! OpenRouter's list of models (`GET /api/v1/models`): the one place that knows its names.
//!
//! Prices are text in dollars for one unit. A zero beside other prices says that the class is not
//! sold by itself; `-1` that the price is that of the model a router picks.

use std::collections::{BTreeMap, BTreeSet};

use billing_core::meter::Meter;
use billing_core::money::Currency;
use billing_core::price::{
    ContextThreshold, DailyWindow, Hours, ModelName, Rate, ServiceTier, UnitPrice, Variant,
    Weekdays, When, clock,
};
use billing_core::price_book::{ModelFacts, PriceDraft};
use billing_core::zone::Zone;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::object::{members, sequence};
use super::report::{Unmapped, Unusable};
use super::{Import, ImportError, MOST_ENTRIES, Sorted, number};

/// Their names of prices, and the meters.
pub(crate) const PRICES: [(&str, Meter); 14] = [
    ("prompt", Meter::Input),
    ("completion", Meter::Output),
    ("request", Meter::Request),
    ("image", Meter::InputImage),
    ("image_token", Meter::ImageInput),
    ("image_output", Meter::ImageOutput),
    ("audio", Meter::AudioInput),
    ("audio_output", Meter::AudioOutput),
    ("input_audio_cache", Meter::AudioCacheRead),
    ("web_search", Meter::Search),
    ("internal_reasoning", Meter::Reasoning),
    ("input_cache_read", Meter::CacheRead),
    ("input_cache_write", Meter::CacheWrite5m),
    ("input_cache_write_1h", Meter::CacheWrite1h),
];

/// What a block holds beside prices.
const CONDITIONS: [&str; 4] = ["overrides", "min_prompt_tokens", "utc_start", "utc_end"];

#[derive(Deserialize)]
struct Listed<'a> {
    id: String,
    #[serde(default)]
    context_length: Option<u64>,
    #[serde(default)]
    top_provider: TopProvider,
    #[serde(default)]
    architecture: Architecture,
    #[serde(borrow)]
    pricing: &'a RawValue,
}

/// Members of a block of prices, as they are written.
type Block<'a> = [(String, &'a RawValue)];

#[derive(Deserialize, Default)]
struct TopProvider {
    #[serde(default)]
    max_completion_tokens: Option<u64>,
}

#[derive(Deserialize, Default)]
struct Architecture {
    #[serde(default)]
    output_modalities: Vec<String>,
}

/// Whether a JSON object is such a list.
pub(super) fn is_list(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        data: Vec<&'a RawValue>,
    }
    serde_json::from_slice::<Head<'_>>(bytes).is_ok_and(|head| {
        let first = head.data.first();
        first.is_some_and(|first| first.get().contains("\"pricing\""))
    })
}

/// Reads the list.
///
/// # Errors
/// [`ImportError`] for a file that is not such a list, or in which an entry is malformed.
pub(super) fn read(bytes: &[u8]) -> Result<Import, ImportError> {
    #[derive(Deserialize)]
    struct Models<'a> {
        #[serde(borrow)]
        data: Vec<Listed<'a>>,
    }
    let models: Models<'_> =
        serde_json::from_slice(bytes).map_err(|e| ImportError::Json(e.to_string()))?;
    if models.data.len() > MOST_ENTRIES {
        return Err(ImportError::TooMany(models.data.len()));
    }
    let entries = models.data.len();
    let (mut sorted, mut unmapped_keys) = (Sorted::default(), BTreeMap::new());
    let mut names = BTreeSet::new();
    for listed in models.data {
        if !names.insert(listed.id.clone()) {
            return Err(ImportError::Duplicate(listed.id.chars().take(80).collect()));
        }
        sorted.push(&listed.id, draft(&listed, &mut unmapped_keys));
    }
    let (drafts, skipped) = sorted.finish()?;
    Ok(Import {
        entries,
        drafts,
        skipped,
        unmapped_keys,
        ..Import::default()
    })
}

fn draft(
    listed: &Listed<'_>,
    unmapped: &mut BTreeMap<String, Unmapped>,
) -> Result<PriceDraft, Unusable> {
    let id = listed.id.as_str();
    if id.is_empty() || id.len() > 300 || id.contains(char::is_control) {
        return Err("not a model's name".to_owned().into());
    }
    let pricing = block(listed.pricing)?;
    let mut stated = prices(&pricing, unmapped)?;
    if stated.values().all(Option::is_none) {
        return Err(Unusable::not_sold(
            "all prices are zero; state `free` explicitly to sell it for nothing",
        ));
    }
    let modalities = &listed.architecture.output_modalities;
    let embeds = modalities.iter().any(|made| made == "embeddings");
    for meter in [Meter::Input, Meter::Output] {
        if stated.get(&meter) == Some(&None) && !(embeds && meter == Meter::Output) {
            return Err(Unusable::NotSold(format!(
                "a zero beside other prices would make its text free: {meter}; state `free` explicitly to sell it so"
            )));
        }
    }
    let free = embeds && stated.remove(&Meter::Output) == Some(None);
    let mut rates = rates(&stated, None);
    if free {
        rates.push(rate(Meter::Output, None, UnitPrice::FREE));
    }
    let mut varied: BTreeMap<When, Vec<Rate>> = BTreeMap::new();
    let overrides = pricing.iter().find(|(key, _)| key == "overrides");
    let overrides = overrides.map_or(Ok(Vec::new()), |(_, raw)| sequence(raw));
    let overrides = overrides.map_err(|_| "malformed price: overrides: not a list".to_owned())?;
    for raw in overrides {
        let block = block(raw)?;
        if let Some(key) = unknown_condition(&block) {
            count_unmapped(&format!("overrides.{key}"), unmapped);
            continue;
        }
        let (when, above) = condition(&block)?;
        let block = self::rates(&prices(&block, unmapped)?, above);
        match when {
            None => rates.extend(block),
            Some(when) => varied.entry(when).or_default().extend(block),
        }
    }
    rates.sort_unstable();
    let variants = varied.into_iter().map(|(when, rates)| {
        let variant = Variant::new(when, rates);
        variant.map_err(|e| format!("malformed price: overrides: {e}"))
    });
    Ok(PriceDraft {
        model: ModelName::new(id),
        facts: ModelFacts {
            provider: id.split('/').next().unwrap_or_default().to_owned(),
            mode: if embeds { "embedding" } else { "chat" }.to_owned(),
            max_input_tokens: listed.context_length.filter(|n| *n > 0),
            max_output_tokens: listed.top_provider.max_completion_tokens.filter(|n| *n > 0),
        },
        currency: Currency::USD,
        rates,
        variants: variants.collect::<Result<_, _>>()?,
    })
}

/// The members of a block of prices, each once.
fn block(raw: &RawValue) -> Result<Vec<(String, &RawValue)>, String> {
    let members = members(raw).map_err(|_| "malformed price: not an object".to_owned())?;
    let mut seen = BTreeSet::new();
    match members.iter().find(|(key, _)| !seen.insert(key)) {
        Some((twice, _)) => Err(format!("a key stands twice: {twice}")),
        None => Ok(members),
    }
}

/// A value as it is written, without the quotes of a text.
fn written(raw: &RawValue) -> &str {
    let text = raw.get();
    let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    inner.unwrap_or(text)
}

/// The prices that a block states; `None` is a zero.
fn prices(
    block: &Block<'_>,
    unmapped: &mut BTreeMap<String, Unmapped>,
) -> Result<BTreeMap<Meter, Option<UnitPrice>>, Unusable> {
    let mut stated = BTreeMap::new();
    for (key, raw) in block {
        let text = written(raw);
        if CONDITIONS.contains(&key.as_str()) || text == "null" {
            continue;
        }
        let number = number::parse(text);
        let Some((_, meter)) = PRICES.iter().find(|(name, _)| name == key) else {
            if !number.is_ok_and(|number| number.value.is_zero()) {
                count_unmapped(key, unmapped);
            }
            continue;
        };
        let number = number.map_err(|e| format!("malformed price: {key}: {e}"))?;
        if number.value.is_zero() {
            stated.insert(*meter, None);
        } else if number.value == Decimal::NEGATIVE_ONE {
            let reason = "a router's price is that of the model it picks";
            return Err(Unusable::not_sold(reason));
        } else if number.value.is_sign_negative() {
            return Err(format!("negative price: {key}").into());
        } else {
            let price = UnitPrice::per_unit(number.value);
            let price = price.map_err(|e| format!("malformed price: {key}: {e}"))?;
            stated.insert(*meter, Some(price));
        }
    }
    Ok(stated)
}

/// A key of a block that says neither a price nor when the block holds, as far as is known here. It
/// may be a condition, without which the prices of the block would hold too often.
fn unknown_condition<'a>(block: &'a Block<'_>) -> Option<&'a str> {
    let mut keys = block.iter().filter(|(key, raw)| {
        let is_known =
            CONDITIONS.contains(&key.as_str()) || PRICES.iter().any(|(name, _)| name == key);
        !is_known && raw.get() != "null" && number::parse(written(raw)).is_err()
    });
    keys.next().map(|(key, _)| key.as_str())
}

fn count_unmapped(key: &str, unmapped: &mut BTreeMap<String, Unmapped>) {
    let reason = match key {
        "discount" => "a discount that is in the prices already",
        "conditions" | "service_tiers" => {
            "what another Tollgate states beside OpenRouter's prices; its catalogue files say it"
        }
        _ if key.starts_with("overrides.") => {
            "a condition that this version does not know: its prices are not used"
        }
        _ => "a price that this version does not know",
    };
    let entry = unmapped
        .entry(format!("pricing.{key}"))
        .or_insert(Unmapped {
            count: 0,
            reason: reason.to_owned(),
        });
    entry.count += 1;
}

fn rates(
    stated: &BTreeMap<Meter, Option<UnitPrice>>,
    above: Option<ContextThreshold>,
) -> Vec<Rate> {
    let priced = stated.iter();
    priced
        .filter_map(|(meter, price)| Some(rate(*meter, above, (*price)?)))
        .collect()
}

const fn rate(meter: Meter, above: Option<ContextThreshold>, price: UnitPrice) -> Rate {
    Rate {
        meter,
        tier: ServiceTier::Standard,
        above,
        price,
    }
}

/// When a block of overrides holds: for longer prompts, in hours in UTC, or both.
fn condition(block: &Block<'_>) -> Result<(Option<When>, Option<ContextThreshold>), String> {
    let malformed = |key: &str| format!("malformed price: overrides: {key}");
    let find = |key: &str| {
        let member = block.iter().find(|(name, _)| name == key);
        member
            .map(|(_, raw)| written(raw))
            .filter(|text| *text != "null")
    };
    let above = match find("min_prompt_tokens") {
        None => None,
        Some(tokens) => Some(ContextThreshold {
            prompt_tokens: tokens.parse().map_err(|_| malformed("min_prompt_tokens"))?,
            inclusive: false,
        }),
    };
    let at = |key: &str| match find(key) {
        None => Ok(None),
        Some(text) => {
            let text = text.trim_end_matches('Z');
            let minutes = text.strip_suffix(":00").filter(|t| t.len() == 5);
            let minutes = clock(minutes.unwrap_or(text));
            minutes.map(Some).ok_or_else(|| malformed(key))
        }
    };
    let when = match (at("utc_start")?, at("utc_end")?) {
        (None, None) => None,
        (Some(from), Some(to)) => {
            let windows = DailyWindow::around(Weekdays::DAILY, from, to);
            let hours = Hours::new(Zone::utc(), windows).ok_or_else(|| malformed("utc_start"))?;
            Some(When::default().and_during(hours))
        }
        (Some(_), None) | (None, Some(_)) => {
            return Err(malformed(
                "utc_start without utc_end, or the other way round",
            ));
        }
    };
    if when.is_none() && above.is_none() {
        return Err(malformed("a block without a condition"));
    }
    Ok((when, above))
}

#[cfg(test)]
mod tests;
