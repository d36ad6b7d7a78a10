use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use billing_core::charge;
use billing_core::id::PriceVersionId;
use billing_core::meter::Usage;
use billing_core::price::Circumstances;
use rust_decimal::Decimal;
use time::OffsetDateTime;

use super::*;

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
    draft.rates.iter().map(line).collect()
}

fn one(json: &str) -> Result<PriceDraft, String> {
    let file = format!("{{\"m\": {json}, \"n\": {{}}}}");
    let mut import = read(file.as_bytes()).unwrap();
    assert_eq!(import.drafts.len() + import.skipped.len(), 2);
    let draft = import.drafts.pop();
    draft.ok_or_else(|| import.skipped[0].reason.clone())
}

#[test]
fn every_entry_is_imported_or_skipped_with_a_reason() {
    let start = Instant::now();
    let import = read(SOURCE).unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(import.entries, 4553);
    assert_eq!(import.drafts.len() + import.skipped.len(), import.entries);
    let mut named: Vec<&str> = import.drafts.iter().map(|d| d.model.as_str()).collect();
    named.extend(import.skipped.iter().map(|s| s.model.as_str()));
    named.sort_unstable();
    let entries = source();
    let mut names: Vec<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(named, names);
    assert!(import.skipped.iter().all(|s| !s.reason.is_empty()));
    assert!(import.drafts.iter().all(|d| !d.rates.is_empty()));

    let mut causes: BTreeMap<&str, usize> = BTreeMap::new();
    for skipped in &import.skipped {
        *causes.entry(skipped.cause()).or_default() += 1;
    }
    let expected = [
        ("a zero beside other prices would make its text free", 23),
        (
            "all prices are zero; state `free` explicitly to sell it for nothing",
            122,
        ),
        ("documentation of the format, not a model", 1),
        ("no price", 95),
        ("only prices that no meter expresses", 5),
    ];
    assert_eq!(causes, BTreeMap::from(expected));
    for (key, unmapped) in &import.unmapped_keys {
        assert!(!unmapped.reason.contains("does not know"), "{key}");
    }
}

#[test]
fn every_draft_is_a_valid_version_and_reads_back() {
    for draft in read(SOURCE).unwrap().drafts {
        let text = serde_json::to_string(&draft).unwrap();
        assert_eq!(serde_json::from_str::<PriceDraft>(&text).unwrap(), draft);
        let id = PriceVersionId::new(1);
        draft.into_version(id, OffsetDateTime::UNIX_EPOCH).unwrap();
    }
}

/// Keys whose rate can be found without the importer's help.
const PLAIN: &[(&str, Meter, ServiceTier)] = &[
    ("input_cost_per_token", Meter::Input, ServiceTier::Standard),
    (
        "output_cost_per_token",
        Meter::Output,
        ServiceTier::Standard,
    ),
    (
        "cache_read_input_token_cost",
        Meter::CacheRead,
        ServiceTier::Standard,
    ),
    (
        "cache_creation_input_token_cost",
        Meter::CacheWrite5m,
        ServiceTier::Standard,
    ),
    (
        "cache_creation_input_token_cost_above_1hr",
        Meter::CacheWrite1h,
        ServiceTier::Standard,
    ),
    (
        "output_cost_per_reasoning_token",
        Meter::Reasoning,
        ServiceTier::Standard,
    ),
    (
        "input_cost_per_token_batches",
        Meter::Input,
        ServiceTier::Batch,
    ),
    (
        "output_cost_per_token_priority",
        Meter::Output,
        ServiceTier::Priority,
    ),
    (
        "output_cost_per_token_flex",
        Meter::Output,
        ServiceTier::Flex,
    ),
    (
        "input_cost_per_audio_token",
        Meter::AudioInput,
        ServiceTier::Standard,
    ),
    (
        "output_cost_per_image",
        Meter::OutputImage,
        ServiceTier::Standard,
    ),
    ("input_cost_per_query", Meter::Query, ServiceTier::Standard),
];

/// A number by the decimal library's own reading.
fn decimal(raw: &str) -> Option<Decimal> {
    let plain = Decimal::from_str_exact(raw);
    plain.or_else(|_| Decimal::from_scientific(raw)).ok()
}

#[test]
fn no_rate_is_below_its_source_and_each_is_a_number_of_it() {
    let import = read(SOURCE).unwrap();
    let drafts: BTreeMap<&str, &PriceDraft> = import
        .drafts
        .iter()
        .map(|d| (d.model.as_str(), d))
        .collect();
    let mut checked = 0;
    for (name, fields) in source() {
        let Some(draft) = drafts.get(name.as_str()) else {
            continue;
        };
        let text: Vec<&str> = fields.values().map(|raw| raw.get()).collect();
        let split = |c: char| "[]{},: \n".contains(c);
        let numbers: Vec<Decimal> = text
            .iter()
            .flat_map(|t| t.split(split))
            .filter_map(decimal)
            .collect();
        for rate in &draft.rates {
            let price = decimal(&rate.price.to_string()).unwrap_or_default();
            assert!(numbers.contains(&price), "{name}: {rate:?}");
        }
        for &(key, meter, tier) in PLAIN {
            let Some(stated) = fields.get(key).and_then(|raw| decimal(raw.get())) else {
                continue;
            };
            let mut rates = draft.rates.iter();
            let rate = rates.find(|r| (r.meter, r.tier, r.above) == (meter, tier, None));
            match rate {
                Some(rate) => {
                    let price = decimal(&rate.price.to_string()).unwrap_or_default();
                    assert!(price >= stated, "{name}: {key} {stated}, imported {price}");
                    checked += 1;
                }
                None => assert!(stated.is_zero(), "{name}: {key} was lost"),
            }
        }
    }
    assert!(checked > 10_000, "{checked}");
}

#[test]
fn each_number_of_the_file_is_the_decimal_of_its_text() {
    let text = std::str::from_utf8(SOURCE).unwrap();
    let mut checked = 0;
    for word in text.split(|c: char| ",:{}[] \n\"".contains(c)) {
        if !word.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let plain = Decimal::from_str_exact(word);
        let Ok(value) = plain.or_else(|_| Decimal::from_scientific(word)) else {
            continue;
        };
        if let Ok(number) = number::parse(word) {
            assert_eq!(number.value, value, "{word}");
            assert!(!number.rounded, "{word}");
            checked += 1;
        }
    }
    assert!(checked > 20_000, "{checked}");
}

/// Models with some of their rates, read off the source by hand: per million units.
const SOME: &[(&str, &[&str])] = &[
    (
        "gemini/gemini-2.5-pro",
        &[
            "input 1.25",
            "input>200000 2.5",
            "input@batch>200000 1.25",
            "input@priority>200000 4.5",
            "cache_read>200000 0.25",
            "output>200000 15",
            "output@flex 5",
            "search 35000",
            "map_search 25000",
        ],
    ),
    (
        "xai/grok-4.3",
        &["input 1.25", "input>=200000 2.5", "output@batch>=200000 4"],
    ),
    (
        "gpt-6-luna",
        &[
            "cache_write_12h@priority>272000 1",
            "cache_write_12h 0.25",
            "output@decisions free",
            "output@decisions>272000 free",
            "output 0.5",
        ],
    ),
    ("gpt-4o-mini", &["input 0.15", "output 0.6", "search 25000"]),
    (
        "gpt-image-1",
        &["image_output 40", "image_input 10", "image_cache_read 2.5"],
    ),
    (
        "perplexity/sonar-deep-research",
        &["citation 2", "reasoning 3", "search 5000"],
    ),
    (
        "mistral/mistral-ocr-latest",
        &["page 4000", "page@batch 2000", "annotation_page 5000"],
    ),
    (
        "gemini-embedding-2-preview",
        &["video_input 12", "video_input@batch 6", "output free"],
    ),
];

/// Models with all of their rates, read off the source by hand: per million units.
const ALL: &[(&str, &[&str])] = &[
    (
        "gpt-4o",
        &[
            "input 2.5",
            "input@batch 1.25",
            "input@priority 4.25",
            "cache_read 1.25",
            "cache_read@priority 2.125",
            "output 10",
            "output@batch 5",
            "output@priority 17",
        ],
    ),
    (
        "claude-sonnet-4-5",
        &[
            "input 3",
            "input@batch 1.5",
            "cache_read 0.3",
            "cache_read@batch 0.15",
            "cache_write_5m 3.75",
            "cache_write_5m@batch 1.875",
            "cache_write_1h 6",
            "output 15",
            "output@batch 7.5",
            "search 10000",
        ],
    ),
    ("whisper-1", &["input_time 100"]),
    ("soniox/stt-async-v4", &["input_time 27.7778"]),
    ("tts-1", &["input_character 15"]),
    (
        "high/1024-x-1024/gpt-image-1",
        &["output_image 167000", "output_pixel 0.159263611"],
    ),
    (
        "nscale/stabilityai/stable-diffusion-xl-base-1.0",
        &["output_pixel 0.003"],
    ),
    (
        "rerank-english-v3.0",
        &["input free", "output free", "query 2000"],
    ),
    (
        "text-embedding-3-small",
        &[
            "input 0.02",
            "input@batch 0.01",
            "output free",
            "output@batch free",
        ],
    ),
    (
        "deepseek/deepseek-chat",
        &["input 0.28", "cache_read 0.028", "output 0.42"],
    ),
    (
        "dashscope/qwen-flash",
        &[
            "input 0.05",
            "input>256000 0.25",
            "output 0.4",
            "output>256000 2",
        ],
    ),
    ("vertex_ai/veo-2.0-generate-001", &["output_time 500000"]),
    ("sora-2", &["video_output_time 100000"]),
];

#[test]
fn well_known_models_have_their_prices() {
    let import = read(SOURCE).unwrap();
    for (model, lines) in ALL {
        assert_eq!(sheet(&draft(&import, model)), *lines, "{model}");
    }
    for (model, lines) in SOME {
        let all = sheet(&draft(&import, model));
        for line in *lines {
            assert!(all.iter().any(|l| l == line), "{model}: {line}: {all:?}");
        }
    }
    let facts = draft(&import, "gpt-4o").facts;
    assert_eq!(
        (facts.provider.as_str(), facts.mode.as_str()),
        ("openai", "chat")
    );
    let bounds = (facts.max_input_tokens, facts.max_output_tokens);
    assert_eq!(bounds, (Some(128_000), Some(16_384)));
}

#[test]
fn text_of_a_conversing_model_is_never_free() {
    for draft in read(SOURCE).unwrap().drafts {
        if !CONVERSING.contains(&draft.facts.mode.as_str()) {
            continue;
        }
        let name = draft.model.clone();
        let version = draft.into_version(PriceVersionId::new(1), OffsetDateTime::UNIX_EPOCH);
        let version = version.unwrap();
        let meters = Meter::ALL.iter().filter(|m| m.is_prompt() || m.is_answer());
        for (meter, tier) in meters.flat_map(|m| ServiceTier::ALL.iter().map(move |t| (*m, *t))) {
            let usage = Usage::NONE.with(meter, 1_000_000);
            let Ok(charge) = charge::rate(
                &usage,
                &version,
                &Circumstances::new(tier, OffsetDateTime::UNIX_EPOCH),
            ) else {
                continue;
            };
            let verdict = tier == ServiceTier::Decisions && meter.is_answer();
            assert!(
                verdict || charge.amount.get() > 0,
                "{name}: {meter} in {tier} is free"
            );
        }
    }
}

/// Entries with a fault, and words of the reason.
const FAULTS: &[(&str, &str)] = &[
    ("5", "not an object"),
    ("[]", "not an object"),
    ("null", "not an object"),
    ("{}", "no price"),
    (r#"{"mode": "chat"}"#, "no price"),
    (r#"{"input_cost_per_token": null}"#, "no price"),
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
        r#"{"output_cost_per_second_4k": 1}"#,
        "only prices that no meter expresses: output_cost_per_second_4k",
    ),
    (
        r#"{"search_context_cost_per_query": 1}"#,
        "malformed price: search_context_cost_per_query",
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
fn a_fault_within_an_entry_skips_it_and_says_why() {
    for (entry, words) in FAULTS {
        let reason = one(entry).unwrap_err();
        assert!(reason.contains(words), "{entry}: {reason}");
    }
}

#[test]
fn what_is_decided_about_a_price_is_noted() {
    let file = r#"{
        "a": {"mode": "chat", "input_cost_per_token": 1e-25, "output_cost_per_token": 1},
        "b": {"mode": "chat", "input_cost_per_token": 1.5e-24, "output_cost_per_token": 1},
        "c": {"mode": "chat", "input_cost_per_token": 1, "cache_read_input_token_cost": 0, "output_cost_per_token": 1},
        "d": {"mode": "chat", "input_cost_per_token": 1, "output_cost_per_token": 1,
              "cache_read_input_token_cost": 0.2, "input_cost_per_token_cache_hit": 0.3},
        "e": {"mode": "chat", "input_cost_per_token": 1, "output_cost_per_token": 1,
              "search_context_cost_per_query": {"low": 0.1, "medium": 0.2, "high": 0.3}},
        "f": {"mode": "video_generation", "output_cost_per_second": 1, "output_cost_per_second_4k": 2}
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
    assert_eq!(noted("differs by size"), ["e"]);
    assert_eq!(noted("is dearer"), ["f"]);
    assert!(
        sheet(&draft(&import, "c"))
            .iter()
            .all(|l| !l.starts_with("cache_read"))
    );
    assert!(sheet(&draft(&import, "d")).contains(&"cache_read 300000".to_owned()));
    assert!(sheet(&draft(&import, "e")).contains(&"search 300000".to_owned()));
}
