//! A body that is waited for, but not for ever.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use gateway_core::provider::BodyError;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, Sleep, sleep};

/// The data of a body. The clock runs only while nothing is there.
#[derive(Debug)]
pub(super) struct Patient {
    body: Incoming,
    idle: Duration,
    clock: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Patient {
    pub(super) fn new(body: Incoming, idle: Duration) -> Self {
        Self {
            body,
            idle,
            clock: None,
            waiting: false,
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let idle = self.idle;
        let clock = self.clock.get_or_insert_with(|| Box::pin(sleep(idle)));
        if !self.waiting {
            self.waiting = true;
            clock.as_mut().reset(Instant::now() + idle);
        }
        clock.as_mut().poll(cx)
    }
}

impl Stream for Patient {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.waiting = false;
                    // Trailers say nothing that is needed.
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(Err(BodyError::Broken(error.to_string()))));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    return this
                        .wait(cx)
                        .map(|()| Some(Err(BodyError::Idle(this.idle))));
                }
            }
        }
    }
}
