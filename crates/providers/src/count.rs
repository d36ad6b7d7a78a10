//! Counts, as providers write them.

use billing_core::meter::{Meter, Usage};
use thiserror::Error;

/// A usage that holds something else than counts: negative, fractional, a text, too large for any
/// integer, a count that stands twice, or no JSON object at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the usage holds something else than counts")]
pub struct Malformed;

/// The text of a member, if it is there.
pub(crate) type Raw<'a> = Option<&'a str>;

/// Keeps the text of a member; `None` where it stands twice: which of two is meant nobody knows.
pub(crate) fn once<'a>(place: &mut Raw<'a>, text: &'a str) -> Option<()> {
    place.replace(text).is_none().then_some(())
}

/// A count, nothing, or something that is no count: it never wraps and never rounds.
pub(crate) fn count(raw: Raw<'_>) -> Result<Option<u64>, Malformed> {
    let is_count = |text: &str| {
        let has_zero_before = text.len() > 1 && text.starts_with('0');
        text.bytes().all(|b| b.is_ascii_digit()) && !has_zero_before
    };
    match raw {
        None | Some("null") => Ok(None),
        Some(text) if is_count(text) => text.parse().map(Some).map_err(|_| Malformed),
        Some(_) => Err(Malformed),
    }
}

/// A count that is zero where it is not stated.
pub(crate) fn part(raw: Raw<'_>) -> Result<u64, Malformed> {
    count(raw).map(Option::unwrap_or_default)
}

/// A sum of an optional pair: nothing where both are absent.
pub(crate) fn sum(a: Option<u64>, b: Option<u64>) -> Result<Option<u64>, Malformed> {
    match (a, b) {
        (None, None) => Ok(None),
        (a, b) => total([a.unwrap_or(0), b.unwrap_or(0)]).map(Some),
    }
}

/// The sum of counts, which is a count too.
pub(crate) fn total(counts: impl IntoIterator<Item = u64>) -> Result<u64, Malformed> {
    let mut counts = counts.into_iter();
    counts.try_fold(0_u64, u64::checked_add).ok_or(Malformed)
}

/// Gives a meter its part of what is left, no more than there is; says what is left then.
pub(crate) fn take(usage: &mut Usage, left: u64, meter: Meter, part: u64) -> u64 {
    let part = part.min(left);
    usage.set(meter, part);
    left - part
}
