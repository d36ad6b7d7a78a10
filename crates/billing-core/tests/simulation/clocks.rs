//! The clocks of one machine: the one on the wall, which is set now and then, and the steady one.

use billing_core::steady::Steady;
use time::Duration;

use super::setup::{Micros, SECOND};

/// What a machine shows of the simulation's own time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    /// How far the wall clock is off.
    skew: Micros,
    /// What the steady clock showed when the simulation began.
    origin: Micros,
    /// How long the steady clock has stood still, in all.
    stood: Micros,
    /// Until when it stands still, and what it shows meanwhile.
    still: (Micros, Micros),
    /// Nodes go by the wall clock: a flaw.
    wall_only: bool,
}

impl Clocks {
    pub(crate) const fn new(skew: Micros, origin: Micros, wall_only: bool) -> Self {
        Self {
            skew,
            origin,
            stood: 0,
            still: (0, 0),
            wall_only,
        }
    }

    /// Sets the wall clock.
    pub(crate) const fn set(&mut self, skew: Micros) {
        self.skew = skew;
    }

    /// What the wall clock shows.
    pub(crate) const fn wall(&self, now: Micros) -> Micros {
        now + self.skew
    }

    /// What the node goes by.
    pub(crate) fn steady(&self, now: Micros) -> Steady {
        let shown = if self.wall_only {
            // Never before the origin, however far it is set back.
            self.wall(now) + 1_000_000 * SECOND
        } else {
            self.shown(now)
        };
        Steady::at(Duration::microseconds(shown))
    }

    const fn shown(&self, now: Micros) -> Micros {
        let (until, shown) = self.still;
        if now < until {
            shown
        } else {
            self.origin + now - self.stood
        }
    }

    /// The whole machine stands still, its clocks too: a virtual one that its host has stopped.
    pub(crate) const fn stand_still(&mut self, now: Micros, until: Micros) {
        let shown = self.shown(now);
        self.stood += until - now;
        self.still = (until, shown);
    }

    /// So much time is not counted: a flaw.
    pub(crate) const fn sleep_uncounted(&mut self, time: Micros) {
        self.stood += time;
    }

    /// It goes on, sooner than was meant.
    pub(crate) const fn go_on(&mut self, now: Micros) {
        let (until, shown) = self.still;
        if now < until {
            self.stood -= until - now;
            self.still = (now, shown);
        }
    }

    /// Until when it last stood still.
    pub(crate) const fn stood_until(&self) -> Micros {
        self.still.0
    }
}
