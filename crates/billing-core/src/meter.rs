//! Meters and usage: what a call consumed, in disjoint classes.

use std::fmt;
use std::str::FromStr;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// What a meter's quantity counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeterUnit {
    /// Model tokens.
    Token,
    /// Milliseconds; priced per second.
    Millisecond,
    /// Whole things: requests, images, characters, pixels, pages, searches, sessions.
    Each,
}

impl MeterUnit {
    /// How many counted steps make one priced unit: 1000 for time, else 1.
    pub const fn steps_per_unit(self) -> u32 {
        match self {
            Self::Millisecond => 1000,
            Self::Token | Self::Each => 1,
        }
    }
}

macro_rules! meters {
    ($($(#[$doc:meta])* $name:ident $text:literal $unit:ident $(=> $parent:ident)?;)*) => {
        /// A disjoint class of consumption. No token is counted by two meters.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Meter { $($(#[$doc])* $name,)* }

        impl Meter {
            /// Every meter, in the order of the receipt.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The wire and storage name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What the quantity counts.
            pub const fn unit(self) -> MeterUnit {
                match self { $(Self::$name => MeterUnit::$unit,)* }
            }

            /// The meter whose rate applies where this one has none; never nothing at all.
            pub const fn parent(self) -> Option<Self> {
                match self { $(Self::$name => meters!(@parent $($parent)?),)* }
            }
        }
    };
    (@parent) => { None };
    (@parent $parent:ident) => { Some(Self::$parent) };
}

meters! {
    /// Text input tokens that no cache served.
    Input "input" Token;
    /// Input tokens read from the provider's cache.
    CacheRead "cache_read" Token => Input;
    /// Input tokens read from a cache that the caller asked for, where that has a price of its own.
    ExplicitCacheRead "explicit_cache_read" Token => CacheRead;
    /// Input tokens written to a cache that lives five minutes (or the provider's default).
    CacheWrite5m "cache_write_5m" Token => Input;
    /// Input tokens written to a cache that lives one hour.
    CacheWrite1h "cache_write_1h" Token => CacheWrite5m;
    /// Input tokens written to a cache that lives twelve hours.
    CacheWrite12h "cache_write_12h" Token => CacheWrite1h;
    /// Visible output tokens.
    Output "output" Token;
    /// Output tokens spent on reasoning.
    Reasoning "reasoning" Token => Output;
    /// Audio input tokens.
    AudioInput "audio_input" Token => Input;
    /// Audio input tokens read from a cache.
    AudioCacheRead "audio_cache_read" Token => AudioInput;
    /// Audio input tokens written to a cache.
    AudioCacheWrite "audio_cache_write" Token => AudioInput;
    /// Audio output tokens.
    AudioOutput "audio_output" Token => Output;
    /// Image input tokens.
    ImageInput "image_input" Token => Input;
    /// Image input tokens read from a cache.
    ImageCacheRead "image_cache_read" Token => ImageInput;
    /// Image output tokens.
    ImageOutput "image_output" Token => Output;
    /// Video input tokens.
    VideoInput "video_input" Token => Input;
    /// Video output tokens.
    VideoOutput "video_output" Token => Output;
    /// Tokens of citations.
    Citation "citation" Token => Input;
    /// The call itself.
    Request "request" Each;
    /// Images given.
    InputImage "input_image" Each;
    /// Images made.
    OutputImage "output_image" Each;
    /// Time of input, where the provider does not say of what.
    InputTime "input_time" Millisecond;
    /// Time of output, where the provider does not say of what.
    OutputTime "output_time" Millisecond;
    /// Time of audio given.
    AudioInputTime "audio_input_time" Millisecond => InputTime;
    /// Time of video given.
    VideoInputTime "video_input_time" Millisecond => InputTime;
    /// Time of video made.
    VideoOutputTime "video_output_time" Millisecond => OutputTime;
    /// Characters given.
    InputCharacter "input_character" Each;
    /// Characters made.
    OutputCharacter "output_character" Each;
    /// Pixels given.
    InputPixel "input_pixel" Each;
    /// Pixels made.
    OutputPixel "output_pixel" Each;
    /// Pages read.
    Page "page" Each;
    /// Pages annotated.
    AnnotationPage "annotation_page" Each;
    /// Queries answered (rerank, retrieval).
    Query "query" Each;
    /// Web searches made by the model, where nobody says how much context they brought.
    Search "search" Each;
    /// Web searches made by the model that brought little context.
    SearchLow "search_low" Each => Search;
    /// Web searches made by the model that brought a middling context.
    SearchMedium "search_medium" Each => Search;
    /// Web searches made by the model that brought much context.
    SearchHigh "search_high" Each => Search;
    /// Results that a search was asked for.
    SearchResult "search_result" Each;
    /// Map look-ups made by the model.
    MapSearch "map_search" Each;
    /// Tool sessions (code interpreter).
    Session "session" Each;
    /// Text messages of a session that is otherwise spoken.
    TextMessage "text_message" Each;
    /// The provider's own credits, where it counts use in them.
    Credit "credit" Each;
}

/// How many meters there are.
pub const METER_COUNT: usize = Meter::ALL.len();

impl Meter {
    #[expect(
        clippy::as_conversions,
        reason = "the discriminant of a fieldless enum"
    )]
    const fn index(self) -> usize {
        self as usize
    }

    /// Whether its tokens are part of the prompt, which context thresholds are measured on.
    pub const fn is_prompt(self) -> bool {
        matches!(
            self,
            Self::Input
                | Self::CacheRead
                | Self::ExplicitCacheRead
                | Self::CacheWrite5m
                | Self::CacheWrite1h
                | Self::CacheWrite12h
                | Self::AudioInput
                | Self::AudioCacheRead
                | Self::AudioCacheWrite
                | Self::ImageInput
                | Self::ImageCacheRead
                | Self::VideoInput
        )
    }

    /// Whether its tokens are part of the answer.
    pub const fn is_answer(self) -> bool {
        matches!(
            self,
            Self::Output
                | Self::Reasoning
                | Self::AudioOutput
                | Self::ImageOutput
                | Self::VideoOutput
        )
    }
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no meter.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is not a meter; they are {list}", list = all_names())]
pub struct UnknownMeter(String);

fn all_names() -> String {
    let names: Vec<&str> = Meter::ALL.iter().map(|meter| meter.name()).collect();
    names.join(", ")
}

impl FromStr for Meter {
    type Err = UnknownMeter;
    fn from_str(text: &str) -> Result<Self, UnknownMeter> {
        Self::ALL
            .iter()
            .find(|m| m.name() == text)
            .copied()
            .ok_or_else(|| UnknownMeter(text.chars().take(40).collect()))
    }
}

impl Serialize for Meter {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Meter {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// What one call consumed: a quantity for each meter, zero where nothing was.
///
/// This is the whole parcel that the gateway hands to the books. It carries no money.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Usage([u64; METER_COUNT]);

impl Usage {
    /// Nothing consumed.
    pub const NONE: Self = Self([0; METER_COUNT]);

    /// The quantity of one meter, in its unit.
    pub fn get(&self, meter: Meter) -> u64 {
        self.0.get(meter.index()).copied().unwrap_or(0)
    }

    /// Sets the quantity of one meter.
    pub fn set(&mut self, meter: Meter, quantity: u64) {
        if let Some(slot) = self.0.get_mut(meter.index()) {
            *slot = quantity;
        }
    }

    /// The same usage with one meter set.
    #[must_use]
    pub fn with(mut self, meter: Meter, quantity: u64) -> Self {
        self.set(meter, quantity);
        self
    }

    /// The meters that are not zero, in the order of the receipt.
    pub fn iter(&self) -> impl Iterator<Item = (Meter, u64)> + '_ {
        Meter::ALL
            .iter()
            .copied()
            .map(|m| (m, self.get(m)))
            .filter(|(_, q)| *q > 0)
    }

    /// Whether nothing was consumed.
    pub fn is_none(&self) -> bool {
        self.0.iter().all(|q| *q == 0)
    }

    /// Tokens of the prompt, cached ones included: the size that context thresholds look at.
    pub fn prompt_tokens(&self) -> u64 {
        self.sum_of(Meter::is_prompt)
    }

    /// Tokens of the answer, reasoning included.
    pub fn answer_tokens(&self) -> u64 {
        self.sum_of(Meter::is_answer)
    }

    fn sum_of(&self, which: impl Fn(Meter) -> bool) -> u64 {
        self.iter()
            .filter(|(m, _)| which(*m))
            .fold(0, |sum, (_, q)| q.saturating_add(sum))
    }
}

impl Default for Usage {
    fn default() -> Self {
        Self::NONE
    }
}

impl fmt::Debug for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(m, q)| (m.name(), q)))
            .finish()
    }
}

impl Serialize for Usage {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        for (meter, quantity) in self.iter() {
            map.serialize_entry(meter.name(), &quantity)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Usage {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let map = std::collections::BTreeMap::<Meter, u64>::deserialize(d)?;
        Ok(map
            .into_iter()
            .fold(Self::NONE, |usage, (m, q)| usage.with(m, q)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_meter_has_its_own_place_and_name() {
        for (i, meter) in Meter::ALL.iter().enumerate() {
            assert_eq!(meter.index(), i);
            assert_eq!(meter.name().parse(), Ok(*meter));
        }
    }

    #[test]
    fn parents_end_and_keep_the_unit() {
        for meter in Meter::ALL {
            let mut at = *meter;
            let mut steps = 0;
            while let Some(parent) = at.parent() {
                assert_eq!(parent.unit(), meter.unit());
                at = parent;
                steps += 1;
                assert!(steps < 5, "{meter} has a circle of parents");
            }
        }
    }

    #[test]
    fn usage_reads_back_from_what_it_wrote() {
        let usage = Usage::NONE.with(Meter::Input, 7).with(Meter::CacheRead, 3);
        let text = serde_json::to_string(&usage).unwrap();
        assert_eq!(text, r#"{"input":7,"cache_read":3}"#);
        assert_eq!(serde_json::from_str::<Usage>(&text).unwrap(), usage);
        assert_eq!(usage.prompt_tokens(), 10);
    }
}
