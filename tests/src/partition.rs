//! The partition: links between callers, nodes and the database are cut and healed at random, each
//! long enough now and then for others to take a node for dead that still serves; at last the
//! database's machine is lost. What must hold of every round: see [`crate::rounds`].

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;
use crate::cluster::network::{Cut, Link, Network};
use crate::cluster::{Cluster, SILENCE_S};
use crate::proof::Findings;
use crate::rounds::Rounds;
use crate::seeded::Seeded;

/// Nodes and their database, each in a network namespace of its own.
#[derive(Debug)]
pub struct Partition {
    rounds: Rounds,
    network: Network,
    cuts: u64,
    long_cuts: u64,
}

/// Which links are cut in a round.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cuts(Vec<(Link, Cut, Duration)>);

impl Partition {
    /// Starts so many nodes. The harness must be in a namespace that it has for itself.
    ///
    /// # Errors
    /// They do not come up, or the networks cannot be made.
    pub async fn start(nodes: usize, seed: u64) -> Result<Self, Failure> {
        let network = Network::lay_out(nodes)?;
        let cluster = Cluster::start(network.shape()?.soon_dead()).await?;
        let mut rounds = Rounds::new("partition", cluster, seed).await?;
        // A connection that hangs in a dead link says nothing of whether a node serves.
        rounds.connect_anew = true;
        Ok(Self {
            rounds,
            network,
            cuts: 0,
            long_cuts: 0,
        })
    }

    /// One round: load, some links cut and healed, and every check.
    ///
    /// # Errors
    /// Something does not serve again, or cannot be asked.
    pub async fn round(&mut self, findings: &mut Findings) -> Result<(), Failure> {
        let nodes = self.rounds.cluster.nodes.len();
        let cuts = Cuts::drawn(&mut self.rounds.seeded, &self.network.links());
        let round = self.rounds.begin(&cuts.to_string()).await?;
        let before = Duration::from_millis(self.rounds.seeded.between(200, 1_000));
        tokio::time::sleep(before).await;
        let healed = self.cut_and_heal(&cuts, nodes).await?;
        self.rounds.until_served(&round, &healed, findings).await?;
        self.rounds.finish(round, findings).await
    }

    /// The last round: the database's machine is gone without a word, for good. Its synchronous
    /// standby is promoted and takes over its address. No connection is told; what a node had asked
    /// is never answered.
    ///
    /// # Errors
    /// The standby does not come up, or something does not serve again.
    pub async fn lose_database(&mut self, findings: &mut Findings) -> Result<(), Failure> {
        let standby = self.network.standby();
        self.rounds.cluster.add_standby(standby).await?;
        let round = self.rounds.begin("the database's machine is lost").await?;
        let before = Duration::from_millis(self.rounds.seeded.between(500, 1_500));
        tokio::time::sleep(before).await;
        self.network.cut(Link::Database, Cut::Silent)?;
        self.rounds.cluster.promote().await?;
        self.network.give_address_to_standby()?;
        let since = vec![Some(Instant::now()); self.rounds.cluster.nodes.len()];
        self.rounds.until_served(&round, &since, findings).await?;
        self.rounds.finish(round, findings).await
    }

    /// The figures of all rounds.
    pub fn line(&self) -> Value {
        let mut line = self.rounds.line();
        line["cuts"] = self.cuts.into();
        line["cuts_longer_than_silence"] = self.long_cuts.into();
        line
    }

    /// Cuts each link, heals it when its time has come, and says for each node since when all its
    /// links are whole.
    async fn cut_and_heal(
        &mut self,
        cuts: &Cuts,
        nodes: usize,
    ) -> Result<Vec<Option<Instant>>, Failure> {
        let mut healed = vec![None; nodes];
        for (link, how, lasts) in &cuts.0 {
            self.network.cut(*link, *how)?;
            self.cuts += 1;
            self.long_cuts += u64::from(lasts.as_secs() >= SILENCE_S);
        }
        let start = Instant::now();
        let mut open = cuts.0.clone();
        open.sort_by_key(|(_, _, lasts)| *lasts);
        for (link, _, lasts) in open {
            while start.elapsed() < lasts {
                self.rounds.look_after().await?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.network.heal(link)?;
            for node in link.nodes(nodes) {
                if let Some(since) = healed.get_mut(node) {
                    *since = Some(Instant::now());
                }
            }
        }
        Ok(healed)
    }
}

impl Cuts {
    /// One to three links.
    fn drawn(seeded: &mut Seeded, links: &[Link]) -> Self {
        let mut links = links.to_vec();
        let mut cuts = Vec::new();
        for _ in 0..seeded.between(1, 4).min(links.len() as u64) {
            let place = usize::try_from(seeded.next() % 1_000).unwrap_or(0) % links.len();
            let how = if seeded.percent(50) {
                Cut::Pulled
            } else {
                Cut::Silent
            };
            let most = if seeded.percent(35) {
                SILENCE_S * 1_000 + 4_000
            } else {
                2_000
            };
            let lasts = Duration::from_millis(seeded.between(100, most));
            cuts.push((links.remove(place), how, lasts));
        }
        Self(cuts)
    }
}

impl fmt::Display for Cuts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (link, how, lasts)) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{link} {how:?} for {lasts:?}")?;
        }
        Ok(())
    }
}
