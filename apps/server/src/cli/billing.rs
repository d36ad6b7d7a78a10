//! `tollgate billing`: what is due to subscriptions is done, or shown.

mod messages;

use billing_core::id::SubscriptionId;
use billing_core::money::Money;
use billing_core::period::Period;
use billing_core::subscription::Dunned;
use clap::{Args, Subcommand};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{CliError, Place, say};
use crate::billing::{BillingRun, Done, Ran, What, recognize};
use crate::lapses::{LapsedCredit, lapse_all};
use crate::wiring::Ports;

/// What can be done about billing.
#[derive(Debug, Subcommand)]
pub(crate) enum BillingCommand {
    /// Do what is due to subscriptions now, as nodes that serve do each minute
    Run(RunArgs),
    /// Try now to pay what a subscription owes
    Pay(PayArgs),
    /// List what was said to an account, newest first
    Messages(messages::MessagesArgs),
    /// List subscriptions that were set aside and are not billed
    Parked(ParkedArgs),
    /// Take up again a subscription that was set aside
    Unpark(UnparkArgs),
}

/// Arguments of `billing run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    place: Place,
    /// Say what would be done first to each subscription, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `billing pay`.
#[derive(Debug, Args)]
pub(crate) struct PayArgs {
    #[command(flatten)]
    place: Place,
    /// The subscription, as sub_…
    subscription: String,
}

/// Arguments of `billing parked`.
#[derive(Debug, Args)]
pub(crate) struct ParkedArgs {
    #[command(flatten)]
    place: Place,
}

/// Arguments of `billing unpark`.
#[derive(Debug, Args)]
pub(crate) struct UnparkArgs {
    #[command(flatten)]
    place: Place,
    /// The subscription, as sub_…
    subscription: String,
}

pub(crate) async fn run(command: BillingCommand) -> Result<(), CliError> {
    match command {
        BillingCommand::Run(args) => run_now(args).await,
        BillingCommand::Pay(args) => pay(args).await,
        BillingCommand::Messages(args) => messages::list(args).await,
        BillingCommand::Parked(args) => parked(args).await,
        BillingCommand::Unpark(args) => unpark(args).await,
    }
}

/// A run over these ports.
pub(super) fn over(ports: &Ports, is_dry: bool) -> BillingRun<'_> {
    BillingRun {
        subscriptions: &*ports.subscriptions,
        collector: &*ports.collector,
        clock: &*ports.clock,
        dunning: &ports.dunning,
        is_dry,
    }
}

async fn run_now(args: RunArgs) -> Result<(), CliError> {
    let ports = args.place.ports().await?;
    let run = over(&ports, args.dry_run);
    if !args.dry_run {
        run.reckon().await?;
    }
    let ran = run.all().await;
    let lapsed = lapse_all(&*ports.books, &*ports.clock, args.dry_run).await?;
    let earned = if args.dry_run {
        0
    } else {
        recognize(&*ports.invoices, &*ports.clock).await?
    };
    if args.json {
        let done: Vec<_> = ran.done.iter().map(shown).collect();
        let failed = ran.failed.iter().map(|(id, why)| {
            let id = id.map(|id| id.to_string());
            json!({"subscription": id, "error": why.to_string()})
        });
        let failed: Vec<_> = failed.collect();
        let lapsed: Vec<_> = lapsed.iter().map(shown_lapsed).collect();
        let line = json!({
            "done": !args.dry_run, "steps": done, "failed": failed, "lapsed": lapsed,
            "earned": earned,
        });
        say(&line.to_string());
    } else {
        in_words(&ran, &lapsed, args.dry_run);
        if earned > 0 {
            say(&format!("what {earned} fees have earned is booked"));
        }
    }
    match (ran.failed.len(), ran.parked()) {
        (0, 0) => Ok(()),
        (failed, parked) => Err(CliError::Found(format!(
            "{parked} subscriptions were set aside, and {failed} times nothing could be done; what \
             was done stays so"
        ))),
    }
}

fn in_words(ran: &Ran, lapsed: &[LapsedCredit], is_dry: bool) {
    for done in &ran.done {
        say(&words(done));
    }
    for credit in lapsed {
        let (account, money) = (credit.account, Money::new(credit.amount, credit.currency));
        say(&format!("{account}: {money} of credit lapsed"));
    }
    for (id, why) in &ran.failed {
        let of = id.map_or_else(String::new, |id| format!("{id}: "));
        say(&format!("{of}{why}"));
    }
    let is_nothing = ran.done.is_empty() && lapsed.is_empty();
    if is_nothing && !ran.failed.is_empty() {
        return;
    }
    say(match (is_nothing, is_dry) {
        (true, _) => "nothing is due",
        (false, true) => "dry run: nothing was done",
        (false, false) => "done",
    });
}

/// What has happened to a subscription, or would, in a line.
pub(super) fn words(done: &Done) -> String {
    let what = match &done.what {
        What::Charged(money, period) => format!("charged {money} for {}", span(*period)),
        What::Collects(money, period) => format!("collects {money} for {}", span(*period)),
        What::Paid(money, period) => format!("paid {money} for {}", span(*period)),
        What::Declined(money, period) => {
            format!(
                "the wallet has less than {money} of bought credit, due for {}",
                span(*period)
            )
        }
        What::Waits(money, period) => format!(
            "calls that are running hold what would pay {money} for {}; it is tried again",
            span(*period)
        ),
        What::Granted(money) => format!("given {money}, included in the plan"),
        What::Became => format!("is {}", done.state),
        What::Parked(why) => format!("set aside: {why}"),
        What::Owes(money, dunned) => format!("owes {money}; {}", how_far(dunned)),
    };
    format!("{} {}: {what}", done.account, done.subscription)
}

/// How far it has come with a fee that could not be collected.
pub(super) fn how_far(dunned: &Dunned) -> String {
    let Dunned { tries, most, .. } = *dunned;
    let next = match dunned.next_try_at {
        Some(next) => format!(
            "tried {tries} of {most} times, the next time at {}",
            at(next)
        ),
        None => format!("tried {tries} times and not again"),
    };
    let ends = dunned.ends_at.map_or_else(
        || "it waits to be paid".to_owned(),
        |ends| format!("it ends at {} unless it is paid", at(ends)),
    );
    let stops = at(dunned.grace_until);
    format!("{next}; calls stop at {stops}; {ends}")
}

pub(super) fn span(period: Period) -> String {
    format!("{} to {}", at(period.start), at(period.end))
}

pub(super) fn at(instant: OffsetDateTime) -> String {
    let second = instant.replace_nanosecond(0).unwrap_or(instant);
    second.format(&Rfc3339).unwrap_or_default()
}

fn shown_lapsed(credit: &LapsedCredit) -> serde_json::Value {
    json!({
        "account": credit.account.to_string(),
        "amount": credit.amount.to_string(),
        "currency": credit.currency.code(),
    })
}

fn shown(done: &Done) -> serde_json::Value {
    let mut shown = json!({
        "account": done.account.to_string(),
        "subscription": done.subscription.to_string(),
        "state": done.state,
    });
    let (step, money, period): (_, Option<&Money>, Option<&Period>) = match &done.what {
        What::Charged(money, period) => ("charged", Some(money), Some(period)),
        What::Collects(money, period) => ("collects", Some(money), Some(period)),
        What::Paid(money, period) => ("paid", Some(money), Some(period)),
        What::Declined(money, period) => ("declined", Some(money), Some(period)),
        What::Waits(money, period) => ("waits", Some(money), Some(period)),
        What::Granted(money) => ("granted", Some(money), None),
        What::Became => ("became", None, None),
        What::Parked(why) => {
            shown["why"] = json!(why);
            ("parked", None, None)
        }
        What::Owes(money, dunned) => {
            shown["dunning"] = json!({
                "tries": dunned.tries,
                "most": dunned.most,
                "next_try_at": dunned.next_try_at.map(at),
                "grace_until": at(dunned.grace_until),
                "ends_at": dunned.ends_at.map(at),
            });
            ("owes", Some(money), None)
        }
    };
    shown["step"] = json!(step);
    if let Some(money) = money {
        shown["amount"] = json!(money.nanos().to_string());
        shown["currency"] = json!(money.currency().code());
    }
    if let Some(period) = period {
        shown["period"] = json!({"start": at(period.start), "end": at(period.end)});
    }
    shown
}

fn subscription_id(text: &str) -> Result<SubscriptionId, CliError> {
    let id: Result<SubscriptionId, _> = text.parse();
    id.map_err(|error| CliError::Argument(format!("{text}: {error}")))
}

async fn pay(args: PayArgs) -> Result<(), CliError> {
    let id = subscription_id(&args.subscription)?;
    let ports = args.place.ports().await?;
    let mut done = Vec::new();
    let owed = over(&ports, false).pay(id, &mut done).await;
    for done in &done {
        say(&words(done));
    }
    let is_paid = done.iter().any(|done| matches!(done.what, What::Paid(..)));
    match (owed?, is_paid) {
        (true, true) => Ok(()),
        (true, false) => Err(CliError::Found(format!("{id} is not paid"))),
        (false, _) => Err(CliError::Argument(format!("{id} owes nothing"))),
    }
}

async fn parked(args: ParkedArgs) -> Result<(), CliError> {
    let ports = args.place.ports().await?;
    let parked = ports.subscriptions.parked().await?;
    for (id, why) in &parked {
        say(&format!("{id}: {why}"));
    }
    match parked.len() {
        0 => {
            say("no subscription is set aside");
            Ok(())
        }
        count => Err(CliError::Found(format!(
            "{count} subscriptions are set aside"
        ))),
    }
}

async fn unpark(args: UnparkArgs) -> Result<(), CliError> {
    let id = subscription_id(&args.subscription)?;
    let ports = args.place.ports().await?;
    if ports.subscriptions.unpark(id, ports.clock.now()).await? {
        say(&format!("{id} is billed again"));
        return Ok(());
    }
    Err(CliError::Argument(format!("{id} is not set aside")))
}
