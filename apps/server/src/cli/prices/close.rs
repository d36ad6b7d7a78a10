//! `tollgate prices close`: books what windows of tier schedules that are over come to.

use clap::Args;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Place;
use crate::cli::{CliError, say};
use crate::tier_windows::{Closer, Closings, Due, Failed};

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
    let closer = Closer {
        books: &*ports.books,
        clock: &*ports.clock,
        ids: &ports.ids,
        grace: time::Duration::ZERO,
        is_booked: !args.dry_run,
    };
    let closings = closer.close_all(&book).await;
    if args.json {
        let shown = |due| shown(due, args.dry_run);
        let dues: Vec<_> = closings.dues.iter().map(shown).collect();
        let failed: Vec<_> = closings.failed.iter().map(shown_failed).collect();
        let shown = json!({"booked": !args.dry_run, "windows": dues, "failed": failed});
        say(&shown.to_string());
    } else {
        in_words(&closings, args.dry_run);
    }
    match closings.failed.len() {
        0 => Ok(()),
        failed => Err(CliError::Found(format!(
            "{failed} windows or schedules could not be closed; what was booked of others stays so"
        ))),
    }
}

fn in_words(closings: &Closings, is_dry: bool) {
    for due in &closings.dues {
        let missing = if due.uncollected.is_zero() {
            String::new()
        } else {
            format!(" ({} of it not covered by funds)", due.uncollected)
        };
        let (account, since, reach) = (due.account, since(due.window_start), &due.reach);
        say(&format!(
            "{account}: {reach}, from {since}: {} {}{missing}",
            due.true_up, due.currency
        ));
    }
    for failed in &closings.failed {
        let since = failed.window_start.map(since);
        let since = since.map_or(String::new(), |since| format!(", from {since}"));
        let account = failed.account.map(|account| format!("{account}: "));
        let (account, reach) = (account.unwrap_or_default(), &failed.reach);
        say(&format!(
            "{account}{reach}{since}: not closed: {}",
            failed.why
        ));
    }
    say(match (closings.dues.is_empty(), is_dry) {
        (true, _) => "no window that is over is to be trued up",
        (false, true) => {
            "dry run: nothing was booked. Above zero will be charged, as far as funds cover it, below \
             zero given back"
        }
        (false, false) => "booked; above zero was charged, below zero was given back",
    });
}

fn since(window_start: i64) -> String {
    let since = OffsetDateTime::from_unix_timestamp(window_start);
    since
        .ok()
        .and_then(|since| since.format(&Rfc3339).ok())
        .unwrap_or_default()
}

fn shown_failed(failed: &Failed) -> serde_json::Value {
    json!({
        "account": failed.account.map(|account| account.to_string()),
        "reach": failed.reach,
        "window_start": failed.window_start.map(since),
        "error": failed.why.to_string(),
    })
}

fn shown(due: &Due, is_dry: bool) -> serde_json::Value {
    // What funds do not cover is known once it is booked.
    let uncollected = (!is_dry).then(|| due.uncollected.to_string());
    json!({
        "account": due.account.to_string(),
        "reach": due.reach,
        "window_start": since(due.window_start),
        "true_up": due.true_up.to_string(),
        "currency": due.currency,
        "uncollected": uncollected,
    })
}
