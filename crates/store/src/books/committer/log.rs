//! SQLite's write-ahead log, moved into the file beside the commits rather than within them.

use sea_orm::{ConnectionTrait, DatabaseConnection};
use tokio::task::JoinSet;

/// How many commits lie between two checkpoints of the log. A commit that meets one waits for the
/// disk behind it: fewer would meet larger ones.
const CHECKPOINT_EVERY: u32 = 128;

/// The log, and the connection that moves it; none on PostgreSQL.
pub(super) struct Log {
    checkpointer: Option<DatabaseConnection>,
    commits: u32,
    running: JoinSet<()>,
}

impl Log {
    pub(super) fn new(checkpointer: Option<DatabaseConnection>) -> Self {
        Self {
            checkpointer,
            commits: 0,
            running: JoinSet::new(),
        }
    }

    /// A batch is committed.
    pub(super) fn note_commit(&mut self) {
        let Some(connection) = &self.checkpointer else {
            return;
        };
        self.commits = self.commits.saturating_add(1);
        while self.running.try_join_next().is_some() {}
        if self.commits < CHECKPOINT_EVERY || !self.running.is_empty() {
            return;
        }
        self.commits = 0;
        let connection = connection.clone();
        self.running.spawn(async move {
            let passive = "PRAGMA wal_checkpoint(PASSIVE)";
            if let Err(error) = connection.execute_unprepared(passive).await {
                tracing::warn!(%error, "the log of the database was not checkpointed");
            }
        });
    }

    /// Waits for what is under way, and closes.
    pub(super) async fn finish(mut self) {
        while self.running.join_next().await.is_some() {}
        if let Some(connection) = self.checkpointer
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "the checkpointer was not closed well");
        }
    }
}
