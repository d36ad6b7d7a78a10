//! Catalogues: files that list models with their prices, read into drafts.
//!
//! Pure: bytes in, drafts and a report out. Four kinds of file are known: LiteLLM's price map
//! ([`litellm`], the one place with its key names), OpenRouter's list of models ([`openrouter`],
//! likewise), Tollgate's own JSON Lines ([`own`]), in which the default catalogue is shipped, and
//! price books in YAML or TOML ([`handwritten`]).

use std::collections::BTreeMap;
use std::path::Path;

use billing_core::price_book::PriceDraft;
use sha2::{Digest, Sha256};
use thiserror::Error;
use time::Date;

mod handwritten;
pub(crate) mod litellm;
mod number;
mod object;
pub(crate) mod openrouter;
pub(crate) mod own;
pub(crate) mod report;
pub(crate) mod rules;
mod tree;
mod yaml;

use report::{Note, Skipped, Unmapped, Unusable};

/// The most entries that a file may have: more is a mistake, or somebody's attempt.
const MOST_ENTRIES: usize = 100_000;

/// How many malformed entries a refusal names.
const NAMED: usize = 10;

/// What a file gave: every entry is a draft or skipped with a reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Import {
    /// Entries of the file.
    pub(crate) entries: usize,
    /// Models with a price, by name.
    pub(crate) drafts: Vec<PriceDraft>,
    /// Entries that are nothing to sell, by name.
    pub(crate) skipped: Vec<Skipped>,
    /// What was decided on the way, and for which models.
    pub(crate) notes: Vec<Note>,
    /// Keys about money that were not used.
    pub(crate) unmapped_keys: BTreeMap<String, Unmapped>,
}

/// Why a file could not be read at all. Nothing of it is used then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ImportError {
    /// Neither of the known kinds.
    #[error("{name} is no price catalogue: {why}")]
    Unrecognized {
        /// The file.
        name: String,
        /// What it looks like.
        why: &'static str,
    },
    /// Not well-formed.
    #[error("not well-formed JSON: {0}")]
    Json(String),
    /// One name, two prices.
    #[error("the file lists \"{0}\" twice; keep one of the two")]
    Duplicate(String),
    /// More entries than [`MOST_ENTRIES`].
    #[error("the file has {0} entries, at most {MOST_ENTRIES} are read; split it")]
    TooMany(usize),
    /// An object, but none of its entries is one.
    #[error(
        "a JSON object, but not a price map: none of its {0} entries is an object (expected {{\"model\": {{\"input_cost_per_token\": …}}}})"
    )]
    NotAPriceMap(usize),
    /// Entries whose prices cannot be understood, or are none.
    #[error("{}", refusal(.0))]
    Malformed(Vec<Skipped>),
    /// A fault in a rules file.
    #[error("{0}")]
    Rules(String),
    /// A fault in Tollgate's own format.
    #[error("line {line}: {what}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
}

/// What is wrong with which entries, and what to do about it.
fn refusal(malformed: &[Skipped]) -> String {
    let named = malformed.iter().take(NAMED);
    let mut lines: Vec<String> = named
        .map(|entry| format!("\n  {}: {}", entry.model.escape_debug(), entry.reason))
        .collect();
    match malformed.len().saturating_sub(NAMED) {
        0 => {}
        more => lines.push(format!("\n  and {more} more")),
    }
    let entries = match malformed.len() {
        1 => "1 entry is".to_owned(),
        many => format!("{many} entries are"),
    };
    format!(
        "{entries} malformed, so nothing of the file is used:{}\nMend these entries, or take them \
         out of the file, and give it again",
        lines.concat()
    )
}

/// Entries as they are read: drafts, those that are left out, and those for which the file is refused.
#[derive(Debug, Default)]
struct Sorted {
    drafts: Vec<PriceDraft>,
    skipped: Vec<Skipped>,
    malformed: Vec<Skipped>,
}

impl Sorted {
    fn push(&mut self, model: &str, read: Result<PriceDraft, Unusable>) {
        let model = model.to_owned();
        match read {
            Ok(draft) => self.drafts.push(draft),
            Err(Unusable::NotSold(reason)) => self.skipped.push(Skipped { model, reason }),
            Err(Unusable::Malformed(reason)) => self.malformed.push(Skipped { model, reason }),
        }
    }

    /// Drafts and entries that are left out, by name.
    ///
    /// # Errors
    /// [`ImportError::Malformed`] where an entry is.
    fn finish(mut self) -> Result<(Vec<PriceDraft>, Vec<Skipped>), ImportError> {
        if !self.malformed.is_empty() {
            return Err(ImportError::Malformed(self.malformed));
        }
        self.drafts.sort_by(|a, b| a.model.cmp(&b.model));
        self.skipped.sort_by(|a, b| a.model.cmp(&b.model));
        Ok((self.drafts, self.skipped))
    }
}

/// Reads a catalogue of any known kind, recognized by its content.
///
/// # Errors
/// [`ImportError::Unrecognized`] for other files, else what the reader of that kind finds.
pub(crate) fn read_any(name: &str, bytes: &[u8]) -> Result<Import, ImportError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let unrecognized = |why| {
        Err(ImportError::Unrecognized {
            name: name.to_owned(),
            why,
        })
    };
    if let Some(read) = by_extension(name) {
        let text = std::str::from_utf8(bytes).map_err(|e| ImportError::Line {
            line: 1,
            what: format!("not UTF-8: {e}"),
        })?;
        return Ok(all_of(read(text)?));
    }
    match bytes.trim_ascii_start().first() {
        Some(b'{') if own::is_own(bytes) => own::read(bytes).map(|(_, drafts)| all_of(drafts)),
        Some(b'{') if openrouter::is_list(bytes) => openrouter::read(bytes),
        Some(b'{') => litellm::read(bytes),
        Some(b'[') => unrecognized("it is a JSON array; a price map is an object, model by model"),
        None => unrecognized("it is empty"),
        Some(_) => unrecognized(
            "it is neither a LiteLLM price map or OpenRouter list (a JSON object), Tollgate's own catalogue (JSON Lines), nor named *.yaml or *.toml",
        ),
    }
}

/// Reads text into drafts.
type ReadText = fn(&str) -> Result<Vec<PriceDraft>, ImportError>;

/// The reader of a price book written by hand, where the file's name says that it is one.
fn by_extension(name: &str) -> Option<ReadText> {
    match extension(name) {
        "yaml" | "yml" => Some(handwritten::read_yaml),
        "toml" => Some(handwritten::read_toml),
        _ => None,
    }
}

/// What a file's name ends in.
fn extension(name: &str) -> &str {
    let extension = Path::new(name).extension();
    extension.and_then(|text| text.to_str()).unwrap_or_default()
}

/// An import in which every entry is a draft.
fn all_of(drafts: Vec<PriceDraft>) -> Import {
    Import {
        entries: drafts.len(),
        drafts,
        ..Import::default()
    }
}

/// The own-format catalogue that an import of this file makes, as it is shipped.
///
/// # Errors
/// As [`read_any`].
pub(crate) fn convert(name: &str, bytes: &[u8], made_on: Date) -> Result<String, ImportError> {
    let import = read_any(name, bytes)?;
    let header = own::Header {
        format: own::FORMAT,
        source: Path::new(name).file_name().map_or_else(
            || name.to_owned(),
            |file| file.to_string_lossy().into_owned(),
        ),
        source_sha256: hex(&Sha256::digest(bytes)),
        made_on,
        made_by: format!("tollgate {}", env!("CARGO_PKG_VERSION")),
        entries: import.entries,
        skipped: import.skipped.len(),
        models: import.drafts.len(),
    };
    own::write(&header, &import.drafts)
}

/// The models that Tollgate ships priced: the default catalogue and the simulated models.
///
/// # Errors
/// As [`own::read`]; a test keeps the shipped files readable.
pub(crate) fn shipped() -> Result<Vec<PriceDraft>, ImportError> {
    let (_, mut drafts) = own::read(include_bytes!("../../../data/catalogue.jsonl"))?;
    let (_, simulated) = own::read(include_bytes!("../../../data/simulated.jsonl"))?;
    drafts.extend(simulated);
    drafts.sort_by(|a, b| a.model.cmp(&b.model));
    if let Some(pair) = drafts
        .windows(2)
        .find(|pair| pair[0].model == pair[1].model)
    {
        return Err(ImportError::Duplicate(pair[0].model.to_string()));
    }
    Ok(drafts)
}

/// Bytes as hexadecimal text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String does not fail.
        write!(text, "{byte:02x}").unwrap_or(());
        text
    })
}

#[cfg(test)]
mod documented;
#[cfg(test)]
mod tests;
