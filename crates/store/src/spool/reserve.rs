//! Room on the disk that is kept for the day on which it is full.
//!
//! SQLite writes down what it deletes before it frees anything, so on a full disk a spool could not
//! even forget. It keeps a file beside it for that, gives it up when it is in need, and takes it
//! again when there is room.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How many bytes of a spool's bound there are to one that is kept. To empty a spool takes some
/// pages for each thousand of its own.
const SHARE: u64 = 128;
/// The least that is kept, in bytes: enough to open a spool and to set a call apart.
const LEAST: u64 = 256 * 1024;
const BLOCK: usize = 64 * 1024;

/// The file that is kept.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
}

impl Reserve {
    /// That of a spool that may grow to so many bytes.
    pub(super) fn of(spool: &Path, max_bytes: u64) -> Self {
        let mut path = spool.as_os_str().to_owned();
        path.push(".reserve");
        Self {
            path: path.into(),
            bytes: (max_bytes / SHARE).max(LEAST),
        }
    }

    /// Takes the room, where it is not taken. A disk that has none is no error: it is tried again.
    pub(super) fn keep(&self) {
        let is_kept = fs::metadata(&self.path).is_ok_and(|facts| facts.len() >= self.bytes);
        if is_kept {
            return;
        }
        if let Err(error) = self.take() {
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
