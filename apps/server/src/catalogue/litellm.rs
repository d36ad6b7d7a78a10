//! LiteLLM's price map (`model_prices_and_context_window.json`): the one place that knows its names.
//!
//! An entry becomes a draft only when every price in it is understood or named: [`key`] takes the keys
//! apart, [`sheet`] gathers what they state, [`rates`] makes rates of it. In this source a zero often
//! means "unknown" or "priced elsewhere", so a zero is never taken for a gift: see [`zero`].

use std::collections::{BTreeMap, BTreeSet};

use billing_core::money::Currency;
use billing_core::price::ModelName;
use billing_core::price_book::{ModelFacts, PriceDraft};
use serde_json::value::RawValue;

use super::number;
use super::object::members;
use super::report::{Note, Unmapped, Unusable};
use super::{Import, ImportError, MOST_ENTRIES, Sorted};

mod key;
mod rates;
mod sheet;
mod zero;

/// The entry that explains the format.
const DOCUMENTATION: &str = "sample_spec";

/// Reads a price map.
///
/// # Errors
/// [`ImportError`] for a file that is not such a map, or in which an entry is malformed.
pub(crate) fn read(bytes: &[u8]) -> Result<Import, ImportError> {
    let file = serde_json::from_slice::<&RawValue>(bytes)
        .map_err(|error| ImportError::Json(error.to_string()))?;
    let entries = members(file).map_err(ImportError::Json)?;
    if entries.len() > MOST_ENTRIES {
        return Err(ImportError::TooMany(entries.len()));
    }
    let mut names = BTreeSet::new();
    if let Some((twice, _)) = entries.iter().find(|(name, _)| !names.insert(name)) {
        return Err(ImportError::Duplicate(twice.chars().take(80).collect()));
    }
    if !entries.iter().any(|(_, raw)| raw.get().starts_with('{')) {
        return Err(ImportError::NotAPriceMap(entries.len()));
    }
    let mut reader = Reader::default();
    let mut sorted = Sorted::default();
    for (name, raw) in &entries {
        sorted.push(name, reader.entry(name, raw));
    }
    reader.finish(entries.len(), sorted)
}

#[derive(Default)]
struct Reader {
    notes: BTreeMap<String, BTreeSet<String>>,
    unmapped: BTreeMap<String, Unmapped>,
}

impl Reader {
    fn finish(self, entries: usize, sorted: Sorted) -> Result<Import, ImportError> {
        let (drafts, skipped) = sorted.finish()?;
        let notes = self.notes.into_iter().map(|(text, models)| Note {
            text,
            models: models.into_iter().collect(),
        });
        Ok(Import {
            entries,
            drafts,
            skipped,
            notes: notes.collect(),
            unmapped_keys: self.unmapped,
        })
    }

    fn note(&mut self, model: &str, text: impl Into<String>) {
        let models = self.notes.entry(text.into()).or_default();
        models.insert(model.to_owned());
    }

    /// One entry as a draft, or the reason why not.
    fn entry(&mut self, name: &str, raw: &RawValue) -> Result<PriceDraft, Unusable> {
        let fields = members(raw).map_err(|_| "not an object".to_owned())?;
        let mut seen = BTreeSet::new();
        if let Some((twice, _)) = fields.iter().find(|(key, _)| !seen.insert(key)) {
            return Err(format!("a key stands twice: {twice}").into());
        }
        let sheet = self.sheet(name, &fields);
        if name == DOCUMENTATION {
            let reason = "documentation of the format, not a model";
            return Err(Unusable::not_sold(reason));
        }
        if name.is_empty() || name.len() > 300 || name.contains(char::is_control) {
            return Err("not a model's name".to_owned().into());
        }
        let sheet = sheet?;
        let facts = facts(&fields);
        let (rates, variants) = self.rates(name, &facts, sheet)?;
        Ok(PriceDraft {
            model: ModelName::new(name),
            facts,
            currency: Currency::USD,
            rates,
            variants,
        })
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
