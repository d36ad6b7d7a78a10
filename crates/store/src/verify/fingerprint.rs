//! Sums over named amounts, by which two sides are compared in constant memory.

use serde::{Deserialize, Serialize};

/// The sum of amounts, each times a number of 128 bits that its name stands for.
///
/// Two sides that hold the same amount under each name have the same fingerprint, in whatever order
/// and in however many parts it was added. Two that differ have different ones, but for one chance
/// in about 2⁶⁴. It guards against faults, not against somebody who can write to the database: such
/// a one can also change what is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Fingerprint(u128);

impl Fingerprint {
    /// Adds an amount under a name.
    pub(super) fn add(&mut self, name: Name, amount: i128) {
        let weighted = name.weight().wrapping_mul(amount.cast_unsigned());
        self.0 = self.0.wrapping_add(weighted);
    }
}

/// The name of an amount, spelled word by word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name([u64; 2]);

impl Name {
    /// A name that begins with its kind, so that a lot and a transaction of one number differ.
    pub(super) fn of(kind: u64) -> Self {
        Self([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]).word(kind)
    }

    /// The name with a number after it.
    #[must_use]
    pub(super) fn number(self, number: i64) -> Self {
        self.word(number.cast_unsigned())
    }

    /// The name with a text after it.
    #[must_use]
    pub(super) fn text(self, text: &str) -> Self {
        let named = text.as_bytes().chunks(8).fold(self, |name, part| {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(part) {
                *to = *from;
            }
            name.word(u64::from_le_bytes(word))
        });
        named.word(u64::try_from(text.len()).unwrap_or(u64::MAX))
    }

    fn word(self, word: u64) -> Self {
        let [a, b] = self.0;
        Self([
            mixed(a ^ word),
            mixed(b.rotate_left(23).wrapping_add(word) ^ 0xa409_3822_299f_31d0),
        ])
    }

    fn weight(self) -> u128 {
        let [a, b] = self.0.map(u128::from);
        (a << 64) | b
    }
}

/// The finalizer of SplitMix64: every bit of the result depends on every bit of the word.
fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(amounts: &[(i64, i128)]) -> Fingerprint {
        let mut sum = Fingerprint::default();
        for (name, amount) in amounts {
            sum.add(Name::of(1).number(*name), *amount);
        }
        sum
    }

    #[test]
    fn order_and_parts_do_not_matter_and_names_do() {
        let whole = sum(&[(1, 30), (2, -5)]);
        assert_eq!(whole, sum(&[(2, -7), (1, 10), (2, 2), (1, 20)]));
        assert_eq!(sum(&[(1, 30), (1, -30)]), Fingerprint::default());
        assert_ne!(whole, sum(&[(2, 30), (1, -5)]));
        assert_ne!(whole, sum(&[(1, 25)]));
        // Neighbours that would cancel out in a plain sum.
        assert_ne!(sum(&[(7, 1), (8, -1)]), Fingerprint::default());
    }

    #[test]
    fn names_that_are_spelled_alike_differ() {
        let mut a = Fingerprint::default();
        let mut b = Fingerprint::default();
        a.add(Name::of(1).text("gpt").text("4"), 1);
        b.add(Name::of(1).text("gpt4").text(""), 1);
        assert_ne!(a, b);
    }

    #[test]
    fn it_reads_back_from_what_is_stored() {
        let sum = sum(&[(1, i128::MAX), (2, 3)]);
        let text = serde_json::to_string(&sum).unwrap();
        assert_eq!(serde_json::from_str::<Fingerprint>(&text).unwrap(), sum);
    }
}
