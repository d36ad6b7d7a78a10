//! A stream on its way: passed on as it comes, and settled before its end is released.

use std::time::Duration;

use billing_core::meter::Usage;
use billing_core::port::books::BooksError;
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt};
use gateway_core::dialect::{Dialect, Frames, StreamEnd};
use gateway_core::metering::{Metered, Reported, meter};
use gateway_core::outcome::Outcome;
use gateway_core::provider::BodyError;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

use super::admit::OpenCall;
use super::attempt::StreamBody;
use super::deliver::facts;
use super::hand_in::Paid;
use super::settle::{Ending, cost_members};
use super::{Gate, Upstream};
use crate::clock::millis_since;
use crate::http::v1::error::V1Error;

/// How many pieces that are there already are passed on as one.
const AT_ONCE: usize = 64;
/// How far a rough count of tokens may be off.
const LIMIT_SLACK: u64 = 4;
/// How long a client may leave what is sent to it unread before it is taken to have left.
const UNREAD: Duration = Duration::from_mins(2);
/// How long a client waits for its settlement before it is told that the books are away.
pub(super) const CLIENT_PATIENCE: Duration = Duration::from_secs(15);

/// How the reading of a stream stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Ended,
    Broken,
    ClientGone,
    Funds,
    Shutdown,
}

/// A stream that has begun.
#[derive(Debug)]
pub(super) struct Flow<'u> {
    upstream: &'u Upstream,
    frames: Box<dyn Frames>,
    body: StreamBody,
    send: mpsc::Sender<Bytes>,
    /// Set when the upstream's side of the stream is over.
    over: Option<Stop>,
    first_byte_ms: Option<u32>,
}

impl Gate {
    /// Passes a stream on to its end, settles it, and releases what was withheld.
    pub(super) async fn deliver_stream(
        &self,
        call: &mut OpenCall,
        ending: Ending,
        mut flow: Flow<'_>,
        first: Vec<Bytes>,
        cut: &CancellationToken,
    ) {
        let stop = self.pass_on(call, &mut flow, first, cut).await;
        // On the heap: a stream is open for long, and until its end it need not carry this along.
        Box::pin(self.end_stream(call, ending, flow, stop)).await;
    }

    /// Settles a stream that was passed on, and releases what was withheld.
    async fn end_stream(
        &self,
        call: &mut OpenCall,
        ending: Ending,
        mut flow: Flow<'_>,
        stop: Stop,
    ) {
        let end = self.finish(&mut flow, stop).await;
        let Flow {
            upstream,
            send,
            first_byte_ms,
            body,
            ..
        } = flow;
        // This ends the upstream's call, if it has not ended itself.
        drop(body);
        let dialect = upstream.dialect;
        let metered = meter_stream(call, &end, stop, first_byte_ms.is_some()).await;
        let ending = Ending {
            status: 200,
            upstream_id: end.id.clone(),
            finish_reason: end.finish_reason.clone(),
            service_tier: end.service_tier.clone(),
            attributes: end.attributes.clone().or(&upstream.attributes),
            first_byte_ms,
            ..ending
        };
        let include_usage = call.head.include_usage;
        let mut settling = std::pin::pin!(self.settle(call, &metered, ending));
        let answer = tokio::time::timeout(CLIENT_PATIENCE, &mut settling).await;
        let Ok(settled) = answer else {
            // The client is told; the settlement goes on without it.
            pass(&send, dialect.stream_fault(&V1Error::StoreAway.fault())).await;
            drop(send);
            note(settling.await);
            return;
        };
        let last = last_words(dialect, &end, &metered, settled, include_usage);
        pass(&send, last).await;
    }

    /// Passes a stream on until it ends, somebody leaves, or the funds do not reach further.
    async fn pass_on(
        &self,
        call: &OpenCall,
        flow: &mut Flow<'_>,
        first: Vec<Bytes>,
        cut: &CancellationToken,
    ) -> Stop {
        let mut pieces = first;
        let mut covered = call.ceiling.answer_tokens();
        let client = flow.send.clone();
        let mut left = std::pin::pin!(client.closed());
        let mut cut = std::pin::pin!(cut.cancelled());
        loop {
            if let Some(piece) = joined(&mut pieces) {
                if !pass(&flow.send, piece).await {
                    return Stop::ClientGone;
                }
                flow.first_byte_ms
                    .get_or_insert_with(|| millis_since(call.incoming.started));
            }
            if flow.frames.done() {
                return Stop::Ended;
            }
            if flow.frames.faulted() {
                return Stop::Broken;
            }
            if let Some(over) = flow.over {
                return over;
            }
            if flow.frames.delivered().rough_tokens() > alarm(call, covered) {
                match self.extend(call, covered).await {
                    Some(more) => covered = more,
                    None => return Stop::Funds,
                }
            }
            let chunk = tokio::select! {
                chunk = flow.body.0.next() => chunk,
                () = &mut left => return Stop::ClientGone,
                () = &mut cut => return Stop::Shutdown,
            };
            flow.take(chunk, &mut pieces);
            // What has arrived besides goes out with it.
            while pieces.len() < AT_ONCE
                && flow.over.is_none()
                && let Some(chunk) = flow.body.0.next().now_or_never()
            {
                flow.take(chunk, &mut pieces);
            }
        }
    }

    /// Ends the reading of a stream. Where the operator wants it, a stream whose client has left is
    /// read on for a while, for the sake of the provider's own count.
    async fn finish(&self, flow: &mut Flow<'_>, stop: Stop) -> StreamEnd {
        if stop != Stop::ClientGone || self.limits.drain_ms == 0 {
            return flow.frames.finish();
        }
        let delivered = flow.frames.delivered().clone();
        let patience = Duration::from_millis(self.limits.drain_ms);
        let drained = tokio::time::timeout(patience, flow.drain()).await;
        let mut end = flow.frames.finish();
        if drained.is_err() || !matches!(end.usage, Reported::Given(_)) {
            // No count came: then what the client was sent is what counts.
            end.delivered = delivered;
        }
        end
    }

    /// Holds what as long an answer again may cost beyond what is held.
    async fn extend(&self, call: &OpenCall, covered: u64) -> Option<u64> {
        let more = covered.max(256);
        if let Some(plan) = &call.plan {
            let answer = covered.saturating_add(more);
            let worst = call.worst_of(answer).ok()?;
            let extended = Box::pin(self.extend_by_plan(call, plan, worst, true)).await;
            return extended.then_some(answer);
        }
        let cost = call.extension(covered, more).ok()?;
        self.leases.hold(self.ask(call, cost)).await.ok()?;
        Some(covered.saturating_add(more))
    }
}

impl<'u> Flow<'u> {
    /// A stream of which nothing was passed on yet.
    pub(super) fn new(
        upstream: &'u Upstream,
        frames: Box<dyn Frames>,
        body: StreamBody,
        send: mpsc::Sender<Bytes>,
    ) -> Self {
        Self {
            upstream,
            frames,
            body,
            send,
            over: None,
            first_byte_ms: None,
        }
    }

    /// Takes what came from the upstream, or notes that nothing more will.
    fn take(&mut self, chunk: Option<Result<Bytes, BodyError>>, pieces: &mut Vec<Bytes>) {
        match chunk {
            Some(Ok(chunk)) => self.frames.feed(chunk, pieces),
            Some(Err(_)) => self.over = Some(Stop::Broken),
            None => self.over = Some(Stop::Ended),
        }
    }

    /// Reads the rest and passes none of it on.
    async fn drain(&mut self) {
        let mut unsent = Vec::new();
        while self.over.is_none() && !self.frames.done() && !self.frames.faulted() {
            let chunk = self.body.0.next().await;
            self.take(chunk, &mut unsent);
            unsent.clear();
        }
    }
}

/// From how many roughly counted tokens on an answer has outgrown a hold for so many.
///
/// A limit that was sent with the call is one that the upstream keeps, in tokens of its own; a rough
/// count says otherwise only when it is far off.
fn alarm(call: &OpenCall, covered: u64) -> u64 {
    let limited = call
        .head
        .max_output
        .or(call.max_output)
        .or(call.bounds.max_output_tokens);
    match limited {
        Some(_) => covered.saturating_mul(LIMIT_SLACK),
        None => covered,
    }
}

async fn meter_stream(call: &OpenCall, end: &StreamEnd, stop: Stop, sent: bool) -> Metered {
    // Only the protocol's own end says that each of several answers is whole.
    let whole = end.complete && end.fault.is_none() && (end.closed || call.head.choices < 2);
    let outcome = match stop {
        Stop::ClientGone if !sent => Outcome::ClientGoneBeforeFirstByte,
        Stop::ClientGone => Outcome::ClientGoneMidStream,
        Stop::Funds => Outcome::FundsExhaustedMidStream,
        Stop::Ended if whole => Outcome::Completed,
        Stop::Ended | Stop::Broken | Stop::Shutdown => Outcome::CutMidStream,
    };
    // What was read and not sent on to anybody was not delivered.
    let answered = sent && !end.delivered.is_empty();
    let facts = facts(call, outcome, &end.usage, answered);
    match end.usage {
        Reported::Given(_) => meter(&facts, Usage::default),
        Reported::Missing | Reported::Malformed => {
            Box::pin(Gate::meter_aside(
                Box::new(facts),
                call,
                end.delivered.clone(),
            ))
            .await
        }
    }
}

/// What a stream ends with, once it is settled.
fn last_words(
    dialect: &dyn Dialect,
    end: &StreamEnd,
    metered: &Metered,
    paid: Result<Paid, BooksError>,
    include_usage: bool,
) -> Bytes {
    let paid = match paid {
        Ok(paid) => paid,
        Err(error) => {
            note(Err(error));
            return dialect.stream_fault(&V1Error::StoreAway.fault());
        }
    };
    let members = cost_members(paid);
    if metered.outcome == Outcome::Completed {
        return dialect.closing(end, include_usage, &metered.usage, &members);
    }
    let fault = if metered.outcome == Outcome::FundsExhaustedMidStream {
        V1Error::FundsMidStream.fault()
    } else {
        end.fault
            .clone()
            .unwrap_or_else(|| V1Error::CutMidStream.fault())
    };
    let fault = dialect.stream_fault(&fault);
    if !end.usage_event_has_output {
        return fault;
    }
    // The last words came with the usage: they are charged, so they are delivered.
    let mut words = vec![fault, dialect.closing(end, false, &metered.usage, &members)];
    words.reverse();
    joined(&mut words).unwrap_or_default()
}

/// Sends a piece to the client; says whether it is still there to take it.
async fn pass(send: &mpsc::Sender<Bytes>, piece: Bytes) -> bool {
    let piece = match send.try_send(piece) {
        Ok(()) => return true,
        Err(TrySendError::Closed(_)) => return false,
        Err(TrySendError::Full(piece)) => piece,
    };
    let sent = tokio::time::timeout(UNREAD, send.send(piece)).await;
    sent.is_ok_and(|sent| sent.is_ok())
}

/// Puts it in the log when a settlement cannot be made at all.
pub(super) fn note(paid: Result<Paid, BooksError>) {
    if let Err(error) = paid {
        tracing::error!(%error, "a call could not be settled; its hold stays");
    }
}

/// All pieces as one: a client's connection is written to once for each.
fn joined(pieces: &mut Vec<Bytes>) -> Option<Bytes> {
    if pieces.len() < 2 {
        return pieces.pop();
    }
    let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in pieces.drain(..) {
        whole.extend_from_slice(&piece);
    }
    Some(whole.freeze())
}
