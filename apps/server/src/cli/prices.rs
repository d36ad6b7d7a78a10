//! `tollgate prices`: import catalogues, and show what a model costs and has cost.

use std::path::{Path, PathBuf};

use billing_core::id::PriceVersionId;
use billing_core::money::Currency;
use billing_core::port::catalogue::PriceEdition;
use billing_core::port::clock::Clock;
use billing_core::price::{Rate, Variant};
use billing_core::price_book::{PriceBook, PriceDraft, Revision};
use clap::{Args, Subcommand};
use serde::Serialize;
use sha2::{Digest, Sha256};
use time::format_description::well_known::Rfc3339;

use super::{CliError, Place, must_exist, progress, say};
use crate::catalogue::{
    self,
    report::{ImportReport, in_words},
};
use crate::wiring::{Ports, open_ports};

/// What can be done with prices.
#[derive(Debug, Subcommand)]
pub(crate) enum PricesCommand {
    /// Take over a price catalogue: LiteLLM's map or Tollgate's own format
    Import(ImportArgs),
    /// Show every price version of a model, the oldest first
    Show(ShowArgs),
}

/// Arguments of `prices show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    place: Place,
    /// The model, as calls name it
    model: String,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct ShownVersion<'a> {
    id: String,
    effective_from: String,
    currency: Currency,
    in_effect: bool,
    rates: &'a [Rate],
    #[serde(skip_serializing_if = "<[Variant]>::is_empty")]
    variants: &'a [Variant],
}

/// Arguments of `prices import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    place: Place,
    /// The catalogue
    file: PathBuf,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// List every entry that was not imported
    #[arg(long)]
    verbose: bool,
    /// Print the report as one line of JSON
    #[arg(long)]
    json: bool,
    /// Only convert to Tollgate's own format, into this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// Runs it.
pub(crate) async fn run(command: PricesCommand) -> Result<(), CliError> {
    match command {
        PricesCommand::Import(args) => import(args).await,
        PricesCommand::Show(args) => show(args).await,
    }
}

async fn show(args: ShowArgs) -> Result<(), CliError> {
    let ports = args.place.ports().await?;
    let book = ports.catalogue.price_book().await?;
    let model = book.get(&args.model).ok_or_else(|| {
        CliError::Argument(format!(
            "no catalogue that was imported lists the model {}",
            args.model
        ))
    })?;
    let now = ports.clock.now();
    let in_effect = model.version_at(now).map(|version| version.id());
    let shown = model.versions().iter().map(|version| ShownVersion {
        id: version.id().to_string(),
        effective_from: version
            .effective_from()
            .format(&Rfc3339)
            .unwrap_or_default(),
        currency: version.currency(),
        in_effect: in_effect == Some(version.id()),
        rates: version.rates(),
        variants: version.variants(),
    });
    if args.json {
        let shown: Vec<_> = shown.collect();
        say(&serde_json::to_string(&shown).unwrap_or_default());
        return Ok(());
    }
    for (shown, version) in shown.zip(model.versions()) {
        let mark = if shown.in_effect { "  in effect" } else { "" };
        say(&format!(
            "{}  from {}{mark}  {}",
            shown.id,
            shown.effective_from,
            in_words(version.currency(), version.rates(), version.variants())
        ));
    }
    Ok(())
}

/// The prices that are there, for a run that changes nothing: none where there is no database.
async fn book_as_it_is(place: &Place) -> Result<PriceBook, CliError> {
    if must_exist(&place.config()?).is_err() {
        return Ok(PriceBook::default());
    }
    Ok(place.ports().await?.catalogue.price_book().await?)
}

async fn import(args: ImportArgs) -> Result<(), CliError> {
    let name = args.file.display().to_string();
    let bytes = std::fs::read(&args.file).map_err(CliError::io(format!("cannot read {name}")))?;
    let wrong = |error| CliError::Import {
        file: name.clone(),
        error,
    };
    if let Some(target) = &args.write {
        return convert(&args.file, &bytes, target);
    }
    let import = catalogue::read_any(&name, &bytes).map_err(wrong)?;
    let now = crate::clock::SystemClock.now();
    let report = if args.dry_run {
        let book = book_as_it_is(&args.place).await?;
        ImportReport::new(&name, &import, &book, now)
    } else {
        let ports = open_ports(&args.place.config()?).await?;
        super::migrate::migrate(&ports.store).await?;
        let book = ports.catalogue.price_book().await?;
        let report = ImportReport::new(&name, &import, &book, now);
        let source = format!("{name} sha256:{}", hex(&Sha256::digest(&bytes)));
        record(&ports, &book, import.drafts, source).await?;
        report
    };
    say(&if args.json {
        serde_json::to_string(&report).unwrap_or_default()
    } else if args.verbose {
        report.verbose().to_string()
    } else {
        report.to_string()
    });
    if args.dry_run && !args.json {
        say("dry run: nothing was changed");
    }
    Ok(())
}

/// Records what the drafts change in a book; says how many versions are new.
pub(crate) async fn record(
    ports: &Ports,
    book: &PriceBook,
    drafts: Vec<PriceDraft>,
    source: String,
) -> Result<usize, CliError> {
    let now = ports.clock.now();
    let bar = progress(u64::try_from(drafts.len()).unwrap_or(0), "models");
    let mut edition = PriceEdition {
        source,
        ..PriceEdition::default()
    };
    for draft in drafts {
        bar.inc(1);
        match book.compare(&draft, now) {
            Revision::Unchanged => {}
            Revision::NewFacts => {
                edition
                    .facts
                    .push((draft.model.as_str().to_owned(), draft.facts));
            }
            Revision::NewModel | Revision::NewPrice => {
                let facts = draft.facts.clone();
                let model = draft.model.clone();
                let version = draft
                    .into_version(PriceVersionId::new(ports.ids.next()), now)
                    .map_err(|error| CliError::Argument(format!("{model}: {error}")))?;
                edition.versions.push((version, facts));
            }
        }
    }
    let versions = edition.versions.len();
    if versions > 0 || !edition.facts.is_empty() {
        ports.catalogue.record(edition, now).await?;
    }
    bar.finish_and_clear();
    Ok(versions)
}

fn convert(file: &Path, bytes: &[u8], target: &Path) -> Result<(), CliError> {
    let name = file.display().to_string();
    let today = crate::clock::SystemClock.now().date();
    let text = catalogue::convert(&name, bytes, today)
        .map_err(|error| CliError::Import { file: name, error })?;
    let lines = text.lines().count().saturating_sub(1);
    std::fs::write(target, text)
        .map_err(CliError::io(format!("cannot write {}", target.display())))?;
    say(&format!("{lines} models written to {}", target.display()));
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes.iter().fold(String::new(), |mut text, byte| {
        if write!(text, "{byte:02x}").is_err() {
            tracing::debug!("a string takes what is written to it");
        }
        text
    })
}
