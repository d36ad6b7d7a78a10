//! What goes on beside the calls: time for the lease book, signs of life, news, listings.

use std::sync::Arc;
use std::time::Duration;

use billing_core::port::directory::{ChangeSubject, DirectoryError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::wiring::{House, join};

/// How often time passes in the lease book.
const TICK: Duration = Duration::from_millis(20);
/// How often a node looks whether others lack what it has on lease, where nobody tells it.
const RECALLS: Duration = Duration::from_millis(250);
/// How often news is looked for. Half of it is what a change takes to arrive, on average.
const NEWS: Duration = Duration::from_millis(250);
/// How often settled calls are entered into the accounts' lists.
const LISTING: Duration = Duration::from_millis(500);
/// How often what nobody needs any more is deleted.
const PURGE: Duration = Duration::from_mins(1);
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
    tracker.spawn(follow_spool(house.clone(), stop.clone()));
    let holder = house.clone();
    tracker.spawn(every(RECALLS, stop.clone(), move || {
        heed_recalls(holder.clone())
    }));
    let listing = house.clone();
    tracker.spawn(every(LISTING, stop.clone(), move || {
        list_calls(listing.clone())
    }));
    let purged = house.clone();
    tracker.spawn(every(PURGE, stop.clone(), move || purge(purged.clone())));
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
    let mut position = house.news_from;
    let mut stale_prices = false;
    let mut clock = tokio::time::interval(NEWS);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            () = stop.cancelled() => return,
        }
        match hear(&house, position).await {
            Ok(News { until, prices }) => {
                position = until;
                stale_prices |= prices;
            }
            Err(error) => tracing::warn!(%error, "no news"),
        }
        if stale_prices {
            match house.prices.reload().await {
                Ok(()) => stale_prices = false,
                Err(error) => tracing::error!(%error, "new prices cannot be read"),
            }
        }
    }
}

/// What was heard.
struct News {
    /// The position of the last change.
    until: i64,
    /// Whether prices were among them.
    prices: bool,
}

async fn hear(house: &House, from: i64) -> Result<News, DirectoryError> {
    let mut news = News {
        until: from,
        prices: false,
    };
    loop {
        let changes = house
            .ports
            .directory
            .changes(news.until, NEWS_BATCH)
            .await?;
        let Some(last) = changes.last() else {
            return Ok(news);
        };
        news.until = last.position;
        for change in &changes {
            match change.subject {
                ChangeSubject::Account(account) => {
                    house.callers.forget(account);
                    house.leases.changed(account);
                }
                ChangeSubject::Prices => news.prices = true,
            }
        }
    }
}

/// Gives back what other nodes lack and this one does not need.
async fn heed_recalls(house: House) {
    match house.ports.books.recalls(house.leases.node()).await {
        Ok(recalls) => house.leases.recall(&recalls),
        Err(error) => tracing::warn!(%error, "what other nodes lack is not known"),
    }
}

async fn follow_spool(house: House, stop: CancellationToken) {
    house.gate.replay.follow(&house.leases, &stop).await;
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

async fn purge(house: House) {
    match house.purge().await {
        Ok(0) => {}
        Ok(rows) => tracing::debug!(rows, "deleted what nobody needs any more"),
        Err(error) => tracing::warn!(%error, "nothing was deleted"),
    }
}

async fn show_life(house: &House, config: &Config) {
    let (books, sent_at) = (&house.ports.books, house.ports.clock.now());
    match books.beat(house.leases.node(), sent_at).await {
        Ok(true) => house.leases.confirmed(sent_at),
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
