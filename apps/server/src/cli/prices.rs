//! `tollgate prices import`.

use std::path::{Path, PathBuf};

use billing_core::id::PriceVersionId;
use billing_core::port::catalogue::PriceEdition;
use billing_core::price_book::{PriceBook, PriceDraft, Revision};
use clap::{Args, Subcommand};
use sha2::{Digest, Sha256};

use super::{CliError, Place, progress, say};
use crate::catalogue::{self, report::ImportReport};
use crate::wiring::{Ports, open_ports};

/// What can be done with prices.
#[derive(Debug, Subcommand)]
pub(crate) enum PricesCommand {
    /// Take over a price catalogue: LiteLLM's map or Tollgate's own format
    Import(ImportArgs),
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
pub(crate) async fn run(PricesCommand::Import(args): PricesCommand) -> Result<(), CliError> {
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
    let ports = open_ports(&args.place.config()?).await?;
    super::migrate::migrate(&ports.store).await?;
    let book = ports.catalogue.price_book().await?;
    let report = ImportReport::new(&name, &import, &book, ports.clock.now());
    if !args.dry_run {
        let source = format!("{name} sha256:{}", hex(&Sha256::digest(&bytes)));
        record(&ports, &book, import.drafts, source).await?;
    }
    say(&if args.json {
        serde_json::to_string(&report).unwrap_or_default()
    } else if args.verbose {
        report.verbose().to_string()
    } else {
        report.to_string()
    });
    if args.dry_run {
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
    use billing_core::port::clock::Clock;

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
