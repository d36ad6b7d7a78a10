//! LiteLLM's cost keys, taken apart: `cache_creation_input_token_cost_above_1hr_above_200k_tokens_flex`
//! is a base, a lifetime, a prompt size and a service tier, in whatever order they were joined.

use billing_core::meter::Meter;
use billing_core::price::ServiceTier;

/// What a key of an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// Nothing about money.
    Other,
    /// What a meter costs.
    Rate(RateKey),
    /// What a search costs, by the size of its context.
    SearchBySize,
    /// A list of prices by range.
    Tiered,
    /// A price that no meter or dimension can express yet, and why.
    Unmapped(&'static str),
    /// Something that changes other prices and cannot be expressed yet, and why.
    Modifier(&'static str),
}

/// A price of a meter, in a tier, above a prompt size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RateKey {
    pub(super) meter: Meter,
    pub(super) tier: ServiceTier,
    pub(super) above: Option<u64>,
}

/// What is joined to the end of a base name.
#[derive(Default)]
struct Suffixes {
    tier: Option<ServiceTier>,
    above: Option<u64>,
    hours: Option<u64>,
}

const RESOLUTION: &str = "a price by resolution: no such dimension yet";
const IMAGE_SIZE: &str = "a price by image size: no such dimension yet";
const INTERVAL: &str = "a price by length of the video: no such dimension yet";
const UNKNOWN: &str = "a cost key that this version does not know";

impl Key {
    /// Takes a key apart.
    pub(super) fn read(key: &str) -> Self {
        match key {
            "search_context_cost_per_query" => return Self::SearchBySize,
            "tiered_pricing" => return Self::Tiered,
            "off_peak_pricing" => {
                return Self::Modifier("a price by time of day: no such dimension yet");
            }
            "provider_specific_entry" => {
                return Self::Modifier("a factor by region or speed: no such dimension yet");
            }
            "search_free_requests" => {
                return Self::Modifier("free units per period: they come with tier schedules");
            }
            _ => {}
        }
        if key.contains("uplift_multiplier") {
            return Self::Modifier("a factor by region: no such dimension yet");
        }
        if !key.contains("cost") && !key.contains("pric") {
            return Self::Other;
        }
        let (base, suffixes) = split(key);
        let Some(meter) = meter(base) else {
            return Self::Unmapped(why_unmapped(base));
        };
        let Some(meter) = suffixes
            .hours
            .map_or(Some(meter), |hours| lasting(meter, hours))
        else {
            return Self::Unmapped("a lifetime that no cache meter has");
        };
        let (tier, above) = (suffixes.tier.unwrap_or_default(), suffixes.above);
        Self::Rate(RateKey { meter, tier, above })
    }
}

/// The base name, and the suffixes taken off its end until none is left.
fn split(key: &str) -> (&str, Suffixes) {
    let mut base = key;
    let mut found = Suffixes::default();
    loop {
        if found.tier.is_none()
            && let Some((rest, tier)) = tier_suffix(base)
        {
            found.tier = Some(tier);
            base = rest;
            continue;
        }
        let Some((rest, last)) = base.rsplit_once("_above_") else {
            return (base, found);
        };
        let thousands: Option<u64> = last.strip_suffix("k_tokens").and_then(|n| n.parse().ok());
        let hours: Option<u64> = last.strip_suffix("hr").and_then(|n| n.parse().ok());
        match (thousands.and_then(|n| n.checked_mul(1000)), hours) {
            (Some(tokens), _) if found.above.is_none() => found.above = Some(tokens),
            (_, Some(hours)) if found.hours.is_none() => found.hours = Some(hours),
            _ => return (base, found),
        }
        base = rest;
    }
}

/// The key without its last word, where that names a service tier.
fn tier_suffix(key: &str) -> Option<(&str, ServiceTier)> {
    let (rest, word) = key.rsplit_once('_')?;
    let tier = match word {
        "batches" => ServiceTier::Batch,
        "flex" => ServiceTier::Flex,
        "priority" => ServiceTier::Priority,
        "ultrafast" => ServiceTier::Ultrafast,
        "balanced" => ServiceTier::Balanced,
        "decisions" => ServiceTier::Decisions,
        _ => return None,
    };
    Some((rest, tier))
}

/// The cache meter of a longer lifetime.
const fn lasting(meter: Meter, hours: u64) -> Option<Meter> {
    match (meter, hours) {
        (Meter::CacheWrite5m, 1) => Some(Meter::CacheWrite1h),
        (Meter::CacheWrite5m, 12) => Some(Meter::CacheWrite12h),
        _ => None,
    }
}

/// The meter that a base name prices.
fn meter(base: &str) -> Option<Meter> {
    Some(match base {
        "input_cost_per_token" => Meter::Input,
        "cache_read_input_token_cost" | "input_cost_per_token_cache_hit" => Meter::CacheRead,
        "cache_creation_input_token_cost" => Meter::CacheWrite5m,
        "output_cost_per_token" => Meter::Output,
        "output_cost_per_reasoning_token" => Meter::Reasoning,
        "input_cost_per_audio_token" => Meter::AudioInput,
        "cache_read_input_audio_token_cost" => Meter::AudioCacheRead,
        "cache_creation_input_audio_token_cost" => Meter::AudioCacheWrite,
        "output_cost_per_audio_token" => Meter::AudioOutput,
        "input_cost_per_image_token" => Meter::ImageInput,
        "cache_read_input_image_token_cost" => Meter::ImageCacheRead,
        "output_cost_per_image_token" => Meter::ImageOutput,
        "input_cost_per_video_token" => Meter::VideoInput,
        "output_cost_per_video_token" => Meter::VideoOutput,
        "citation_cost_per_token" => Meter::Citation,
        "input_cost_per_request" => Meter::Request,
        "input_cost_per_image" => Meter::InputImage,
        "output_cost_per_image" => Meter::OutputImage,
        "input_cost_per_second" | "cost_per_second" => Meter::InputTime,
        "output_cost_per_second" => Meter::OutputTime,
        "input_cost_per_audio_per_second" => Meter::AudioInputTime,
        "input_cost_per_video_per_second" => Meter::VideoInputTime,
        "output_cost_per_video_per_second" => Meter::VideoOutputTime,
        "input_cost_per_character" => Meter::InputCharacter,
        "output_cost_per_character" => Meter::OutputCharacter,
        "input_cost_per_pixel" => Meter::InputPixel,
        "output_cost_per_pixel" => Meter::OutputPixel,
        "ocr_cost_per_page" => Meter::Page,
        "annotation_cost_per_page" => Meter::AnnotationPage,
        "input_cost_per_query" => Meter::Query,
        "google_maps_grounding_cost_per_query" => Meter::MapSearch,
        "code_interpreter_cost_per_session" => Meter::Session,
        _ => return None,
    })
}

/// The meter whose price a key states for one variant only, such as one resolution.
pub(super) fn variant_of(key: &str) -> Option<Meter> {
    let base = split(key).0;
    let why = why_unmapped(base);
    if why == INTERVAL {
        return base.split_once("_above_").and_then(|(rest, _)| meter(rest));
    }
    (why == IMAGE_SIZE || why == RESOLUTION)
        .then(|| base.rsplit_once('_').and_then(|(rest, _)| meter(rest)))
        .flatten()
}

/// Why a base name has no meter.
fn why_unmapped(base: &str) -> &'static str {
    if base.ends_with("s_interval") {
        return INTERVAL;
    }
    if let Some((rest, variant)) = base.rsplit_once('_')
        && meter(rest).is_some()
    {
        match rest {
            "output_cost_per_image" => return IMAGE_SIZE,
            "output_cost_per_second" if variant.ends_with(['p', 'k']) => return RESOLUTION,
            _ => {}
        }
    }
    match base {
        "explicit_cache_read_input_token_cost" => {
            "explicit and implicit cache reads are one meter; the implicit price is kept"
        }
        "input_dbu_cost_per_token" | "output_dbu_cost_per_token" => {
            "Databricks units beside the price in dollars"
        }
        "ocr_cost_per_credit" => "the provider's credits are not a unit of use",
        "guardrail_cost_per_unit" => "guardrail units: no such meter",
        "input_cost_per_text_message" => "text messages: no such meter",
        "file_search_cost_per_gb_per_day" | "vector_store_cost_per_gb_per_day" => {
            "storage over time: no such meter"
        }
        "file_search_cost_per_1k_calls" => "file searches: no such meter",
        "computer_use_input_cost_per_1k_tokens" | "computer_use_output_cost_per_1k_tokens" => {
            "tokens of computer use: no such meter"
        }
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(meter: Meter, tier: ServiceTier, above: Option<u64>) -> Key {
        Key::Rate(RateKey { meter, tier, above })
    }

    #[test]
    fn suffixes_come_off_in_any_order() {
        let standard = ServiceTier::Standard;
        for (key, expected) in [
            ("input_cost_per_token", rate(Meter::Input, standard, None)),
            (
                "input_cost_per_token_above_200k_tokens",
                rate(Meter::Input, standard, Some(200_000)),
            ),
            (
                "cache_creation_input_token_cost_above_12hr_above_272k_tokens_priority",
                rate(Meter::CacheWrite12h, ServiceTier::Priority, Some(272_000)),
            ),
            (
                "cache_creation_input_token_cost_flex_above_200k_tokens_above_1hr",
                rate(Meter::CacheWrite1h, ServiceTier::Flex, Some(200_000)),
            ),
            (
                "input_cost_per_token_batches_above_128k_tokens",
                rate(Meter::Input, ServiceTier::Batch, Some(128_000)),
            ),
            (
                "ocr_cost_per_page_batches",
                rate(Meter::Page, ServiceTier::Batch, None),
            ),
            (
                "input_cost_per_token_cache_hit",
                rate(Meter::CacheRead, standard, None),
            ),
        ] {
            assert_eq!(Key::read(key), expected, "{key}");
        }
    }

    #[test]
    fn what_has_no_dimension_is_named() {
        for (key, reason) in [
            ("output_cost_per_second_1080p", RESOLUTION),
            ("output_cost_per_second_4k", RESOLUTION),
            ("output_cost_per_image_0.5K", IMAGE_SIZE),
            (
                "input_cost_per_video_per_second_above_15s_interval",
                INTERVAL,
            ),
            ("input_cost_per_token_per_moon", UNKNOWN),
            (
                "input_cost_per_token_above_1hr",
                "a lifetime that no cache meter has",
            ),
            ("input_cost_per_token_flex_priority", UNKNOWN),
        ] {
            assert_eq!(Key::read(key), Key::Unmapped(reason), "{key}");
        }
        assert_eq!(Key::read("max_input_tokens"), Key::Other);
    }
}
