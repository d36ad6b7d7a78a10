//! `tollgate coupons`: what comes off fees, and who has redeemed it.

use std::collections::BTreeSet;

use billing_core::charge_model::Percent;
use billing_core::id::CouponId;
use billing_core::invoice::{Coupon, CouponCode, CouponDuration, CouponOff};
use billing_core::money::{Currency, Minor, Nanos};
use billing_core::port::coupons::{KeptCoupon, NewCoupon, Redeemed};
use clap::{Args, Subcommand};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::keys::account_id;
use super::{CliError, Place, say};
use crate::http::api::coupons::{CouponDto, RedeemedDto, RedeemedList, of_coins};

/// What can be done with coupons.
#[derive(Debug, Subcommand)]
pub(crate) enum CouponsCommand {
    /// Give a coupon
    Create(CreateArgs),
    /// List the coupons, newest first
    List(ListArgs),
    /// Show a coupon, as JSON
    Show(OneArgs),
    /// Let nobody redeem a coupon any more; who has keeps it
    Archive(OneArgs),
    /// Redeem a coupon for an account: later fees of its plan are less
    Redeem(RedeemArgs),
    /// List what an account has redeemed, and what is left of it
    Redeemed(OfArgs),
}

/// Arguments of `coupons create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    place: Place,
    /// What customers type in: letters, digits, - and _
    code: CouponCode,
    /// What the invoice calls it
    #[arg(long)]
    name: String,
    /// How much it takes off, in percent
    #[arg(long, required_unless_present = "amount", conflicts_with = "amount")]
    percent: Option<Percent>,
    /// How much it takes off, such as 5.00
    #[arg(long, requires = "currency")]
    amount: Option<String>,
    /// The currency of --amount and --minimum, such as USD
    #[arg(long)]
    currency: Option<String>,
    /// On how many fees of whole periods it takes something off [default: one]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "forever")]
    periods: Option<u32>,
    /// It takes something off all fees from then on
    #[arg(long)]
    forever: bool,
    /// What a fee must come to, such as 10.00
    #[arg(long, requires = "currency")]
    minimum: Option<String>,
    /// From when on nobody can redeem it, such as 2026-12-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    redeem_by: Option<String>,
    /// How many accounts may redeem it [default: as many as like]
    #[arg(long, value_name = "ACCOUNTS")]
    most_redemptions: Option<u64>,
    /// The code of a plan whose fees it applies to; repeat it for several [default: all]
    #[arg(long = "plan", value_name = "CODE")]
    plans: Vec<String>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `coupons list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    place: Place,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Arguments that name a coupon.
#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    #[command(flatten)]
    place: Place,
    /// Its code
    code: CouponCode,
}

/// Arguments of `coupons redeem`.
#[derive(Debug, Args)]
pub(crate) struct RedeemArgs {
    #[command(flatten)]
    one: OneArgs,
    /// The account, as acc_…
    #[arg(long)]
    account: String,
}

/// Arguments of `coupons redeemed`.
#[derive(Debug, Args)]
pub(crate) struct OfArgs {
    #[command(flatten)]
    place: Place,
    /// The account, as acc_…
    #[arg(long)]
    account: String,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(command: CouponsCommand) -> Result<(), CliError> {
    match command {
        CouponsCommand::Create(args) => create(args).await,
        CouponsCommand::List(args) => list(args).await,
        CouponsCommand::Show(args) => show(args).await,
        CouponsCommand::Archive(args) => archive(args).await,
        CouponsCommand::Redeem(args) => redeem(args).await,
        CouponsCommand::Redeemed(args) => redeemed(args).await,
    }
}

async fn create(args: CreateArgs) -> Result<(), CliError> {
    let coupon = coupon(&args)?;
    let ports = args.place.ports().await?;
    let made = NewCoupon {
        id: CouponId::new(ports.ids.next()),
        coupon,
        plans: args.plans.into_iter().collect(),
        now: ports.clock.now(),
    };
    let kept = ports.coupons.create(made).await?;
    if args.json {
        return json(&CouponDto::of(&kept));
    }
    say(&line(&kept));
    Ok(())
}

/// What arguments say of a coupon.
fn coupon(args: &CreateArgs) -> Result<Coupon, CliError> {
    let currency = args.currency.as_deref().map(Currency::parse).transpose();
    let currency = currency.map_err(|error| CliError::Argument(error.to_string()))?;
    let money = |name: &str, text: &Option<String>| match (text, currency) {
        (Some(text), Some(currency)) => minor(name, text, currency).map(|m| Some((m, currency))),
        (None, _) | (_, None) => Ok(None),
    };
    let off = match (args.percent, money("--amount", &args.amount)?) {
        (Some(percent), _) => CouponOff::Percent(percent),
        (None, Some((amount, currency))) => CouponOff::Amount(amount, currency),
        (None, None) => return Err(CliError::Argument("give --percent or --amount".to_owned())),
    };
    let at = |text: &String| {
        OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
            CliError::Argument(format!(
                "--redeem-by {text}: give a time such as 2026-12-31T00:00:00Z"
            ))
        })
    };
    Ok(Coupon {
        code: args.code.clone(),
        name: args.name.clone(),
        off,
        duration: match (args.periods, args.forever) {
            (_, true) => CouponDuration::Forever,
            (Some(periods), false) => CouponDuration::Periods(periods),
            (None, false) => CouponDuration::Once,
        },
        minimum: money("--minimum", &args.minimum)?,
        redeem_by: args.redeem_by.as_ref().map(at).transpose()?,
        most_redemptions: args.most_redemptions,
        plans: BTreeSet::new(),
    })
}

fn minor(name: &str, text: &str, currency: Currency) -> Result<Minor, CliError> {
    let nanos = Nanos::parse(text);
    let nanos = nanos.map_err(|error| CliError::Argument(format!("{name} {text}: {error}")))?;
    of_coins(nanos, currency).ok_or_else(|| {
        CliError::Argument(format!(
            "{name} {text}: it is finer than {currency} has coins"
        ))
    })
}

/// How many coupons are read at a time.
const PAGE: u32 = 100;

async fn list(args: ListArgs) -> Result<(), CliError> {
    let ports = args.place.ports().await?;
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = ports.coupons.list(before, PAGE).await?;
        before = page.last().map(|kept| kept.id);
        let is_last = u32::try_from(page.len()).is_ok_and(|read| read < PAGE);
        all.extend(page);
        if is_last {
            break;
        }
    }
    if args.json {
        let data: Vec<_> = all.iter().map(CouponDto::of).collect();
        return json(&serde_json::json!({ "data": data }));
    }
    for kept in &all {
        say(&line(kept));
    }
    Ok(())
}

/// A coupon in a line.
fn line(kept: &KeptCoupon) -> String {
    let (coupon, times) = (&kept.coupon, kept.redemptions);
    let of = coupon.most_redemptions;
    let most = of.map_or_else(String::new, |most| format!(" of {most}"));
    let archived = if kept.archived_at.is_some() {
        "  archived"
    } else {
        ""
    };
    let plans: Vec<&str> = kept.plans.iter().map(String::as_str).collect();
    let of_plans = if plans.is_empty() {
        String::new()
    } else {
        format!(" of {}", plans.join(", "))
    };
    let (code, name, off) = (&coupon.code, &coupon.name, off(coupon));
    format!("{code}  {off}{of_plans}  redeemed {times}{most}  {name}{archived}")
}

/// What a coupon takes off, and how often.
fn off(coupon: &Coupon) -> String {
    let off = match coupon.off {
        CouponOff::Percent(percent) => format!("{percent} %"),
        CouponOff::Amount(amount, currency) => format!("{} {currency}", amount.text(currency)),
    };
    match coupon.duration {
        CouponDuration::Once => format!("{off} off the next fee"),
        CouponDuration::Periods(periods) => format!("{off} off {periods} fees"),
        CouponDuration::Forever => format!("{off} off all fees"),
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<(), CliError> {
    let text = serde_json::to_string(value);
    say(&text.map_err(|error| CliError::Argument(error.to_string()))?);
    Ok(())
}

fn no_coupon(code: &CouponCode) -> CliError {
    CliError::Argument(format!(
        "there is no coupon {code}; `tollgate coupons list` shows those that there are"
    ))
}

async fn show(args: OneArgs) -> Result<(), CliError> {
    let ports = args.place.ports().await?;
    let found = ports.coupons.find(&args.code).await?;
    json(&CouponDto::of(&found.ok_or_else(|| no_coupon(&args.code))?))
}

async fn archive(args: OneArgs) -> Result<(), CliError> {
    let ports = args.place.ports().await?;
    let archived = ports.coupons.archive(&args.code, ports.clock.now()).await?;
    say(&line(&archived.ok_or_else(|| no_coupon(&args.code))?));
    Ok(())
}

async fn redeem(args: RedeemArgs) -> Result<(), CliError> {
    let account = account_id(&args.account)?;
    let ports = args.one.place.ports().await?;
    let (code, now) = (&args.one.code, ports.clock.now());
    let redeemed = ports.coupons.redeem(account, code, now).await?;
    say(&format!(
        "{account} has redeemed {}",
        of_redeemed(&redeemed)
    ));
    Ok(())
}

async fn redeemed(args: OfArgs) -> Result<(), CliError> {
    let account = account_id(&args.account)?;
    let ports = args.place.ports().await?;
    let all = ports.coupons.redeemed(account).await?;
    if args.json {
        let data = all.iter().map(RedeemedDto::of).collect();
        return json(&RedeemedList { data });
    }
    for one in &all {
        say(&of_redeemed(one));
    }
    Ok(())
}

fn of_redeemed(redeemed: &Redeemed) -> String {
    let (coupon, left) = (&redeemed.coupon, redeemed.redemption.invoices_left);
    let left = match left {
        None => String::new(),
        Some(0) => ", used up".to_owned(),
        Some(left) => format!(", {left} left"),
    };
    format!("{}: {}{left}", coupon.code, off(coupon))
}
