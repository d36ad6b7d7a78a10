//! Vectors that follow from the text and nothing else.

use serde_json::Value;
use serde_json::value::RawValue;

use super::answer::Request;
use super::model::{Kind, Model};
use super::text::{hash, mix, to_u64, words};

const DIMENSIONS: usize = 64;
const MOST_DIMENSIONS: usize = 4096;
const MOST_INPUTS: usize = 2048;

/// The reply, or nothing where there is no input.
pub(super) fn reply(request: &Request<'_>, model: &Model) -> Option<String> {
    let inputs = inputs(request.input?)?;
    let size = request
        .dimensions
        .unwrap_or(DIMENSIONS)
        .clamp(1, MOST_DIMENSIONS);
    let base64 = request.encoding_format.as_deref() == Some("base64");
    let data: Vec<String> = inputs
        .iter()
        .enumerate()
        .map(|(index, (key, _))| {
            let vector = vector(hash(key.as_bytes(), model.seed), size);
            let text = if base64 {
                encoded(&vector)
            } else {
                listed(&vector)
            };
            format!(r#"{{"object":"embedding","index":{index},"embedding":{text}}}"#)
        })
        .collect();
    let tokens: u64 = inputs.iter().map(|(_, tokens)| *tokens).sum();
    let usage = match model.kind {
        Kind::NoUsage => String::new(),
        Kind::ZeroUsage => r#","usage":{"prompt_tokens":0,"total_tokens":0}"#.to_owned(),
        Kind::AbsurdUsage => {
            r#","usage":{"prompt_tokens":1000000000000,"total_tokens":1000000000000}"#.to_owned()
        }
        Kind::Echo | Kind::Lorem | Kind::Slow | Kind::Flaky | Kind::Cut | Kind::Embedding => {
            format!(r#","usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}"#)
        }
    };
    let name = Value::from(request.model.as_ref());
    Some(format!(
        r#"{{"object":"list","data":[{}],"model":{name}{usage}}}"#,
        data.join(",")
    ))
}

/// What is to be embedded, each with its tokens: texts, or lists of tokens.
fn inputs(raw: &RawValue) -> Option<Vec<(String, u64)>> {
    let one = |value: &Value| match value {
        Value::String(text) => Some((text.clone(), to_u64(words(text).count()))),
        Value::Array(tokens) => Some((value.to_string(), to_u64(tokens.len()))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    };
    match serde_json::from_str(raw.get()).ok()? {
        Value::Array(items) if items.first().is_some_and(Value::is_number) => {
            Some(vec![one(&Value::Array(items))?])
        }
        Value::Array(items) if (1..=MOST_INPUTS).contains(&items.len()) => {
            items.iter().map(one).collect()
        }
        value @ Value::String(_) => Some(vec![one(&value)?]),
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            None
        }
    }
}

/// Numbers between -1 and 1, scaled to length one.
fn vector(seed: u64, size: usize) -> Vec<f32> {
    let raw: Vec<f32> = (0..size)
        .map(|i| {
            let bits = mix(seed ^ to_u64(i)) >> 48;
            let part = u16::try_from(bits).unwrap_or(0);
            f32::from(part) / 32_767.5 - 1.0
        })
        .collect();
    let length = raw
        .iter()
        .map(|x| x * x)
        .sum::<f32>()
        .sqrt()
        .max(f32::MIN_POSITIVE);
    raw.into_iter().map(|x| x / length).collect()
}

fn listed(vector: &[f32]) -> String {
    let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
    format!("[{}]", numbers.join(","))
}

/// Little-endian floats in base64, which OpenAI's Python client asks for unless told otherwise.
fn encoded(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    format!("\"{}\"", base64(&bytes))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let digit = usize::try_from((bits >> (18 - 6 * place)) & 63).ok();
            let digit = digit.and_then(|i| DIGITS.get(i)).copied().unwrap_or(b'A');
            let beyond = place > u32::try_from(chunk.len()).unwrap_or(3);
            out.push(char::from(if beyond { b'=' } else { digit }));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_usual_one() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn vectors_have_length_one_and_repeat() {
        let a = vector(7, 64);
        assert!((a.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-4);
        assert_eq!(a, vector(7, 64));
        assert_ne!(a, vector(8, 64));
    }

    #[test]
    fn inputs_of_every_form() {
        let read = |json: &str| inputs(&RawValue::from_string(json.to_owned()).unwrap());
        let tokens = |json: &str| read(json).map(|v| v.iter().map(|(_, t)| *t).collect::<Vec<_>>());
        assert_eq!(tokens(r#""a b""#), Some(vec![2]));
        assert_eq!(tokens(r#"["a b","c"]"#), Some(vec![2, 1]));
        assert_eq!(tokens("[1,2,3]"), Some(vec![3]));
        assert_eq!(tokens("[[1,2],[3]]"), Some(vec![2, 1]));
        assert_eq!(tokens("[]"), None);
        assert_eq!(tokens("[null]"), None);
    }
}
