//! `tollgate prices rerate`: corrects calls that were rated with a wrong price version.

use std::fmt;

use billing_core::adjustment::Adjustment;
use billing_core::correction::Correction;
use billing_core::id::{AccountId, CallId, LotId, PriceVersionId};
use billing_core::money::Nanos;
use billing_core::port::books::{Adjusted, BooksError};
use billing_core::port::directory::Account;
use billing_core::port::reports::CallFilter;
use billing_core::price_book::{PriceBook, PricedModel};
use clap::Args;
use serde::Serialize;
use time::OffsetDateTime;

use super::Place;
use super::call_pages::CallPages;
use super::draft::instant;
use super::simulate::accounts;
use crate::cli::{CliError, progress, say};
use crate::recall::booked_once_recalled;
use crate::wiring::Ports;

/// Arguments of `prices rerate`.
#[derive(Debug, Args)]
pub(crate) struct RerateArgs {
    #[command(flatten)]
    place: Place,
    /// The model
    #[arg(long)]
    model: String,
    /// The version that was wrong
    #[arg(long, value_name = "VERSION")]
    wrong: PriceVersionId,
    /// The version of the model that the calls should have been rated with
    #[arg(long, value_name = "VERSION")]
    right: PriceVersionId,
    /// Only calls that began at or after this instant
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    since: Option<OffsetDateTime>,
    /// Only calls that began before it
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    until: Option<OffsetDateTime>,
    /// Only this account
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<AccountId>,
    /// Book it; without it nothing is changed
    #[arg(long)]
    apply: bool,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// What correcting an account comes to.
#[derive(Debug, Default, Serialize)]
struct Corrected {
    account: String,
    currency: String,
    calls: usize,
    /// Above zero it is charged, below zero it is given back.
    amount: String,
    /// What of a charge its funds did not cover; known once it is booked.
    uncollected: Option<String>,
    #[serde(skip)]
    sums: [Nanos; 2],
}

/// An account that could not be corrected.
#[derive(Debug, Serialize)]
struct Failed {
    account: String,
    error: String,
}

/// Runs it.
pub(crate) async fn run(args: RerateArgs) -> Result<(), CliError> {
    let ports = args.place.ports().await?;
    let book = ports.catalogue.price_book().await?;
    for version in [args.wrong, args.right] {
        let known = book.get(&args.model).map(PricedModel::versions);
        if !known.is_some_and(|known| known.iter().any(|v| v.id() == version)) {
            return Err(CliError::Argument(format!(
                "{} has no price version {version}; `tollgate prices show {}` lists them",
                args.model, args.model
            )));
        }
    }
    let accounts = accounts(&ports, args.account).await?;
    let bar = progress(u64::try_from(accounts.len()).unwrap_or(0), "accounts");
    let (mut corrected, mut failed) = (Vec::new(), Vec::new());
    for account in &accounts {
        let mut one = Corrected::default();
        // What was booked before something failed stays so, and is shown.
        let error = correct(&ports, &args, &book, account, &mut one).await.err();
        one.account = account.id.to_string();
        one.currency = account.currency.to_string();
        let [amount, uncollected] = one.sums.map(|sum| sum.to_string());
        (one.amount, one.uncollected) = (amount, args.apply.then_some(uncollected));
        corrected.extend(Some(one).filter(|one| one.calls > 0));
        bar.inc(1);
        let is_away = matches!(error, Some(CliError::Books(BooksError::Unavailable(_))));
        failed.extend(error.map(|error| Failed {
            account: account.id.to_string(),
            error: error.to_string(),
        }));
        if is_away {
            break;
        }
    }
    bar.finish_and_clear();
    if args.json {
        let shown = serde_json::json!({
            "applied": args.apply, "accounts": corrected, "failed": failed,
        });
        say(&shown.to_string());
    } else {
        in_words(&corrected, &failed, args.apply);
    }
    match failed.len() {
        0 => Ok(()),
        failed => Err(CliError::Found(format!(
            "{failed} accounts could not be corrected; what was booked stays so"
        ))),
    }
}

fn in_words(corrected: &[Corrected], failed: &[Failed], is_applied: bool) {
    for one in corrected {
        let Corrected {
            account,
            currency,
            calls,
            amount,
            ..
        } = one;
        let [_, missing] = one.sums;
        let missing = if missing.is_zero() {
            String::new()
        } else {
            format!(" ({missing} of it not covered by funds)")
        };
        say(&format!(
            "{account}: {calls} calls, {amount} {currency}{missing}"
        ));
    }
    for Failed { account, error } in failed {
        say(&format!("{account}: not corrected: {error}"));
    }
    say(match (corrected.is_empty(), is_applied) {
        (true, _) => "no call is to be corrected",
        (false, true) => "booked; above zero was charged, below zero was given back",
        (false, false) => {
            "nothing was changed: look at it, then repeat with --apply. Above zero will be charged, \
             as far as funds cover it, below zero given back"
        }
    });
}

/// Corrects the calls of one account.
async fn correct(
    ports: &Ports,
    args: &RerateArgs,
    book: &PriceBook,
    account: &Account,
    corrected: &mut Corrected,
) -> Result<(), CliError> {
    let filter = CallFilter {
        model: Some(args.model.clone()),
        from: args.since,
        to: args.until,
        ..CallFilter::default()
    };
    let pages = CallPages::of(ports, account.id, &filter).await?;
    let correction = Correction {
        book,
        wrong: args.wrong,
        right: args.right,
    };
    let refused = |why: &dyn fmt::Display| CliError::Argument(why.to_string());
    // The calls of a page are corrected by one adjustment, or by one of each kind.
    for page in pages.oldest_first() {
        let calls = page.read(ports, &filter).await?;
        let ids: Vec<CallId> = calls.iter().map(|call| call.id).collect();
        let so_far = ports.books.adjustments(account.id, &ids).await?;
        let parts = correction.parts(&calls, &so_far).map_err(|e| refused(&e))?;
        for parts in parts {
            let count = parts.1.len();
            let of = (args.model.as_str(), account.currency);
            let lot = LotId::new(ports.ids.next());
            let adjustment = correction.adjustment(of, parts, lot);
            let adjustment = adjustment.map_err(|e| refused(&e))?;
            let amount = adjustment.as_ref().map_or(Nanos::ZERO, |a| a.amount);
            let uncollected = match adjustment {
                Some(adjustment) if args.apply => {
                    adjust(ports, account.id, adjustment).await?.uncollected
                }
                _ => Nanos::ZERO,
            };
            let [sum, missing] = corrected.sums;
            let sums = [sum.plus(amount), missing.plus(uncollected)];
            let [sum, missing] = sums.map(|sum| sum.map_err(|e| refused(&e)));
            corrected.sums = [sum?, missing?];
            corrected.calls += count;
        }
    }
    Ok(())
}

/// Books an adjustment.
async fn adjust(
    ports: &Ports,
    account: AccountId,
    adjustment: Adjustment,
) -> Result<Adjusted, BooksError> {
    booked_once_recalled(|takes_what_is_there| {
        let adjustment = Adjustment {
            takes_what_is_there,
            ..adjustment.clone()
        };
        ports.books.adjust(account, adjustment, ports.clock.now())
    })
    .await
}
