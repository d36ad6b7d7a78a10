//! How long the disk takes to make a page durable while the load runs.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Failure;

/// What a database flushes at least.
const PAGE: [u8; 4096] = [7; 4096];
/// Rarely, so that the probe itself is no load.
const PAUSE: Duration = Duration::from_millis(50);

/// Writes and flushes a page again and again.
#[derive(Debug)]
pub(super) struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u64>>,
}

/// How long a flush took, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flush {
    pub(super) p50: u64,
    pub(super) p99: u64,
}

impl Probe {
    /// Probes the disk that this folder is on.
    pub(super) fn start(folder: &Path) -> Result<Self, Failure> {
        let file = File::create(folder.join("flushed"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !told.load(Ordering::Relaxed) {
                let start = Instant::now();
                if file
                    .write_all_at(&PAGE, 0)
                    .and_then(|()| file.sync_data())
                    .is_ok()
                {
                    seen.push(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
                }
                std::thread::sleep(PAUSE);
            }
            seen
        });
        Ok(Self { stop, thread })
    }

    /// Stops, and says what was seen.
    pub(super) fn end(self) -> Flush {
        self.stop.store(true, Ordering::Relaxed);
        let mut seen = self.thread.join().unwrap_or_default();
        seen.sort_unstable();
        let at = |per_cent: usize| {
            let index = (seen.len() * per_cent / 100).min(seen.len().saturating_sub(1));
            seen.get(index).copied().unwrap_or(0)
        };
        Flush {
            p50: at(50),
            p99: at(99),
        }
    }
}
