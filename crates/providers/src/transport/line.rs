//! One HTTP/1 connection, driven by the call that uses it.
//!
//! The usual way is a task for each connection, which hands over head and body through channels: two
//! more tasks wake for each piece, and pieces that came together are handed over one by one. Here the
//! call's own task drives the connection, so that what was received together is there together.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::{Request, Response};

use super::dial::Socket;

/// A connection on which one call at a time is made.
pub(super) struct Line {
    sender: SendRequest<Full<Bytes>>,
    connection: Connection<Socket, Full<Bytes>>,
    over: bool,
}

/// Why a call got no response.
#[derive(Debug)]
pub(super) struct Unanswered {
    /// What the connection says.
    pub(super) error: hyper::Error,
    /// Whether nothing of the request was sent, so that another connection may send it.
    pub(super) unsent: bool,
}

impl Line {
    /// Takes a connection into use.
    pub(super) async fn open(socket: Socket) -> Result<Box<Self>, hyper::Error> {
        let (sender, connection) = http1::handshake(socket).await?;
        Ok(Box::new(Self {
            sender,
            connection,
            over: false,
        }))
    }

    /// Sends a request and waits for the head of the response. A connection that the upstream has
    /// closed meanwhile is found out before anything is sent on it.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let mut response = pin!(self.sender.try_send_request(request));
        let connection = &mut self.connection;
        let over = &mut self.over;
        poll_fn(|cx| {
            if !*over {
                *over = Pin::new(&mut *connection).poll(cx).is_ready();
            }
            response.as_mut().poll(cx)
        })
        .await
        .map_err(|mut error| Unanswered {
            unsent: error.take_message().is_some(),
            error: error.into_error(),
        })
    }

    /// Reads and writes what can be read and written now.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        // How the connection ended is told to the body that is read from it.
        if !self.over {
            self.over = Pin::new(&mut self.connection).poll(cx).is_ready();
        }
    }

    /// Whether the next call may be made on it. To be asked when a response has been read.
    pub(super) fn is_free(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.over && self.sender.is_ready()
    }

    /// Whether the connection has ended.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }
}
