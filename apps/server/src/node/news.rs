//! News: what was changed in the store, be it by this process, another node or the command line.

use std::sync::Arc;

use billing_core::port::directory::{ChangeSubject, DirectoryError};
use billing_core::steady::Steady;
use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use super::ears::Ears;
use crate::checker::MOVED;
use crate::wiring::House;

/// How many pieces of news are taken at a time.
const BATCH: u32 = 1000;
/// After how long without news everything is forgotten: old ones are deleted after a day.
const MISSED_AFTER: Duration = Duration::hours(12);

/// Forgets what was in memory of an account or the prices when either changes in the store, until
/// `stop`.
pub(crate) async fn follow(house: House, ears: Arc<Ears>, stop: CancellationToken) {
    let ports = &house.ports;
    let mut reader = Reader {
        position: house.news_from,
        read_at: (ports.steady.steady(), ports.machine.now()),
        stale_prices: false,
        stale_date: false,
        failing: false,
        house,
    };
    loop {
        tokio::select! {
            () = ears.news() => reader.read().await,
            () = stop.cancelled() => return,
        }
    }
}

struct Reader {
    house: House,
    /// The position of the last change that was heard.
    position: i64,
    /// When the news were last asked for that were then read to their end, by both clocks: news are
    /// deleted by date, and a machine may have stood still with its steady clock.
    read_at: (Steady, OffsetDateTime),
    stale_prices: bool,
    stale_date: bool,
    /// Whether the last attempt failed, so that a failure is told once.
    failing: bool,
}

impl Reader {
    async fn read(&mut self) {
        let ports = &self.house.ports;
        let (asked, asked_on) = (ports.steady.steady(), ports.machine.now());
        let since = asked.since(self.read_at.0).max(asked_on - self.read_at.1);
        match self.hear(since).await {
            Ok(()) => {
                if self.failing {
                    tracing::info!("news are heard again");
                }
                self.failing = false;
            }
            Err(error) => {
                if !self.failing {
                    tracing::warn!(%error, "no news; trying on");
                }
                self.failing = true;
                return;
            }
        }
        if self.stale_date {
            if let Err(error) = self.house.ports.date.read().await {
                tracing::error!(%error, "the date cannot be read");
                return;
            }
            self.stale_date = false;
        }
        if self.stale_prices {
            if let Err(error) = self.house.prices.reload().await {
                tracing::error!(%error, "new prices cannot be read");
                return;
            }
            self.stale_prices = false;
        }
        self.read_at = (asked, asked_on);
        self.house.node.heard_all_at(asked, &self.house.leases);
    }

    fn forget_all(&mut self) {
        (self.stale_prices, self.stale_date) = (true, true);
        self.house.callers.forget_all();
        self.house.leases.all_changed();
    }

    /// Hears what has changed; it did so last so long ago.
    async fn hear(&mut self, since: Duration) -> Result<(), DirectoryError> {
        let directory = Arc::clone(&self.house.ports.directory);
        // A store that is behind what it said before was restored from an older copy.
        let newest = directory.newest_change().await?;
        if newest < self.position || since > MISSED_AFTER {
            tracing::warn!("news may have been missed: everything in memory is forgotten");
            self.position = newest;
            self.forget_all();
            return Ok(());
        }
        while newest > self.position {
            let changes = directory.changes(self.position, BATCH).await?;
            let Some(last) = changes.last() else {
                return Ok(());
            };
            for change in &changes {
                match change.subject {
                    ChangeSubject::Account(account) => {
                        self.house.callers.forget(account);
                        self.house.leases.changed(account);
                        MOVED.note(account);
                    }
                    ChangeSubject::Prices => self.stale_prices = true,
                    // Whatever was kept may be of another day now.
                    ChangeSubject::Date => self.forget_all(),
                }
            }
            self.position = last.position;
        }
        Ok(())
    }
}
