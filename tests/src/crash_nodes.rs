//! The crash across nodes: nodes and their database are killed under load, in any order, and come
//! back in any order; some nodes are not killed but frozen, and may find themselves taken for dead
//! when they go on. What must hold of every round: see [`crate::rounds`].

mod blow;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;
use crate::cluster::node::Node;
use crate::cluster::{Cluster, Shape};
use crate::proof::Findings;
use crate::rounds::Rounds;
use blow::Blow;

/// Several nodes that are killed again and again.
#[derive(Debug)]
pub struct CrashNodes {
    rounds: Rounds,
    node_kills: u64,
    node_freezes: u64,
    database_kills: u64,
    promotions: u64,
}

impl CrashNodes {
    /// Starts so many nodes, on a database with a synchronous standby or without.
    ///
    /// # Errors
    /// They do not come up.
    pub async fn start(nodes: usize, standby: bool, seed: u64) -> Result<Self, Failure> {
        let cluster = Cluster::start(Shape::local(nodes, standby)?.soon_dead()).await?;
        Ok(Self {
            rounds: Rounds::new("crash-nodes", cluster, seed).await?,
            node_kills: 0,
            node_freezes: 0,
            database_kills: 0,
            promotions: 0,
        })
    }

    /// One round: load, a blow, everything back, and every check. `promote` puts the standby in
    /// the place of the primary that is killed.
    ///
    /// # Errors
    /// Something does not come up again, or cannot be asked.
    pub async fn round(&mut self, promote: bool, findings: &mut Findings) -> Result<(), Failure> {
        let nodes = self.rounds.cluster.nodes.len();
        let blow = Blow::drawn(&mut self.rounds.seeded, nodes, promote);
        let round = self.rounds.begin(&blow.to_string()).await?;
        tokio::time::sleep(blow.after).await;
        self.strike(&blow)?;
        let since = self.bring_back(&blow).await?;
        self.rounds.until_served(&round, &since, findings).await?;
        self.rounds.finish(round, findings).await?;
        self.rounds.cluster.replenish_if_alone().await
    }

    /// The figures of all rounds.
    pub fn line(&self) -> Value {
        let mut line = self.rounds.line();
        line["node_kills"] = self.node_kills.into();
        line["node_freezes"] = self.node_freezes.into();
        line["database_kills"] = self.database_kills.into();
        line["promotions"] = self.promotions.into();
        line
    }

    fn strike(&mut self, blow: &Blow) -> Result<(), Failure> {
        if blow.database_first {
            self.kill_database(blow)?;
        }
        for struck in &blow.nodes {
            let node = self.node(struck.node)?;
            if struck.frozen {
                node.freeze()?;
                self.node_freezes += 1;
            } else {
                node.kill()?;
                self.node_kills += 1;
            }
        }
        if !blow.database_first {
            self.kill_database(blow)?;
        }
        Ok(())
    }

    fn kill_database(&mut self, blow: &Blow) -> Result<(), Failure> {
        if blow.database.is_some() {
            self.rounds.cluster.primary.kill()?;
            self.database_kills += 1;
        }
        Ok(())
    }

    /// Brings everything back when its time has come; says for each node since when it could
    /// serve: since it had a database and, if it was struck, a process that runs.
    async fn bring_back(&mut self, blow: &Blow) -> Result<Vec<Option<Instant>>, Failure> {
        let start = Instant::now();
        let mut struck = blow.nodes.clone();
        struck.sort_by_key(|struck| struck.lasts);
        let mut struck = struck.into_iter().peekable();
        let mut database = blow.database;
        let mut there = None;
        let mut since = vec![None; self.rounds.cluster.nodes.len()];
        while struck.peek().is_some() || database.is_some() {
            if database.is_some_and(|lasts| start.elapsed() >= lasts) {
                database = None;
                there = Some(self.database_back(blow.promote).await?);
            }
            while let Some(one) = struck.next_if(|one| start.elapsed() >= one.lasts) {
                let node = self.node(one.node)?;
                if one.frozen {
                    node.thaw()?;
                } else {
                    node.start()?;
                }
                if let Some(since) = since.get_mut(one.node) {
                    *since = Some(Instant::now());
                }
            }
            self.rounds.look_after().await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(since.into_iter().map(|node| there.max(node)).collect())
    }

    async fn database_back(&mut self, promote: bool) -> Result<Instant, Failure> {
        let cluster = &mut self.rounds.cluster;
        if promote {
            cluster.promote().await?;
            self.promotions += 1;
        } else {
            cluster.primary.start()?;
            cluster.primary.takes_connections().await?;
        }
        Ok(Instant::now())
    }

    fn node(&mut self, number: usize) -> Result<&mut Node, Failure> {
        let node = self.rounds.cluster.nodes.get_mut(number);
        Ok(node.ok_or("there is no such node")?)
    }
}
