//! Anthropic's count of tokens, as meters.
//!
//! Its classes are disjoint as they come: `input_tokens` has none of what a cache served
//! (`cache_read_input_tokens`) or took in (`cache_creation_input_tokens`, which `cache_creation`
//! divides by lifetime), and `output_tokens` is all of the answer, thinking included. The provider's
//! total is the sum of these four.
//!
//! Requests that the API makes on the way, of which `iterations` tells, are not in that total: they
//! are [apart](Counts::apart), each to be rated by itself.
//!
//! No dialect uses this yet; the one of `/v1/messages` will.

use billing_core::meter::{Meter, Usage};
use gateway_core::metering::Reported;
use serde_json::value::RawValue;

use crate::count::{Malformed, Raw, count, once, part, take, total};
use crate::object::{members, text};

/// The counts of one answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    tokens: Tokens,
    searches: u64,
    apart: Vec<Apart>,
    service_tier: Option<String>,
    speed: Option<String>,
    inference_geo: Option<String>,
}

/// A request that was made on the way and is not among the counts of the answer: the summary that
/// makes room for it (compaction), an adviser's word, an attempt of a model that declined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apart {
    /// The model that served it, where it is another than the one that was called.
    pub model: Option<String>,
    /// What it consumed.
    pub usage: Usage,
}

/// The tokens of one request, before they are taken apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tokens {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: u64,
    cache_write: u64,
    cache_write_1h: u64,
    thinking: u64,
}

/// The members of a usage, or of one of its iterations, as their texts.
#[derive(Default)]
struct Wire<'a> {
    input: Raw<'a>,
    output: Raw<'a>,
    output_details: Raw<'a>,
    cache_read: Raw<'a>,
    cache_write: Raw<'a>,
    cache_lives: Raw<'a>,
    tools: Raw<'a>,
    iterations: Raw<'a>,
    service_tier: Raw<'a>,
    speed: Raw<'a>,
    inference_geo: Raw<'a>,
    /// Of an iteration.
    kind: Raw<'a>,
    model: Raw<'a>,
}

impl<'a> Wire<'a> {
    fn read(text: &'a str) -> Result<Self, Malformed> {
        let mut wire = Self::default();
        let read = members(text, |name, value| {
            let place = match name {
                "input_tokens" => &mut wire.input,
                "output_tokens" => &mut wire.output,
                "output_tokens_details" => &mut wire.output_details,
                "cache_read_input_tokens" => &mut wire.cache_read,
                "cache_creation_input_tokens" => &mut wire.cache_write,
                "cache_creation" => &mut wire.cache_lives,
                "server_tool_use" => &mut wire.tools,
                "iterations" => &mut wire.iterations,
                "service_tier" => &mut wire.service_tier,
                "speed" => &mut wire.speed,
                "inference_geo" => &mut wire.inference_geo,
                "type" => &mut wire.kind,
                "model" => &mut wire.model,
                _ => return Some(()),
            };
            once(place, value)
        });
        read.map(|()| wire).ok_or(Malformed)
    }

    fn tokens(&self) -> Result<Tokens, Malformed> {
        let [five, hour] = among(
            self.cache_lives,
            ["ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"],
        )?;
        let [thinking] = among(self.output_details, ["thinking_tokens"])?;
        let cache_write = match count(self.cache_write)? {
            Some(tokens) => tokens,
            None => total([five, hour])?,
        };
        Ok(Tokens {
            input: count(self.input)?,
            output: count(self.output)?,
            cache_read: part(self.cache_read)?,
            cache_write,
            cache_write_1h: hour,
            thinking,
        })
    }
}

/// Counts inside a member that is an object; zero where they, or all of it, are absent.
fn among<const N: usize>(raw: Raw<'_>, names: [&str; N]) -> Result<[u64; N], Malformed> {
    let mut found = [None; N];
    if let Some(text) = raw.filter(|text| *text != "null") {
        let read = members(text, |name, value| {
            let place = names.iter().position(|known| *known == name);
            match place.and_then(|at| found.get_mut(at)) {
                Some(place) => once(place, value),
                None => Some(()),
            }
        });
        read.ok_or(Malformed)?;
    }
    let mut counts = [0; N];
    for (count, raw) in counts.iter_mut().zip(found) {
        *count = part(raw)?;
    }
    Ok(counts)
}

impl Tokens {
    fn merge(&mut self, later: &Self) {
        self.input = self.input.max(later.input);
        self.output = self.output.max(later.output);
        self.cache_read = self.cache_read.max(later.cache_read);
        self.cache_write = self.cache_write.max(later.cache_write);
        self.cache_write_1h = self.cache_write_1h.max(later.cache_write_1h);
        self.thinking = self.thinking.max(later.thinking);
    }

    /// The meters; `None` without a count of the input or of the answer.
    fn usage(&self) -> Option<Usage> {
        let (input, output) = (self.input?, self.output?);
        let mut usage = Usage::NONE
            .with(Meter::Input, input)
            .with(Meter::CacheRead, self.cache_read);
        // What has no stated lifetime lives five minutes. Parts beyond their total are cut to it.
        let (hour, thinking) = (self.cache_write_1h, self.thinking);
        let left = take(&mut usage, self.cache_write, Meter::CacheWrite1h, hour);
        usage.set(Meter::CacheWrite5m, left);
        let left = take(&mut usage, output, Meter::Reasoning, thinking);
        usage.set(Meter::Output, left);
        Some(usage)
    }
}

impl Counts {
    /// Reads one usage object: of a whole answer, or of a stream's `message_start` or
    /// `message_delta`. What `message_start` says of the answer's length is only where it begins.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(usage: &str) -> Result<Self, Malformed> {
        let wire = Wire::read(usage)?;
        let [searches] = among(wire.tools, ["web_search_requests"])?;
        Ok(Self {
            tokens: wire.tokens()?,
            searches,
            apart: apart(wire.iterations)?,
            service_tier: text(wire.service_tier),
            speed: text(wire.speed),
            inference_geo: text(wire.inference_geo),
        })
    }

    /// Takes in a later usage of the same stream. Counts are of all of it up to there and only grow,
    /// so the larger one is the later; what a later one does not mention stays.
    pub fn merge(&mut self, later: Self) {
        self.tokens.merge(&later.tokens);
        self.searches = self.searches.max(later.searches);
        if !later.apart.is_empty() {
            self.apart = later.apart;
        }
        self.service_tier = later.service_tier.or(self.service_tier.take());
        self.speed = later.speed.or(self.speed.take());
        self.inference_geo = later.inference_geo.or(self.inference_geo.take());
    }

    /// The meters of the answer, and the web searches made for it. An answer without a count of its
    /// input or of itself is not one for nothing: its usage is missing.
    pub fn reported(&self) -> Reported {
        self.tokens.usage().map_or(Reported::Missing, |usage| {
            Reported::Given(usage.with(Meter::Search, self.searches))
        })
    }

    /// Requests beside the answer. The provider bills each at the prices of its model, and a prompt
    /// that is long for two requests together is long for neither.
    pub fn apart(&self) -> &[Apart] {
        &self.apart
    }

    /// The tier that served the call: `standard`, `priority` or `batch`.
    pub fn service_tier(&self) -> Option<&str> {
        self.service_tier.as_deref()
    }

    /// The speed that served it, on which prices depend: `standard` or `fast`.
    pub fn speed(&self) -> Option<&str> {
        self.speed.as_deref()
    }

    /// Where it was served, on which prices depend: `us`, `global`; nothing where nobody says.
    pub fn inference_geo(&self) -> Option<&str> {
        let place = self.inference_geo.as_deref();
        place.filter(|place| !place.is_empty() && *place != "not_available")
    }
}

/// The iterations that the counts of the answer leave out.
fn apart(raw: Raw<'_>) -> Result<Vec<Apart>, Malformed> {
    let Some(list) = raw.filter(|text| *text != "null") else {
        return Ok(Vec::new());
    };
    let list: Vec<&RawValue> = serde_json::from_str(list).map_err(|_| Malformed)?;
    let mut all = Vec::with_capacity(list.len());
    for raw in list {
        let wire = Wire::read(raw.get())?;
        all.push((text(wire.kind), text(wire.model), wire.tokens()?));
    }
    let of_kind = |kind: &Option<String>, name: &str| kind.as_deref() == Some(name);
    // The model that took over from one that declined; the answer's counts are its own.
    let served = all
        .iter()
        .find(|(kind, _, _)| of_kind(kind, "fallback_message"))
        .map(|(_, model, _)| model.clone());
    let is_apart = |kind: &Option<String>, model: &Option<String>| {
        let declined = of_kind(kind, "message")
            && model.is_some()
            && served.as_ref().is_some_and(|served| served != model);
        declined || of_kind(kind, "compaction") || of_kind(kind, "advisor_message")
    };
    let left_out = all
        .into_iter()
        .filter(|(kind, model, _)| is_apart(kind, model));
    left_out
        .map(|(_, model, tokens)| {
            let usage = tokens.usage().ok_or(Malformed)?;
            Ok(Apart { model, usage })
        })
        .collect()
}

#[cfg(test)]
mod tests;
