//! What others tell this node at once, so that it need not look so often.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::wiring::{Listener, NEWS, Store};

/// How long after a failure listening is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often who is told looks by itself: half of it is what a change takes to arrive, on average,
/// while nobody can tell. While somebody can, it is only for what a cut link swallowed.
const LOOK: Duration = Duration::from_millis(250);
const LOOK_WHILE_TOLD: Duration = Duration::from_millis(500);

/// Wakes those who wait for something that other nodes may tell.
#[derive(Debug, Default)]
pub(crate) struct Ears {
    news: Notify,
    recalls: Notify,
    listening: AtomicBool,
}

impl Ears {
    /// Waits until there may be news.
    pub(crate) async fn news(&self) {
        self.wait(&self.news).await;
    }

    /// Waits until somebody may lack what this node has on lease.
    pub(crate) async fn recalls(&self) {
        self.wait(&self.recalls).await;
    }

    async fn wait(&self, what: &Notify) {
        let look = if self.listening.load(Ordering::Relaxed) {
            LOOK_WHILE_TOLD
        } else {
            LOOK
        };
        tokio::select! {
            () = what.notified() => {}
            () = tokio::time::sleep(look) => {}
        }
    }

    /// Something may have gone unheard.
    fn wake_all(&self) {
        self.news.notify_one();
        self.recalls.notify_one();
    }
}

/// Listens until `stop`.
pub(crate) async fn listen(store: Store, ears: Arc<Ears>, stop: CancellationToken) {
    loop {
        let heard = async {
            match store.listen().await {
                Ok(Some(listener)) => follow(listener, &ears).await,
                // Nobody tells anything, so only looking helps.
                Ok(None) => std::future::pending().await,
                Err(error) => tracing::debug!(%error, "nobody can tell this node anything now"),
            }
            ears.listening.store(false, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
        };
        tokio::select! {
            () = heard => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn follow(mut listener: Listener, ears: &Ears) {
    ears.listening.store(true, Ordering::Relaxed);
    ears.wake_all();
    loop {
        match listener.next().await {
            Ok(Some(told)) if told.channel == NEWS => ears.news.notify_one(),
            Ok(Some(_)) => ears.recalls.notify_one(),
            Ok(None) => ears.wake_all(),
            Err(error) => {
                tracing::debug!(%error, "nobody can tell this node anything now");
                return;
            }
        }
    }
}
