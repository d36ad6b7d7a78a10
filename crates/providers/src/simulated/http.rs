//! The simulated provider over a socket: what the gateway meets in tests and benchmarks.

use std::convert::Infallible;
use std::future::Future;
use std::io;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::Either as Ended;
use gateway_core::provider::{BodyError, ReplyBody};
use http_body_util::{BodyExt, Either, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::answer::{self, Content};
use super::{begin, body, endpoint, model_list};

/// Requests are not larger.
const BODY_LIMIT: usize = 64 << 20;

type Chunks = futures_util::stream::BoxStream<'static, Result<Frame<Bytes>, BodyError>>;
type Body = Either<Full<Bytes>, StreamBody<Chunks>>;

/// Serves until `shutdown` is ready; open connections are then dropped.
///
/// Paths are those of OpenAI, with or without `/v1`.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accept = std::pin::pin!(listener.accept());
        match futures_util::future::select(accept, shutdown.as_mut()).await {
            Ended::Right(((), _)) => return Ok(()),
            Ended::Left((Ok((stream, _)), _)) => {
                connections.spawn(connection(stream));
            }
            // A connection that is gone before it was accepted concerns nobody else.
            Ended::Left((Err(error), _)) if is_passing(&error) => {}
            Ended::Left((Err(error), _)) => return Err(error),
        }
        while connections.try_join_next().is_some() {}
    }
}

fn is_passing(error: &io::Error) -> bool {
    [
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::Interrupted,
    ]
    .contains(&error.kind())
}

async fn connection(stream: TcpStream) {
    // Without this, small chunks wait for acknowledgements.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let served = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service_fn(respond))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a simulated connection ended early");
    }
}

async fn respond(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path();
    if request.method() == Method::GET && matches!(path, "/v1/models" | "/models") {
        return Ok(json(StatusCode::OK, model_list()));
    }
    let Some(endpoint) = endpoint(path).filter(|_| request.method() == Method::POST) else {
        return Ok(json(
            StatusCode::NOT_FOUND,
            Bytes::from_static(b"{\"error\":\"no such path\"}"),
        ));
    };
    let Ok(sent) = Limited::new(request.into_body(), BODY_LIMIT)
        .collect()
        .await
    else {
        return Ok(json(StatusCode::PAYLOAD_TOO_LARGE, Bytes::new()));
    };
    let answer = answer::to(endpoint, &sent.to_bytes());
    begin(&answer).await;
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (id, wait, kind) = (answer.id(), answer.retry_after, answer.content_type());
    let mut response = match answer.content {
        Content::Whole(bytes) => json(status, bytes),
        Content::Half(_) | Content::Stream(_) => streamed(status, kind, body(answer)),
    };
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", value);
    }
    if let Some(seconds) = wait {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(response)
}

fn json(status: StatusCode, bytes: Bytes) -> Response<Body> {
    with_type(status, "application/json", Either::Left(Full::new(bytes)))
}

fn streamed(status: StatusCode, kind: &'static str, body: ReplyBody) -> Response<Body> {
    let frames = body.map(|piece| piece.map(Frame::data)).boxed();
    with_type(status, kind, Either::Right(StreamBody::new(frames)))
}

fn with_type(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
