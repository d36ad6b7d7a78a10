//! The one place that holds an HTTP client: connections, time-outs, the credential.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gateway_core::endpoint::Endpoint;
use gateway_core::provider::{ModelProvider, SendError, UpstreamCall, UpstreamReply, collect};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName,
    HeaderValue, RETRY_AFTER, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::{Method, Response, Uri};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use thiserror::Error;

use body::Received;
use dial::Dialer;
use line::Preamble;
use pool::{Pool, Target};

mod body;
mod dial;
mod line;
mod pool;
pub mod webhook;

/// Like `retry-after`, in milliseconds.
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// Headers that say where a request ends and what its connection is for. They are the transport's
/// own: another one from the configuration would make two requests of one.
const OWN: [HeaderName; 9] = [
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];
/// A list of models is not larger.
const MODELS_LIMIT: usize = 8 << 20;

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
    /// Sent with every call. Values may be secrets too. None may be of those that belong to the
    /// connection, such as `host`, `connection` and `content-length`.
    pub headers: Vec<(String, SecretString)>,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// The authorities (certificates in PEM) that sign the upstream's certificate, instead of those
    /// that the machine trusts.
    pub authorities: Option<Vec<u8>>,
}

/// Why a transport cannot be made. Never holds a secret.
#[derive(Debug, Error)]
pub enum TransportError {
    /// The base URL is none.
    #[error("not a base URL (http:// or https://): {0}")]
    BaseUrl(String),
    /// A header's name or value has bytes that no header may have, or it is one of those that say
    /// where a request ends and what its connection is for.
    #[error("the header {0} cannot be sent: it is malformed, or Tollgate's own to say")]
    Header(String),
    /// The authorities are no certificates.
    #[error("the certificates of the authorities cannot be used: {0}")]
    Authorities(String),
    /// TLS cannot be set up.
    #[error("no TLS: {0}")]
    Tls(String),
}

/// An upstream over HTTP/1.1 or HTTP/2. Clones share the connections.
#[derive(Clone)]
pub struct HttpProvider {
    pool: Pool,
    base: Uri,
    targets: Targets,
    headers: HeaderMap,
    timeouts: Timeouts,
}

/// Where calls of each kind go.
#[derive(Clone)]
struct Targets {
    chat: Target,
    embeddings: Target,
    models: Target,
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
        let refused = || TransportError::BaseUrl(without_user(base).to_owned());
        let uri: Uri = base.parse().map_err(|_| refused())?;
        let tls = match (uri.scheme_str(), uri.host()) {
            (Some("http"), Some(_)) => dial::no_tls()?,
            (Some("https"), Some(_)) => dial::tls(config.authorities.as_deref())?,
            _ => return Err(refused()),
        };
        if uri.query().is_some() || base.contains('@') {
            return Err(refused());
        }
        let headers = headers(config, &uri)?;
        let target = |method: Method, path: &str| {
            let whole: Uri = format!("{base}{path}").parse().map_err(|_| refused())?;
            Ok::<_, TransportError>(Target {
                preamble: Preamble::new(&method, whole.path(), &headers),
                method,
                whole,
            })
        };
        Ok(Self {
            targets: Targets {
                chat: target(Method::POST, Endpoint::ChatCompletions.path())?,
                embeddings: target(Method::POST, Endpoint::Embeddings.path())?,
                models: target(Method::GET, "/models")?,
            },
            headers,
            pool: Pool::new(Dialer::new(uri.clone(), tls, config.timeouts.connect)),
            base: uri,
            timeouts: config.timeouts,
        })
    }

    /// The same upstream with connections of its own, for another worker. Certificates are shared.
    #[must_use]
    pub fn fresh(&self) -> Self {
        Self {
            pool: self.pool.fresh(),
            ..self.clone()
        }
    }

    async fn exchange(
        &self,
        target: &Target,
        body: Bytes,
    ) -> Result<Response<Received>, SendError> {
        let wait = self.timeouts.head;
        let request = self.pool.request(target, &self.headers, &body);
        match tokio::time::timeout(wait, request).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(SendError::Unavailable(reason(&*error))),
            Err(_) => Err(SendError::Timeout(wait)),
        }
    }

    fn target(&self, endpoint: Endpoint) -> &Target {
        match endpoint {
            Endpoint::ChatCompletions => &self.targets.chat,
            Endpoint::Embeddings => &self.targets.embeddings,
        }
    }
}

/// An address must not carry a password; if it does, it is not shown.
fn without_user(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, rest)| rest)
}

/// What every request says of itself, to the host of `base`.
fn headers(config: &HttpProviderConfig, base: &Uri) -> Result<HeaderMap, TransportError> {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, host(base)?);
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
            .ok()
            .filter(|key| !OWN.contains(key))
            .ok_or_else(|| TransportError::Header(name.clone()))?;
        headers.insert(key, hidden(name, value.expose_secret())?);
    }
    Ok(headers)
}

/// The host as requests name it: without the port that goes without saying.
fn host(base: &Uri) -> Result<HeaderValue, TransportError> {
    let usual = match base.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    let name = base.host().unwrap_or_default();
    let text = match base.port_u16().filter(|port| *port != usual) {
        Some(port) => format!("{name}:{port}"),
        None => name.to_owned(),
    };
    HeaderValue::from_str(&text).map_err(|_| TransportError::BaseUrl(text))
}

fn hidden(name: &str, value: &str) -> Result<HeaderValue, TransportError> {
    let mut value =
        HeaderValue::from_str(value).map_err(|_| TransportError::Header(name.to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// An error with its causes: hyper's own text says only where it happened.
fn reason(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// `retry-after-ms`, else `retry-after` in seconds. Dates are rare and not worth a calendar here.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &HeaderName| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    number(&RETRY_AFTER_MS)
        .map(Duration::from_millis)
        .or_else(|| number(&RETRY_AFTER).map(Duration::from_secs))
}

fn reply(response: Response<Received>, idle: Duration) -> UpstreamReply {
    let (head, body) = response.into_parts();
    UpstreamReply {
        status: head.status.as_u16(),
        retry_after: retry_after(&head.headers),
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
        let target = self.target(call.endpoint);
        let response = self.exchange(target, call.body).await?;
        Ok(reply(response, self.timeouts.idle))
    }

    async fn models(&self) -> Result<Vec<String>, SendError> {
        let target = &self.targets.models;
        let response = self.exchange(target, Bytes::new()).await?;
        let reply = reply(response, self.timeouts.idle);
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
