//! A protocol as values: bytes in, bytes out, no I/O.
//!
//! # Adding a protocol
//! Implement [`Dialect`] in the crate `providers`, with fixtures of requests, replies and streams.
//! [`Frames`] is what a stream passes through: it MUST give the same result wherever the chunks are
//! cut, MUST pass on untouched what it does not withhold, and MUST NOT lose a byte of output.

use std::fmt;
use std::ops::Range;

use billing_core::attribute::{Attribute, Attributes};
use billing_core::meter::Usage;
use bytes::Bytes;
use thiserror::Error;

use crate::count::Delivered;
use crate::endpoint::Endpoint;
use crate::metering::Reported;
use crate::request::RequestHead;

/// An error as the protocol's clients read it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fault {
    /// For people.
    pub message: String,
    /// The class of the error, such as `server_error`.
    pub kind: String,
    /// A stable word for programs.
    pub code: Option<String>,
}

/// A whole reply, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    /// What the provider says was consumed.
    pub usage: Reported,
    /// Where the value of `usage` stands in the body.
    pub usage_at: Option<Range<usize>>,
    /// The provider's name of the answer.
    pub id: Option<String>,
    /// The model that answered, as the provider calls it.
    pub model: Option<String>,
    /// Why the first choice ended.
    pub finish_reason: Option<String>,
    /// The tier that served the call, which is the one that is priced.
    pub service_tier: Option<String>,
    /// What else the reply says of itself that prices depend on, among [`Dialect::states`].
    pub attributes: Attributes,
    /// An error inside a reply that claims success: the attempt is spoiled.
    pub fault: Option<Fault>,
}

/// A reply that cannot be read: it was cut, or is no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the upstream's reply cannot be read")]
pub struct Unreadable;

/// What a stream held, when it has ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamEnd {
    /// What the provider says was consumed, merged over all events.
    pub usage: Reported,
    /// The withheld event with the usage. It is released by [`Dialect::closing`].
    pub usage_event: Option<Bytes>,
    /// Whether the withheld event holds answer text too, so that it must not be left out.
    pub usage_event_has_output: bool,
    /// Events that came whole but without their blank line before the end.
    pub rest: Option<Bytes>,
    /// Whether the protocol's own end was seen, or every sign of a finished answer.
    pub complete: bool,
    /// Whether the protocol's own end was seen. Without it, a stream of several answers may lack
    /// the end of some.
    pub closed: bool,
    /// An error that the upstream reported inside the stream.
    pub fault: Option<Fault>,
    /// The provider's name of the answer.
    pub id: Option<String>,
    /// The model that answered, as the provider calls it.
    pub model: Option<String>,
    /// The provider's time of the answer, in seconds.
    pub created: Option<u64>,
    /// Why the last choice ended.
    pub finish_reason: Option<String>,
    /// The tier that served the call.
    pub service_tier: Option<String>,
    /// What else the stream says of itself that prices depend on, among [`Dialect::states`].
    pub attributes: Attributes,
    /// The output that was passed on, and what the withheld event adds to it.
    pub delivered: Delivered,
}

/// What a stream of the protocol passes through on its way to the client.
pub trait Frames: Send + fmt::Debug {
    /// Takes a chunk and adds to `out` what may be passed on now.
    fn feed(&mut self, chunk: Bytes, out: &mut Vec<Bytes>);

    /// The output that was passed on so far.
    fn delivered(&self) -> &Delivered;

    /// Whether the upstream has reported an error inside the stream. That event is withheld, and what
    /// follows it is ignored: the caller ends the stream with [`Dialect::stream_fault`].
    fn faulted(&self) -> bool;

    /// Whether the protocol's own end was seen; what follows does not matter.
    fn done(&self) -> bool;

    /// Ends the stream, however it ended.
    fn finish(&mut self) -> StreamEnd;
}

/// A protocol.
pub trait Dialect: Send + Sync + fmt::Debug {
    /// The attributes that a reply of this protocol may state: what it may come to cost depends on
    /// them before it is there.
    fn states(&self) -> &'static [Attribute];

    /// The request for the upstream: its name of the model, usage asked for in streams, and the
    /// output limited if `max_output` says so. Every other byte is the client's.
    fn encode(
        &self,
        head: &RequestHead,
        body: &Bytes,
        upstream_model: &str,
        max_output: Option<u64>,
    ) -> Bytes;

    /// Reads a whole successful reply.
    ///
    /// # Errors
    /// When it is cut, or no JSON object.
    fn read_reply(&self, endpoint: Endpoint, body: &Bytes) -> Result<Reply, Unreadable>;

    /// Reads an error reply, as well as it can be.
    fn read_fault(&self, status: u16, body: &Bytes) -> Fault;

    /// The output in a whole reply, for counting it.
    fn delivered(&self, endpoint: Endpoint, body: &Bytes) -> Delivered;

    /// The reply with `members` (raw JSON members, not looked at) added to its usage. Where the
    /// provider gave no usage, one is made from `usage`.
    fn annotate(&self, body: &Bytes, reply: &Reply, usage: &Usage, members: &str) -> Bytes;

    /// A new stream.
    fn frames(&self) -> Box<dyn Frames>;

    /// The last bytes of a stream that came to its end: what was withheld, with `members` added to
    /// the usage. Without `include_usage` the usage event is left out, unless it holds output.
    fn closing(&self, end: &StreamEnd, include_usage: bool, usage: &Usage, members: &str) -> Bytes;

    /// The event that ends a stream with an error, in the protocol's own way.
    fn stream_fault(&self, fault: &Fault) -> Bytes;
}
