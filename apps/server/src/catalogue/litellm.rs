//! LiteLLM's price map (`model_prices_and_context_window.json`): the one place that knows its names.
//!
//! An entry becomes a draft only when every price in it is understood or named. In this source a
//! zero often means "unknown" or "priced elsewhere", so a zero is never taken for a gift: see
//! [`zero_is_meant`].

use std::collections::{BTreeMap, BTreeSet};

use billing_core::meter::Meter;
use billing_core::money::Currency;
use billing_core::price::{ContextThreshold, ModelName, Rate, ServiceTier, UnitPrice};
use billing_core::price_book::{ModelFacts, PriceDraft};
use serde_json::value::RawValue;

use self::key::{Key, RateKey};
use self::object::{members, sequence};
use super::number;
use super::report::{Note, Skipped, Unmapped};
use super::{Import, ImportError};

mod key;
mod object;

/// The entry that explains the format.
const DOCUMENTATION: &str = "sample_spec";
/// The provider whose prompt sizes are already "above" at exactly the threshold.
const INCLUSIVE_PROVIDER: &str = "xai";
/// Modes that answer with text: a free prompt or answer there would be a free model.
const CONVERSING: [&str; 4] = ["chat", "completion", "responses", "realtime"];
/// Modes whose product is a vector, a score or a verdict, so that no output token is sold.
const WITHOUT_OUTPUT: [&str; 7] = [
    "embedding",
    "rerank",
    "evaluation",
    "moderation",
    "decisions",
    "extraction",
    "search",
];

/// Reads a price map.
///
/// # Errors
/// [`ImportError`] for a file that is not such a map. A fault within an entry skips that entry.
pub(crate) fn read(bytes: &[u8]) -> Result<Import, ImportError> {
    let file = serde_json::from_slice::<&RawValue>(bytes)
        .map_err(|error| ImportError::Json(error.to_string()))?;
    let entries = members(file).map_err(ImportError::Json)?;
    let mut names = BTreeSet::new();
    if let Some((twice, _)) = entries.iter().find(|(name, _)| !names.insert(name)) {
        return Err(ImportError::Duplicate(twice.chars().take(80).collect()));
    }
    if !entries.iter().any(|(_, raw)| raw.get().starts_with('{')) {
        return Err(ImportError::NotAPriceMap(entries.len()));
    }
    let mut reader = Reader::default();
    for (name, raw) in &entries {
        match reader.entry(name, raw) {
            Ok(draft) => reader.drafts.push(draft),
            Err(reason) => reader.skipped.push(Skipped {
                model: name.clone(),
                reason,
            }),
        }
    }
    Ok(reader.finish(entries.len()))
}

/// A price as one key states it; `None` is a stated zero.
struct Stated {
    key: String,
    at: RateKey,
    price: Option<UnitPrice>,
}

/// What the keys of an entry state together.
#[derive(Default)]
struct Sheet {
    stated: Vec<Stated>,
    unmapped: Vec<String>,
    /// Prices of one variant of a meter, which has one price for all variants now.
    variants: Vec<(Meter, Option<UnitPrice>)>,
}

#[derive(Default)]
struct Reader {
    drafts: Vec<PriceDraft>,
    skipped: Vec<Skipped>,
    notes: BTreeMap<String, BTreeSet<String>>,
    unmapped: BTreeMap<String, Unmapped>,
}

impl Reader {
    fn finish(mut self, entries: usize) -> Import {
        self.drafts.sort_by(|a, b| a.model.cmp(&b.model));
        self.skipped.sort_by(|a, b| a.model.cmp(&b.model));
        let notes = self.notes.into_iter().map(|(text, models)| Note {
            text,
            models: models.into_iter().collect(),
        });
        Import {
            entries,
            drafts: self.drafts,
            skipped: self.skipped,
            notes: notes.collect(),
            unmapped_keys: self.unmapped,
        }
    }

    fn note(&mut self, model: &str, text: impl Into<String>) {
        let models = self.notes.entry(text.into()).or_default();
        models.insert(model.to_owned());
    }

    /// One entry as a draft, or the reason why not.
    fn entry(&mut self, name: &str, raw: &RawValue) -> Result<PriceDraft, String> {
        let fields = members(raw).map_err(|_| "not an object".to_owned())?;
        let mut seen = BTreeSet::new();
        if let Some((twice, _)) = fields.iter().find(|(key, _)| !seen.insert(key)) {
            return Err(format!("a key stands twice: {twice}"));
        }
        let sheet = self.sheet(name, &fields);
        if name == DOCUMENTATION {
            return Err("documentation of the format, not a model".to_owned());
        }
        if name.is_empty() || name.len() > 300 || name.contains(char::is_control) {
            return Err("not a model's name".to_owned());
        }
        let sheet = sheet?;
        let facts = facts(&fields);
        let rates = self.rates(name, &facts, sheet)?;
        Ok(PriceDraft {
            model: ModelName::new(name),
            facts,
            currency: Currency::USD,
            rates,
            variants: Vec::new(),
        })
    }

    /// Every key about money: as a price, or counted as not used.
    fn sheet(&mut self, name: &str, fields: &[(String, &RawValue)]) -> Result<Sheet, String> {
        let mut sheet = Sheet::default();
        let mut fault = None;
        for (key, raw) in fields.iter().filter(|(_, raw)| raw.get() != "null") {
            let read = match Key::read(key) {
                Key::Other => Ok(()),
                Key::Rate(at) => self.price(name, key, at, raw, &mut sheet),
                Key::SearchBySize => self.search(name, key, raw, &mut sheet),
                Key::Tiered => self.tiered(name, key, raw, &mut sheet),
                Key::Modifier(reason) => {
                    self.count_unmapped(key, reason);
                    Ok(())
                }
                Key::Unmapped(reason) => {
                    self.count_unmapped(key, reason);
                    sheet.unmapped.push(key.clone());
                    match key::variant_of(key) {
                        Some(meter) => self
                            .amount(name, key, raw)
                            .map(|price| sheet.variants.push((meter, price))),
                        None => Ok(()),
                    }
                }
            };
            fault = fault.or(read.err());
        }
        fault.map_or(Ok(sheet), Err)
    }

    fn count_unmapped(&mut self, key: &str, reason: &str) {
        let unmapped = self.unmapped.entry(key.to_owned()).or_insert(Unmapped {
            count: 0,
            reason: reason.to_owned(),
        });
        unmapped.count += 1;
    }

    fn price(
        &mut self,
        name: &str,
        key: &str,
        at: RateKey,
        raw: &RawValue,
        sheet: &mut Sheet,
    ) -> Result<(), String> {
        let price = self.amount(name, key, raw)?;
        let key = key.to_owned();
        sheet.stated.push(Stated { key, at, price });
        Ok(())
    }

    /// The price that a raw value states; `None` for zero.
    fn amount(
        &mut self,
        name: &str,
        key: &str,
        raw: &RawValue,
    ) -> Result<Option<UnitPrice>, String> {
        let malformed = |what: String| format!("malformed price: {key}: {what}");
        let number = number::parse(raw.get()).map_err(|e| malformed(e.to_string()))?;
        if number.value.is_sign_negative() && !number.value.is_zero() {
            return Err(format!("negative price: {key}"));
        }
        if number.rounded {
            self.note(name, format!("{key} rounded to 24 decimal places"));
        }
        if number.value.is_zero() {
            return Ok(None);
        }
        let price = UnitPrice::per_unit(number.value).map_err(|e| malformed(e.to_string()))?;
        Ok(Some(price))
    }

    /// A search by the size of its context: one meter now, so the dearest size prices them all.
    fn search(
        &mut self,
        name: &str,
        key: &str,
        raw: &RawValue,
        sheet: &mut Sheet,
    ) -> Result<(), String> {
        let sizes = members(raw)
            .map_err(|_| format!("malformed price: {key}: not an object of sizes"))?
            .into_iter()
            .filter(|(_, raw)| raw.get() != "null")
            .map(|(_, raw)| self.amount(name, key, raw))
            .collect::<Result<Vec<_>, _>>()?;
        let Some(dearest) = sizes.iter().max().copied() else {
            return Ok(());
        };
        if sizes.iter().any(|size| *size != dearest) {
            let text = format!("{key} differs by size: the dearest is kept for all sizes");
            self.note(name, text);
        }
        let at = RateKey {
            meter: Meter::Search,
            tier: ServiceTier::Standard,
            above: None,
        };
        let (key, price) = (key.to_owned(), dearest);
        sheet.stated.push(Stated { key, at, price });
        Ok(())
    }

    /// A list of prices by prompt size: each range prices the whole call, from above its start on.
    fn tiered(
        &mut self,
        name: &str,
        key: &str,
        raw: &RawValue,
        sheet: &mut Sheet,
    ) -> Result<(), String> {
        let malformed = |what: &str| format!("malformed price: {key}: {what}");
        let ranges = sequence(raw).map_err(|_| malformed("not a list"))?;
        let mut end = 0;
        let mut classes: Option<BTreeSet<String>> = None;
        for range in ranges {
            let fields = members(range).map_err(|_| malformed("not a list of objects"))?;
            let Some((_, bounds)) = fields.iter().find(|(field, _)| field == "range") else {
                self.count_unmapped(key, "a price by number of results: no such dimension yet");
                sheet.unmapped.push(key.to_owned());
                return Ok(());
            };
            let bounds = sequence(bounds).unwrap_or_default();
            let &[from, to] = &bounds[..] else {
                return Err(malformed("a range is not [from, to]"));
            };
            let (from, to) = (whole(from), whole(to));
            let (Some(from), Some(to)) = (from, to) else {
                return Err(malformed("a range is not of whole numbers"));
            };
            if from != end || to <= from {
                return Err(malformed(
                    "the ranges have a gap, overlap or do not start at zero",
                ));
            }
            end = to;
            let above = (from > 0).then_some(from);
            let prices: Vec<_> = fields
                .iter()
                .filter(|(field, _)| field != "range")
                .collect();
            let priced: BTreeSet<String> = prices.iter().map(|(field, _)| field.clone()).collect();
            if classes.get_or_insert_with(|| priced.clone()) != &priced {
                return Err(malformed("the ranges do not price the same classes"));
            }
            for (field, raw) in prices {
                let inner = format!("{key}.{field}");
                let Key::Rate(at @ RateKey { above: None, .. }) = Key::read(field) else {
                    return Err(malformed("a range holds a key that is not a plain price"));
                };
                self.price(name, &inner, RateKey { above, ..at }, raw, sheet)?;
            }
        }
        Ok(())
    }

    /// The rates that the stated prices make for a model.
    fn rates(&mut self, name: &str, facts: &ModelFacts, sheet: Sheet) -> Result<Vec<Rate>, String> {
        let Sheet {
            mut stated,
            unmapped,
            variants,
        } = sheet;
        if !stated.iter().any(|s| s.price.is_some()) {
            return Err(match (stated.is_empty(), unmapped.is_empty()) {
                (_, false) => format!(
                    "only prices that no meter expresses: {}",
                    unmapped.join(", ")
                ),
                (true, true) => "no price".to_owned(),
                (false, true) => {
                    "all prices are zero; state `free` explicitly to sell it for nothing".to_owned()
                }
            });
        }
        in_terms_of_product(&facts.mode, &mut stated);

        let mut chosen: BTreeMap<Rate, Stated> = BTreeMap::new();
        for one in stated {
            // The place of a rate, whatever it costs.
            let place = rate(&facts.provider, one.at, UnitPrice::FREE);
            match chosen.get(&place) {
                Some(other) if other.price == one.price => {}
                Some(other) => {
                    let text = format!(
                        "{} and {} price the same: the dearer is kept",
                        other.key.clone().min(one.key.clone()),
                        other.key.clone().max(one.key.clone())
                    );
                    self.note(name, text);
                    if other.price < one.price {
                        chosen.insert(place, one);
                    }
                }
                None => {
                    chosen.insert(place, one);
                }
            }
        }
        let by_query = chosen
            .values()
            .any(|s| s.at.meter == Meter::Query && s.price.is_some());
        let mut rates = Vec::with_capacity(chosen.len());
        for one in chosen.into_values() {
            let price = match one.price {
                Some(price) => price,
                None if zero_is_meant(&facts.mode, one.at, by_query) => UnitPrice::FREE,
                None => {
                    self.leave_out(name, facts, &one)?;
                    continue;
                }
            };
            rates.push(rate(&facts.provider, one.at, price));
        }
        rates.sort_unstable();
        let dearer = variants.iter().any(|(meter, price)| {
            let mut base = rates.iter().filter(|r| r.meter == *meter);
            base.any(|r| Some(r.price) < *price)
        });
        if dearer {
            let text = "a variant by size, resolution or length is dearer: the base price applies to all variants";
            self.note(name, text);
        }
        Ok(rates)
    }

    /// A zero that is not taken at its word: the class falls back to its parent, or is refused.
    fn leave_out(&mut self, name: &str, facts: &ModelFacts, one: &Stated) -> Result<(), String> {
        let Stated { key, at, .. } = one;
        let plain = at.tier == ServiceTier::Standard && at.above.is_none();
        let main = matches!(at.meter, Meter::Input | Meter::Output);
        if plain && main && CONVERSING.contains(&facts.mode.as_str()) {
            let mode = &facts.mode;
            return Err(format!(
                "a zero beside other prices would make its text free: {key} ({mode}); state `free` explicitly to sell it so"
            ));
        }
        let instead = if at.tier != ServiceTier::Standard || at.meter.parent().is_some() {
            "the parent class's or standard tier's price applies"
        } else {
            "such use is refused as unpriced"
        };
        self.note(
            name,
            format!("{key} is zero and not taken for free: {instead}"),
        );
        Ok(())
    }
}

/// Whether a zero beside other prices is a statement and no gap: what is not sold by this measure
/// because the model's product is measured otherwise.
fn zero_is_meant(mode: &str, at: RateKey, by_query: bool) -> bool {
    if at.meter == Meter::Output {
        return WITHOUT_OUTPUT.contains(&mode) || at.tier == ServiceTier::Decisions;
    }
    at.meter == Meter::Input && by_query && matches!(mode, "rerank" | "search")
}

/// Puts prices that LiteLLM names after the request under the meter of what is made or measured.
fn in_terms_of_product(mode: &str, stated: &mut [Stated]) {
    let prices_output = stated
        .iter()
        .any(|s| s.price.is_some() && s.key.starts_with("output_"));
    for one in stated {
        one.at.meter = match (mode, one.at.meter) {
            // What is transcribed is the audio given; its length is stated once, under either name.
            ("audio_transcription", Meter::OutputTime) => Meter::InputTime,
            // Without a price of its output, an image model's "input" image is the one it makes.
            ("image_generation", Meter::InputImage) if !prices_output => Meter::OutputImage,
            ("image_generation", Meter::InputPixel) if !prices_output => Meter::OutputPixel,
            (_, meter) => meter,
        };
    }
}

fn rate(provider: &str, at: RateKey, price: UnitPrice) -> Rate {
    Rate {
        meter: at.meter,
        tier: at.tier,
        above: at.above.map(|prompt_tokens| ContextThreshold {
            prompt_tokens,
            inclusive: provider == INCLUSIVE_PROVIDER,
        }),
        price,
    }
}

fn facts(fields: &[(String, &RawValue)]) -> ModelFacts {
    let find = |name: &str| {
        fields
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, raw)| *raw)
    };
    let text = |name| {
        find(name)
            .and_then(|raw| serde_json::from_str::<String>(raw.get()).ok())
            .unwrap_or_default()
    };
    let tokens = |name| find(name).and_then(whole).filter(|n| *n > 0);
    ModelFacts {
        provider: text("litellm_provider"),
        mode: text("mode"),
        max_input_tokens: tokens("max_input_tokens"),
        max_output_tokens: tokens("max_output_tokens"),
    }
}

/// A whole number, also when it is written as `256000.0`.
fn whole(raw: &RawValue) -> Option<u64> {
    let value = number::parse(raw.get()).ok()?.value;
    if value.is_integer() {
        u64::try_from(value).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
