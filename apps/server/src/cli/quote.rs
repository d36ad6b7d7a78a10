//! `tollgate quote`: what the usages of a file cost, anybody or one account, without charging any.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::PriceVersionId;
use billing_core::money::Currency;
use billing_core::port::clock::Clock;
use billing_core::port::reports::Reports;
use billing_core::price_book::{PriceBook, PriceDraft, PricedModel};
use billing_core::reach::Buyer;
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use time::OffsetDateTime;

use super::keys::account_id;
use super::ledger::no_account;
use super::screen::{complain, progress_in_bytes, say};
use super::{CliError, Place, must_exist};
use crate::catalogue;
use crate::clock::SystemClock;
use crate::quote::{Lines, Quoter, Tally};
use crate::wiring::Ports;

/// How much is read at once, and answered before it is written.
const AT_ONCE: usize = 1 << 18;

/// Arguments of `quote`.
#[derive(Debug, Args)]
pub(crate) struct QuoteArgs {
    #[command(flatten)]
    place: Place,
    /// The prices of this catalogue instead of the database's: any kind that can be imported
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "data", "database"])]
    prices: Option<PathBuf>,
    /// Rate with what this account pays, from where it stands in tiers now; as acc_…
    #[arg(long, value_name = "ID", conflicts_with = "prices")]
    account: Option<String>,
    /// Usages, one JSON object a line; `-` for the standard input
    #[arg(long, value_name = "FILE", default_value = "-")]
    input: PathBuf,
    /// Where the charges go, in the order of the usages; `-` for the standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// End with a summary as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Summary {
    usages: u64,
    rated: u64,
    failed: u64,
    totals: Vec<Total>,
    models: usize,
    prices: String,
    seconds: String,
    per_second: u64,
}

#[derive(Debug, Serialize)]
struct Total {
    currency: Currency,
    amount: String,
}

/// What to rate with.
struct Rating {
    book: PriceBook,
    /// Where the prices come from.
    prices: String,
    payer: Option<Payer>,
    /// For when usages are rated that do not say it.
    now: OffsetDateTime,
}

/// The account whose prices are asked for.
struct Payer {
    buyer: Buyer,
    reports: Arc<dyn Reports>,
}

/// Runs it.
pub(crate) async fn run(args: QuoteArgs) -> Result<(), CliError> {
    let Rating {
        book,
        prices,
        payer,
        now,
    } = rating(&args).await?;
    if is_same_file(&args.input, &args.output) {
        return Err(CliError::Argument(format!(
            "{} would be written over while it is read; give another --output",
            args.output.display()
        )));
    }
    let (input, bar) = open_input(&args)?;
    let mut output = open_output(&args.output)?;
    let start = Instant::now();
    let mut quoter = Quoter::new(&book, payer.as_ref().map(|payer| payer.buyer), now);
    answer_all(&mut quoter, payer.as_ref(), input, &mut output, &bar).await?;
    bar.finish_and_clear();
    let summary = Summary::of(quoter.into_tally(), book.len(), prices, start);
    let text = if args.json {
        serde_json::to_string(&summary).unwrap_or_default()
    } else {
        summary.to_string()
    };
    if is_standard(&args.output) {
        complain(&text);
    } else {
        say(&text);
    }
    if summary.failed == 0 {
        return Ok(());
    }
    Err(CliError::Found(format!(
        "{} of {} lines could not be rated; their answers have an \"error\" that says why",
        summary.failed, summary.usages
    )))
}

/// Answers every line, and writes what is answered before it waits for more to read.
async fn answer_all(
    quoter: &mut Quoter<'_>,
    payer: Option<&Payer>,
    input: BufReader<Box<dyn Read>>,
    output: &mut dyn Write,
    bar: &ProgressBar,
) -> Result<(), CliError> {
    let mut lines = Lines::new(input);
    let mut answers = Vec::with_capacity(AT_ONCE);
    loop {
        let read = lines
            .next()
            .map_err(CliError::io("cannot read the usages"))?;
        let ended = read.is_none();
        if let Some((number, line)) = read {
            while let Some(counter) = quoter.answer(&line, number, &mut answers) {
                quoter.learn(counter, used(payer, counter).await?);
            }
        }
        if ended || answers.len() >= AT_ONCE || lines.input().buffer().is_empty() {
            bar.set_position(lines.read());
            let written = output.write_all(&answers).and_then(|()| output.flush());
            answers.clear();
            match written {
                // Whoever read the charges has seen enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                written => written.map_err(CliError::io("cannot write the charges"))?,
            }
        }
        if ended {
            return Ok(());
        }
    }
}

/// How far a counter of the account has come.
async fn used(payer: Option<&Payer>, counter: BudgetScope) -> Result<Amount, CliError> {
    let Some(Payer { buyer, reports }) = payer else {
        return Ok(Amount::ZERO);
    };
    let used = reports.used(buyer.account, &[counter]).await?;
    Ok(used.first().copied().unwrap_or_default())
}

/// The prices to rate with, where they come from, and for whom they are.
async fn rating(args: &QuoteArgs) -> Result<Rating, CliError> {
    let of_anybody = |drafts, prices: String| {
        Ok(Rating {
            book: book_of(drafts)?,
            prices,
            payer: None,
            now: SystemClock.now(),
        })
    };
    if let Some(file) = &args.prices {
        let name = file.display().to_string();
        let bytes = std::fs::read(file).map_err(CliError::io(format!("cannot read {name}")))?;
        let import = catalogue::read_any(&name, &bytes).map_err(|error| CliError::Import {
            file: name.clone(),
            error,
        })?;
        return of_anybody(import.drafts, name);
    }
    let config = args.place.config()?;
    let place = &args.place;
    let named = place.config.is_some() || place.data.is_some() || place.database.is_some();
    match must_exist(&config) {
        Err(error) if named || args.account.is_some() => return Err(error),
        Err(_) => {
            let shipped = catalogue::shipped().map_err(|error| CliError::Import {
                file: "the shipped catalogue".to_owned(),
                error,
            })?;
            return of_anybody(shipped, "the shipped catalogue".to_owned());
        }
        Ok(()) => {}
    }
    let ports = place.ports().await?;
    let (book, now) = (ports.catalogue.price_book().await?, ports.clock.now());
    if book.models().all(|model| model.version_at(now).is_none()) {
        return Err(CliError::Argument(
            "the database has no prices: import a catalogue with `tollgate prices import`, or \
             name one with --prices"
                .to_owned(),
        ));
    }
    let payer = match &args.account {
        Some(account) => Some(payer(&ports, account).await?),
        None => None,
    };
    let prices = match &payer {
        Some(payer) => format!("the database, as {} pays", payer.buyer.account),
        None => "the database".to_owned(),
    };
    Ok(Rating {
        book,
        prices,
        payer,
        now,
    })
}

async fn payer(ports: &Ports, account: &str) -> Result<Payer, CliError> {
    let account = account_id(account)?;
    if ports.directory.account(account).await?.is_none() {
        return Err(no_account(account));
    }
    let subscribed = ports.plans.subscribed(account).await?;
    Ok(Payer {
        buyer: Buyer::on(account, subscribed.as_ref(), ports.clock.now()),
        reports: Arc::clone(&ports.reports),
    })
}

/// A book in which the prices of a catalogue have always held.
fn book_of(drafts: Vec<PriceDraft>) -> Result<PriceBook, CliError> {
    let models = drafts.into_iter().zip(1..).map(|(draft, id)| {
        let (name, facts) = (draft.model.clone(), draft.facts.clone());
        let version = draft.into_version(PriceVersionId::new(id), OffsetDateTime::UNIX_EPOCH);
        match version {
            Ok(version) => Ok(PricedModel::new(name, facts, vec![Arc::new(version)])),
            Err(error) => Err(CliError::Argument(format!("{name}: {error}"))),
        }
    });
    Ok(PriceBook::new(models.collect::<Result<Vec<_>, _>>()?))
}

fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

fn is_same_file(input: &Path, output: &Path) -> bool {
    let [input, output] = [input, output].map(|path| path.canonicalize().ok());
    input.is_some() && input == output
}

fn open_input(args: &QuoteArgs) -> Result<(BufReader<Box<dyn Read>>, ProgressBar), CliError> {
    if is_standard(&args.input) {
        let input: Box<dyn Read> = Box::new(io::stdin());
        return Ok((
            BufReader::with_capacity(AT_ONCE, input),
            ProgressBar::hidden(),
        ));
    }
    let name = args.input.display();
    let file = File::open(&args.input).map_err(CliError::io(format!("cannot read {name}")))?;
    // A bar between charges on one screen helps nobody.
    let shared = is_standard(&args.output) && io::stdout().is_terminal();
    let bar = match file.metadata() {
        Ok(about) if about.is_file() && !shared => progress_in_bytes(about.len(), "usages"),
        Ok(_) | Err(_) => ProgressBar::hidden(),
    };
    Ok((BufReader::with_capacity(AT_ONCE, Box::new(file)), bar))
}

fn open_output(path: &Path) -> Result<Box<dyn Write>, CliError> {
    if is_standard(path) {
        return Ok(Box::new(io::stdout().lock()));
    }
    let name = path.display();
    let file = File::create(path).map_err(CliError::io(format!("cannot write {name}")))?;
    Ok(Box::new(file))
}

impl Summary {
    fn of(tally: Tally, models: usize, prices: String, start: Instant) -> Self {
        let micros = start.elapsed().as_micros().max(1);
        let usages = tally.rated + tally.failed;
        let per_second = u128::from(usages) * 1_000_000 / micros;
        Self {
            usages,
            rated: tally.rated,
            failed: tally.failed,
            totals: tally
                .totals
                .into_iter()
                .map(|(currency, nanos)| Total {
                    currency,
                    amount: in_units(nanos),
                })
                .collect(),
            models,
            prices,
            seconds: format!("{}.{:03}", micros / 1_000_000, micros / 1_000 % 1_000),
            per_second: u64::try_from(per_second).unwrap_or(u64::MAX),
        }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            usages,
            rated,
            failed,
            models,
            prices,
            seconds,
            per_second,
            ..
        } = self;
        write!(f, "{usages} usages, {rated} rated, {failed} not")?;
        for Total { currency, amount } in &self.totals {
            write!(f, "; {amount} {currency}")?;
        }
        write!(
            f,
            "; {models} models of {prices}; {seconds} s, {per_second} usages/s"
        )
    }
}

/// Nanos as a decimal number: a sum over usages, which no balance needs to hold.
fn in_units(nanos: i128) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    let kept = text.trim_end_matches('0').len();
    // Two places at least, as amounts have everywhere.
    text[..kept.max(text.len() - 7)].to_owned()
}
