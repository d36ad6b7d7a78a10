//! `tollgate clock`: the date of the deployment, which demonstrations and tests move ahead.

use billing_core::port::clock::Advance;
use clap::{Args, Subcommand};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::prices::instant;
use super::{CliError, Place, say};
use crate::http::api::wire;
use crate::wiring::Ports;

/// What can be done with the clock.
#[derive(Debug, Subcommand)]
pub(crate) enum ClockCommand {
    /// Show the date, and by how much it was moved ahead
    Show(ShowArgs),
    /// Move the date ahead, for all accounts and nodes, where the configuration allows it
    Advance(AdvanceArgs),
}

/// Arguments of `clock show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    place: Place,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `clock advance`.
#[derive(Debug, Args)]
pub(crate) struct AdvanceArgs {
    #[command(flatten)]
    place: Place,
    /// By so much: 30d, 12h, 45m, 90s
    #[arg(long, value_name = "TIME", value_parser = span, required_unless_present = "to")]
    by: Option<Duration>,
    /// To a day or an instant
    #[arg(long, value_name = "WHEN", value_parser = instant, conflicts_with = "by")]
    to: Option<OffsetDateTime>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) async fn run(command: ClockCommand) -> Result<(), CliError> {
    match command {
        ClockCommand::Show(args) => show(&args.place.ports().await?, args.json).await,
        ClockCommand::Advance(args) => advance(args).await,
    }
}

async fn advance(args: AdvanceArgs) -> Result<(), CliError> {
    let ports = args.place.ports().await?;
    if !ports.date.may_be_moved {
        return Err(CliError::Argument(
            "the date is not to be moved here: it would date real invoices. Where nothing is real, \
             set `clock.movable = true` in the configuration"
                .to_owned(),
        ));
    }
    let by = Advance::By(args.by.unwrap_or(Duration::ZERO));
    ports.date.advance(args.to.map_or(by, Advance::To)).await?;
    show(&ports, args.json).await
}

async fn show(ports: &Ports, is_json: bool) -> Result<(), CliError> {
    let ahead = ports.date.read().await?.whole_seconds();
    let now = wire::instant(ports.clock.now());
    say(&if is_json {
        json!({"now": now, "ahead_s": ahead, "movable": ports.date.may_be_moved}).to_string()
    } else if ahead == 0 {
        format!("{now}, as the machine says")
    } else {
        format!("{now}, {ahead} s ahead of the machine")
    });
    Ok(())
}

/// A time such as 30d, 12h, 45m or 90s.
fn span(text: &str) -> Result<Duration, String> {
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let read = units.into_iter().find_map(|(unit, seconds)| {
        let count: u32 = text.strip_suffix(unit)?.parse().ok()?;
        Some(Duration::seconds(i64::from(count) * seconds))
    });
    read.ok_or_else(|| "expected a time such as 30d, 12h, 45m or 90s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_number_and_a_unit() {
        assert_eq!(span("30d"), Ok(Duration::days(30)));
        assert_eq!(span("45m"), Ok(Duration::minutes(45)));
        for text in ["", "30", "d", "-1d", "1.5h", "1w", "99999999999d"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
