//! `tollgate prices import`: take over a file of prices, all of it or nothing.

use std::path::{Path, PathBuf};

use billing_core::port::clock::Clock;
use billing_core::price_book::{PriceBook, PriceDraft};
use clap::Args;

use super::date_of;
use super::draft::{Draft, DraftArgs, edition_of, is_empty};
use super::review::{REACHES_NOTHING, known_accounts, not_too_much, reach_nothing};
use super::tiers::change_in_words;
use super::{Place, as_it_is};
use crate::catalogue::{self, report::ImportReport};
use crate::cli::{CliError, migrate, say};
use crate::clock::SystemClock;
use crate::wiring::{Ports, open_ports};

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
    if args.dry_run {
        let (book, ports) = as_it_is(&args.place).await?;
        let mut id = i64::MAX >> 1;
        let draft = args.draft.read(&book, date_of(ports.as_ref()), || {
            id += 1;
            id
        })?;
        known_accounts(ports.as_ref().map(|ports| &*ports.directory), &draft).await?;
        report(&args, &draft, &book);
        if !args.json {
            let edition = &draft.edition;
            let rules = edition.sales.len() + edition.tiers.len();
            let versions = edition.versions.len();
            say(&format!(
                "dry run: nothing was changed ({versions} price versions and {rules} rules would be \
                 new)"
            ));
        }
        guard(&args, &draft, &book)
    } else {
        let ports = open_ports(&args.place.config()?).await?;
        migrate::migrate(&ports).await?;
        let book = ports.catalogue.price_book().await?;
        let read = args.draft.read(&book, &*ports.clock, || ports.ids.next());
        let mut draft = read?;
        known_accounts(Some(&*ports.directory), &draft).await?;
        guard(&args, &draft, &book)?;
        if !is_empty(&draft.edition) {
            let now = ports.clock.now();
            if args.draft.from.is_none() {
                draft.hold_after(&book, now);
            }
            ports.catalogue.record(draft.edition.clone(), now).await?;
        }
        report(&args, &draft, &book);
        Ok(())
    }
}

/// Refuses what changes too much, unless it is confirmed.
fn guard(args: &ImportArgs, draft: &Draft, book: &PriceBook) -> Result<(), CliError> {
    if args.confirm {
        return Ok(());
    }
    not_too_much(draft, book, args.max_change)
}

fn report(args: &ImportArgs, draft: &Draft, book: &PriceBook) {
    let Some(import) = &draft.import else {
        say(&rules_report(args, draft, book));
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

/// What became of a file of rules.
fn rules_report(args: &ImportArgs, draft: &Draft, book: &PriceBook) -> String {
    let (sales, tiers) = (draft.edition.sales.len(), draft.edition.tiers.len());
    let changes = book.tier_changes(&draft.edition);
    let anew = changes.iter().filter(|change| change.begins_anew());
    let nothing = reach_nothing(draft, book);
    if args.json {
        let anew: Vec<String> = anew.map(|change| change.reach.to_string()).collect();
        let report = serde_json::json!({
            "source": draft.name, "sale_rules": sales, "tier_schedules": tiers,
            "unchanged": draft.unchanged, "begin_anew": anew,
            "reach_no_model": nothing,
        });
        return report.to_string();
    }
    let unchanged = draft.unchanged;
    let mut lines = vec![format!(
        "{}: {sales} sale rules, {tiers} tier schedules; {unchanged} unchanged",
        draft.name
    )];
    lines.extend(anew.flat_map(|change| change_in_words(change, draft.from)));
    lines.extend(
        nothing
            .iter()
            .map(|rule| format!("{rule} {REACHES_NOTHING}")),
    );
    lines.join("\n")
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
    let edition = book.after_notice(edition, now);
    let versions = edition.versions.len();
    if !is_empty(&edition) {
        ports.catalogue.record(edition, now).await?;
    }
    Ok(versions)
}

fn convert(file: &Path, target: &Path) -> Result<(), CliError> {
    let name = file.display().to_string();
    let bytes = std::fs::read(file).map_err(CliError::io(format!("cannot read {name}")))?;
    let today = SystemClock.now().date();
    let text = catalogue::convert(&name, &bytes, today)
        .map_err(|error| CliError::Import { file: name, error })?;
    let lines = text.lines().count().saturating_sub(1);
    std::fs::write(target, text)
        .map_err(CliError::io(format!("cannot write {}", target.display())))?;
    say(&format!("{lines} models written to {}", target.display()));
    Ok(())
}
