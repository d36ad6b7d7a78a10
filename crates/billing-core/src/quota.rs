//! Plan quotas: what a plan gives of a model in a window, and which of them a call draws.
//!
//! Quotas of the same models are a [`Level`]: a call draws all of them together. The most specific
//! level is drawn first; what a level does not cover is paid from the wallet or refused, as the
//! plan says. A call counts in the window in which it was authorized, whenever it is settled.

pub mod carry;
pub mod cover;
pub mod hold;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::{Date, Duration, OffsetDateTime};

use crate::budget::{Amount, BudgetScope, BudgetUnit};
use crate::id::QuotaId;
use crate::period::{Cycle, Period};
use crate::reach::ModelScope;
use crate::zone::{CalendarSpan, Zone};

/// When a quota begins anew. Nothing is ever reset: a window's start is part of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaWindow {
    /// Each local hour.
    Hourly,
    /// Each local day.
    Daily,
    /// Each Monday.
    Weekly,
    /// Each first of a month.
    Monthly,
    /// With each billing period.
    Period,
    /// Never, as long as the subscription lasts.
    Subscription,
    /// So many seconds after the subscription began, and again and again from there: a length that
    /// no calendar changes.
    Rolling(u32),
}

/// What a plan gives of some models in each window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaTerms {
    /// Of which models.
    pub models: ModelScope,
    /// What is counted: calls, tokens, or money at the prices of the account.
    pub unit: BudgetUnit,
    /// How much of it.
    pub amount: Amount,
    /// In which window.
    pub window: QuotaWindow,
    /// How much of what was left comes on top in the next window, at most.
    #[serde(default)]
    pub rollover: Amount,
}

/// A quota of a plan version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// Its id.
    pub id: QuotaId,
    /// What it gives.
    pub terms: QuotaTerms,
}

/// Why terms are no quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum QuotaError {
    /// It gives nothing.
    #[error("a quota gives at least 1; leave it out where nothing is given")]
    Nothing,
    /// A rolling window of less than a minute, or more than ten years.
    #[error("a rolling window of {0} s; give 60 to 315360000")]
    Window(u32),
    /// What rolls over is more than what can be left.
    #[error("{0} roll over of {1}; give no more than the quota")]
    Rollover(Amount, Amount),
    /// It rolls over, and never begins anew.
    #[error("a quota of the whole subscription begins never anew; leave `rollover` out")]
    NeverAnew,
}

/// The quotas of the same models, which a call draws together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level<'a> {
    /// Of which models.
    pub models: &'a ModelScope,
    /// Each of them.
    pub quotas: Vec<&'a Quota>,
}

impl QuotaWindow {
    /// The window that an instant lies in, of a subscription with these periods.
    pub fn at(self, zone: &Zone, cycle: &Cycle, at: OffsetDateTime) -> Option<Period> {
        let span = match self {
            Self::Hourly => CalendarSpan::Hour,
            Self::Daily => CalendarSpan::Day,
            Self::Weekly => CalendarSpan::Week,
            Self::Monthly => CalendarSpan::Month,
            Self::Period => return cycle.period_at(at).map(|(_, period)| period),
            Self::Subscription => {
                let (start, end) = (cycle.start, Date::MAX.midnight().assume_utc());
                return Some(Period { start, end });
            }
            Self::Rolling(seconds) => return rolling(cycle.start, seconds, at),
        };
        let (start, end) = (span.start(zone, at), span.end(zone, at));
        Some(Period { start, end })
    }
}

fn rolling(first: OffsetDateTime, seconds: u32, at: OffsetDateTime) -> Option<Period> {
    let since = at.unix_timestamp().checked_sub(first.unix_timestamp())?;
    let number = since.checked_div_euclid(i64::from(seconds))?;
    let length = Duration::seconds(i64::from(seconds));
    let ahead = Duration::seconds(number.checked_mul(i64::from(seconds))?);
    let start = first.checked_add(ahead)?;
    Some(Period {
        start,
        end: start.checked_add(length)?,
    })
}

impl QuotaTerms {
    /// Whether they make a quota.
    ///
    /// # Errors
    /// [`QuotaError`].
    pub fn check(&self) -> Result<(), QuotaError> {
        if self.amount.is_zero() {
            return Err(QuotaError::Nothing);
        }
        if self.rollover > self.amount {
            return Err(QuotaError::Rollover(self.rollover, self.amount));
        }
        if self.window == QuotaWindow::Subscription && !self.rollover.is_zero() {
            return Err(QuotaError::NeverAnew);
        }
        if let QuotaWindow::Rolling(seconds) = self.window
            && !(60..=315_360_000).contains(&seconds)
        {
            return Err(QuotaError::Window(seconds));
        }
        Ok(())
    }
}

impl Quota {
    /// The budget of its window that begins at an instant.
    pub const fn scope(&self, window: Period) -> BudgetScope {
        BudgetScope::Quota {
            quota: self.id,
            unit: self.terms.unit,
            window_start: window.start.unix_timestamp(),
        }
    }
}

/// The quotas that cover a model: the most specific level first.
pub fn levels<'a>(quotas: &'a [Quota], model: &str) -> Vec<Level<'a>> {
    let mut by_models: BTreeMap<&ModelScope, Vec<&Quota>> = BTreeMap::new();
    for quota in quotas.iter().filter(|q| q.terms.models.covers(model)) {
        by_models
            .entry(&quota.terms.models)
            .or_default()
            .push(quota);
    }
    let mut levels: Vec<Level<'a>> = by_models
        .into_iter()
        .map(|(models, quotas)| Level { models, quotas })
        .collect();
    levels.sort_by_key(|level| std::cmp::Reverse(level.models.specificity()));
    levels
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn quota(id: i64, models: &str, unit: BudgetUnit, window: QuotaWindow) -> Quota {
        Quota {
            id: QuotaId::new(id),
            terms: QuotaTerms {
                models: models.parse().unwrap(),
                unit,
                amount: Amount::new(100),
                window,
                rollover: Amount::ZERO,
            },
        }
    }

    #[test]
    fn the_most_specific_quotas_come_first_and_those_of_the_same_models_together() {
        let quotas = [
            quota(1, "*", BudgetUnit::Tokens, QuotaWindow::Monthly),
            quota(2, "gpt-4o*", BudgetUnit::Calls, QuotaWindow::Daily),
            quota(3, "gpt-4o*", BudgetUnit::Tokens, QuotaWindow::Period),
            quota(4, "gpt-4o-mini", BudgetUnit::Calls, QuotaWindow::Daily),
            quota(5, "gpt-*", BudgetUnit::Calls, QuotaWindow::Daily),
        ];
        let ids = |model: &str| -> Vec<Vec<i64>> {
            let levels = levels(&quotas, model);
            let ids = levels.iter().map(|l| l.quotas.iter().map(|q| q.id.get()));
            ids.map(Iterator::collect).collect()
        };
        assert_eq!(ids("gpt-4o-mini"), [vec![4], vec![2, 3], vec![5], vec![1]]);
        assert_eq!(ids("gpt-4o"), [vec![2, 3], vec![5], vec![1]]);
        assert_eq!(ids("claude"), [vec![1]]);
    }

    #[test]
    fn windows_hold_the_instant_they_are_asked_for_and_tile() {
        let zone: Zone = "America/New_York".parse().unwrap();
        let start = datetime!(2026-01-31 17:30 UTC);
        let month = "P1M".parse().unwrap();
        let cycle = Cycle::anniversary(zone.clone(), start, month);
        for window in [
            QuotaWindow::Hourly,
            QuotaWindow::Daily,
            QuotaWindow::Weekly,
            QuotaWindow::Monthly,
            QuotaWindow::Period,
            QuotaWindow::Rolling(18_000),
        ] {
            let mut at = datetime!(2026-03-07 12:34:56 UTC);
            for _ in 0..40 {
                let found = window.at(&zone, &cycle, at).unwrap();
                assert!(found.contains(at), "{window:?} {at}");
                let next = window.at(&zone, &cycle, found.end).unwrap();
                assert_eq!(next.start, found.end, "{window:?} {at}");
                at = found.end;
            }
        }
    }

    #[test]
    fn no_more_rolls_over_than_there_is_and_only_where_another_window_follows() {
        let mut terms = quota(1, "*", BudgetUnit::Calls, QuotaWindow::Daily).terms;
        terms.rollover = Amount::new(100);
        assert_eq!(terms.check(), Ok(()));
        terms.rollover = Amount::new(101);
        assert!(matches!(terms.check(), Err(QuotaError::Rollover(..))));
        terms.rollover = Amount::new(50);
        terms.window = QuotaWindow::Subscription;
        assert_eq!(terms.check(), Err(QuotaError::NeverAnew));
    }
}
