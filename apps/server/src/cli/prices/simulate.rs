//! `tollgate prices simulate`: past calls under the prices of a file.

use std::collections::BTreeSet;
use std::fmt::Write;

use billing_core::id::{AccountId, CallId};
use billing_core::money::{Currency, Nanos};
use billing_core::port::directory::Account;
use billing_core::port::reports::CallFilter;
use billing_core::price_replay::{Replay, ReplayReport, Replayed};
use billing_core::reach::Buyer;
use clap::Args;
use serde::Serialize;
use time::OffsetDateTime;

use super::Place;
use super::call_pages::CallPages;
use super::draft::{DraftArgs, instant};
use super::review::known_accounts;
use crate::cli::{CliError, progress, say};
use crate::wiring::Ports;

/// How many accounts are read at a time.
const PAGE: u32 = 1000;

/// Arguments of `prices simulate`.
#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    draft: DraftArgs,
    /// The first instant of the period. Tiers begin to count there, so begin where a window does
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    since: OffsetDateTime,
    /// The end of the period, itself outside [default: now]
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    until: Option<OffsetDateTime>,
    /// Only this account
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<AccountId>,
    /// Only accounts whose wallet is in this currency: sums are in one
    #[arg(long, value_name = "CODE", value_parser = Currency::parse)]
    currency: Option<Currency>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) async fn run(args: SimulateArgs) -> Result<(), CliError> {
    let ports = args.place.ports().await?;
    let book = ports.catalogue.price_book().await?;
    let now = ports.clock.now();
    let mut id = i64::MAX >> 1;
    let draft = args.draft.read(&book, &*ports.clock, || {
        id += 1;
        id
    })?;
    known_accounts(Some(&*ports.directory), &draft).await?;
    let until = args.until.unwrap_or(now);
    if until <= args.since {
        let what = "the period ends before it begins: --until must be later than --since";
        return Err(CliError::Argument(what.to_owned()));
    }
    let later = book.amended(&draft.edition);
    let accounts = accounts(&ports, args.account).await?;
    let (currency, accounts) = of_one_currency(accounts, args.currency)?;
    let mut replay = Replay::new(&later, draft.from, currency);
    let filter = CallFilter {
        from: Some(args.since),
        to: Some(until),
        ..CallFilter::default()
    };
    let mut all = Vec::with_capacity(accounts.len());
    let bar = progress(u64::try_from(accounts.len()).unwrap_or(0), "accounts found");
    for account in &accounts {
        all.push(CallPages::of(&ports, account.id, &filter).await?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let calls = all.iter().map(|pages| pages.calls).sum();
    let bar = progress(calls, "calls");
    for pages in all {
        let account = pages.account;
        let subscribed = ports.plans.subscribed(account).await?;
        let buyer = Buyer::on(account, subscribed.as_ref(), now);
        // In the order of calls they move through tiers.
        for page in pages.oldest_first() {
            let calls = page.read(&ports, &filter).await?;
            let ids: Vec<CallId> = calls.iter().map(|call| call.id).collect();
            let adjusted = ports.books.adjustments(account, &ids).await?;
            for call in &calls {
                let adjusted = adjusted
                    .get(&call.id)
                    .map_or(Nanos::ZERO, |so_far| so_far.amount);
                replay.call(&buyer, call, adjusted);
            }
            bar.inc(u64::try_from(calls.len()).unwrap_or(0));
        }
    }
    bar.finish_and_clear();
    let report = replay.report();
    say(&if args.json {
        serde_json::to_string(&shown(&report, currency.code())).unwrap_or_default()
    } else {
        in_words(&report, currency.code())
    });
    Ok(())
}

pub(super) async fn accounts(
    ports: &Ports,
    only: Option<AccountId>,
) -> Result<Vec<Account>, CliError> {
    if let Some(id) = only {
        let account = ports.directory.account(id).await?;
        let unknown = || CliError::Argument(format!("there is no account {id}"));
        return Ok(vec![account.ok_or_else(unknown)?]);
    }
    let mut accounts: Vec<Account> = Vec::new();
    loop {
        let after = accounts.last().map(|account| account.id);
        let page = ports.directory.accounts(None, after, PAGE).await?;
        if page.is_empty() {
            return Ok(accounts);
        }
        accounts.extend(page);
    }
}

/// The accounts whose wallets are in one currency, which must be named where there are several.
fn of_one_currency(
    accounts: Vec<Account>,
    named: Option<Currency>,
) -> Result<(Currency, Vec<Account>), CliError> {
    let all: BTreeSet<Currency> = accounts.iter().map(|a| a.currency).collect();
    let currency = match (named, all.len()) {
        (Some(currency), _) => currency,
        (None, 0 | 1) => all.first().copied().unwrap_or(Currency::USD),
        (None, _) => {
            let codes: Vec<String> = all.iter().map(ToString::to_string).collect();
            let codes = codes.join(", ");
            let what = format!("there are accounts in {codes}; name one with --currency");
            return Err(CliError::Argument(what));
        }
    };
    let accounts = accounts.into_iter().filter(|a| a.currency == currency);
    Ok((currency, accounts.collect()))
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    currency: &'a str,
    total: Line,
    /// Before and after.
    true_ups: [String; 2],
    models: Vec<(String, Line)>,
    accounts: Vec<(String, Line)>,
}

#[derive(Debug, Serialize)]
struct Line {
    calls: u64,
    unpriced: u64,
    revenue_before: String,
    revenue_after: String,
    cost_before: String,
    cost_after: String,
    margin_before: String,
    margin_after: String,
}

/// Nanos as decimal text of the major unit.
fn money(nanos: i128) -> String {
    let (sign, size) = if nanos < 0 {
        ("-", nanos.unsigned_abs())
    } else {
        ("", nanos.unsigned_abs())
    };
    let (whole, rest) = (size / 1_000_000_000, size % 1_000_000_000);
    let fraction = format!("{rest:09}");
    let kept = fraction.trim_end_matches('0').len().max(2);
    format!(
        "{sign}{whole}.{}",
        fraction.get(..kept).unwrap_or(&fraction)
    )
}

fn cells(sums: &Replayed) -> Line {
    let [revenue_before, revenue_after] = sums.revenue.map(money);
    let [cost_before, cost_after] = sums.cost.map(money);
    let [margin_before, margin_after] = sums.margin().map(money);
    Line {
        calls: sums.calls,
        unpriced: sums.unpriced,
        revenue_before,
        revenue_after,
        cost_before,
        cost_after,
        margin_before,
        margin_after,
    }
}

fn shown<'a>(report: &ReplayReport, currency: &'a str) -> Shown<'a> {
    let models = report
        .by_model
        .iter()
        .map(|(name, sums)| (name.clone(), cells(sums)));
    let accounts = report.by_account.iter();
    let accounts = accounts.map(|(id, sums)| (id.to_string(), cells(sums)));
    Shown {
        currency,
        total: cells(&report.total),
        true_ups: report.true_ups.map(money),
        models: models.collect(),
        accounts: accounts.collect(),
    }
}

fn in_words(report: &ReplayReport, currency: &str) -> String {
    let mut text = format!("In {currency}, as it was -> as it would have been:");
    let mut line = |name: &str, sums: &Replayed| {
        let at = cells(sums);
        let unpriced = if at.unpriced > 0 {
            format!("  ({} without a price)", at.unpriced)
        } else {
            String::new()
        };
        // Writing into a String does not fail.
        write!(
            text,
            "\n  {name}: {} calls{unpriced}  revenue {} -> {}  cost {} -> {}  margin {} -> {}",
            at.calls,
            at.revenue_before,
            at.revenue_after,
            at.cost_before,
            at.cost_after,
            at.margin_before,
            at.margin_after
        )
        .unwrap_or(());
    };
    line("all", &report.total);
    for (model, sums) in &report.by_model {
        line(model, sums);
    }
    for (account, sums) in &report.by_account {
        line(&account.to_string(), sums);
    }
    if report.true_ups != [0; 2] {
        let [before, after] = report.true_ups.map(money);
        write!(
            text,
            "\nOf the revenue, from closing windows of volume prices and minimums: {before} -> {after}"
        )
        .unwrap_or(());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_shown_exactly() {
        let cases = [
            (0, "0.00"),
            (1, "0.000000001"),
            (-1_500_000_000, "-1.50"),
            (12_345_678_900, "12.3456789"),
        ];
        for (nanos, text) in cases {
            assert_eq!(money(nanos), text);
        }
    }
}
