//! The members of a JSON object, found without reading what is in them.
//!
//! An answer is mostly one long string that nobody here wants. A parser reads it byte by byte to see
//! that it is one; to find its end it is enough to look for quotes. So what is inside a value is not
//! checked, except that strings end and brackets close as they were opened.

use std::borrow::Cow;

use memchr::memchr2;

/// Most strings are names, and their ends are nearer than it is worth to search for: so many words
/// of eight bytes are looked at one by one.
const NEAR: usize = 4;
/// Brackets inside brackets that are followed: a bit for each.
const MOST_DEPTH: u32 = u128::BITS;

/// Gives name and text of every member to `take`; `None` unless this is one object and whole.
pub(crate) fn members<'a>(
    json: &'a str,
    mut take: impl FnMut(&str, &'a str) -> Option<()>,
) -> Option<()> {
    let bytes = json.as_bytes();
    let mut at = expect(bytes, 0, b'{')?;
    if let Some(end) = expect(bytes, at, b'}') {
        return nothing_follows(bytes, end);
    }
    loop {
        let inside = expect(bytes, at, b'"')?;
        let (name, behind) = name(json, inside)?;
        let start = blank(bytes, expect(bytes, behind, b':')?);
        let end = value_end(bytes, start)?;
        take(&name, json.get(start..end)?)?;
        match expect(bytes, end, b',') {
            Some(next) => at = next,
            None => return nothing_follows(bytes, expect(bytes, end, b'}')?),
        }
    }
}

/// A text, or nothing where it is not one.
pub(crate) fn text(json: Option<&str>) -> Option<String> {
    let json = json?;
    if json.contains('\\') {
        return serde_json::from_str(json).ok();
    }
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    Some(inside.to_owned())
}

/// The name whose inside begins here, without its quotes and escapes, and the place behind it.
fn name(json: &str, inside: usize) -> Option<(Cow<'_, str>, usize)> {
    let bytes = json.as_bytes();
    let end = inside + quote_or_backslash(bytes.get(inside..)?)?;
    if bytes.get(end) == Some(&b'"') {
        return Some((Cow::Borrowed(json.get(inside..end)?), end + 1));
    }
    let behind = string_end(bytes, end)?;
    let quoted = json.get(inside.checked_sub(1)?..behind)?;
    Some((Cow::Owned(serde_json::from_str(quoted).ok()?), behind))
}

/// The place behind blanks.
fn blank(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// The place behind this byte, which may have blanks before it.
fn expect(bytes: &[u8], at: usize, wanted: u8) -> Option<usize> {
    let at = blank(bytes, at);
    (bytes.get(at) == Some(&wanted)).then_some(at + 1)
}

fn nothing_follows(bytes: &[u8], at: usize) -> Option<()> {
    (blank(bytes, at) == bytes.len()).then_some(())
}

/// The place behind a string whose inside begins here.
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let found = at + quote_or_backslash(bytes.get(at..)?)?;
        if bytes.get(found) == Some(&b'"') {
            return Some(found + 1);
        }
        at = found + 2;
    }
}

/// Where the first quote or backslash is.
fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    let (words, _) = bytes.as_chunks::<8>();
    for (place, word) in words.iter().take(NEAR).enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = zeros(word ^ u64::from_le_bytes([b'"'; 8]))
            | zeros(word ^ u64::from_le_bytes([b'\\'; 8]));
        if found != 0 {
            let within = usize::try_from(found.trailing_zeros() / 8).unwrap_or(0);
            return Some(place * 8 + within);
        }
    }
    let passed = words.len().min(NEAR) * 8;
    let far = memchr2(b'"', b'\\', bytes.get(passed..)?)?;
    Some(passed + far)
}

/// The highest bit of each byte that is zero, right for the first one at least: what follows a zero
/// may be taken for one.
const fn zeros(word: u64) -> u64 {
    let (ones, highest) = (u64::from_le_bytes([0x01; 8]), u64::from_le_bytes([0x80; 8]));
    word.wrapping_sub(ones) & !word & highest
}

fn value_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => string_end(bytes, at + 1),
        b'{' | b'[' => brackets_end(bytes, at),
        _ => word_end(bytes, at),
    }
}

/// The place behind a number, a truth value or a null.
fn word_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let is_part =
        |byte: &&u8| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'+' | b'-' | b'.' | b'E');
    let length = rest.iter().take_while(is_part).count();
    let word = rest.get(..length)?;
    let known = matches!(word, b"true" | b"false" | b"null");
    let is_number = matches!(word.first(), Some(b'0'..=b'9' | b'-'));
    (known || is_number).then_some(at + length)
}

/// The place behind the bracket that closes the one that stands here.
fn brackets_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    // Of each that is open whether it is a brace; the innermost is the lowest bit.
    let (mut braces, mut depth) = (0_u128, 0);
    loop {
        let byte = *bytes.get(at)?;
        at += 1;
        match byte {
            b'"' => at = string_end(bytes, at)?,
            b'{' | b'[' => {
                if depth == MOST_DEPTH {
                    return None;
                }
                braces = braces << 1 | u128::from(byte == b'{');
                depth += 1;
            }
            b'}' | b']' => {
                if (braces & 1 == 1) != (byte == b'}') {
                    return None;
                }
                braces >>= 1;
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::Value;
    use serde_json::value::RawValue;

    use super::*;

    fn found(json: &str) -> Option<BTreeMap<String, String>> {
        let mut found = BTreeMap::new();
        members(json, |name, text| {
            found.insert(name.to_owned(), text.to_owned());
            Some(())
        })?;
        Some(found)
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[\\\\\"{}\\[\\],:]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_object_has_the_members_that_a_parser_finds(
            object in prop::collection::btree_map(any::<String>(), any_value(), 0..6),
            is_pretty: bool,
        ) {
            let json = if is_pretty {
                serde_json::to_string_pretty(&object).unwrap()
            } else {
                serde_json::to_string(&object).unwrap()
            };
            let raw: BTreeMap<String, &RawValue> = serde_json::from_str(&json).unwrap();
            let wanted = raw.into_iter().map(|(name, raw)| (name, raw.get().to_owned()));
            prop_assert_eq!(found(&json), Some(wanted.collect()));
            for (cut, _) in json.char_indices() {
                prop_assert_eq!(found(&json[..cut]), None);
            }
        }

        #[test]
        fn no_text_is_too_strange(text in "[\\\\\"{}\\[\\],: a1-]{0,24}") {
            let parsed: Result<BTreeMap<String, &RawValue>, _> = serde_json::from_str(&text);
            if let Ok(raw) = parsed {
                prop_assert_eq!(found(&text).map(|found| found.len()), Some(raw.len()));
            }
        }
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for json in [
            "",
            "[]",
            "null",
            "{",
            "{]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1}}",
            "{\"a\":x}",
            "{\"a\":[}",
            "{\"a\":[1}]",
            "{\"a\":\"b}",
            "{\"a\":tru}",
            "{a:1}",
        ] {
            assert_eq!(found(json), None, "{json}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        assert_eq!(found(&deep), None);
        assert_eq!(found(" { } \n"), Some(BTreeMap::new()));
    }
}
