//! Billing periods: where they begin and end, always reckoned from the first day of them all.
//!
//! Boundary `k` is the anchor plus `k` intervals by the calendar of the account's zone, on the last
//! day of a month that has not as many days. It is never reckoned from the boundary before it: a
//! 31st that has met a February is a 31st again in March (`reference/billing-rules.md`, 2.4).

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

use crate::zone::Zone;

/// How long a billing period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interval {
    /// So many days of the calendar.
    Days(NonZeroU16),
    /// So many months of the calendar.
    Months(NonZeroU16),
}

/// A text that is no interval.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is not an interval such as P1M, P1Y, P1W or P30D, of ten years at most")]
pub struct MalformedInterval(String);

/// Days of ten years, and months.
const MOST: [u16; 2] = [3_660, 120];

impl Interval {
    /// So many days.
    ///
    /// # Errors
    /// [`MalformedInterval`] for none, or more than ten years.
    pub fn days(days: u16) -> Result<Self, MalformedInterval> {
        let within = NonZeroU16::new(days).filter(|days| days.get() <= MOST[0]);
        let days = within.ok_or_else(|| MalformedInterval(format!("P{days}D")))?;
        Ok(Self::Days(days))
    }

    /// So many months.
    ///
    /// # Errors
    /// [`MalformedInterval`] for none, or more than ten years.
    pub fn months(months: u16) -> Result<Self, MalformedInterval> {
        let within = NonZeroU16::new(months).filter(|months| months.get() <= MOST[1]);
        let months = within.ok_or_else(|| MalformedInterval(format!("P{months}M")))?;
        Ok(Self::Months(months))
    }

    /// The date so many intervals after one whose day of the month is `day`, which some months do
    /// not have; `None` beyond the calendar.
    fn after(self, first: Date, day: u8, times: i64) -> Option<Date> {
        match self {
            Self::Days(days) => {
                let days = i64::from(days.get()).checked_mul(times)?;
                clamped(first.year(), first.month(), day)?
                    .checked_add(time::Duration::new(days.checked_mul(86_400)?, 0))
            }
            Self::Months(months) => {
                let months = i64::from(months.get()).checked_mul(times)?;
                let first_month = i64::from(u8::from(first.month())).checked_sub(1)?;
                let month = i64::from(first.year())
                    .checked_mul(12)?
                    .checked_add(first_month)?
                    .checked_add(months)?;
                let year = i32::try_from(month.checked_div_euclid(12)?).ok()?;
                let month = u8::try_from(month.checked_rem_euclid(12)?).ok()?;
                let month = Month::try_from(month.checked_add(1)?).ok()?;
                clamped(year, month, day)
            }
        }
    }
}

/// A day of a month, or the last one where it has not as many.
fn clamped(year: i32, month: Month, day: u8) -> Option<Date> {
    let last = month.length(year);
    Date::from_calendar_date(year, month, day.min(last)).ok()
}

/// A half-open span of time, `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Period {
    /// Its first instant.
    pub start: OffsetDateTime,
    /// The first instant after it.
    pub end: OffsetDateTime,
}

impl Period {
    /// How long it is, in whole seconds.
    pub const fn seconds(self) -> i64 {
        self.end
            .unix_timestamp()
            .saturating_sub(self.start.unix_timestamp())
    }

    /// Whether an instant lies in it.
    pub fn contains(&self, at: OffsetDateTime) -> bool {
        self.start <= at && at < self.end
    }
}

/// What boundaries are reckoned from: a day of a month and a time of day in a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// In whose calendar.
    pub zone: Zone,
    month: Date,
    day: u8,
    time: Time,
}

impl Anchor {
    /// An instant as the zone's clocks show it.
    pub fn at(zone: Zone, at: OffsetDateTime) -> Self {
        let local = zone.local(at);
        Self {
            zone,
            month: local.date(),
            day: local.day(),
            time: local.time(),
        }
    }

    /// Another day of the month of this one, from 1 to 31; months that have not as many days have
    /// their last one.
    #[must_use]
    pub fn on_day(self, day: u8) -> Self {
        let day = day.clamp(1, 31);
        Self { day, ..self }
    }

    /// Another time of the day.
    #[must_use]
    pub fn at_time(self, time: Time) -> Self {
        Self { time, ..self }
    }

    /// The boundary so many intervals after the anchor, or before it; `None` beyond the calendar.
    pub fn boundary(&self, interval: Interval, k: i64) -> Option<OffsetDateTime> {
        let date = interval.after(self.month, self.day, k)?;
        Some(self.zone.instant(PrimitiveDateTime::new(date, self.time)))
    }

    /// The number of the last boundary at or before an instant; `None` beyond the calendar.
    pub fn number_at(&self, interval: Interval, at: OffsetDateTime) -> Option<i64> {
        let local = self.zone.local(at).date();
        let apart = match interval {
            Interval::Days(days) => {
                let days_apart = i64::from(local.to_julian_day())
                    .checked_sub(i64::from(self.month.to_julian_day()))?;
                days_apart.checked_div_euclid(i64::from(days.get()))?
            }
            Interval::Months(months) => {
                let number = |date: Date| {
                    let month = i64::from(u8::from(date.month()));
                    i64::from(date.year()).checked_mul(12)?.checked_add(month)
                };
                let months_apart = number(local)?.checked_sub(number(self.month)?)?;
                months_apart.checked_div_euclid(i64::from(months.get()))?
            }
        };
        // By the calendar it may be one too early or too late.
        let mut k = apart.checked_add(1)?;
        while self.boundary(interval, k)? > at {
            k = k.checked_sub(1)?;
        }
        Some(k)
    }

    /// The first boundary after an instant; `None` beyond the calendar.
    pub fn next(&self, interval: Interval, after: OffsetDateTime) -> Option<OffsetDateTime> {
        let k = self.number_at(interval, after)?;
        self.boundary(interval, k.checked_add(1)?)
    }
}

/// The periods of a subscription: they begin with it, and end where its boundaries are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cycle {
    /// When the first period begins. It ends at the first boundary after that.
    pub start: OffsetDateTime,
    /// What boundaries are reckoned from.
    pub anchor: Anchor,
    /// How far they are apart.
    pub interval: Interval,
}

impl Cycle {
    /// Periods from an instant on, whose first one is whole.
    pub fn anniversary(zone: Zone, start: OffsetDateTime, interval: Interval) -> Self {
        let anchor = Anchor::at(zone, start);
        Self {
            start,
            anchor,
            interval,
        }
    }

    /// Periods that end at a day of the month, so that the first one may be short.
    pub fn on_day(zone: Zone, start: OffsetDateTime, day: u8, interval: Interval) -> Self {
        let anchor = Anchor::at(zone, start).on_day(day).at_time(Time::MIDNIGHT);
        Self {
            start,
            anchor,
            interval,
        }
    }

    /// The period that an instant lies in, and its number: what boundary it begins at or, for the
    /// first, lies after. `None` before the start and beyond the calendar.
    pub fn period_at(&self, at: OffsetDateTime) -> Option<(i64, Period)> {
        if at < self.start {
            return None;
        }
        let number = self.anchor.number_at(self.interval, at)?;
        let start = self.anchor.boundary(self.interval, number)?;
        let end = self
            .anchor
            .boundary(self.interval, number.checked_add(1)?)?;
        let start = start.max(self.start);
        Some((number, Period { start, end }))
    }

    /// The whole period that a number stands for, as if it had not begun late: what a short first
    /// period is a part of.
    pub fn whole(&self, number: i64) -> Option<Period> {
        let start = self.anchor.boundary(self.interval, number)?;
        let end = self
            .anchor
            .boundary(self.interval, number.checked_add(1)?)?;
        Some(Period { start, end })
    }

    /// How many boundaries have passed since the start.
    pub fn elapsed(&self, at: OffsetDateTime) -> Option<i64> {
        let at_start = self.anchor.number_at(self.interval, self.start)?;
        let now = self.anchor.number_at(self.interval, at.max(self.start))?;
        now.checked_sub(at_start)
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Days(days) => write!(f, "P{days}D"),
            Self::Months(months) if months.get().is_multiple_of(12) => {
                write!(f, "P{}Y", months.get().div_euclid(12))
            }
            Self::Months(months) => write!(f, "P{months}M"),
        }
    }
}

impl FromStr for Interval {
    type Err = MalformedInterval;
    /// ISO 8601's durations of one unit: `P7D`, `P1W`, `P3M`, `P1Y`.
    fn from_str(text: &str) -> Result<Self, MalformedInterval> {
        let malformed = || MalformedInterval(text.chars().take(40).collect());
        let count = text.strip_prefix('P').ok_or_else(malformed)?;
        let unit = count.chars().next_back().ok_or_else(malformed)?;
        let count = count.strip_suffix(unit).ok_or_else(malformed)?;
        if count.is_empty() || !count.bytes().all(|b| b.is_ascii_digit()) {
            return Err(malformed());
        }
        let count: u16 = count.parse().map_err(|_| malformed())?;
        let times = |by: u16| count.checked_mul(by).ok_or_else(malformed);
        match unit {
            'D' => Self::days(count),
            'W' => Self::days(times(7)?),
            'M' => Self::months(count),
            'Y' => Self::months(times(12)?),
            _ => Err(malformed()),
        }
        .map_err(|_| malformed())
    }
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn zone(name: &str) -> Zone {
        name.parse().unwrap()
    }

    fn interval(text: &str) -> Interval {
        text.parse().unwrap()
    }

    #[test]
    fn intervals_read_back_from_their_text() {
        for text in ["P1D", "P30D", "P1M", "P3M", "P1Y", "P10Y"] {
            assert_eq!(interval(text).to_string(), text);
        }
        assert_eq!(interval("P2W").to_string(), "P14D");
        for text in [
            "", "P", "PM", "P0M", "P-1M", "P+1M", "1M", "P1.5M", "P1MD", "P11Y", "P70000D", "P1月",
        ] {
            assert!(text.parse::<Interval>().is_err(), "{text}");
        }
    }

    /// A daily period that would begin on a date that the zone skipped has no length: the next one
    /// begins there, and none is lost or doubled.
    #[test]
    fn periods_tile_over_a_date_that_does_not_exist() {
        let start = datetime!(2011-12-27 12:00 UTC);
        let cycle = Cycle::anniversary(zone("Pacific/Apia"), start, interval("P1D"));
        let mut at = start;
        let mut lengths = Vec::new();
        for _ in 0..5 {
            let (_, period) = cycle.period_at(at).unwrap();
            assert_eq!(period.start, at);
            lengths.push((period.end - period.start).whole_hours());
            at = period.end;
        }
        assert!(
            lengths.iter().all(|hours| (1..=48).contains(hours)),
            "{lengths:?}"
        );
    }

    /// Over a change of the clocks a period keeps its time of day; a time that does not exist
    /// becomes the first that does, and comes back the month after.
    #[test]
    fn a_time_that_does_not_exist_is_the_first_after_the_gap() {
        let start = datetime!(2026-02-08 07:30 UTC);
        let cycle = Cycle::anniversary(zone("America/New_York"), start, interval("P1M"));
        let (_, first) = cycle.period_at(start).unwrap();
        assert_eq!(first.end, datetime!(2026-03-08 07:00 UTC));
        let (_, second) = cycle.period_at(first.end).unwrap();
        assert_eq!(second.end, datetime!(2026-04-08 06:30 UTC));
    }

    #[test]
    fn nothing_is_before_the_start_or_beyond_the_calendar() {
        let start = datetime!(2026-01-31 12:00 UTC);
        let cycle = Cycle::anniversary(Zone::utc(), start, interval("P10Y"));
        assert_eq!(cycle.period_at(start - time::Duration::SECOND), None);
        assert_eq!(cycle.period_at(datetime!(9999-12-31 23:59 UTC)), None);
    }
}
