//! The members of a JSON object, found without reading what is in them.
//!
//! An answer is mostly one long string that nobody here wants. A parser reads it byte by byte to see
//! that it is one; to find its end it is enough to look for quotes. So what is inside a value is not
//! checked, except that strings end and brackets close as they were opened.

use std::borrow::Cow;

use memchr::memchr2;

/// Most strings are names, and their ends are nearer than it is worth to search for.
const NEAR: usize = 24;
/// Brackets inside brackets that are followed.
const MOST_DEPTH: usize = 128;

/// Gives name and text of every member to `take`; `None` unless this is one object and whole.
pub(super) fn members<'a>(
    json: &'a str,
    mut take: impl FnMut(&str, &'a str) -> Option<()>,
) -> Option<()> {
    let bytes = json.as_bytes();
    let mut at = expect(bytes, 0, b'{')?;
    if let Some(end) = expect(bytes, at, b'}') {
        return nothing_follows(bytes, end);
    }
    loop {
        let name = blank(bytes, at);
        let name_end = string_end(bytes, expect(bytes, name, b'"')?)?;
        let start = blank(bytes, expect(bytes, name_end, b':')?);
        let end = value_end(bytes, start)?;
        take(&plain(json.get(name..name_end)?)?, json.get(start..end)?)?;
        match expect(bytes, end, b',') {
            Some(next) => at = next,
            None => return nothing_follows(bytes, expect(bytes, end, b'}')?),
        }
    }
}

/// A name without its quotes and escapes.
fn plain(quoted: &str) -> Option<Cow<'_, str>> {
    let inside = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        return serde_json::from_str(quoted).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inside))
}

/// The place behind blanks.
fn blank(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let blanks = rest
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    at + blanks.count()
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
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\');
    loop {
        let rest = bytes.get(at..)?;
        let found = match rest.iter().take(NEAR).position(ends) {
            Some(near) => at + near,
            None => at + NEAR + memchr2(b'"', b'\\', rest.get(NEAR..)?)?,
        };
        if bytes.get(found) == Some(&b'"') {
            return Some(found + 1);
        }
        at = found + 2;
    }
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
    let mut open = [0; MOST_DEPTH];
    let mut depth = 0;
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = string_end(bytes, at + 1)?;
                continue;
            }
            b'{' => {
                *open.get_mut(depth)? = b'}';
                depth += 1;
            }
            b'[' => {
                *open.get_mut(depth)? = b']';
                depth += 1;
            }
            closing @ (b'}' | b']') => {
                depth -= 1;
                if open.get(depth) != Some(closing) {
                    return None;
                }
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
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
