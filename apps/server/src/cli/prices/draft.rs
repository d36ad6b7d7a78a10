//! What a file of prices would add to the price book.

use std::path::Path;

use billing_core::id::PriceVersionId;
use billing_core::port::catalogue::PriceEdition;
use billing_core::price_book::{PriceBook, PriceDraft, Revision};
use billing_core::price_change::PriceChange;
use clap::Args;
use sha2::{Digest, Sha256};
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime};

use super::super::{CliError, progress};
use crate::catalogue::{self, Import, rules};

/// Which file, and from when on what it states holds.
#[derive(Debug, Args)]
pub(super) struct DraftArgs {
    /// A catalogue, or a file of sale rules and tier schedules
    pub(super) file: std::path::PathBuf,
    /// From when on it holds: 2026-12-01 (midnight UTC) or 2026-12-01T08:00:00+08:00 [default: now]
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
}

impl DraftArgs {
    /// Reads the file as an addition to a book.
    ///
    /// # Errors
    /// [`CliError`], with what is wrong with the file or with what it would add.
    pub(super) fn read(
        &self,
        book: &PriceBook,
        now: OffsetDateTime,
        next_id: impl FnMut() -> i64,
    ) -> Result<Draft, CliError> {
        let name = self.file.display().to_string();
        let cannot = CliError::io(format!("cannot read {name}"));
        let bytes = std::fs::read(&self.file).map_err(cannot)?;
        let from = self.from.unwrap_or(now);
        let draft = parse(&self.file, &bytes, book, from, next_id)?;
        book.check(&draft.edition, now)
            .map_err(|error| CliError::Argument(format!("{name}: {error}")))?;
        Ok(draft)
    }
}

fn parse(
    file: &Path,
    bytes: &[u8],
    book: &PriceBook,
    from: OffsetDateTime,
    mut next_id: impl FnMut() -> i64,
) -> Result<Draft, CliError> {
    let name = file.display().to_string();
    let wrong = |error| CliError::Import {
        file: name.clone(),
        error,
    };
    let source = format!("{name} sha256:{}", catalogue::hex(&Sha256::digest(bytes)));
    if rules::is_rules(&name, bytes) {
        let file = rules::read(&name, bytes).map_err(wrong)?;
        let (sales, tiers) = file.into_rules(from, next_id).map_err(wrong)?;
        let edition = PriceEdition {
            source,
            sales,
            tiers,
            ..PriceEdition::default()
        };
        let import = None;
        return Ok(Draft {
            name,
            edition,
            import,
            from,
        });
    }
    let import = catalogue::read_any(&name, bytes).map_err(wrong)?;
    let edition = edition_of(book, import.drafts.clone(), source, from, &mut next_id)?;
    let import = Some(import);
    Ok(Draft {
        name,
        edition,
        import,
        from,
    })
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
pub(super) fn instant(text: &str) -> Result<OffsetDateTime, String> {
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
