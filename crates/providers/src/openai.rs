//! The OpenAI protocol: chat completions and embeddings, as OpenAI and its many imitators speak it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use billing_core::attribute::Attribute;
use billing_core::meter::Usage;
use bytes::{Bytes, BytesMut};
use gateway_core::count::Delivered;
use gateway_core::dialect::{Dialect, Fault, Frames, Reply, StreamEnd, Unreadable};
use gateway_core::endpoint::Endpoint;
use gateway_core::metering::Reported;
use gateway_core::request::RequestHead;
use gateway_core::splice::{self, Edit};
use gateway_core::sse;
use serde::Serialize;
use serde_json::value::RawValue;

mod frames;
mod reply;
mod scan;
mod stated;
pub mod usage;

/// The OpenAI protocol. It has no state.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenAi;

impl Dialect for OpenAi {
    fn states(&self) -> &'static [Attribute] {
        stated::STATES
    }

    fn encode(
        &self,
        head: &RequestHead,
        body: &Bytes,
        upstream_model: &str,
        max_output: Option<u64>,
    ) -> Bytes {
        let mut edits = Vec::new();
        if head.model != upstream_model {
            edits.push(Edit::replace(
                head.spans.model.clone(),
                json_string(upstream_model),
            ));
        }
        // Without this the usage of a stream never arrives.
        if head.stream && !head.include_usage {
            edits.push(ask_for_usage(head, body));
        }
        if let Some(limit) = max_output {
            limit_output(head, limit, &mut edits);
        }
        splice::apply(body, edits)
    }

    fn read_reply(&self, endpoint: Endpoint, body: &Bytes) -> Result<Reply, Unreadable> {
        reply::read(endpoint, body)
    }

    fn read_fault(&self, status: u16, body: &Bytes) -> Fault {
        reply::fault_in(body).unwrap_or_else(|| Fault {
            message: format!("The upstream answered with status {status}."),
            kind: "upstream_error".to_owned(),
            code: None,
        })
    }

    fn delivered(&self, endpoint: Endpoint, body: &Bytes) -> Delivered {
        let mut delivered = Delivered::default();
        if endpoint.has_output() {
            scan::output(body, |piece| delivered.push(piece));
        }
        delivered
    }

    fn annotate(&self, body: &Bytes, reply: &Reply, usage: &Usage, members: &str) -> Bytes {
        let edit = match (&reply.usage, reply.usage_at.clone()) {
            (Reported::Given(_), Some(at)) => splice::add_members(body, at, members),
            (Reported::Missing | Reported::Malformed, Some(at)) => {
                Some(Edit::replace(at, usage::write(usage, members).into_bytes()))
            }
            (_, None) => append_usage(body, &usage::write(usage, members)),
        };
        splice::apply(body, edit.into_iter().collect())
    }

    fn frames(&self) -> Box<dyn Frames> {
        Box::new(frames::OpenAiFrames::default())
    }

    fn closing(&self, end: &StreamEnd, include_usage: bool, usage: &Usage, members: &str) -> Bytes {
        let mut out = BytesMut::new();
        out.extend_from_slice(end.rest.as_deref().unwrap_or_default());
        match &end.usage_event {
            Some(event) if include_usage => {
                out.extend_from_slice(&annotated(event, end, usage, members));
            }
            Some(event) if end.usage_event_has_output => out.extend_from_slice(event),
            None if include_usage => {
                out.extend_from_slice(made_usage_event(end, usage, members).as_bytes());
            }
            Some(_) | None => {}
        }
        if end.complete {
            out.extend_from_slice(b"data: [DONE]\n\n");
        }
        out.freeze()
    }

    fn stream_fault(&self, fault: &Fault) -> Bytes {
        Bytes::from(format!("data: {}\n\n", error_body(fault)))
    }
}

/// The body of an error, with all four members that clients look for.
pub fn error_body(fault: &Fault) -> String {
    let code = fault
        .code
        .as_deref()
        .map_or_else(|| "null".to_owned(), json_text);
    format!(
        r#"{{"error":{{"message":{},"type":{},"param":null,"code":{code}}}}}"#,
        json_text(&fault.message),
        json_text(&fault.kind),
    )
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn json_string(text: &str) -> Vec<u8> {
    json_text(text).into_bytes()
}

fn ask_for_usage(head: &RequestHead, body: &Bytes) -> Edit<'static> {
    let Some(at) = head.spans.stream_options.clone() else {
        let member = &br#""stream_options":{"include_usage":true},"#[..];
        return Edit::insert(head.spans.open, member);
    };
    // The client's other options stay as they are.
    let given = body.get(at.clone()).unwrap_or_default();
    let mut options: BTreeMap<Cow<'_, str>, &RawValue> =
        serde_json::from_slice(given).unwrap_or_default();
    options.remove("include_usage");
    let mut text = br#"{"include_usage":true"#.to_vec();
    for (key, value) in options {
        text.extend_from_slice(format!(",{}:{}", json_text(&key), value.get()).as_bytes());
    }
    text.push(b'}');
    Edit::replace(at, text)
}

fn limit_output(head: &RequestHead, limit: u64, edits: &mut Vec<Edit<'_>>) {
    let given = [&head.spans.max_completion_tokens, &head.spans.max_tokens];
    for at in given.into_iter().flatten() {
        edits.push(Edit::replace(at.clone(), limit.to_string().into_bytes()));
    }
    if given.iter().all(|at| at.is_none()) {
        let member = format!(r#""max_completion_tokens":{limit},"#);
        edits.push(Edit::insert(head.spans.open, member.into_bytes()));
    }
}

fn append_usage(body: &Bytes, usage: &str) -> Option<Edit<'static>> {
    let text = body.trim_ascii_end();
    let inside = text.strip_suffix(b"}")?;
    let comma = if inside.trim_ascii_end().ends_with(b"{") {
        ""
    } else {
        ","
    };
    Some(Edit::insert(
        inside.len(),
        format!(r#"{comma}"usage":{usage}"#).into_bytes(),
    ))
}

/// The withheld event with members added to its usage.
fn annotated(event: &Bytes, end: &StreamEnd, usage: &Usage, members: &str) -> Bytes {
    let Some(data) = sse::data(event) else {
        return event.clone();
    };
    let edit_of = |json: &[u8]| {
        let at = reply::usage_at(json)?;
        match end.usage {
            Reported::Given(_) => splice::add_members(json, at, members)
                .map(|edit| Edit::replace(edit.at, edit.text.into_owned())),
            // A count that is none is not repeated to the client.
            Reported::Missing | Reported::Malformed => {
                Some(Edit::replace(at, usage::write(usage, members).into_bytes()))
            }
        }
    };
    let json = Bytes::copy_from_slice(&data);
    let edits = edit_of(&json).into_iter().collect();
    let mut out = BytesMut::from(&b"data: "[..]);
    // Data over several lines comes back as one: between JSON's tokens a line end is a space.
    out.extend(
        splice::apply(&json, edits)
            .iter()
            .map(|b| if *b == b'\n' { b' ' } else { *b }),
    );
    out.extend_from_slice(b"\n\n");
    out.freeze()
}

#[derive(Serialize)]
struct MadeChunk<'a> {
    id: &'a str,
    object: &'a str,
    created: u64,
    model: &'a str,
    choices: [(); 0],
    usage: &'a RawValue,
}

/// The usage event that the client asked for and the provider did not give.
fn made_usage_event(end: &StreamEnd, usage: &Usage, members: &str) -> String {
    let Ok(usage) = RawValue::from_string(usage::write(usage, members)) else {
        return String::new();
    };
    let chunk = MadeChunk {
        id: end.id.as_deref().unwrap_or_default(),
        object: "chat.completion.chunk",
        created: end.created.unwrap_or_default(),
        model: end.model.as_deref().unwrap_or_default(),
        choices: [],
        usage: &usage,
    };
    serde_json::to_string(&chunk)
        .map(|json| format!("data: {json}\n\n"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
