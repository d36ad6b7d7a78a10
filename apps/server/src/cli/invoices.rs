//! `tollgate invoices`: what was charged, on paper; and what an operator does about it.

use std::path::PathBuf;

use billing_core::id::AccountId;
use billing_core::invoice::{CreditNote, Invoice, Locale};
use billing_core::money::{Minor, Money, Nanos};
use billing_core::port::invoices::{CreditWish, InvoiceName};
use clap::{Args, Subcommand};

use super::keys::account_id;
use super::{CliError, Place, say};
use crate::http::api::invoices::{CreditNoteDto, InvoiceDto, Paper, notes};
use crate::wiring::Ports;

/// What can be done with invoices.
#[derive(Debug, Subcommand)]
pub(crate) enum InvoicesCommand {
    /// List the invoices of an account, newest first
    List(ListArgs),
    /// Show an invoice with its lines, taxes and credit notes, as JSON
    Show(OneArgs),
    /// Write an invoice, or a credit note of it, to a file: PDF, or HTML where the file's name ends
    /// with .html
    Pdf(PdfArgs),
    /// Void an invoice of which nothing was paid: what it asks for is forgiven
    Void(OneArgs),
    /// Give something back of an invoice by a credit note, into the account's wallet
    Credit(CreditArgs),
}

/// Arguments of `invoices list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    place: Place,
    /// The account, as acc_…
    #[arg(long)]
    account: String,
}

/// Arguments that name an invoice.
#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    #[command(flatten)]
    place: Place,
    /// The account, as acc_…
    #[arg(long)]
    account: String,
    /// Its number or id
    invoice: String,
}

/// Arguments of `invoices pdf`.
#[derive(Debug, Args)]
pub(crate) struct PdfArgs {
    #[command(flatten)]
    one: OneArgs,
    /// The number or id of a credit note of it, to be written instead
    #[arg(long, value_name = "NUMBER")]
    note: Option<String>,
    /// The file [default: its number and .pdf]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Its language, en or zh-CN [default: the one that it was written in]
    #[arg(long)]
    lang: Option<String>,
}

/// Arguments of `invoices credit`.
#[derive(Debug, Args)]
pub(crate) struct CreditArgs {
    #[command(flatten)]
    one: OneArgs,
    /// Why; it stands on the note
    #[arg(long)]
    reason: String,
    /// Issued once for this key, however often the command is repeated
    #[arg(long)]
    key: String,
    /// Of which line, by its place from 0 [default: all that is left of the invoice]
    #[arg(long, requires = "amount")]
    line: Option<usize>,
    /// How much of that line, such as 4.50
    #[arg(long, requires = "line")]
    amount: Option<String>,
}

pub(crate) async fn run(command: InvoicesCommand) -> Result<(), CliError> {
    match command {
        InvoicesCommand::List(args) => list(args).await,
        InvoicesCommand::Show(args) => show(args).await,
        InvoicesCommand::Pdf(args) => pdf(args).await,
        InvoicesCommand::Void(args) => void(args).await,
        InvoicesCommand::Credit(args) => credit(args).await,
    }
}

/// How many invoices are read at a time.
const PAGE: u32 = 100;

async fn list(args: ListArgs) -> Result<(), CliError> {
    let account = account_id(&args.account)?;
    let ports = args.place.ports().await?;
    let mut before = None;
    loop {
        let page = ports.invoices.list(account, before, PAGE).await?;
        for invoice in &page {
            say(&line(invoice));
        }
        before = page.last().map(|invoice| invoice.content.head.id);
        if u32::try_from(page.len()).is_ok_and(|read| read < PAGE) {
            return Ok(());
        }
    }
}

/// An invoice in a line.
fn line(invoice: &Invoice) -> String {
    let head = &invoice.content.head;
    let (total, currency) = (invoice.content.totals.total, head.currency);
    let day = invoice.issued_at.date();
    let (number, id) = (&invoice.number, head.id);
    let total = total.text(currency);
    format!(
        "{number} {day} {total} {currency} {} {id}",
        invoice.status.name()
    )
}

/// The invoice that arguments name.
async fn named(args: &OneArgs, ports: &Ports) -> Result<(AccountId, Invoice), CliError> {
    let account = account_id(&args.account)?;
    let name: InvoiceName = match args.invoice.parse() {
        Ok(name) => name,
        Err(never) => match never {},
    };
    let found = ports.invoices.find(account, &name).await?;
    let invoice = found.ok_or_else(|| {
        CliError::Argument(format!(
            "{account} has no invoice {name}; `tollgate invoices list` shows those that there are"
        ))
    })?;
    Ok((account, invoice))
}

fn json<T: serde::Serialize>(value: &T) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value);
    say(&text.map_err(|error| CliError::Argument(error.to_string()))?);
    Ok(())
}

async fn show(args: OneArgs) -> Result<(), CliError> {
    let ports = args.place.ports().await?;
    let (account, invoice) = named(&args, &ports).await?;
    let id = invoice.content.head.id;
    let notes = ports.invoices.credit_notes(account, id).await?;
    json(&InvoiceDto::of(&invoice, &notes))
}

async fn pdf(args: PdfArgs) -> Result<(), CliError> {
    let lang = args.lang.as_deref().map(str::parse::<Locale>);
    let lang = lang.transpose();
    let lang = lang.map_err(|error| CliError::Argument(error.to_string()))?;
    let ports = args.one.place.ports().await?;
    let (account, invoice) = named(&args.one, &ports).await?;
    let note = match &args.note {
        None => None,
        Some(name) => Some(note_of(&invoice, account, name, &ports).await?),
    };
    let number = note.as_ref().map_or(&invoice.number, |note| &note.number);
    let name = number.to_string().replace('/', "-");
    let file = args.out.unwrap_or_else(|| format!("{name}.pdf").into());
    let paper = if file.extension().is_some_and(|e| e == "html") {
        Paper::Html
    } else {
        Paper::Pdf
    };
    let of = ports.directory.account(account).await?;
    let zone = of.map_or_else(|| "UTC".to_owned(), |account| account.zone);
    let set = match &note {
        None => paper.of_invoice(&invoice, lang, &zone),
        Some(note) => paper.of_note((note, &invoice), lang, &zone),
    };
    let bytes = set.map_err(CliError::Argument)?;
    let shown = file.display().to_string();
    std::fs::write(&file, bytes).map_err(CliError::io(shown.clone()))?;
    say(&format!("{number} is in {shown}"));
    Ok(())
}

/// The credit note of an invoice that has this number or id.
async fn note_of(
    invoice: &Invoice,
    account: AccountId,
    name: &str,
    ports: &Ports,
) -> Result<CreditNote, CliError> {
    let id = invoice.content.head.id;
    let notes = ports.invoices.credit_notes(account, id).await?;
    let found = notes::named(&notes, name).cloned();
    found.ok_or_else(|| {
        let number = &invoice.number;
        CliError::Argument(format!(
            "{number} has no credit note {name}; `tollgate invoices show` shows those that there are"
        ))
    })
}

async fn void(args: OneArgs) -> Result<(), CliError> {
    let ports = args.place.ports().await?;
    let (account, invoice) = named(&args, &ports).await?;
    let id = invoice.content.head.id;
    let void = ports.invoices.void(account, id, ports.clock.now()).await?;
    say(&line(&void));
    Ok(())
}

async fn credit(args: CreditArgs) -> Result<(), CliError> {
    let ports = args.one.place.ports().await?;
    let (account, invoice) = named(&args.one, &ports).await?;
    let lines = match (args.line, &args.amount) {
        (Some(line), Some(amount)) => vec![(line, minor(amount, &invoice)?)],
        (None, _) | (_, None) => Vec::new(),
    };
    let wish = CreditWish {
        lines,
        reason: args.reason,
        key: format!("note:{}", args.key),
    };
    let id = invoice.content.head.id;
    let now = ports.clock.now();
    let issued = ports.invoices.credit(account, id, &wish, now).await?;
    json(&CreditNoteDto::of(&issued.note))
}

/// An amount of an invoice's currency, in what documents count.
fn minor(text: &str, invoice: &Invoice) -> Result<Minor, CliError> {
    let currency = invoice.content.head.currency;
    let wrong = |why: String| CliError::Argument(format!("--amount {text}: {why}"));
    let amount = Nanos::parse(text).map_err(|error| wrong(error.to_string()))?;
    let minor = Minor::within(Money::new(amount, currency));
    let whole = minor
        .nanos(currency)
        .map_err(|error| wrong(error.to_string()))?;
    if whole == amount {
        return Ok(minor);
    }
    Err(wrong(format!("it is finer than {currency} has coins")))
}
