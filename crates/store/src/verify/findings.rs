//! What is broken, in words.

use std::fmt::Display;

/// How many findings are kept. Where more is broken, the first are enough to begin with.
const MOST: usize = 100;

/// What is broken.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<String>,
    more: u64,
}

impl Findings {
    /// Notes that what is kept is not what it must be.
    #[expect(clippy::needless_pass_by_value, reason = "both are numbers")]
    pub(super) fn same<T: PartialEq + Display>(
        &mut self,
        what: impl FnOnce() -> String,
        kept: T,
        derived: T,
    ) {
        self.must(kept == derived, || {
            format!("{}: kept {kept}, derived {derived}", what())
        });
    }

    /// Notes what does not hold.
    pub(super) fn must(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if holds {
            return;
        }
        if self.kept.len() < MOST {
            self.kept.push(what());
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) fn into_words(mut self) -> Vec<String> {
        if self.more > 0 {
            self.kept.push(format!("and {} more", self.more));
        }
        self.kept
    }
}
