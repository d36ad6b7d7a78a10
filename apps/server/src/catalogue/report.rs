//! What an import did, for people and for scripts.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use billing_core::money::Currency;
use billing_core::price::{Rate, ServiceTier, Variant};
use billing_core::price_book::{PriceBook, Revision};
use serde::Serialize;
use time::OffsetDateTime;

use super::Import;

/// An entry without a usable price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Skipped {
    /// The entry's name.
    pub(crate) model: String,
    /// Why. The words before the first colon are the same for the same cause.
    pub(crate) reason: String,
}

/// Why an entry gives no price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It is well-formed, but nothing that can be sold: it is left out and reported.
    NotSold(String),
    /// Somebody's mistake: nothing of the file is used.
    Malformed(String),
}

impl Unusable {
    /// Something that is not sold, and why.
    pub(crate) fn not_sold(reason: impl Into<String>) -> Self {
        Self::NotSold(reason.into())
    }
}

impl From<String> for Unusable {
    /// A fault is a mistake, unless it is said to be none.
    fn from(fault: String) -> Self {
        Self::Malformed(fault)
    }
}

impl Skipped {
    /// The cause without its particulars.
    pub(crate) fn cause(&self) -> &str {
        let cause = self.reason.split_once(": ");
        cause.map_or(self.reason.as_str(), |(cause, _)| cause)
    }
}

/// A decision that an import took, and the models that it touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Note {
    /// What was decided.
    pub(crate) text: String,
    /// For which models.
    pub(crate) models: Vec<String>,
}

/// A key about money that was not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Unmapped {
    /// In how many entries it stands.
    pub(crate) count: usize,
    /// Why it is not used.
    pub(crate) reason: String,
}

/// A model that costs something else from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Changed {
    /// The model.
    pub(crate) model: String,
    /// What it cost.
    pub(crate) old: String,
    /// What it costs.
    pub(crate) new: String,
}

/// How many changed models the short report names.
const NAMED: usize = 20;

/// How many conditions are named in words.
const CONDITIONS: usize = 4;

/// Rates in words: what a unit of each meter costs, the plain ones first, then under which
/// conditions it costs something else.
pub(crate) fn in_words(currency: Currency, rates: &[Rate], variants: &[Variant]) -> String {
    let is_plain = |rate: &&Rate| rate.above.is_none() && rate.tier == ServiceTier::Standard;
    let plain = rates.iter().filter(is_plain);
    let mut words: Vec<String> = plain
        .map(|rate| format!("{} {}", rate.meter.name(), rate.price))
        .collect();
    let more = rates.len() - words.len();
    if more > 0 {
        words.push(format!("{more} more for long prompts or other tiers"));
    }
    let named = variants.iter().take(CONDITIONS);
    let mut conditions: Vec<String> = named.map(|variant| variant.when.to_string()).collect();
    match variants.len().saturating_sub(CONDITIONS) {
        0 => {}
        more => conditions.push(format!("{more} more")),
    }
    if !conditions.is_empty() {
        words.push(format!("others for [{}]", conditions.join("] [")));
    }
    format!("{} {currency}", words.join(", "))
}

/// The outcome of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ImportReport {
    /// The file.
    pub(crate) source: String,
    /// Its entries: imported and skipped ones.
    pub(crate) entries: usize,
    /// Entries with a price; the sum of the next four.
    pub(crate) imported: usize,
    /// Priced as before.
    pub(crate) unchanged: usize,
    /// Not known before.
    pub(crate) new_models: usize,
    /// Known at another price: a new version each.
    pub(crate) new_prices: usize,
    /// Known at this price; something else is said of them now.
    pub(crate) new_facts: usize,
    /// The models that are known at another price.
    pub(crate) changed: Vec<Changed>,
    /// Entries without a usable price.
    pub(crate) skipped: Vec<Skipped>,
    /// What was decided on the way.
    pub(crate) notes: Vec<Note>,
    /// Keys about money that were not used.
    pub(crate) unmapped_keys: BTreeMap<String, Unmapped>,
}

impl ImportReport {
    /// What an import changes in a book, should it take effect at an instant.
    pub(crate) fn new(source: &str, import: &Import, book: &PriceBook, at: OffsetDateTime) -> Self {
        let mut revisions: BTreeMap<Revision, usize> = BTreeMap::new();
        let mut changed = Vec::new();
        for draft in &import.drafts {
            let revision = book.compare(draft, at);
            *revisions.entry(revision).or_default() += 1;
            if revision == Revision::NewPrice {
                let model = draft.model.as_str();
                let old = book.get(model).and_then(|known| known.version_at(at));
                changed.push(Changed {
                    model: model.to_owned(),
                    old: old.map_or_else(
                        || "no price in effect".to_owned(),
                        |old| in_words(old.currency(), old.rates(), old.variants()),
                    ),
                    new: in_words(draft.currency, &draft.rates, &draft.variants),
                });
            }
        }
        let count = |revision| revisions.get(&revision).copied().unwrap_or(0);
        Self {
            source: source.to_owned(),
            entries: import.entries,
            imported: import.drafts.len(),
            unchanged: count(Revision::Unchanged),
            new_models: count(Revision::NewModel),
            new_prices: count(Revision::NewPrice),
            new_facts: count(Revision::NewFacts),
            changed,
            skipped: import.skipped.clone(),
            notes: import.notes.clone(),
            unmapped_keys: import.unmapped_keys.clone(),
        }
    }

    /// How many entries each cause kept out, the commonest first.
    pub(crate) fn causes(&self) -> Vec<(&str, usize)> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for skipped in &self.skipped {
            *counts.entry(skipped.cause()).or_default() += 1;
        }
        let mut causes: Vec<_> = counts.into_iter().collect();
        causes.sort_by_key(|(cause, n)| (std::cmp::Reverse(*n), *cause));
        causes
    }

    /// The whole report, with every entry that was skipped and every model that a note touches.
    pub(crate) fn verbose(&self) -> impl fmt::Display + '_ {
        Verbose(self)
    }

    fn summary(&self, f: &mut impl Write) -> fmt::Result {
        let Self {
            source,
            entries,
            imported,
            ..
        } = self;
        writeln!(
            f,
            "{source}: {entries} entries, {imported} imported, {} not",
            self.skipped.len()
        )?;
        writeln!(
            f,
            "  {} new models, {} new prices, {} new facts, {} unchanged",
            self.new_models, self.new_prices, self.new_facts, self.unchanged
        )
    }

    fn changes(&self, f: &mut impl Write, most: usize) -> fmt::Result {
        if !self.changed.is_empty() {
            writeln!(f, "New prices, for one unit each:")?;
        }
        for Changed { model, old, new } in self.changed.iter().take(most) {
            writeln!(f, "  {model}: {old} -> {new}")?;
        }
        match self.changed.len().saturating_sub(most) {
            0 => Ok(()),
            more => writeln!(f, "  and {more} more; --verbose names all"),
        }
    }

    fn keys(&self, f: &mut impl Write) -> fmt::Result {
        if !self.unmapped_keys.is_empty() {
            writeln!(f, "Not used, key by key:")?;
        }
        for (key, Unmapped { count, reason }) in &self.unmapped_keys {
            writeln!(f, "  {count:>5}  {key}: {reason}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ImportReport {
    /// The summary, the causes and the notes with their counts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summary(f)?;
        self.changes(f, NAMED)?;
        if !self.skipped.is_empty() {
            writeln!(f, "Not imported:")?;
        }
        for (cause, n) in self.causes() {
            writeln!(f, "  {n:>5}  {cause}")?;
        }
        if !self.notes.is_empty() {
            writeln!(f, "Decided:")?;
        }
        for note in &self.notes {
            writeln!(f, "  {:>5}  {}", note.models.len(), note.text)?;
        }
        self.keys(f)
    }
}

struct Verbose<'a>(&'a ImportReport);

impl fmt::Display for Verbose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        report.summary(f)?;
        report.changes(f, usize::MAX)?;
        if !report.skipped.is_empty() {
            writeln!(f, "Not imported:")?;
        }
        for Skipped { model, reason } in &report.skipped {
            writeln!(f, "  {model}: {reason}")?;
        }
        for note in &report.notes {
            writeln!(f, "{}:", note.text)?;
            for model in &note.models {
                writeln!(f, "  {model}")?;
            }
        }
        report.keys(f)
    }
}
