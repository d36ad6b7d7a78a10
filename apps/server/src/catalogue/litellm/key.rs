//! LiteLLM's cost keys, taken apart: `cache_creation_input_token_cost_above_1hr_above_200k_tokens_flex`
//! is a base, a lifetime, a prompt size and a service tier, in whatever order they were joined.

use billing_core::meter::{Meter, MeterUnit};
use billing_core::price::{Asked, Attribute, ServiceTier, When};

/// What a key of an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// Nothing about money.
    Other,
    /// What a meter costs.
    Rate(RateKey),
    /// What a meter costs under a condition.
    Varied(RateKey, When),
    /// What a search costs, by the size of its context.
    SearchBySize,
    /// A list of prices by range.
    Tiered,
    /// Prices for hours of the week.
    OffPeak,
    /// By how much everything is dearer where an attribute is so.
    Factor(Attribute, Asked),
    /// Several of these, and what is no price at all.
    Factors,
    /// A price that nothing expresses, and why.
    Unmapped(&'static str),
    /// Something that changes other prices and that nothing expresses, and why.
    Modifier(&'static str),
}

/// A price of a meter, in a tier, above a prompt size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RateKey {
    pub(super) meter: Meter,
    pub(super) tier: ServiceTier,
    pub(super) above: Option<u64>,
}

impl RateKey {
    /// In the standard tier, for any prompt.
    pub(super) const fn plain(meter: Meter) -> Self {
        Self {
            meter,
            tier: ServiceTier::Standard,
            above: None,
        }
    }
}

/// What is joined to the end of a base name.
#[derive(Default)]
struct Suffixes {
    tier: Option<ServiceTier>,
    above: Option<u64>,
    hours: Option<u64>,
}

const UNKNOWN: &str = "a cost key that this version does not know";
const FREE_UNITS: &str = "free searches of the upstream's own contract per period; what customers get is a plan's to say";

impl Key {
    /// Takes a key apart.
    pub(super) fn read(key: &str) -> Self {
        match key {
            "search_context_cost_per_query" => return Self::SearchBySize,
            "tiered_pricing" => return Self::Tiered,
            "off_peak_pricing" => return Self::OffPeak,
            "provider_specific_entry" => return Self::Factors,
            "search_free_requests" => return Self::Modifier(FREE_UNITS),
            // Any region but the global endpoint.
            "regional_endpoint_uplift_multiplier" => {
                return Self::Factor(Attribute::Region, Asked::IsNot("global".into()));
            }
            _ => {}
        }
        if let Some(region) = key.strip_prefix("regional_processing_uplift_multiplier_") {
            return Self::Factor(Attribute::Region, Asked::Is(region.into()));
        }
        if key.contains("uplift_multiplier") {
            return Self::Modifier(UNKNOWN);
        }
        if !key.contains("cost") && !key.contains("pric") {
            return Self::Other;
        }
        let (base, suffixes) = split(key);
        let (meter, when) = match meter(base) {
            Some(meter) => (meter, None),
            None => match varied(base) {
                Some((meter, when)) => (meter, Some(when)),
                None => return Self::Unmapped(why_unmapped(base)),
            },
        };
        let Some(meter) = suffixes
            .hours
            .map_or(Some(meter), |hours| lasting(meter, hours))
        else {
            return Self::Unmapped("a lifetime that no cache meter has");
        };
        let (tier, above) = (suffixes.tier.unwrap_or_default(), suffixes.above);
        let at = RateKey { meter, tier, above };
        match when {
            Some(when) => Self::Varied(at, when),
            None => Self::Rate(at),
        }
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
        "explicit_cache_read_input_token_cost" => Meter::ExplicitCacheRead,
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
        "input_cost_per_text_message" => Meter::TextMessage,
        "ocr_cost_per_credit" => Meter::Credit,
        _ => return None,
    })
}

/// The meter that a base name prices under a condition, and the condition.
fn varied(base: &str) -> Option<(Meter, When)> {
    let when = When::default();
    if let Some((rest, interval)) = base.split_once("_above_") {
        let meter = meter(rest).filter(|meter| meter.unit() == MeterUnit::Millisecond)?;
        let seconds: u64 = interval.strip_suffix("s_interval")?.parse().ok()?;
        return Some((meter, when.and_above(meter, seconds.checked_mul(1000)?)));
    }
    let (rest, variant) = base.rsplit_once('_')?;
    match (rest, meter(rest)?) {
        ("output_cost_per_image", meter) if variant.starts_with(|c: char| c.is_ascii_digit()) => {
            Some((meter, when.and_is(Attribute::ImageSize, variant)))
        }
        ("output_cost_per_second", meter) if variant.ends_with(['p', 'k']) => {
            Some((meter, when.and_is(Attribute::Resolution, variant)))
        }
        _ => None,
    }
}

/// Why a base name has no meter.
fn why_unmapped(base: &str) -> &'static str {
    match base {
        "input_dbu_cost_per_token" | "output_dbu_cost_per_token" => {
            "the same price in Databricks units; the one in dollars is used"
        }
        "guardrail_cost_per_unit" => {
            "units of seven kinds of guardrail, which no model and no endpoint consumes"
        }
        "file_search_cost_per_gb_per_day" | "vector_store_cost_per_gb_per_day" => {
            "storage over time is no call; only the documentation of the format states it"
        }
        "file_search_cost_per_1k_calls"
        | "computer_use_input_cost_per_1k_tokens"
        | "computer_use_output_cost_per_1k_tokens" => {
            "only the documentation of the format states it"
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
    fn a_key_may_name_a_condition() {
        let plain = RateKey::plain;
        for (key, at, when) in [
            (
                "output_cost_per_second_1080p",
                plain(Meter::OutputTime),
                "resolution=1080p",
            ),
            (
                "output_cost_per_second_4k",
                plain(Meter::OutputTime),
                "resolution=4k",
            ),
            (
                "output_cost_per_image_0.5K",
                plain(Meter::OutputImage),
                "image_size=0.5K",
            ),
            (
                "output_cost_per_image_1024_batches",
                RateKey {
                    tier: ServiceTier::Batch,
                    ..plain(Meter::OutputImage)
                },
                "image_size=1024",
            ),
            (
                "input_cost_per_video_per_second_above_15s_interval",
                plain(Meter::VideoInputTime),
                "video_input_time>15000",
            ),
        ] {
            let when = when.parse().unwrap();
            assert_eq!(Key::read(key), Key::Varied(at, when), "{key}");
        }
        for (key, asked) in [
            (
                "regional_processing_uplift_multiplier_eu",
                Asked::Is("eu".into()),
            ),
            (
                "regional_endpoint_uplift_multiplier",
                Asked::IsNot("global".into()),
            ),
        ] {
            assert_eq!(Key::read(key), Key::Factor(Attribute::Region, asked));
        }
    }

    #[test]
    fn what_nothing_expresses_is_named() {
        for (key, reason) in [
            ("input_cost_per_token_per_moon", UNKNOWN),
            ("output_cost_per_image_huge", UNKNOWN),
            ("input_cost_per_token_above_15s_interval", UNKNOWN),
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
