//! What other nodes tell at once, by the database's own notifications.

use std::time::Duration;

use sea_orm::sqlx;
use sea_orm::sqlx::postgres::{PgListener, PgPoolOptions};
use sea_orm::{DbErr, RuntimeErr};
use tokio::time::timeout;

use crate::error::StoreError;
use crate::open::Store;

/// Something was noted that nodes may have in memory. Nothing is said with it: see
/// [`billing_core::port::directory::Directory::changes`].
pub const NEWS: &str = "tollgate_news";
/// A node lacks what others have on lease of the account that is named.
pub const RECALL: &str = "tollgate_recall";

/// After how long without a word the connection is tried.
const SILENCE: Duration = Duration::from_secs(10);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// One thing that was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// [`NEWS`] or [`RECALL`].
    pub channel: String,
    /// What was said.
    pub payload: String,
}

/// A connection on which the database tells what happens. Nothing depends on its being heard:
/// who listens looks by itself as well, only not as often.
#[derive(Debug)]
pub struct Listener(PgListener);

impl Store {
    /// Listens; `None` on a database that tells nothing, which one node uses alone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn listen(&self) -> Result<Option<Listener>, StoreError> {
        if self.is_embedded() {
            return Ok(None);
        }
        let options = self.db.signs.connection().get_postgres_connection_pool();
        let options = (*options.connect_options()).clone();
        // A pool of its own: a connection that died without a word blocks nobody else's.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&pool).await.map_err(lost)?;
        listener.listen_all([NEWS, RECALL]).await.map_err(lost)?;
        Ok(Some(Listener(listener)))
    }
}

impl Listener {
    /// Waits for the next thing that is told; `None` when the connection was lost and is there
    /// again, so that something may have been missed.
    ///
    /// # Errors
    /// [`StoreError`]: the connection is lost.
    pub async fn next(&mut self) -> Result<Option<Told>, StoreError> {
        loop {
            match timeout(SILENCE, self.0.try_recv()).await {
                Ok(Ok(told)) => {
                    return Ok(told.map(|told| Told {
                        channel: told.channel().to_owned(),
                        payload: told.payload().to_owned(),
                    }));
                }
                Ok(Err(error)) => return Err(lost(error)),
                Err(_) => self.try_connection().await?,
            }
        }
    }

    /// A link that was cut says nothing, as does one on which nothing happens.
    async fn try_connection(&mut self) -> Result<(), StoreError> {
        let answer = timeout(PATIENCE, sqlx::query("SELECT 1").execute(&mut self.0));
        match answer.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(lost(error)),
            Err(_) => Err(lost(sqlx::Error::PoolTimedOut)),
        }
    }
}

fn lost(error: sqlx::Error) -> StoreError {
    DbErr::Conn(RuntimeErr::SqlxError(error.into())).into()
}
