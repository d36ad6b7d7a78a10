//! OpenAI's count of tokens, turned into meters that do not overlap.
//!
//! The prompt includes what a cache served and wrote, and audio, pictures and video; the completion
//! includes reasoning, audio and pictures. Each part becomes a meter of its own and the rest stays
//! `input` or `output`, so that the meters add up to the provider's totals: `prompt_tokens` and
//! `completion_tokens`, or `total_tokens` where that counts more.

use billing_core::meter::{Meter, Usage};
use gateway_core::endpoint::Endpoint;
use gateway_core::metering::Reported;

use super::stated::Stated;
use crate::count::{Malformed, Raw, count, once, part, sum, take, total};
use crate::object::members;

/// The counts of one or more usage objects, before they are taken apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
    cached: u64,
    cache_write: u64,
    cache_write_12h: u64,
    audio_in: u64,
    image_in: u64,
    video_in: u64,
    reasoning: u64,
    audio_out: u64,
    image_out: u64,
}

/// What an API calls the members of its usage.
struct Names {
    prompt: &'static str,
    completion: &'static str,
    prompt_details: &'static str,
    completion_details: &'static str,
}

/// Chat completions, completions and embeddings.
const CHAT: Names = Names {
    prompt: "prompt_tokens",
    completion: "completion_tokens",
    prompt_details: "prompt_tokens_details",
    completion_details: "completion_tokens_details",
};
/// Responses. Never read both ways: gateways in between write the other API's names too, with zeros.
const RESPONSES: Names = Names {
    prompt: "input_tokens",
    completion: "output_tokens",
    prompt_details: "input_tokens_details",
    completion_details: "output_tokens_details",
};

/// The members of a usage, as their texts.
#[derive(Default)]
struct Wire<'a> {
    prompt: Raw<'a>,
    completion: Raw<'a>,
    total: Raw<'a>,
    prompt_details: Raw<'a>,
    completion_details: Raw<'a>,
    /// DeepSeek.
    hit: Raw<'a>,
    miss: Raw<'a>,
    stated: Stated<'a>,
}

impl<'a> Wire<'a> {
    fn read(text: &'a str, names: &Names) -> Result<Self, Malformed> {
        let mut wire = Self::default();
        let read = members(text, |name, value| {
            let place = match name {
                "total_tokens" => &mut wire.total,
                "prompt_cache_hit_tokens" => &mut wire.hit,
                "prompt_cache_miss_tokens" => &mut wire.miss,
                _ if name == names.prompt => &mut wire.prompt,
                _ if name == names.completion => &mut wire.completion,
                _ if name == names.prompt_details => &mut wire.prompt_details,
                _ if name == names.completion_details => &mut wire.completion_details,
                _ => {
                    wire.stated.take(name, value);
                    return Some(());
                }
            };
            once(place, value)
        });
        read.map(|()| wire).ok_or(Malformed)
    }
}

/// What the details of a prompt or of a completion name, as texts.
#[derive(Default)]
struct Details<'a> {
    cached: Raw<'a>,
    cache_write: Raw<'a>,
    cache_write_lives: Raw<'a>,
    audio: Raw<'a>,
    image: Raw<'a>,
    video: Raw<'a>,
    reasoning: Raw<'a>,
}

impl<'a> Details<'a> {
    fn read(text: Raw<'a>) -> Result<Self, Malformed> {
        let mut details = Self::default();
        let Some(text) = text.filter(|text| *text != "null") else {
            return Ok(details);
        };
        let read = members(text, |name, value| {
            let place = match name {
                "cached_tokens" => &mut details.cached,
                "cache_write_tokens" => &mut details.cache_write,
                "cache_write_tokens_details" => &mut details.cache_write_lives,
                "audio_tokens" => &mut details.audio,
                "image_tokens" => &mut details.image,
                "video_tokens" => &mut details.video,
                "reasoning_tokens" => &mut details.reasoning,
                _ => return Some(()),
            };
            once(place, value)
        });
        read.map(|()| details).ok_or(Malformed)
    }

    /// What was written to a cache, and how much of it for twelve hours.
    fn cache_writes(&self) -> Result<(u64, u64), Malformed> {
        let (mut short, mut long) = (None, None);
        if let Some(text) = self.cache_write_lives.filter(|text| *text != "null") {
            let read = members(text, |name, value| match name {
                "ttl_30m_tokens" => once(&mut short, value),
                "ttl_12h_tokens" => once(&mut long, value),
                _ => Some(()),
            });
            read.ok_or(Malformed)?;
        }
        let (short, long) = (part(short)?, part(long)?);
        let all = match count(self.cache_write)? {
            Some(tokens) => tokens,
            None => total([short, long])?,
        };
        Ok((all, long.min(all)))
    }
}

impl Counts {
    /// Reads one usage object of chat completions, completions or embeddings.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(text: &str) -> Result<Self, Malformed> {
        Self::named(text, &CHAT).map(|(counts, _)| counts)
    }

    /// The same, with what the object says beside the counts.
    pub(super) fn read_with_stated(text: &str) -> Result<(Self, Stated<'_>), Malformed> {
        Self::named(text, &CHAT)
    }

    /// Reads one usage object of the Responses API, which no dialect speaks yet.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read_response(text: &str) -> Result<Self, Malformed> {
        Self::named(text, &RESPONSES).map(|(counts, _)| counts)
    }

    fn named<'a>(text: &'a str, names: &Names) -> Result<(Self, Stated<'a>), Malformed> {
        let wire = Wire::read(text, names)?;
        let prompt = Details::read(wire.prompt_details)?;
        let completion = Details::read(wire.completion_details)?;
        let (hit, miss) = (count(wire.hit)?, count(wire.miss)?);
        let (cache_write, cache_write_12h) = prompt.cache_writes()?;
        let counts = Self {
            prompt: match count(wire.prompt)? {
                Some(tokens) => Some(tokens),
                None => sum(hit, miss)?,
            },
            completion: count(wire.completion)?,
            total: count(wire.total)?,
            cached: part(prompt.cached)?.max(hit.unwrap_or(0)),
            cache_write,
            cache_write_12h,
            audio_in: part(prompt.audio)?,
            image_in: part(prompt.image)?,
            video_in: part(prompt.video)?,
            reasoning: part(completion.reasoning)?,
            audio_out: part(completion.audio)?,
            image_out: part(completion.image)?,
        };
        Ok((counts, wire.stated))
    }

    /// Takes in a later usage of the same answer. Counts only grow, so the larger one is the later.
    pub fn merge(&mut self, later: &Self) {
        self.prompt = self.prompt.max(later.prompt);
        self.completion = self.completion.max(later.completion);
        self.total = self.total.max(later.total);
        self.cached = self.cached.max(later.cached);
        self.cache_write = self.cache_write.max(later.cache_write);
        self.cache_write_12h = self.cache_write_12h.max(later.cache_write_12h);
        self.audio_in = self.audio_in.max(later.audio_in);
        self.image_in = self.image_in.max(later.image_in);
        self.video_in = self.video_in.max(later.video_in);
        self.reasoning = self.reasoning.max(later.reasoning);
        self.audio_out = self.audio_out.max(later.audio_out);
        self.image_out = self.image_out.max(later.image_out);
    }

    /// The meters. A total that is not there and does not follow from the others leaves the usage
    /// missing: an answer without a count is not an answer for nothing.
    pub fn reported(&self, endpoint: Endpoint) -> Reported {
        let rest = |known: Option<u64>| self.total.and_then(|t| t.checked_sub(known.unwrap_or(0)));
        let (prompt, completion) = if endpoint.has_output() {
            (
                self.prompt
                    .or_else(|| self.completion.and_then(|c| rest(Some(c)))),
                self.completion
                    .or_else(|| self.prompt.and_then(|p| rest(Some(p)))),
            )
        } else {
            (
                self.prompt.or(self.total),
                Some(self.completion.unwrap_or(0)),
            )
        };
        let (Some(prompt), Some(completion)) = (prompt, completion) else {
            return Reported::Missing;
        };
        // What the total has beside both is reasoning: some count it there, and not all of them
        // name it. It is part of the answer, as it is where the completion includes it.
        let beside = match self.total {
            Some(all) if endpoint.has_output() => {
                all.saturating_sub(prompt.saturating_add(completion))
            }
            Some(_) | None => 0,
        };
        Reported::Given(self.split(prompt, completion + beside, self.reasoning.max(beside)))
    }

    fn split(&self, prompt: u64, completion: u64, reasoning: u64) -> Usage {
        let mut usage = Usage::NONE;
        // Parts that claim more than their total are cut down to it, in this order.
        let left = [
            (Meter::CacheRead, self.cached),
            (Meter::CacheWrite12h, self.cache_write_12h),
            (Meter::CacheWrite5m, self.cache_write - self.cache_write_12h),
            (Meter::AudioInput, self.audio_in),
            (Meter::ImageInput, self.image_in),
            (Meter::VideoInput, self.video_in),
        ]
        .into_iter()
        .fold(prompt, |left, (meter, part)| {
            take(&mut usage, left, meter, part)
        });
        usage.set(Meter::Input, left);
        let left = [
            (Meter::Reasoning, reasoning),
            (Meter::AudioOutput, self.audio_out),
            (Meter::ImageOutput, self.image_out),
        ]
        .into_iter()
        .fold(completion, |left, (meter, part)| {
            take(&mut usage, left, meter, part)
        });
        usage.set(Meter::Output, left);
        usage
    }
}

/// The usage of an answer that the gateway counted, as the protocol writes it.
pub(crate) fn write(usage: &Usage, members: &str) -> String {
    let (prompt, completion) = (usage.prompt_tokens(), usage.answer_tokens());
    let total = prompt.saturating_add(completion);
    let comma = if members.is_empty() { "" } else { "," };
    format!(
        r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total}{comma}{members}}}"#
    )
}

#[cfg(test)]
mod tests;
