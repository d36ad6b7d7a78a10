//! `tollgate ledger verify`: prove the books of every account.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{CliError, Place, progress, say};
use crate::wiring::open_ports;

/// How many accounts are proved at a time.
const BATCH: u32 = 100;

/// What can be done with the ledger.
#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Prove that every account's books balance and agree with their calls
    Verify(VerifyArgs),
}

/// Arguments of `ledger verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    place: Place,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default, Serialize)]
struct Proof {
    accounts: u64,
    calls: u64,
    transactions: u64,
    broken: Vec<String>,
}

/// Runs it. What is found broken makes the command fail with 1.
pub(crate) async fn run(LedgerCommand::Verify(args): LedgerCommand) -> Result<(), CliError> {
    let ports = open_ports(&args.place.config()?).await?;
    let bar = progress(0, "accounts");
    let (mut proof, mut after) = (Proof::default(), None);
    loop {
        let accounts = ports.books.verify(after, BATCH).await?;
        let Some(last) = accounts.last() else { break };
        after = Some(last.account);
        for account in &accounts {
            proof.accounts += 1;
            proof.calls += account.calls;
            proof.transactions += account.transactions;
            let named = |what: &String| format!("{}: {what}", account.account);
            proof.broken.extend(account.broken.iter().map(named));
        }
        bar.set_position(proof.accounts);
    }
    bar.finish_and_clear();
    let text = if args.json {
        serde_json::to_string(&proof).unwrap_or_default()
    } else {
        let Proof {
            accounts,
            calls,
            transactions,
            ..
        } = proof;
        let head = format!("{accounts} accounts, {calls} calls, {transactions} transactions");
        std::iter::once(head)
            .chain(proof.broken.iter().cloned())
            .collect::<Vec<_>>()
            .join("\n")
    };
    say(&text);
    match proof.broken.len() {
        0 => Ok(()),
        n => Err(CliError::Found(format!(
            "the books are broken in {n} places"
        ))),
    }
}
