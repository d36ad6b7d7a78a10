//! The race across nodes: one purse, more demand than it can pay for, through several processes.
//!
//! Every call of a plan is sent in one moment, spread over the nodes, and each caller does what it
//! is told: 429 says that running calls hold the funds, so it comes again after `Retry-After`; 402
//! says that they are gone, so it gives up. What must come of it:
//!
//! - **Charged** is at most what the purse holds, to the nano.
//! - **What would have fitted**: a call begins only with its hold, so whoever knew every call's cost
//!   beforehand could serve calls until less than a hold is left, and no further. A plan's hold is
//!   less than a hundredth of its purse. So at least 99 % of the purse is charged, and what is left
//!   is less than the largest hold.
//! - **402 is true**: when it arrived, what was not yet settled of the purse was less than the call
//!   needed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::Failure;
use crate::audit;
use crate::call::{Ask, Caller};
use crate::cluster::node::Node;
use crate::cluster::{Cluster, Payer, Shape};
use crate::control::Control;
use crate::figure::{nanos, text};
use crate::proof::{Findings, say};
use crate::race::checks::{check_served, edge, largest_hold, settled_at};
use crate::race::{Course, OnPlan, Plan, Purse, Timed, now};

/// How long a caller goes on trying.
const PATIENCE: Duration = Duration::from_mins(3);
/// How many callers share one set of connections.
const SHARE: usize = 100;

impl Plan {
    /// $1 and 3,000 calls that hold less than a cent each and cost about half of that.
    pub const NODES: Self = Self {
        calls: 3_000,
        funds: 1_000_000_000,
        max_tokens: 2_200,
        seed: 1,
    };
    /// The same purse and 900 calls.
    pub const NODES_SHORT: Self = Self {
        calls: 900,
        ..Self::NODES
    };
}

/// Several nodes to race against.
#[derive(Debug)]
pub struct RaceNodes {
    cluster: Cluster,
    control: Control,
}

/// How one caller's call ended, and how often it came.
struct Tried {
    last: Timed,
    times: u64,
}

impl RaceNodes {
    /// Starts so many nodes.
    ///
    /// # Errors
    /// They do not come up.
    pub async fn start(nodes: usize) -> Result<Self, Failure> {
        let cluster = Cluster::start(Shape::local(nodes, false)?).await?;
        let control = cluster.control(0).await?;
        Ok(Self { cluster, control })
    }

    /// Races the calls of a plan and checks what must hold; gives the figures.
    ///
    /// # Errors
    /// A node could not be asked.
    pub async fn run(
        &self,
        plan: &Plan,
        (purse, stream): (Purse, bool),
        findings: &mut Findings,
    ) -> Result<Value, Failure> {
        let payer = self.open(plan, purse, stream).await?;
        let start = Instant::now();
        let tried = self.at_once(&payer, plan.asks(stream)).await?;
        let seconds = start.elapsed().as_secs_f64();
        let tries: u64 = tried.iter().map(|tried| tried.times).sum();
        let answers: Vec<Timed> = tried.into_iter().map(|tried| tried.last).collect();
        let books = audit::audit(&self.control, &payer.account, payer.funds, findings).await?;
        let receipts =
            audit::receipts(&self.control, &payer.account, &books.calls, findings).await?;
        let served = check_served(&answers, &books, &receipts, findings)?;
        let refused = check_refused(&answers, plan.funds, &receipts, findings)?;
        findings.check(served + refused == plan.calls, || {
            format!("{served} + {refused} of {} calls", plan.calls)
        });
        let hold = largest_hold(&answers, &receipts)?;
        let left = plan.funds - books.charged;
        check_rest(plan.funds, left, hold, findings);
        say("race-nodes: the edge of what is left, at each node");
        let edges = self.edges(&payer, left, stream, findings).await?;
        audit::audit(&self.control, &payer.account, payer.funds, findings).await?;
        Ok(json!({
            "budget": purse.name(),
            "stream": stream,
            "calls": plan.calls,
            "tries": tries,
            "served": served,
            "refused_402": refused,
            "charged": text(books.charged),
            "left": text(left),
            "largest_hold": text(hold),
            "edges": edges,
            "seconds": format!("{seconds:.2}"),
        }))
    }

    /// Races so many calls against the quotas of a plan, in turn at each node.
    ///
    /// # Errors
    /// A node could not be asked.
    pub async fn run_on_plan(
        &self,
        calls: usize,
        run: (OnPlan, bool),
        findings: &mut Findings,
    ) -> Result<Value, Failure> {
        let course = Course {
            control: &self.control,
            database: self.cluster.url(),
            origins: self.cluster.nodes.iter().map(Node::origin).collect(),
        };
        course.run(calls, run, findings).await
    }

    /// An account whose purse holds what the plan says.
    async fn open(&self, plan: &Plan, purse: Purse, stream: bool) -> Result<Payer, Failure> {
        let name = format!("race-nodes-{}-stream-{stream}", purse.name());
        match purse {
            Purse::Wallet => Payer::new(&self.control, &name, plan.funds).await,
            Purse::KeyLimit => {
                let amounts = (plan.funds * 100, plan.funds);
                Payer::limited(&self.control, &name, amounts).await
            }
        }
    }

    /// Sends all calls in one moment, in turn to each node.
    async fn at_once(&self, payer: &Payer, asks: Vec<Ask>) -> Result<Vec<Tried>, Failure> {
        let start = Arc::new(Barrier::new(asks.len()));
        let mut tasks = JoinSet::new();
        let nodes = &self.cluster.nodes;
        let mut callers: Vec<Caller> = Vec::new();
        for (number, ask) in asks.into_iter().enumerate() {
            if number % (SHARE * nodes.len()) == 0 {
                callers = nodes
                    .iter()
                    .map(|node| payer.caller(node))
                    .collect::<Result<_, _>>()?;
            }
            let caller = callers
                .get(number % nodes.len())
                .ok_or("there is no node")?
                .clone();
            let start = Arc::clone(&start);
            tasks.spawn(async move {
                start.wait().await;
                try_until_told(&caller, &ask).await
            });
        }
        let mut tried = Vec::new();
        while let Some(one) = tasks.join_next().await {
            tried.push(one?);
            if tried.len() % 500 == 0 {
                say(&format!("race-nodes: {} calls are over", tried.len()));
            }
        }
        Ok(tried)
    }

    /// With nothing running, what is left can be spent to less than a token's price, at every node:
    /// whatever another one has on lease is taken back for it.
    async fn edges(
        &self,
        payer: &Payer,
        left: i128,
        stream: bool,
        findings: &mut Findings,
    ) -> Result<usize, Failure> {
        let mut balance = left;
        let mut edges = 0;
        for node in &self.cluster.nodes {
            let before = self.charged(payer).await?;
            edge(&payer.caller(node)?, balance, stream, findings).await?;
            balance -= self.charged(payer).await? - before;
            edges += 1;
        }
        Ok(edges)
    }

    async fn charged(&self, payer: &Payer) -> Result<i128, Failure> {
        Ok(payer.funds - self.control.balance(&payer.account).await?)
    }

    /// Stops the nodes in order, and has the whole ledger verified.
    ///
    /// # Errors
    /// One does not stop, or the command cannot be run.
    pub async fn end(mut self, findings: &mut Findings) -> Result<(), Failure> {
        for node in &mut self.cluster.nodes {
            let (status, _) = node.stop().await?;
            findings.check(status.success(), || {
                format!("{} ended with {status}", node.name())
            });
        }
        if let Err(error) = self.cluster.verify_ledger() {
            findings.check(false, || error.to_string());
        }
        Ok(())
    }
}

/// Calls until it is served, or told that the funds are gone, or anything that is neither.
async fn try_until_told(caller: &Caller, ask: &Ask) -> Tried {
    let deadline = Instant::now() + PATIENCE;
    let mut times = 0;
    loop {
        let answer = caller.call(ask).await;
        times += 1;
        let again = answer.headers.get("retry-after");
        let again = again.and_then(|value| value.to_str().ok()?.parse().ok());
        match (answer.status, again) {
            (429, Some(seconds)) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
            }
            _ => {
                let last = (answer, now());
                return Tried { last, times };
            }
        }
    }
}

/// Who was not served was told that the funds are gone, and they were.
fn check_refused(
    answers: &[Timed],
    funds: i128,
    receipts: &[Value],
    findings: &mut Findings,
) -> Result<usize, Failure> {
    let settled = settled_at(receipts)?;
    let mut refused = 0;
    for (answer, at) in answers.iter().filter(|(answer, _)| !answer.is_complete()) {
        if (answer.status, answer.code().as_str()) != (402, "insufficient_quota") {
            findings.check(false, || format!("neither served nor refused: {answer:?}"));
            continue;
        }
        refused += 1;
        let metadata = &answer.error()["metadata"];
        let (needed, left) = (nanos(&metadata["needed"])?, nanos(&metadata["left"])?);
        let spent: i128 = settled
            .iter()
            .filter(|(when, _)| when <= at)
            .map(|(_, charge)| charge)
            .sum();
        let there = funds - spent;
        findings.check(there < needed && left < needed, || {
            let (there, left, needed) = (text(there), text(left), text(needed));
            format!("refused for {needed} with {there} unspent; {left} left, says the refusal")
        });
    }
    Ok(refused)
}

/// What is left is less than a hold and than a hundredth.
fn check_rest(funds: i128, left: i128, hold: i128, findings: &mut Findings) {
    findings.check(left >= 0, || format!("overspent by {}", text(-left)));
    findings.check(hold * 100 < funds, || {
        format!("a hold of {} is too coarse for the claim", text(hold))
    });
    findings.check(left < hold, || {
        let (left, hold) = (text(left), text(hold));
        format!("{left} is left, and a call that holds {hold} would have fitted")
    });
    findings.check(left * 100 <= funds, || {
        format!(
            "less than 99 % of {} was served: {} is left",
            text(funds),
            text(left)
        )
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(funds: i128, left: i128, hold: i128) -> usize {
        let mut findings = Findings::default();
        check_rest(funds, left, hold, &mut findings);
        findings.list().len()
    }

    #[test]
    fn a_rest_is_less_than_a_hold_and_than_a_hundredth() {
        assert_eq!(found(1_000, 8, 9), 0);
        assert_eq!(found(1_000, 9, 9), 1);
        assert_eq!(found(1_000, 0, 10), 1);
        assert_eq!(found(1_000, 11, 9), 2);
        assert_eq!(found(1_000, -1, 9), 1);
    }
}
