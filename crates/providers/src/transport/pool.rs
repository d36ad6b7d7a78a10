//! The connections to one upstream: HTTP/1 lines that wait for a call, or one shared HTTP/2.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::{HOST, HeaderMap};
use hyper::rt::Executor;
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::sleep;

use super::body::Received;
use super::dial::{Dialer, Socket};
use super::line::{Line, Preamble};

/// Connections that are kept. Streams take one each.
const MOST_IDLE: usize = 256;
/// Shorter than what servers allow: a connection they are about to close would fail a call.
const IDLE: Duration = Duration::from_secs(30);

type Body = Full<Bytes>;

/// Why a request got no response.
pub(super) type Failure = Box<dyn Error + Send + Sync>;

/// Where a request goes: as a line of HTTP/1 begins with it, and as HTTP/2 names it.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) method: Method,
    pub(super) preamble: Preamble,
    /// With scheme and host.
    pub(super) whole: Uri,
}

/// The connections to one upstream.
#[derive(Clone)]
pub(super) struct Pool(Arc<Connections>);

pub(super) struct Connections {
    dialer: Dialer,
    idle: Mutex<Idle>,
    shared: Mutex<Option<SendRequest<Body>>>,
}

/// Lines that wait for a call, the one that waits longest first.
#[derive(Default)]
struct Idle {
    lines: VecDeque<(Box<Line>, Instant)>,
    /// Whether a task closes those that wait too long.
    watched: bool,
}

/// A fresh connection.
enum Fresh {
    Line(Box<Line>),
    Shared(SendRequest<Body>),
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pool(…)")
    }
}

impl Pool {
    /// No connection yet.
    pub(super) fn new(dialer: Dialer) -> Self {
        Self(Arc::new(Connections {
            dialer,
            idle: Mutex::default(),
            shared: Mutex::default(),
        }))
    }

    /// The same upstream, with connections of its own.
    pub(super) fn fresh(&self) -> Self {
        Self::new(self.0.dialer.clone())
    }

    /// How many connections wait for a call.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        locked(&self.0.idle).lines.len()
    }

    /// Sends a request and waits for the head of the response. A request of which nothing was sent
    /// goes to the next connection; one that may have arrived is never repeated.
    pub(super) async fn request(
        &self,
        target: &Target,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Response<Received>, Failure> {
        let pool = &self.0;
        loop {
            if let Some(shared) = pool.shared() {
                match Box::pin(send_shared(shared, target, headers, body)).await {
                    Ok(response) => return Ok(response.map(Received::Shared)),
                    Err(failed) if failed.unsent => continue,
                    Err(failed) => return Err(failed.error.into()),
                }
            }
            let (mut line, used) = match pool.take() {
                Some(line) => (line, true),
                // On the heap: a call has a connection as a rule, and would else have room for the
                // handshakes of one.
                None => match Box::pin(pool.dial()).await? {
                    Fresh::Line(line) => (line, false),
                    Fresh::Shared(sender) => {
                        let sent = Box::pin(send_shared(sender, target, headers, body)).await;
                        let response = sent.map_err(|failed| failed.error)?;
                        return Ok(response.map(Received::Shared));
                    }
                },
            };
            match line.send(&target.preamble, body.clone()).await {
                Ok(head) => {
                    let body = Received::Line(Some(line), Arc::downgrade(pool));
                    let mut response = Response::new(body);
                    *response.status_mut() = head.status;
                    *response.headers_mut() = head.headers;
                    return Ok(response);
                }
                // Closed by the upstream while it waited; each try takes one out of the pool.
                Err(failed) if failed.unsent && used => {}
                Err(failed) => return Err(failed.error.into()),
            }
        }
    }
}

impl Connections {
    /// The line that was used last, which is the likeliest to be open.
    fn take(&self) -> Option<Box<Line>> {
        let mut idle = locked(&self.idle);
        let (line, since) = idle.lines.pop_back()?;
        if since.elapsed() < IDLE {
            return Some(line);
        }
        // Those before it wait even longer.
        let stale = std::mem::take(&mut idle.lines);
        drop(idle);
        drop((line, stale));
        None
    }

    /// Keeps a line for the next call.
    pub(super) fn keep(self: &Arc<Self>, line: Box<Line>) {
        let mut idle = locked(&self.idle);
        if idle.lines.len() >= MOST_IDLE {
            return;
        }
        idle.lines.push_back((line, Instant::now()));
        if !std::mem::replace(&mut idle.watched, true) {
            drop(idle);
            TokioExecutor::new().execute(close_stale(Arc::downgrade(self)));
        }
    }

    fn shared(&self) -> Option<SendRequest<Body>> {
        let mut shared = locked(&self.shared);
        if shared.as_ref().is_some_and(SendRequest::is_closed) {
            *shared = None;
        }
        shared.clone()
    }

    async fn dial(&self) -> Result<Fresh, Failure> {
        let (socket, h2) = self.dialer.dial().await?;
        if h2 {
            Ok(Fresh::Shared(self.share(socket).await?))
        } else {
            Ok(Fresh::Line(Line::open(socket)))
        }
    }

    /// Makes an HTTP/2 connection the one for all calls, unless another call was faster.
    async fn share(&self, socket: Socket) -> Result<SendRequest<Body>, Failure> {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .adaptive_window(true)
            .handshake(socket)
            .await?;
        if let Some(faster) = self.shared() {
            return Ok(faster);
        }
        TokioExecutor::new().execute(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to an upstream ended");
            }
        });
        *locked(&self.shared) = Some(sender.clone());
        Ok(sender)
    }
}

/// Why an HTTP/2 call got no response.
struct Lost {
    error: hyper::Error,
    /// Whether nothing of the request was sent, so that another connection may send it.
    unsent: bool,
}

async fn send_shared(
    mut sender: SendRequest<Body>,
    target: &Target,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response<Incoming>, Lost> {
    let not_sent = |error| Lost {
        error,
        unsent: true,
    };
    sender.ready().await.map_err(not_sent)?;
    let mut request = Request::new(Full::new(body.clone()));
    *request.method_mut() = target.method.clone();
    *request.uri_mut() = target.whole.clone();
    request.headers_mut().clone_from(headers);
    // The host is part of the address there.
    request.headers_mut().remove(HOST);
    sender
        .try_send_request(request)
        .await
        .map_err(|mut error| Lost {
            unsent: error.take_message().is_some(),
            error: error.into_error(),
        })
}

/// Closes lines that wait too long, until none waits.
async fn close_stale(pool: Weak<Connections>) {
    loop {
        sleep(IDLE / 2).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = locked(&pool.idle);
        let stale = idle
            .lines
            .partition_point(|(_, since)| since.elapsed() >= IDLE);
        let closed: Vec<_> = idle.lines.drain(..stale).collect();
        let done = idle.lines.is_empty();
        if done {
            idle.watched = false;
        }
        drop(idle);
        drop(closed);
        if done {
            return;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
