//! Tollgate's own catalogue: JSON Lines, a header with provenance and then one model a line, sorted
//! by name, so that two editions can be compared line by line.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::marker::PhantomData;
use std::str::FromStr;

use billing_core::meter::Meter;
use billing_core::money::Currency;
use billing_core::price::{
    ContextThreshold, ModelName, Rate, ServiceTier, UnitPrice, Variant, When,
};
use billing_core::price_book::{ModelFacts, PriceDraft};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use time::Date;

use super::{ImportError, MOST_ENTRIES};

/// The edition of the format that this version writes. It reads the first one too, which had no
/// variants.
pub(crate) const FORMAT: u32 = 2;

/// The first line: where the prices come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    /// The edition of the format.
    #[serde(rename = "tollgate_catalogue")]
    pub(crate) format: u32,
    /// The file that it was made from.
    pub(crate) source: String,
    /// That file's SHA-256; empty where the catalogue was written by hand.
    pub(crate) source_sha256: String,
    /// When.
    #[serde(with = "day")]
    pub(crate) made_on: Date,
    /// By what.
    pub(crate) made_by: String,
    /// Entries of the source.
    pub(crate) entries: usize,
    /// Entries of the source without a usable price.
    pub(crate) skipped: usize,
    /// Lines that follow.
    pub(crate) models: usize,
}

time::serde::format_description!(day, Date, "[year]-[month]-[day]");

/// A line: a draft, with its rates as `meter[@tier][>tokens]` and the price of one unit, and those
/// under conditions by the condition.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    model: ModelName,
    provider: String,
    mode: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_input_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    currency: Currency,
    per_unit: Prices,
    #[serde(
        default,
        deserialize_with = "each_once",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    when: BTreeMap<String, Prices>,
}

/// Prices of one unit by the name of the rate.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Prices(#[serde(deserialize_with = "each_once")] BTreeMap<String, UnitPrice>);

/// A map that refuses a repeated key instead of keeping the last.
fn each_once<'de, D: Deserializer<'de>, V: Deserialize<'de>>(
    from: D,
) -> Result<BTreeMap<String, V>, D::Error> {
    struct EachOnce<V>(PhantomData<V>);
    impl<'de, V: Deserialize<'de>> Visitor<'de> for EachOnce<V> {
        type Value = BTreeMap<String, V>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("prices by meter, such as {\"input\":\"0.000001\"}")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = BTreeMap::new();
            while let Some((name, value)) = map.next_entry::<String, V>()? {
                if all.insert(name.clone(), value).is_some() {
                    return Err(serde::de::Error::custom(format!(
                        "\"{name}\" is priced twice"
                    )));
                }
            }
            Ok(all)
        }
    }
    from.deserialize_map(EachOnce(PhantomData))
}

impl Prices {
    fn of(rates: &[Rate]) -> Self {
        Self(rates.iter().map(|r| (rate_name(r), r.price)).collect())
    }

    /// The rates, in order; `of` names what they are of where something is wrong with them.
    fn rates(&self, of: &str) -> Result<Vec<Rate>, String> {
        let mut rates = self
            .0
            .iter()
            .map(|(name, price)| read_rate(name, *price))
            .collect::<Result<Vec<_>, _>>()?;
        if rates.is_empty() {
            return Err(format!("{of} has no price"));
        }
        rates.sort_unstable();
        if rates
            .windows(2)
            .any(|r| (r[0].meter, r[0].tier, r[0].above) == (r[1].meter, r[1].tier, r[1].above))
        {
            return Err(format!("{of} states one rate twice"));
        }
        Ok(rates)
    }
}

impl From<&PriceDraft> for Line {
    fn from(draft: &PriceDraft) -> Self {
        let facts = draft.facts.clone();
        Self {
            model: draft.model.clone(),
            provider: facts.provider,
            mode: facts.mode,
            max_input_tokens: facts.max_input_tokens,
            max_output_tokens: facts.max_output_tokens,
            currency: draft.currency,
            per_unit: Prices::of(&draft.rates),
            when: draft
                .variants
                .iter()
                .map(|variant| (variant.when.to_string(), Prices::of(&variant.rates)))
                .collect(),
        }
    }
}

impl TryFrom<Line> for PriceDraft {
    type Error = String;
    fn try_from(line: Line) -> Result<Self, String> {
        let rates = line.per_unit.rates(line.model.as_str())?;
        let mut variants = line
            .when
            .iter()
            .map(|(when, prices)| {
                let rates = prices.rates(&format!("{} with {when}", line.model))?;
                let when: When = when.parse().map_err(|e| format!("{e}"))?;
                Variant::new(when, rates).map_err(|e| e.to_string())
            })
            .collect::<Result<Vec<_>, String>>()?;
        variants.sort();
        if variants.windows(2).any(|v| v[0].when == v[1].when) {
            return Err(format!("{} states one condition twice", line.model));
        }
        Ok(Self {
            model: line.model,
            facts: ModelFacts {
                provider: line.provider,
                mode: line.mode,
                max_input_tokens: line.max_input_tokens,
                max_output_tokens: line.max_output_tokens,
            },
            currency: line.currency,
            rates,
            variants,
        })
    }
}

/// `input`, `input@batch`, `input>200000`, `input@flex>=128000`.
fn rate_name(rate: &Rate) -> String {
    let mut name = rate.meter.name().to_owned();
    if rate.tier != ServiceTier::Standard {
        name = format!("{name}@{}", rate.tier);
    }
    match rate.above {
        None => name,
        Some(above) => {
            let sign = if above.inclusive { ">=" } else { ">" };
            format!("{name}{sign}{}", above.prompt_tokens)
        }
    }
}

pub(super) fn read_rate(name: &str, price: UnitPrice) -> Result<Rate, String> {
    let (what, above) = match name.split_once('>') {
        None => (name, None),
        Some((what, tokens)) => {
            let (inclusive, digits) = match tokens.strip_prefix('=') {
                Some(digits) => (true, digits),
                None => (false, tokens),
            };
            let prompt_tokens = digits
                .parse()
                .map_err(|_| format!("\"{name}\": \"{digits}\" is not a number of tokens"))?;
            let above = ContextThreshold {
                prompt_tokens,
                inclusive,
            };
            (what, Some(above))
        }
    };
    let (meter, tier) = match what.split_once('@') {
        None => (what, ServiceTier::Standard),
        Some((meter, tier)) => {
            let known = ServiceTier::ALL.iter().find(|t| t.name() == tier);
            let tier = known.ok_or_else(|| format!("\"{tier}\" is not a service tier"))?;
            (meter, *tier)
        }
    };
    let meter = Meter::from_str(meter).map_err(|error| error.to_string())?;
    Ok(Rate {
        meter,
        tier,
        above,
        price,
    })
}

/// Whether the first line looks like a header of this format.
pub(crate) fn is_own(bytes: &[u8]) -> bool {
    let first = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let marker = b"\"tollgate_catalogue\"";
    first.windows(marker.len()).any(|part| part == marker)
}

/// Reads a catalogue.
///
/// # Errors
/// [`ImportError::Line`] with the number of the line, [`ImportError::Duplicate`].
pub(crate) fn read(bytes: &[u8]) -> Result<(Header, Vec<PriceDraft>), ImportError> {
    let fault = |line: usize, what: String| ImportError::Line { line, what };
    let text = std::str::from_utf8(bytes).map_err(|e| fault(1, format!("not UTF-8: {e}")))?;
    let mut lines = text.lines().zip(1..);
    let (first, _) = lines
        .next()
        .ok_or_else(|| fault(1, "no header".to_owned()))?;
    let header: Header = serde_json::from_str(first)
        .map_err(|e| fault(1, format!("not a header of a catalogue: {e}")))?;
    if !(1..=FORMAT).contains(&header.format) {
        let what = format!(
            "edition {} of the format; this version reads 1 to {FORMAT}",
            header.format
        );
        return Err(fault(1, what));
    }
    let mut drafts = BTreeMap::new();
    for (line, number) in lines.filter(|(line, _)| !line.trim().is_empty()) {
        if drafts.len() >= MOST_ENTRIES {
            return Err(ImportError::TooMany(header.models.max(drafts.len() + 1)));
        }
        let parsed: Line = serde_json::from_str(line).map_err(|e| fault(number, e.to_string()))?;
        let draft = PriceDraft::try_from(parsed).map_err(|what| fault(number, what))?;
        if let Some(earlier) = drafts.insert(draft.model.clone(), draft) {
            return Err(ImportError::Duplicate(earlier.model.to_string()));
        }
    }
    if drafts.len() != header.models {
        let what = format!(
            "the header announces {} models, {} follow: the file is incomplete or was edited (then mend the count)",
            header.models,
            drafts.len()
        );
        return Err(fault(1, what));
    }
    Ok((header, drafts.into_values().collect()))
}

/// Writes a catalogue.
///
/// # Errors
/// [`ImportError::Json`] should a line not be writable.
pub(crate) fn write(header: &Header, drafts: &[PriceDraft]) -> Result<String, ImportError> {
    let json = |e: serde_json::Error| ImportError::Json(e.to_string());
    let mut sorted: Vec<&PriceDraft> = drafts.iter().collect();
    sorted.sort_by(|a, b| a.model.cmp(&b.model));
    let mut text = serde_json::to_string(header).map_err(json)?;
    for draft in sorted {
        let line = serde_json::to_string(&Line::from(draft)).map_err(json)?;
        write!(text, "\n{line}").map_err(|e| ImportError::Json(e.to_string()))?;
    }
    text.push('\n');
    Ok(text)
}
