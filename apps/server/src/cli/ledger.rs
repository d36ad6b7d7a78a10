//! `tollgate ledger verify`: prove the books of every account.

use billing_core::id::AccountId;
use billing_core::port::books::AccountProof;
use billing_core::port::proofs::Depth;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::keys::account_id;
use super::{CliError, Place, progress, say};
use crate::wiring::Ports;

/// How many accounts are looked at together.
const PAGE: u32 = 500;
/// How many are proved before the bar moves.
const BATCH: usize = 50;

/// What can be done with the ledger.
#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Prove that every account's books balance and agree with their calls
    Verify(VerifyArgs),
}

/// Arguments of `ledger verify`.
///
/// Exit code 0: the books hold. 1: they do not. 2: they could not be proved.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    place: Place,
    /// Read everything, instead of what came after each account's last clean proof
    #[arg(long)]
    full: bool,
    /// Prove one account alone, as acc_…
    #[arg(long)]
    account: Option<String>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Verdict {
    holds: bool,
    full: bool,
    /// How many accounts were looked at.
    accounts: u64,
    /// How many of them have not moved since their last clean proof, and were not read again.
    unchanged: u64,
    /// How many calls and transactions were read.
    calls: u64,
    transactions: u64,
    broken_accounts: u64,
    /// Each with the account that it is of.
    broken: Vec<String>,
}

/// Runs it. What is found broken makes the command fail with 1.
pub(crate) async fn run(LedgerCommand::Verify(args): LedgerCommand) -> Result<(), CliError> {
    let only = args.account.as_deref().map(account_id).transpose()?;
    let ports = args.place.ports().await?;
    let depth = if args.full {
        Depth::Full
    } else {
        Depth::SinceLast
    };
    let mut verdict = match only {
        Some(account) => one(&ports, account, depth).await?,
        None => all(&ports, depth).await?,
    };
    verdict.full = args.full;
    verdict.holds = verdict.broken.is_empty();
    say(&if args.json {
        serde_json::to_string(&verdict).unwrap_or_default()
    } else {
        verdict.in_words()
    });
    match verdict.broken_accounts {
        0 => Ok(()),
        n => Err(CliError::Found(format!(
            "the books of {n} of {} accounts do not hold",
            verdict.accounts
        ))),
    }
}

async fn one(ports: &Ports, account: AccountId, depth: Depth) -> Result<Verdict, CliError> {
    let mut verdict = Verdict::default();
    let now = ports.clock.now();
    let proofs = ports.proofs.prove(&[account], depth, now).await?;
    if proofs.is_empty() {
        return Err(no_account(account));
    }
    verdict.accounts = 1;
    verdict.add(&proofs);
    Ok(verdict)
}

/// What to say of an account that is not there.
pub(super) fn no_account(account: AccountId) -> CliError {
    CliError::Argument(format!(
        "there is no account {account}; `tollgate accounts list` shows those that there are"
    ))
}

async fn all(ports: &Ports, depth: Depth) -> Result<Verdict, CliError> {
    let mut verdict = Verdict::default();
    let standing = ports.proofs.standing(0).await?;
    let bar = progress(standing.accounts, "accounts");
    let mut after = None;
    loop {
        let page = ports.proofs.to_prove(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.account);
        let looked_at = u64::try_from(page.len()).unwrap_or(u64::MAX);
        let moved = page.iter().filter(|a| a.moved || depth == Depth::Full);
        let moved: Vec<AccountId> = moved.map(|a| a.account).collect();
        let still = looked_at.saturating_sub(u64::try_from(moved.len()).unwrap_or(u64::MAX));
        verdict.unchanged += still;
        bar.inc(still);
        for batch in moved.chunks(BATCH) {
            let proofs = ports.proofs.prove(batch, depth, ports.clock.now()).await?;
            verdict.add(&proofs);
            bar.inc(u64::try_from(batch.len()).unwrap_or(u64::MAX));
        }
        verdict.accounts += looked_at;
    }
    bar.finish_and_clear();
    Ok(verdict)
}

impl Verdict {
    fn add(&mut self, proofs: &[AccountProof]) {
        for proof in proofs {
            self.calls += proof.calls;
            self.transactions += proof.transactions;
            self.broken_accounts += u64::from(!proof.broken.is_empty());
            let named = |what: &String| format!("{}: {what}", proof.account);
            self.broken.extend(proof.broken.iter().map(named));
        }
    }

    fn in_words(&self) -> String {
        let Self {
            accounts,
            unchanged,
            calls,
            transactions,
            ..
        } = self;
        let mut lines = Vec::new();
        lines.push(if self.holds {
            format!("the books hold: {accounts} accounts")
        } else {
            format!(
                "THE BOOKS DO NOT HOLD: {} of {accounts} accounts are broken",
                self.broken_accounts
            )
        });
        lines.push(format!(
            "read {calls} calls and {transactions} transactions"
        ));
        if *unchanged > 0 {
            lines.push(format!(
                "{unchanged} accounts have not moved since their last clean proof; --full reads them too"
            ));
        }
        lines.extend(self.broken.iter().cloned());
        lines.join("\n")
    }
}
