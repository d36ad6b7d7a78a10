//! What goes on beside the calls: time for the lease book, signs of life, news, listings.

use std::sync::Arc;
use std::time::Duration;

use billing_core::port::directory::{ChangeSubject, Directory};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::gate::{Callers, Leases, Prices};
use crate::wiring::{House, join};

/// How often time passes in the lease book.
const TICK: Duration = Duration::from_millis(100);
/// How often news is looked for. Half of it is what a change takes to arrive, on average.
const NEWS: Duration = Duration::from_millis(250);
/// How often settled calls are entered into the accounts' lists.
const LISTING: Duration = Duration::from_millis(500);
/// How many pieces of news are taken at a time.
const NEWS_BATCH: u32 = 1000;
/// How many calls are listed at a time.
const LISTING_BATCH: u64 = 1000;

/// Starts all jobs; they end when `stop` is cancelled.
pub(crate) fn start(house: &House, config: Config, stop: &CancellationToken) -> TaskTracker {
    let tracker = TaskTracker::new();
    let leases = Arc::clone(&house.leases);
    tracker.spawn(every(TICK, stop.clone(), move || {
        leases.tick();
        std::future::ready(())
    }));
    tracker.spawn(follow_news(house.clone(), stop.clone()));
    let listing = house.clone();
    tracker.spawn(every(LISTING, stop.clone(), move || {
        list_calls(listing.clone())
    }));
    let beat = Duration::from_secs(u64::from(config.node.silence_s.max(3)) / 3);
    let alive = (house.clone(), Arc::new(config));
    tracker.spawn(every(beat, stop.clone(), move || {
        let (house, config) = alive.clone();
        async move { show_life(&house, &config).await }
    }));
    tracker.close();
    tracker
}

async fn every<F: Future<Output = ()>>(
    period: Duration,
    stop: CancellationToken,
    mut work: impl FnMut() -> F,
) {
    let mut clock = tokio::time::interval(period);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = clock.tick() => work().await,
            () = stop.cancelled() => return,
        }
    }
}

/// Forgets what was in memory of an account or the prices when either changes in the store, be it
/// by this process, another node or the command line.
async fn follow_news(house: House, stop: CancellationToken) {
    let directory = Arc::clone(&house.ports.directory);
    let mut position = None;
    let mut clock = tokio::time::interval(NEWS);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            () = stop.cancelled() => return,
        }
        let from = match position {
            Some(position) => position,
            // What changed before this process started was never in its memory.
            None => match directory.newest_change().await {
                Ok(newest) => newest,
                Err(error) => {
                    tracing::warn!(%error, "no news");
                    continue;
                }
            },
        };
        position = Some(hear(&*directory, from, &house).await);
    }
}

async fn hear(directory: &dyn Directory, mut from: i64, house: &House) -> i64 {
    let (callers, leases, prices): (&Callers, &Arc<Leases>, &Prices) =
        (&house.callers, &house.leases, &house.prices);
    loop {
        let news = match directory.changes(from, NEWS_BATCH).await {
            Ok(news) => news,
            Err(error) => {
                tracing::warn!(%error, "no news");
                return from;
            }
        };
        let mut new_prices = false;
        for change in &news {
            match change.subject {
                ChangeSubject::Account(account) => {
                    callers.forget(account);
                    leases.changed(account);
                }
                ChangeSubject::Prices => new_prices = true,
            }
        }
        if new_prices && let Err(error) = prices.reload().await {
            // The position stays, so that it is tried again.
            tracing::error!(%error, "new prices cannot be read");
            return from;
        }
        let Some(last) = news.last() else { return from };
        from = last.position;
    }
}

async fn list_calls(house: House) {
    loop {
        match house.list_pending_calls(LISTING_BATCH).await {
            Ok(listed) if listed == LISTING_BATCH => {}
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, "settled calls are not listed yet");
                return;
            }
        }
    }
}

async fn show_life(house: &House, config: &Config) {
    let (books, clock) = (&house.ports.books, &house.ports.clock);
    match books.beat(house.leases.node(), clock.now()).await {
        Ok(true) => {}
        Ok(false) => match join(config, &house.ports).await {
            Ok(node) => {
                tracing::warn!(node = %node, "was taken for dead; joined again");
                house.leases.rejoined(node);
            }
            Err(error) => tracing::error!(%error, "was taken for dead and cannot join again"),
        },
        Err(error) => tracing::warn!(%error, "no sign of life was recorded"),
    }
}
