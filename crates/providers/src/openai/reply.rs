//! Whole replies, and the objects inside events.

use std::ops::Range;

use billing_core::attribute::Attributes;
use bytes::Bytes;
use gateway_core::dialect::{Fault, Reply, Unreadable};
use gateway_core::endpoint::Endpoint;
use gateway_core::metering::Reported;
use gateway_core::splice::span_of;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::scan;
use super::stated::Stated;
use super::usage::Counts;
use crate::count::Malformed;
use crate::object::{members, text};

/// The members that matter, of a reply and of an event alike, each as its JSON text: what a provider
/// puts in them must not make the reply unreadable.
#[derive(Default)]
pub(super) struct Outer<'a> {
    pub(super) id: Option<&'a str>,
    pub(super) model: Option<&'a str>,
    pub(super) created: Option<&'a str>,
    pub(super) service_tier: Option<&'a str>,
    pub(super) choices: Option<&'a str>,
    /// An explicit null too: it still occupies its key, so its place is wanted.
    pub(super) usage: Option<&'a str>,
    pub(super) error: Option<&'a str>,
    stated: Stated<'a>,
}

impl<'a> Outer<'a> {
    pub(super) fn read(json: &'a [u8]) -> Option<Self> {
        let mut outer = Self::default();
        members(std::str::from_utf8(json).ok()?, |name, text| {
            let member = match name {
                "id" => &mut outer.id,
                "model" => &mut outer.model,
                "created" => &mut outer.created,
                "service_tier" => &mut outer.service_tier,
                "choices" => &mut outer.choices,
                "usage" => &mut outer.usage,
                "error" => &mut outer.error,
                _ => {
                    outer.stated.take(name, text);
                    return Some(());
                }
            };
            // Which of two is meant nobody knows.
            member.replace(text).is_none().then_some(())
        })?;
        Some(outer)
    }

    /// The counts, unless there are none, and the attributes that stand beside them.
    pub(super) fn counts(&self) -> Option<Result<(Counts, Stated<'a>), Malformed>> {
        let text = self.usage.filter(|text| *text != "null")?;
        Some(Counts::read_with_stated(text))
    }

    /// The attributes that the reply states itself.
    pub(super) fn attributes(&self) -> Attributes {
        self.stated.attributes()
    }

    pub(super) fn has_choices(&self) -> bool {
        let text = self.choices.unwrap_or_default();
        text.strip_prefix('[')
            .is_some_and(|inside| !inside.trim_ascii_start().starts_with(']'))
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        self.error.filter(|text| *text != "null").map(fault)
    }
}

#[derive(Deserialize)]
struct WireFault<'a> {
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
}

/// An `error` member: an object, or just a text.
fn fault(json: &str) -> Fault {
    let kind = "upstream_error".to_owned();
    let object = Some(json).filter(|json| json.starts_with('{'));
    match object.and_then(|json| serde_json::from_str::<WireFault<'_>>(json).ok()) {
        Some(wire) => Fault {
            message: text(wire.message.map(RawValue::get))
                .unwrap_or_else(|| "The upstream failed.".to_owned()),
            kind: text(wire.kind.map(RawValue::get)).unwrap_or(kind),
            // Some write a number.
            code: wire
                .code
                .map(|code| code.get().trim_matches('"').to_owned()),
        },
        None => Fault {
            message: text(Some(json)).unwrap_or_else(|| json.to_owned()),
            kind,
            code: None,
        },
    }
}

/// The error in a body, if there is one.
pub(super) fn fault_in(body: &[u8]) -> Option<Fault> {
    Outer::read(body)?.fault()
}

/// Where the value of the usage stands in a reply or an event's data.
pub(super) fn usage_at(json: &[u8]) -> Option<Range<usize>> {
    span_of(json, Outer::read(json)?.usage?.as_bytes())
}

pub(super) fn read(endpoint: Endpoint, body: &Bytes) -> Result<Reply, Unreadable> {
    let outer = Outer::read(body).ok_or(Unreadable)?;
    let mut attributes = outer.attributes();
    let usage = match outer.counts() {
        None => Reported::Missing,
        Some(Ok((counts, stated))) => {
            attributes = stated.attributes().or(&attributes);
            counts.reported(endpoint)
        }
        Some(Err(_)) => Reported::Malformed,
    };
    let finish = scan::FINISH.values(body).find_map(scan::string);
    Ok(Reply {
        usage,
        usage_at: outer.usage.and_then(|text| span_of(body, text.as_bytes())),
        id: text(outer.id),
        model: text(outer.model),
        finish_reason: finish.map(|word| String::from_utf8_lossy(word).into_owned()),
        service_tier: text(outer.service_tier),
        attributes,
        fault: outer.fault(),
    })
}
