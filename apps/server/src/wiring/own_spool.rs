//! The spool of this process, and what lives before it left there.

use std::sync::Arc;

use billing_core::id::NodeId;
use billing_core::port::spool::{Backlog, Spool};
use store::{DeploymentId, EarlierLife, SpoolConfig, SpoolFile, SpoolOpenError, SpoolView};

use super::WiringError;
use crate::config::Config;

/// This node's spool, which no other process has, and what was left in it.
#[derive(Debug, Clone)]
pub(crate) struct OwnSpool {
    file: Arc<SpoolFile>,
    earlier_life: Option<EarlierLife>,
}

impl OwnSpool {
    /// The ids under which whoever had it before may have leases, the last one first, if its
    /// process has certainly ended. Their calls are in this spool or nowhere.
    pub(crate) fn ended_ids(&self) -> Vec<NodeId> {
        let ended = self.earlier_life.iter().filter(|life| life.is_over);
        let ids =
            ended.flat_map(|life| [life.node].into_iter().chain(life.earlier.iter().copied()));
        ids.collect()
    }

    /// Takes it for a node of a deployment.
    pub(super) async fn take_for(
        &self,
        deployment: DeploymentId,
        node: &str,
    ) -> Result<(), SpoolOpenError> {
        self.file.take_for(deployment, node).await
    }

    /// What is in it.
    pub(crate) fn backlog(&self) -> Backlog {
        self.file.backlog()
    }

    /// The port.
    pub(crate) fn port(&self) -> Arc<dyn Spool> {
        self.file.clone()
    }

    /// Writes what waits and closes the file.
    pub(crate) async fn close(&self) {
        self.file.close().await;
    }
}

/// Takes the spool for this process.
pub(crate) async fn open_spool(config: &Config) -> Result<OwnSpool, WiringError> {
    let opened = SpoolFile::open(spool_config(config)).await?;
    let earlier_life = opened.earlier_life;
    let file = Arc::new(opened.spool);
    let backlog = file.backlog();
    if backlog.entries > 0 || backlog.parked > 0 {
        tracing::info!(
            waiting = backlog.entries,
            set_apart = backlog.parked,
            spool = %file.path().display(),
            "calls of an earlier life are in the spool"
        );
    }
    let own = OwnSpool { file, earlier_life };
    if let Some(node) = own.ended_ids().first() {
        tracing::debug!(%node, "the process that had this spool before has ended");
    }
    Ok(own)
}

/// Looks at the spool, whoever has it; `None` where there is none.
pub(crate) async fn look_at_spool(config: &Config) -> Result<Option<SpoolView>, SpoolOpenError> {
    SpoolView::of(&spool_config(config)).await
}

fn spool_config(config: &Config) -> SpoolConfig {
    SpoolConfig {
        path: config.spool_file(),
        max_bytes: config.spool.max_mb.saturating_mul(1 << 20),
    }
}
