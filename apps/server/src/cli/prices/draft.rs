//! What a file of prices would add to the price book.

use billing_core::id::PriceVersionId;
use billing_core::port::catalogue::PriceEdition;
use billing_core::port::clock::Clock;
use billing_core::price_book::{PriceBook, PriceDraft, Revision};
use billing_core::price_change::{NOTICE, PriceChange};
use clap::Args;
use sha2::{Digest, Sha256};
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime};

use super::super::{CliError, progress};
use crate::catalogue::rules::{self, RulesFile};
use crate::catalogue::{self, Import, ImportError};

/// Which file, and from when on what it states holds.
#[derive(Debug, Args)]
pub(super) struct DraftArgs {
    /// A catalogue, or a file of sale rules and tier schedules
    pub(super) file: std::path::PathBuf,
    /// From when on it holds: 2026-12-01 (midnight UTC) or 2026-12-01T08:00:00+08:00 [default: two
    /// seconds after it is recorded, when every node knows it; the first price of a model, at once]
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    pub(super) from: Option<OffsetDateTime>,
}

/// A file as it was read.
#[derive(Debug)]
pub(super) struct Draft {
    /// The file.
    pub(super) name: String,
    /// What it adds.
    pub(super) edition: PriceEdition,
    /// What was read of a catalogue; `None` for a file of rules.
    pub(super) import: Option<Import>,
    /// From when on it holds.
    pub(super) from: OffsetDateTime,
    /// How many of its rules say what holds already, and are not in the edition.
    pub(super) unchanged: usize,
}

impl DraftArgs {
    /// Reads the file as an addition to a book.
    ///
    /// # Errors
    /// [`CliError`], with what is wrong with the file or with what it would add.
    pub(super) fn read(
        &self,
        book: &PriceBook,
        clock: &dyn Clock,
        next_id: impl FnMut() -> i64,
    ) -> Result<Draft, CliError> {
        let name = self.file.display().to_string();
        let cannot = CliError::io(format!("cannot read {name}"));
        let bytes = std::fs::read(&self.file).map_err(cannot)?;
        let parsed = parse(&name, &bytes)?;
        // To read a large file takes its time.
        let now = clock.now();
        let from = self.from.unwrap_or(now.saturating_add(NOTICE));
        let (edition, import) = parsed.into_edition(&name, &bytes, book, from, next_id)?;
        let (edition, unchanged) = book.without_unchanged(edition);
        let mut draft = Draft {
            name,
            edition,
            import,
            from,
            unchanged,
        };
        if self.from.is_none() {
            draft.hold_after(book, now);
        }
        let checked = book.check(&draft.edition, now);
        checked.map_err(|error| CliError::Argument(format!("{}: {error}", draft.name)))?;
        Ok(draft)
    }
}

impl Draft {
    /// Lets it take effect as soon after an instant as every node knows it.
    pub(super) fn hold_after(&mut self, book: &PriceBook, now: OffsetDateTime) {
        let edition = std::mem::take(&mut self.edition);
        self.edition = book.after_notice(edition, now);
        self.from = now.saturating_add(NOTICE);
    }
}

/// A file as it was read, before it is compared with what there is.
enum Parsed {
    Rules(RulesFile),
    Catalogue(Import),
}

fn parse(name: &str, bytes: &[u8]) -> Result<Parsed, CliError> {
    let read = if rules::is_rules(name, bytes) {
        rules::read(name, bytes).map(Parsed::Rules)
    } else {
        catalogue::read_any(name, bytes).map(Parsed::Catalogue)
    };
    read.map_err(wrong(name))
}

fn wrong(name: &str) -> impl Fn(ImportError) -> CliError {
    |error| CliError::Import {
        file: name.to_owned(),
        error,
    }
}

impl Parsed {
    fn into_edition(
        self,
        name: &str,
        bytes: &[u8],
        book: &PriceBook,
        from: OffsetDateTime,
        next_id: impl FnMut() -> i64,
    ) -> Result<(PriceEdition, Option<Import>), CliError> {
        let source = format!("{name} sha256:{}", catalogue::hex(&Sha256::digest(bytes)));
        match self {
            Self::Rules(file) => {
                let (sales, tiers) = file.into_rules(from, next_id).map_err(wrong(name))?;
                let edition = PriceEdition {
                    source,
                    sales,
                    tiers,
                    ..PriceEdition::default()
                };
                Ok((edition, None))
            }
            Self::Catalogue(import) => {
                let edition = edition_of(book, import.drafts.clone(), source, from, next_id)?;
                Ok((edition, Some(import)))
            }
        }
    }
}

/// What drafts of a catalogue change in a book, from an instant on.
pub(super) fn edition_of(
    book: &PriceBook,
    drafts: Vec<PriceDraft>,
    source: String,
    from: OffsetDateTime,
    mut next_id: impl FnMut() -> i64,
) -> Result<PriceEdition, CliError> {
    let bar = progress(u64::try_from(drafts.len()).unwrap_or(0), "models");
    let mut edition = PriceEdition {
        source,
        ..PriceEdition::default()
    };
    for draft in drafts {
        bar.inc(1);
        match book.compare(&draft, from) {
            Revision::Unchanged => {}
            Revision::NewFacts => {
                let model = draft.model.as_str().to_owned();
                edition.facts.push((model, draft.facts));
            }
            Revision::NewModel | Revision::NewPrice => {
                let (facts, model) = (draft.facts.clone(), draft.model.clone());
                let version = draft
                    .into_version(PriceVersionId::new(next_id()), from)
                    .map_err(|error| CliError::Argument(format!("{model}: {error}")))?;
                edition.versions.push((version, facts));
            }
        }
    }
    bar.finish_and_clear();
    Ok(edition)
}

/// Whether there is anything in an edition.
pub(super) fn is_empty(edition: &PriceEdition) -> bool {
    edition.versions.is_empty()
        && edition.facts.is_empty()
        && edition.sales.is_empty()
        && edition.tiers.is_empty()
}

/// An instant as people write it.
///
/// # Errors
/// What is expected instead.
pub(crate) fn instant(text: &str) -> Result<OffsetDateTime, String> {
    let day = time::macros::format_description!("[year]-[month]-[day]");
    if let Ok(day) = Date::parse(text, day) {
        return Ok(day.midnight().assume_utc());
    }
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
        "expected a day such as 2026-12-01 or an instant such as 2026-12-01T08:00:00Z".to_owned()
    })
}

/// A change as one line.
pub(super) fn line(change: &PriceChange) -> String {
    let price = |side: Option<(billing_core::price::UnitPrice, _)>| {
        side.map_or_else(
            || "no price".to_owned(),
            |(price, currency): (_, billing_core::money::Currency)| format!("{price} {currency}"),
        )
    };
    let percent = change.percent().map(|percent| format!("  {percent:+} %"));
    format!(
        "{} for {}: {}: {} -> {}{}",
        change.model,
        change.audience,
        change.rate,
        price(change.old),
        price(change.new),
        percent.unwrap_or_default()
    )
}
