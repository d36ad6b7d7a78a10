//! Proration: what a part of a period costs (`reference/billing-rules.md`, 2.3).

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::charge_model::ModelError;
use crate::charge_model::minor::prorated;
use crate::money::MoneyError;
use crate::period::Period;
use crate::zone::Zone;

/// By what a period is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProrationUnit {
    /// By the second.
    #[default]
    Second,
    /// By local days: the day of a change belongs to what comes after it.
    Day,
    /// By local days of months that all have thirty.
    Day30,
}

/// A part of a whole, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    part: u64,
    whole: u64,
}

impl Share {
    /// So much of so much. A part is never more than the whole; of nothing it is nothing.
    pub const fn new(part: u64, whole: u64) -> Self {
        let part = if part > whole { whole } else { part };
        Self { part, whole }
    }

    /// What is left of a period at an instant: all of it before its start, nothing after its end.
    pub fn left(period: Period, at: OffsetDateTime, by: ProrationUnit, zone: &Zone) -> Self {
        Self::of_part(
            Period {
                start: at.clamp(period.start, period.end),
                end: period.end,
            },
            period,
            by,
            zone,
        )
    }

    /// What a part is of a whole period.
    pub fn of_part(part: Period, whole: Period, by: ProrationUnit, zone: &Zone) -> Self {
        let length = |period: Period| {
            let length = match by {
                ProrationUnit::Second => period.seconds(),
                ProrationUnit::Day => zone.days_between(period.start, period.end),
                ProrationUnit::Day30 => days_30(period, zone),
            };
            u64::try_from(length).unwrap_or(0)
        };
        Self::new(length(part), length(whole))
    }

    /// The part, in the unit of the whole.
    pub const fn part(self) -> u64 {
        self.part
    }

    /// The whole.
    pub const fn whole(self) -> u64 {
        self.whole
    }

    /// This much of a price in minor units, rounded half away from zero.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn of(self, price: i64) -> Result<i64, MoneyError> {
        match prorated(price, self.part, self.whole) {
            Ok(part) => Ok(part),
            Err(ModelError::NoSize(_)) => Ok(0),
            Err(_) => Err(MoneyError::OutOfRange),
        }
    }
}

/// The most that may be credited of a charge, in minor units: what was paid of it and not credited
/// yet.
pub fn capped_credit(potential: i64, paid: i64, credited: i64) -> i64 {
    potential.min(paid.saturating_sub(credited)).max(0)
}

fn days_30(period: Period, zone: &Zone) -> i64 {
    let [start, end] = [period.start, period.end].map(|at| {
        let date = zone.local(at).date();
        let months = i64::from(date.year())
            .saturating_mul(12)
            .saturating_add(i64::from(u8::from(date.month())));
        months
            .saturating_mul(30)
            .saturating_add(i64::from(date.day().min(30)))
    });
    end.saturating_sub(start)
}
