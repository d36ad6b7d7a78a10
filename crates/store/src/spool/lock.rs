//! The lock that keeps two processes from one spool.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::SpoolOpenError;

/// Held as long as this lives; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct SpoolLock {
    file: File,
    /// Which file it is on which disk, so that a copy of a spool is not taken for the spool.
    identity: String,
}

impl SpoolLock {
    pub(super) fn take(spool: &Path) -> Result<Self, SpoolOpenError> {
        let path = lock_file(spool);
        let failed = |source| SpoolOpenError::Io {
            path: path.clone(),
            source,
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.mode(0o600).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut by = String::new();
                let read = file.read_to_string(&mut by);
                let by = read.ok().and_then(|_| by.trim().parse().ok());
                return Err(SpoolOpenError::InUse {
                    path: spool.to_owned(),
                    by,
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let facts = file.metadata().map_err(failed)?;
        let identity = format!("{}:{}", facts.dev(), facts.ino());
        let mut lock = Self { file, identity };
        // Only for the message that another process shows; a disk that is full does not matter.
        if let Err(error) = lock.sign() {
            tracing::debug!(%error, "the lock of the spool does not say whose it is");
        }
        Ok(lock)
    }

    /// Which file it is.
    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    fn sign(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        writeln!(self.file, "{}", std::process::id())
    }
}

fn lock_file(spool: &Path) -> PathBuf {
    let mut name = spool.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}
