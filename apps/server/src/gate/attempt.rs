//! Trying the channels, one after the other, until one answers.

use std::time::{Duration, Instant};

use billing_core::call::Attempt as AttemptRecord;
use bytes::Bytes;
use gateway_core::dialect::{Dialect, Fault, Frames, Reply};
use gateway_core::outcome::Outcome;
use gateway_core::provider::{ReplyBody, UpstreamCall, UpstreamReply, collect};
use gateway_core::retry::{Attempt, Verdict, judge, report};

use super::admit::OpenCall;
use super::lanes::Slot;
use super::routes::Stop;
use super::{Gate, Upstream, Upstreams};
use crate::clock::millis_since;
use crate::metrics::METRICS;

/// The most that is read of an upstream's error.
const FAULT_BYTES: usize = 64 * 1024;

/// What an upstream answered, before any of it was passed on.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A whole reply.
    Whole {
        /// As it came.
        body: Bytes,
        /// As it was read.
        reply: Box<Reply>,
    },
    /// A stream whose first output is there.
    Stream {
        /// What it passes through.
        frames: Box<dyn Frames>,
        /// What may be passed on at once.
        first: Vec<Bytes>,
        /// The rest.
        body: StreamBody,
    },
}

/// The rest of a stream's body.
pub(crate) struct StreamBody(pub(crate) ReplyBody);

impl std::fmt::Debug for StreamBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StreamBody(…)")
    }
}

/// A call's way through one channel, with its place there until the answer is read.
#[derive(Debug)]
pub(crate) struct Way<'u> {
    /// The channel.
    pub(crate) upstream: &'u Upstream,
    /// The place.
    pub(crate) slot: Slot,
}

/// What came of all attempts.
#[derive(Debug)]
pub(crate) struct Tried<'u> {
    /// The tries, in order, for the record.
    pub(crate) attempts: Vec<AttemptRecord>,
    /// The answer and the way that it comes, or how the call ended without one.
    pub(crate) result: Result<(Answer, Way<'u>), Unanswered>,
}

/// A call that no channel answered.
#[derive(Debug)]
pub(crate) struct Unanswered {
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// What the upstream said, where it refused the request itself.
    pub(crate) fault: Option<Fault>,
    /// Whether it found no place at the channels that it was not tried at.
    pub(crate) no_place: bool,
    /// Whether the process stopped while it waited for one.
    pub(crate) is_stopped: bool,
}

/// The attempts so far.
struct Tries {
    attempts: Vec<AttemptRecord>,
    last: Unanswered,
}

impl Tries {
    fn over(self, result: Result<(Answer, Way<'_>), Unanswered>) -> Tried<'_> {
        Tried {
            attempts: self.attempts,
            result,
        }
    }
}

enum One {
    Answered(Answer),
    Spoiled,
    Refused {
        attempt: Attempt,
        fault: Option<Fault>,
        retry_after: Option<Duration>,
    },
}

impl Gate {
    /// Tries the channels of the call's model in order.
    pub(crate) async fn try_channels<'u>(
        &self,
        upstreams: &'u Upstreams,
        call: &OpenCall,
    ) -> Tried<'u> {
        let pick = call.incoming.id.get().unsigned_abs();
        let stops = self.routes.order(&call.head.model, call.lane, pick);
        let mut tries = Tries {
            attempts: Vec::with_capacity(1),
            last: Unanswered {
                outcome: Outcome::UpstreamFailed { status: None },
                fault: None,
                no_place: false,
                is_stopped: false,
            },
        };
        let mut full = Vec::new();
        for stop in stops {
            let Some(slot) = stop.places.lanes.try_enter(call.lane) else {
                full.push(stop);
                continue;
            };
            let at = (&stop, slot);
            if let Some(result) = self.try_stop(upstreams, call, at, &mut tries).await {
                return tries.over(result);
            }
        }
        // Where there was no place at once one is waited for, at the best channel first.
        for stop in full {
            let start = Instant::now();
            let lanes = &stop.places.lanes;
            let slot = tokio::select! {
                slot = lanes.enter(call.lane, stop.places.patience) => Some(slot),
                // The process stops: no place of it is worth the wait.
                () = upstreams.cut.cancelled() => None,
            };
            METRICS.waited(call.lane).note(start.elapsed());
            let Some(slot) = slot else {
                tries.attempts.push(record(&stop, None, "stopped", start));
                tries.last.is_stopped = true;
                break;
            };
            let Ok(slot) = slot else {
                tries.attempts.push(record(&stop, None, "no_place", start));
                tries.last.no_place = true;
                continue;
            };
            tries.attempts.push(record(&stop, None, "waited", start));
            let at = (&stop, slot);
            if let Some(result) = self.try_stop(upstreams, call, at, &mut tries).await {
                return tries.over(result);
            }
        }
        let Tries { attempts, last } = tries;
        Tried {
            attempts,
            result: Err(last),
        }
    }

    /// Tries one channel; `None` where another may do better.
    async fn try_stop<'u>(
        &self,
        upstreams: &'u Upstreams,
        call: &OpenCall,
        (stop, slot): (&Stop, Slot),
        tries: &mut Tries,
    ) -> Option<Result<(Answer, Way<'u>), Unanswered>> {
        let upstream = upstreams.channels.get(stop.index)?;
        let start = Instant::now();
        let one = tokio::select! {
            one = self.try_one(upstreams, call, stop) => one,
            // The process stops, and nothing of an answer is there: nothing is charged.
            () = upstreams.cut.cancelled() => One::Spoiled,
        };
        let (attempt, fault, retry_after) = match one {
            One::Answered(answer) => {
                self.routes
                    .report(stop.index, report(&Attempt::Answered(200), None));
                tries.attempts.push(record(stop, Some(200), "ok", start));
                return Some(Ok((answer, Way { upstream, slot })));
            }
            One::Spoiled => (Attempt::Spoiled, None, None),
            One::Refused {
                attempt,
                fault,
                retry_after,
            } => (attempt, fault, retry_after),
        };
        let wait = retry_after.and_then(|wait| u64::try_from(wait.as_millis()).ok());
        self.routes.report(stop.index, report(&attempt, wait));
        let (status, word) = words(&attempt);
        tries.attempts.push(record(stop, status, word, start));
        let ended = |outcome, fault| Unanswered {
            outcome,
            fault,
            no_place: false,
            is_stopped: false,
        };
        match judge(&attempt) {
            Verdict::Reject(outcome) => return Some(Err(ended(outcome, fault))),
            Verdict::TryNext(outcome) => tries.last = ended(outcome, None),
            Verdict::Deliver => {}
        }
        None
    }

    async fn try_one(&self, upstreams: &Upstreams, call: &OpenCall, stop: &Stop) -> One {
        let Some(upstream) = upstreams.channels.get(stop.index) else {
            return One::Spoiled;
        };
        let (head, body) = (&call.head, &call.incoming.body);
        let body = upstream
            .dialect
            .encode(head, body, &stop.model, call.max_output);
        let endpoint = call.incoming.endpoint;
        let sent = upstream.provider.send(UpstreamCall {
            endpoint,
            body,
            stream: head.stream,
        });
        match sent.await {
            Err(error) => {
                tracing::warn!(call = %call.incoming.id, channel = stop.channel, %error,
                    "an upstream gave no answer");
                One::Refused {
                    attempt: Attempt::Failed(error),
                    fault: None,
                    retry_after: None,
                }
            }
            Ok(reply) if !(200..300).contains(&reply.status) => {
                refused(upstream.dialect, reply).await
            }
            Ok(reply) if head.stream => first_output(upstream.dialect, reply.body).await,
            Ok(reply) => {
                let limit = self.limits.answer_bytes;
                let Ok(body) = collect(reply.body, limit).await else {
                    return One::Spoiled;
                };
                match upstream.dialect.read_reply(endpoint, &body) {
                    Ok(read) if read.fault.is_none() => {
                        let reply = Box::new(read);
                        One::Answered(Answer::Whole { body, reply })
                    }
                    Ok(_) | Err(_) => One::Spoiled,
                }
            }
        }
    }
}

async fn refused(dialect: &dyn Dialect, reply: UpstreamReply) -> One {
    let status = reply.status;
    let said = collect(reply.body, FAULT_BYTES).await.unwrap_or_default();
    One::Refused {
        attempt: Attempt::Answered(status),
        fault: Some(dialect.read_fault(status, &said)),
        retry_after: reply.retry_after,
    }
}

/// Reads a stream until something of it may be passed on: up to there another channel may be tried.
async fn first_output(dialect: &dyn Dialect, mut body: ReplyBody) -> One {
    use futures_util::StreamExt;

    let mut frames = dialect.frames();
    let mut first = Vec::new();
    while let Some(chunk) = body.next().await {
        let Ok(chunk) = chunk else {
            return One::Spoiled;
        };
        frames.feed(chunk, &mut first);
        if frames.faulted() {
            return One::Spoiled;
        }
        if !first.is_empty() || frames.done() {
            return One::Answered(Answer::Stream {
                frames,
                first,
                body: StreamBody(body),
            });
        }
    }
    One::Spoiled
}

fn words(attempt: &Attempt) -> (Option<u16>, &'static str) {
    match attempt {
        Attempt::Answered(status) => match judge(attempt) {
            Verdict::Reject(_) => (Some(*status), "rejected"),
            Verdict::TryNext(_) | Verdict::Deliver => (Some(*status), "failed"),
        },
        Attempt::Failed(gateway_core::provider::SendError::Timeout(_)) => (None, "timeout"),
        Attempt::Failed(_) => (None, "unreachable"),
        Attempt::Spoiled => (Some(200), "spoiled"),
    }
}

fn record(stop: &Stop, status: Option<u16>, outcome: &str, start: Instant) -> AttemptRecord {
    AttemptRecord {
        channel: stop.channel.clone(),
        status,
        outcome: outcome.to_owned(),
        latency_ms: millis_since(start),
    }
}
