//! `tollgate prices`: import catalogues and rules, say what that changes, and show what a model costs
//! and has cost.

mod call_pages;
mod close;
mod diff;
mod draft;
mod import;
mod rerate;
mod review;
mod rules;
mod simulate;
mod tiers;

use billing_core::money::Currency;
use billing_core::port::clock::Clock;
use billing_core::price::{Rate, Variant};
use billing_core::price_book::PriceBook;
use clap::{Args, Subcommand};
use serde::Serialize;
use time::format_description::well_known::Rfc3339;

use super::{CliError, Place, must_exist, say};
use crate::catalogue::report::in_words;
use crate::clock::SystemClock;
use crate::wiring::Ports;

pub(super) use draft::instant;
pub(crate) use import::record;

/// What can be done with prices.
#[derive(Debug, Subcommand)]
pub(crate) enum PricesCommand {
    /// Take over a price catalogue, or rules of what is asked for models
    Import(import::ImportArgs),
    /// Say what a file would change, and for whom
    Diff(diff::DiffArgs),
    /// Put past calls through the prices of a file: revenue, cost and margin, before and after
    Simulate(simulate::SimulateArgs),
    /// Correct calls that were rated with a wrong price version: given back or charged afterwards
    Rerate(rerate::RerateArgs),
    /// Book what windows of volume prices and minimums come to that are over; `serve` does so too
    Close(close::CloseArgs),
    /// List all sale rules and tier schedules: for whom, from when on, whether they hold, what they say
    Rules(rules::RulesArgs),
    /// Show what a model costs the house, version by version, the oldest first, and which sale rule
    /// makes everybody's price of it
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
    /// The rule that makes everybody's price of it, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    sale_rule: Option<String>,
    rates: &'a [Rate],
    #[serde(skip_serializing_if = "<[Variant]>::is_empty")]
    variants: &'a [Variant],
}

/// Runs it.
pub(crate) async fn run(command: PricesCommand) -> Result<(), CliError> {
    match command {
        PricesCommand::Import(args) => import::run(args).await,
        PricesCommand::Diff(args) => diff::run(args).await,
        PricesCommand::Simulate(args) => simulate::run(args).await,
        PricesCommand::Rerate(args) => rerate::run(args).await,
        PricesCommand::Close(args) => close::run(args).await,
        PricesCommand::Rules(args) => rules::run(args).await,
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
    let rule = book.sales().find(None, &args.model, now);
    let shown = model.versions().iter().map(|version| ShownVersion {
        id: version.id().to_string(),
        effective_from: version
            .effective_from()
            .format(&Rfc3339)
            .unwrap_or_default(),
        currency: version.currency(),
        in_effect: in_effect == Some(version.id()),
        sale_rule: rule
            .filter(|_| in_effect == Some(version.id()))
            .map(|rule| rule.id.to_string()),
        rates: version.rates(),
        variants: version.variants(),
    });
    if args.json {
        let shown: Vec<_> = shown.collect();
        say(&serde_json::to_string(&shown).unwrap_or_default());
        return Ok(());
    }
    say(&format!(
        "what {} costs the house, for one unit",
        args.model
    ));
    for (shown, version) in shown.zip(model.versions()) {
        let mark = if shown.in_effect { "  in effect" } else { "" };
        say(&format!(
            "{}  from {}{mark}  {}",
            shown.id,
            shown.effective_from,
            in_words(version.currency(), version.rates(), version.variants())
        ));
    }
    for line in rules::for_everybody(&book, &args.model, now) {
        say(&line);
    }
    Ok(())
}

/// The date that those ports have, or the machine's where there are none.
fn date_of(ports: Option<&Ports>) -> &dyn Clock {
    ports.map_or(&SystemClock, |ports| &*ports.clock)
}

/// The prices and accounts that are there, for a run that changes nothing: none where there is no
/// database.
async fn as_it_is(place: &Place) -> Result<(PriceBook, Option<Ports>), CliError> {
    if must_exist(&place.config()?).is_err() {
        return Ok((PriceBook::default(), None));
    }
    let ports = place.ports().await?;
    Ok((ports.catalogue.price_book().await?, Some(ports)))
}
