//! Callers in memory: from a key to who pays, without a question to the database.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use billing_core::id::AccountId;
use billing_core::port::directory::{Caller, Directory, DirectoryError, SecretHash};

/// How many keys a generation holds. There are two, so that at most twice as many are remembered.
const GENERATION: usize = 100_000;
/// How many keys that nobody has are remembered.
const MOST_UNKNOWN: usize = 50_000;
/// For how long a key that nobody has is remembered as such.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);

/// The callers that were seen, until something about their account changes.
#[derive(Debug)]
pub(crate) struct Callers {
    directory: Arc<dyn Directory>,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Those that were seen since the last generation was full.
    young: Generation,
    /// The last generation. Who is in it and seen again becomes young again; the rest goes when
    /// the young are too many, so that those who call are never all forgotten at once.
    old: Generation,
    unknown: HashMap<SecretHash, Instant>,
    /// Counts what was forgotten, so that an answer that was under way meanwhile is not kept.
    forgotten: u64,
}

#[derive(Debug, Default)]
struct Generation {
    callers: HashMap<SecretHash, Arc<Caller>>,
    by_account: HashMap<AccountId, Vec<SecretHash>>,
}

impl Callers {
    /// Nobody is known yet.
    pub(crate) fn new(directory: Arc<dyn Directory>) -> Self {
        Self {
            directory,
            known: RwLock::default(),
        }
    }

    /// The caller that a key's hash stands for.
    pub(crate) async fn find(
        &self,
        hash: SecretHash,
    ) -> Result<Option<Arc<Caller>>, DirectoryError> {
        let (forgotten, old) = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(caller) = known.young.callers.get(&hash) {
                return Ok(Some(Arc::clone(caller)));
            }
            if known
                .unknown
                .get(&hash)
                .is_some_and(|since| since.elapsed() < UNKNOWN_FOR)
            {
                return Ok(None);
            }
            (known.forgotten, known.old.callers.get(&hash).cloned())
        };
        let found = match old {
            Some(caller) => Some(caller),
            None => self.directory.caller(hash).await?.map(Arc::new),
        };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.forgotten == forgotten {
            known.keep(hash, found.as_ref());
        }
        Ok(found)
    }

    /// Something about an account changed: its callers are looked up anew.
    pub(crate) fn forget(&self, account: AccountId) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.forgotten += 1;
        // A key that was just made may have been asked for before.
        known.unknown.clear();
        known.young.forget(account);
        known.old.forget(account);
    }

    /// Anything may have changed: every caller is looked up anew.
    pub(crate) fn forget_all(&self) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let forgotten = known.forgotten + 1;
        *known = Known {
            forgotten,
            ..Known::default()
        };
    }
}

impl Known {
    fn keep(&mut self, hash: SecretHash, found: Option<&Arc<Caller>>) {
        let Some(caller) = found else {
            // Guessed keys push out guessed keys, never those of callers.
            if self.unknown.len() >= MOST_UNKNOWN {
                self.unknown.clear();
            }
            self.unknown.insert(hash, Instant::now());
            return;
        };
        if self.young.callers.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        let before = self.young.callers.insert(hash, Arc::clone(caller));
        if before.is_none() {
            let account = self.young.by_account.entry(caller.key.account);
            account.or_default().push(hash);
        }
    }
}

impl Generation {
    fn forget(&mut self, account: AccountId) {
        for hash in self.by_account.remove(&account).unwrap_or_default() {
            self.callers.remove(&hash);
        }
    }
}
