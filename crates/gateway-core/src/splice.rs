//! Changes a few members of a JSON text and leaves every other byte as it was.

use std::borrow::Cow;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// One replacement: these bytes of the source become that text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit<'a> {
    /// Where, in the source. An empty range inserts.
    pub at: Range<usize>,
    /// What stands there afterwards.
    pub text: Cow<'a, [u8]>,
}

impl<'a> Edit<'a> {
    /// Replaces a range.
    pub fn replace(at: Range<usize>, text: impl Into<Cow<'a, [u8]>>) -> Self {
        Self {
            at,
            text: text.into(),
        }
    }

    /// Inserts before a position.
    pub fn insert(at: usize, text: impl Into<Cow<'a, [u8]>>) -> Self {
        Self {
            at: at..at,
            text: text.into(),
        }
    }
}

/// Applies edits, which may come in any order but must not overlap.
///
/// Without edits the source itself comes back, not a copy. An edit that lies outside the source or
/// overlaps an earlier one is left out: an untouched body is a safer mistake than a garbled one.
pub fn apply(source: &Bytes, mut edits: Vec<Edit<'_>>) -> Bytes {
    if edits.is_empty() {
        return source.clone();
    }
    edits.sort_by_key(|edit| (edit.at.start, edit.at.end));
    let grown = edits
        .iter()
        .map(|edit| edit.text.len())
        .fold(source.len(), usize::saturating_add);
    let mut out = BytesMut::with_capacity(grown);
    let mut done = 0;
    for edit in &edits {
        let Some(before) = source.get(done..edit.at.start) else {
            continue;
        };
        if source.get(edit.at.clone()).is_none() {
            continue;
        }
        out.extend_from_slice(before);
        out.extend_from_slice(&edit.text);
        done = edit.at.end;
    }
    out.extend_from_slice(source.get(done..).unwrap_or_default());
    out.freeze()
}

/// The edit that adds members at the end of the JSON object which `object` spans.
///
/// `members` is raw JSON without braces, such as `"a":1,"b":2`. The gateway does not look at what
/// it says. `None` where the range holds no object, or there is nothing to add.
pub fn add_members<'a>(source: &[u8], object: Range<usize>, members: &'a str) -> Option<Edit<'a>> {
    if members.is_empty() {
        return None;
    }
    let text = source.get(object.clone())?.trim_ascii_end();
    let inside = text.strip_prefix(b"{")?.strip_suffix(b"}")?;
    let close = object.start.checked_add(text.len())?.checked_sub(1)?;
    let empty = inside.trim_ascii().is_empty();
    Some(if empty {
        Edit::insert(close, members.as_bytes())
    } else {
        Edit::insert(close, [b",", members.as_bytes()].concat())
    })
}

/// Where `part` lies inside `whole`, when it is a slice of it.
pub fn span_of(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_apply_in_any_order() {
        let source = Bytes::from_static(b"{\"a\":1,\"b\":2}");
        let edits = vec![
            Edit::replace(11..12, &b"9"[..]),
            Edit::insert(1, &b"\"z\":0,"[..]),
        ];
        assert_eq!(apply(&source, edits), &b"{\"z\":0,\"a\":1,\"b\":9}"[..]);
    }

    #[test]
    fn without_edits_nothing_is_copied() {
        let source = Bytes::from_static(b"{}");
        assert_eq!(apply(&source, Vec::new()).as_ptr(), source.as_ptr());
    }

    #[test]
    fn an_edit_outside_the_source_is_left_out() {
        let source = Bytes::from_static(b"{}");
        assert_eq!(apply(&source, vec![Edit::insert(7, &b"x"[..])]), source);
    }

    #[test]
    fn members_are_added_to_full_and_empty_objects() {
        for (source, wanted) in [
            (
                &b"{\"usage\":{\"a\":1}}"[..],
                &b"{\"usage\":{\"a\":1,\"c\":2}}"[..],
            ),
            (b"{\"usage\":{ }}", b"{\"usage\":{ \"c\":2}}"),
        ] {
            let bytes = Bytes::copy_from_slice(source);
            let edit = add_members(&bytes, 9..source.len() - 1, "\"c\":2").unwrap();
            assert_eq!(apply(&bytes, vec![edit]), wanted);
        }
        assert_eq!(add_members(b"null", 0..4, "\"c\":2"), None);
    }
}
