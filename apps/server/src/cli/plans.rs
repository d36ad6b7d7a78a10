//! `tollgate plans`: what can be subscribed to, and who is.

use std::path::PathBuf;

use billing_core::id::{PlanId, PlanVersionId, QuotaId, SubscriptionId};
use billing_core::plan::PlanTerms;
use billing_core::port::plans::{NewSubscription, NewVersion};
use billing_core::subscription::Dunning;
use clap::{Args, Subcommand};
use serde::Deserialize;

use super::billing::{over, words};
use super::keys::account_id;
use super::{CliError, Place, say};
use crate::catalogue::rules;
use crate::wiring::Ports;

/// What can be done with plans.
#[derive(Debug, Subcommand)]
pub(crate) enum PlansCommand {
    /// Publish a version of a plan from a file: TOML, YAML or JSON
    Publish(PublishArgs),
    /// Put an account on the newest version of a plan
    Subscribe(SubscribeArgs),
    /// End the subscription of an account now
    End(EndArgs),
}

/// Arguments of `plans publish`.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    place: Place,
    /// The file, with `code`, `name` and `terms`
    file: PathBuf,
}

/// Arguments of `plans subscribe`.
#[derive(Debug, Args)]
pub(crate) struct SubscribeArgs {
    #[command(flatten)]
    place: Place,
    /// The account, as acc_…
    #[arg(long)]
    account: String,
    /// The plan's code
    #[arg(long)]
    plan: String,
    /// How many of it: its quotas are so many times those of the plan
    #[arg(long, default_value_t = 1)]
    quantity: u32,
    /// Bill its price to the wallet, period after period; else it is given
    #[arg(long)]
    billed: bool,
}

/// Arguments of `plans end`.
#[derive(Debug, Args)]
pub(crate) struct EndArgs {
    #[command(flatten)]
    place: Place,
    /// The account, as acc_…
    #[arg(long)]
    account: String,
}

/// A plan, written by hand.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanFile {
    code: String,
    name: String,
    terms: PlanTerms,
}

pub(crate) async fn run(command: PlansCommand) -> Result<(), CliError> {
    match command {
        PlansCommand::Publish(args) => publish(args).await,
        PlansCommand::Subscribe(args) => subscribe(args).await,
        PlansCommand::End(args) => end(args).await,
    }
}

async fn publish(args: PublishArgs) -> Result<(), CliError> {
    let shown = args.file.display();
    let fault = |why: &dyn std::fmt::Display| CliError::Argument(format!("{shown}: {why}"));
    let bytes = std::fs::read(&args.file).map_err(|error| fault(&error))?;
    let name = args.file.to_string_lossy();
    let file: PlanFile = rules::parse(&name, &bytes).map_err(|error| fault(&error))?;
    let ports = args.place.ports().await?;
    let quotas = file.terms.quotas.iter();
    let made = NewVersion {
        plan: PlanId::new(ports.ids.next()),
        code: file.code,
        name: file.name,
        version: PlanVersionId::new(ports.ids.next()),
        quotas: quotas.map(|_| QuotaId::new(ports.ids.next())).collect(),
        terms: file.terms,
        now: ports.clock.now(),
    };
    let (code, version) = (made.code.clone(), made.version);
    let published = ports.plans.publish(made).await?;
    let is_new = published.id == version;
    let was = if is_new {
        "is published"
    } else {
        "was published before"
    };
    say(&format!(
        "{code} version {} {was}: {} {}",
        published.number, published.plan, published.id
    ));
    Ok(())
}

async fn subscribe(args: SubscribeArgs) -> Result<(), CliError> {
    let account = account_id(&args.account)?;
    let ports = args.place.ports().await?;
    let version = ports.plans.newest(&args.plan).await?.ok_or_else(|| {
        let code = &args.plan;
        CliError::Argument(format!(
            "no plan \"{code}\"; publish it with `tollgate plans publish`"
        ))
    })?;
    let made = NewSubscription {
        id: SubscriptionId::new(ports.ids.next()),
        account,
        version: version.id,
        quantity: args.quantity,
        after_quota: None,
        now: ports.clock.now(),
    };
    if args.billed {
        return bill(&ports, &args.plan, made).await;
    }
    let subscribed = ports.plans.subscribe(made).await?;
    say(&format!(
        "{account} is on {} version {}: {}",
        subscribed.code, version.number, subscribed.subscription
    ));
    Ok(())
}

/// Begins a subscription, and does what is due to it at once.
async fn bill(ports: &Ports, code: &str, made: NewSubscription) -> Result<(), CliError> {
    let began = ports.plans.begin(made).await?;
    let dunning = Dunning::default();
    let mut done = Vec::new();
    let ran = over(ports, &dunning, false).one(began.id, &mut done).await;
    for done in &done {
        say(&words(done));
    }
    ran?;
    let standing = ports
        .subscriptions
        .load(began.id, ports.clock.now())
        .await?;
    let state = standing.map_or(began.state, |standing| standing.subscription.state);
    let (account, id) = (began.account, began.id);
    say(&format!("{account} is on {code}, {}: {id}", state.name()));
    Ok(())
}

async fn end(args: EndArgs) -> Result<(), CliError> {
    let account = account_id(&args.account)?;
    let ports = args.place.ports().await?;
    let ended = ports.plans.end(account, ports.clock.now()).await?;
    let said = if ended {
        "is on no plan any more"
    } else {
        "was on no plan"
    };
    say(&format!("{account} {said}"));
    Ok(())
}
