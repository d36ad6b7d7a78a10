//! `tollgate prices diff`: what a file would change, and for whom.

use billing_core::price_change::{PriceChange, TierChange};
use clap::Args;
use serde::Serialize;

use super::date_of;
use super::draft::{Draft, DraftArgs, line};
use super::review::{REACHES_NOTHING, known_accounts, reach_nothing};
use super::tiers::{change_in_words, terms_in_words};
use super::{Place, as_it_is};
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
    unchanged_rules: usize,
    changes: Vec<ShownChange>,
    tier_schedules: Vec<ShownTiers>,
    /// Rules for models that the catalogue does not have.
    reach_no_model: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ShownTiers {
    audience: String,
    models: String,
    /// What it says, tier by tier; nothing where it ends.
    old: Vec<String>,
    new: Vec<String>,
    /// Whether every account begins in the first tier again.
    begins_anew: bool,
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
    let (book, ports) = as_it_is(&args.place).await?;
    let mut id = i64::MAX >> 1;
    let draft = args.draft.read(&book, date_of(ports.as_ref()), || {
        id += 1;
        id
    })?;
    known_accounts(ports.as_ref().map(|ports| &*ports.directory), &draft).await?;
    // What holds at the same instant with the file and without it.
    let later = book.amended(&draft.edition);
    let changes = book.changes(draft.from, &later, draft.from);
    let tiers = book.tier_changes(&draft.edition);
    let nothing = reach_nothing(&draft, &book);
    say(&if args.json {
        let shown = Shown {
            reach_no_model: nothing,
            ..shown(&draft, &changes, &tiers)
        };
        serde_json::to_string(&shown).unwrap_or_default()
    } else {
        let most = if args.verbose { usize::MAX } else { NAMED };
        let mut lines = in_words(&draft, (&changes, &tiers), most);
        let notes = nothing.iter();
        lines.extend(notes.map(|rule| format!("  {rule} {REACHES_NOTHING}")));
        lines.join("\n")
    });
    Ok(())
}

fn shown<'a>(draft: &'a Draft, changes: &[PriceChange], tiers: &[TierChange]) -> Shown<'a> {
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
    let schedule = |change: &TierChange| {
        let [old, new] = [&change.old, &change.new].map(|terms| {
            let terms = terms.as_deref().map(terms_in_words);
            terms.unwrap_or_default()
        });
        ShownTiers {
            audience: change.reach.audience.to_string(),
            models: change.reach.models.to_string(),
            old,
            new,
            begins_anew: change.begins_anew(),
        }
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
        unchanged_rules: draft.unchanged,
        changes: changes.iter().map(change).collect(),
        tier_schedules: tiers.iter().map(schedule).collect(),
        reach_no_model: Vec::new(),
    }
}

fn in_words(
    draft: &Draft,
    (changes, tiers): (&[PriceChange], &[TierChange]),
    most: usize,
) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: {} new price versions, {} sale rules, {} tier schedules, {} rules unchanged; {} prices \
         change",
        draft.name,
        draft.edition.versions.len(),
        draft.edition.sales.len(),
        draft.edition.tiers.len(),
        draft.unchanged,
        changes.len()
    )];
    let named = changes.iter().take(most);
    lines.extend(named.map(|change| format!("  {}", line(change))));
    if changes.len() > most {
        let more = changes.len() - most;
        lines.push(format!("  and {more} more; --verbose names all"));
    }
    for change in tiers {
        let words = change_in_words(change, draft.from).into_iter();
        lines.extend(words.map(|line| format!("  {line}")));
    }
    lines
}
