//! The most that a call can consume, which is what gets authorized.

use billing_core::meter::{Meter, Usage};

use crate::endpoint::Endpoint;
use crate::request::RequestHead;

/// Tokens that a chat template adds around the messages.
const TEMPLATE_TOKENS: u64 = 32;
/// The dearest picture known: high detail at a small model that multiplies its tiles.
const IMAGE_TOKENS: u64 = 50_000;
/// A prompt larger than any model takes, where the catalogue does not know the model's own bound.
const UNKNOWN_CONTEXT: u64 = 2_000_000;

/// What the catalogue knows of a model's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ModelBounds {
    /// Prompt and answer together.
    pub context_tokens: Option<u64>,
    /// The prompt alone.
    pub max_input_tokens: Option<u64>,
    /// The answer alone.
    pub max_output_tokens: Option<u64>,
}

impl ModelBounds {
    /// The largest prompt that the model can have taken, in tokens.
    pub fn input(&self) -> u64 {
        self.max_input_tokens
            .or(self.context_tokens)
            .unwrap_or(UNKNOWN_CONTEXT)
    }

    /// The longest answer that the model can have given, in tokens.
    pub fn output(&self) -> u64 {
        self.max_output_tokens
            .or(self.context_tokens)
            .unwrap_or(UNKNOWN_CONTEXT)
    }
}

/// The upper bound of a call, by meter.
///
/// Input is bounded by half the body's bytes, which the text of real prompts stays well below, plus
/// a fixed allowance for each picture, and never more than the model takes. A prompt made of rare
/// symbols can still exceed it, up to one token a byte, so the books cannot rely on it alone.
/// Output is the client's limit, else the model's, else `default_output`, for each choice.
///
/// The gateway does not know which class is dearer. Where a request can be counted in two classes
/// (audio beside text), the bound stands in both: too high, never too low.
pub fn ceiling(
    endpoint: Endpoint,
    head: &RequestHead,
    body_len: usize,
    bounds: &ModelBounds,
    default_output: u64,
) -> Usage {
    let input = input_bound(endpoint, head, body_len, bounds);
    let mut usage = Usage::NONE.with(Meter::Input, input);
    if head.media.audio || head.media.by_reference {
        usage.set(Meter::AudioInput, input);
    }
    if head.media.images > 0 || head.media.by_reference {
        usage.set(Meter::ImageInput, input);
    }
    if endpoint.has_output() {
        let each = head
            .max_output
            .or(bounds.max_output_tokens)
            .unwrap_or(default_output);
        let output = each.saturating_mul(u64::from(head.choices));
        usage.set(Meter::Output, output);
        if head.media.audio_answer {
            usage.set(Meter::AudioOutput, output);
        }
    }
    usage
}

fn input_bound(
    endpoint: Endpoint,
    head: &RequestHead,
    body_len: usize,
    bounds: &ModelBounds,
) -> u64 {
    // Each text of a batch may be as long as the model takes; a conversation is one prompt.
    let most = match endpoint {
        Endpoint::ChatCompletions => bounds.input(),
        Endpoint::Embeddings => bounds.input().saturating_mul(u64::from(head.choices)),
    };
    if head.media.by_reference {
        return most;
    }
    let body = u64::try_from(body_len).unwrap_or(u64::MAX);
    body.div_ceil(2)
        .saturating_add(TEMPLATE_TOKENS)
        .saturating_add(head.media.images.saturating_mul(IMAGE_TOKENS))
        .min(most)
}

/// Whether a provider's count can be true of this model, which was asked for so many answers.
///
/// The measure is the model's own size and not the ceiling: a prompt may turn out longer than
/// estimated without anything being wrong. A count beyond the model is the provider's fault. The
/// prompt may be counted once for each answer: batches of embeddings are, and some choices.
pub fn is_plausible(usage: &Usage, choices: u32, bounds: &ModelBounds) -> bool {
    let times = u64::from(choices.max(1));
    usage.prompt_tokens() <= bounds.input().saturating_mul(times)
        && usage.answer_tokens() <= bounds.output().saturating_mul(times)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::request::read;

    fn bound(body: &str, bounds: ModelBounds) -> Usage {
        let head = read(
            Endpoint::ChatCompletions,
            &Bytes::copy_from_slice(body.as_bytes()),
        )
        .unwrap();
        ceiling(Endpoint::ChatCompletions, &head, body.len(), &bounds, 4096)
    }

    #[test]
    fn the_output_bound_is_the_clients_then_the_models_then_the_default() {
        let model = ModelBounds {
            max_output_tokens: Some(900),
            ..ModelBounds::default()
        };
        let asked = r#"{"model":"m","messages":[{}],"max_tokens":5,"n":3}"#;
        let plain = r#"{"model":"m","messages":[{}]}"#;
        assert_eq!(bound(asked, model).get(Meter::Output), 15);
        assert_eq!(bound(plain, model).get(Meter::Output), 900);
        assert_eq!(
            bound(plain, ModelBounds::default()).get(Meter::Output),
            4096
        );
    }

    #[test]
    fn the_input_bound_is_half_the_body_but_no_more_than_the_model_takes() {
        let body = format!(
            r#"{{"model":"m","messages":[{{"content":"{}"}}]}}"#,
            "x".repeat(1000)
        );
        let half = u64::try_from(body.len()).unwrap().div_ceil(2) + TEMPLATE_TOKENS;
        assert_eq!(bound(&body, ModelBounds::default()).get(Meter::Input), half);
        let small = ModelBounds {
            max_input_tokens: Some(100),
            ..ModelBounds::default()
        };
        assert_eq!(bound(&body, small).get(Meter::Input), 100);
    }

    #[test]
    fn audio_and_files_raise_the_bound() {
        let model = ModelBounds {
            context_tokens: Some(128_000),
            ..ModelBounds::default()
        };
        let audio = bound(
            r#"{"model":"m","messages":[{"type":"input_audio"}]}"#,
            model,
        );
        assert_eq!(audio.get(Meter::AudioInput), audio.get(Meter::Input));
        let file = bound(r#"{"model":"m","messages":[{"type":"file"}]}"#, model);
        assert_eq!(file.get(Meter::Input), 128_000);
    }

    #[test]
    fn embeddings_have_no_output() {
        let body = Bytes::from_static(br#"{"model":"m","input":"a"}"#);
        let head = read(Endpoint::Embeddings, &body).unwrap();
        let usage = ceiling(
            Endpoint::Embeddings,
            &head,
            body.len(),
            &ModelBounds::default(),
            99,
        );
        assert_eq!(usage.answer_tokens(), 0);
        assert!(usage.prompt_tokens() > 0);
    }

    #[test]
    fn a_batch_may_be_longer_than_one_text() {
        let text = "x ".repeat(300);
        let body = Bytes::from(format!(r#"{{"model":"m","input":["{text}","{text}"]}}"#));
        let head = read(Endpoint::Embeddings, &body).unwrap();
        let small = ModelBounds {
            max_input_tokens: Some(250),
            ..ModelBounds::default()
        };
        let usage = ceiling(Endpoint::Embeddings, &head, body.len(), &small, 0);
        assert_eq!(usage.get(Meter::Input), 500);
        assert!(is_plausible(&usage, head.choices, &small));
    }

    #[test]
    fn a_count_beyond_the_model_is_not_plausible() {
        let model = ModelBounds {
            context_tokens: Some(1000),
            max_output_tokens: Some(100),
            ..ModelBounds::default()
        };
        let usage = Usage::NONE
            .with(Meter::Input, 1000)
            .with(Meter::Output, 200);
        assert!(is_plausible(&usage, 2, &model));
        assert!(!is_plausible(&usage, 1, &model));
        assert!(!is_plausible(
            &usage.with(Meter::CacheRead, 1001),
            2,
            &model
        ));
        let absurd = Usage::NONE.with(Meter::Output, 1_000_000_000_000);
        assert!(!is_plausible(&absurd, 1, &ModelBounds::default()));
    }
}
