//! `tollgate plans move`: who is on an older version of a plan comes to be on its newest.

use std::collections::BTreeMap;

use billing_core::money::{Currency, Money};
use billing_core::plan::PlanVersion;
use billing_core::port::plans::Subscriber;
use billing_core::subscription::Stays;
use clap::Args;
use serde_json::{Value, json};

use super::no_plan;
use crate::cli::billing::at;
use crate::cli::{CliError, Place, say};
use crate::http::api::wire::instant;
use crate::moving::{Moving, Outcome};

/// Arguments of `plans move`.
#[derive(Debug, Args)]
pub(crate) struct MoveArgs {
    #[command(flatten)]
    place: Place,
    /// The plan's code
    #[arg(long)]
    plan: String,
    /// Do it; else it is only said what would come of it
    #[arg(long)]
    confirm: bool,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// What came of all.
#[derive(Default)]
struct Told {
    lines: Vec<Value>,
    moves: u64,
    stay: BTreeMap<&'static str, u64>,
    refused: u64,
}

pub(super) async fn run(args: MoveArgs) -> Result<(), CliError> {
    let ports = args.place.ports().await?;
    let to = ports.plans.newest(&args.plan).await?;
    let to = to.ok_or_else(|| no_plan(&args.plan))?;
    let moving = Moving {
        plans: &*ports.plans,
        orders: &*ports.orders,
        clock: &*ports.clock,
        ids: &ports.ids,
        is_preview: !args.confirm,
    };
    let mut told = Told::default();
    let mut tell = |of: &Subscriber, outcome: Outcome| told.add((of, &to), &outcome, args.json);
    let ran = moving.all(&to, &mut tell).await;
    ran.map_err(|error| CliError::Argument(error.to_string()))?;
    told.end(&args, &to)
}

impl Told {
    fn add(&mut self, (of, to): (&Subscriber, &PlanVersion), outcome: &Outcome, is_json: bool) {
        let (account, number, then) = (of.account, of.number, to.number);
        let currency = to.terms.currency;
        let mut line = json!({
            "account": account.to_string(),
            "subscription": of.subscription.to_string(),
            "version": number,
        });
        let text = match outcome {
            Outcome::Moves {
                at: when,
                fee,
                new_fee,
            } => {
                self.moves = self.moves.saturating_add(1);
                let (fee, new_fee) = (money(*fee, currency), money(*new_fee, currency));
                line["at"] = instant(*when).into();
                line["fee"] = json!(fee);
                line["new_fee"] = json!(new_fee);
                format!(
                    "{account} version {number} to {then} at {}: {fee} a period, then {new_fee}",
                    at(*when)
                )
            }
            Outcome::Stays(why) => {
                let count = self.stay.entry(why.name()).or_default();
                *count = count.saturating_add(1);
                line["stays"] = why.name().into();
                format!("{account} stays on version {number}: {why}")
            }
            Outcome::Refused(why) => {
                self.refused = self.refused.saturating_add(1);
                line["refused"] = why.to_string().into();
                format!("{account} stays on version {number}, refused: {why}")
            }
        };
        if is_json {
            self.lines.push(line);
        } else if !matches!(outcome, Outcome::Stays(Stays::There)) {
            say(&text);
        }
    }

    fn end(self, args: &MoveArgs, to: &PlanVersion) -> Result<(), CliError> {
        let (moves, refused) = (self.moves, self.refused);
        if args.json {
            let line = json!({
                "plan": args.plan,
                "to": to.number,
                "preview": !args.confirm,
                "moves": moves,
                "stay": self.stay,
                "refused": refused,
                "subscribers": self.lines,
            });
            say(&line.to_string());
        } else {
            let there = self.stay.get(Stays::There.name()).copied().unwrap_or(0);
            let stay: u64 = self.stay.values().sum();
            let elsewhere = stay.saturating_sub(there);
            say(&format!(
                "{moves} to version {}, {there} there, {elsewhere} stay, {refused} refused",
                to.number
            ));
            if !args.confirm {
                say("preview: nothing was done; repeat with --confirm");
            }
        }
        if refused > 0 {
            let why = format!("{refused} could not be moved; the lines above say why");
            return Err(CliError::Argument(why));
        }
        Ok(())
    }
}

fn money(minor: i64, currency: Currency) -> String {
    Money::of_minor(minor, currency)
        .map_or_else(|error| error.to_string(), |money| money.to_string())
}
