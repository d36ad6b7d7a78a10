//! Passing an answer on, and settling before its end is released.
//!
//! A call is carried by a task of its own: when the client leaves, the task stays until the call is
//! settled. A caller that holds the last byte of an answer therefore has a durable charge.

use std::sync::Arc;

use billing_core::meter::{Meter, Usage};
use bytes::Bytes;
use gateway_core::count::{Delivered, estimate};
use gateway_core::dialect::Reply;
use gateway_core::metering::{Facts, Metered, Reported, meter};
use gateway_core::outcome::Outcome;
use tokio::sync::{mpsc, oneshot};

use super::admit::OpenCall;
use super::attempt::{Answer, Unanswered, Way};
use super::hand_in::Paid;
use super::settle::{Ending, cost_members};
use super::stream::{CLIENT_PATIENCE, Flow, note};
use super::{Gate, Upstream, Upstreams};
use crate::clock::millis_since;
use crate::http::v1::error::V1Error;

/// How many pieces of a stream wait for a slow client before the upstream is slowed down.
const PIECES: usize = 32;
/// What the handler gets to answer with.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// A whole answer, settled.
    Whole {
        /// With the cost in it.
        body: Bytes,
        /// What it is charged.
        paid: Paid,
    },
    /// A stream that has begun; it ends when this does.
    Stream(mpsc::Receiver<Bytes>),
    /// No answer.
    Failed(V1Error),
}

/// Where a call's delivery goes.
type Client = oneshot::Sender<Delivery>;

impl Gate {
    /// Carries a call to its end. Runs in a task of its own, whatever becomes of the client.
    pub(crate) async fn carry(
        self: Arc<Self>,
        upstreams: Arc<Upstreams>,
        mut call: Box<OpenCall>,
        client: Client,
    ) {
        let tried = self.try_channels(&upstreams, &call).await;
        let ending = Ending {
            attempts: tried.attempts,
            ..Ending::default()
        };
        // Each on the heap: the task would otherwise have room for all of them side by side.
        match tried.result {
            Err(unanswered) => Box::pin(self.fail(&mut call, ending, unanswered, client)).await,
            Ok((Answer::Whole { body, reply }, Way { upstream, slot })) => {
                // All of it is here.
                drop(slot);
                let whole = Whole {
                    upstream,
                    body,
                    reply,
                    client,
                };
                Box::pin(self.deliver_whole(&mut call, ending, whole)).await;
            }
            Ok((
                Answer::Stream {
                    frames,
                    first,
                    body,
                },
                Way { upstream, slot },
            )) => {
                let (send, receive) = mpsc::channel(PIECES);
                answer(client, Delivery::Stream(receive));
                let flow = Flow::new(upstream, frames, body, send);
                let stream = self.deliver_stream(&mut call, ending, flow, first, &upstreams.cut);
                Box::pin(stream).await;
                drop(slot);
            }
        }
    }

    /// No channel answered: nothing is charged, and the call is put on record.
    async fn fail(&self, call: &mut OpenCall, ending: Ending, why: Unanswered, client: Client) {
        let error = match (why.outcome, why.fault) {
            (Outcome::UpstreamRejected { status }, Some(fault)) => {
                V1Error::Rejected { status, fault }
            }
            (_, _) if why.is_stopped => V1Error::Stopping,
            (_, _) if why.no_place => V1Error::NoPlace,
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
        let mut recording = Box::pin(self.settle(call, &metered, ending));
        let recorded = tokio::time::timeout(CLIENT_PATIENCE, &mut recording).await;
        // Nothing is charged, so the client need not wait for the record.
        answer(client, Delivery::Failed(error));
        match recorded {
            Ok(recorded) => note(recorded),
            Err(_) => note(recording.await),
        }
    }

    async fn deliver_whole(&self, call: &mut OpenCall, ending: Ending, whole: Whole<'_>) {
        let Whole {
            upstream,
            body,
            reply,
            client,
        } = whole;
        let outcome = if client.is_closed() {
            Outcome::ClientGoneBeforeFirstByte
        } else {
            Outcome::Completed
        };
        let endpoint = call.incoming.endpoint;
        let dialect = upstream.dialect;
        let metered = match reply.usage {
            Reported::Given(_) => meter(&facts(call, outcome, &reply.usage, true), Usage::default),
            Reported::Missing | Reported::Malformed => {
                let facts = Box::new(facts(call, outcome, &reply.usage, true));
                let delivered = dialect.delivered(endpoint, &body);
                Box::pin(Self::meter_aside(facts, call, delivered)).await
            }
        };
        let ending = Ending {
            status: 200,
            upstream_id: reply.id.clone(),
            finish_reason: reply.finish_reason.clone(),
            service_tier: reply.service_tier.clone(),
            attributes: reply.attributes.clone().or(&upstream.attributes),
            first_byte_ms: Some(millis_since(call.incoming.started)),
            ..ending
        };
        // An answer that is not streamed is delivered when it is paid for, however long that takes.
        let delivery = match self.settle(call, &metered, ending).await {
            Ok(paid) => {
                let members = cost_members(paid);
                let body = dialect.annotate(&body, &reply, &metered.usage, &members);
                Delivery::Whole { body, paid }
            }
            Err(error) => {
                note(Err(error));
                Delivery::Failed(V1Error::StoreAway)
            }
        };
        answer(client, delivery);
    }

    /// Counts tokens where it does not hold up other calls.
    pub(super) async fn meter_aside(
        facts: Box<Facts>,
        call: &OpenCall,
        delivered: Delivered,
    ) -> Metered {
        let (endpoint, body) = (call.incoming.endpoint, call.incoming.body.clone());
        let rough = Usage::NONE.with(Meter::Output, delivered.rough_tokens());
        let known = *facts;
        let count = move || meter(&known, || estimate(endpoint, &body, &delivered));
        match tokio::task::spawn_blocking(count).await {
            Ok(metered) => metered,
            Err(error) => {
                tracing::error!(call = %call.incoming.id, %error, "tokens were only roughly counted");
                meter(&facts, || rough)
            }
        }
    }
}

fn answer(client: Client, delivery: Delivery) {
    if client.send(delivery).is_err() {
        tracing::debug!("a client left before its answer");
    }
}

/// The facts of a call that metering goes by.
pub(super) fn facts(
    call: &OpenCall,
    outcome: Outcome,
    reported: &Reported,
    answered: bool,
) -> Facts {
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
struct Whole<'u> {
    upstream: &'u Upstream,
    body: Bytes,
    reply: Box<Reply>,
    client: Client,
}
