//! What simulated models say, and how it is counted.
//!
//! A token is a word with the white space behind it. That is all.

use std::borrow::Cow;

const WORDS: [&str; 32] = [
    "lorem",
    "ipsum",
    "dolor",
    "sit",
    "amet",
    "consectetur",
    "adipiscing",
    "elit",
    "sed",
    "do",
    "eiusmod",
    "tempor",
    "incididunt",
    "ut",
    "labore",
    "et",
    "dolore",
    "magna",
    "aliqua",
    "enim",
    "ad",
    "minim",
    "veniam",
    "quis",
    "nostrud",
    "exercitation",
    "ullamco",
    "laboris",
    "nisi",
    "aliquip",
    "ex",
    "ea",
];

/// The words of an answer, made as they are needed.
#[derive(Debug, Clone)]
pub(crate) enum Text {
    /// Chosen by the seed.
    Lorem { seed: u64, count: usize },
    /// Given, cut into words.
    Given(Vec<String>),
}

impl Text {
    pub(crate) fn given(text: &str) -> Self {
        Self::Given(words(text).map(str::to_owned).collect())
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Lorem { count, .. } => *count,
            Self::Given(words) => words.len(),
        }
    }

    /// Cuts the text to this many words.
    pub(crate) fn truncate(&mut self, most: usize) {
        match self {
            Self::Lorem { count, .. } => *count = (*count).min(most),
            Self::Given(words) => words.truncate(most),
        }
    }

    pub(crate) fn word(&self, index: usize) -> Cow<'_, str> {
        match self {
            Self::Lorem { seed, count } => {
                let place = mix(seed ^ to_u64(index)) & 31;
                let word = usize::try_from(place).ok().and_then(|i| WORDS.get(i));
                let word = word.copied().unwrap_or("lorem");
                if index + 1 == *count {
                    word.into()
                } else {
                    format!("{word} ").into()
                }
            }
            Self::Given(words) => words.get(index).map_or("", String::as_str).into(),
        }
    }

    pub(crate) fn whole(&self) -> String {
        (0..self.len()).map(|index| self.word(index)).collect()
    }
}

/// The words of a text, each with the white space behind it; together they are the text.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let word = rest
            .find(|c: char| !c.is_whitespace())
            .unwrap_or(rest.len());
        let (before, from_word) = rest.split_at(word);
        let space = from_word
            .find(char::is_whitespace)
            .unwrap_or(from_word.len());
        let (_, from_space) = from_word.split_at(space);
        let next = from_space
            .find(|c: char| !c.is_whitespace())
            .unwrap_or(from_space.len());
        let (piece, tail) = rest.split_at(before.len() + space + next);
        rest = tail;
        Some(piece)
    })
}

pub(crate) fn to_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Spreads the bits of a number (splitmix64).
pub(crate) fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number that follows from bytes and seed alone, the same on every machine and in every release.
pub(crate) fn hash(bytes: &[u8], seed: u64) -> u64 {
    let mut state = mix(seed ^ to_u64(bytes.len()));
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(chunk) {
            *to = *from;
        }
        state = (state ^ u64::from_le_bytes(word))
            .wrapping_mul(0x517c_c1b7_2722_0a95)
            .rotate_left(23);
    }
    mix(state)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_keep_their_space() {
        assert_eq!(
            words("  a bc\n\nd ").collect::<Vec<_>>(),
            ["  a ", "bc\n\n", "d "]
        );
        assert_eq!(words("").count(), 0);
    }

    #[test]
    fn lorem_has_the_words_that_were_asked_for() {
        let text = Text::Lorem { seed: 5, count: 40 };
        assert_eq!(words(&text.whole()).count(), 40);
        assert_eq!(text.whole(), Text::Lorem { seed: 5, count: 40 }.whole());
        assert_ne!(text.whole(), Text::Lorem { seed: 6, count: 40 }.whole());
    }

    proptest! {
        #[test]
        fn words_are_the_text(text in "[ a-c\\né]{0,40}") {
            prop_assert_eq!(words(&text).collect::<String>(), text.clone());
            let counted = words(&text).filter(|w| !w.trim().is_empty()).count();
            prop_assert_eq!(counted, text.split_whitespace().count());
        }
    }
}
