//! `tollgate doctor`: is everything as it should be?

mod outbox;
mod running;

use std::fmt::Write;

use billing_core::money::Nanos;
use billing_core::port::clock::Clock;
use billing_core::port::proofs::Standing;
use clap::Args;
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::{CliError, Place, must_exist, say};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::wiring::{Look, Ports, look_at_spool, open_ports};

/// How far the database's clock and ours may be apart.
const CLOCKS_APART: Duration = Duration::seconds(2);
/// More than this waits only when nobody lists.
const UNLISTED: u64 = 50_000;
/// How many parked accounts are named.
const NAMED: u32 = 10;

/// Arguments of `doctor`.
///
/// Exit code 0: nothing needs a person. 1: something does. 2: the look itself failed.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    place: Place,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Warn,
    /// A person must do something.
    Fail,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    level: Level,
    /// Whether no person is needed.
    good: bool,
    detail: String,
}

impl Finding {
    fn new(what: &'static str, level: Level, detail: impl Into<String>) -> Self {
        Self {
            what,
            level,
            good: level != Level::Fail,
            detail: detail.into(),
        }
    }

    fn line(&self) -> String {
        let mark = match self.level {
            Level::Ok => "ok  ",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        format!("{mark} {:<10} {}", self.what, self.detail)
    }
}

/// Looks at configuration, database, nodes, leases, prices and books; fails with 1 if a person is
/// needed.
pub(crate) async fn run(args: DoctorArgs) -> Result<(), CliError> {
    let config = args.place.config()?;
    must_exist(&config)?;
    let mut findings = vec![
        channels(&config, args.place.data.is_some()),
        spool(&config).await,
        running::node(&config).await,
    ];
    match open_ports(&config).await {
        Ok(ports) => findings.extend(examine(&config, &ports).await),
        Err(error) => findings.push(Finding::new("database", Level::Fail, error.to_string())),
    }
    let text = if args.json {
        serde_json::to_string(&findings).unwrap_or_default()
    } else {
        findings
            .iter()
            .map(Finding::line)
            .collect::<Vec<_>>()
            .join("\n")
    };
    say(&text);
    match findings.iter().filter(|f| !f.good).count() {
        0 => Ok(()),
        n => Err(CliError::Found(format!(
            "{n} of {} checks need a person",
            findings.len()
        ))),
    }
}

fn channels(config: &Config, is_demo: bool) -> Finding {
    let wrong: Vec<String> = config
        .channel
        .iter()
        .enumerate()
        .filter_map(|(number, channel)| channel.credential(number).err())
        .map(|error| error.to_string())
        .collect();
    let (level, detail) = match config.channel.len() {
        0 if is_demo => (Level::Ok, "a demo brings its own".to_owned()),
        0 => (
            Level::Warn,
            "none is configured, so no model can be called: add a [[channel]] to tollgate.toml, \
             see README.md"
                .to_owned(),
        ),
        n if wrong.is_empty() => (Level::Ok, format!("{n} configured, credentials found")),
        _ => (Level::Fail, wrong.join("; ")),
    };
    Finding::new("channels", level, detail)
}

/// The spool of the node that this configuration is of.
async fn spool(config: &Config) -> Finding {
    let view = match look_at_spool(config).await {
        Ok(Some(view)) => view,
        Ok(None) => return Finding::new("spool", Level::Ok, "there is none yet"),
        Err(error) => return Finding::new("spool", Level::Fail, error.to_string()),
    };
    let backlog = view.backlog;
    let (entries, parked) = (backlog.entries, backlog.parked);
    if parked > 0 {
        let detail = format!(
            "{parked} calls are set apart because the books refuse them, {entries} wait: \
             `tollgate spool show` says why"
        );
        return Finding::new("spool", Level::Fail, detail);
    }
    if backlog.full {
        let detail = format!("full: {entries} calls wait, and new calls are refused");
        return Finding::new("spool", Level::Fail, detail);
    }
    match backlog.oldest {
        Some(oldest) => Finding::new(
            "spool",
            Level::Warn,
            format!(
                "{entries} calls wait for the books, the oldest for {} s; a running node charges \
                 them, or `tollgate spool replay`",
                (SystemClock.now() - oldest).whole_seconds()
            ),
        ),
        None => Finding::new("spool", Level::Ok, "empty"),
    }
}

async fn examine(config: &Config, ports: &Ports) -> Vec<Finding> {
    let failed = |what, error: String| vec![Finding::new(what, Level::Fail, error)];
    if let Err(error) = ports.store.ping().await {
        return failed("database", error.to_string());
    }
    match ports.store.pending_migrations().await {
        Ok(pending) if pending.is_empty() => {}
        Ok(pending) => {
            let steps = pending.len();
            return failed(
                "schema",
                format!("{steps} steps behind this version: run `tollgate migrate`"),
            );
        }
        Err(error) => return failed("schema", error.to_string()),
    }
    let mut findings = vec![Finding::new("schema", Level::Ok, "up to date")];
    match ports.store.look().await {
        Ok(look) => findings.extend(looked(config, ports.machine.now(), &look)),
        Err(error) => findings.extend(failed("database", error.to_string())),
    }
    findings.extend(date(ports).await);
    findings.extend(outbox::outbox(config, ports).await);
    findings.push(match ports.catalogue.price_book().await {
        Ok(book) if book.is_empty() => Finding::new(
            "prices",
            Level::Fail,
            "no model has a price: run `tollgate prices import data/catalogue.jsonl`",
        ),
        Ok(book) => Finding::new("prices", Level::Ok, format!("{} models", book.len())),
        Err(error) => Finding::new("prices", Level::Fail, error.to_string()),
    });
    match ports.proofs.standing(NAMED).await {
        Ok(standing) => findings.extend(proofs(ports.clock.now(), &standing)),
        Err(error) => findings.push(Finding::new("books", Level::Fail, error.to_string())),
    }
    findings
}

fn looked(config: &Config, now: OffsetDateTime, look: &Look) -> Vec<Finding> {
    let mut findings = vec![clocks(now, look), nodes(config, now, look), leases(look)];
    let detail = match (look.unlisted, look.unlisted_txns) {
        (0, 0) => "every settled call is in its account's list".to_owned(),
        (calls, txns) => {
            format!("{calls} settled calls and {txns} transactions wait to be listed")
        }
    };
    let level = if look.unlisted.max(look.unlisted_txns) > UNLISTED {
        Level::Warn
    } else {
        Level::Ok
    };
    findings.push(Finding::new("lists", level, detail));
    findings
}

/// A date that was moved ahead; nothing is said of one that is the machine's.
async fn date(ports: &Ports) -> Option<Finding> {
    let ahead = match ports.date.read().await {
        Ok(ahead) if ahead.is_zero() => return None,
        Ok(ahead) => ahead.whole_seconds(),
        Err(error) => return Some(Finding::new("date", Level::Fail, error.to_string())),
    };
    if ports.date.may_be_moved {
        let detail = format!("moved ahead by {ahead} s, as `clock.movable` allows");
        return Some(Finding::new("date", Level::Ok, detail));
    }
    let detail = format!(
        "moved ahead by {ahead} s, and `clock.movable` is not set: these are the books of a \
         demonstration or a test, not to be gone on with in earnest"
    );
    Some(Finding::new("date", Level::Warn, detail))
}

fn clocks(now: OffsetDateTime, look: &Look) -> Finding {
    let Some(at) = look.store_time else {
        return Finding::new("database", Level::Ok, "answers; embedded, one clock");
    };
    let apart = (now - at).abs();
    let detail = format!(
        "answers; its clock and this machine's are {} ms apart",
        apart.whole_milliseconds()
    );
    if apart > CLOCKS_APART {
        let detail = format!("{detail}: set both by NTP");
        return Finding::new("database", Level::Fail, detail);
    }
    Finding::new("database", Level::Ok, detail)
}

fn nodes(config: &Config, now: OffsetDateTime, look: &Look) -> Finding {
    let now = look.store_time.unwrap_or(now);
    let silence = Duration::seconds(i64::from(config.node.silence_s));
    let mut level = Level::Ok;
    let mut told = Vec::new();
    for node in &look.nodes {
        let lag = now - node.heartbeat_at;
        if lag > silence {
            level = Level::Warn;
        }
        told.push(format!("{} ({} s ago)", node.name, lag.whole_seconds()));
    }
    let detail = if told.is_empty() {
        "none serves now".to_owned()
    } else if level == Level::Warn {
        format!(
            "last signs of life: {}; what one that is gone has on lease is free when it starts again, \
             or `node.keep_leases_s` after the others took it for dead",
            told.join(", ")
        )
    } else {
        format!("{} alive: {}", told.len(), told.join(", "))
    };
    Finding::new("nodes", level, detail)
}

fn leases(look: &Look) -> Finding {
    if look.leases.is_empty() {
        return Finding::new("leases", Level::Ok, "none");
    }
    let mut detail = String::new();
    for lease in &look.leases {
        let name = look.nodes.iter().find(|node| node.node == lease.node);
        let name = name.map_or_else(|| format!("{} (gone)", lease.node), |n| n.name.clone());
        let (sum, currency, count) = (lease.sum, &lease.currency, lease.count);
        append(
            &mut detail,
            format_args!("{name} {sum} {currency} in {count}; "),
        );
    }
    if let Some((account, _, amount)) = look.largest {
        let amount: Nanos = amount;
        append(
            &mut detail,
            format_args!("the largest {amount} of {account}"),
        );
    }
    if look.contended > 0 {
        append(
            &mut detail,
            format_args!("; {} budgets are wanted by another node", look.contended),
        );
    }
    Finding::new("leases", Level::Ok, detail)
}

fn append(text: &mut String, more: std::fmt::Arguments<'_>) {
    if text.write_fmt(more).is_err() {
        tracing::debug!("a string takes what is written to it");
    }
}

fn proofs(now: OffsetDateTime, standing: &Standing) -> Vec<Finding> {
    let Standing {
        accounts, proved, ..
    } = standing;
    let ago = |at: OffsetDateTime| format!("{} s ago", (now - at).whole_seconds());
    let detail = match (standing.newest, standing.oldest) {
        (Some(newest), Some(oldest)) => format!(
            "{proved} of {accounts} accounts proved, the last {}, the one longest ago {}; \
             `tollgate ledger verify` proves all",
            ago(newest),
            ago(oldest)
        ),
        _ => format!(
            "none of {accounts} accounts is proved yet; a running node does so, or \
             `tollgate ledger verify`"
        ),
    };
    let mut findings = vec![Finding::new("books", Level::Ok, detail)];
    let n = standing.parked_accounts;
    if n == 0 {
        findings.push(Finding::new("parked", Level::Ok, "no account"));
        return findings;
    }
    let named = standing.parked.iter().map(|parked| {
        let first = parked.why.first().map(String::as_str).unwrap_or_default();
        let (account, more) = (parked.account, parked.why.len().saturating_sub(1));
        format!("{account} ({first}; {more} more)")
    });
    let named: Vec<String> = named.collect();
    let detail = format!(
        "{n} accounts whose books do not hold: {}; `tollgate ledger verify --account ID` says \
         more, and `tollgate accounts unpark ID` lets one go on when its books are mended",
        named.join(", ")
    );
    findings.push(Finding::new("parked", Level::Fail, detail));
    findings
}
