//! Passwords: slow to check, so bounded in how often and how many at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::error::ApiError;
use crate::secrets;

/// How many passwords are hashed at once. Each takes a core and 19 MiB.
const AT_ONCE: usize = 2;
/// How long a try waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// Tries of one address on one email in a window.
const TRIES: u32 = 10;
/// The window, in seconds.
const WINDOW_S: i64 = 60;
/// How many pairs are counted. Past it the count begins anew; the turns above still bound tries.
const MOST: usize = 50_000;

/// The hash that a try on an unknown email is checked against, so that it takes as long.
static NOBODY: LazyLock<String> =
    LazyLock::new(|| secrets::hash_password("nobody's password").unwrap_or_default());

/// Attempts to sign in, bounded.
#[derive(Debug)]
pub(crate) struct SignIns {
    turns: Arc<Semaphore>,
    tries: Mutex<HashMap<(String, Option<IpAddr>), Tries>>,
}

#[derive(Debug, Clone, Copy)]
struct Tries {
    since: i64,
    count: u32,
}

impl Default for SignIns {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            tries: Mutex::default(),
        }
    }
}

impl SignIns {
    /// Counts a try; refuses one too many.
    pub(crate) fn count(
        &self,
        email: &str,
        from: Option<IpAddr>,
        now: OffsetDateTime,
    ) -> Result<(), ApiError> {
        let now = now.unix_timestamp();
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        if tries.len() >= MOST {
            tries.retain(|_, t| now - t.since < WINDOW_S);
        }
        if tries.len() >= MOST {
            tries.clear();
        }
        let first = Tries {
            since: now,
            count: 0,
        };
        let seen = tries.entry((email.to_owned(), from)).or_insert(first);
        if !(0..WINDOW_S).contains(&(now - seen.since)) {
            *seen = first;
        }
        if seen.count >= TRIES {
            let wait = WINDOW_S - (now - seen.since);
            return Err(ApiError::TooMany(u32::try_from(wait).unwrap_or(1).max(1)));
        }
        seen.count += 1;
        Ok(())
    }

    /// Whether the password is that of the hash; as slow without one.
    pub(crate) async fn check(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, ApiError> {
        self.in_turn(move || {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| NOBODY.clone());
            secrets::is_password(&password, &hash) && known
        })
        .await
    }

    /// The hash of a new password.
    pub(crate) async fn hash(&self, password: String) -> Result<String, ApiError> {
        Ok(self
            .in_turn(move || secrets::hash_password(&password))
            .await??)
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn
            .map_err(|_| ApiError::TooMany(10))?
            .map_err(|_| ApiError::Internal)?;
        // The turn goes with the work: whoever hangs up does not make room for a third hash.
        let done = spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        done.await.map_err(|error| {
            tracing::error!(%error, "a password could not be hashed");
            ApiError::Internal
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn tries_are_counted_by_email_and_address_within_a_window() {
        let sign_ins = SignIns::default();
        let at = datetime!(2026-11-22 18:00 UTC);
        let here = Some(IpAddr::from([127, 0, 0, 1]));
        for _ in 0..TRIES {
            assert!(sign_ins.count("a@b.c", here, at).is_ok());
        }
        let later = at + time::Duration::seconds(20);
        assert!(matches!(
            sign_ins.count("a@b.c", here, later),
            Err(ApiError::TooMany(40))
        ));
        assert!(sign_ins.count("d@b.c", here, later).is_ok());
        assert!(sign_ins.count("a@b.c", None, later).is_ok());
        assert!(
            sign_ins
                .count("a@b.c", here, at + time::Duration::seconds(60))
                .is_ok()
        );
    }
}
