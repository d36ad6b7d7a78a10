//! Idempotency keys of calls that are running.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use billing_core::id::AccountId;

/// The keys in use on this node. Those of calls that are over are in the books.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight(Arc<Mutex<HashSet<(AccountId, String)>>>);

/// A key in use; free again when this is dropped.
#[derive(Debug)]
pub(crate) struct KeyInUse {
    all: InFlight,
    entry: (AccountId, String),
}

impl InFlight {
    /// Takes a key into use; `None` when it is already.
    pub(crate) fn take(&self, account: AccountId, key: &str) -> Option<KeyInUse> {
        let entry = (account, key.to_owned());
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(entry.clone()).then(|| KeyInUse {
            all: self.clone(),
            entry,
        })
    }
}

impl KeyInUse {
    /// The key.
    pub(crate) fn key(&self) -> &str {
        &self.entry.1
    }
}

impl Drop for KeyInUse {
    fn drop(&mut self) {
        self.all
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_use_once_and_free_again_afterwards() {
        let keys = InFlight::default();
        let account = AccountId::new(1);
        let first = keys.take(account, "a");
        assert!(first.is_some() && keys.take(account, "a").is_none());
        assert!(keys.take(AccountId::new(2), "a").is_some());
        drop(first);
        assert!(keys.take(account, "a").is_some());
    }
}
