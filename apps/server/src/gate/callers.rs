//! Callers in memory: from a key to who pays, without a question to the database.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use billing_core::id::AccountId;
use billing_core::port::directory::{Caller, Directory, DirectoryError, SecretHash};

/// How many keys are remembered. Past it all are forgotten, which costs one look-up each.
const MOST: usize = 200_000;
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
    callers: HashMap<SecretHash, Arc<Caller>>,
    by_account: HashMap<AccountId, Vec<SecretHash>>,
    unknown: HashMap<SecretHash, Instant>,
    /// Counts what was forgotten, so that an answer that was under way meanwhile is not kept.
    forgotten: u64,
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
        let forgotten = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(caller) = known.callers.get(&hash) {
                return Ok(Some(Arc::clone(caller)));
            }
            if known
                .unknown
                .get(&hash)
                .is_some_and(|since| since.elapsed() < UNKNOWN_FOR)
            {
                return Ok(None);
            }
            known.forgotten
        };
        let found = self.directory.caller(hash).await?.map(Arc::new);
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
        for hash in known.by_account.remove(&account).unwrap_or_default() {
            known.callers.remove(&hash);
        }
    }
}

impl Known {
    fn keep(&mut self, hash: SecretHash, found: Option<&Arc<Caller>>) {
        if self.callers.len() >= MOST {
            self.callers.clear();
            self.by_account.clear();
        }
        // Guessed keys push out guessed keys, never those of callers.
        if self.unknown.len() >= MOST_UNKNOWN {
            self.unknown.clear();
        }
        match found {
            Some(caller) => {
                self.by_account
                    .entry(caller.key.account)
                    .or_default()
                    .push(hash);
                self.callers.insert(hash, Arc::clone(caller));
            }
            None => {
                self.unknown.insert(hash, Instant::now());
            }
        }
    }
}
