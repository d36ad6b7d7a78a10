//! A body that is waited for, but not for ever.

use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use gateway_core::provider::BodyError;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, Sleep, sleep_until};

use super::line::Line;
use super::pool::{Connections, Failure};

/// The body of a response, on whatever it is received.
pub(super) enum Received {
    /// Over HTTP/1, by the connection, which goes back to its pool at the end.
    Line(Option<Box<Line>>, Weak<Connections>),
    /// Over HTTP/2.
    Shared(Incoming),
}

impl Received {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        match self {
            Self::Line(line, pool) => poll_line(line, pool, cx),
            Self::Shared(incoming) => loop {
                match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        // Trailers say nothing that is needed.
                        if let Ok(data) = frame.into_data() {
                            return Poll::Ready(Some(Ok(data)));
                        }
                    }
                    Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                    None => return Poll::Ready(None),
                }
            },
        }
    }
}

/// What a connection received. It is free for another call as soon as all of the body was read, if
/// it is whole; one that failed is closed.
fn poll_line(
    line: &mut Option<Box<Line>>,
    pool: &Weak<Connections>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, Failure>>> {
    let Some(open) = line.as_mut() else {
        return Poll::Ready(None);
    };
    let data = ready!(open.poll_data(cx));
    let has_failed = matches!(data, Some(Err(_)));
    if (has_failed || open.is_over())
        && let Some(line) = line.take()
        && !has_failed
        && line.is_free()
        && let Some(pool) = pool.upgrade()
    {
        pool.keep(line);
    }
    Poll::Ready(data.map(|data| data.map_err(Failure::from)))
}

/// The data of a body. The clock runs only while nothing is there.
pub(super) struct Patient {
    body: Received,
    idle: Duration,
    /// Since when nothing is there, while that is so.
    waiting: Option<Instant>,
    /// Set when it was first waited, and from then on only when it has run down too early: moving it
    /// at each piece would cost more than the piece.
    clock: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    pub(super) fn new(body: Received, idle: Duration) -> Self {
        Self {
            body,
            idle,
            waiting: None,
            clock: None,
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = *self.waiting.get_or_insert_with(Instant::now) + self.idle;
        let clock = self.clock.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            ready!(clock.as_mut().poll(cx));
            if clock.deadline() >= due {
                return Poll::Ready(());
            }
            clock.as_mut().reset(due);
        }
    }
}

impl Stream for Patient {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        match this.body.poll_data(cx) {
            Poll::Ready(Some(Ok(data))) => {
                this.waiting = None;
                Poll::Ready(Some(Ok(data)))
            }
            Poll::Ready(Some(Err(error))) => {
                Poll::Ready(Some(Err(BodyError::Broken(error.to_string()))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                ready!(this.wait(cx));
                Poll::Ready(Some(Err(BodyError::Idle(this.idle))))
            }
        }
    }
}
