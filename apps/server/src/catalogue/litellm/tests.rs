use std::collections::BTreeMap;

use billing_core::meter::Meter;
use billing_core::price::{ContextThreshold, Rate, ServiceTier, UnitPrice};
use rust_decimal::Decimal;

use super::*;

mod counts;
mod prices;

const SOURCE: &[u8] = include_bytes!("../../../../../data/model_prices.json");

fn source() -> Vec<(String, BTreeMap<String, &'static RawValue>)> {
    let file: &RawValue = serde_json::from_slice(SOURCE).unwrap();
    let entries = members(file).unwrap().into_iter();
    entries
        .map(|(name, raw)| (name, members(raw).unwrap().into_iter().collect()))
        .collect()
}

fn draft(import: &Import, model: &str) -> PriceDraft {
    let found = import.drafts.iter().find(|d| d.model.as_str() == model);
    found
        .unwrap_or_else(|| panic!("{model} was not imported"))
        .clone()
}

/// The rates as text: `meter[@tier][>n|>=n] price of a million`.
fn sheet(draft: &PriceDraft) -> Vec<String> {
    let tier = |t: ServiceTier| {
        let shown = (t != ServiceTier::Standard).then(|| format!("@{t}"));
        shown.unwrap_or_default()
    };
    let above = |a: Option<ContextThreshold>| match a {
        None => String::new(),
        Some(a) if a.inclusive => format!(">={}", a.prompt_tokens),
        Some(a) => format!(">{}", a.prompt_tokens),
    };
    let price = |p: UnitPrice| {
        let stated = (!p.is_free()).then(|| p.per_million_text());
        stated.unwrap_or_else(|| p.to_string())
    };
    let line = |r: &Rate| {
        format!(
            "{}{}{} {}",
            r.meter,
            tier(r.tier),
            above(r.above),
            price(r.price)
        )
    };
    let varied = draft.variants.iter().flat_map(|variant| {
        let rates = variant.rates.iter().map(line);
        rates.map(|line| format!("[{}] {line}", variant.when))
    });
    draft.rates.iter().map(line).chain(varied).collect()
}

/// The one draft of a file with this entry and one without a price, or why there is none.
fn one(json: &str) -> Result<PriceDraft, String> {
    let file = format!("{{\"m\": {json}, \"n\": {{}}}}");
    let mut import = read(file.as_bytes()).map_err(|error| error.to_string())?;
    assert_eq!(import.drafts.len() + import.skipped.len(), 2);
    let draft = import.drafts.pop();
    draft.ok_or_else(|| import.skipped[0].reason.clone())
}

/// A number by the decimal library's own reading.
fn decimal(raw: &str) -> Option<Decimal> {
    let plain = Decimal::from_str_exact(raw);
    plain.or_else(|_| Decimal::from_scientific(raw)).ok()
}

/// Entries that are nothing to sell, and words of the reason.
const UNSOLD: &[(&str, &str)] = &[
    ("{}", "no price"),
    (r#"{"mode": "chat"}"#, "no price"),
    (r#"{"input_cost_per_token": null}"#, "no price"),
    (
        r#"{"input_cost_per_token": 0, "output_cost_per_token": 0.0}"#,
        "all prices are zero",
    ),
    (
        r#"{"mode": "chat", "input_cost_per_token": 0, "output_cost_per_token": 1}"#,
        "would make its text free: input_cost_per_token",
    ),
    (
        r#"{"mode": "chat", "input_cost_per_token": 1, "output_cost_per_token": 0e5}"#,
        "would make its text free: output_cost_per_token",
    ),
    (
        r#"{"guardrail_cost_per_unit": 1}"#,
        "only prices that no meter expresses: guardrail_cost_per_unit",
    ),
];

/// Entries with a fault, and words of the reason.
const FAULTS: &[(&str, &str)] = &[
    ("5", "not an object"),
    ("[]", "not an object"),
    ("null", "not an object"),
    (
        r#"{"input_cost_per_token": "0.1"}"#,
        "malformed price: input_cost_per_token: \"0.1\" is not a number",
    ),
    (r#"{"input_cost_per_token": true}"#, "true is not a number"),
    (r#"{"input_cost_per_token": {"a": 1}}"#, "is not a number"),
    (r#"{"input_cost_per_token": 1e400}"#, "1e400 is too large"),
    (r#"{"input_cost_per_token": 1e-400}"#, "smaller than 10"),
    (r#"{"input_cost_per_token": 99999999}"#, "malformed price"),
    (
        r#"{"input_cost_per_token": -1e-6}"#,
        "negative price: input_cost_per_token",
    ),
    (
        r#"{"input_cost_per_token": 1, "input_cost_per_token": 2}"#,
        "a key stands twice",
    ),
    (
        r#"{"search_context_cost_per_query": 1}"#,
        "malformed price: search_context_cost_per_query",
    ),
    (
        r#"{"search_context_cost_per_query": {"search_context_size_huge": 1}}"#,
        "search_context_size_huge is not a size",
    ),
    (
        r#"{"input_cost_per_token": 1, "provider_specific_entry": {"us": -1}}"#,
        "malformed price: provider_specific_entry.us: not a positive factor",
    ),
    (
        r#"{"input_cost_per_token": 1, "regional_endpoint_uplift_multiplier": "1.1"}"#,
        "malformed price: regional_endpoint_uplift_multiplier",
    ),
    (
        r#"{"input_cost_per_token": 1, "off_peak_pricing": {"input_cost_per_token": 1}}"#,
        "malformed price: off_peak_pricing: it names no hours",
    ),
    (
        r#"{"input_cost_per_token": 1, "off_peak_pricing": {"hours_utc": "8-9", "input_cost_per_token": 1}}"#,
        "its hours are not HH:MM-HH:MM",
    ),
    (
        r#"{"input_cost_per_token": 1, "off_peak_pricing": {"hours_utc": "08:00-09:00", "weekday_timezone": "Mars", "input_cost_per_token": 1}}"#,
        "its time zone is unknown",
    ),
    (
        r#"{"input_cost_per_token": 1, "off_peak_pricing": {"hours_utc": "08:00-09:00", "weekday_timezone": "Europe/Berlin", "input_cost_per_token": 1}}"#,
        "daylight saving",
    ),
    (
        r#"{"input_cost_per_token": 1, "off_peak_pricing": {"windows": [{"hours_utc": "08:00-09:00", "weekdays": [8]}], "input_cost_per_token": 1}}"#,
        "numbers from 1 to 7",
    ),
    (
        r#"{"mode": "search", "tiered_pricing": [{"max_results_range": [1, 9], "input_cost_per_query": 1}, {"max_results_range": [11, 20], "input_cost_per_query": 2}]}"#,
        "a gap",
    ),
    (
        r#"{"tiered_pricing": {}}"#,
        "malformed price: tiered_pricing: not a list",
    ),
    (r#"{"tiered_pricing": [1]}"#, "not a list of objects"),
    (
        r#"{"tiered_pricing": [{"range": [5, 9], "input_cost_per_token": 1}]}"#,
        "a gap",
    ),
    (
        r#"{"tiered_pricing": [{"range": [0, 9, 10], "input_cost_per_token": 1}]}"#,
        "not [from, to]",
    ),
    (
        r#"{"tiered_pricing": [{"range": [0, 0.5], "input_cost_per_token": 1}]}"#,
        "whole numbers",
    ),
    (
        r#"{"tiered_pricing": [{"range": [0, 9], "input_cost_per_token": 1}, {"range": [9, 20], "output_cost_per_token": 1}]}"#,
        "same classes",
    ),
    (
        r#"{"tiered_pricing": [{"range": [0, 9], "surprise": 1}]}"#,
        "not a plain price",
    ),
];

#[test]
fn a_fault_within_an_entry_refuses_the_file_and_says_why() {
    for (entry, words) in FAULTS {
        let refused = one(entry).unwrap_err();
        assert!(refused.contains(words), "{entry}: {refused}");
        assert!(
            refused.starts_with("1 entry is malformed, so nothing of the file is used:\n  m: "),
            "{entry}: {refused}"
        );
        assert!(refused.contains("Mend these entries"), "{refused}");
    }
}

#[test]
fn what_is_nothing_to_sell_is_left_out_and_says_why() {
    for (entry, words) in UNSOLD {
        let reason = one(entry).unwrap_err();
        assert!(reason.contains(words), "{entry}: {reason}");
        assert!(!reason.contains("malformed"), "{entry}: {reason}");
    }
}

#[test]
fn a_refusal_counts_the_malformed_entries_and_names_the_first() {
    let entry = |n| format!("\"m{n:02}\": {{\"input_cost_per_token\": -{n}e-9}}");
    let entries: Vec<String> = (1..=13).map(entry).collect();
    let good = r#""good": {"input_cost_per_token": 1e-6}"#;
    let file = format!("{{{good}, {}}}", entries.join(", "));
    let refused = read(file.as_bytes()).unwrap_err().to_string();
    assert!(refused.starts_with("13 entries are malformed"), "{refused}");
    let named = |n| {
        refused.contains(&format!(
            "\n  m{n:02}: negative price: input_cost_per_token"
        ))
    };
    assert!((1..=10).all(named) && !named(11), "{refused}");
    assert!(refused.contains("\n  and 3 more\n"), "{refused}");
}

#[test]
fn what_is_decided_about_a_price_is_noted() {
    let file = r#"{
        "a": {"mode": "chat", "input_cost_per_token": 0, "output_cost_per_token": 1},
        "b": {"mode": "chat", "input_cost_per_token": 1.5e-24, "output_cost_per_token": 1},
        "c": {"mode": "chat", "input_cost_per_token": 1, "cache_read_input_token_cost": 0, "output_cost_per_token": 1},
        "d": {"mode": "chat", "input_cost_per_token": 1, "output_cost_per_token": 1,
              "cache_read_input_token_cost": 0.2, "input_cost_per_token_cache_hit": 0.3},
        "e": {"mode": "chat", "input_cost_per_token": 1, "output_cost_per_token": 1,
              "output_cost_per_reasoning_token": 1},
        "f": {"mode": "video_generation", "output_cost_per_second_720p": 1, "output_cost_per_second_4k": 2},
        "g": {"mode": "chat", "input_cost_per_token": 1, "output_cost_per_token": 1,
              "input_cost_per_token_flex": 0.5, "input_cost_per_token_above_200k_tokens": 2}
    }"#;
    let import = read(file.as_bytes()).unwrap();
    let noted = |words: &str| -> Vec<String> {
        let mut notes = import.notes.iter();
        let note = notes.find(|n| n.text.contains(words));
        note.unwrap_or_else(|| panic!("{words}: {:?}", import.notes))
            .models
            .clone()
    };
    assert_eq!(import.skipped[0].model, "a");
    assert_eq!(noted("rounded to 24 decimal places"), ["b"]);
    assert_eq!(noted("cache_read_input_token_cost is zero"), ["c"]);
    assert_eq!(noted("price the same"), ["d"]);
    assert_eq!(noted("reasoning costs what the answer costs"), ["e"]);
    assert_eq!(noted("the dearest price holds"), ["f"]);
    assert_eq!(noted("flex has no price for long prompts"), ["g"]);
    assert!(
        sheet(&draft(&import, "c"))
            .iter()
            .all(|l| !l.starts_with("cache_read"))
    );
    assert!(sheet(&draft(&import, "d")).contains(&"cache_read 300000".to_owned()));
    assert!(sheet(&draft(&import, "f")).contains(&"output_time 2000000".to_owned()));
    assert!(sheet(&draft(&import, "g")).contains(&"input@flex>200000 2000000".to_owned()));
}
