//! Counts tokens where the provider did not.
//!
//! The vocabulary is OpenAI's o200k, which is the right one for some models and close for the rest:
//! an estimate, flagged as such. Counting costs more than linear time on a single long word, so a
//! text is cut into pieces, and beyond a bound only its size counts.

use billing_core::meter::{Meter, Usage};
use bytes::Bytes;
use serde_json::Value;

use crate::endpoint::Endpoint;

/// A piece handed to the tokenizer at once.
const PIECE: usize = 16 << 10;
/// What is tokenized of one text; the rest is counted by its bytes.
const WHOLE: usize = 256 << 10;
/// Bytes of one token, on the average of languages and code.
const BYTES_PER_TOKEN: u64 = 4;
/// What a chat template adds to each message, and once to the answer.
const PER_MESSAGE: u64 = 3;

/// Output that passed through a stream, kept so that it can be counted later.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delivered {
    /// Insides of JSON strings, still escaped.
    escaped: Vec<u8>,
    bytes: u64,
}

impl Delivered {
    /// Adds the inside of a JSON string as it stands in the body.
    ///
    /// Beyond what would be tokenized anyhow only the size is kept: memory stays bounded.
    pub fn push(&mut self, escaped: &[u8]) {
        self.bytes = self.bytes.saturating_add(length(escaped.len()));
        let room = WHOLE.saturating_sub(self.escaped.len());
        self.escaped
            .extend_from_slice(escaped.get(..room).unwrap_or(escaped));
    }

    /// How many bytes of output were delivered.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether no output was delivered.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// A cheap running guess of the tokens delivered so far.
    pub fn rough_tokens(&self) -> u64 {
        self.bytes.div_ceil(BYTES_PER_TOKEN)
    }

    /// The tokens delivered.
    pub fn tokens(&self) -> u64 {
        let kept = tokens(&self.text());
        kept.saturating_add(rough(self.bytes.saturating_sub(length(self.escaped.len()))))
    }

    /// The text delivered, without its escapes where they can be read.
    fn text(&self) -> String {
        let escaped = String::from_utf8_lossy(&self.escaped).into_owned();
        // A cut inside an escape leaves a text that is no JSON string: then it is counted as it is.
        serde_json::from_str(&format!("\"{escaped}\"")).unwrap_or(escaped)
    }
}

/// The tokens of a text.
pub fn tokens(text: &str) -> u64 {
    let bpe = tiktoken_rs::o200k_base_singleton();
    let mut rest = text;
    let mut read = 0_usize;
    let mut sum = 0_u64;
    while !rest.is_empty() && read < WHOLE {
        let (piece, tail) = rest.split_at_checked(piece_end(rest)).unwrap_or((rest, ""));
        sum = sum.saturating_add(length(bpe.count_ordinary(piece)));
        read = read.saturating_add(piece.len());
        rest = tail;
    }
    sum.saturating_add(rough(length(rest.len())))
}

/// Where the first piece ends: at white space if there is any near the end, else at a character.
fn piece_end(text: &str) -> usize {
    if text.len() <= PIECE {
        return text.len();
    }
    let limit = text.floor_char_boundary(PIECE);
    text.get(..limit)
        .and_then(|piece| piece.rfind(char::is_whitespace))
        .filter(|space| *space > PIECE / 2)
        .unwrap_or(limit)
}

fn length(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn rough(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

/// What a call consumed, as far as the gateway can see: its input and what was delivered.
///
/// Takes up to some tens of milliseconds for large texts: not for the thread that serves others.
pub fn estimate(endpoint: Endpoint, request: &Bytes, delivered: &Delivered) -> Usage {
    let usage = Usage::NONE.with(Meter::Input, input_tokens(endpoint, request));
    if endpoint.has_output() {
        usage.with(Meter::Output, delivered.tokens())
    } else {
        usage
    }
}

/// The tokens of a request's prompt, or of its bytes where it cannot be read.
pub fn input_tokens(endpoint: Endpoint, request: &Bytes) -> u64 {
    let Ok(body) = serde_json::from_slice::<Value>(request) else {
        return rough(length(request.len()));
    };
    match endpoint {
        Endpoint::ChatCompletions => chat_tokens(&body),
        Endpoint::Embeddings => embedding_tokens(body.get("input").unwrap_or(&Value::Null)),
    }
}

fn chat_tokens(body: &Value) -> u64 {
    let mut text = String::new();
    let messages = body
        .get("messages")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    for message in messages {
        collect(message, &mut text);
    }
    for key in ["tools", "functions", "response_format"] {
        if let Some(schema) = body.get(key).filter(|v| !v.is_null()) {
            text.push_str(&schema.to_string());
        }
    }
    let template = length(messages.len())
        .saturating_mul(PER_MESSAGE)
        .saturating_add(PER_MESSAGE);
    tokens(&text).saturating_add(template)
}

/// Gathers what the model reads as text; data and links are not.
fn collect(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, text)),
        Value::Object(members) => {
            for (key, member) in members {
                match key.as_str() {
                    "type" | "id" | "tool_call_id" | "url" | "data" | "format" | "detail"
                    | "file_data" | "file_id" => {}
                    _ => collect(member, text),
                }
            }
        }
        Value::String(part) => {
            text.push_str(part);
            text.push('\n');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn embedding_tokens(input: &Value) -> u64 {
    match input {
        Value::String(text) => tokens(text),
        // A number is one token, given as such.
        Value::Number(_) => 1,
        Value::Array(items) => items
            .iter()
            .fold(0, |sum, item| embedding_tokens(item).saturating_add(sum)),
        Value::Null | Value::Bool(_) | Value::Object(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_texts_have_known_counts() {
        assert_eq!(tokens(""), 0);
        assert_eq!(tokens("hello world"), 2);
        assert_eq!(tokens("The quick brown fox jumps over the lazy dog."), 10);
    }

    #[test]
    fn a_long_word_is_bounded_in_time() {
        let long = "x".repeat(2 << 20);
        let counted = tokens(&long);
        assert!(counted > 0 && counted < length(long.len()));
        assert!(
            tokens(&"é".repeat(40_000)) > 0,
            "a cut never lands inside a character"
        );
    }

    #[test]
    fn the_prompt_is_counted_without_data_and_links() {
        let count = |content: &str| {
            let body =
                format!(r#"{{"model":"m","messages":[{{"role":"user","content":{content}}}]}}"#);
            input_tokens(Endpoint::ChatCompletions, &Bytes::from(body))
        };
        let text = count(r#"[{"type":"text","text":"hello world"}]"#);
        let picture = format!(
            r#"[{{"type":"text","text":"hello world"}},{{"type":"image_url","image_url":{{"url":"data:{}"}}}}]"#,
            "A".repeat(9000)
        );
        assert_eq!(count(&picture), text);
        assert!(text >= 2);
        assert_eq!(
            input_tokens(
                Endpoint::ChatCompletions,
                &Bytes::from_static(b"12345678 no")
            ),
            3
        );
    }

    #[test]
    fn embeddings_count_texts_and_tokens() {
        let count = |input: &str| {
            let body = Bytes::from(format!(r#"{{"input":{input}}}"#));
            input_tokens(Endpoint::Embeddings, &body)
        };
        assert_eq!(count(r#""hello world""#), 2);
        assert_eq!(count(r#"["hello world","hello world"]"#), 4);
        assert_eq!(count("[1,2,3]"), 3);
        assert_eq!(count("[[1,2],[3]]"), 3);
    }

    #[test]
    fn delivered_output_is_counted_through_its_escapes() {
        let mut delivered = Delivered::default();
        delivered.push(br"hello\u0020");
        delivered.push(br"world");
        assert_eq!(delivered.tokens(), 2);
        assert_eq!(delivered.bytes(), 16);
        delivered.push(br"\ud83d");
        assert!(
            delivered.tokens() > 2,
            "half an emoji does not stop the count"
        );
        let mut large = Delivered::default();
        large.push(&vec![b'a'; WHOLE + 400]);
        assert_eq!(large.escaped.len(), WHOLE);
        assert!(large.tokens() > 100);
    }
}
