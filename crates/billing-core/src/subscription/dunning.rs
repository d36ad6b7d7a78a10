//! Dunning: how often and how long a fee that could not be collected is tried again.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use super::Owed;

/// A ladder of retries, each so many days after the try before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dunning {
    /// Days between tries. After the last of them it is given up.
    pub retry_days: Vec<u8>,
    /// For how many days from the first failure calls go on.
    pub grace_days: u8,
}

/// Why it is no ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DunningError {
    /// No step, or too many.
    #[error("{0} retries; give 1 to 12")]
    Steps(usize),
    /// A step that takes no time.
    #[error("retry {0} comes 0 days after the one before it; give at least 1")]
    NoDays(usize),
}

impl Default for Dunning {
    /// After 1, 3, 5 and 7 days; calls go on for three.
    fn default() -> Self {
        Self {
            retry_days: vec![1, 3, 5, 7],
            grace_days: 3,
        }
    }
}

impl Dunning {
    /// Whether it is a ladder.
    ///
    /// # Errors
    /// [`DunningError`].
    pub fn check(&self) -> Result<(), DunningError> {
        if self.retry_days.is_empty() || self.retry_days.len() > 12 {
            return Err(DunningError::Steps(self.retry_days.len()));
        }
        let none = (1..).zip(&self.retry_days).find(|(_, days)| **days == 0);
        none.map_or(Ok(()), |(step, _)| Err(DunningError::NoDays(step)))
    }

    /// When a fee is tried again; `None` where it is given up.
    pub(super) fn next_try(&self, owed: &Owed) -> Option<OffsetDateTime> {
        let steps = self.retry_days.get(..usize::from(owed.tries))?;
        let days: i64 = steps.iter().map(|days| i64::from(*days)).sum();
        Some(owed.since.saturating_add(Duration::days(days)))
    }

    /// When calls no longer go on.
    pub(super) fn grace_until(&self, owed: &Owed) -> OffsetDateTime {
        let grace = Duration::days(i64::from(self.grace_days));
        owed.since.saturating_add(grace)
    }
}
