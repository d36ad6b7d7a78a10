//! Chat completions, whole and in chunks.

use std::fmt::Write as _;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{CREATED, Request};
use super::model::{Absurd, Kind, Model};
use super::text::{Text, to_u64, words};

/// The longest answer: a limit of a billion tokens is not a wish to read them.
const MOST_WORDS: u64 = 100_000;

/// One answer, before it is written down.
#[derive(Debug)]
pub(super) struct Chat {
    id: u64,
    model: String,
    text: Text,
    choices: usize,
    finish: &'static str,
    usage: Option<String>,
    include_usage: bool,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: Option<String>,
}

/// The text of a message, whether it is given whole or in parts.
fn content(raw: Option<&RawValue>) -> String {
    let Some(json) = raw.map(RawValue::get) else {
        return String::new();
    };
    if json.starts_with('"') {
        return serde_json::from_str(json).unwrap_or_default();
    }
    let parts: Vec<Part> = serde_json::from_str(json).unwrap_or_default();
    parts
        .into_iter()
        .filter_map(|part| part.text)
        .collect::<Vec<_>>()
        .join("\n")
}

impl Chat {
    pub(super) fn new(request: &Request<'_>, model: &Model, number: u64) -> Self {
        let prompt: usize = request
            .messages
            .iter()
            .map(|m| words(&content(m.content)).count())
            .sum();
        let limit = request.limit().unwrap_or(MOST_WORDS);
        let reasoning = model.reasoning.min(limit);
        let mut text = text(request, model, number);
        let wanted = text.len();
        text.truncate(usize::try_from(limit - reasoning).unwrap_or(usize::MAX));
        let choices = usize::try_from(request.n.unwrap_or(1).clamp(1, 128)).unwrap_or(1);
        // Asked for no number of words, lorem would go on: only the limit ends it.
        let endless = matches!(model.kind, Kind::Lorem) && model.tokens.is_none();
        let cut_off = text.len() < wanted || (endless && request.limit().is_some());
        let each = to_u64(text.len()).saturating_add(reasoning);
        Self {
            id: number,
            model: request.model.clone().into_owned(),
            choices,
            finish: if cut_off { "length" } else { "stop" },
            usage: usage(model, to_u64(prompt), each.saturating_mul(to_u64(choices))),
            include_usage: request
                .stream_options
                .as_ref()
                .is_some_and(|o| o.include_usage),
            text,
        }
    }

    fn head(&self, object: &str) -> String {
        format!(
            r#"{{"id":"chatcmpl-{:016x}","object":"{object}","created":{CREATED},"model":{},"service_tier":"default","system_fingerprint":"fp_simulated""#,
            self.id,
            json(&self.model),
        )
    }

    /// The answer as one body.
    pub(super) fn whole(&self) -> String {
        let content = json(&self.text.whole());
        let choices: Vec<String> = (0..self.choices)
            .map(|index| {
                format!(
                    r#"{{"index":{index},"message":{{"role":"assistant","content":{content},"refusal":null,"annotations":[]}},"logprobs":null,"finish_reason":"{}"}}"#,
                    self.finish
                )
            })
            .collect();
        let mut out = self.head("chat.completion");
        // Writing to a String does not fail.
        let _ = write!(out, r#","choices":[{}]"#, choices.join(","));
        if let Some(usage) = &self.usage {
            let _ = write!(out, r#","usage":{usage}"#);
        }
        out.push('}');
        out
    }

    /// The answer as events.
    pub(super) fn into_chunks(self, model: &Model) -> Chunks {
        let after = model.cut_after.map_or(self.text.len() / 2, |words| {
            usize::try_from(words).unwrap_or(usize::MAX)
        });
        let cut_at =
            (model.kind == Kind::Cut).then(|| after.saturating_add(1).saturating_mul(self.choices));
        Chunks {
            head: self.head("chat.completion.chunk"),
            chat: self,
            next: 0,
            cut_at,
            end_at: model
                .end_after
                .map(|events| usize::try_from(events).unwrap_or(usize::MAX)),
        }
    }
}

fn text(request: &Request<'_>, model: &Model, number: u64) -> Text {
    if model.kind == Kind::Echo && model.tokens.is_none() {
        let user = request
            .messages
            .iter()
            .rev()
            .find(|m| m.role.as_deref() == Some("user"));
        return Text::given(&content(
            user.or(request.messages.last()).and_then(|m| m.content),
        ));
    }
    let default = if model.kind == Kind::Lorem {
        request.limit().unwrap_or(200)
    } else {
        20
    };
    let count = model.tokens.unwrap_or(default).min(MOST_WORDS);
    Text::Lorem {
        seed: number,
        count: usize::try_from(count).unwrap_or(0),
    }
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What the model says it used; nothing where it says nothing.
fn usage(model: &Model, prompt: u64, completion: u64) -> Option<String> {
    let (prompt, completion) = match (model.kind, model.absurd) {
        (Kind::NoUsage, _) => return None,
        (Kind::ZeroUsage, _) => ("0".to_owned(), "0".to_owned()),
        (Kind::AbsurdUsage, Absurd::Huge) => (prompt.to_string(), "1000000000000".to_owned()),
        (Kind::AbsurdUsage, Absurd::Wrapped) => (prompt.to_string(), u64::MAX.to_string()),
        (Kind::AbsurdUsage, Absurd::Negative) => (prompt.to_string(), "-5".to_owned()),
        (Kind::AbsurdUsage, Absurd::Fractional) => (prompt.to_string(), "1.5".to_owned()),
        (Kind::AbsurdUsage, Absurd::Text) => (prompt.to_string(), "\"12\"".to_owned()),
        (Kind::Echo | Kind::Lorem | Kind::Slow | Kind::Flaky | Kind::Cut | Kind::Embedding, _) => {
            (prompt.to_string(), completion.to_string())
        }
    };
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    let total = number(&prompt).saturating_add(number(&completion));
    let mut stated = String::new();
    for (name, value) in [("inference_geo", model.geo), ("speed", model.speed)] {
        // Writing to a String does not fail.
        let _ = value.map(|value| write!(stated, r#","{name}":"{value}""#));
    }
    let cached = model.cached.min(number(&prompt));
    let reasoning = model.reasoning.min(number(&completion));
    Some(format!(
        r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":{cached},"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":{reasoning},"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}{stated}}}"#
    ))
}

/// The events of a streamed answer, made one by one.
#[derive(Debug)]
pub(super) struct Chunks {
    chat: Chat,
    head: String,
    next: usize,
    cut_at: Option<usize>,
    end_at: Option<usize>,
}

/// The model breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broke;

impl Iterator for Chunks {
    type Item = Result<Bytes, Broke>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.next;
        if self.cut_at.is_some_and(|cut| step > cut) || self.end_at.is_some_and(|end| step >= end) {
            return None;
        }
        self.next = step.checked_add(1)?;
        if self.cut_at == Some(step) {
            return Some(Err(Broke));
        }
        self.event(step).map(Ok)
    }
}

impl Chunks {
    fn event(&self, step: usize) -> Option<Bytes> {
        let chat = &self.chat;
        let (round, index) = (step / chat.choices, step % chat.choices);
        let words = chat.text.len();
        if round == 0 {
            return Some(self.choice(
                index,
                r#""role":"assistant","content":"","refusal":null"#,
                "",
            ));
        }
        if round <= words {
            let delta = format!(r#""content":{}"#, json(&chat.text.word(round - 1)));
            return Some(self.choice(index, &delta, ""));
        }
        if round == words + 1 {
            return Some(self.choice(index, "", chat.finish));
        }
        let usage = chat.usage.as_deref().filter(|_| chat.include_usage);
        match (step - (words + 2) * chat.choices, usage) {
            (0, Some(usage)) => Some(Bytes::from(format!(
                "data: {},\"choices\":[],\"usage\":{usage}}}\n\n",
                self.head
            ))),
            (0, None) | (1, Some(_)) => Some(Bytes::from_static(b"data: [DONE]\n\n")),
            _ => None,
        }
    }

    fn choice(&self, index: usize, delta: &str, finish: &str) -> Bytes {
        let quote = if finish.is_empty() { "" } else { "\"" };
        let finish = if finish.is_empty() { "null" } else { finish };
        let asked = self.chat.include_usage && self.chat.usage.is_some();
        let usage = if asked { r#","usage":null"# } else { "" };
        Bytes::from(format!(
            "data: {},\"choices\":[{{\"index\":{index},\"delta\":{{{delta}}},\"logprobs\":null,\"finish_reason\":{quote}{finish}{quote}}}]{usage}}}\n\n",
            self.head
        ))
    }
}
