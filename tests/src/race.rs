//! The race: more demand than funds, all at once, and what must hold of every answer.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::Failure;
use crate::audit::{self, Books, charge_of};
use crate::call::{Answer, Ask, Caller};
use crate::control::Control;
use crate::figure::{nanos, text};
use crate::gate::Gate;
use crate::proof::Findings;
use crate::seeded::Seeded;

/// What an output token of a simulated model costs, in nanos.
const OUTPUT: i128 = 4_000;

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
    fn asks(&self, stream: bool) -> Vec<Ask> {
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

/// A gate to race against.
#[derive(Debug)]
pub struct Race {
    gate: Gate,
    control: Control,
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
    /// What was left.
    pub balance: String,
    /// How long the calls took.
    pub seconds: String,
}

/// An answer, and when it was there.
type Timed = (Answer, OffsetDateTime);

impl Race {
    /// A demo on a database of its own.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(database: Option<String>) -> Result<Self, Failure> {
        let gate = Gate::demo(database).await?;
        let control = Control::sign_in(&gate).await?;
        Ok(Self { gate, control })
    }

    /// Races the calls of a plan, checks what must hold, and probes what is left.
    ///
    /// # Errors
    /// The gate could not be asked.
    pub async fn run(
        &self,
        plan: &Plan,
        stream: bool,
        findings: &mut Findings,
    ) -> Result<Run, Failure> {
        let name = format!("race-stream-{stream}");
        let (account, key) = self.control.funded(&name, plan.funds).await?;
        let caller = Caller::new(self.gate.origin(), &key.secret)?;
        let start = Instant::now();
        let answers = at_once(&caller, plan.asks(stream)).await?;
        let seconds = start.elapsed().as_secs_f64();
        let books = audit::audit(&self.control, &account, plan.funds, findings).await?;
        let receipts = audit::receipts(&self.control, &account, &books.calls, findings).await?;
        let served = check_served(&answers, &books, &receipts, findings)?;
        let (refused_402, refused_429) = check_refused(&answers, &books, &receipts, findings)?;
        findings.check(served + refused_402 + refused_429 == plan.calls, || {
            format!(
                "{served} + {refused_402} + {refused_429} of {} calls",
                plan.calls
            )
        });
        let hold = largest_hold(&receipts)?;
        findings.check(books.balance < hold, || {
            format!(
                "{} are left, and a call needed {}",
                text(books.balance),
                text(hold)
            )
        });
        let run = Run {
            calls: plan.calls,
            served,
            refused_402,
            refused_429,
            charged: text(books.charged),
            balance: text(books.balance),
            seconds: format!("{seconds:.2}"),
        };
        edge(&caller, books.balance, stream, findings).await?;
        audit::audit(&self.control, &account, plan.funds, findings).await?;
        Ok(run)
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

/// Everybody who holds a complete answer was charged what it says; nobody else was.
fn check_served(
    answers: &[Timed],
    books: &Books,
    receipts: &[Value],
    findings: &mut Findings,
) -> Result<usize, Failure> {
    let served = answers
        .iter()
        .map(|(answer, _)| answer)
        .filter(|answer| answer.is_complete());
    let (mut count, mut shown) = (0, 0);
    for answer in served {
        count += 1;
        shown += answer
            .cost_nanos()
            .ok_or_else(|| format!("no cost in {answer:?}"))?;
    }
    for (what, figure) in [
        ("answers", shown),
        ("receipts", audit::sum(receipts, "charge")?),
    ] {
        findings.check(figure == books.charged, || {
            format!(
                "{what} add up to {}, calls to {}",
                text(figure),
                text(books.charged)
            )
        });
    }
    findings.check(books.calls.len() == count, || {
        format!("{} calls on record, {count} served", books.calls.len())
    });
    Ok(count)
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
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// What a call of the run held: the same for all but a digit or two of the model's name.
fn largest_hold(receipts: &[Value]) -> Result<i128, Failure> {
    let holds: Result<Vec<i128>, Failure> = receipts
        .iter()
        .map(|receipt| nanos(&receipt["held"]))
        .collect();
    Ok(holds?.into_iter().max().unwrap_or_default())
}

/// No call was refused while the funds for its hold were free.
///
/// A refusal says what was left, the holds of running calls included. That must be less than what
/// the call needed; and it must be true: the wallet had no more than that left when the refusal
/// arrived, as told by the calls that were settled until then.
fn check_refused(
    answers: &[Timed],
    books: &Books,
    receipts: &[Value],
    findings: &mut Findings,
) -> Result<(usize, usize), Failure> {
    let settled = settled_at(receipts)?;
    let funds = books.charged + books.balance;
    let (mut insufficient, mut busy) = (0, 0);
    for (answer, at) in answers.iter().filter(|(answer, _)| !answer.is_complete()) {
        let metadata = &answer.error()["metadata"];
        match (answer.status, answer.code().as_str()) {
            (402, "insufficient_quota") => {
                insufficient += 1;
                let (needed, left) = (nanos(&metadata["needed"])?, nanos(&metadata["left"])?);
                let spent: i128 = settled
                    .iter()
                    .filter(|(when, _)| when <= at)
                    .map(|(_, charge)| charge)
                    .sum();
                let there = funds - spent;
                findings.check(left < needed && left <= funds, || {
                    format!("refused with {} of {} left", text(left), text(needed))
                });
                findings.check(there <= left, || {
                    format!(
                        "refused with {} left, but there were {}",
                        text(left),
                        text(there)
                    )
                });
            }
            (429, "funds_in_use") => {
                busy += 1;
                // The gate lets a call wait for five seconds unless it is configured otherwise.
                findings.check(answer.took.as_secs() >= 5, || {
                    format!(
                        "funds were in use, and the call waited {:?} only",
                        answer.took
                    )
                });
            }
            _ => findings.check(false, || format!("neither served nor refused: {answer:?}")),
        }
    }
    Ok((insufficient, busy))
}

fn settled_at(receipts: &[Value]) -> Result<Vec<(OffsetDateTime, i128)>, Failure> {
    let one = |call: &Value| {
        let at = call["settled_at"]
            .as_str()
            .ok_or_else(|| format!("no settled_at: {call}"))?;
        Ok((OffsetDateTime::parse(at, &Rfc3339)?, charge_of(call)?))
    };
    receipts.iter().map(one).collect()
}

/// With nothing running, the edge is sharp: a call that needs all but less than one token's price
/// of what is left is served, and one that needs a token more is refused, with true figures.
async fn edge(
    caller: &Caller,
    balance: i128,
    stream: bool,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let ask = |limit: i128| {
        let limit = u64::try_from(limit).unwrap_or(1);
        // One length for every limit, so that the prompt is bounded by one figure.
        let padding = "x".repeat(12_usize.saturating_sub(limit.to_string().len()));
        let mut ask = Ask::of("sim/lorem?tokens=3")
            .streamed(stream)
            .at_most(limit);
        ask.prompt.push_str(&padding);
        ask
    };
    let far = 10 + balance / OUTPUT;
    let refused = caller.call(&ask(far)).await;
    let metadata = &refused.error()["metadata"];
    findings.check(refused.status == 402, || {
        format!("too dear, and not refused: {refused:?}")
    });
    let (needed, left) = (nanos(&metadata["needed"])?, nanos(&metadata["left"])?);
    findings.check(left == balance, || {
        format!(
            "{} left, says the refusal; {}, says the wallet",
            text(left),
            text(balance)
        )
    });
    let fits = (balance - (needed - far * OUTPUT)) / OUTPUT;
    if fits < 1 {
        findings.check(false, || {
            format!("the rest of {} is too small to probe", text(balance))
        });
        return Ok(());
    }
    let over = caller.call(&ask(fits + 1)).await;
    findings.check(over.status == 402, || {
        format!("a token too many, not refused: {over:?}")
    });
    let under = caller.call(&ask(fits)).await;
    findings.check(under.is_complete(), || {
        let wanted = json!({ "balance": text(balance), "max_tokens": fits });
        format!("the funds were free, and it was refused: {wanted} {under:?}")
    });
    Ok(())
}
