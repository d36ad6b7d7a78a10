//! A caller of `/v1`: what it asks, and all that it can see of the answer.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use reqwest::header::HeaderMap;
use reqwest::{Client, ClientBuilder, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::Failure;
use crate::figure::written;

/// How long any answer may take.
const PATIENCE: Duration = Duration::from_mins(3);
/// How long a connection may take that a caller makes for one call.
const CONNECT: Duration = Duration::from_secs(1);

/// A chat completion or an embedding to ask for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The model with its parameters.
    pub model: String,
    /// What the user says.
    pub prompt: String,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// The limit of the answer.
    pub max_tokens: Option<u64>,
    /// Whether a stream ends with its usage.
    pub include_usage: bool,
    /// The service tier.
    pub service_tier: Option<String>,
}

impl Ask {
    /// A short question to a model.
    pub fn of(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            prompt: "one two three".to_owned(),
            stream: false,
            max_tokens: None,
            include_usage: true,
            service_tier: None,
        }
    }

    /// The same, streamed or not.
    #[must_use]
    pub fn streamed(mut self, stream: bool) -> Self {
        self.stream = stream;
        self
    }

    /// The same, with a limit of the answer.
    #[must_use]
    pub fn at_most(mut self, max_tokens: u64) -> Self {
        self.max_tokens = Some(max_tokens);
        self
    }

    /// The same, in a service tier.
    #[must_use]
    pub fn in_tier(mut self, service_tier: &str) -> Self {
        self.service_tier = Some(service_tier.to_owned());
        self
    }

    /// Whether it is an embedding that is asked for.
    pub fn is_embedding(&self) -> bool {
        self.model.starts_with("sim/embedding")
    }

    /// The request's path.
    pub fn path(&self) -> &'static str {
        if self.is_embedding() {
            "/v1/embeddings"
        } else {
            "/v1/chat/completions"
        }
    }

    /// The request's body.
    pub fn body(&self) -> String {
        if self.is_embedding() {
            return json!({ "model": self.model, "input": self.prompt }).to_string();
        }
        let said = json!([{ "role": "user", "content": self.prompt }]);
        let mut body = json!({ "model": self.model, "messages": said });
        if self.stream {
            body["stream"] = json!(true);
            if self.include_usage {
                body["stream_options"] = json!({ "include_usage": true });
            }
        }
        if let Some(limit) = self.max_tokens {
            body["max_tokens"] = json!(limit);
        }
        if let Some(tier) = &self.service_tier {
            body["service_tier"] = json!(tier);
        }
        body.to_string()
    }
}

/// How an answer ended, as the caller sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// A body that arrived whole, be it an answer or a refusal.
    Whole,
    /// A stream up to its `[DONE]`.
    Done,
    /// A stream that ended with an error event.
    Fault,
    /// A stream that ended with neither.
    Open,
    /// The connection broke.
    Lost(String),
    /// There was no connection, so nothing was asked.
    Unsent(String),
}

/// What a caller got.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status; 0 when no head arrived.
    pub status: u16,
    /// The call's id.
    pub id: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as far as it arrived.
    pub body: String,
    /// How it ended.
    pub ending: Ending,
    /// How long it took.
    pub took: Duration,
}

impl Answer {
    fn lost(start: Instant, error: &reqwest::Error) -> Self {
        Self {
            status: 0,
            id: None,
            headers: HeaderMap::new(),
            body: String::new(),
            ending: if error.is_connect() {
                Ending::Unsent(error.to_string())
            } else {
                Ending::Lost(error.to_string())
            },
            took: start.elapsed(),
        }
    }

    /// Whether the caller holds a complete answer.
    pub fn is_complete(&self) -> bool {
        self.status == 200 && matches!(self.ending, Ending::Whole | Ending::Done)
    }

    /// The `usage.cost_nanos` that it shows.
    pub fn cost_nanos(&self) -> Option<i128> {
        written(&self.body, "cost_nanos")?.parse().ok()
    }

    /// Whether it says that its cost is not known.
    pub fn shows_no_cost(&self) -> bool {
        let cost = self.body.rfind("\"cost_nanos\":");
        let behind = cost.and_then(|at| self.body.get(at + "\"cost_nanos\":".len()..));
        behind.is_some_and(|behind| behind.trim_start().starts_with("null"))
    }

    /// The `usage.cost` that it shows, as it is written.
    pub fn cost(&self) -> Option<&str> {
        written(&self.body, "cost")
    }

    /// The cost that its head shows.
    pub fn cost_header(&self) -> Option<&str> {
        self.headers.get("x-tollgate-cost")?.to_str().ok()
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The data of a stream's events.
    pub fn events(&self) -> impl Iterator<Item = &str> {
        self.body
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
    }

    /// The error that it is, or that its stream ended with.
    pub fn error(&self) -> Value {
        let of = |text: &str| {
            serde_json::from_str::<Value>(text)
                .ok()?
                .get("error")
                .cloned()
        };
        of(&self.body)
            .or_else(|| self.events().last().and_then(of))
            .unwrap_or_default()
    }

    /// `error.code`.
    pub fn code(&self) -> String {
        self.error()["code"].as_str().unwrap_or_default().to_owned()
    }

    fn judge(&mut self, stream: bool) {
        if self.ending != Ending::Whole || !stream || self.status != 200 {
            return;
        }
        self.ending = match self.events().last() {
            Some("[DONE]") => Ending::Done,
            Some(_) if !self.error().is_null() => Ending::Fault,
            _ => Ending::Open,
        };
    }
}

/// Somebody with a key.
#[derive(Debug, Clone)]
pub struct Caller {
    client: Client,
    origin: String,
    key: String,
}

impl Caller {
    /// A caller with connections of its own.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn new(origin: &str, key: &str) -> Result<Self, Failure> {
        Self::patient(origin, key, PATIENCE)
    }

    /// A caller that takes an answer for lost when it has not ended in this time.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn patient(origin: &str, key: &str, patience: Duration) -> Result<Self, Failure> {
        Self::with(Client::builder().timeout(patience), origin, key)
    }

    /// The same, with a connection of its own for each call, which must be there in a moment.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn afresh(origin: &str, key: &str, patience: Duration) -> Result<Self, Failure> {
        let client = Client::builder().timeout(patience).connect_timeout(CONNECT);
        Self::with(client.pool_max_idle_per_host(0), origin, key)
    }

    fn with(client: ClientBuilder, origin: &str, key: &str) -> Result<Self, Failure> {
        let client = client.no_proxy().build()?;
        Ok(Self {
            client,
            origin: origin.to_owned(),
            key: key.to_owned(),
        })
    }

    /// The same connections with another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..self.clone()
        }
    }

    /// The same caller where the gate is now.
    #[must_use]
    pub fn at(&self, origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            ..self.clone()
        }
    }

    /// A request that is about to be sent.
    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client
            .post(format!("{}{path}", self.origin))
            .bearer_auth(&self.key)
            .header("content-type", "application/json")
    }

    /// Reads a resource as JSON.
    ///
    /// # Errors
    /// It was refused, or is no JSON.
    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        let request = self
            .client
            .get(format!("{}{path}", self.origin))
            .bearer_auth(&self.key);
        let answer = read(request, false).await;
        if answer.status == 200 {
            return Ok(serde_json::from_str(&answer.body)?);
        }
        Err(format!(
            "GET {path}: {} {} {:?}",
            answer.status, answer.body, answer.ending
        )
        .into())
    }

    /// Asks, and reads the answer to its end, whatever that is.
    pub async fn call(&self, ask: &Ask) -> Answer {
        read(self.post(ask.path()).body(ask.body()), ask.stream).await
    }

    /// Asks for a stream, and comes back when it has begun, with what will read it to its end.
    ///
    /// # Errors
    /// It does not begin.
    pub async fn begin(&self, ask: &Ask) -> Result<impl Future<Output = Answer> + use<>, Failure> {
        let start = Instant::now();
        let response = self.post(ask.path()).body(ask.body()).send().await?;
        if response.status().is_success() {
            Ok(rest(start, response, ask.stream))
        } else {
            Err(format!("{}: {}", response.status(), response.text().await?).into())
        }
    }

    /// Asks, and leaves before the answer has begun.
    pub async fn leave_before_answer(&self, ask: &Ask, after: Duration) -> Result<(), Failure> {
        let sent = self.alone()?.post(ask.path()).body(ask.body()).send();
        match tokio::time::timeout(after, sent).await {
            Err(_) => Ok(()),
            Ok(answered) => Err(format!("the answer came first: {answered:?}").into()),
        }
    }

    /// Asks for a stream, and leaves as soon as so many of its events have arrived. Gives the id.
    pub async fn leave_after(&self, ask: &Ask, events: usize) -> Result<String, Failure> {
        let response = self
            .alone()?
            .post(ask.path())
            .body(ask.body())
            .send()
            .await?;
        let id = id_of(&response).ok_or("an answer without an id")?;
        let mut body = response.bytes_stream();
        let mut seen = String::new();
        while seen.matches("\n\n").count() < events {
            let piece = body.next().await.ok_or("the stream ended first")??;
            seen.push_str(&String::from_utf8_lossy(&piece));
        }
        Ok(id)
    }

    /// The same caller on a connection that goes with it.
    fn alone(&self) -> Result<Self, Failure> {
        Self::new(&self.origin, &self.key)
    }

    /// The receipt of a call, as its caller reads it.
    ///
    /// # Errors
    /// There is none.
    pub async fn receipt(&self, id: &str) -> Result<Value, Failure> {
        let mut receipt = self.get(&format!("/v1/generation?id={id}")).await?;
        Ok(receipt["data"].take())
    }
}

/// Sends a request and reads the answer to its end, whatever that is.
pub async fn read(request: RequestBuilder, stream: bool) -> Answer {
    let start = Instant::now();
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Answer::lost(start, &error),
    };
    rest(start, response, stream).await
}

async fn rest(start: Instant, response: Response, stream: bool) -> Answer {
    let mut answer = Answer {
        status: response.status().as_u16(),
        id: id_of(&response),
        headers: response.headers().clone(),
        body: String::new(),
        ending: Ending::Whole,
        took: Duration::ZERO,
    };
    let mut bytes = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(error) => {
                answer.ending = Ending::Lost(error.to_string());
                break;
            }
        }
    }
    answer.body = String::from_utf8_lossy(&bytes).into_owned();
    answer.took = start.elapsed();
    answer.judge(stream);
    answer
}

fn id_of(response: &Response) -> Option<String> {
    Some(
        response
            .headers()
            .get("x-request-id")?
            .to_str()
            .ok()?
            .to_owned(),
    )
}
