//! The one place that holds an HTTP client: connections, time-outs, the credential.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gateway_core::provider::{ModelProvider, SendError, UpstreamCall, UpstreamReply, collect};
use http_body_util::Full;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use hyper::{Method, Request, Response, Uri};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use thiserror::Error;

mod body;

/// A list of models is not larger.
const MODELS_LIMIT: usize = 8 << 20;
/// Connections kept to one host. Streams take one each.
const IDLE_PER_HOST: usize = 256;
/// Shorter than what servers allow: a connection they are about to close would fail a call.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For the head of the reply. A model may think long before it answers without a stream.
    pub head: Duration,
    /// For the next bytes of the body.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            head: Duration::from_mins(5),
            idle: Duration::from_mins(2),
        }
    }
}

/// Where an upstream is and how it is reached.
#[derive(Debug, Clone, Default)]
pub struct HttpProviderConfig {
    /// Up to and including the version, such as `https://api.openai.com/v1`.
    pub base_url: String,
    /// Sent as a bearer token.
    pub credential: Option<SecretString>,
    /// Sent with every call. Values may be secrets too.
    pub headers: Vec<(String, SecretString)>,
    /// How long to wait.
    pub timeouts: Timeouts,
}

/// Why a transport cannot be made. Never holds a secret.
#[derive(Debug, Error)]
pub enum TransportError {
    /// The base URL is none.
    #[error("not a base URL (http:// or https://): {0}")]
    BaseUrl(String),
    /// A header's name or value has bytes that no header may have.
    #[error("the header {0} cannot be sent")]
    Header(String),
    /// TLS cannot be set up.
    #[error("no TLS: {0}")]
    Tls(String),
}

type Body = Full<Bytes>;

#[derive(Clone)]
enum Pool {
    Plain(Client<HttpConnector, Body>),
    Tls(Client<HttpsConnector<HttpConnector>, Body>),
}

impl Pool {
    async fn request(
        &self,
        request: Request<Body>,
    ) -> Result<Response<hyper::body::Incoming>, ClientError> {
        match self {
            Self::Plain(client) => client.request(request).await,
            Self::Tls(client) => client.request(request).await,
        }
    }
}

/// An upstream over HTTP/1.1 or HTTP/2. Clones share the connections.
#[derive(Clone)]
pub struct HttpProvider {
    pool: Pool,
    tls: Option<Arc<ClientConfig>>,
    base: Arc<str>,
    headers: HeaderMap,
    timeouts: Timeouts,
}

impl fmt::Debug for HttpProvider {
    // Headers hold the credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpProvider")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl HttpProvider {
    /// A provider with connections of its own.
    ///
    /// # Errors
    /// When the configuration cannot work.
    pub fn new(config: &HttpProviderConfig) -> Result<Self, TransportError> {
        let base = config.base_url.trim_end_matches('/');
        let uri: Uri = base
            .parse()
            .map_err(|_| TransportError::BaseUrl(without_user(base).to_owned()))?;
        let tls = match (uri.scheme_str(), uri.host()) {
            (Some("http"), Some(_)) => None,
            (Some("https"), Some(_)) => Some(Arc::new(tls_config()?)),
            _ => return Err(TransportError::BaseUrl(without_user(base).to_owned())),
        };
        if uri.query().is_some() || base.contains('@') {
            return Err(TransportError::BaseUrl(without_user(base).to_owned()));
        }
        Ok(Self {
            pool: pool(tls.as_deref(), &config.timeouts),
            tls,
            base: base.into(),
            headers: headers(config)?,
            timeouts: config.timeouts,
        })
    }

    /// The same upstream with connections of its own, for another worker. Certificates are shared.
    #[must_use]
    pub fn fresh(&self) -> Self {
        Self {
            pool: pool(self.tls.as_deref(), &self.timeouts),
            ..self.clone()
        }
    }

    async fn exchange(
        &self,
        request: Request<Body>,
    ) -> Result<Response<hyper::body::Incoming>, SendError> {
        let wait = self.timeouts.head;
        match tokio::time::timeout(wait, self.pool.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(SendError::Unavailable(reason(&error))),
            Err(_) => Err(SendError::Timeout(wait)),
        }
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Body>, SendError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .body(Full::new(body))
            .map_err(|error| SendError::Unsendable(error.to_string()))?;
        request.headers_mut().clone_from(&self.headers);
        Ok(request)
    }
}

/// An address must not carry a password; if it does, it is not shown.
fn without_user(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, rest)| rest)
}

fn tls_config() -> Result<ClientConfig, TransportError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TransportError::Tls(error.to_string()))?
        .with_native_roots()
        .map_err(|error| TransportError::Tls(error.to_string()))?
        .with_no_client_auth();
    Ok(config)
}

fn pool(tls: Option<&ClientConfig>, timeouts: &Timeouts) -> Pool {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(timeouts.connect));
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .pool_idle_timeout(IDLE_CONNECTION)
        .pool_timer(TokioTimer::new());
    match tls {
        None => Pool::Plain(builder.build(tcp)),
        Some(config) => {
            tcp.enforce_http(false);
            let connector = HttpsConnectorBuilder::new()
                .with_tls_config(config.clone())
                .https_or_http()
                .enable_http1()
                .enable_http2()
                .wrap_connector(tcp);
            Pool::Tls(builder.build(connector))
        }
    }
}

fn headers(config: &HttpProviderConfig) -> Result<HeaderMap, TransportError> {
    let mut headers = HeaderMap::new();
    let json = HeaderValue::from_static("application/json");
    headers.insert(CONTENT_TYPE, json);
    headers.insert(
        ACCEPT,
        HeaderValue::from_static("application/json, text/event-stream"),
    );
    if let Some(secret) = &config.credential {
        let bearer = format!("Bearer {}", secret.expose_secret());
        headers.insert(AUTHORIZATION, hidden("authorization", &bearer)?);
    }
    for (name, value) in &config.headers {
        let key: HeaderName = name
            .parse()
            .map_err(|_| TransportError::Header(name.clone()))?;
        headers.insert(key, hidden(name, value.expose_secret())?);
    }
    Ok(headers)
}

fn hidden(name: &str, value: &str) -> Result<HeaderValue, TransportError> {
    let mut value =
        HeaderValue::from_str(value).map_err(|_| TransportError::Header(name.to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// An error with its causes: hyper's own text says only where it happened.
fn reason(error: &ClientError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

/// `retry-after-ms`, else `retry-after` in seconds. Dates are rare and not worth a calendar here.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| header(headers, name)?.trim().parse::<u64>().ok();
    number("retry-after-ms")
        .map(Duration::from_millis)
        .or_else(|| number(RETRY_AFTER.as_str()).map(Duration::from_secs))
}

fn reply(response: Response<hyper::body::Incoming>, idle: Duration) -> UpstreamReply {
    let (head, body) = response.into_parts();
    UpstreamReply {
        status: head.status.as_u16(),
        request_id: header(&head.headers, "x-request-id"),
        retry_after: retry_after(&head.headers),
        content_type: header(&head.headers, CONTENT_TYPE.as_str()),
        body: Box::pin(body::Patient::new(body, idle)),
    }
}

#[derive(Deserialize)]
struct ModelList {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

#[async_trait]
impl ModelProvider for HttpProvider {
    async fn send(&self, call: UpstreamCall) -> Result<UpstreamReply, SendError> {
        let request = self.request(Method::POST, call.endpoint.path(), call.body)?;
        Ok(reply(self.exchange(request).await?, self.timeouts.idle))
    }

    async fn models(&self) -> Result<Vec<String>, SendError> {
        let request = self.request(Method::GET, "/models", Bytes::new())?;
        let reply = reply(self.exchange(request).await?, self.timeouts.idle);
        if reply.status != 200 {
            return Err(SendError::Unavailable(format!("status {}", reply.status)));
        }
        let body = collect(reply.body, MODELS_LIMIT)
            .await
            .map_err(|error| SendError::Unavailable(error.to_string()))?;
        let list: ModelList = serde_json::from_slice(&body)
            .map_err(|_| SendError::Unavailable("not a list of models".to_owned()))?;
        Ok(list.data.into_iter().map(|model| model.id).collect())
    }
}

#[cfg(test)]
mod tests;
