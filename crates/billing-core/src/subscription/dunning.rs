//! Dunning: how often and how long a fee that could not be collected is tried again.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use super::{Owed, State, Subscription};

/// A ladder of retries, each so many days after the try before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dunning {
    /// Days between tries. After the last of them it is given up.
    pub retry_days: Vec<u8>,
    /// For how many days from the first failure calls go on.
    pub grace_days: u8,
    /// What becomes of the subscription when the last try has failed.
    #[serde(default)]
    pub at_end: AtEnd,
}

/// What becomes of a subscription that nobody has paid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtEnd {
    /// It ends.
    #[default]
    End,
    /// It stays past due, and nothing is tried any more, until it is paid or cancelled.
    Wait,
}

/// How far dunning has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dunned {
    /// How often the fee was tried, the first time too.
    pub tries: u8,
    /// How many tries there are in all.
    pub most: u8,
    /// When it is tried again; `None` after the last try.
    pub next_try_at: Option<OffsetDateTime>,
    /// When calls stop, or have stopped.
    pub grace_until: OffsetDateTime,
    /// When it ends unless it is paid by then; `None` where it does not end by itself.
    pub ends_at: Option<OffsetDateTime>,
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
            at_end: AtEnd::End,
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

    /// When it is given up: at the last try, or when grace is over, where that is later; `None`
    /// where it never is.
    pub(super) fn given_up_at(&self, owed: &Owed) -> Option<OffsetDateTime> {
        let days: i64 = self.retry_days.iter().map(|days| i64::from(*days)).sum();
        let last = owed.since.saturating_add(Duration::days(days));
        match self.at_end {
            AtEnd::End => Some(last.max(self.grace_until(owed))),
            AtEnd::Wait => None,
        }
    }

    /// When calls no longer go on.
    pub(super) fn grace_until(&self, owed: &Owed) -> OffsetDateTime {
        let grace = Duration::days(i64::from(self.grace_days));
        owed.since.saturating_add(grace)
    }
}

impl AtEnd {
    /// The name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Wait => "wait",
        }
    }
}

impl Subscription {
    /// How far dunning has come by a ladder; `None` where nothing is owed, or it was not tried yet.
    pub fn dunned(&self, dunning: &Dunning) -> Option<Dunned> {
        let (State::Grace(owed) | State::PastDue(owed)) = self.state else {
            return None;
        };
        if owed.tries == 0 {
            return None;
        }
        let retries = u8::try_from(dunning.retry_days.len()).unwrap_or(u8::MAX);
        Some(Dunned {
            tries: owed.tries,
            most: retries.saturating_add(1),
            next_try_at: dunning.next_try(&owed),
            grace_until: dunning.grace_until(&owed),
            ends_at: dunning.given_up_at(&owed),
        })
    }
}
