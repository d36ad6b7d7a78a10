//! `tollgate prices close`: books what windows of tier schedules that are over come to.

use clap::Args;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Place;
use crate::cli::{CliError, say};
use crate::tier_windows::{Due, close_all};

/// Arguments of `prices close`.
#[derive(Debug, Args)]
pub(crate) struct CloseArgs {
    #[command(flatten)]
    place: Place,
    /// Say what would be booked, and book nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) async fn run(args: CloseArgs) -> Result<(), CliError> {
    let ports = args.place.ports().await?;
    let book = ports.catalogue.price_book().await?;
    let of = (&*ports.clock, &*ports.ids);
    let dues = close_all(&*ports.books, &book, of, !args.dry_run).await?;
    if args.json {
        let dues: Vec<_> = dues.iter().map(shown).collect();
        let shown = json!({"booked": !args.dry_run, "windows": dues});
        say(&shown.to_string());
        return Ok(());
    }
    for due in &dues {
        let missing = if due.uncollected.is_zero() {
            String::new()
        } else {
            format!(" ({} of it not covered by funds)", due.uncollected)
        };
        let (account, since, reach) = (due.account, since(due), &due.reach);
        say(&format!(
            "{account}: {reach}, from {since}: {}{missing}",
            due.true_up
        ));
    }
    say(match (dues.is_empty(), args.dry_run) {
        (true, _) => "no window that is over is to be trued up",
        (false, true) => "dry run: nothing was booked",
        (false, false) => "booked; above zero was charged, below zero was given back",
    });
    Ok(())
}

fn since(due: &Due) -> String {
    let since = OffsetDateTime::from_unix_timestamp(due.window_start);
    since
        .ok()
        .and_then(|since| since.format(&Rfc3339).ok())
        .unwrap_or_default()
}

fn shown(due: &Due) -> serde_json::Value {
    json!({
        "account": due.account.to_string(),
        "reach": due.reach,
        "window_start": since(due),
        "true_up": due.true_up.to_string(),
        "uncollected": due.uncollected.to_string(),
    })
}
