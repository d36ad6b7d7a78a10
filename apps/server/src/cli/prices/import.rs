//! `tollgate prices import`: take over a file of prices, all of it or nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use billing_core::port::clock::Clock;
use billing_core::port::directory::Directory;
use billing_core::price_book::{PriceBook, PriceDraft};
use billing_core::price_change::{PriceChange, TierChange};
use billing_core::reach::Audience;
use billing_core::sale::SalePrice;
use clap::Args;

use super::draft::{Draft, DraftArgs, edition_of, is_empty, line};
use super::tiers::change_in_words;
use super::{Place, book_as_it_is};
use crate::catalogue::{self, report::ImportReport};
use crate::cli::{CliError, migrate, say};
use crate::clock::SystemClock;
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
        let draft = args.draft.read(&book, &SystemClock, || {
            id += 1;
            id
        })?;
        report(&args, &draft, &book);
        draft
    } else {
        let ports = open_ports(&args.place.config()?).await?;
        migrate::migrate(&ports.store).await?;
        let book = ports.catalogue.price_book().await?;
        let read = args.draft.read(&book, &*ports.clock, || ports.ids.next());
        let mut draft = read?;
        known_accounts(&*ports.directory, &draft).await?;
        guard(&args, &draft, &book)?;
        if !is_empty(&draft.edition) {
            let now = ports.clock.now();
            if args.draft.from.is_none() {
                draft.hold_after(&book, now);
            }
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

/// Refuses rules for accounts that do not exist, or whose wallets are in another currency: their calls
/// would be refused, and their windows never closed.
async fn known_accounts(directory: &dyn Directory, draft: &Draft) -> Result<(), CliError> {
    let sales = draft.edition.sales.iter().map(|rule| match &rule.price {
        SalePrice::Fixed { currency, .. } => ("sale rule", &rule.reach, Some(*currency)),
        SalePrice::Markup { .. } | SalePrice::Withdrawn => ("sale rule", &rule.reach, None),
    });
    let tiers = draft.edition.tiers.iter().map(|schedule| {
        let currency = schedule.terms.as_ref().map(|terms| terms.currency);
        ("tier schedule", &schedule.reach, currency)
    });
    let mut wallets = BTreeMap::new();
    for (kind, reach, currency) in sales.chain(tiers) {
        let Audience::Account(id) = reach.audience else {
            continue;
        };
        let refused = |why: String| {
            let file = &draft.name;
            CliError::Argument(format!("{file}: the {kind} {reach}: {why}"))
        };
        let wallet = if let Some(wallet) = wallets.get(&id) {
            *wallet
        } else {
            let account = directory.account(id).await?;
            let unknown = || {
                let list = "`tollgate accounts list` lists those that there are";
                refused(format!("there is no account {id}; {list}"))
            };
            let wallet = account.ok_or_else(unknown)?.currency;
            wallets.insert(id, wallet);
            wallet
        };
        if let Some(currency) = currency.filter(|currency| *currency != wallet) {
            return Err(refused(format!(
                "it is in {currency}, but the wallet of the account is in {wallet}; state it in \
                 {wallet}"
            )));
        }
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
    let tiers = book.tier_changes(&draft.edition);
    let tiers: Vec<&TierChange> = tiers
        .iter()
        .filter(|change| change.is_beyond(args.max_change))
        .collect();
    if beyond.is_empty() && tiers.is_empty() {
        return Ok(());
    }
    let mut named: Vec<String> = beyond.iter().take(NAMED).map(|c| line(c)).collect();
    let schedules = tiers.iter().take(NAMED);
    named.extend(schedules.flat_map(|change| change_in_words(change, draft.from)));
    Err(CliError::Argument(format!(
        "{} prices would change by more than {} %, and {} tier schedules too, or charge otherwise \
         than by the list, so nothing was changed:\n  {}\nLook at all of \
         them with `tollgate prices diff`; then repeat with --confirm, or with a larger --max-change",
        beyond.len(),
        args.max_change,
        tiers.len(),
        named.join("\n  ")
    )))
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
    if args.json {
        let anew: Vec<String> = anew.map(|change| change.reach.to_string()).collect();
        let report = serde_json::json!({
            "source": draft.name, "sale_rules": sales, "tier_schedules": tiers,
            "unchanged": draft.unchanged, "begin_anew": anew,
        });
        return report.to_string();
    }
    let unchanged = draft.unchanged;
    let mut lines = vec![format!(
        "{}: {sales} sale rules, {tiers} tier schedules; {unchanged} unchanged",
        draft.name
    )];
    lines.extend(anew.flat_map(|change| change_in_words(change, draft.from)));
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
