//! What is killed or frozen in a round.

use std::fmt;
use std::time::Duration;

use crate::cluster::SILENCE_S;
use crate::seeded::Seeded;

/// What happens to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Struck {
    /// Its number.
    pub(super) node: usize,
    /// For how long.
    pub(super) lasts: Duration,
    /// Whether it is frozen, and goes on afterwards as if nothing had been; else it is killed.
    pub(super) frozen: bool,
}

/// Who is struck in a round, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blow {
    /// When, after the load began.
    pub(super) after: Duration,
    /// Which nodes.
    pub(super) nodes: Vec<Struck>,
    /// How long the database is down.
    pub(super) database: Option<Duration>,
    /// Whether the database goes first; else the nodes do.
    pub(super) database_first: bool,
    /// Whether the standby takes the place of the database.
    pub(super) promote: bool,
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
                Struck {
                    node,
                    lasts: down(seeded),
                    frozen: seeded.percent(25),
                }
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
        for struck in &self.nodes {
            let how = if struck.frozen { " frozen" } else { "" };
            write!(f, ", node {}{how} for {:?}", struck.node + 1, struck.lasts)?;
        }
        if self.database_first {
            return Ok(());
        }
        database(f)
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
            assert!(blow.nodes.iter().all(|struck| struck.node < 3), "{blow}");
            assert_eq!(blow, Blow::drawn(&mut Seeded::new(seed), 3, false));
            assert!(
                Blow::drawn(&mut Seeded::new(seed), 3, true)
                    .database
                    .is_some()
            );
        }
    }
}
