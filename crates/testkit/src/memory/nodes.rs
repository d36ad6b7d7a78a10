//! The record of nodes in memory. Its clock is the one that the memory was made with.

use async_trait::async_trait;
use billing_core::id::NodeId;
use billing_core::lease::HOUSE;
use billing_core::node::{IdNumber, NodeRecord, NodeState, Pulse, free_number};
use billing_core::port::nodes::{Beat, NodeJoin, Nodes, NodesError, Reclaimed, Replaces};
use time::{Duration, OffsetDateTime};

use super::{Memory, State};

#[async_trait]
impl Nodes for Memory {
    async fn store_time(&self) -> Result<Option<OffsetDateTime>, NodesError> {
        Ok(Some(self.clock.now()))
    }

    async fn join(&self, join: NodeJoin) -> Result<IdNumber, NodesError> {
        let mut state = self.state();
        let at = self.clock.now();
        if let Some(known) = state.nodes.get(&join.node) {
            let number = known.number.filter(|_| known.name == join.name);
            return match (known.state, number) {
                (NodeState::Alive, Some(number)) => Ok(IdNumber {
                    number,
                    after: None,
                }),
                _ => Err(NodesError::IdUsed),
            };
        }
        let holder = state
            .nodes
            .values_mut()
            .find(|r| r.state == NodeState::Alive && r.name == join.name);
        if let Some(holder) = holder {
            if !join.replaces.is(holder.node, holder.pulse) {
                return Err(NodesError::NameTaken(Box::new(holder.clone())));
            }
            holder.state = NodeState::Fenced(at);
        }
        if let Replaces::Ended(ended) = join.replaces {
            state.give_up(at, |r| r.node == ended && r.name == join.name);
        }
        let number = free_number(state.nodes.values()).ok_or(NodesError::Full)?;
        let record = NodeRecord {
            node: join.node,
            name: join.name,
            number: Some(number.number),
            started_at: at,
            seen_at: at,
            pulse: Pulse::new(0),
            state: NodeState::Alive,
        };
        state.nodes.insert(join.node, record);
        Ok(number)
    }

    async fn beat(&self, node: NodeId, _now: OffsetDateTime) -> Result<Beat, NodesError> {
        let at = self.clock.now();
        let mut state = self.state();
        if !state.is_live(node) {
            return Ok(Beat::Fenced);
        }
        let mut peers = Vec::new();
        for record in state.nodes.values_mut() {
            if record.node == node {
                record.seen_at = at;
                record.pulse = Pulse::new(record.pulse.get() + 1);
            } else if record.state == NodeState::Alive {
                peers.push((record.node, record.pulse));
            }
        }
        Ok(Beat::Alive {
            peers,
            store_time: Some(at),
        })
    }

    async fn fence(
        &self,
        node: NodeId,
        seen: Pulse,
        _now: OffsetDateTime,
    ) -> Result<bool, NodesError> {
        let at = self.clock.now();
        let mut state = self.state();
        let Some(record) = state.nodes.get_mut(&node) else {
            return Ok(true);
        };
        if record.state == NodeState::Alive && record.pulse == seen {
            record.state = NodeState::Fenced(at);
        }
        Ok(record.state != NodeState::Alive)
    }

    async fn leave(&self, node: NodeId, _now: OffsetDateTime) -> Result<(), NodesError> {
        let at = self.clock.now();
        let mut state = self.state();
        state.give_up(at, |record| record.node == node);
        Ok(())
    }

    async fn still_settles(&self, node: NodeId, _now: OffsetDateTime) -> Result<(), NodesError> {
        let at = self.clock.now();
        let mut state = self.state();
        let record = state.nodes.get_mut(&node);
        if let Some(record) = record.filter(|r| matches!(r.state, NodeState::Fenced(_))) {
            record.state = NodeState::Fenced(at);
        }
        Ok(())
    }

    async fn give_up(&self, fenced_for: Duration, _now: OffsetDateTime) -> Result<u64, NodesError> {
        let at = self.clock.now();
        let before = at.saturating_sub(fenced_for);
        let is_late = |r: &NodeRecord| matches!(r.state, NodeState::Fenced(at) if at <= before);
        Ok(self.state().give_up(at, is_late))
    }

    async fn reclaim(&self, most_accounts: u32) -> Result<Reclaimed, NodesError> {
        let mut state = self.state();
        let State { nodes, books, .. } = &mut *state;
        let is_gone = |id: &NodeId| {
            *id != HOUSE
                && nodes
                    .get(id)
                    .is_none_or(|n| matches!(n.state, NodeState::Left(_)))
        };
        let mut reclaimed = Reclaimed::default();
        let mut left = most_accounts;
        for page in books.values_mut() {
            let gone: Vec<_> = page
                .leases
                .iter()
                .filter(|((node, _), _)| is_gone(node))
                .map(|(key, amount)| (*key, *amount))
                .collect();
            if gone.is_empty() {
                continue;
            }
            if left == 0 {
                reclaimed.more = true;
                break;
            }
            left -= 1;
            for ((node, scope), amount) in gone {
                page.leases.remove(&(node, scope));
                page.heard.remove(&(node, scope));
                page.free(scope, amount);
                reclaimed.leases += u64::from(!amount.is_zero());
            }
        }
        Ok(reclaimed)
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>, NodesError> {
        Ok(self.state().nodes.values().cloned().collect())
    }
}

impl State {
    /// The nodes that are chosen have left.
    fn give_up(&mut self, at: OffsetDateTime, chosen: impl Fn(&NodeRecord) -> bool) -> u64 {
        let mut given_up = 0;
        for record in self.nodes.values_mut().filter(|record| chosen(record)) {
            if !matches!(record.state, NodeState::Left(_)) {
                record.state = NodeState::Left(at);
                given_up += 1;
            }
        }
        given_up
    }

    pub(super) fn is_live(&self, node: NodeId) -> bool {
        let record = self.nodes.get(&node);
        record.is_some_and(|r| r.state == NodeState::Alive)
    }
}
