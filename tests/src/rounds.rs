//! Rounds of a proof across nodes: payers and load, something that happens to nodes and database,
//! everybody serving again, and the books compared with what clients hold.
//!
//! Each round has payers of its own: one that is rich, one whose wallet runs dry, one whose key's
//! limit does, and one on a plan, whose quotas end in every other round, with a wallet at a tier's
//! price for the rest. Callers of all four are at every node from the first moment of the round to the
//! last. What must hold of every round:
//!
//! - a complete answer is charged once, with the figure that it showed; nothing is charged twice,
//!   and nobody is charged who was refused;
//! - no purse is overspent, the books balance, `tollgate ledger verify` finds nothing;
//! - every node that was touched serves again within five seconds;
//! - what was drawn of the plan's quotas is one figure, in receipts, totals and what nodes tell, and no
//!   more than the plan gives; each call that they paid drew one call of it, once;
//! - what a dead node had on lease is not lost: once all is quiet, nearly the whole of a purse or of a
//!   quota can be held by one call, at any node.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Failure;
use crate::audit::Books;
use crate::cluster::books;
use crate::cluster::node::Node;
use crate::cluster::traffic::{Client, Mix, Traffic};
use crate::cluster::{Cluster, Payer};
use crate::control::Control;
use crate::figure::text;
use crate::proof::{Findings, say};
use crate::seeded::Seeded;
use crate::seen::{Compared, Seen};
use crate::subscribed::{self, FEW, MANY, Quotas};
use crate::tariff::Tariff;

/// Enough that no call of a round is refused.
const RICH: i128 = 50_000_000_000;
/// So little that a round spends it.
const TIGHT: i128 = 150_000_000;
/// Callers of each payer at each node.
const CALLERS: [usize; 4] = [2, 2, 2, 2];
/// Which of the payers has a limit, and which is on a plan.
const LIMITED: usize = 2;
const ON_PLAN: usize = 3;
/// How long a caller waits for the end of an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long one waits who does not wait for a broken link to be mended.
const HASTE: Duration = Duration::from_secs(2);
/// How soon every node must serve again.
const BACK: Duration = Duration::from_secs(5);
/// How long a round waits for everybody to serve again before it gives up.
const GIVE_UP: Duration = Duration::from_mins(1);

/// A cluster that has one round after another to go through.
#[derive(Debug)]
pub struct Rounds {
    /// The cluster.
    pub cluster: Cluster,
    /// What draws everything.
    pub seeded: Seeded,
    /// Whether each call has a connection of its own, which must be there within a second.
    pub connect_anew: bool,
    proof: &'static str,
    control: Control,
    number: u64,
    tally: Tally,
}

/// A round under way.
#[derive(Debug)]
pub struct Round {
    /// The callers.
    pub traffic: Traffic,
    payers: Vec<Payer>,
    quotas: Quotas,
}

/// The figures of all rounds.
#[derive(Debug, Default)]
struct Tally {
    compared: Compared,
    restarts: u64,
    /// How long each node took to serve again, in milliseconds.
    back_ms: Vec<u128>,
    refused: BTreeMap<String, u64>,
    /// Calls that a plan's quotas paid, or a part of them.
    by_quota: u64,
    /// Answers that showed no cost, because the books were away and the call stood in a tier.
    untold: u64,
    /// How often nearly all of a quota could be held after a round.
    quota_free: u64,
}

impl Rounds {
    /// Before the first round.
    ///
    /// # Errors
    /// The operator is refused.
    pub async fn new(proof: &'static str, cluster: Cluster, seed: u64) -> Result<Self, Failure> {
        Ok(Self {
            control: cluster.control(0).await?,
            cluster,
            seeded: Seeded::new(seed),
            connect_anew: false,
            proof,
            number: 0,
            tally: Tally::default(),
        })
    }

    /// Makes the payers of a round and has them call; `what` says what will happen.
    ///
    /// # Errors
    /// A node refuses.
    pub async fn begin(&mut self, what: &str) -> Result<Round, Failure> {
        self.number += 1;
        self.say(what);
        let control = &self.control;
        let name = |kind: &str| format!("{}-{}-{kind}", self.proof, self.number);
        let rich = Payer::new(control, &name("rich"), RICH).await?;
        let tight = Payer::new(control, &name("tight"), TIGHT).await?;
        let limited = Payer::limited(control, &name("limited"), (RICH, TIGHT)).await?;
        let quotas = if self.number.is_multiple_of(2) {
            MANY
        } else {
            FEW
        };
        let database = self.cluster.url();
        let named = name("on-plan");
        let on_plan = (named.as_str(), RICH);
        let (account, key) = subscribed::enter(control, (database, quotas), on_plan).await?;
        Tariff { database }.halve(&[&account])?;
        let on_plan = Payer {
            account,
            secret: key.secret,
            funds: RICH,
        };
        let payers = vec![rich, tight, limited, on_plan];
        let traffic = self.load(&payers)?;
        Ok(Round {
            traffic,
            payers,
            quotas,
        })
    }

    /// Waits until each node has served a call to its end after the moment from which on it could,
    /// and checks how long that took.
    ///
    /// # Errors
    /// A node does not serve again at all.
    pub async fn until_served(
        &mut self,
        round: &Round,
        since: &[Option<Instant>],
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        let give_up = Instant::now() + GIVE_UP;
        let mut back = Vec::new();
        for (number, since) in since.iter().enumerate() {
            let Some(since) = *since else { continue };
            let served = loop {
                if let Some(at) = round.traffic.served_after(number, since) {
                    break at;
                }
                if Instant::now() > give_up {
                    let log = self.cluster.nodes.get(number).map(Node::log_end);
                    let log = log.unwrap_or_default();
                    return Err(format!("node {} serves no more:\n{log}", number + 1).into());
                }
                self.look_after().await?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            };
            let took = served - since;
            if took > BACK {
                let log = self.cluster.nodes.get(number).map(Node::log_end);
                self.say(&format!(
                    "the log of node {}:\n{}",
                    number + 1,
                    log.unwrap_or_default()
                ));
            }
            findings.check(took <= BACK, || {
                format!("node {} served again after {took:?} only", number + 1)
            });
            back.push(took.as_millis());
        }
        self.say(&format!("nodes served again after {back:?} ms"));
        self.tally.back_ms.extend(back);
        Ok(())
    }

    /// Does what a supervisor does for processes that ended by themselves.
    ///
    /// # Errors
    /// One cannot be started.
    pub async fn look_after(&mut self) -> Result<(), Failure> {
        for node in self.cluster.nodes.iter_mut().filter(|node| node.runs()) {
            let before = node.restarts();
            node.look_after().await?;
            self.tally.restarts += node.restarts() - before;
        }
        Ok(())
    }

    /// Lets the load go on for a while, ends it, and checks everything.
    ///
    /// # Errors
    /// The books cannot be read.
    pub async fn finish(&mut self, round: Round, findings: &mut Findings) -> Result<(), Failure> {
        tokio::time::sleep(Duration::from_millis(self.seeded.between(100, 500))).await;
        let seen = round.traffic.end().await?;
        let control = self.control.clone();
        let payers = (round.payers.as_slice(), round.quotas);
        let compared = self.check(&control, payers, &seen, findings).await?;
        self.say(&format!("{compared:?}"));
        self.tally.compared.add(compared);
        if let Err(error) = self.cluster.verify_ledger() {
            findings.check(false, || error.to_string());
        }
        Ok(())
    }

    /// The figures of all rounds.
    pub fn line(&self) -> Value {
        let Tally {
            compared,
            restarts,
            back_ms,
            refused,
            by_quota,
            untold,
            quota_free,
        } = &self.tally;
        json!({
            "rounds": self.number,
            "restarts_by_supervisor": restarts,
            "completed": compared.completed,
            "lost": compared.lost,
            "double": compared.double,
            "interrupted": compared.interrupted,
            "interrupted_charged": compared.interrupted_charged,
            "by_quota": by_quota,
            "untold": untold,
            "quota_free": quota_free,
            "refused": refused,
            "back_ms": percentiles(back_ms.clone()),
        })
    }

    fn load(&mut self, payers: &[Payer]) -> Result<Traffic, Failure> {
        let mut clients = Vec::new();
        for (number, node) in self.cluster.nodes.iter().enumerate() {
            for (payer, callers) in CALLERS.iter().enumerate() {
                let of = payers.get(payer).ok_or("there is no such payer")?;
                for caller in 0..*callers {
                    // Some leave while their answer is stuck.
                    let hasty = self.connect_anew && caller % 2 == 0;
                    let patience = if hasty { HASTE } else { PATIENCE };
                    clients.push(Client {
                        node: number,
                        payer,
                        caller: of.patient_caller(node, patience, self.connect_anew)?,
                    });
                }
            }
        }
        Ok(Traffic::start(clients, &Mix::SHORT, &mut self.seeded))
    }

    fn say(&self, what: &str) {
        say(&format!("{}: round {}: {what}", self.proof, self.number));
    }

    /// Every payer's books against what its callers saw, and whether its funds are free again.
    async fn check(
        &mut self,
        control: &Control,
        (payers, quotas): (&[Payer], Quotas),
        seen: &[Seen],
        findings: &mut Findings,
    ) -> Result<Compared, Failure> {
        let mut sum = Compared::default();
        for (number, (payer, seen)) in payers.iter().zip(seen).enumerate() {
            let (compared, books) =
                books::compare(control, payer, (seen, number == ON_PLAN), findings).await?;
            self.tally.untold += seen.untold();
            sum.add(compared);
            for (reason, count) in seen.reasons() {
                *self.tally.refused.entry(reason.clone()).or_default() += count;
            }
            if number == 0 || number == ON_PLAN {
                let told = seen.reasons().get("402 insufficient_quota").copied();
                findings.check(told.is_none(), || {
                    format!("a payer with enough was told {told:?} times that its funds are gone")
                });
            }
            let purse = if number == LIMITED {
                TIGHT
            } else {
                payer.funds
            };
            let left = purse - books.charged;
            findings.check(left >= 0, || format!("overspent by {}", text(-left)));
            let node = usize::try_from(self.seeded.next() % 1_000)? % self.cluster.nodes.len();
            if number == ON_PLAN {
                let of = (payer, &books, quotas);
                self.check_quotas((control, node), of, findings).await?;
                continue;
            }
            books::nearly_all_is_free(&self.cluster, node, payer, left, findings).await?;
        }
        Ok(sum)
    }

    /// What was drawn of a plan's quotas, and whether what is left of them is free again.
    async fn check_quotas(
        &mut self,
        (control, node): (&Control, usize),
        (payer, books, quotas): (&Payer, &Books, Quotas),
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        let node = self
            .cluster
            .nodes
            .get(node)
            .ok_or("there is no such node")?;
        let caller = payer.caller(node)?;
        let of = (payer.account.as_str(), books, quotas);
        self.tally.by_quota += subscribed::check(control, &caller, of, findings).await?;
        let free = books::nearly_all_quota_is_free(node, payer, quotas, findings).await?;
        self.tally.quota_free += u64::from(free);
        Ok(())
    }
}

fn percentiles(mut figures: Vec<u128>) -> Value {
    figures.sort_unstable();
    let at = |share: usize| {
        let place = (figures.len() * share / 100).min(figures.len().saturating_sub(1));
        figures.get(place).copied()
    };
    json!({ "count": figures.len(), "p50": at(50), "p95": at(95), "most": at(100) })
}
