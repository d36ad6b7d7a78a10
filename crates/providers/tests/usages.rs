//! Usages of OpenAI, DeepSeek, Anthropic and Gemini: every token is in one meter, and the meters are
//! together what the provider says that it counted. On recorded bodies, and on random ones.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails here fails a test"
)]

mod usages {
    pub(crate) mod random;
    pub(crate) mod recorded;
}

use billing_core::meter::{MeterUnit, Usage};
use gateway_core::endpoint::Endpoint;
use gateway_core::metering::Reported;
use providers::{Malformed, anthropic, gemini, openai};

const ANSWER: Endpoint = Endpoint::ChatCompletions;

/// How a body is read.
type Read = fn(&str) -> Result<Reported, Malformed>;

fn openai_chat(text: &str) -> Result<Reported, Malformed> {
    Ok(openai::usage::Counts::read(text)?.reported(ANSWER))
}

fn openai_responses(text: &str) -> Result<Reported, Malformed> {
    Ok(openai::usage::Counts::read_response(text)?.reported(ANSWER))
}

fn openai_embeddings(text: &str) -> Result<Reported, Malformed> {
    Ok(openai::usage::Counts::read(text)?.reported(Endpoint::Embeddings))
}

fn anthropic(text: &str) -> Result<Reported, Malformed> {
    Ok(anthropic::usage::Counts::read(text)?.reported())
}

fn gemini(text: &str) -> Result<Reported, Malformed> {
    Ok(gemini::usage::Counts::read(text)?.reported(ANSWER))
}

fn gemini_embeddings(text: &str) -> Result<Reported, Malformed> {
    Ok(gemini::usage::Counts::read(text)?.reported(Endpoint::Embeddings))
}

fn given(read: Read, text: &str) -> Usage {
    match read(text) {
        Ok(Reported::Given(usage)) => usage,
        other => panic!("{other:?}: {text}"),
    }
}

/// All tokens of all meters.
fn tokens(usage: &Usage) -> u64 {
    let counted = usage.iter();
    counted
        .filter(|(meter, _)| meter.unit() == MeterUnit::Token)
        .map(|(_, quantity)| quantity)
        .sum()
}
