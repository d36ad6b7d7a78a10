//! The race: more demand than funds, all at once, and what must hold of every answer.

pub(crate) mod checks;
mod on_plan;

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::Failure;
use crate::audit;
use crate::call::{Answer, Ask, Caller};
use crate::control::Control;
use crate::figure::text;
use crate::gate::Gate;
use crate::proof::Findings;
use crate::seeded::Seeded;
use checks::{check_refused, check_served, edge, largest_hold};
pub(crate) use on_plan::Course;
pub use on_plan::{OnPlan, PURSES};

/// What an output token of a simulated model costs, in nanos.
pub(crate) const OUTPUT: i128 = 4_000;

/// How much is asked of how little.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Calls at once.
    pub calls: usize,
    /// What the wallet holds, in nanos.
    pub funds: i128,
    /// What a call may cost: its limit of output tokens.
    pub max_tokens: u64,
    /// What makes the run the same again.
    pub seed: u64,
}

impl Plan {
    /// $1 and 1,000 calls that hold 5 cents each and cost half a cent.
    pub const FULL: Self = Self {
        calls: 1000,
        funds: 1_000_000_000,
        max_tokens: 12_000,
        seed: 1,
    };
    /// $0.20 and 200 calls that hold 2 cents each and cost half a cent.
    pub const SHORT: Self = Self {
        calls: 200,
        funds: 200_000_000,
        max_tokens: 5_000,
        seed: 1,
    };

    /// The funds as a decimal text.
    pub fn funds_text(&self) -> String {
        text(self.funds)
    }

    /// Calls whose costs differ to the nano, and are far below what they hold.
    pub(crate) fn asks(&self, stream: bool) -> Vec<Ask> {
        let mut seeded = Seeded::new(self.seed);
        (0..self.calls)
            .map(|number| {
                let (tokens, reasoning) = (seeded.between(5, 25), seeded.between(900, 1_500));
                let (cached, first_ms) = (seeded.between(0, 3), seeded.between(0, 40));
                let model = format!(
                    "sim/lorem?tokens={tokens}&reasoning={reasoning}&cached={cached}\
                     &first_ms={first_ms}&seed={number}"
                );
                Ask::of(model).streamed(stream).at_most(self.max_tokens)
            })
            .collect()
    }
}

/// What it is that cannot pay for all calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purse {
    /// The wallet of the account.
    Wallet,
    /// The limit of the key, in a rich account.
    KeyLimit,
}

impl Purse {
    /// Its name in the figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wallet => "wallet",
            Self::KeyLimit => "key_limit",
        }
    }
}

/// A gate to race against.
#[derive(Debug)]
pub struct Race {
    gate: Gate,
    control: Control,
    url: String,
}

/// The figures of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Calls made at once.
    pub calls: usize,
    /// Served to the end.
    pub served: usize,
    /// Refused for want of funds.
    pub refused_402: usize,
    /// Refused because running calls held the funds too long.
    pub refused_429: usize,
    /// The sum of all charges of the run.
    pub charged: String,
    /// What was left in the purse.
    pub balance: String,
    /// How long the calls took.
    pub seconds: String,
}

/// An answer, and when it was there.
pub(crate) type Timed = (Answer, OffsetDateTime);

impl Race {
    /// A demo on a database of its own.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(database: Option<String>) -> Result<Self, Failure> {
        let gate = Gate::demo(database.clone()).await?;
        let control = Control::sign_in(&gate).await?;
        let file = gate.data().join("tollgate.db");
        let url = database.unwrap_or_else(|| format!("sqlite://{}", file.display()));
        Ok(Self { gate, control, url })
    }

    /// Races the calls of a plan, checks what must hold, and probes what is left.
    ///
    /// # Errors
    /// The gate could not be asked.
    pub async fn run(
        &self,
        plan: &Plan,
        (purse, stream): (Purse, bool),
        findings: &mut Findings,
    ) -> Result<Run, Failure> {
        let (account, caller, funds) = self.open(plan, purse, stream).await?;
        let start = Instant::now();
        let answers = at_once(&caller, plan.asks(stream)).await?;
        let seconds = start.elapsed().as_secs_f64();
        let books = audit::audit(&self.control, &account, funds, findings).await?;
        let receipts = audit::receipts(&self.control, &account, &books.calls, findings).await?;
        let served = check_served(&answers, &books, &receipts, findings)?;
        let (refused_402, refused_429) = check_refused(&answers, plan.funds, &receipts, findings)?;
        findings.check(served + refused_402 + refused_429 == plan.calls, || {
            format!(
                "{served} + {refused_402} + {refused_429} of {} calls",
                plan.calls
            )
        });
        let hold = largest_hold(&answers, &receipts)?;
        let left = plan.funds - books.charged;
        findings.check((0..hold).contains(&left), || {
            format!("{} left, and a call needed {}", text(left), text(hold))
        });
        let run = Run {
            calls: plan.calls,
            served,
            refused_402,
            refused_429,
            charged: text(books.charged),
            balance: text(left),
            seconds: format!("{seconds:.2}"),
        };
        edge(&caller, left, stream, findings).await?;
        audit::audit(&self.control, &account, funds, findings).await?;
        Ok(run)
    }

    /// Races so many calls against the quotas of a plan.
    ///
    /// # Errors
    /// The gate could not be asked.
    pub async fn run_on_plan(
        &self,
        calls: usize,
        run: (OnPlan, bool),
        findings: &mut Findings,
    ) -> Result<Value, Failure> {
        let course = Course {
            control: &self.control,
            database: &self.url,
            origins: vec![self.gate.origin().to_owned()],
        };
        course.run(calls, run, findings).await
    }

    /// An account whose purse holds what the plan says, and all that the account holds.
    async fn open(
        &self,
        plan: &Plan,
        purse: Purse,
        stream: bool,
    ) -> Result<(String, Caller, i128), Failure> {
        let name = format!("race-{}-stream-{stream}", purse.name());
        let (funds, fields) = match purse {
            Purse::Wallet => (plan.funds, json!({})),
            Purse::KeyLimit => {
                let limit = json!({ "amount": text(plan.funds), "currency": "USD" });
                let limit = json!({ "limit": { "amount": limit, "window": "lifetime" } });
                (plan.funds * 100, limit)
            }
        };
        let account = self.control.create_account(&name).await?;
        self.control.top_up(&account, funds, &name).await?;
        let key = self.control.create_key(&account, &name, fields).await?;
        Ok((
            account,
            Caller::new(self.gate.origin(), &key.secret)?,
            funds,
        ))
    }

    /// Stops the gate in order, and has the whole ledger verified while it is down.
    ///
    /// # Errors
    /// It does not stop, or the command cannot be run.
    pub async fn end(mut self, findings: &mut Findings) -> Result<(), Failure> {
        self.gate.stop().await?;
        if let Err(error) = self.gate.verify_ledger() {
            findings.check(false, || error.to_string());
        }
        Ok(())
    }
}

/// Sends all calls in one moment.
async fn at_once(caller: &Caller, asks: Vec<Ask>) -> Result<Vec<Timed>, Failure> {
    let start = Arc::new(Barrier::new(asks.len()));
    let mut tasks = JoinSet::new();
    for ask in asks {
        let (caller, start) = (caller.clone(), Arc::clone(&start));
        tasks.spawn(async move {
            start.wait().await;
            let answer = caller.call(&ask).await;
            (answer, now())
        });
    }
    let mut answers = Vec::new();
    while let Some(answer) = tasks.join_next().await {
        answers.push(answer?);
    }
    Ok(answers)
}

#[expect(
    clippy::disallowed_methods,
    reason = "compared with the times on receipts"
)]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
