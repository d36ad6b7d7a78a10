//! `tollgate statements`: what moved in a wallet, month by month.

use std::path::PathBuf;

use billing_core::invoice::{Locale, Statement};
use clap::{Args, Subcommand};

use super::keys::account_id;
use super::ledger::no_account;
use super::{CliError, Place, say};
use crate::http::api::invoices::Paper;
use crate::http::api::statements::{StatementDto, csv};
use crate::statements::{StatedMonth, months, of_month};
use crate::wiring::Ports;

/// What can be done with statements.
#[derive(Debug, Subcommand)]
pub(crate) enum StatementsCommand {
    /// List the months of which an account has a statement, newest first
    List(ListArgs),
    /// Show a statement, as JSON
    Show(OneArgs),
    /// Write a statement to a file: PDF, or HTML or CSV where the file's name ends so
    Write(WriteArgs),
}

/// Arguments of `statements list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    place: Place,
    /// The account, as acc_…
    #[arg(long)]
    account: String,
}

/// Arguments that name a statement.
#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    #[command(flatten)]
    place: Place,
    /// The account, as acc_…
    #[arg(long)]
    account: String,
    /// The month, such as 2026-11
    month: String,
}

/// Arguments of `statements write`.
#[derive(Debug, Args)]
pub(crate) struct WriteArgs {
    #[command(flatten)]
    one: OneArgs,
    /// The file [default: statement-2026-11.pdf, by the month]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Its language, en or zh-CN [default: the account's]
    #[arg(long)]
    lang: Option<String>,
}

pub(crate) async fn run(command: StatementsCommand) -> Result<(), CliError> {
    match command {
        StatementsCommand::List(args) => list(args).await,
        StatementsCommand::Show(args) => show(args).await,
        StatementsCommand::Write(args) => write(args).await,
    }
}

async fn list(args: ListArgs) -> Result<(), CliError> {
    let id = account_id(&args.account)?;
    let ports = args.place.ports().await?;
    let account = ports.directory.account(id).await?;
    let account = account.ok_or_else(|| no_account(id))?;
    let now = ports.clock.now();
    for stated in months(&account, now) {
        let so_far = if stated.is_open(now) { " so far" } else { "" };
        say(&format!("{}{so_far}", stated.month));
    }
    Ok(())
}

/// The statement that arguments name, with the zone of its account.
async fn named(
    args: &OneArgs,
    ports: &Ports,
) -> Result<(StatedMonth, Statement, String), CliError> {
    let id = account_id(&args.account)?;
    let account = ports.directory.account(id).await?;
    let account = account.ok_or_else(|| no_account(id))?;
    let desk = (&*ports.invoices, ports.clock.now());
    let found = of_month(&account, &args.month, desk).await?;
    let (stated, statement) = found.ok_or_else(|| {
        CliError::Argument(format!(
            "{id} has no statement of {}; `tollgate statements list` shows those that there are",
            args.month
        ))
    })?;
    Ok((stated, statement, account.zone))
}

async fn show(args: OneArgs) -> Result<(), CliError> {
    let ports = args.place.ports().await?;
    let (stated, statement, _) = named(&args, &ports).await?;
    let shown = StatementDto::of(&stated, &statement, ports.clock.now());
    let text = serde_json::to_string_pretty(&shown);
    say(&text.map_err(|error| CliError::Argument(error.to_string()))?);
    Ok(())
}

async fn write(args: WriteArgs) -> Result<(), CliError> {
    let lang = args.lang.as_deref().map(str::parse::<Locale>);
    let lang = lang.transpose();
    let lang = lang.map_err(|error| CliError::Argument(error.to_string()))?;
    let ports = args.one.place.ports().await?;
    let (stated, statement, zone) = named(&args.one, &ports).await?;
    let named = || format!("statement-{}.pdf", stated.month).into();
    let file = args.out.unwrap_or_else(named);
    let set = match file.extension().and_then(|ending| ending.to_str()) {
        Some("csv") => Ok(csv(&statement).into_bytes()),
        Some("html") => Paper::Html.of_statement(&statement, lang, &zone),
        Some(_) | None => Paper::Pdf.of_statement(&statement, lang, &zone),
    };
    let bytes = set.map_err(CliError::Argument)?;
    let shown = file.display().to_string();
    std::fs::write(&file, bytes).map_err(CliError::io(shown.clone()))?;
    say(&format!("the statement of {} is in {shown}", stated.month));
    Ok(())
}
