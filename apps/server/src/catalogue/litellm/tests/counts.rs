//! All entries of the real file: each is imported or named, and so is each of its cost keys.

use std::time::{Duration, Instant};

use billing_core::id::PriceVersionId;
use time::OffsetDateTime;

use super::*;

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
        (
            "a router's own fee, beside which the model that it picks is paid",
            3,
        ),
        (
            "all prices are zero; state `free` explicitly to sell it for nothing",
            122,
        ),
        ("documentation of the format, not a model", 1),
        ("no price", 95),
        ("only prices that no meter expresses", 1),
    ];
    assert_eq!(causes, BTreeMap::from(expected));
    for (key, unmapped) in &import.unmapped_keys {
        assert!(!unmapped.reason.contains("does not know"), "{key}");
    }
}

/// How many models price each meter, anywhere in their sheet.
const PRICED: &[(&str, usize)] = &[
    ("annotation_page", 8),
    ("audio_cache_read", 34),
    ("audio_cache_write", 24),
    ("audio_input", 130),
    ("audio_input_time", 8),
    ("audio_output", 82),
    ("cache_read", 1730),
    ("cache_write_12h", 11),
    ("cache_write_1h", 230),
    ("cache_write_5m", 506),
    ("citation", 1),
    ("credit", 2),
    ("explicit_cache_read", 5),
    ("image_cache_read", 28),
    ("image_input", 119),
    ("image_output", 59),
    ("input", 3632),
    ("input_character", 49),
    ("input_image", 41),
    ("input_time", 134),
    ("map_search", 47),
    ("output", 3611),
    ("output_character", 2),
    ("output_image", 395),
    ("output_pixel", 38),
    ("output_time", 79),
    ("page", 18),
    ("query", 46),
    ("reasoning", 25),
    ("request", 10),
    ("search", 436),
    ("search_high", 4),
    ("search_low", 4),
    ("search_medium", 4),
    ("search_result", 2),
    ("session", 2),
    ("text_message", 3),
    ("video_input", 15),
    ("video_input_time", 22),
    ("video_output", 6),
    ("video_output_time", 10),
];

/// Keys about money that are not used, and in how many entries each stands.
const UNUSED: &[(&str, usize)] = &[
    ("computer_use_input_cost_per_1k_tokens", 1),
    ("computer_use_output_cost_per_1k_tokens", 1),
    ("file_search_cost_per_1k_calls", 1),
    ("file_search_cost_per_gb_per_day", 1),
    ("guardrail_cost_per_unit", 1),
    ("input_dbu_cost_per_token", 79),
    ("output_dbu_cost_per_token", 76),
    ("provider_specific_entry.bedrock_invocation_schema", 1),
    (
        "provider_specific_entry.dashscope_video_reference_input",
        33,
    ),
    ("provider_specific_entry.minimax_free_input_images", 2),
    ("provider_specific_entry.volcengine_video_frames", 4),
    ("search_free_requests", 47),
    ("vector_store_cost_per_gb_per_day", 1),
];

#[test]
fn every_cost_key_is_a_rate_or_is_named_with_its_count() {
    let import = read(SOURCE).unwrap();
    let mut priced: BTreeMap<&str, usize> = BTreeMap::new();
    for draft in &import.drafts {
        let varied = draft.variants.iter().flat_map(|variant| &variant.rates);
        let meters = draft
            .rates
            .iter()
            .chain(varied)
            .map(|rate| rate.meter.name());
        for meter in meters.collect::<BTreeSet<_>>() {
            *priced.entry(meter).or_default() += 1;
        }
    }
    assert_eq!(priced.into_iter().collect::<Vec<_>>(), PRICED);
    let unused: Vec<(&str, usize)> = import
        .unmapped_keys
        .iter()
        .map(|(key, unmapped)| (key.as_str(), unmapped.count))
        .collect();
    assert_eq!(unused, UNUSED);
    let conditions = import.drafts.iter().filter(|d| !d.variants.is_empty());
    assert_eq!(conditions.count(), 173);
}

/// What answers, embeds, ranks, draws or hears, and states a price: but for a router's own fee.
#[test]
fn nothing_that_a_gateway_sells_stays_unpriced() {
    let import = read(SOURCE).unwrap();
    let modes = [
        "chat",
        "completion",
        "embedding",
        "responses",
        "image_generation",
        "image_edit",
        "audio_transcription",
        "audio_speech",
        "rerank",
    ];
    let mut left = Vec::new();
    for (name, fields) in source() {
        let mode = fields
            .get("mode")
            .map_or("", |raw| raw.get().trim_matches('"'));
        let states_a_price = fields
            .iter()
            .filter(|(key, _)| key.contains("cost"))
            .any(|(_, raw)| decimal(raw.get()).is_none_or(|price| !price.is_zero()));
        let skipped = import.skipped.iter().any(|skipped| skipped.model == name);
        if skipped && modes.contains(&mode) && states_a_price {
            left.push(name);
        }
    }
    assert_eq!(
        left,
        [
            "azure_ai/model_router",
            "azure_ai/model-router",
            "azure/model-router"
        ]
    );
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
