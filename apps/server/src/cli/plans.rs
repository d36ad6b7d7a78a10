//! `tollgate plans`: what can be subscribed to, and who is.

mod moving;
mod orders;

use std::path::PathBuf;

use billing_core::id::{PlanId, PlanVersionId, QuotaId, SubscriptionId};
use billing_core::invoice::CouponCode;
use billing_core::plan::PlanTerms;
use billing_core::port::plans::{NewSubscription, NewVersion, Offer};
use billing_core::subscription_order::Order;
use clap::{Args, Subcommand};
use serde::Deserialize;

use super::billing::{over, words};
use super::keys::account_id;
use super::{CliError, Place, say};
use crate::catalogue::rules;
use crate::http::api::plans::PlanDto;
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
    /// List the plans
    List(ListArgs),
    /// Take a plan off sale; who is on it keeps it
    Archive(ArchiveArgs),
    /// Move who is on an older version of a plan to its newest, each when its period is over
    Move(moving::MoveArgs),
    /// Show how the billed subscription of an account stands
    Show(orders::Whose),
    /// Change a billed subscription to another plan or quantity
    Change(orders::ChangeArgs),
    /// Let a billed subscription end with its period, or now
    Cancel(orders::CancelArgs),
    /// Take back that a subscription is to end, or to change
    Resume(orders::How),
    /// Let a subscription rest: nothing is billed and nothing given
    Pause(orders::How),
    /// Take up again a subscription that rests: a period begins now and is paid
    Unpause(orders::How),
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
    /// A coupon that is redeemed with it, so that its first fee is less already
    #[arg(long, value_name = "CODE", requires = "billed")]
    coupon: Option<CouponCode>,
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

/// Arguments of `plans list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    place: Place,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `plans archive`.
#[derive(Debug, Args)]
pub(crate) struct ArchiveArgs {
    #[command(flatten)]
    place: Place,
    /// The plan's code
    #[arg(long)]
    plan: String,
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
        PlansCommand::List(args) => list(args).await,
        PlansCommand::Archive(args) => archive(args).await,
        PlansCommand::Move(args) => moving::run(args).await,
        PlansCommand::Show(whose) => orders::show(whose).await,
        PlansCommand::Change(args) => orders::change(args).await,
        PlansCommand::Cancel(args) => orders::cancel(args).await,
        PlansCommand::Resume(how) => orders::ask(Order::Resume, how).await,
        PlansCommand::Pause(how) => orders::ask(Order::Pause, how).await,
        PlansCommand::Unpause(how) => orders::ask(Order::Unpause, how).await,
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
    let version = ports.plans.newest(&args.plan).await?;
    let version = version.ok_or_else(|| no_plan(&args.plan))?;
    let made = NewSubscription {
        id: SubscriptionId::new(ports.ids.next()),
        account,
        version: version.id,
        quantity: args.quantity,
        after_quota: None,
        coupon: args.coupon,
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

fn no_plan(code: &str) -> CliError {
    CliError::Argument(format!(
        "no plan \"{code}\"; publish it with `tollgate plans publish`"
    ))
}

/// Begins a subscription, and does what is due to it at once.
async fn bill(ports: &Ports, code: &str, made: NewSubscription) -> Result<(), CliError> {
    let began = ports.plans.begin(made).await?;
    let mut done = Vec::new();
    let ran = over(ports, false).one(began.id, &mut done).await;
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

async fn list(args: ListArgs) -> Result<(), CliError> {
    let ports = args.place.ports().await?;
    let now = ports.clock.now();
    let offers = ports.plans.offers().await?.into_iter();
    if args.json {
        let plans: Vec<_> = offers.map(|offer| PlanDto::of(offer, now)).collect();
        say(&serde_json::json!({ "data": plans }).to_string());
        return Ok(());
    }
    for offer in offers {
        let (price, currency) = (offer.terms.price, offer.terms.currency);
        let Offer { code, number, .. } = &offer;
        let sold = if offer.is_on_sale(now) {
            ""
        } else {
            "  off sale"
        };
        let name = &offer.name;
        say(&format!(
            "{code}  version {number}  {price} {currency}  {name}{sold}"
        ));
    }
    Ok(())
}

async fn archive(args: ArchiveArgs) -> Result<(), CliError> {
    let ports = args.place.ports().await?;
    let code = &args.plan;
    if ports.plans.archive(code, ports.clock.now()).await? {
        say(&format!("{code} is off sale; who is on it keeps it"));
        return Ok(());
    }
    Err(CliError::Argument(format!("no plan \"{code}\" is on sale")))
}
