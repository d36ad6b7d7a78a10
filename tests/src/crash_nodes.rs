//! The crash across nodes: nodes and their database are killed under load, in any order, and the
//! books are compared with what clients hold.
//!
//! Each round has payers of its own: one that is rich, one whose wallet runs dry, one whose key's
//! limit does. Callers of all three are at every node from the first moment of the round to the
//! last. What must hold of every round:
//!
//! - a complete answer is charged once, with the figure that it showed; nothing is charged twice,
//!   and nobody is charged who was refused;
//! - no purse is overspent, the books balance, `tollgate ledger verify` finds nothing;
//! - every node serves again within five seconds: of the moment when the database takes
//!   connections, or when the node's process was started, whichever is later;
//! - the funds that a dead node had on lease are not lost: once all is quiet, nearly the whole of a
//!   purse can be held by one call.

mod round;

use std::time::Duration;

use serde_json::{Value, json};

use crate::Failure;
use crate::cluster::books;
use crate::cluster::traffic::{Client, Mix, Traffic};
use crate::cluster::{Cluster, Payer, Shape};
use crate::control::Control;
use crate::figure::text;
use crate::proof::{Findings, say};
use crate::seeded::Seeded;
use crate::seen::{Compared, Seen};
use round::Blow;

/// Enough that no call of a round is refused.
const RICH: i128 = 50_000_000_000;
/// So little that a round spends it.
const TIGHT: i128 = 150_000_000;
/// Callers of each payer at each node.
const CALLERS: [usize; 3] = [4, 2, 2];
/// How long a caller waits for the end of an answer.
const PATIENCE: Duration = Duration::from_secs(40);
/// How soon every node must serve again.
const BACK: Duration = Duration::from_secs(5);

/// Several nodes that are killed again and again.
#[derive(Debug)]
pub struct CrashNodes {
    cluster: Cluster,
    seeded: Seeded,
    round: u64,
    tally: Tally,
}

/// The figures of a run.
#[derive(Debug, Default)]
struct Tally {
    compared: Compared,
    node_kills: u64,
    database_kills: u64,
    promotions: u64,
    restarts: u64,
    /// How long each node took to serve again, in milliseconds.
    back_ms: Vec<u128>,
    reasons: std::collections::BTreeMap<String, u64>,
}

impl CrashNodes {
    /// Starts so many nodes, on a database with a synchronous standby or without.
    ///
    /// # Errors
    /// They do not come up.
    pub async fn start(nodes: usize, standby: bool, seed: u64) -> Result<Self, Failure> {
        Ok(Self {
            cluster: Cluster::start(Shape::local(nodes, standby)?).await?,
            seeded: Seeded::new(seed),
            round: 0,
            tally: Tally::default(),
        })
    }

    /// One round: load, a blow, everything back, and every check. `promote` puts the standby in
    /// the place of the primary that is killed.
    ///
    /// # Errors
    /// Something does not come up again, or cannot be asked.
    pub async fn round(&mut self, promote: bool, findings: &mut Findings) -> Result<(), Failure> {
        self.round += 1;
        let control = self.cluster.control(0).await?;
        let payers = self.payers(&control).await?;
        let blow = Blow::drawn(&mut self.seeded, self.cluster.nodes.len(), promote);
        say(&format!("crash-nodes: round {}: {blow}", self.round));
        let traffic = self.load(&payers)?;
        let back = self.strike(&blow, &traffic, findings).await?;
        // The load goes on for a while after all is back.
        tokio::time::sleep(Duration::from_millis(self.seeded.between(100, 500))).await;
        let seen = traffic.end().await?;
        let control = self.cluster.control(0).await?;
        let round = self.check(&control, &payers, &seen, findings).await?;
        say(&format!(
            "crash-nodes: round {}: back after {back:?} ms; {round:?}",
            self.round
        ));
        self.tally.compared.add(round);
        self.tally.back_ms.extend(back);
        if let Err(error) = self.cluster.verify_ledger() {
            findings.check(false, || error.to_string());
        }
        self.cluster.replenish_if_alone().await
    }

    /// The figures of all rounds.
    pub fn line(&self) -> Value {
        let Tally {
            compared,
            node_kills,
            database_kills,
            promotions,
            restarts,
            back_ms,
            reasons,
        } = &self.tally;
        json!({
            "rounds": self.round,
            "node_kills": node_kills,
            "database_kills": database_kills,
            "promotions": promotions,
            "restarts_by_supervisor": restarts,
            "completed": compared.completed,
            "lost": compared.lost,
            "double": compared.double,
            "interrupted": compared.interrupted,
            "interrupted_charged": compared.interrupted_charged,
            "refused": reasons,
            "back_ms": percentiles(back_ms.clone()),
        })
    }

    async fn payers(&self, control: &Control) -> Result<Vec<Payer>, Failure> {
        let name = |kind: &str| format!("crash-{}-{kind}", self.round);
        let rich = Payer::new(control, &name("rich"), RICH).await?;
        let tight = Payer::new(control, &name("tight"), TIGHT).await?;
        let limited = Payer::limited(control, &name("limited"), (RICH, TIGHT)).await?;
        Ok(vec![rich, tight, limited])
    }

    fn load(&mut self, payers: &[Payer]) -> Result<Traffic, Failure> {
        let mut clients = Vec::new();
        for (number, node) in self.cluster.nodes.iter().enumerate() {
            for (payer, callers) in CALLERS.iter().enumerate() {
                let of = payers.get(payer).ok_or("there is no such payer")?;
                for _ in 0..*callers {
                    clients.push(Client {
                        node: number,
                        payer,
                        caller: of.patient_caller(node, PATIENCE)?,
                    });
                }
            }
        }
        Ok(Traffic::start(clients, &Mix::SHORT, &mut self.seeded))
    }

    /// Every payer's books against what its callers saw, and whether its funds are free again.
    async fn check(
        &mut self,
        control: &Control,
        payers: &[Payer],
        seen: &[Seen],
        findings: &mut Findings,
    ) -> Result<Compared, Failure> {
        let mut sum = Compared::default();
        for (number, (payer, seen)) in payers.iter().zip(seen).enumerate() {
            let (compared, books) = books::compare(control, payer, seen, findings).await?;
            sum.add(compared);
            for (reason, count) in seen.reasons() {
                *self.tally.reasons.entry(reason.clone()).or_default() += count;
            }
            if number == 0 {
                let told = seen.reasons().get("402 insufficient_quota").copied();
                findings.check(told.is_none(), || {
                    format!("the rich payer was told {told:?} times that its funds are gone")
                });
            }
            let purse = if number == 2 { TIGHT } else { payer.funds };
            let left = purse - books.charged;
            findings.check(left >= 0, || format!("overspent by {}", text(-left)));
            let node = usize::try_from(self.seeded.next() % 1_000)? % self.cluster.nodes.len();
            books::nearly_all_is_free(&self.cluster, node, payer, left, findings).await?;
        }
        Ok(sum)
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
