//! Reads of a request what the gateway needs, once, and leaves the rest to the upstream.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::{memchr, memchr2, memchr2_iter, memmem};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::endpoint::Endpoint;
use crate::splice::span_of;

mod error;

pub use error::RequestError;

/// Brackets inside brackets that are accepted. JSON readers behind us recurse.
const MAX_DEPTH: usize = 100;
/// No model's name is longer.
const MAX_MODEL_BYTES: usize = 256;
/// No model writes more tokens than this; a larger limit is a mistake.
const MAX_OUTPUT: u64 = 1 << 31;
/// OpenAI's own bound of `n`.
const MAX_CHOICES: u64 = 128;

/// Where the members that may be rewritten stand in the body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spans {
    /// Just after the opening brace.
    pub open: usize,
    /// The value of `model`, quotes included.
    pub model: Range<usize>,
    /// The value of `stream_options`, even when it is null.
    pub stream_options: Option<Range<usize>>,
    /// The value of `max_tokens`, even when it is null.
    pub max_tokens: Option<Range<usize>>,
    /// The value of `max_completion_tokens`, even when it is null.
    pub max_completion_tokens: Option<Range<usize>>,
}

/// What the prompt holds besides text, as far as it changes how much it can cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Media {
    /// Audio in the prompt.
    pub audio: bool,
    /// Image parts in the prompt. A link is short and may show a large picture.
    pub images: u64,
    /// Something whose size the body does not show: a file, or a reference to an earlier answer.
    pub by_reference: bool,
    /// Audio asked for in the answer.
    pub audio_answer: bool,
}

/// The part of a request that the gateway understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// The model as the client wrote it.
    pub model: String,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether the client asked for a usage chunk in the stream.
    pub include_usage: bool,
    /// The client's own limit of output tokens, for each choice.
    pub max_output: Option<u64>,
    /// How many answers are asked for: `n` of a chat, one vector for each input of embeddings.
    pub choices: u32,
    /// The service tier asked for. What is charged follows the tier in the reply.
    pub service_tier: Option<String>,
    /// What the prompt holds besides text.
    pub media: Media,
    /// Where to cut when members are rewritten.
    pub spans: Spans,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    model: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    stream: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    stream_options: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    max_completion_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    n: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    service_tier: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    modalities: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    messages: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StreamOptions<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    include_usage: Option<&'a RawValue>,
}

/// Keeps an explicit null apart from an absent member: both mean "not given", but a null already
/// occupies its key, and a second one must not be spliced in beside it.
fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&'de RawValue>::deserialize(d).map(Some)
}

/// Reads the head of a request.
///
/// # Errors
/// Says what is wrong in a way that can be handed to the client. Never panics, whatever the bytes.
pub fn read(endpoint: Endpoint, body: &Bytes) -> Result<RequestHead, RequestError> {
    let text = std::str::from_utf8(body).map_err(|_| RequestError::NotUtf8)?;
    let raw = parse(text)?;
    let model = model_name(raw.model)?;
    let stream = boolean(raw.stream, "stream")?.unwrap_or(false);
    let include_usage = include_usage(raw.stream_options)?;
    let limits = [
        integer(
            raw.max_completion_tokens,
            "max_completion_tokens",
            MAX_OUTPUT,
        )?,
        integer(raw.max_tokens, "max_tokens", MAX_OUTPUT)?,
    ];
    let choices = match endpoint {
        Endpoint::ChatCompletions => {
            messages(raw.messages)?;
            integer(raw.n, "n", MAX_CHOICES)?.unwrap_or(1)
        }
        Endpoint::Embeddings => embedding_inputs(raw.input)?,
    };
    Ok(RequestHead {
        model,
        stream: stream && endpoint == Endpoint::ChatCompletions,
        include_usage,
        max_output: limits.into_iter().flatten().max(),
        choices: u32::try_from(choices).unwrap_or(u32::MAX),
        service_tier: string(raw.service_tier, "service_tier")?,
        media: media(&raw),
        spans: spans(body, &raw),
    })
}

fn parse(text: &str) -> Result<Raw<'_>, RequestError> {
    let raw = serde_json::from_str(text);
    // A struct is read from an array as well, so the brace is looked for; malformed text first.
    let object = text.trim_ascii_start().starts_with('{');
    match raw {
        Ok(_) if !object => Err(RequestError::NotAnObject),
        Ok(_) if deeper_than(MAX_DEPTH, text.as_bytes()) => Err(RequestError::TooDeep),
        Ok(raw) => Ok(raw),
        Err(error) if error.is_data() && object => Err(data_error(&error)),
        Err(error) if error.is_data() => Err(RequestError::NotAnObject),
        Err(error) => Err(RequestError::NotJson {
            line: error.line(),
            column: error.column(),
        }),
    }
}

/// Every value is taken raw, so the only fault in the data can be a key that comes twice.
fn data_error(error: &serde_json::Error) -> RequestError {
    const KNOWN: [&str; 10] = [
        "model",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "service_tier",
        "modalities",
        "messages",
        "input",
    ];
    let text = error.to_string();
    KNOWN
        .into_iter()
        .find(|key| text.contains(&format!("duplicate field `{key}`")))
        .map_or(RequestError::NotAnObject, RequestError::Duplicate)
}

fn given(raw: Option<&RawValue>) -> Option<&str> {
    raw.map(RawValue::get).filter(|text| *text != "null")
}

fn string(raw: Option<&RawValue>, param: &'static str) -> Result<Option<String>, RequestError> {
    let wrong = RequestError::WrongType {
        param,
        wanted: "a string",
    };
    given(raw)
        .map(|text| serde_json::from_str(text).map_err(|_| wrong))
        .transpose()
}

fn boolean(raw: Option<&RawValue>, param: &'static str) -> Result<Option<bool>, RequestError> {
    let wrong = RequestError::WrongType {
        param,
        wanted: "true or false",
    };
    given(raw)
        .map(|text| serde_json::from_str(text).map_err(|_| wrong))
        .transpose()
}

fn integer(
    raw: Option<&RawValue>,
    param: &'static str,
    most: u64,
) -> Result<Option<u64>, RequestError> {
    let Some(text) = given(raw) else {
        return Ok(None);
    };
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(RequestError::WrongType {
            param,
            wanted: "an integer",
        });
    }
    match text.parse::<u64>() {
        Ok(value) if (1..=most).contains(&value) => Ok(Some(value)),
        Ok(_) | Err(_) => Err(RequestError::OutOfRange {
            param,
            least: 1,
            most,
        }),
    }
}

fn model_name(raw: Option<&RawValue>) -> Result<String, RequestError> {
    let name = string(raw, "model")?.ok_or(RequestError::Missing("model"))?;
    if name.trim().is_empty() {
        return Err(RequestError::Empty("model"));
    }
    if name.len() > MAX_MODEL_BYTES || name.chars().any(char::is_control) {
        return Err(RequestError::BadModel);
    }
    Ok(name)
}

fn include_usage(raw: Option<&RawValue>) -> Result<bool, RequestError> {
    let wrong = RequestError::WrongType {
        param: "stream_options",
        wanted: "an object",
    };
    let Some(text) = given(raw) else {
        return Ok(false);
    };
    if !text.starts_with('{') {
        return Err(wrong);
    }
    let options: StreamOptions<'_> = serde_json::from_str(text).map_err(|_| wrong)?;
    Ok(boolean(options.include_usage, "stream_options.include_usage")?.unwrap_or(false))
}

/// The first element of an array, or why it is none.
fn first_of<'a>(text: &'a str, param: &'static str) -> Result<&'a str, RequestError> {
    let inside = text
        .strip_prefix('[')
        .ok_or(RequestError::WrongType {
            param,
            wanted: "an array",
        })?
        .trim_ascii_start();
    if inside.starts_with(']') {
        Err(RequestError::Empty(param))
    } else {
        Ok(inside)
    }
}

fn messages(raw: Option<&RawValue>) -> Result<(), RequestError> {
    let text = given(raw).ok_or(RequestError::Missing("messages"))?;
    if first_of(text, "messages")?.starts_with('{') {
        Ok(())
    } else {
        Err(RequestError::WrongType {
            param: "messages",
            wanted: "an array of objects",
        })
    }
}

/// How many texts are to be embedded.
fn embedding_inputs(raw: Option<&RawValue>) -> Result<u64, RequestError> {
    let text = given(raw).ok_or(RequestError::Missing("input"))?;
    let wrong = RequestError::WrongType {
        param: "input",
        wanted: "a string, or an array of strings or of tokens",
    };
    if text == "\"\"" {
        return Err(RequestError::Empty("input"));
    }
    if text.starts_with('"') {
        return Ok(1);
    }
    let first = match first_of(text, "input") {
        Err(RequestError::WrongType { .. }) => return Err(wrong),
        other => other?,
    };
    match first.bytes().next() {
        // Bare numbers are the tokens of one text.
        Some(b'0'..=b'9') => Ok(1),
        Some(b'"' | b'[') => {
            let all: Vec<IgnoredAny> = serde_json::from_str(text).map_err(|_| wrong)?;
            Ok(u64::try_from(all.len()).unwrap_or(u64::MAX))
        }
        _ => Err(wrong),
    }
}

/// Looks for parts that are not text by their names.
///
/// A quote inside a text is escaped, so a quoted name is a real one; at worst a text that consists
/// of just that word raises the bound. A name can be hidden by escaping its letters, which no
/// client does: then the bound is the model's own.
///
/// Parts stand in an array inside a message, and say their type. Most prompts have neither, and are
/// then not searched for each kind.
fn media(raw: &Raw<'_>) -> Media {
    let prompt = given(raw.messages).unwrap_or_default().as_bytes();
    let answer = given(raw.modalities).unwrap_or_default().as_bytes();
    let inside = prompt.get(1..).unwrap_or_default();
    let may_have_parts = memchr(b'[', inside).is_some() || TYPE.is_in(inside);
    let parts = may_have_parts.then_some(inside);
    let has = |name: &Name| parts.is_some_and(|parts| name.is_in(parts));
    let hidden = HIDDEN.is_in(prompt) && LETTERS.iter().any(|letter| letter.is_in(prompt));
    let named = parts.map_or(0, |parts| IMAGE.0.find_iter(parts).count());
    Media {
        audio: has(&INPUT_AUDIO) || hidden,
        // A part names itself twice: as its type and as its member.
        images: u64::try_from(named.div_ceil(2)).unwrap_or(u64::MAX),
        by_reference: has(&FILE) || AUDIO.is_in(prompt) || hidden,
        audio_answer: memmem::find(answer, b"audio").is_some()
            || memmem::find(answer, b"\\u").is_some(),
    }
}

/// Bytes to look for, prepared once.
#[derive(Debug)]
struct Name(memmem::Finder<'static>);

impl Name {
    fn new(name: &'static [u8]) -> Self {
        Self(memmem::Finder::new(name))
    }

    fn is_in(&self, text: &[u8]) -> bool {
        self.0.find(text).is_some()
    }
}

static TYPE: LazyLock<Name> = LazyLock::new(|| Name::new(b"\"type\""));
static IMAGE: LazyLock<Name> = LazyLock::new(|| Name::new(b"\"image_url\""));
static INPUT_AUDIO: LazyLock<Name> = LazyLock::new(|| Name::new(b"\"input_audio\""));
static FILE: LazyLock<Name> = LazyLock::new(|| Name::new(b"\"file\""));
/// An earlier answer, by its id. It stands in the message itself.
static AUDIO: LazyLock<Name> = LazyLock::new(|| Name::new(b"\"audio\""));
/// What every escaped letter begins with.
static HIDDEN: LazyLock<Name> = LazyLock::new(|| Name::new(b"\\u00"));
static LETTERS: LazyLock<[Name; 3]> =
    LazyLock::new(|| [&b"\\u005"[..], b"\\u006", b"\\u007"].map(Name::new));

fn spans(body: &Bytes, raw: &Raw<'_>) -> Spans {
    let span = |value: Option<&RawValue>| value.and_then(|v| span_of(body, v.get().as_bytes()));
    let open = memchr(b'{', body).map_or(0, |at| at.saturating_add(1));
    Spans {
        open,
        model: span(raw.model).unwrap_or_default(),
        stream_options: span(raw.stream_options),
        max_tokens: span(raw.max_tokens),
        max_completion_tokens: span(raw.max_completion_tokens),
    }
}

/// Whether brackets nest deeper than the limit. The text is valid JSON.
fn deeper_than(limit: usize, text: &[u8]) -> bool {
    // Few brackets in all cannot nest deeply: most requests end here.
    if memchr2_iter(b'{', b'[', text)
        .take(limit.saturating_add(1))
        .count()
        <= limit
    {
        return false;
    }
    let mut depth = 0_usize;
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'{' | b'[' => depth = depth.saturating_add(1),
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => rest = after_string(rest),
            _ => {}
        }
        if depth > limit {
            return true;
        }
    }
    false
}

/// What follows the string whose opening quote was just read.
fn after_string(mut rest: &[u8]) -> &[u8] {
    while let Some(at) = memchr2(b'"', b'\\', rest) {
        let quote = rest.get(at) == Some(&b'"');
        let step = at.saturating_add(if quote { 1 } else { 2 });
        rest = rest.get(step..).unwrap_or_default();
        if quote {
            return rest;
        }
    }
    &[]
}

#[cfg(test)]
mod tests;
