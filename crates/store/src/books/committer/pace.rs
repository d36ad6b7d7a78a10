//! How long a batch gathers before it is committed.
//!
//! A commit costs a flush of the disk and some processor time of its own, however many calls are in
//! it. What gathers while another commit runs costs nobody anything. To gather for longer costs the
//! calls time and saves the processor's, so it is done as far as that is what is short.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Id};
use tokio::sync::mpsc;

/// So many are worth waiting for, also where fewer came the last time.
const LARGE: usize = 16;
/// How often it is looked whether enough are there.
pub(super) const GLANCE: Duration = Duration::from_millis(1);
/// How long a commit that found nobody waiting may gather; a slow disk must not make it longer.
const LONGEST_COMPANY: Duration = Duration::from_millis(2);
/// How long those who hand in are watched to see how busy they are.
const WATCH: Duration = Duration::from_millis(20);
/// Up to this share of their time, in thousandths, they have time to spare.
const SPARE: u64 = 600;
/// From this share on they have none.
const SHORT: u64 = 900;
/// More runtimes than hand in at once.
const MOST_RUNTIMES: usize = 64;

/// What was seen of the last commits, and of those who hand in.
#[derive(Debug)]
pub(super) struct Pace {
    /// The longest that a batch gathers.
    linger: Duration,
    /// How many were in the last batch.
    last: usize,
    /// How long a commit takes.
    commit: Duration,
    /// How many come while a commit runs, in thousandths.
    company: usize,
    busy: Busy,
}

impl Pace {
    /// Nothing was seen yet; no batch will gather for longer than this.
    pub(super) fn new(linger: Duration) -> Self {
        Self {
            linger,
            last: 0,
            commit: Duration::ZERO,
            company: 0,
            busy: Busy::new(),
        }
    }

    /// A batch of so many is committed now.
    pub(super) fn note_batch(&mut self, size: usize) {
        self.last = size;
    }

    /// Somebody handed in from here.
    pub(super) fn note_from(&mut self, runtime: Option<&Handle>) {
        if let Some(runtime) = runtime {
            self.busy.note(runtime);
        }
    }

    /// A commit took so long, if it ended well, and so many came meanwhile.
    pub(super) fn note_commit(&mut self, took: Option<Duration>, came: usize) {
        self.commit = (self.commit * 7 + took.unwrap_or(self.commit)) / 8;
        self.company = (self.company * 7 + came.saturating_mul(1000)) / 8;
    }

    /// How long the first of a batch waits for others where nobody waited before it: as long as it
    /// would have waited for a commit under way, if others are likely to come meanwhile.
    pub(super) fn company(&self) -> Duration {
        if self.company < 500 {
            return Duration::ZERO;
        }
        self.commit.min(LONGEST_COMPANY).min(self.linger)
    }

    /// Waits until as many are there again as came the last time, as long as it pays. Where batches
    /// are small they are made large by it: streams that take all of the processor end one by one.
    /// So many wait already beside those in the queue. Answers whether it has waited.
    pub(super) async fn linger<T>(&mut self, receiver: &mpsc::Receiver<T>, aside: usize) -> bool {
        let enough = self.last.max(LARGE).saturating_sub(aside);
        let short = self.busy.share().clamp(SPARE, SHORT) - SPARE;
        let thousandths = u32::try_from(short * 1000 / (SHORT - SPARE)).unwrap_or(0);
        let mut left = self.linger * thousandths / 1000;
        let mut has_waited = false;
        while left >= GLANCE && receiver.len() < enough && !receiver.is_closed() {
            tokio::time::sleep(GLANCE).await;
            left -= GLANCE;
            has_waited = true;
        }
        has_waited
    }
}

/// How busy the runtimes are whose tasks hand in.
#[derive(Debug)]
struct Busy {
    runtimes: HashMap<Id, Watched>,
    since: Instant,
    share: u64,
}

#[derive(Debug)]
struct Watched {
    runtime: Handle,
    /// How long its workers had been busy when the watch began.
    before: Duration,
}

impl Busy {
    fn new() -> Self {
        Self {
            runtimes: HashMap::new(),
            since: Instant::now(),
            share: 0,
        }
    }

    fn note(&mut self, runtime: &Handle) {
        if self.runtimes.len() < MOST_RUNTIMES {
            self.runtimes
                .entry(runtime.id())
                .or_insert_with(|| Watched {
                    runtime: runtime.clone(),
                    before: busy(runtime),
                });
        }
    }

    /// The share of their time that they were busy lately, in thousandths.
    fn share(&mut self) -> u64 {
        let watched = self.since.elapsed();
        if watched < WATCH {
            return self.share;
        }
        let (mut worked, mut workers) = (Duration::ZERO, 0);
        for watched in self.runtimes.values_mut() {
            let now = busy(&watched.runtime);
            worked += now.saturating_sub(watched.before);
            watched.before = now;
            workers += watched.runtime.metrics().num_workers();
        }
        let whole = watched.as_micros() * workers as u128;
        let share = worked.as_micros() * 1000 / whole.max(1);
        self.share = u64::try_from(share).unwrap_or(1000);
        self.since += watched;
        self.share
    }
}

fn busy(runtime: &Handle) -> Duration {
    let metrics = runtime.metrics();
    (0..metrics.num_workers())
        .map(|worker| metrics.worker_total_busy_duration(worker))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn nobody_waits_for_company_that_never_comes() {
        let mut pace = Pace::new(3 * MS);
        for _ in 0..100 {
            pace.note_commit(Some(MS), 0);
        }
        assert_eq!(pace.company(), Duration::ZERO);
    }

    #[test]
    fn company_is_waited_for_as_long_as_a_commit_takes_and_no_longer_than_allowed() {
        let mut pace = Pace::new(3 * MS);
        for _ in 0..100 {
            pace.note_commit(Some(MS / 2), 1);
        }
        let waits = pace.company();
        assert!(waits > MS / 4 && waits <= MS / 2, "{waits:?}");
        for _ in 0..100 {
            pace.note_commit(Some(50 * MS), 1);
        }
        assert_eq!(pace.company(), LONGEST_COMPANY);
        let mut never = Pace::new(Duration::ZERO);
        never.note_commit(Some(MS), 1000);
        assert_eq!(never.company(), Duration::ZERO);
    }

    #[tokio::test]
    async fn only_where_the_processor_is_short_a_batch_gathers_until_enough_are_there() {
        let (sender, receiver) = mpsc::channel(LARGE);
        let waits = async |share, aside| {
            let mut pace = Pace::new(2 * MS);
            pace.busy.share = share;
            pace.linger(&receiver, aside).await
        };
        assert!(!waits(SPARE, 0).await);
        assert!(waits(SHORT, 0).await);
        assert!(waits(SHORT, LARGE - 1).await);
        assert!(!waits(SHORT, LARGE).await);
        for _ in 0..LARGE {
            sender.send(()).await.unwrap();
        }
        assert!(!waits(SHORT, 0).await);
    }

    #[test]
    fn a_runtime_that_works_all_the_time_has_none_to_spare() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut busy = Busy::new();
        busy.note(runtime.handle());
        let work = async {
            let begun = Instant::now();
            while begun.elapsed() < 2 * WATCH {
                let turn = Instant::now();
                while turn.elapsed() < MS {
                    std::hint::spin_loop();
                }
                tokio::task::yield_now().await;
            }
        };
        runtime.block_on(work);
        let busily = busy.share();
        assert!(busily > 500, "{busily}");
        runtime.block_on(async { tokio::time::sleep(4 * WATCH).await });
        let idly = busy.share();
        assert!(idly < busily / 2, "{idly} after {busily}");
    }
}
