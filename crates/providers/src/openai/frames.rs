//! A stream of chat completion chunks on its way to the client.
//!
//! Chunks are passed on as they came. Only few are read as JSON: the first, those with a usage and
//! those with an error. The last usage and `[DONE]` are withheld until the call is settled.

use billing_core::attribute::Attributes;
use bytes::{Bytes, BytesMut};
use gateway_core::count::Delivered;
use gateway_core::dialect::{Fault, Frames, StreamEnd};
use gateway_core::endpoint::Endpoint;
use gateway_core::metering::Reported;
use gateway_core::sse::{self, Splitter, event_end};
use serde_json::value::RawValue;

use super::reply::Outer;
use super::scan;
use super::usage::Counts;
use crate::object::text;

/// An event that waits for the settlement, because it tells the usage.
#[derive(Debug)]
struct Withheld {
    event: Bytes,
    has_output: bool,
}

#[derive(Debug, Default)]
pub(super) struct OpenAiFrames {
    splitter: Splitter,
    withheld: Option<Withheld>,
    counts: Option<Counts>,
    malformed: bool,
    began: bool,
    done: bool,
    fault: Option<Fault>,
    id: Option<String>,
    model: Option<String>,
    created: Option<u64>,
    finish_reason: Option<String>,
    service_tier: Option<String>,
    attributes: Attributes,
    delivered: Delivered,
}

/// What is done with an event.
enum Kind {
    Pass,
    /// Keep-alive: passed on.
    Comment,
    Usage {
        has_output: bool,
    },
    /// The upstream's error: the stream ends here, and the caller says so.
    Fault,
    Done,
}

impl OpenAiFrames {
    fn inspect(&mut self, event: &[u8]) -> Kind {
        let Some(data) = sse::data(event) else {
            return Kind::Comment;
        };
        if data.trim_ascii() == b"[DONE]" {
            return Kind::Done;
        }
        if !self.began {
            self.begin(&data);
        }
        if scan::ERROR
            .values(&data)
            .any(|value| !value.starts_with(b"null"))
            && let Some(fault) = Outer::read(&data).and_then(|outer| outer.fault())
        {
            self.fault = Some(fault);
            return Kind::Fault;
        }
        let delivered = &mut self.delivered;
        scan::output(&data, |piece| delivered.push(piece));
        if let Some(word) = scan::FINISH.values(&data).find_map(scan::string) {
            self.finish_reason = Some(String::from_utf8_lossy(word).into_owned());
        }
        if scan::USAGE
            .values(&data)
            .any(|value| !value.starts_with(b"null"))
        {
            return self.take_usage(&data);
        }
        Kind::Pass
    }

    fn begin(&mut self, data: &[u8]) {
        let Some(outer) = Outer::read(data) else {
            return;
        };
        self.began = true;
        self.id = text(outer.id);
        self.model = text(outer.model);
        self.created = outer.created.and_then(|text| text.parse().ok());
        self.service_tier = text(outer.service_tier);
        self.attributes = outer.attributes();
    }

    fn take_usage(&mut self, data: &[u8]) -> Kind {
        let Some(outer) = Outer::read(data) else {
            return Kind::Pass;
        };
        match outer.counts() {
            // A usage somewhere deeper is some extension's own affair.
            None => return Kind::Pass,
            Some(Ok((counts, stated))) => {
                self.counts.get_or_insert_default().merge(&counts);
                let stated = stated.attributes().or(&outer.attributes());
                self.attributes = stated.or(&self.attributes);
            }
            Some(Err(_)) => self.malformed = true,
        }
        // The tier that served the call is certain only at its end.
        self.service_tier = text(outer.service_tier).or(self.service_tier.take());
        Kind::Usage {
            has_output: outer.has_choices(),
        }
    }

    /// Lets go of a withheld event that is part of an answer which goes on.
    fn release(&mut self, out: &mut Vec<Bytes>) {
        if self
            .withheld
            .as_ref()
            .is_some_and(|withheld| withheld.has_output)
            && let Some(withheld) = self.withheld.take()
        {
            out.push(withheld.event);
        }
    }

    fn reported(&self) -> Reported {
        match &self.counts {
            _ if self.malformed => Reported::Malformed,
            Some(counts) => counts.reported(Endpoint::ChatCompletions),
            None => Reported::Missing,
        }
    }

    /// An event without its blank line at the end of the stream: whole, or cut and worthless.
    fn last(&mut self) -> Option<Bytes> {
        let tail = self.splitter.finish();
        if self.done || self.fault.is_some() || tail.is_empty() {
            return None;
        }
        let whole = sse::data(&tail).is_some_and(|data| {
            let json = data.trim_ascii();
            json == b"[DONE]" || serde_json::from_slice::<&RawValue>(json).is_ok()
        });
        if !whole {
            return None;
        }
        let mut event = BytesMut::from(tail.trim_ascii_end());
        event.extend_from_slice(b"\n\n");
        let mut out = Vec::new();
        self.feed(event.freeze(), &mut out);
        (!out.is_empty()).then(|| out.concat().into())
    }
}

impl Frames for OpenAiFrames {
    fn feed(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) {
        if self.done || self.fault.is_some() {
            return;
        }
        let buffer = self.splitter.push(chunk);
        // `run..at` is passed on as one piece, not event by event.
        let (mut run, mut at) = (0, 0);
        while let Some(end) = event_end(&buffer, at) {
            let event = buffer.slice(at..end);
            match self.inspect(&event) {
                Kind::Comment => {}
                Kind::Pass => {
                    if self.withheld.is_some() {
                        pass(&buffer, run..at, out);
                        run = at;
                        self.release(out);
                    }
                }
                Kind::Usage { has_output } => {
                    pass(&buffer, run..at, out);
                    run = end;
                    self.release(out);
                    self.withheld = Some(Withheld { event, has_output });
                }
                Kind::Fault => {
                    pass(&buffer, run..at, out);
                    return self.release(out);
                }
                Kind::Done => {
                    self.done = true;
                    return pass(&buffer, run..at, out);
                }
            }
            at = end;
        }
        pass(&buffer, run..at, out);
        let rest = buffer.slice(at..);
        if Splitter::is_full(&rest) {
            out.push(rest);
        } else {
            self.splitter.keep(&rest);
        }
    }

    fn delivered(&self) -> &Delivered {
        &self.delivered
    }

    fn faulted(&self) -> bool {
        self.fault.is_some()
    }

    fn done(&self) -> bool {
        self.done
    }

    fn finish(&mut self) -> StreamEnd {
        let rest = self.last();
        let ended = self.done || self.finish_reason.is_some();
        let withheld = self.withheld.take();
        StreamEnd {
            usage: self.reported(),
            usage_event_has_output: withheld.as_ref().is_some_and(|w| w.has_output),
            usage_event: withheld.map(|w| w.event),
            rest,
            complete: ended && self.fault.is_none(),
            closed: self.done,
            fault: self.fault.take(),
            id: self.id.take(),
            model: self.model.take(),
            created: self.created,
            finish_reason: self.finish_reason.take(),
            service_tier: self.service_tier.take(),
            attributes: std::mem::take(&mut self.attributes),
            delivered: std::mem::take(&mut self.delivered),
        }
    }
}

fn pass(buffer: &Bytes, run: std::ops::Range<usize>, out: &mut Vec<Bytes>) {
    if !run.is_empty() {
        out.push(buffer.slice(run));
    }
}
