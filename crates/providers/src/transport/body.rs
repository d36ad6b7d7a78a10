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
use super::pool::Connections;

/// The body of a response, on whatever it is received.
pub(super) enum Received {
    /// Over HTTP/1, with the connection that brings it and goes back to its pool at the end.
    Line(Incoming, Option<Box<Line>>, Weak<Connections>),
    /// Over HTTP/2.
    Shared(Incoming),
}

impl Received {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, hyper::Error>>> {
        let mut driven = false;
        loop {
            let incoming = match self {
                Self::Line(incoming, ..) | Self::Shared(incoming) => incoming,
            };
            match Pin::new(incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers say nothing that is needed.
                    if let Ok(data) = frame.into_data() {
                        self.free_at_end();
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.close();
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => {
                    self.free();
                    return Poll::Ready(None);
                }
                Poll::Pending => match self {
                    // What is there is passed on at once; the connection is asked for more then.
                    Self::Line(_, Some(line), _) if !driven && !line.is_over() => {
                        driven = true;
                        line.drive(cx);
                    }
                    // A connection that has ended tells its body so when it is dropped.
                    Self::Line(_, Some(line), _) if line.is_over() => self.close(),
                    Self::Line(..) | Self::Shared(_) => return Poll::Pending,
                },
            }
        }
    }

    /// Frees the connection when the body's announced length has been read.
    fn free_at_end(&mut self) {
        if let Self::Line(incoming, ..) = self
            && incoming.is_end_stream()
        {
            self.free();
        }
    }

    /// The connection may be used by another call, if it is whole.
    fn free(&mut self) {
        if let Self::Line(_, line, pool) = self
            && let Some(mut line) = line.take()
            && line.is_free()
            && let Some(pool) = pool.upgrade()
        {
            pool.keep(line);
        }
    }

    fn close(&mut self) {
        if let Self::Line(_, line, _) = self {
            drop(line.take());
        }
    }
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
