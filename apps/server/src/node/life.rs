//! Signs of life: this node's own, what follows from those of others, and what the dead leave.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use billing_core::id::NodeId;
use billing_core::node::Pulse;
use billing_core::node_watch::{NodeWatch, WatchPolicy};
use billing_core::port::nodes::{Beat, NodesError, Replaces};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::ThisNode;
use crate::gate::Leases;

/// How long the store may take to answer a sign of life.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often leases of nodes that are gone are looked for. Not only after a fence: a lease that
/// was granted while its node was being fenced comes to light later.
const SWEEP: Duration = Duration::from_secs(2);
/// How many accounts are freed at a time.
const SWEPT: u32 = 256;

/// Shows signs of life until `stop`, and does what follows from the answers.
pub(crate) async fn live(node: Arc<ThisNode>, leases: Arc<Leases>, stop: CancellationToken) {
    let mut heart = Heart::new(node, leases);
    let mut clock = tokio::time::interval(heart.node.settings.beat);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = clock.tick() => heart.beat().await,
            () = stop.cancelled() => return,
        }
    }
}

/// Frees what nodes that are gone have on lease, until `stop`.
pub(crate) async fn sweep(node: Arc<ThisNode>, stop: CancellationToken) {
    let mut clock = tokio::time::interval(SWEEP);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = clock.tick() => sweep_once(&node, &stop).await,
            () = stop.cancelled() => return,
        }
    }
}

/// Gives up the nodes that were waited for long enough, and frees all that nodes that have left
/// still have on lease.
pub(crate) async fn sweep_once(node: &ThisNode, stop: &CancellationToken) {
    let keep = span(node.settings.keep_leases);
    match node.nodes.give_up(keep, node.clock.now()).await {
        Ok(0) => {}
        Ok(nodes) => tracing::warn!(
            nodes,
            "nodes that were taken for dead did not come back: what they had on lease is free"
        ),
        Err(error) => tracing::warn!(%error, "nodes that are gone are not given up yet"),
    }
    let mut leases = 0_u64;
    let mut more = true;
    while more && !stop.is_cancelled() {
        match node.nodes.reclaim(SWEPT).await {
            Ok(reclaimed) => {
                leases += reclaimed.leases;
                more = reclaimed.more;
            }
            Err(error) => {
                tracing::warn!(%error, "leases of nodes that are gone are not taken back yet");
                more = false;
            }
        }
    }
    if leases > 0 {
        tracing::info!(leases, "took back leases of nodes that are gone");
    }
}

#[derive(Debug)]
struct Heart {
    node: Arc<ThisNode>,
    leases: Arc<Leases>,
    watch: NodeWatch,
    /// The id to join under, when this node was fenced and has not joined again yet.
    outside: Option<NodeId>,
    /// Whether the last beat went wrong, so that a failure is told once.
    failing: bool,
}

impl Heart {
    fn new(node: Arc<ThisNode>, leases: Arc<Leases>) -> Self {
        let silence = node.settings.silence;
        // Two beats may be late before what was seen earlier counts no more.
        let gap = (silence / 3).max(node.settings.beat * 3);
        let policy = WatchPolicy {
            silence: span(silence),
            gap: span(gap),
        };
        Self {
            node,
            leases,
            watch: NodeWatch::new(policy),
            outside: None,
            failing: false,
        }
    }

    async fn beat(&mut self) {
        if let Some(id) = self.outside {
            self.join_again(id).await;
            return;
        }
        let node = Arc::clone(&self.node);
        let (asked, asked_at) = (node.steady.steady(), node.clock.now());
        let answer = node.nodes.beat(self.leases.node(), asked_at);
        let failed = match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(Beat::Alive { peers, store_time })) => {
                self.told(false);
                node.is_alive_at(asked, &self.leases);
                node.leave_earlier_ids(&self.leases).await;
                self.check_clock(asked_at, store_time);
                node.sees(peers.len());
                let dead = self.watch.saw(asked, node.steady.steady(), peers);
                self.fence(dead).await;
                return;
            }
            Ok(Ok(Beat::Fenced)) => {
                tracing::warn!("was taken for dead: it joins again, under another id");
                let id = node.new_id();
                self.outside = Some(id);
                self.join_again(id).await;
                return;
            }
            Ok(Err(error)) => super::enter::EnterError::from(error).to_string(),
            Err(_) => "the store does not answer in time".to_owned(),
        };
        if !self.told(true) {
            tracing::warn!(error = failed, "no sign of life was recorded; trying on");
        }
    }

    /// Remembers whether the store answers; says whether it was the same before.
    fn told(&mut self, failing: bool) -> bool {
        let same = self.failing == failing;
        if self.failing && !failing {
            tracing::info!("signs of life are recorded again");
        }
        self.failing = failing;
        same
    }

    async fn join_again(&mut self, id: NodeId) {
        match self.node.join(id, Replaces::Nobody).await {
            Ok(()) => {
                tracing::info!(node = %id, "joined again");
                // Until here nothing was spent: the leases were stale long before.
                self.node.had_id(self.leases.node());
                // Before leases are taken under it, so that the next life knows of them.
                self.node.note_life(id).await;
                self.leases.rejoined(id);
                self.outside = None;
            }
            Err(NodesError::IdUsed) => {
                self.outside = Some(self.node.new_id());
            }
            Err(NodesError::NameTaken(holder)) => {
                if !self.told(true) {
                    tracing::error!(name = %holder.name, node = %holder.node,
                        "another node has taken the name of this one, so that this one gets no \
                         lease: give each node a name of its own (node.name) and start it again");
                }
            }
            Err(error) => {
                if !self.told(true) {
                    tracing::warn!(%error, "cannot join again yet");
                }
            }
        }
    }

    async fn fence(&self, dead: Vec<(NodeId, Pulse)>) {
        for (peer, pulse) in dead {
            let now = self.node.clock.now();
            match self.node.nodes.fence(peer, pulse, now).await {
                Ok(true) => tracing::warn!(node = %peer, "a node is silent: taken for dead"),
                Ok(false) => tracing::info!(node = %peer, "a node that was silent lives"),
                Err(error) => tracing::warn!(node = %peer, %error, "a dead node is not fenced yet"),
            }
        }
    }

    fn check_clock(&self, asked: OffsetDateTime, store: Option<OffsetDateTime>) {
        let node = &self.node;
        let skew = node.skew(asked, node.clock.now(), store);
        let was_off = node.clock_is_off.swap(skew.is_some(), Ordering::Relaxed);
        match skew {
            Some(skew) if !was_off => tracing::error!("no call is let in: {skew}"),
            None if was_off => tracing::info!("the clock is right again: calls are let in"),
            Some(_) | None => {}
        }
    }
}

fn span(duration: Duration) -> time::Duration {
    time::Duration::try_from(duration).unwrap_or(time::Duration::MAX)
}
