//! Passing an answer on, and settling before its end is released.
//!
//! A call is carried by a task of its own: when the client leaves, the task stays until the call is
//! settled. A caller that holds the last byte of an answer therefore has a durable charge.

use std::sync::Arc;

use billing_core::meter::{Meter, Usage};
use billing_core::port::books::Settled;
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt};
use gateway_core::count::{Delivered, estimate};
use gateway_core::dialect::{Dialect, Frames, Reply, StreamEnd};
use gateway_core::metering::{Facts, Metered, Reported, meter};
use gateway_core::outcome::Outcome;
use gateway_core::provider::BodyError;
use tokio::sync::{mpsc, oneshot};

use super::admit::OpenCall;
use super::attempt::{Answer, StreamBody, Unanswered};
use super::settle::{Ending, cost_members};
use super::{Gate, Upstreams};
use crate::clock::millis_since;
use crate::http::v1::error::V1Error;

/// How many pieces of a stream wait for a slow client before the upstream is slowed down.
const PIECES: usize = 32;
/// How many pieces that are there already are passed on as one.
const AT_ONCE: usize = 64;
/// How far a rough count of tokens may be off.
const LIMIT_SLACK: u64 = 4;

/// What the handler gets to answer with.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// A whole answer, settled.
    Whole {
        /// With the cost in it.
        body: Bytes,
        /// What it was charged.
        settled: Box<Settled>,
    },
    /// A stream that has begun; it ends when this does.
    Stream(mpsc::Receiver<Bytes>),
    /// No answer.
    Failed(V1Error),
}

/// How the reading of a stream stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Ended,
    Broken,
    ClientGone,
    Funds,
}

impl Gate {
    /// Carries a call to its end. Runs in a task of its own, whatever becomes of the client.
    pub(crate) async fn carry(
        self: Arc<Self>,
        upstreams: Arc<Upstreams>,
        mut call: OpenCall,
        client: oneshot::Sender<Delivery>,
    ) {
        let tried = self.try_channels(&upstreams, &call).await;
        let ending = Ending {
            attempts: tried.attempts,
            ..Ending::default()
        };
        let delivery = match tried.result {
            Err(unanswered) => self.fail(&mut call, ending, unanswered).await,
            Ok((Answer::Whole { body, reply }, dialect)) => {
                let client_gone = client.is_closed();
                let whole = Whole {
                    dialect,
                    body,
                    reply,
                    client_gone,
                };
                self.deliver_whole(&mut call, ending, whole).await
            }
            Ok((
                Answer::Stream {
                    frames,
                    first,
                    body,
                },
                dialect,
            )) => {
                let (send, receive) = mpsc::channel(PIECES);
                if client.send(Delivery::Stream(receive)).is_err() {
                    tracing::debug!(call = %call.incoming.id, "the client left before its stream");
                }
                let flow = Flow {
                    dialect,
                    frames,
                    body,
                    send,
                    over: None,
                    first_byte_ms: None,
                };
                return self.deliver_stream(&mut call, ending, flow, first).await;
            }
        };
        if client.send(delivery).is_err() {
            tracing::debug!(call = %call.incoming.id, "the client left before its answer");
        }
    }

    /// No channel answered: nothing is charged, and the call is put on record.
    async fn fail(&self, call: &mut OpenCall, ending: Ending, why: Unanswered) -> Delivery {
        let error = match (why.outcome, why.fault) {
            (Outcome::UpstreamRejected { status }, Some(fault)) => {
                V1Error::Rejected { status, fault }
            }
            (Outcome::UpstreamTimeout, _) => V1Error::UpstreamTimeout,
            (_, _) => V1Error::UpstreamFailed,
        };
        let metered = meter(&facts(call, why.outcome, &Reported::Missing, false), || {
            Usage::NONE
        });
        let ending = Ending {
            status: error.status(),
            ..ending
        };
        if let Err(error) = self.settle(call, &metered, ending).await {
            tracing::error!(call = %call.incoming.id, %error, "a void call is not on record");
        }
        Delivery::Failed(error)
    }

    async fn deliver_whole(&self, call: &mut OpenCall, ending: Ending, whole: Whole) -> Delivery {
        let Whole {
            dialect,
            body,
            reply,
            client_gone,
        } = whole;
        let outcome = if client_gone {
            Outcome::ClientGoneBeforeFirstByte
        } else {
            Outcome::Completed
        };
        let facts = facts(call, outcome, &reply.usage, true);
        let endpoint = call.incoming.endpoint;
        let metered = match reply.usage {
            Reported::Given(_) => meter(&facts, Usage::default),
            Reported::Missing | Reported::Malformed => {
                Self::meter_aside(&facts, call, dialect.delivered(endpoint, &body)).await
            }
        };
        let ending = Ending {
            status: 200,
            upstream_id: reply.id.clone(),
            finish_reason: reply.finish_reason.clone(),
            service_tier: reply.service_tier.clone(),
            first_byte_ms: Some(millis_since(call.incoming.started)),
            ..ending
        };
        match self.settle(call, &metered, ending).await {
            Ok(settled) => {
                let members = cost_members(&settled);
                let body = dialect.annotate(&body, &reply, &metered.usage, &members);
                Delivery::Whole {
                    body,
                    settled: Box::new(settled),
                }
            }
            Err(error) => {
                tracing::error!(call = %call.incoming.id, %error, "a call could not be settled");
                Delivery::Failed(V1Error::StoreAway)
            }
        }
    }

    async fn deliver_stream(
        &self,
        call: &mut OpenCall,
        ending: Ending,
        mut flow: Flow,
        first: Vec<Bytes>,
    ) {
        let stop = self.pass_on(call, &mut flow, first).await;
        let end = flow.frames.finish();
        // Dropping the body ends the upstream's call.
        let Flow {
            dialect,
            send,
            first_byte_ms,
            body,
            ..
        } = flow;
        drop(body);
        let metered = Self::meter_stream(call, &end, stop, first_byte_ms.is_some()).await;
        let ending = Ending {
            status: 200,
            upstream_id: end.id.clone(),
            finish_reason: end.finish_reason.clone(),
            service_tier: end.service_tier.clone(),
            first_byte_ms,
            ..ending
        };
        let settled = self.settle(call, &metered, ending).await;
        let last = match (settled, metered.outcome) {
            (Err(error), _) => {
                tracing::error!(call = %call.incoming.id, %error, "a call could not be settled");
                dialect.stream_fault(&V1Error::StoreAway.fault())
            }
            (Ok(settled), Outcome::Completed) => {
                let members = cost_members(&settled);
                dialect.closing(&end, call.head.include_usage, &metered.usage, &members)
            }
            (Ok(_), Outcome::FundsExhaustedMidStream) => {
                dialect.stream_fault(&V1Error::FundsMidStream.fault())
            }
            (Ok(settled), _) => {
                if end.usage_event_has_output {
                    // The last words came with the usage: they are charged, so they are delivered.
                    let members = cost_members(&settled);
                    let words = dialect.closing(&end, false, &metered.usage, &members);
                    if send.send(words).await.is_err() {
                        return;
                    }
                }
                let fault = end.fault.unwrap_or_else(|| V1Error::CutMidStream.fault());
                dialect.stream_fault(&fault)
            }
        };
        if send.send(last).await.is_err() {
            tracing::debug!(call = %call.incoming.id, "the client left before the end");
        }
    }

    /// Passes a stream on until it ends, somebody leaves, or the funds do not reach further.
    async fn pass_on(&self, call: &OpenCall, flow: &mut Flow, first: Vec<Bytes>) -> Stop {
        let mut pieces = first;
        let mut covered = call.ceiling.answer_tokens();
        loop {
            if let Some(piece) = joined(&mut pieces) {
                if flow.send.send(piece).await.is_err() {
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
                () = flow.send.closed() => return Stop::ClientGone,
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

    /// Holds as much again for an answer that outgrew what was held for it.
    async fn extend(&self, call: &OpenCall, covered: u64) -> Option<u64> {
        let more = covered.max(256);
        let usage = Usage::NONE.with(Meter::Output, more);
        let cost = call.price.worst_case(&usage, &[]).ok()?;
        self.leases.hold(self.ask(call, cost)).await.ok()?;
        Some(covered.saturating_add(more))
    }

    async fn meter_stream(call: &OpenCall, end: &StreamEnd, stop: Stop, sent: bool) -> Metered {
        let outcome = match stop {
            Stop::ClientGone if !sent => Outcome::ClientGoneBeforeFirstByte,
            Stop::ClientGone => Outcome::ClientGoneMidStream,
            Stop::Funds => Outcome::FundsExhaustedMidStream,
            Stop::Ended if end.complete && end.fault.is_none() => Outcome::Completed,
            Stop::Ended | Stop::Broken => Outcome::CutMidStream,
        };
        // What was read and not sent on to anybody was not delivered.
        let answered = sent && !end.delivered.is_empty();
        let facts = facts(call, outcome, &end.usage, answered);
        match end.usage {
            Reported::Given(_) => meter(&facts, Usage::default),
            Reported::Missing | Reported::Malformed => {
                Self::meter_aside(&facts, call, end.delivered.clone()).await
            }
        }
    }

    /// Counts tokens where it does not hold up other calls.
    async fn meter_aside(facts: &Facts, call: &OpenCall, delivered: Delivered) -> Metered {
        let (endpoint, body) = (call.incoming.endpoint, call.incoming.body.clone());
        let rough = Usage::NONE.with(Meter::Output, delivered.rough_tokens());
        let known = *facts;
        let count = move || meter(&known, || estimate(endpoint, &body, &delivered));
        match tokio::task::spawn_blocking(count).await {
            Ok(metered) => metered,
            Err(error) => {
                tracing::error!(call = %call.incoming.id, %error, "tokens were only roughly counted");
                meter(facts, || rough)
            }
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

fn facts(call: &OpenCall, outcome: Outcome, reported: &Reported, answered: bool) -> Facts {
    Facts {
        outcome,
        reported: *reported,
        answered,
        choices: call.head.choices,
        bounds: call.bounds,
        ceiling: call.ceiling,
    }
}

/// A whole answer on its way.
#[derive(Debug)]
struct Whole {
    dialect: &'static dyn Dialect,
    body: Bytes,
    reply: Reply,
    /// Whether the client left while the upstream answered.
    client_gone: bool,
}

/// A stream on its way.
#[derive(Debug)]
struct Flow {
    dialect: &'static dyn Dialect,
    frames: Box<dyn Frames>,
    body: StreamBody,
    send: mpsc::Sender<Bytes>,
    /// Set when the upstream's side of the stream is over.
    over: Option<Stop>,
    first_byte_ms: Option<u32>,
}

impl Flow {
    /// Takes what came from the upstream, or notes that nothing more will.
    fn take(&mut self, chunk: Option<Result<Bytes, BodyError>>, pieces: &mut Vec<Bytes>) {
        match chunk {
            Some(Ok(chunk)) => self.frames.feed(chunk, pieces),
            Some(Err(_)) => self.over = Some(Stop::Broken),
            None => self.over = Some(Stop::Ended),
        }
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
