//! Gemini's count of tokens, turned into meters that do not overlap.
//!
//! `promptTokenCount` includes what a cache served (`cachedContentTokenCount`); tokens that tools
//! brought into the prompt (`toolUsePromptTokenCount`), the answer (`candidatesTokenCount`) and
//! thoughts (`thoughtsTokenCount`) are counted beside it and beside one another. The provider's total
//! (`totalTokenCount`) is the sum of these four. Each of them is divided by what the tokens stand
//! for; the lists need not be complete, and what they leave out is text.
//!
//! No dialect uses this yet; the one of `:generateContent` will.

use billing_core::meter::{Meter, Usage};
use gateway_core::endpoint::Endpoint;
use gateway_core::metering::Reported;
use serde_json::value::RawValue;

use crate::count::{Malformed, Raw, count, once, part, total};
use crate::object::{members, text};

/// The counts of one answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    prompt: Option<u64>,
    cached: u64,
    tool_use: u64,
    candidates: Option<u64>,
    thoughts: u64,
    total: Option<u64>,
    prompt_kinds: Kinds,
    cached_kinds: Kinds,
    tool_use_kinds: Kinds,
    candidate_kinds: Kinds,
    service_tier: Option<String>,
}

/// Tokens by what they stand for. Text and documents are what is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Kinds {
    audio: u64,
    image: u64,
    video: u64,
}

/// The members of a usage, as their texts.
#[derive(Default)]
struct Wire<'a> {
    prompt: Raw<'a>,
    cached: Raw<'a>,
    tool_use: Raw<'a>,
    candidates: Raw<'a>,
    thoughts: Raw<'a>,
    total: Raw<'a>,
    prompt_kinds: Raw<'a>,
    cached_kinds: Raw<'a>,
    tool_use_kinds: Raw<'a>,
    candidate_kinds: Raw<'a>,
    service_tier: Raw<'a>,
    traffic_type: Raw<'a>,
}

impl<'a> Wire<'a> {
    fn read(text: &'a str) -> Result<Self, Malformed> {
        let mut wire = Self::default();
        let read = members(text, |name, value| {
            let place = match name {
                "promptTokenCount" => &mut wire.prompt,
                "cachedContentTokenCount" => &mut wire.cached,
                "toolUsePromptTokenCount" => &mut wire.tool_use,
                "candidatesTokenCount" => &mut wire.candidates,
                "thoughtsTokenCount" => &mut wire.thoughts,
                "totalTokenCount" => &mut wire.total,
                // The second is what embeddings call it.
                "promptTokensDetails" | "promptTokenDetails" => &mut wire.prompt_kinds,
                "cacheTokensDetails" => &mut wire.cached_kinds,
                "toolUsePromptTokensDetails" => &mut wire.tool_use_kinds,
                "candidatesTokensDetails" => &mut wire.candidate_kinds,
                "serviceTier" => &mut wire.service_tier,
                "trafficType" => &mut wire.traffic_type,
                _ => return Some(()),
            };
            once(place, value)
        });
        read.map(|()| wire).ok_or(Malformed)
    }

    /// The tier, by its own name or as a part of the kind of traffic.
    fn tier(&self) -> Option<String> {
        let tier = text(self.service_tier).map(|tier| tier.to_lowercase());
        let traffic = text(self.traffic_type);
        tier.or_else(|| {
            let tier = match traffic?.as_str() {
                "ON_DEMAND" => "standard",
                "ON_DEMAND_FLEX" => "flex",
                "ON_DEMAND_PRIORITY" => "priority",
                _ => return None,
            };
            Some(tier.to_owned())
        })
    }
}

impl Kinds {
    /// Reads a list of `{"modality", "tokenCount"}`. A count of zero is left out of it, or its number.
    fn read(raw: Raw<'_>) -> Result<Self, Malformed> {
        let mut kinds = Self::default();
        let Some(list) = raw.filter(|text| *text != "null") else {
            return Ok(kinds);
        };
        let list: Vec<&RawValue> = serde_json::from_str(list).map_err(|_| Malformed)?;
        for entry in list {
            let (mut modality, mut tokens) = (None, None);
            let read = members(entry.get(), |name, value| match name {
                "modality" => once(&mut modality, value),
                "tokenCount" => once(&mut tokens, value),
                _ => Some(()),
            });
            read.ok_or(Malformed)?;
            let tokens = part(tokens)?;
            let modality = text(modality).unwrap_or_default().to_uppercase();
            let kind = match modality.as_str() {
                "AUDIO" => &mut kinds.audio,
                "IMAGE" => &mut kinds.image,
                "VIDEO" => &mut kinds.video,
                _ => continue,
            };
            *kind = total([*kind, tokens])?;
        }
        Ok(kinds)
    }

    fn merge(&mut self, later: Self) {
        self.audio = self.audio.max(later.audio);
        self.image = self.image.max(later.image);
        self.video = self.video.max(later.video);
    }

    /// No more than a total holds; and how much of that is text.
    fn within(self, total: u64) -> (u64, Self) {
        let audio = self.audio.min(total);
        let image = self.image.min(total - audio);
        let video = self.video.min(total - audio - image);
        let kinds = Self {
            audio,
            image,
            video,
        };
        (total - audio - image - video, kinds)
    }
}

impl Counts {
    /// Reads one `usageMetadata`: of a whole answer, or of one chunk of a stream.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(usage: &str) -> Result<Self, Malformed> {
        let wire = Wire::read(usage)?;
        Ok(Self {
            prompt: count(wire.prompt)?,
            cached: part(wire.cached)?,
            tool_use: part(wire.tool_use)?,
            candidates: count(wire.candidates)?,
            thoughts: part(wire.thoughts)?,
            total: count(wire.total)?,
            prompt_kinds: Kinds::read(wire.prompt_kinds)?,
            cached_kinds: Kinds::read(wire.cached_kinds)?,
            tool_use_kinds: Kinds::read(wire.tool_use_kinds)?,
            candidate_kinds: Kinds::read(wire.candidate_kinds)?,
            service_tier: wire.tier(),
        })
    }

    /// Takes in the usage of a later chunk. Counts are of all of the stream up to there and only
    /// grow, so the larger one is the later; some chunks tell nothing but the kind of traffic.
    pub fn merge(&mut self, later: Self) {
        self.prompt = self.prompt.max(later.prompt);
        self.cached = self.cached.max(later.cached);
        self.tool_use = self.tool_use.max(later.tool_use);
        self.candidates = self.candidates.max(later.candidates);
        self.thoughts = self.thoughts.max(later.thoughts);
        self.total = self.total.max(later.total);
        self.prompt_kinds.merge(later.prompt_kinds);
        self.cached_kinds.merge(later.cached_kinds);
        self.tool_use_kinds.merge(later.tool_use_kinds);
        self.candidate_kinds.merge(later.candidate_kinds);
        self.service_tier = later.service_tier.or(self.service_tier.take());
    }

    /// The meters. A count of zero is left out by this provider, so what is absent is what the total
    /// has left for it; without a total it is missing, and an answer without a count is not one for
    /// nothing.
    pub fn reported(&self, endpoint: Endpoint) -> Reported {
        self.counted(endpoint).unwrap_or(Reported::Malformed)
    }

    /// The tier that served the call, in lower case: `standard`, `flex`, `priority`.
    pub fn service_tier(&self) -> Option<&str> {
        self.service_tier.as_deref()
    }

    fn counted(&self, endpoint: Endpoint) -> Result<Reported, Malformed> {
        let beside = [self.tool_use, self.thoughts];
        let candidates = self.candidates.unwrap_or(0);
        let known = total([self.prompt.unwrap_or(0), candidates, beside[0], beside[1]])?;
        let left = self.total.map(|all| all.saturating_sub(known));
        let prompt = match (self.prompt, self.candidates) {
            (None, None) if endpoint.has_output() => None,
            (Some(_), None) if endpoint.has_output() && left.is_none() => None,
            (prompt, _) => prompt.or(left),
        };
        let Some(prompt) = prompt else {
            return Ok(Reported::Missing);
        };
        // What is left once the prompt is known belongs to the answer: to the candidates where they
        // are not counted, else to thoughts, which some models do not name.
        let left = left.filter(|_| self.prompt.is_some() && endpoint.has_output());
        let left = left.unwrap_or(0);
        let (candidates, thoughts) = match self.candidates {
            None => (left, self.thoughts),
            Some(candidates) => (candidates, self.thoughts + left),
        };
        let mut usage = Usage::NONE.with(Meter::Reasoning, thoughts);
        self.prompt_meters(prompt, &mut usage);
        let (text, kinds) = self.candidate_kinds.within(candidates);
        usage.set(Meter::Output, text);
        usage.set(Meter::AudioOutput, kinds.audio);
        usage.set(Meter::ImageOutput, kinds.image);
        usage.set(Meter::VideoOutput, kinds.video);
        Ok(Reported::Given(usage))
    }

    /// The prompt, less what a cache served of it, and what tools brought in.
    fn prompt_meters(&self, prompt: u64, usage: &mut Usage) {
        let (text, kinds) = self.prompt_kinds.within(prompt);
        let all = self.cached.min(prompt);
        let (_, named) = self.cached_kinds.within(all);
        let (mut audio, mut image, mut video) = (
            named.audio.min(kinds.audio),
            named.image.min(kinds.image),
            named.video.min(kinds.video),
        );
        // What a cache served of no known kind was text, as far as there was text; all of it was of
        // some kind, because no more is cached than the prompt has.
        let unnamed = all - audio - image - video;
        let cached_text = unnamed.min(text);
        let mut left = unnamed - cached_text;
        for (cached, present) in [
            (&mut audio, kinds.audio),
            (&mut image, kinds.image),
            (&mut video, kinds.video),
        ] {
            let more = left.min(present - *cached);
            *cached += more;
            left -= more;
        }
        let (tool_text, tool) = self.tool_use_kinds.within(self.tool_use);
        usage.set(Meter::Input, text - cached_text + tool_text);
        usage.set(Meter::AudioInput, kinds.audio - audio + tool.audio);
        usage.set(Meter::ImageInput, kinds.image - image + tool.image);
        usage.set(Meter::VideoInput, kinds.video - video + tool.video);
        // Cached video has no meter of its own: it costs what any cached token does.
        usage.set(Meter::CacheRead, cached_text + video);
        usage.set(Meter::AudioCacheRead, audio);
        usage.set(Meter::ImageCacheRead, image);
    }
}

#[cfg(test)]
mod tests;
