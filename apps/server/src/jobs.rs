//! What goes on beside the calls: time for the lease book, signs of life, news, listings.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use billing_core::tier_schedule::GRACE;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::billing::{BillingRun, recognize};
use crate::checker;
use crate::config::{Checker, Retention};
use crate::delivery::MessageSender;
use crate::lapses::lapse_all;
use crate::node::ears::{self, Ears};
use crate::node::{life, news};
use crate::tier_windows::Closer;
use crate::wiring::House;

/// How often time passes in the lease book.
const TICK: Duration = Duration::from_millis(20);
/// How often what was settled is entered into the accounts' lists. `bench-settle` does the same.
const LISTING: Duration = Duration::from_millis(500);
/// How often windows of tier schedules that are over are looked for.
const CLOSING: Duration = Duration::from_mins(10);
/// How often it is looked what is due to subscriptions.
const BILLING: Duration = Duration::from_mins(1);
/// How often it is looked which messages are to be sent.
const SENDING: Duration = Duration::from_secs(5);
/// How often what nobody needs any more is deleted.
const PURGE: Duration = Duration::from_mins(1);
/// How much longer than a step of retention the rest after it is, so that calls hardly notice.
const REST: u32 = 4;
/// How much is listed at a time: the more, the fewer pages are written for each.
const LISTING_BATCH: u64 = 100_000;

/// Starts all jobs; they end when `stop` is cancelled.
pub(crate) fn start(
    house: &House,
    checks: Checker,
    retention: Retention,
    stop: &CancellationToken,
) -> TaskTracker {
    let tracker = TaskTracker::new();
    let leases = Arc::clone(&house.leases);
    tracker.spawn(every(TICK, stop.clone(), move || {
        leases.tick();
        std::future::ready(())
    }));
    let ears = Arc::new(Ears::default());
    let (store, told) = (house.ports.store.clone(), Arc::clone(&ears));
    tracker.spawn(ears::listen(store, told, stop.clone()));
    tracker.spawn(news::follow(house.clone(), Arc::clone(&ears), stop.clone()));
    tracker.spawn(follow_spool(house.clone(), stop.clone()));
    tracker.spawn(heed_recalls(house.clone(), ears, stop.clone()));
    let listing = house.clone();
    tracker.spawn(every(LISTING, stop.clone(), move || {
        list_settled(listing.clone())
    }));
    let purged = house.clone();
    tracker.spawn(every(PURGE, stop.clone(), move || purge(purged.clone())));
    let closed = house.clone();
    tracker.spawn(every(CLOSING, stop.clone(), move || {
        close_windows(closed.clone())
    }));
    let billed = house.clone();
    let reckoned = Arc::new(AtomicBool::new(false));
    tracker.spawn(every(BILLING, stop.clone(), move || {
        bill(billed.clone(), Arc::clone(&reckoned))
    }));
    if let Some(sender) = house.sender.clone() {
        let ends = stop.clone();
        tracker.spawn(every(SENDING, stop.clone(), move || {
            send_messages(sender.clone(), ends.clone())
        }));
    }
    if let Some(days) = retention.calls_days {
        let kept = house.clone();
        let ends = stop.clone();
        tracker.spawn(every(PURGE, stop.clone(), move || {
            expire(kept.clone(), days, ends.clone())
        }));
    }
    let (node, leases) = (&house.node, &house.leases);
    let living = life::live(Arc::clone(node), Arc::clone(leases), stop.clone());
    tracker.spawn(living);
    tracker.spawn(life::sweep(Arc::clone(node), stop.clone()));
    let proving = checker::run(house.ports.clone(), checks, stop.clone());
    tracker.spawn(proving);
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

/// Gives back what other nodes lack and this one does not need.
async fn heed_recalls(house: House, ears: Arc<Ears>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = ears.recalls() => {}
            () = stop.cancelled() => return,
        }
        match house.ports.books.recalls(house.leases.node()).await {
            Ok(recalls) => house.leases.recall(&recalls),
            Err(error) => tracing::warn!(%error, "what other nodes lack is not known"),
        }
    }
}

async fn follow_spool(house: House, stop: CancellationToken) {
    house.gate.replay.follow(&house.leases, &stop).await;
}

async fn list_settled(house: House) {
    loop {
        match house.list_settled(LISTING_BATCH).await {
            Ok(listed) if listed.most() >= LISTING_BATCH => {}
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, "what was settled is not listed yet");
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

/// Every node does so; each window is closed once.
async fn close_windows(house: House) {
    let ports = &house.ports;
    let book = house.gate.prices.book();
    let closer = Closer {
        books: &*ports.books,
        clock: &*ports.clock,
        ids: &ports.ids,
        grace: GRACE,
        is_booked: true,
    };
    let closings = closer.close_all(&book).await;
    for due in closings.dues {
        tracing::info!(account = %due.account, reach = due.reach, true_up = %due.true_up,
            uncollected = %due.uncollected, "a window of price tiers was closed");
    }
    for failed in closings.failed {
        let account = failed.account.map(|account| account.to_string());
        tracing::warn!(account, reach = failed.reach, window_start = failed.window_start,
            error = %failed.why, "a window of price tiers was not closed");
    }
}

/// Every node does so; each message is had by one at a time.
async fn send_messages(sender: MessageSender, stop: CancellationToken) {
    match sender.send(&stop).await {
        Ok(0) => {}
        Ok(sent) => tracing::debug!(sent, "messages were taken by their receiver"),
        Err(error) => tracing::warn!(%error, "messages are not sent now"),
    }
}

/// Every node does so; each thing is done once. What was reckoned by another ladder than this
/// process has is reckoned anew first, once.
async fn bill(house: House, reckoned: Arc<AtomicBool>) {
    let ports = &house.ports;
    let run = BillingRun {
        subscriptions: &*ports.subscriptions,
        collector: &*ports.collector,
        clock: &*ports.clock,
        dunning: &ports.dunning,
        is_dry: false,
    };
    if !reckoned.load(Ordering::Relaxed) {
        match run.reckon().await {
            Ok(_) => reckoned.store(true, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "when fees are tried again is not reckoned yet"),
        }
    }
    let ran = run.all().await;
    for done in ran.done {
        tracing::info!(account = %done.account, subscription = %done.subscription,
            what = ?done.what, state = done.state, "a subscription was billed");
    }
    for (subscription, error) in ran.failed {
        let subscription = subscription.map(tracing::field::display);
        tracing::warn!(subscription, %error, "what is due to subscriptions could not be done");
    }
    match lapse_all(&*ports.books, &*ports.clock, false).await {
        Ok(lapsed) => {
            for credit in lapsed {
                tracing::info!(account = %credit.account, amount = %credit.amount,
                    currency = %credit.currency, "credit whose time is over was taken away");
            }
        }
        Err(error) => tracing::warn!(%error, "credit whose time is over is not taken away yet"),
    }
    if let Err(error) = recognize(&*ports.invoices, &*ports.clock).await {
        tracing::warn!(%error, "what fees have earned is not booked yet");
    }
}

/// Goes on while there is something to delete, and rests between its steps: what waits is gone as
/// fast as a fifth of the database's time allows.
async fn expire(house: House, days: NonZeroU16, stop: CancellationToken) {
    let mut calls = 0_u64;
    loop {
        let begun = Instant::now();
        match house.expire_calls(days).await {
            Ok((gone, is_over)) => {
                calls = calls.saturating_add(gone);
                if is_over {
                    break;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "calls beyond their retention were not deleted");
                break;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(begun.elapsed().saturating_mul(REST)) => {}
            () = stop.cancelled() => break,
        }
    }
    if calls > 0 {
        tracing::debug!(calls, "deleted calls beyond their retention");
    }
}
