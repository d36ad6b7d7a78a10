//! `tollgate spool`: what waits on this node's disk, and charging it without serving.

use std::sync::Arc;

use billing_core::port::spool::{Parked, Waiting};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{CliError, Place, say};
use crate::gate::Prices;
use crate::node::enter::EnterError;
use crate::wiring::{SpoolView, WiringError, look_at_spool, open_ports, open_replay, open_spool};

/// How many calls are shown of each kind.
const SHOWN: u32 = 100;

/// What can be done with a spool.
#[derive(Debug, Subcommand)]
pub(crate) enum SpoolCommand {
    /// Show what waits in the spool and what was set apart, also of a node that runs
    Show(ShowArgs),
    /// Charge what waits in the spool of a node that does not run
    Replay(ReplayArgs),
}

/// Arguments of `spool show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    place: Place,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `spool replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    place: Place,
    /// Try calls again that were set apart
    #[arg(long)]
    parked: bool,
}

#[derive(Debug, Serialize)]
struct Shown {
    file: String,
    deployment: Option<String>,
    node: Option<String>,
    entries: u64,
    oldest: Option<String>,
    parked: u64,
    bytes: u64,
    full: bool,
    waiting: Vec<ShownCall>,
    set_apart: Vec<ShownCall>,
}

#[derive(Debug, Serialize)]
struct ShownCall {
    call: String,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// Runs it.
pub(crate) async fn run(command: SpoolCommand) -> Result<(), CliError> {
    match command {
        SpoolCommand::Show(args) => show(args).await,
        SpoolCommand::Replay(args) => replay(args).await,
    }
}

async fn show(args: ShowArgs) -> Result<(), CliError> {
    let config = args.place.config()?;
    let file = config.spool_file().display().to_string();
    let Some(view) = look_at_spool(&config).await? else {
        let nothing = format!("there is no spool {file}: no call has been kept there");
        say(if args.json { "null" } else { &nothing });
        return Ok(());
    };
    let shown = Shown::of(file, &view).await?;
    say(&if args.json {
        serde_json::to_string(&shown).unwrap_or_default()
    } else {
        shown.text()
    });
    Ok(())
}

impl Shown {
    async fn of(file: String, view: &SpoolView) -> Result<Self, CliError> {
        let waiting = view.waiting(SHOWN).await?;
        let parked = view.parked(SHOWN).await?;
        let backlog = view.backlog;
        Ok(Self {
            file,
            deployment: view.header.deployment.map(|id| id.to_string()),
            node: view.header.node_name.clone(),
            entries: backlog.entries,
            oldest: backlog.oldest.map(|at| at.to_string()),
            parked: backlog.parked,
            bytes: backlog.bytes,
            full: backlog.full,
            waiting: waiting.iter().map(ShownCall::waiting).collect(),
            set_apart: parked.iter().map(ShownCall::parked).collect(),
        })
    }

    fn text(&self) -> String {
        let unknown = "(not known yet)".to_owned();
        let mut lines = vec![
            format!("spool        {}", self.file),
            format!(
                "deployment   {}",
                self.deployment.as_ref().unwrap_or(&unknown)
            ),
            format!("node         {}", self.node.as_ref().unwrap_or(&unknown)),
            format!("waiting      {} calls", self.entries),
            format!("set apart    {} calls", self.parked),
            format!(
                "size         {} bytes{}",
                self.bytes,
                if self.full { ", full" } else { "" }
            ),
        ];
        lines.extend(self.waiting.iter().map(ShownCall::line));
        lines.extend(self.set_apart.iter().map(ShownCall::line));
        lines.join("\n")
    }
}

impl ShownCall {
    fn waiting(entry: &Waiting) -> Self {
        Self {
            call: entry.call.to_string(),
            since: entry.since.to_string(),
            why: entry.record.as_ref().err().cloned(),
        }
    }

    fn parked(entry: &Parked) -> Self {
        Self {
            call: entry.call.to_string(),
            since: entry.since.to_string(),
            why: Some(entry.why.clone()),
        }
    }

    fn line(&self) -> String {
        let why = self.why.as_deref().unwrap_or("waits for the books");
        format!("  {}  since {}  {why}", self.call, self.since)
    }
}

async fn replay(args: ReplayArgs) -> Result<(), CliError> {
    let config = args.place.config()?;
    let spool = open_spool(&config).await?;
    let ports = open_ports(&config).await?;
    let catalogue = Arc::clone(&ports.catalogue);
    let prices = Prices::load(catalogue).await?;
    let replay = open_replay(&config, &ports, &spool, &Arc::new(prices)).await?;
    if args.parked {
        spool.port().unpark().await?;
    }
    let left = replay.empty().await;
    if spool.backlog().entries == 0 {
        // Nothing is left to settle under these ids: what they had on lease is free.
        for id in spool.ended_ids() {
            let told = ports.nodes.leave(id, ports.machine.now()).await;
            told.map_err(|error| WiringError::from(EnterError::from(error)))?;
        }
    }
    let parked = spool.backlog().parked;
    ports.store.close().await;
    spool.close().await;
    say(&format!(
        "{left} calls left the spool; {parked} are set apart"
    ));
    if parked > 0 {
        let what = "calls are set apart: `tollgate spool show` says why; charge them by hand or \
                    mend what is missing and run `tollgate spool replay --parked`";
        return Err(CliError::Found(format!("{parked} {what}")));
    }
    Ok(())
}
