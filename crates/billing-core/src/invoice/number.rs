//! Numbers of documents: without gaps in a series, given only when a document becomes final.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use time::{OffsetDateTime, UtcOffset};

/// How many characters a series may have.
const LONGEST: usize = 24;
/// The fewest digits of a number.
const DIGITS: usize = 6;

/// What the numbers of one sequence begin with: `INV-2026-`.
///
/// It ends with `-` or `/`, so that no two series can have a number in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series(String);

/// The series that documents of a kind are numbered in: one for all time, or, with `{year}` in its
/// name, one for each year of UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbering(String);

/// The text is no series.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "\"{0}\" is not a series of numbers; give at most {LONGEST} capital letters, digits, `-` and \
     `/`, the last of them `-` or `/`, such as `INV-2026-`"
)]
pub struct NotASeries(String);

/// The number of a document in its series.
///
/// Who finalizes a document takes the number in the same transaction from the series' one row, so
/// that a document that does not become final takes none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DocumentNumber {
    /// The series.
    pub series: Series,
    /// The place in it: 1, 2, 3 and so on.
    pub sequence: u64,
}

impl Series {
    /// What a number begins with.
    pub fn prefix(&self) -> &str {
        &self.0
    }

    /// The number after one, or the first.
    pub fn after(&self, sequence: Option<u64>) -> DocumentNumber {
        DocumentNumber {
            series: self.clone(),
            sequence: sequence.unwrap_or(0).saturating_add(1),
        }
    }
}

impl Numbering {
    /// What stands for the year.
    const YEAR: &str = "{year}";

    /// The usual series of invoices.
    pub fn invoices() -> Self {
        Self("INV-".to_owned())
    }

    /// The usual series of credit notes.
    pub fn credit_notes() -> Self {
        Self("CN-".to_owned())
    }

    /// The series of an instant.
    pub fn series(&self, at: OffsetDateTime) -> Series {
        let year = at.to_offset(UtcOffset::UTC).year();
        Series(self.0.replace(Self::YEAR, &year.to_string()))
    }
}

impl FromStr for Numbering {
    type Err = NotASeries;
    fn from_str(text: &str) -> Result<Self, NotASeries> {
        let of_a_year: Result<Series, NotASeries> = text.replace(Self::YEAR, "2026").parse();
        of_a_year.map(|_| Self(text.to_owned()))
    }
}

impl fmt::Display for Numbering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first place at which a series is broken, given its places with the instants at which they
/// were taken, in order of place: one is missing, or was taken before the one in front of it.
pub fn broken_at(issued: &[(u64, OffsetDateTime)]) -> Option<u64> {
    let mut before = None;
    for (wanted, (place, at)) in (1_u64..).zip(issued) {
        if *place != wanted || before.is_some_and(|before| *at < before) {
            return Some(wanted);
        }
        before = Some(*at);
    }
    None
}

impl FromStr for Series {
    type Err = NotASeries;
    fn from_str(text: &str) -> Result<Self, NotASeries> {
        let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-' || b == b'/';
        let ends = text.ends_with(['-', '/']);
        if ends && text.len() <= LONGEST && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(NotASeries(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Series {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Series {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for DocumentNumber {
    /// The series and at least six digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:0DIGITS$}", self.series, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    #[test]
    fn numbers_follow_one_another() {
        let series: Series = "INV-2026-".parse().unwrap();
        let first = series.after(None);
        assert_eq!(first.to_string(), "INV-2026-000001");
        let late = series.after(Some(1_999_999));
        assert_eq!(late.to_string(), "INV-2026-2000000");
    }

    #[test]
    fn a_series_may_be_of_a_year() {
        let numbering: Numbering = "INV-{year}-".parse().unwrap();
        assert_eq!(
            numbering.series(OffsetDateTime::UNIX_EPOCH).prefix(),
            "INV-1970-"
        );
        assert!("INV-{year}".parse::<Numbering>().is_err());
        assert!("INV-{month}-".parse::<Numbering>().is_err());
    }

    #[test]
    fn a_series_whose_numbers_could_be_those_of_another_is_refused() {
        for text in [
            "INV",
            "INV-1",
            "",
            "inv-",
            "A B-",
            "ABCDEFGHIJKLMNOPQRSTUVWX-",
        ] {
            assert!(text.parse::<Series>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_gap_and_a_number_out_of_time_are_found() {
        let at = |second| OffsetDateTime::UNIX_EPOCH.saturating_add(Duration::seconds(second));
        assert_eq!(broken_at(&[(1, at(0)), (2, at(0)), (3, at(5))]), None);
        assert_eq!(broken_at(&[(1, at(0)), (3, at(1))]), Some(2));
        assert_eq!(broken_at(&[(2, at(0))]), Some(1));
        assert_eq!(broken_at(&[(1, at(3)), (2, at(2))]), Some(2));
    }
}
