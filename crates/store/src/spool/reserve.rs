//! Room on the disk that is kept for the day on which it is full.
//!
//! SQLite writes down what it deletes before it frees anything, so on a full disk a spool could not
//! even forget. It keeps a file beside it for that, gives it up when it is in need, and takes it
//! again when there is room.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How many bytes of a spool's bound there are to one that is kept. To empty a spool takes some
/// pages for each thousand of its own.
const SHARE: u64 = 128;
/// The least that is kept, in bytes: enough to open a spool and to set a call apart.
const LEAST: u64 = 256 * 1024;
/// For how long a disk without room is left alone while calls wait in the spool.
const PAUSE: Duration = Duration::from_secs(10);
const BLOCK: usize = 64 * 1024;

/// The file that is kept.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    /// When the disk was last found without room for it, if it was the last time.
    refused: Option<Instant>,
}

impl Reserve {
    /// That of a spool that may grow to so many bytes.
    pub(super) fn of(spool: &Path, max_bytes: u64) -> Self {
        let mut path = spool.as_os_str().to_owned();
        path.push(".reserve");
        Self {
            path: path.into(),
            bytes: (max_bytes / SHARE).max(LEAST),
            refused: None,
        }
    }

    /// Whether it is time to try again: at once, and after a pause where the disk had no room.
    pub(super) fn is_due(&self) -> bool {
        self.refused.is_none_or(|at| at.elapsed() >= PAUSE)
    }

    /// Takes the room, where it is not taken. A disk that has none is no error: it is tried again.
    pub(super) fn keep(&mut self) {
        let is_kept = fs::metadata(&self.path).is_ok_and(|facts| facts.len() >= self.bytes);
        if is_kept {
            self.refused = None;
            return;
        }
        let taken = self.take();
        self.refused = taken.is_err().then(Instant::now);
        if let Err(error) = taken {
            tracing::warn!(%error, "no room can be kept for emptying the spool on a full disk");
            self.give_up();
        }
    }

    /// Written out: a file with holes would keep nothing.
    fn take(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&self.path)?;
        let block = vec![0_u8; BLOCK];
        let mut left = self.bytes;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            let written = file.write(block.get(..most).unwrap_or(&block))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            left = left.saturating_sub(u64::try_from(written).unwrap_or(left));
        }
        file.sync_all()
    }

    /// Gives the room back to the disk. Says whether there was any.
    pub(super) fn give_up(&self) -> bool {
        match fs::remove_file(&self.path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => {
                tracing::warn!(%error, "the room that is kept for the spool cannot be given up");
                false
            }
        }
    }
}
