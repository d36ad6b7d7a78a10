//! A provider that answers by itself: no key, no network, and the same answer every time.
//!
//! It speaks OpenAI's protocol in two forms of one core: [`SimulatedProvider`] in this process, and
//! [`http::serve`] over a socket.
//!
//! | model | does | parameters |
//! |---|---|---|
//! | `sim/echo` | says the last user message | |
//! | `sim/lorem` | says `tokens` words: as given, else `max_tokens`, else 200 | `tokens` |
//! | `sim/slow` | waits before the first byte and between chunks | `first_ms` (300), `chunk_ms` (50) |
//! | `sim/flaky` | fails for `rate` of a hundred requests: 500, 429 or no answer | `rate` (50) |
//! | `sim/cut` | breaks off in the middle, or after some words | `cut_after` |
//! | `sim/no-usage` | never says what it used | |
//! | `sim/zero-usage` | says that it used nothing | |
//! | `sim/absurd-usage` | says something impossible | `mode`: `huge`, `wrapped`, `negative`, `fractional`, `text` |
//! | `sim/embedding` | gives vectors, as floats or base64 | |
//!
//! Parameters follow the name as in a query, `sim/lorem?tokens=500&seed=7`, and every model takes
//! `tokens`, `seed`, `first_ms`, `chunk_ms`, `status` (answer with this error), `hang=1` (never
//! answer), `end_after` (events before a stream ends as if that were all, with no `[DONE]`), `cached`
//! and `reasoning` (tokens of that class in the usage).
//!
//! A token is a word with the white space behind it, in the prompt as in the answer. What a model
//! does follows from the model, its seed and the request's bytes, and from nothing else.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use gateway_core::endpoint::Endpoint;
use gateway_core::provider::{
    BodyError, ModelProvider, ReplyBody, SendError, UpstreamCall, UpstreamReply,
};
use tokio::time::{sleep, timeout};

mod answer;
mod chat;
mod embedding;
pub mod http;
mod model;
mod text;

use answer::{Answer, Content};
use chat::Broke;

/// The simulated provider in this process.
#[derive(Debug, Clone, Copy)]
pub struct SimulatedProvider {
    patience: Duration,
}

impl Default for SimulatedProvider {
    fn default() -> Self {
        Self::new(Duration::from_secs(30))
    }
}

impl SimulatedProvider {
    /// A provider whose caller waits this long for the head of a reply.
    pub const fn new(patience: Duration) -> Self {
        Self { patience }
    }
}

/// The names of the simulated models.
pub fn models() -> impl Iterator<Item = &'static str> {
    model::MODELS.iter().map(|(name, _)| *name)
}

#[async_trait]
impl ModelProvider for SimulatedProvider {
    async fn send(&self, call: UpstreamCall) -> Result<UpstreamReply, SendError> {
        let answer = answer::to(call.endpoint, &call.body);
        if timeout(self.patience, begin(&answer)).await.is_err() {
            return Err(SendError::Timeout(self.patience));
        }
        Ok(UpstreamReply {
            status: answer.status,
            retry_after: answer.retry_after.map(Duration::from_secs),
            body: body(answer),
        })
    }

    async fn models(&self) -> Result<Vec<String>, SendError> {
        Ok(models().map(str::to_owned).collect())
    }
}

/// Waits as long as the model does before it says anything.
async fn begin(answer: &Answer) {
    if answer.hang {
        std::future::pending::<()>().await;
    }
    if !answer.first.is_zero() {
        sleep(answer.first).await;
    }
}

/// Breaks off, but not before what was said is on its way: a server that still holds it in a buffer
/// would take it along.
async fn break_off() -> BodyError {
    sleep(Duration::from_millis(5)).await;
    BodyError::Broken("the simulated model broke off".to_owned())
}

/// The body of an answer, with its pauses and its early end.
fn body(answer: Answer) -> ReplyBody {
    let gap = answer.gap;
    match answer.content {
        Content::Whole(bytes) => Box::pin(stream::iter([Ok(bytes)])),
        Content::Half(bytes) => {
            let end = stream::once(async { Err(break_off().await) });
            Box::pin(stream::iter([Ok(bytes)]).chain(end))
        }
        Content::Stream(chunks) => Box::pin(stream::unfold(
            (chunks, true),
            move |(mut chunks, first)| async move {
                let next = chunks.next()?;
                if !first && !gap.is_zero() {
                    sleep(gap).await;
                }
                let piece = match next {
                    Ok(event) => Ok(event),
                    Err(Broke) => Err(break_off().await),
                };
                Some((piece, (chunks, false)))
            },
        )),
    }
}

/// The list of models, as the protocol writes it.
fn model_list() -> Bytes {
    let entries: Vec<String> = models()
        .map(|name| {
            format!(
                r#"{{"id":"{name}","object":"model","created":{},"owned_by":"tollgate-simulated"}}"#,
                answer::CREATED
            )
        })
        .collect();
    Bytes::from(format!(
        r#"{{"object":"list","data":[{}]}}"#,
        entries.join(",")
    ))
}

fn endpoint(path: &str) -> Option<Endpoint> {
    let path = path.strip_prefix("/v1").unwrap_or(path);
    [Endpoint::ChatCompletions, Endpoint::Embeddings]
        .into_iter()
        .find(|e| e.path() == path)
}

#[cfg(test)]
mod tests;
