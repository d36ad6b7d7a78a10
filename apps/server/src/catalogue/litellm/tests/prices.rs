//! Prices of the real file, read off it in another way or by hand.

use billing_core::charge;
use billing_core::id::PriceVersionId;
use billing_core::meter::Usage;
use billing_core::price::Circumstances;
use time::OffsetDateTime;

use super::*;
use crate::catalogue::litellm::zero::CONVERSING;
use crate::catalogue::number;

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
            let Some(rate) = rate else {
                let output = fields.get("output_cost_per_token");
                let follows = meter == Meter::Reasoning
                    && output.and_then(|raw| decimal(raw.get())) == Some(stated);
                let piece = meter == Meter::OutputImage
                    && draft.rates.iter().any(|r| r.meter == Meter::Request);
                let kept = stated.is_zero() || follows || piece;
                assert!(kept, "{name}: {key} was lost");
                continue;
            };
            let price = decimal(&rate.price.to_string()).unwrap_or_default();
            assert!(price >= stated, "{name}: {key} {stated}, imported {price}");
            checked += 1;
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

/// Models with rates under conditions, read off the source by hand: per million units.
const VARIED: &[(&str, &[&str])] = &[
    (
        "gpt-6-astra",
        &["[region=eu] input>272000 22", "[region=us] output 55"],
    ),
    (
        "vertex_ai/gemini-3.5-flash",
        &["[region!=global] cache_read 0.165", "search 14000"],
    ),
    (
        "claude-opus-5",
        &[
            "[region=us] input 5.5",
            "[speed=fast] input 10",
            "[region=us, speed=fast] cache_read 1.1",
        ],
    ),
    (
        "deepseek/deepseek-v4-pro",
        &[
            "input 1.32",
            "[during UTC mon-fri 00:00-01:00 | mon-fri 04:00-06:00 | mon-fri 10:00-24:00 | sat-sun 00:00-24:00] input 0.66",
        ],
    ),
    (
        "tencent/deepseek-v4.1-flash",
        &[
            "[during Asia/Shanghai mon-fri 00:00-09:00 | mon-fri 12:00-14:00 | mon-fri 18:00-24:00 | sat-sun 00:00-24:00] output 0.6",
        ],
    ),
    (
        "dashscope/wan3.0-video",
        &["[resolution=480p] output_time 41256", "output_time 165025"],
    ),
    (
        "fal_ai/fal-ai/nano-banana-2",
        &["[image_size=0.5K] output_image 60000", "output_image 80000"],
    ),
    (
        "multimodalembedding",
        &["[video_input_time>15000] video_input_time 2000"],
    ),
    (
        "firecrawl/search",
        &[
            "query 1660",
            "[search_result>90] query 16600",
            "search_result free",
        ],
    ),
    (
        "perplexity/sonar-reasoning-pro",
        &["search 14000", "search_low 6000", "search_medium 10000"],
    ),
    ("dashscope/qwen3.7-max", &["explicit_cache_read 0.25"]),
    ("xai/grok-voice-2.0", &["text_message 4000"]),
    ("reducto/parse-v3", &["credit 15000"]),
    ("gemini/lyria-3.5", &["request 80000"]),
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
            "cache_write_1h@batch 3",
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
    for (model, lines) in SOME.iter().chain(VARIED) {
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
    let mut by_request = 0;
    for draft in read(SOURCE).unwrap().drafts {
        if !CONVERSING.contains(&draft.facts.mode.as_str()) {
            continue;
        }
        let name = draft.model.clone();
        if draft.rates.iter().any(|rate| rate.meter == Meter::Request) {
            by_request += 1;
        }
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
            let by_input = meter.is_answer() && paid_by_input(name.as_str());
            assert!(
                verdict || by_input || charge.amount.get() > 0,
                "{name}: {meter} in {tier} is free"
            );
        }
    }
    // Perplexity's old models and the makers of songs: each call is paid.
    assert_eq!(by_request, 10);
}

/// Chats of which only the input is paid: embeddings that are listed as chats, and those whose
/// provider says so.
fn paid_by_input(name: &str) -> bool {
    let embeddings = [
        "vercel_ai_gateway/amazon/titan-embed-text-v2",
        "vercel_ai_gateway/cohere/embed-v4.0",
        "vercel_ai_gateway/mistral/codestral-embed",
        "vercel_ai_gateway/mistral/mistral-embed",
        "together_ai/together/Tev1-4B-experimental",
    ];
    embeddings.contains(&name) || name.starts_with("scaledown/")
}
