//! `tollgate plans change`, `cancel`, `resume`, `pause`, `unpause`, `show`: what is asked of a
//! subscription.

use billing_core::id::{AccountId, ChangeQuoteId};
use billing_core::invoice::Taxes;
use billing_core::money::{Currency, MoneyError};
use billing_core::port::orders::{KeptQuote, NewOrder, QuoteAsk};
use billing_core::proration::ProrationUnit;
use billing_core::subscription::change::{ChangeWay, Timing};
use billing_core::subscription::{Dunning, Fee, State, Subscription};
use billing_core::subscription_order::{Done, Order};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::no_plan;
use crate::cli::billing::{at, how_far, span};
use crate::cli::keys::account_id;
use crate::cli::{CliError, Place, say};
use crate::http::api::error::ApiError;
use crate::http::api::subscription::shown::Shown;
use crate::orders;
use crate::wiring::Ports;

/// Whose subscription, and how what comes of it is shown.
#[derive(Debug, Args)]
pub(crate) struct Whose {
    #[command(flatten)]
    place: Place,
    /// The account, as acc_…
    #[arg(long)]
    account: String,
    /// Print one line of JSON, as the control API answers
    #[arg(long)]
    json: bool,
}

/// How it is done.
#[derive(Debug, Args)]
pub(crate) struct How {
    #[command(flatten)]
    whose: Whose,
    /// Only say what would come of it
    #[arg(long)]
    preview: bool,
    /// Done once for this key, however often the command is repeated
    #[arg(long)]
    key: Option<String>,
}

/// When it takes effect.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum When {
    /// At once
    Now,
    /// When the period is over
    PeriodEnd,
}

/// By what a period is divided.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Proration {
    /// By the second
    Second,
    /// By local days
    Day,
    /// By local days of months that all have thirty
    Day30,
}

/// Arguments of `plans change`.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    #[command(flatten)]
    how: How,
    /// The code of the plan to change to [default: another quantity of what there is]
    #[arg(long, required_unless_present = "quantity")]
    plan: Option<String>,
    /// How many [default: as many as there are]
    #[arg(long)]
    quantity: Option<u32>,
    /// When [default: at once where more is paid, at the end of the period where less is]
    #[arg(long)]
    when: Option<When>,
    /// By what the period is divided
    #[arg(long, default_value = "second")]
    proration: Proration,
}

/// Arguments of `plans cancel`.
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    how: How,
    /// End it now, not with its period
    #[arg(long)]
    now: bool,
    /// Give back to the wallet what was paid and not used
    #[arg(long, requires = "now")]
    credit: bool,
}

/// Quotes the change, and takes the quote.
pub(super) async fn change(args: ChangeArgs) -> Result<(), CliError> {
    let ports = args.how.whose.place.ports().await?;
    let account = account_id(&args.how.whose.account)?;
    let now = ports.clock.now();
    let to = match &args.plan {
        Some(code) => {
            let newest = ports.plans.newest(code).await?;
            newest.ok_or_else(|| no_plan(code))?.id
        }
        None => standing(&ports, account).await?.version,
    };
    let ask = QuoteAsk {
        id: ChangeQuoteId::new(ports.ids.next()),
        account,
        to,
        quantity: args.quantity,
        timing: args.when.map(|when| match when {
            When::Now => Timing::Now,
            When::PeriodEnd => Timing::PeriodEnd,
        }),
        by: match args.proration {
            Proration::Second => ProrationUnit::Second,
            Proration::Day => ProrationUnit::Day,
            Proration::Day30 => ProrationUnit::Day30,
        },
        is_kept: !args.how.preview,
        now,
    };
    let kept = ports.orders.quote(&ask).await?;
    if args.how.preview {
        return show_quote(&ports, &kept, args.how.whose.json).await;
    }
    place(&ports, account, Order::Take(kept.id), &args.how).await
}

pub(super) async fn cancel(args: CancelArgs) -> Result<(), CliError> {
    let order = if args.now {
        Order::CancelNow {
            is_credited: args.credit,
        }
    } else {
        Order::CancelAtEnd
    };
    ask(order, args.how).await
}

/// Carries out an order, or says what would come of it.
pub(super) async fn ask(order: Order, how: How) -> Result<(), CliError> {
    let ports = how.whose.place.ports().await?;
    let account = account_id(&how.whose.account)?;
    place(&ports, account, order, &how).await
}

async fn place(ports: &Ports, account: AccountId, order: Order, how: &How) -> Result<(), CliError> {
    let own = || format!("command:{}", ports.ids.next());
    let made = NewOrder {
        account,
        order,
        key: how.key.clone().unwrap_or_else(own),
        now: ports.clock.now(),
    };
    let done = if how.preview {
        ports.orders.preview(&made).await?
    } else {
        orders::place(&*ports.orders, &*ports.clock, made).await?
    };
    if how.whose.json {
        let shown = shown(ports).done(&done, how.preview).await;
        return print(&shown.map_err(|error| broken(&error))?);
    }
    in_words(&done, &ports.dunning);
    say(match (how.preview, done.is_replayed) {
        (true, _) => "preview: nothing was done",
        (false, true) => "done before, under the same key; nothing was done now",
        (false, false) => "done",
    });
    Ok(())
}

/// Says how the subscription of an account stands.
pub(super) async fn show(whose: Whose) -> Result<(), CliError> {
    let ports = whose.place.ports().await?;
    let account = account_id(&whose.account)?;
    let now = ports.clock.now();
    let standing = ports.orders.standing_of(account, now).await?;
    if whose.json {
        let with = (account, &*ports.reports);
        let shown = shown(&ports).standing(with, standing).await;
        return match shown {
            Ok(shown) => print(&shown),
            Err(ApiError::NotFound(_)) => Err(on_none(account)),
            Err(error) => Err(broken(&error)),
        };
    }
    if let Some(standing) = standing {
        let subscription = &standing.subscription;
        let offer = ports.plans.offer(subscription.version).await?;
        let plan = offer.map_or_else(String::new, |o| format!("{} version {}", o.code, o.number));
        let quantity = subscription.quantity;
        say(&format!("{account} is on {quantity} × {plan}"));
        stands(subscription, &ports.dunning);
        return Ok(());
    }
    let given = ports.plans.subscribed(account).await?;
    let given = given.ok_or_else(|| on_none(account))?;
    say(&format!(
        "{account} is on {}, given by an operator: {}",
        given.code, given.subscription
    ));
    Ok(())
}

async fn standing(ports: &Ports, account: AccountId) -> Result<Subscription, CliError> {
    let found = ports.orders.standing_of(account, ports.clock.now()).await?;
    let found = found.ok_or_else(|| on_none(account))?;
    Ok(found.subscription)
}

fn on_none(account: AccountId) -> CliError {
    CliError::Argument(format!(
        "nothing is billed to {account}; subscribe it with `tollgate plans subscribe --billed`"
    ))
}

fn shown(ports: &Ports) -> Shown<'_> {
    Shown {
        plans: &*ports.plans,
        dunning: &ports.dunning,
        now: ports.clock.now(),
    }
}

fn broken(error: &ApiError) -> CliError {
    CliError::Argument(error.to_string())
}

fn print<T: Serialize>(shown: &T) -> Result<(), CliError> {
    let text = serde_json::to_string(shown);
    say(&text.map_err(|error| CliError::Argument(error.to_string()))?);
    Ok(())
}

async fn show_quote(ports: &Ports, kept: &KeptQuote, is_json: bool) -> Result<(), CliError> {
    if is_json {
        return print(
            &shown(ports)
                .quote(kept)
                .await
                .map_err(|error| broken(&error))?,
        );
    }
    let quote = &kept.quote;
    let currency = kept.to.terms.currency;
    say(&match &quote.way {
        ChangeWay::InPlace => "at once; the period goes on".to_owned(),
        ChangeWay::Reset(_) => "at once; a whole period begins".to_owned(),
        ChangeWay::AtPeriodEnd(end) => format!("when the period is over, at {}", at(*end)),
        ChangeWay::InTrial(end) => format!("at once; the trial ends at {}", at(*end)),
    });
    items(&quote.items, currency);
    off(quote.discount, currency);
    total((quote.total(), quote.taxes), currency);
    say("preview: nothing was done");
    Ok(())
}

fn in_words(done: &Done, dunning: &Dunning) {
    items(&done.items, done.currency);
    off(done.discount, done.currency);
    if !done.items.is_empty() {
        total((done.total(), done.taxes), done.currency);
    }
    if !done.granted.is_zero() {
        let granted = done.granted.money();
        say(&format!(
            "given {granted} {}, included in the plan",
            done.currency
        ));
    }
    stands(&done.subscription, dunning);
    say(&format!("balance {} {}", done.balance, done.currency));
}

/// What items come to, with their taxes where there are any.
fn total((total, taxes): (Result<i64, MoneyError>, Taxes), currency: Currency) {
    let total = money(total.unwrap_or(i64::MAX), currency);
    if taxes.all == 0 {
        say(&format!("total {total}"));
    } else {
        let tax = money(taxes.all, currency);
        say(&format!("total {total}, with {tax} of taxes"));
    }
}

/// What coupons take off.
fn off(discount: i64, currency: Currency) {
    if discount != 0 {
        say(&format!("coupons take {} off", money(discount, currency)));
    }
}

fn items(fees: &[Fee], currency: Currency) {
    for fee in fees {
        let what = if fee.amount < 0 {
            "credited"
        } else {
            "charged"
        };
        let amount = money(fee.amount.saturating_abs(), currency);
        say(&format!(
            "{what} {amount} for {} ({})",
            span(fee.period),
            fee.kind.name()
        ));
    }
}

fn stands(subscription: &Subscription, dunning: &Dunning) {
    let id = subscription.id;
    let until = match subscription.state {
        State::Trialing { ends_at } => format!(" until {}", at(ends_at)),
        State::Active => format!(", paid until {}", at(subscription.billed_through)),
        State::Incomplete { .. }
        | State::Grace(_)
        | State::PastDue(_)
        | State::Paused { .. }
        | State::Ended { .. } => String::new(),
    };
    say(&format!("{id} is {}{until}", subscription.state.name()));
    if let Some(dunned) = subscription.dunned(dunning) {
        say(&how_far(&dunned));
    }
    if let Some(end) = subscription.cancel_at {
        say(&format!("it ends at {}", at(end)));
    }
    if let Some(pending) = subscription.pending {
        let (quantity, version) = (pending.quantity, pending.version);
        let then = at(subscription.billed_through);
        say(&format!("it becomes {quantity} × {version} at {then}"));
    }
}

fn money(minor: i64, currency: Currency) -> String {
    billing_core::money::Money::of_minor(minor, currency)
        .map_or_else(|error| error.to_string(), |money| money.to_string())
}
