//! The command line.

mod accounts;
mod billing;
mod clock;
mod coupons;
mod demo;
mod doctor;
mod invoices;
mod keys;
mod ledger;
mod migrate;
mod plans;
mod prices;
mod quote;
mod screen;
mod serve;
mod simulate;
mod spool;
mod statements;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use thiserror::Error;
use tracing_subscriber::EnvFilter;

use crate::catalogue::ImportError;
use crate::config::{Config, ConfigError, DatabaseUrl};
use crate::secrets::SecretError;
use crate::wiring::{Ports, WiringError, open_ports, sqlite_url};

/// Bills the calls of AI models in the path of each request: prices, authorizes, serves, meters,
/// settles and explains it
///
/// Start with `tollgate demo`, which needs nothing, or with README.md. Every command takes its
/// database from tollgate.toml, or from --config, --data or --database. Exit codes: 0 done;
/// 1 done, and something was found that needs a person; 2 not done.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, about, long_about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve calls, as the configuration says.
    Serve(serve::ServeArgs),
    /// Serve calls in a folder of its own: seeded, with simulated models, nothing to set up.
    Demo(demo::DemoArgs),
    /// Serve the simulated models alone, over HTTP, as an upstream for tests and benchmarks.
    Sim(simulate::SimArgs),
    /// Bring the database to this version's schema.
    Migrate(Place),
    /// Look whether everything is as it should be.
    Doctor(doctor::DoctorArgs),
    /// Import price catalogues.
    #[command(subcommand)]
    Prices(prices::PricesCommand),
    /// Say what the usages of a file cost.
    Quote(quote::QuoteArgs),
    /// Make and list accounts, add funds, make operators.
    #[command(subcommand)]
    Accounts(accounts::AccountsCommand),
    /// Make, list and revoke API keys.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Publish plans, and put accounts on them.
    #[command(subcommand)]
    Plans(plans::PlansCommand),
    /// Give coupons, and redeem them for accounts.
    #[command(subcommand)]
    Coupons(coupons::CouponsCommand),
    /// Do what is due to subscriptions, or show it.
    #[command(subcommand)]
    Billing(billing::BillingCommand),
    /// Show the date, or move it ahead for demonstrations and tests.
    #[command(subcommand)]
    Clock(clock::ClockCommand),
    /// Show invoices, write them to files, void and credit them.
    #[command(subcommand)]
    Invoices(invoices::InvoicesCommand),
    /// Show what moved in a wallet month by month, and write it to files.
    #[command(subcommand)]
    Statements(statements::StatementsCommand),
    /// Prove the books.
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    /// Show or charge what waits on this node's disk for the books.
    #[command(subcommand)]
    Spool(spool::SpoolCommand),
    /// Print the OpenAPI document.
    Openapi,
}

/// Which configuration or database a command works on.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Place {
    /// The configuration file [default: tollgate.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A demo's data folder instead
    #[arg(long, value_name = "FOLDER", conflicts_with = "config")]
    pub(crate) data: Option<PathBuf>,
    /// Another database: sqlite:///path/file.db or postgres://…
    #[arg(long, value_name = "URL")]
    pub(crate) database: Option<String>,
}

impl Place {
    /// The configuration that holds there.
    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        let mut config = Config::load(self.config.as_deref())?;
        if let Some(folder) = &self.data {
            config.database.url = DatabaseUrl(sqlite_url(&demo::database_file(folder)));
            config.clock.movable = true;
        }
        if let Some(url) = &self.database {
            config.database.url = DatabaseUrl(url.clone());
        }
        Ok(config)
    }

    /// The ports over the database that is there, with this version's schema. Makes nothing.
    pub(crate) async fn ports(&self) -> Result<Ports, CliError> {
        let config = self.config()?;
        must_exist(&config)?;
        let ports = open_ports(&config).await?;
        match ports.store.pending_migrations().await?.len() {
            0 => Ok(ports),
            steps => Err(CliError::Argument(format!(
                "the database is {steps} steps behind this version: run `tollgate migrate`, or \
                 start `tollgate serve`, which does so too"
            ))),
        }
    }
}

/// A SQLite database is a file, and opening it would make it: a command that reads must not.
pub(crate) fn must_exist(config: &Config) -> Result<(), CliError> {
    match sqlite_file(&config.database.url.0).filter(|file| !file.exists()) {
        None => Ok(()),
        Some(file) => Err(CliError::Argument(format!(
            "no database at {}; `tollgate serve` or `tollgate prices import` starts one there, and \
             --config, --data or --database name another",
            file.display()
        ))),
    }
}

/// The file of a SQLite database; `None` for another kind.
pub(crate) fn sqlite_file(url: &str) -> Option<PathBuf> {
    url.strip_prefix("sqlite://").map(PathBuf::from)
}

/// Why a command failed. Its text says what to do next where that is known.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The parts could not be put together.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// The database.
    #[error("the database failed: {0}")]
    Store(#[from] crate::wiring::StoreError),
    /// The books.
    #[error("the books failed: {0}")]
    Books(#[from] billing_core::port::books::BooksError),
    /// The spool.
    #[error("the spool failed: {0}")]
    Spool(#[from] billing_core::port::spool::SpoolError),
    /// The spool's file.
    #[error(transparent)]
    SpoolOpen(#[from] crate::wiring::SpoolOpenError),
    /// The directory.
    #[error("{0}")]
    Directory(#[from] billing_core::port::directory::DirectoryError),
    /// The plans.
    #[error("{0}")]
    Plans(#[from] billing_core::port::plans::PlansError),
    /// The subscriptions.
    #[error("{0}")]
    Subscriptions(#[from] billing_core::port::subscriptions::RecordError),
    /// The date.
    #[error("{0}")]
    Date(#[from] billing_core::port::clock::MoveError),
    /// What was asked of a subscription.
    #[error("{0}")]
    Order(#[from] billing_core::subscription_order::OrderError),
    /// The messages.
    #[error(transparent)]
    Messages(#[from] billing_core::port::messages::MessagesError),
    /// The coupons.
    #[error("{0}")]
    Coupons(#[from] billing_core::port::coupons::CouponsError),
    /// The invoices.
    #[error("{0}")]
    Invoices(#[from] billing_core::port::invoices::InvoicesError),
    /// The catalogue.
    #[error("the catalogue failed: {0}")]
    Catalogue(#[from] billing_core::port::catalogue::CatalogueError),
    /// The counters of what was used.
    #[error("the counters failed: {0}")]
    Report(#[from] billing_core::port::reports::ReportError),
    /// A file of prices.
    #[error("{file}: {error}")]
    Import {
        /// The file.
        file: String,
        /// What is wrong with it.
        error: ImportError,
    },
    /// A secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A file or socket.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        error: std::io::Error,
    },
    /// An argument.
    #[error("{0}")]
    Argument(String),
    /// The command did its work and what it found is not as it should be.
    #[error("{0}")]
    Found(String),
}

impl CliError {
    /// An error of a file or socket.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }

    /// Whether it may go away by itself: the database cannot be reached.
    fn is_away(&self) -> bool {
        match self {
            Self::Wiring(error) => error.is_away(),
            Self::Store(error) => error.is_away(),
            Self::Config(_)
            | Self::Books(_)
            | Self::Spool(_)
            | Self::SpoolOpen(_)
            | Self::Directory(_)
            | Self::Plans(_)
            | Self::Subscriptions(_)
            | Self::Date(_)
            | Self::Order(_)
            | Self::Invoices(_)
            | Self::Coupons(_)
            | Self::Messages(_)
            | Self::Catalogue(_)
            | Self::Report(_)
            | Self::Import { .. }
            | Self::Secret(_)
            | Self::Io { .. }
            | Self::Argument(_)
            | Self::Found(_) => false,
        }
    }

    const fn exit_code(&self) -> u8 {
        if matches!(self, Self::Found(_)) { 1 } else { 2 }
    }
}

/// Runs what the command line says. 0: done; 1: done, and something was found wrong; 2: not done.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    start_log();
    let worked = actix_web::rt::System::new().block_on(dispatch(cli.command));
    match worked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen::complain(&format!("tollgate: {}", with_causes(&error)));
            ExitCode::from(error.exit_code())
        }
    }
}

/// What went wrong, and why, as far as it does not say so itself.
fn with_causes(error: &CliError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let why = error.to_string();
        if !text.contains(&why) {
            text = format!("{text}: {why}");
        }
        cause = error.source();
    }
    text
}

async fn dispatch(command: Command) -> Result<(), CliError> {
    match command {
        Command::Serve(args) => serve::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Sim(args) => simulate::run(args).await,
        Command::Migrate(place) => migrate::run(&place).await,
        Command::Doctor(args) => doctor::run(args).await,
        Command::Prices(command) => prices::run(command).await,
        Command::Quote(args) => quote::run(args).await,
        Command::Accounts(command) => accounts::run(command).await,
        Command::Keys(command) => keys::run(command).await,
        Command::Plans(command) => plans::run(command).await,
        Command::Coupons(command) => coupons::run(command).await,
        Command::Billing(command) => billing::run(command).await,
        Command::Clock(command) => clock::run(command).await,
        Command::Invoices(command) => invoices::run(command).await,
        Command::Statements(command) => statements::run(command).await,
        Command::Ledger(command) => ledger::run(command).await,
        Command::Spool(command) => spool::run(command).await,
        Command::Openapi => {
            let document = crate::http::docs::openapi().to_pretty_json();
            let document = document.map_err(|error| CliError::Argument(error.to_string()))?;
            say(&document);
            Ok(())
        }
    }
}

use screen::{progress, say};

/// Logs go to the error stream; `RUST_LOG` says how much.
fn start_log() {
    let filter = EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| {
        EnvFilter::new("info,actix_server=warn,sqlx=warn,sea_orm_migration=warn")
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}
