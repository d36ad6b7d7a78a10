//! Hours of the week in a zone, for prices that depend on the time of day.

use std::fmt;
use std::str::FromStr;

use time::{OffsetDateTime, Weekday};

use super::condition::ConditionError;
use crate::zone::Zone;

/// Minutes of a day.
const DAY: u16 = 24 * 60;
/// The days of the week as they are written.
const NAMES: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// Some days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weekdays(u8);

impl Weekdays {
    /// All seven.
    pub const DAILY: Self = Self(0b111_1111);

    /// These days, numbered from Monday as 1; `None` for another number, or for no day at all.
    pub fn numbered(days: impl IntoIterator<Item = u8>) -> Option<Self> {
        let mut set = 0_u8;
        for day in days {
            let shift = day.checked_sub(1).filter(|shift| *shift < 7)?;
            set |= 1_u8.checked_shl(u32::from(shift))?;
        }
        (set != 0).then_some(Self(set))
    }

    /// Whether a day is one of them.
    pub fn contains(self, day: Weekday) -> bool {
        self.has(day.number_days_from_monday())
    }

    fn has(self, from_monday: u8) -> bool {
        let bit = 1_u8.checked_shl(u32::from(from_monday)).unwrap_or(0);
        self.0 & bit != 0
    }
}

impl fmt::Display for Weekdays {
    /// `daily`, `mon-fri`, `tue+sat-sun`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::DAILY {
            return f.write_str("daily");
        }
        let name = |day: u8| NAMES.get(usize::from(day)).map_or("", |(name, _)| *name);
        let mut between = "";
        let mut day = 0;
        while day < 7 {
            let first = day;
            while day < 7 && self.has(day) {
                day = day.saturating_add(1);
            }
            let run = day.saturating_sub(first);
            if run > 0 {
                write!(f, "{between}{}", name(first))?;
                between = "+";
            }
            if run > 1 {
                write!(f, "-{}", name(day.saturating_sub(1)))?;
            }
            day = day.saturating_add(1);
        }
        Ok(())
    }
}

impl FromStr for Weekdays {
    type Err = ConditionError;
    fn from_str(text: &str) -> Result<Self, ConditionError> {
        if text == "daily" {
            return Ok(Self::DAILY);
        }
        let unknown = || ConditionError::new(text, "days are written mon-fri, sat+sun or daily");
        let number = |name: &str| {
            let at = NAMES.iter().position(|(day, _)| *day == name);
            at.and_then(|at| u8::try_from(at).ok())
        };
        let mut days = Vec::with_capacity(7);
        for run in text.split('+') {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            let (first, last) = (number(first), number(last));
            let (Some(first), Some(last)) = (first, last) else {
                return Err(unknown());
            };
            if last < first {
                return Err(unknown());
            }
            days.extend((first..=last).map(|day| day.saturating_add(1)));
        }
        Self::numbered(days).ok_or_else(unknown)
    }
}

/// A span of the clock on some days, its end not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DailyWindow {
    days: Weekdays,
    from: u16,
    to: u16,
}

impl DailyWindow {
    /// From one minute of the day to another; `None` when that is no span within a day.
    pub const fn new(days: Weekdays, from: u16, to: u16) -> Option<Self> {
        if from < to && to <= DAY {
            Some(Self { days, from, to })
        } else {
            None
        }
    }

    /// The same, where an end that is not after the start lies beyond midnight: such a span is
    /// two, each on the days named.
    pub fn around(days: Weekdays, from: u16, to: u16) -> impl Iterator<Item = Self> {
        let wraps = to <= from;
        let first = Self::new(days, from, if wraps { DAY } else { to });
        let second = if wraps { Self::new(days, 0, to) } else { None };
        first.into_iter().chain(second)
    }
}

impl fmt::Display for DailyWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = |at: u16| (at.wrapping_div(60), at.wrapping_rem(60));
        let ((h, m), (end_h, end_m)) = (clock(self.from), clock(self.to));
        write!(f, "{} {h:02}:{m:02}-{end_h:02}:{end_m:02}", self.days)
    }
}

/// When a price holds: windows by the clocks of a zone. The day of the week is that of the instant
/// itself, also after midnight.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hours {
    zone: Zone,
    windows: Vec<DailyWindow>,
}

impl Hours {
    /// These windows in this zone; `None` without any.
    pub fn new(zone: Zone, windows: impl IntoIterator<Item = DailyWindow>) -> Option<Self> {
        let mut sorted: Vec<_> = windows.into_iter().collect();
        sorted.sort_unstable();
        let mut windows: Vec<DailyWindow> = Vec::with_capacity(sorted.len());
        for window in sorted {
            match windows.last_mut() {
                // Spans of the same days that touch are one.
                Some(last) if last.days == window.days && window.from <= last.to => {
                    last.to = last.to.max(window.to);
                }
                Some(_) | None => windows.push(window),
            }
        }
        (!windows.is_empty()).then_some(Self { zone, windows })
    }

    /// Whether an instant lies in one of the windows.
    pub fn contain(&self, at: OffsetDateTime) -> bool {
        let local = self.zone.local(at);
        let hours = u16::from(local.hour()).saturating_mul(60);
        let minute = hours.saturating_add(u16::from(local.minute()));
        let mut windows = self.windows.iter();
        windows.any(|w| w.from <= minute && minute < w.to && w.days.contains(local.weekday()))
    }
}

impl fmt::Display for Hours {
    /// `UTC mon-fri 00:00-01:00 | sat-sun 00:00-24:00`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.zone)?;
        for (at, window) in self.windows.iter().enumerate() {
            write!(f, "{}{window}", if at == 0 { " " } else { " | " })?;
        }
        Ok(())
    }
}

impl FromStr for Hours {
    type Err = ConditionError;
    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let malformed = || {
            ConditionError::new(
                text,
                "hours are written as a zone and windows, such as UTC mon-fri 22:00-06:00 | sat+sun 00:00-24:00",
            )
        };
        let (zone, windows) = text.split_once(' ').ok_or_else(malformed)?;
        let zone = zone.parse::<Zone>().map_err(|_| malformed())?;
        let mut all = Vec::new();
        for window in windows.split(" | ") {
            let (days, span) = window.split_once(' ').ok_or_else(malformed)?;
            let (from, to) = span.split_once('-').ok_or_else(malformed)?;
            let (from, to) = (clock(from), clock(to));
            let (Some(from), Some(to)) = (from.filter(|at| *at < DAY), to) else {
                return Err(malformed());
            };
            all.extend(DailyWindow::around(days.parse()?, from, to));
        }
        Self::new(zone, all).ok_or_else(malformed)
    }
}

/// The minute of the day that `HH:MM` names; `24:00` is its end.
pub fn clock(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |part: &str| {
        let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse::<u16>().ok()).flatten()
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let at = hours.checked_mul(60)?.checked_add(minutes)?;
    (minutes < 60 && at <= DAY).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn hours_are_those_of_their_zone() {
        let hours: Hours = "Asia/Shanghai mon-fri 22:00-06:00 | sat-sun 00:00-24:00"
            .parse()
            .unwrap();
        for (at, within) in [
            // Friday 21:59 and 22:00 in Shanghai.
            (datetime!(2026-11-20 13:59 UTC), false),
            (datetime!(2026-11-20 14:00 UTC), true),
            // Saturday there, Friday still in UTC.
            (datetime!(2026-11-20 16:30 UTC), true),
            (datetime!(2026-11-22 10:00 UTC), true),
            // Monday 05:59 and 06:00 in Shanghai.
            (datetime!(2026-11-22 21:59:59 UTC), true),
            (datetime!(2026-11-22 22:00 UTC), false),
        ] {
            assert_eq!(hours.contain(at), within, "{at}");
        }
        assert_eq!(
            hours.to_string(),
            "Asia/Shanghai mon-fri 00:00-06:00 | mon-fri 22:00-24:00 | sat-sun 00:00-24:00"
        );
        assert_eq!(hours.to_string().parse(), Ok(hours));
        let touching: Hours = "UTC daily 08:00-09:00 | daily 00:00-08:00".parse().unwrap();
        assert_eq!(touching.to_string(), "UTC daily 00:00-09:00");
    }

    #[test]
    fn days_read_back_from_what_they_wrote() {
        for set in 1..=127 {
            let days = Weekdays(set);
            assert_eq!(days.to_string().parse(), Ok(days));
        }
        assert_eq!(
            Weekdays::numbered([2, 6, 7]).unwrap().to_string(),
            "tue+sat-sun"
        );
        assert_eq!(Weekdays::numbered([]), None);
        assert_eq!(Weekdays::numbered([8]), None);
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in [
            "",
            "UTC",
            "UTC daily",
            "UTC 00:00-24:00",
            "Mars daily 00:00-24:00",
            "UTC daily 24:00-01:00",
            "UTC daily 0:00-1:00",
            "UTC daily 00:60-01:00",
            "UTC fri-mon 00:00-01:00",
            "UTC noday 00:00-01:00",
        ] {
            assert!(text.parse::<Hours>().is_err(), "{text:?}");
        }
    }
}
