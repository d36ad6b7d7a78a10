//! `tollgate prices import`: take over a file of prices, all of it or nothing.

use std::path::{Path, PathBuf};

use billing_core::port::clock::Clock;
use billing_core::price_book::{PriceBook, PriceDraft};
use billing_core::price_change::PriceChange;
use clap::Args;

use super::draft::{Draft, DraftArgs, edition_of, is_empty, line};
use super::{Place, book_as_it_is};
use crate::catalogue::{self, report::ImportReport};
use crate::cli::{CliError, migrate, say};
use crate::wiring::{Ports, open_ports};

/// How many changes a refusal names.
const NAMED: usize = 10;

/// Arguments of `prices import`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command"
)]
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    draft: DraftArgs,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Refuse a file that changes any price by more than so many percent, or takes one away
    #[arg(long, value_name = "PERCENT", default_value_t = 50)]
    max_change: u32,
    /// Take it over however much it changes
    #[arg(long)]
    confirm: bool,
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
pub(crate) async fn run(args: ImportArgs) -> Result<(), CliError> {
    if let Some(target) = &args.write {
        return convert(&args.draft.file, target);
    }
    let draft = if args.dry_run {
        let book = book_as_it_is(&args.place).await?;
        let mut id = i64::MAX >> 1;
        let draft = args
            .draft
            .read(&book, crate::clock::SystemClock.now(), || {
                id += 1;
                id
            })?;
        report(&args, &draft, &book);
        draft
    } else {
        let ports = open_ports(&args.place.config()?).await?;
        migrate::migrate(&ports.store).await?;
        let book = ports.catalogue.price_book().await?;
        let now = ports.clock.now();
        let draft = args.draft.read(&book, now, || ports.ids.next())?;
        guard(&args, &draft, &book)?;
        if !is_empty(&draft.edition) {
            ports.catalogue.record(draft.edition.clone(), now).await?;
        }
        report(&args, &draft, &book);
        draft
    };
    if args.dry_run && !args.json {
        let edition = &draft.edition;
        let rules = edition.sales.len() + edition.tiers.len();
        let versions = edition.versions.len();
        say(&format!(
            "dry run: nothing was changed ({versions} price versions and {rules} rules would be new)"
        ));
    }
    Ok(())
}

/// Refuses what changes too much, unless it is confirmed.
fn guard(args: &ImportArgs, draft: &Draft, book: &PriceBook) -> Result<(), CliError> {
    if args.confirm {
        return Ok(());
    }
    let later = book.amended(&draft.edition);
    let changes = book.changes(draft.from, &later, draft.from);
    let beyond: Vec<&PriceChange> = changes
        .iter()
        .filter(|change| change.is_beyond(args.max_change))
        .collect();
    if beyond.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = beyond.iter().take(NAMED).map(|c| line(c)).collect();
    Err(CliError::Argument(format!(
        "{} prices would change by more than {} %, so nothing was changed:\n  {}\nLook at all of \
         them with `tollgate prices diff`; then repeat with --confirm, or with a larger --max-change",
        beyond.len(),
        args.max_change,
        named.join("\n  ")
    )))
}

fn report(args: &ImportArgs, draft: &Draft, book: &PriceBook) {
    let Some(import) = &draft.import else {
        let (sales, tiers) = (draft.edition.sales.len(), draft.edition.tiers.len());
        say(&if args.json {
            serde_json::json!({"source": draft.name, "sale_rules": sales, "tier_schedules": tiers})
                .to_string()
        } else {
            format!("{}: {sales} sale rules, {tiers} tier schedules", draft.name)
        });
        return;
    };
    let report = ImportReport::new(&draft.name, import, book, draft.from);
    say(&if args.json {
        serde_json::to_string(&report).unwrap_or_default()
    } else if args.verbose {
        report.verbose().to_string()
    } else {
        report.to_string()
    });
}

/// Records what the drafts change in a book from now on; says how many versions are new.
pub(crate) async fn record(
    ports: &Ports,
    book: &PriceBook,
    drafts: Vec<PriceDraft>,
    source: String,
) -> Result<usize, CliError> {
    let now = ports.clock.now();
    let edition = edition_of(book, drafts, source, now, || ports.ids.next())?;
    let versions = edition.versions.len();
    if !is_empty(&edition) {
        ports.catalogue.record(edition, now).await?;
    }
    Ok(versions)
}

fn convert(file: &Path, target: &Path) -> Result<(), CliError> {
    let name = file.display().to_string();
    let bytes = std::fs::read(file).map_err(CliError::io(format!("cannot read {name}")))?;
    let today = crate::clock::SystemClock.now().date();
    let text = catalogue::convert(&name, &bytes, today)
        .map_err(|error| CliError::Import { file: name, error })?;
    let lines = text.lines().count().saturating_sub(1);
    std::fs::write(target, text)
        .map_err(CliError::io(format!("cannot write {}", target.display())))?;
    say(&format!("{lines} models written to {}", target.display()));
    Ok(())
}
