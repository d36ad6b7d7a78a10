//! One HTTP/1 connection, driven by the call that uses it.
//!
//! The usual way is a task for each connection, which hands over head and body through channels: two
//! more tasks wake for each piece, and a silent stream keeps the channels and their buffers. Here the
//! call's own task writes and reads. What was received together is there together, and while nothing
//! is there nothing is kept: what is received is copied out of a buffer on the stack.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::buf::Chain;
use bytes::{Buf, Bytes, BytesMut};
use hyper::Method;
use hyper::header::HeaderMap;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::dial::Socket;
use framing::{Found, Framing};
pub(super) use head::Head;

mod framing;
mod head;

/// How much is received at once.
const READ: usize = 16 * 1024;
/// How long the head of a reply may be.
const LONGEST_HEAD: usize = 64 * 1024;

/// A connection on which one call at a time is made.
pub(super) struct Line {
    socket: TokioIo<Socket>,
    /// What was not written yet of the request, which may be so when the reply has begun already.
    unsent: Option<Chain<Bytes, Bytes>>,
    /// What was received and not taken yet.
    received: BytesMut,
    /// What is still to come of the reply's body.
    framing: Framing,
    /// Whether another call may be made on it when the body is over.
    is_kept: bool,
}

/// Why a connection cannot be read any further.
#[derive(Debug, Error)]
pub(super) enum LineError {
    /// The system says so.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// The upstream closed it too early.
    #[error("the connection was closed")]
    Closed,
    /// Something came that nobody asked for.
    #[error("the upstream spoke unasked")]
    Unasked,
    /// The head of a reply is none.
    #[error("the head of the reply is not HTTP: {0}")]
    Head(httparse::Error),
    /// The head of a reply does not end.
    #[error("the head of the reply is longer than {LONGEST_HEAD} bytes")]
    LongHead,
    /// It cannot be said where the body ends.
    #[error("the length of the reply is unclear: {0}")]
    Length(&'static str),
    /// A body in chunks is cut wrongly.
    #[error("the chunks of the reply are not HTTP")]
    Chunk,
}

/// Why a call got no response.
#[derive(Debug)]
pub(super) struct Unanswered {
    /// What the connection says.
    pub(super) error: LineError,
    /// Whether nothing of the request was sent, so that another connection may send it.
    pub(super) unsent: bool,
}

/// What every request to one target begins with: its first line and the headers that do not depend
/// on the call. Holds the credential.
#[derive(Clone)]
pub(super) struct Preamble(Bytes);

impl Preamble {
    /// Of requests with this method to this path.
    pub(super) fn new(method: &Method, path: &str, headers: &HeaderMap) -> Self {
        let mut lines = BytesMut::new();
        lines.extend_from_slice(format!("{method} {path} HTTP/1.1\r\n").as_bytes());
        for (name, value) in headers {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                lines.extend_from_slice(part);
            }
        }
        Self(lines.freeze())
    }

    /// The whole head of a request with this body.
    fn with(&self, body: &Bytes) -> Bytes {
        let length = if body.is_empty() {
            "\r\n".to_owned()
        } else {
            format!("content-length: {}\r\n\r\n", body.len())
        };
        let mut head = BytesMut::with_capacity(self.0.len() + length.len());
        head.extend_from_slice(&self.0);
        head.extend_from_slice(length.as_bytes());
        head.freeze()
    }
}

impl Line {
    /// Takes a connection into use.
    pub(super) fn open(socket: Socket) -> Box<Self> {
        Box::new(Self {
            socket: TokioIo::new(socket),
            unsent: None,
            received: BytesMut::new(),
            framing: Framing::Over,
            is_kept: true,
        })
    }

    /// Sends a request and waits for the head of the reply. A connection that the upstream has
    /// closed meanwhile is found out before anything is sent on it.
    pub(super) async fn send(
        &mut self,
        preamble: &Preamble,
        body: Bytes,
    ) -> Result<Head, Unanswered> {
        self.unsent = Some(preamble.with(&body).chain(body));
        let mut was_heard = false;
        self.is_kept = true;
        poll_fn(|cx| {
            if !was_heard {
                was_heard = true;
                if let Poll::Ready(heard) = self.poll_receive(cx) {
                    let error = match heard {
                        Ok(0) => LineError::Closed,
                        Ok(_) => LineError::Unasked,
                        Err(error) => error.into(),
                    };
                    return Poll::Ready(Err(Unanswered {
                        error,
                        unsent: true,
                    }));
                }
            }
            self.poll_exchange(cx).map_err(|error| Unanswered {
                error,
                unsent: false,
            })
        })
        .await
    }

    /// Writes what can be written and reads until the head of the reply is there, which may come
    /// before all was written.
    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, LineError>> {
        self.write(cx);
        loop {
            if let Some(head) = head::take(&mut self.received)? {
                self.framing = head.framing;
                self.is_kept &= head.is_kept;
                if !head.status.is_success() {
                    // Who refuses needs no more of the request.
                    self.is_kept &= self.unsent.take().is_none();
                }
                return Poll::Ready(Ok(head));
            }
            if self.received.len() > LONGEST_HEAD {
                return Poll::Ready(Err(LineError::LongHead));
            }
            if ready!(self.poll_receive(cx))? == 0 {
                return Poll::Ready(Err(LineError::Closed));
            }
        }
    }

    /// Writes what can be written of the request.
    fn write(&mut self, cx: &mut Context<'_>) {
        if let Poll::Ready(Err(_)) = self.poll_write(cx) {
            // Why the upstream takes no more it may have said itself; else reading says it.
            self.unsent = None;
            self.is_kept = false;
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(request) = &mut self.unsent else {
            return Poll::Ready(Ok(()));
        };
        while request.has_remaining() {
            let mut slices = [IoSlice::new(&[]); 2];
            let count = request.chunks_vectored(&mut slices);
            let slices = slices.get(..count).unwrap_or_default();
            let written = ready!(Pin::new(&mut self.socket).poll_write_vectored(cx, slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            request.advance(written);
        }
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        self.unsent = None;
        Poll::Ready(Ok(()))
    }

    /// Receives what is there; zero bytes when the upstream has closed.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [const { MaybeUninit::uninit() }; READ];
        let mut room = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut room))?;
        self.received.extend_from_slice(room.filled());
        Poll::Ready(Ok(room.filled().len()))
    }

    /// The next data of the reply's body; nothing when it is over. Writes on what is left of the
    /// request, without which the upstream may have nothing more to say.
    pub(super) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, LineError>>> {
        self.write(cx);
        loop {
            match self.framing.take(&mut self.received) {
                Ok(Found::Data(data)) => return Poll::Ready(Some(Ok(data))),
                Ok(Found::End) => return Poll::Ready(None),
                Ok(Found::Nothing) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            match self.poll_receive(cx) {
                Poll::Ready(Ok(0)) if self.framing == Framing::UntilClose => {
                    self.framing = Framing::Over;
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Some(Err(LineError::Closed))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Pending => {
                    if self.received.is_empty() {
                        // A silent stream keeps nothing of what it said.
                        self.received = BytesMut::new();
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Whether the body of the reply has been read.
    pub(super) fn is_over(&self) -> bool {
        self.framing == Framing::Over
    }

    /// Whether the next call may be made on it: when all of the request was written, and all of the
    /// reply has been read and nothing else.
    pub(super) fn is_free(&self) -> bool {
        self.is_over() && self.is_kept && self.unsent.is_none() && self.received.is_empty()
    }
}
