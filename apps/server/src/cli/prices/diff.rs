//! `tollgate prices diff`: what a file would change, and for whom.

use billing_core::port::clock::Clock;
use billing_core::price_change::PriceChange;
use clap::Args;
use serde::Serialize;

use super::draft::{Draft, DraftArgs, line};
use super::{Place, book_as_it_is};
use crate::cli::{CliError, say};

/// How many changes the short report names.
const NAMED: usize = 40;

/// Arguments of `prices diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    draft: DraftArgs,
    /// Name every change
    #[arg(long)]
    verbose: bool,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    source: &'a str,
    effective_from: String,
    new_versions: usize,
    new_sale_rules: usize,
    new_tier_schedules: usize,
    changes: Vec<ShownChange>,
}

#[derive(Debug, Serialize)]
struct ShownChange {
    audience: String,
    model: String,
    rate: String,
    old: Option<String>,
    new: Option<String>,
    percent: Option<i64>,
}

/// Runs it.
pub(crate) async fn run(args: DiffArgs) -> Result<(), CliError> {
    let book = book_as_it_is(&args.place).await?;
    let now = crate::clock::SystemClock.now();
    let mut id = i64::MAX >> 1;
    let draft = args.draft.read(&book, now, || {
        id += 1;
        id
    })?;
    // What holds at the same instant with the file and without it.
    let later = book.amended(&draft.edition);
    let changes = book.changes(draft.from, &later, draft.from);
    say(&if args.json {
        serde_json::to_string(&shown(&draft, &changes)).unwrap_or_default()
    } else {
        let most = if args.verbose { usize::MAX } else { NAMED };
        in_words(&draft, &changes, most)
    });
    Ok(())
}

fn shown<'a>(draft: &'a Draft, changes: &[PriceChange]) -> Shown<'a> {
    let price = |side: Option<(
        billing_core::price::UnitPrice,
        billing_core::money::Currency,
    )>| { side.map(|(price, currency)| format!("{price} {currency}")) };
    let change = |change: &PriceChange| ShownChange {
        audience: change.audience.to_string(),
        model: change.model.to_string(),
        rate: change.rate.to_string(),
        old: price(change.old),
        new: price(change.new),
        percent: change.percent(),
    };
    Shown {
        source: &draft.name,
        effective_from: draft
            .from
            .format(&time::format_description::well_known::Rfc3339)
            .unwrap_or_default(),
        new_versions: draft.edition.versions.len(),
        new_sale_rules: draft.edition.sales.len(),
        new_tier_schedules: draft.edition.tiers.len(),
        changes: changes.iter().map(change).collect(),
    }
}

fn in_words(draft: &Draft, changes: &[PriceChange], most: usize) -> String {
    let mut lines = vec![format!(
        "{}: {} new price versions, {} sale rules, {} tier schedules; {} prices change",
        draft.name,
        draft.edition.versions.len(),
        draft.edition.sales.len(),
        draft.edition.tiers.len(),
        changes.len()
    )];
    let named = changes.iter().take(most);
    lines.extend(named.map(|change| format!("  {}", line(change))));
    if changes.len() > most {
        let more = changes.len() - most;
        lines.push(format!("  and {more} more; --verbose names all"));
    }
    for schedule in &draft.edition.tiers {
        lines.push(format!(
            "  tier schedule {}: {}",
            schedule.id, schedule.reach
        ));
    }
    lines.join("\n")
}
