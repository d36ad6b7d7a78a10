//! News: what was changed in the store, be it by this process, another node or the command line.

use std::time::Duration;

use billing_core::port::directory::{ChangeSubject, DirectoryError};
use tokio_util::sync::CancellationToken;

use crate::checker::MOVED;
use crate::wiring::House;

/// How often news is looked for. Half of it is what a change takes to arrive, on average.
const NEWS: Duration = Duration::from_millis(250);
/// How many pieces of news are taken at a time.
const NEWS_BATCH: u32 = 1000;

/// Forgets what was in memory of an account or the prices when either changes in the store, until
/// `stop`.
pub(crate) async fn follow(house: House, stop: CancellationToken) {
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
    let asked = house.ports.clock.now();
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
            house.node.heard_all_at(asked, &house.leases);
            return Ok(news);
        };
        news.until = last.position;
        for change in &changes {
            match change.subject {
                ChangeSubject::Account(account) => {
                    house.callers.forget(account);
                    house.leases.changed(account);
                    MOVED.note(account);
                }
                ChangeSubject::Prices => news.prices = true,
            }
        }
    }
}
