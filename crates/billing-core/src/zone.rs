//! Time zones: where the days, weeks and months of an account begin.
//!
//! The rules of the IANA database are compiled in, so that every node knows the same ones and
//! nothing is read from the machine.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// An IANA time zone.
#[derive(Clone)]
pub struct Zone {
    name: Arc<str>,
    rules: TimeZone,
}

/// A name that no zone has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is not an IANA time zone, such as `Asia/Shanghai` or `UTC`")]
pub struct UnknownZone(String);

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self {
            name: Arc::from("UTC"),
            rules: TimeZone::UTC,
        }
    }

    /// The name in the IANA database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// An instant as the clocks of the zone show it.
    pub fn local(&self, at: OffsetDateTime) -> OffsetDateTime {
        let seconds = Timestamp::from_second(at.unix_timestamp());
        let offset = seconds.map_or(0, |at| self.rules.to_offset(at).seconds());
        UtcOffset::from_whole_seconds(offset).map_or(at, |offset| at.to_offset(offset))
    }

    /// The first instant of a local day. Where its midnight does not exist, that is the first
    /// instant after the gap; where it comes twice, the first of the two.
    pub fn start_of_day(&self, day: Date) -> OffsetDateTime {
        self.instant(day.midnight())
    }

    /// When the clocks of the zone show a time. Where they never do, that is the first instant after
    /// the gap; where they do so twice, the first of the two.
    pub fn instant(&self, local: PrimitiveDateTime) -> OffsetDateTime {
        let civil = || {
            let (date, time) = (local.date(), local.time());
            let part = |part: u8| i8::try_from(part).ok();
            let year = i16::try_from(date.year()).ok()?;
            let date = civil::Date::new(year, part(u8::from(date.month()))?, part(date.day())?);
            let [hour, minute, second] = [time.hour(), time.minute(), time.second()].map(part);
            let second = civil::Time::new(hour?, minute?, second?, 0);
            Some(date.ok()?.to_datetime(second.ok()?))
        };
        let start = civil().and_then(|local| self.first_instant(local));
        let start = start.and_then(|at| OffsetDateTime::from_unix_timestamp(at.as_second()).ok());
        let part = time::Duration::nanoseconds(i64::from(local.nanosecond()));
        start.map_or_else(|| local.assume_utc(), |at| at.saturating_add(part))
    }

    /// So many local days later, at the same time of day.
    pub fn days_later(&self, at: OffsetDateTime, days: i64) -> OffsetDateTime {
        let local = self.local(at);
        let local = PrimitiveDateTime::new(local.date(), local.time());
        self.instant(local.saturating_add(time::Duration::days(days)))
    }

    /// How many local midnights lie between two instants.
    pub fn days_between(&self, from: OffsetDateTime, to: OffsetDateTime) -> i64 {
        let [from, to] = [from, to].map(|at| self.local(at).date().to_julian_day());
        i64::from(to).saturating_sub(i64::from(from))
    }

    fn first_instant(&self, local: civil::DateTime) -> Option<Timestamp> {
        let instant = self.rules.to_ambiguous_timestamp(local);
        let is_gap = matches!(instant.offset(), AmbiguousOffset::Gap { .. });
        let compatible = instant.compatible().ok()?;
        if !is_gap {
            return Some(compatible);
        }
        // The gap may have begun before this time: what is meant is when the clocks were changed.
        let after = compatible.as_second().checked_add(1)?;
        let mut changes = self.rules.preceding(Timestamp::from_second(after).ok()?);
        changes.next().map(|change| change.timestamp())
    }
}

/// The start of a calendar span that an instant lies in, in the clocks of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalendarSpan {
    /// A local hour, which begins at another minute in some zones than in UTC.
    Hour,
    /// A local day.
    Day,
    /// From a Monday on.
    Week,
    /// From the first of a month on.
    Month,
}

impl CalendarSpan {
    /// When the span that holds an instant began.
    pub fn start(self, zone: &Zone, at: OffsetDateTime) -> OffsetDateTime {
        let local = zone.local(at);
        match self {
            Self::Hour => {
                let into = local.time().duration_since(on_the_hour(local.time()));
                at.saturating_sub(into)
            }
            Self::Day | Self::Week | Self::Month => zone.start_of_day(self.first_day(local.date())),
        }
    }

    /// When the next span begins.
    pub fn end(self, zone: &Zone, at: OffsetDateTime) -> OffsetDateTime {
        let first = self.first_day(zone.local(at).date());
        let next = match self {
            Self::Hour => return self.start(zone, at).saturating_add(time::Duration::HOUR),
            Self::Day => first.next_day(),
            Self::Week => first.checked_add(time::Duration::WEEK),
            Self::Month => {
                let month = first.month().next();
                let year = first.year().checked_add(i32::from(month == Month::January));
                year.and_then(|year| Date::from_calendar_date(year, month, 1).ok())
            }
        };
        zone.start_of_day(next.unwrap_or(Date::MAX))
    }

    fn first_day(self, day: Date) -> Date {
        let back = match self {
            Self::Hour | Self::Day => 0,
            Self::Week => day.weekday().number_days_from_monday(),
            Self::Month => day.day().saturating_sub(1),
        };
        day.checked_sub(time::Duration::days(i64::from(back)))
            .unwrap_or(day)
    }
}

fn on_the_hour(time: Time) -> Time {
    Time::from_hms(time.hour(), 0, 0).unwrap_or(Time::MIDNIGHT)
}

impl FromStr for Zone {
    type Err = UnknownZone;
    fn from_str(name: &str) -> Result<Self, UnknownZone> {
        let unknown = || UnknownZone(name.chars().take(60).collect());
        if name == "UTC" {
            return Ok(Self::utc());
        }
        let rules = TimeZoneDatabase::bundled().get(name);
        let rules = rules.map_err(|_| unknown())?;
        // The database forgives another case; one zone shall have one name here.
        let name = rules.iana_name().ok_or_else(unknown)?;
        Ok(Self {
            name: Arc::from(name),
            rules: rules.clone(),
        })
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl PartialOrd for Zone {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Zone {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.name.cmp(&other.name)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.name)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let name = String::deserialize(d)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::{date, datetime};

    fn zone(name: &str) -> Zone {
        name.parse().unwrap()
    }

    #[test]
    fn an_instant_has_the_local_time_of_its_day() {
        let shanghai = zone("Asia/Shanghai");
        let local = shanghai.local(datetime!(2026-11-22 18:30 UTC));
        assert_eq!(local.date(), date!(2026 - 11 - 23));
        assert_eq!((local.hour(), local.minute()), (2, 30));
        let new_york = zone("America/New_York");
        let [winter, summer] = [
            datetime!(2026-01-01 12:00 UTC),
            datetime!(2026-07-01 12:00 UTC),
        ];
        assert_eq!(new_york.local(winter).hour(), 7);
        assert_eq!(new_york.local(summer).hour(), 8);
    }

    #[test]
    fn a_day_begins_at_its_first_instant() {
        for (name, day, start) in [
            (
                "UTC",
                date!(2026 - 03 - 29),
                datetime!(2026-03-29 00:00 UTC),
            ),
            (
                "Europe/Berlin",
                date!(2026 - 03 - 30),
                datetime!(2026-03-29 22:00 UTC),
            ),
            // Midnight did not exist, or came twice.
            (
                "America/Sao_Paulo",
                date!(2018 - 11 - 04),
                datetime!(2018-11-04 03:00 UTC),
            ),
            (
                "America/Havana",
                date!(2026 - 11 - 01),
                datetime!(2026-11-01 04:00 UTC),
            ),
            // The gap began half an hour before midnight.
            (
                "America/Toronto",
                date!(1919 - 03 - 31),
                datetime!(1919-03-31 04:30 UTC),
            ),
        ] {
            assert_eq!(zone(name).start_of_day(day), start, "{name} {day}");
        }
    }

    #[test]
    fn spans_begin_and_end_in_local_time() {
        let berlin = zone("Europe/Berlin");
        // A Sunday; the clocks go forward on it.
        let at = datetime!(2026-03-29 10:00 UTC);
        let spans = |span: CalendarSpan| (span.start(&berlin, at), span.end(&berlin, at));
        assert_eq!(
            spans(CalendarSpan::Day),
            (
                datetime!(2026-03-28 23:00 UTC),
                datetime!(2026-03-29 22:00 UTC)
            )
        );
        assert_eq!(
            spans(CalendarSpan::Week),
            (
                datetime!(2026-03-22 23:00 UTC),
                datetime!(2026-03-29 22:00 UTC)
            )
        );
        assert_eq!(
            spans(CalendarSpan::Month),
            (
                datetime!(2026-02-28 23:00 UTC),
                datetime!(2026-03-31 22:00 UTC)
            )
        );
        let december = datetime!(2026-12-31 23:30 UTC);
        assert_eq!(
            CalendarSpan::Month.end(&Zone::utc(), december),
            datetime!(2027-01-01 00:00 UTC)
        );
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        for name in ["", "Mars/Olympus", "+08:00", "Asia/Shanghai "] {
            assert!(name.parse::<Zone>().is_err(), "{name:?}");
        }
        assert_eq!(zone("asia/shanghai"), zone("Asia/Shanghai"));
        assert_eq!(serde_json::to_string(&zone("UTC")).unwrap(), "\"UTC\"");
    }
}
