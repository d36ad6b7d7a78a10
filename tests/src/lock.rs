//! A database that is away: somebody else holds the lock that every write needs.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::Failure;

/// Takes the lock, says so, and keeps it until told to let go.
const SCRIPT: &str = "
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
database.execute('BEGIN IMMEDIATE')
print('held', flush=True)
sys.stdin.readline()
database.execute('ROLLBACK')
database.close()
";

/// The write lock of an SQLite database, held by another process until this is let go or dropped.
#[derive(Debug)]
pub struct WriteLock {
    holder: Child,
    word: ChildStdin,
}

impl WriteLock {
    /// Takes it, as soon as nobody is writing.
    ///
    /// # Errors
    /// There is no `python3`, or the lock is not to be had.
    pub fn take(database: &Path) -> Result<Self, Failure> {
        let mut holder = Command::new("python3")
            .args(["-c", SCRIPT])
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let word = holder.stdin.take().ok_or("no way to tell it")?;
        let said = holder.stdout.take().ok_or("no way to hear it")?;
        let lock = Self { holder, word };
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        if line.trim() == "held" {
            Ok(lock)
        } else {
            Err("the write lock is not to be had".into())
        }
    }

    /// Lets go of it.
    ///
    /// # Errors
    /// Its holder ended badly.
    pub fn release(mut self) -> Result<(), Failure> {
        writeln!(self.word, "let go")?;
        let status = self.holder.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("the holder of the lock ended with {status}").into())
        }
    }
}

impl Drop for WriteLock {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}
