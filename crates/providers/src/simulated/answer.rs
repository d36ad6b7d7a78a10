//! From a request to everything that will be answered: pure, and the same for both forms.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use gateway_core::dialect::Fault;
use gateway_core::endpoint::Endpoint;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::chat::{Chat, Chunks};
use super::embedding;
use super::model::{Kind, Model, Unknown};
use super::text::hash;
use crate::openai::error_body;

/// When every answer was made: a fixed time, so that answers are the same every time.
pub(super) const CREATED: u64 = 1_767_225_600;

/// What is said.
#[derive(Debug)]
pub(super) enum Content {
    /// At once.
    Whole(Bytes),
    /// The beginning of it; then the connection breaks.
    Half(Bytes),
    /// Event by event.
    Stream(Chunks),
}

/// What is answered, and when.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<u64>,
    pub(super) first: Duration,
    pub(super) gap: Duration,
    pub(super) hang: bool,
    pub(super) number: u64,
    pub(super) content: Content,
}

impl Answer {
    pub(super) fn id(&self) -> String {
        format!("sim-{:016x}", self.number)
    }

    pub(super) fn content_type(&self) -> &'static str {
        match self.content {
            Content::Stream(_) => "text/event-stream; charset=utf-8",
            Content::Whole(_) | Content::Half(_) => "application/json",
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Request<'a> {
    #[serde(borrow)]
    pub(super) model: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) messages: Vec<Message<'a>>,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    #[serde(default)]
    pub(super) stream_options: Option<StreamOptions>,
    #[serde(default)]
    max_tokens: Option<u64>,
    #[serde(default)]
    max_completion_tokens: Option<u64>,
    #[serde(default)]
    pub(super) n: Option<u32>,
    #[serde(borrow, default)]
    pub(super) input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) encoding_format: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) dimensions: Option<usize>,
}

impl Request<'_> {
    pub(super) fn limit(&self) -> Option<u64> {
        self.max_completion_tokens.or(self.max_tokens)
    }
}

#[derive(Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow, default)]
    pub(super) role: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct StreamOptions {
    #[serde(default)]
    pub(super) include_usage: bool,
}

/// The answer to a request.
pub(super) fn to(endpoint: Endpoint, body: &Bytes) -> Answer {
    let Ok(request) = serde_json::from_slice::<Request<'_>>(body) else {
        return refusal(400, 0, "The request body is not valid.", "invalid_request");
    };
    let model = match Model::parse(&request.model) {
        Ok(model) => model,
        Err(Unknown::Model) => {
            let text = format!("The model `{}` does not exist.", request.model);
            return refusal(404, 0, &text, "model_not_found");
        }
        Err(Unknown::Parameter(pair)) => {
            let text = format!("Simulated models have no parameter `{pair}`.");
            return refusal(400, 0, &text, "invalid_parameter");
        }
    };
    let number = hash(body, model.seed);
    let mut answer = said(endpoint, &request, &model, number);
    answer.first = model.first;
    answer.gap = model.gap;
    answer.hang = model.hang || answer.hang;
    answer
}

fn said(endpoint: Endpoint, request: &Request<'_>, model: &Model, number: u64) -> Answer {
    if let Some(status) = model.status {
        return failure(status, number);
    }
    if model.kind == Kind::Flaky && number % 100 < model.rate {
        return match (number / 100) % 3 {
            0 => failure(500, number),
            1 => failure(429, number),
            _ => Answer {
                hang: true,
                ..failure(504, number)
            },
        };
    }
    match endpoint {
        Endpoint::ChatCompletions if model.kind == Kind::Embedding => refusal(
            400,
            number,
            "This model gives vectors only.",
            "invalid_model",
        ),
        Endpoint::ChatCompletions if request.messages.is_empty() => {
            refusal(400, number, "There are no messages.", "invalid_request")
        }
        Endpoint::ChatCompletions => chat(request, model, number),
        Endpoint::Embeddings => match embedding::reply(request, model) {
            Some(body) => answer(200, number, whole(body, model)),
            None => refusal(400, number, "There is no input.", "invalid_request"),
        },
    }
}

fn chat(request: &Request<'_>, model: &Model, number: u64) -> Answer {
    let chat = Chat::new(request, model, number);
    if request.stream.unwrap_or(false) {
        answer(200, number, Content::Stream(chat.into_chunks(model)))
    } else {
        answer(200, number, whole(chat.whole(), model))
    }
}

fn whole(body: String, model: &Model) -> Content {
    let bytes = Bytes::from(body);
    if model.kind == Kind::Cut {
        Content::Half(bytes.slice(..bytes.len() / 2))
    } else {
        Content::Whole(bytes)
    }
}

fn answer(status: u16, number: u64, content: Content) -> Answer {
    Answer {
        status,
        retry_after: None,
        first: Duration::ZERO,
        gap: Duration::ZERO,
        hang: false,
        number,
        content,
    }
}

fn failure(status: u16, number: u64) -> Answer {
    let mut failed = refusal(
        status,
        number,
        "The simulated model fails, as it should.",
        "simulated_failure",
    );
    failed.retry_after = (status == 429).then_some(1);
    failed
}

fn refusal(status: u16, number: u64, message: &str, code: &str) -> Answer {
    let kind = match status {
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    let fault = Fault {
        message: message.to_owned(),
        kind: kind.to_owned(),
        code: Some(code.to_owned()),
    };
    answer(
        status,
        number,
        Content::Whole(Bytes::from(error_body(&fault))),
    )
}
