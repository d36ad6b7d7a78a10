//! OpenAI's count of tokens, turned into meters that do not overlap.
//!
//! `prompt_tokens` includes what a cache served and wrote, and audio and pictures;
//! `completion_tokens` includes reasoning and audio. Each part becomes a meter of its own and the
//! rest stays `input` or `output`, so that the meters add up to the provider's totals.

use billing_core::meter::{Meter, Usage};
use gateway_core::endpoint::Endpoint;
use gateway_core::metering::Reported;

use super::object::members;

/// The counts of one or more usage objects, before they are taken apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
    cached: u64,
    cache_write: u64,
    audio_in: u64,
    image_in: u64,
    reasoning: u64,
    audio_out: u64,
    image_out: u64,
}

/// A usage object that holds something else than counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The text of a count, if it is there.
type Raw<'a> = Option<&'a str>;

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
}

impl<'a> Wire<'a> {
    fn read(text: &'a str) -> Result<Self, Malformed> {
        let mut wire = Self::default();
        let read = members(text, |name, value| {
            let place = match name {
                "prompt_tokens" => &mut wire.prompt,
                "completion_tokens" => &mut wire.completion,
                "total_tokens" => &mut wire.total,
                "prompt_tokens_details" => &mut wire.prompt_details,
                "completion_tokens_details" => &mut wire.completion_details,
                "prompt_cache_hit_tokens" => &mut wire.hit,
                "prompt_cache_miss_tokens" => &mut wire.miss,
                _ => return Some(()),
            };
            // Which of two is meant nobody knows.
            place.replace(value).is_none().then_some(())
        });
        read.map(|()| wire).ok_or(Malformed)
    }
}

/// What the details of a prompt or of a completion name, as texts.
#[derive(Default)]
struct Details<'a> {
    cached: Raw<'a>,
    cache_write: Raw<'a>,
    audio: Raw<'a>,
    image: Raw<'a>,
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
                "audio_tokens" => &mut details.audio,
                "image_tokens" => &mut details.image,
                "reasoning_tokens" => &mut details.reasoning,
                _ => return Some(()),
            };
            place.replace(value).is_none().then_some(())
        });
        read.map(|()| details).ok_or(Malformed)
    }
}

/// A count, nothing, or something that is no count: it never wraps and never rounds.
fn count(raw: Raw<'_>) -> Result<Option<u64>, Malformed> {
    let is_count = |text: &str| {
        let has_zero_before = text.len() > 1 && text.starts_with('0');
        text.bytes().all(|b| b.is_ascii_digit()) && !has_zero_before
    };
    match raw {
        None | Some("null") => Ok(None),
        Some(text) if is_count(text) => text.parse().map(Some).map_err(|_| Malformed),
        Some(_) => Err(Malformed),
    }
}

fn part(raw: Raw<'_>) -> Result<u64, Malformed> {
    count(raw).map(Option::unwrap_or_default)
}

/// A sum of an optional pair: nothing where both are absent.
fn sum(a: Option<u64>, b: Option<u64>) -> Result<Option<u64>, Malformed> {
    match (a, b) {
        (None, None) => Ok(None),
        (a, b) => a
            .unwrap_or(0)
            .checked_add(b.unwrap_or(0))
            .map(Some)
            .ok_or(Malformed),
    }
}

impl Counts {
    /// Reads one usage object.
    pub(crate) fn read(text: &str) -> Result<Self, Malformed> {
        let wire = Wire::read(text)?;
        let prompt = Details::read(wire.prompt_details)?;
        let completion = Details::read(wire.completion_details)?;
        let (hit, miss) = (count(wire.hit)?, count(wire.miss)?);
        Ok(Self {
            prompt: match count(wire.prompt)? {
                Some(tokens) => Some(tokens),
                None => sum(hit, miss)?,
            },
            completion: count(wire.completion)?,
            total: count(wire.total)?,
            cached: part(prompt.cached)?.max(hit.unwrap_or(0)),
            cache_write: part(prompt.cache_write)?,
            audio_in: part(prompt.audio)?,
            image_in: part(prompt.image)?,
            reasoning: part(completion.reasoning)?,
            audio_out: part(completion.audio)?,
            image_out: part(completion.image)?,
        })
    }

    /// Takes in a later usage of the same answer. Counts only grow, so the larger one is the later.
    pub(crate) fn merge(&mut self, later: &Self) {
        self.prompt = self.prompt.max(later.prompt);
        self.completion = self.completion.max(later.completion);
        self.total = self.total.max(later.total);
        self.cached = self.cached.max(later.cached);
        self.cache_write = self.cache_write.max(later.cache_write);
        self.audio_in = self.audio_in.max(later.audio_in);
        self.image_in = self.image_in.max(later.image_in);
        self.reasoning = self.reasoning.max(later.reasoning);
        self.audio_out = self.audio_out.max(later.audio_out);
        self.image_out = self.image_out.max(later.image_out);
    }

    /// The meters. A total that is not there and does not follow from the others leaves the usage
    /// missing: an answer without a count is not an answer for nothing.
    pub(crate) fn reported(&self, endpoint: Endpoint) -> Reported {
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
        self.completion_with_reasoning(prompt, completion)
            .map_or(Reported::Malformed, |completion| {
                Reported::Given(self.split(prompt, completion))
            })
    }

    /// Some providers count reasoning beside the completion; their total shows it.
    fn completion_with_reasoning(&self, prompt: u64, completion: u64) -> Option<u64> {
        let all = completion.checked_add(self.reasoning)?;
        let beside = self.total.is_some() && self.total == prompt.checked_add(all);
        Some(if beside { all } else { completion })
    }

    fn split(&self, prompt: u64, completion: u64) -> Usage {
        let mut usage = Usage::NONE;
        // Parts that claim more than their total are cut down to it, in this order.
        let left = [
            (Meter::CacheRead, self.cached),
            (Meter::CacheWrite5m, self.cache_write),
            (Meter::AudioInput, self.audio_in),
            (Meter::ImageInput, self.image_in),
        ]
        .into_iter()
        .fold(prompt, |left, (meter, part)| {
            take(&mut usage, left, meter, part)
        });
        usage.set(Meter::Input, left);
        let left = [
            (Meter::Reasoning, self.reasoning),
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

fn take(usage: &mut Usage, left: u64, meter: Meter, part: u64) -> u64 {
    let part = part.min(left);
    usage.set(meter, part);
    left - part
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Reported {
        Counts::read(text).map_or(Reported::Malformed, |c| {
            c.reported(Endpoint::ChatCompletions)
        })
    }

    fn given(pairs: &[(Meter, u64)]) -> Reported {
        Reported::Given(pairs.iter().fold(Usage::NONE, |u, (m, q)| u.with(*m, *q)))
    }

    #[test]
    fn parts_become_meters_and_the_rest_stays() {
        assert_eq!(
            read(
                r#"{"prompt_tokens":1200,"completion_tokens":80,"total_tokens":1280,
                "prompt_tokens_details":{"cached_tokens":1000,"cache_write_tokens":50,"audio_tokens":7},
                "completion_tokens_details":{"reasoning_tokens":16,"audio_tokens":4}}"#
            ),
            given(&[
                (Meter::Input, 143),
                (Meter::CacheRead, 1000),
                (Meter::CacheWrite5m, 50),
                (Meter::AudioInput, 7),
                (Meter::Output, 60),
                (Meter::Reasoning, 16),
                (Meter::AudioOutput, 4),
            ])
        );
    }

    #[test]
    fn other_providers_habits() {
        let deepseek = r#"{"prompt_tokens":10,"completion_tokens":2,"prompt_cache_hit_tokens":4,
            "prompt_cache_miss_tokens":6}"#;
        let parts = [(Meter::Input, 6), (Meter::CacheRead, 4), (Meter::Output, 2)];
        assert_eq!(read(deepseek), given(&parts));
        assert_eq!(
            read(&deepseek.replace(r#""prompt_tokens":10,"#, "")),
            given(&parts)
        );
        let beside = r#"{"prompt_tokens":10,"completion_tokens":2,"total_tokens":112,
            "completion_tokens_details":{"reasoning_tokens":100}}"#;
        assert_eq!(
            read(beside),
            given(&[
                (Meter::Input, 10),
                (Meter::Output, 2),
                (Meter::Reasoning, 100)
            ])
        );
    }

    #[test]
    fn absent_is_not_zero() {
        assert_eq!(read("{}"), Reported::Missing);
        assert_eq!(read(r#"{"prompt_tokens":5}"#), Reported::Missing);
        assert_eq!(
            read(r#"{"prompt_tokens":null,"completion_tokens":3}"#),
            Reported::Missing
        );
        assert_eq!(
            read(r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#),
            given(&[])
        );
        assert_eq!(
            read(r#"{"prompt_tokens":5,"total_tokens":8,"prompt_tokens_details":null}"#),
            given(&[(Meter::Input, 5), (Meter::Output, 3)])
        );
        let embedding = Counts::read(r#"{"prompt_tokens":5,"total_tokens":5}"#).unwrap();
        assert_eq!(
            embedding.reported(Endpoint::Embeddings),
            given(&[(Meter::Input, 5)])
        );
    }

    #[test]
    fn what_is_no_count_is_malformed() {
        for bad in [
            "-1",
            "1.5",
            "1e3",
            "\"7\"",
            "true",
            "[]",
            "99999999999999999999",
        ] {
            for key in ["prompt_tokens", "completion_tokens", "total_tokens"] {
                let text = format!(r#"{{"x":1,"{key}":{bad}}}"#);
                assert_eq!(read(&text), Reported::Malformed, "{text}");
            }
            let text = format!(
                r#"{{"prompt_tokens":1,"completion_tokens":1,"prompt_tokens_details":{{"cached_tokens":{bad}}}}}"#
            );
            assert_eq!(read(&text), Reported::Malformed, "{text}");
        }
        let twice = r#"{"prompt_tokens":1,"prompt_tokens":2,"completion_tokens":1}"#;
        assert_eq!(read(twice), Reported::Malformed);
        assert_eq!(read("[1,2,3]"), Reported::Malformed);
        assert_eq!(read("7"), Reported::Malformed);
    }

    #[test]
    fn what_is_written_reads_back() {
        let usage = Usage::NONE.with(Meter::Input, 7).with(Meter::Output, 3);
        assert_eq!(
            read(&write(&usage, r#""cost":0.1"#)),
            Reported::Given(usage)
        );
        assert_eq!(read(&write(&usage, "")), Reported::Given(usage));
    }

    proptest! {
        #[test]
        fn meters_add_up_to_the_totals(
            prompt in 0_u64..1 << 50, completion in 0_u64..1 << 50,
            parts in prop::array::uniform7(0_u64..1 << 51),
        ) {
            let [cached, write, audio_in, image_in, reasoning, audio_out, image_out] = parts;
            let text = format!(
                r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"prompt_tokens_details":
                {{"cached_tokens":{cached},"cache_write_tokens":{write},"audio_tokens":{audio_in},"image_tokens":{image_in}}},
                "completion_tokens_details":{{"reasoning_tokens":{reasoning},"audio_tokens":{audio_out},"image_tokens":{image_out}}}}}"#
            );
            let Reported::Given(usage) = read(&text) else { panic!("{text}") };
            prop_assert_eq!(usage.prompt_tokens(), prompt);
            prop_assert_eq!(usage.answer_tokens(), completion);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            let _ = read(&text);
        }

        #[test]
        fn merging_is_the_larger_of_each(a in any::<[u32; 2]>(), b in any::<[u32; 2]>()) {
            let one = |[p, c]: [u32; 2]|
                Counts::read(&format!(r#"{{"prompt_tokens":{p},"completion_tokens":{c}}}"#)).unwrap();
            let (mut ab, mut ba) = (one(a), one(b));
            ab.merge(&one(b));
            ba.merge(&one(a));
            prop_assert_eq!(ab, ba);
            prop_assert_eq!(ab, one([a[0].max(b[0]), a[1].max(b[1])]));
        }
    }
}
