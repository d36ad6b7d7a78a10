//! The crash across nodes: nodes and their database are killed under load, in any order, and come
//! back in any order. What must hold of every round: see [`crate::rounds`].

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
        let there = self.bring_back(&blow).await?;
        // A node could serve when it had a database and, if it was killed, a process.
        let started = |number: usize| {
            let killed = blow.nodes.iter().any(|(node, _)| *node == number);
            let node = self.rounds.cluster.nodes.get(number).filter(|_| killed);
            node.and_then(Node::started)
        };
        let since: Vec<_> = (0..nodes).map(|node| there.max(started(node))).collect();
        self.rounds.until_served(&round, &since, findings).await?;
        self.rounds.finish(round, findings).await?;
        self.rounds.cluster.replenish_if_alone().await
    }

    /// The figures of all rounds.
    pub fn line(&self) -> Value {
        let mut line = self.rounds.line();
        line["node_kills"] = self.node_kills.into();
        line["database_kills"] = self.database_kills.into();
        line["promotions"] = self.promotions.into();
        line
    }

    fn strike(&mut self, blow: &Blow) -> Result<(), Failure> {
        if blow.database_first {
            self.kill_database(blow)?;
        }
        for (number, _) in &blow.nodes {
            self.node(*number)?.kill()?;
            self.node_kills += 1;
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

    /// Starts what is down when its time has come; says since when the database is there again.
    async fn bring_back(&mut self, blow: &Blow) -> Result<Option<Instant>, Failure> {
        let struck = Instant::now();
        let mut nodes = blow.nodes.clone();
        nodes.sort_by_key(|(_, down)| *down);
        let mut nodes = nodes.into_iter().peekable();
        let mut database = blow.database;
        let mut there = None;
        while nodes.peek().is_some() || database.is_some() {
            if database.is_some_and(|down| struck.elapsed() >= down) {
                database = None;
                there = Some(self.database_back(blow.promote).await?);
            }
            while let Some((number, _)) = nodes.next_if(|(_, down)| struck.elapsed() >= *down) {
                self.node(number)?.start()?;
            }
            self.rounds.look_after().await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(there)
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
