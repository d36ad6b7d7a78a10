//! The steady clock of a node: how much time has passed, whatever the date is set to.

use time::Duration;

/// An instant by a node's steady clock.
///
/// That clock is never set, only goes on, and goes on while the machine is suspended. It says how
/// long something has lasted and nothing else: it shows no date, and the instants of two nodes, or of
/// two lives of one, mean nothing to each other. Whatever is bounded by elapsed time goes by it, so
/// that a step of the wall clock makes nothing older or younger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Steady(Duration);

impl Steady {
    /// The instant that the clock counts from.
    pub const ORIGIN: Self = Self(Duration::ZERO);

    /// So long after the origin.
    pub const fn at(after_origin: Duration) -> Self {
        Self(after_origin)
    }

    /// How long after the origin it is.
    pub const fn after_origin(self) -> Duration {
        self.0
    }

    /// So much later, or the last instant there is.
    #[must_use]
    pub const fn saturating_add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }

    /// How long after an earlier instant it is; negative where that one is later.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
