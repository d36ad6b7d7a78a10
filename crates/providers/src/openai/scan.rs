//! Finds members in JSON text by their names, without reading the rest.
//!
//! A quote inside a JSON string is escaped, so a quoted name that is followed by a colon is a real
//! member. How deep it stands is not known: who must know reads the object.

use std::sync::LazyLock;

use memchr::{memchr2, memmem};

/// A name to look for.
#[derive(Debug)]
pub(crate) struct Member(memmem::Finder<'static>);

impl Member {
    fn new(quoted: &'static str) -> Self {
        Self(memmem::Finder::new(quoted))
    }

    /// The beginning of each value of this name.
    pub(crate) fn values<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = &'t [u8]> + 't {
        self.0.find_iter(text).filter_map(move |at| {
            let after = text.get(at + self.0.needle().len()..)?.trim_ascii_start();
            Some(after.strip_prefix(b":")?.trim_ascii_start())
        })
    }
}

pub(crate) static USAGE: LazyLock<Member> = LazyLock::new(|| Member::new("\"usage\""));
pub(crate) static ERROR: LazyLock<Member> = LazyLock::new(|| Member::new("\"error\""));
pub(crate) static FINISH: LazyLock<Member> = LazyLock::new(|| Member::new("\"finish_reason\""));

/// Where the text of an answer stands: what the model wrote, whoever reads it.
static OUTPUT: LazyLock<[Member; 5]> = LazyLock::new(|| {
    [
        "\"content\"",
        "\"arguments\"",
        "\"reasoning_content\"",
        "\"reasoning\"",
        "\"refusal\"",
    ]
    .map(Member::new)
});

/// The inside of the JSON string that the text begins with, escapes and all.
pub(crate) fn string(text: &[u8]) -> Option<&[u8]> {
    let inside = text.strip_prefix(b"\"")?;
    let mut at = 0;
    loop {
        let found = at + memchr2(b'"', b'\\', inside.get(at..)?)?;
        if inside.get(found) == Some(&b'"') {
            return inside.get(..found);
        }
        at = found + 2;
    }
}

/// Gives every piece of output in one event to `take`.
pub(crate) fn output(event: &[u8], mut take: impl FnMut(&[u8])) {
    for member in OUTPUT.iter() {
        for value in member.values(event) {
            if let Some(piece) = string(value).filter(|piece| !piece.is_empty()) {
                take(piece);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        output(text.as_bytes(), |p| {
            found.push(String::from_utf8_lossy(p).into_owned());
        });
        found
    }

    #[test]
    fn output_is_found_in_deltas_of_every_kind() {
        assert_eq!(
            pieces(r#"{"delta":{"content":"a \"b\" \\"}}"#),
            [r#"a \"b\" \\"#]
        );
        assert_eq!(pieces(r#"{"delta": {"content" : "x"}}"#), ["x"]);
        assert_eq!(
            pieces(r#"{"tool_calls":[{"function":{"arguments":"{\"q\":1}"}}]}"#),
            [r#"{\"q\":1}"#]
        );
        assert!(pieces(r#"{"content":null,"logprobs":{"content":[{"token":"x"}]}}"#).is_empty());
        assert!(pieces(r#"{"x":"say \"content\":\"no\""}"#).is_empty());
        assert!(pieces(r#"{"content":"cut"#).is_empty());
    }
}
