//! What happens in a round, and how long it takes until everybody serves again.

use std::fmt;
use std::time::{Duration, Instant};

use super::{BACK, CrashNodes};
use crate::Failure;
use crate::cluster::SILENCE_S;
use crate::cluster::node::Node;
use crate::cluster::traffic::Traffic;
use crate::proof::Findings;
use crate::seeded::Seeded;

/// How long a round waits for everybody to serve again before it gives up.
const GIVE_UP: Duration = Duration::from_mins(1);

/// Who is killed in a round, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blow {
    /// When, after the load began.
    after: Duration,
    /// Which nodes, and how long each is down.
    nodes: Vec<(usize, Duration)>,
    /// How long the database is down.
    database: Option<Duration>,
    /// Whether the database goes first; else the nodes do.
    database_first: bool,
    /// Whether the standby takes the place of the database.
    promote: bool,
}

impl Blow {
    /// Draws what happens.
    pub(super) fn drawn(seeded: &mut Seeded, nodes: usize, promote: bool) -> Self {
        let after = Duration::from_millis(seeded.between(200, 1_200));
        let database = promote || seeded.percent(50);
        let all = u64::try_from(nodes).unwrap_or(1);
        // Either of them, or both, always something.
        let struck = match (database, seeded.percent(50)) {
            (true, true) => 0,
            (true, false) | (false, _) => seeded.between(1, all + 1),
        };
        let first = seeded.between(0, all);
        let nodes = (0..struck)
            .map(|step| {
                let node = usize::try_from((first + step) % all).unwrap_or(0);
                (node, down(seeded))
            })
            .collect();
        Self {
            after,
            nodes,
            database: database.then(|| down(seeded)),
            database_first: seeded.percent(50),
            promote,
        }
    }
}

/// Mostly short; now and then so long that others take a node for dead.
fn down(seeded: &mut Seeded) -> Duration {
    let most = if seeded.percent(15) {
        SILENCE_S * 1_000 + 2_500
    } else {
        1_500
    };
    Duration::from_millis(seeded.between(0, most))
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {:?}", self.after)?;
        let database = |f: &mut fmt::Formatter<'_>| match self.database {
            None => Ok(()),
            Some(_) if self.promote => write!(f, ", the primary, replaced by its standby"),
            Some(down) => write!(f, ", the database for {down:?}"),
        };
        if self.database_first {
            database(f)?;
        }
        for (node, down) in &self.nodes {
            write!(f, ", node {} for {down:?}", node + 1)?;
        }
        if self.database_first {
            return Ok(());
        }
        database(f)
    }
}

impl CrashNodes {
    /// Strikes, brings everything back, and waits until every node that was touched by it has
    /// served a call to its end. Answers with how long each took, in milliseconds.
    pub(super) async fn strike(
        &mut self,
        blow: &Blow,
        traffic: &Traffic,
        findings: &mut Findings,
    ) -> Result<Vec<u128>, Failure> {
        tokio::time::sleep(blow.after).await;
        if blow.database_first {
            self.kill_database(blow)?;
        }
        for (number, _) in &blow.nodes {
            let node = self.cluster.nodes.get_mut(*number);
            node.ok_or("there is no such node")?.kill()?;
            self.tally.node_kills += 1;
        }
        if !blow.database_first {
            self.kill_database(blow)?;
        }
        let there = self.bring_back(blow).await?;
        self.until_served(blow, there, traffic, findings).await
    }

    fn kill_database(&mut self, blow: &Blow) -> Result<(), Failure> {
        if blow.database.is_some() {
            self.cluster.primary.kill()?;
            self.tally.database_kills += 1;
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
                let node = self.cluster.nodes.get_mut(number);
                node.ok_or("there is no such node")?.start()?;
            }
            self.look_after().await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(there)
    }

    async fn database_back(&mut self, promote: bool) -> Result<Instant, Failure> {
        if promote {
            self.cluster.promote().await?;
            self.tally.promotions += 1;
        } else {
            self.cluster.primary.start()?;
            self.cluster.primary.takes_connections().await?;
        }
        Ok(Instant::now())
    }

    /// Does what a supervisor does for processes that ended by themselves.
    async fn look_after(&mut self) -> Result<(), Failure> {
        for node in self.cluster.nodes.iter_mut().filter(|node| node.runs()) {
            let before = node.restarts();
            node.look_after().await?;
            self.tally.restarts += node.restarts() - before;
        }
        Ok(())
    }

    async fn until_served(
        &mut self,
        blow: &Blow,
        there: Option<Instant>,
        traffic: &Traffic,
        findings: &mut Findings,
    ) -> Result<Vec<u128>, Failure> {
        let mut back = Vec::new();
        let give_up = Instant::now() + GIVE_UP;
        for number in 0..self.cluster.nodes.len() {
            let killed = blow.nodes.iter().any(|(node, _)| *node == number);
            let started = self.cluster.nodes.get(number).and_then(Node::started);
            let since = there.max(started.filter(|_| killed));
            let Some(since) = since else { continue };
            let served = loop {
                if let Some(at) = traffic.served_after(number, since) {
                    break at;
                }
                if Instant::now() > give_up {
                    let node = self.cluster.nodes.get(number);
                    let log = node.map(Node::log_end).unwrap_or_default();
                    return Err(format!("node {} serves no more:\n{log}", number + 1).into());
                }
                self.look_after().await?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            };
            let took = served - since;
            findings.check(took <= BACK, || {
                format!("node {} served again after {took:?} only", number + 1)
            });
            back.push(took.as_millis());
        }
        Ok(back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_blow_strikes_something_and_a_seed_brings_it_back() {
        for seed in 0..200 {
            let blow = Blow::drawn(&mut Seeded::new(seed), 3, false);
            assert!(!blow.nodes.is_empty() || blow.database.is_some(), "{blow}");
            assert!(blow.nodes.iter().all(|(node, _)| *node < 3), "{blow}");
            assert_eq!(blow, Blow::drawn(&mut Seeded::new(seed), 3, false));
            assert!(
                Blow::drawn(&mut Seeded::new(seed), 3, true)
                    .database
                    .is_some()
            );
        }
    }
}
