//! Lanes: which calls go first at a channel that takes only so many at once.
//!
//! Some places are kept for boosted calls and some for standard ones, so that neither lane waits for
//! ever behind the other. Of those that may go, boosted calls go first; within a lane the one that
//! has waited longest does. Nothing here waits: who does is told when [`Lanes::leave`] lets it go.

use std::collections::VecDeque;

use thiserror::Error;

/// The scheduling class of a call at a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Lane {
    /// The ordinary one.
    #[default]
    Standard,
    /// Of calls whose plan has a speed boost.
    Boosted,
}

impl Lane {
    /// Both, the one that goes first before the other.
    pub const ALL: [Self; 2] = [Self::Boosted, Self::Standard];

    /// That of a call, whose plan has a speed boost or not.
    pub const fn of(is_boosted: bool) -> Self {
        if is_boosted {
            Self::Boosted
        } else {
            Self::Standard
        }
    }

    /// Its name in records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Boosted => "boosted",
        }
    }
}

/// How many calls a channel takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneLimits {
    /// How many calls there may be at once, of both lanes.
    concurrent: usize,
    /// How many of these places only boosted calls may have.
    boosted: usize,
    /// How many of these places only standard calls may have.
    standard: usize,
    /// How many calls of each lane may wait.
    waiting: usize,
}

/// Limits under which a lane would never move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LaneLimitsError {
    /// There is no place at all.
    #[error("a channel that takes no call at once serves nobody: give at least 1")]
    NoPlace,
    /// What is kept for one lane leaves nothing for the other.
    #[error(
        "of {concurrent} places {boosted} are kept for boosted and {standard} for standard calls: \
         together they may be at most all, and neither alone"
    )]
    NothingLeft {
        /// All places.
        concurrent: usize,
        /// Those kept for boosted calls.
        boosted: usize,
        /// Those kept for standard calls.
        standard: usize,
    },
}

impl LaneLimits {
    /// So many places, of which some are kept for each lane, and so many calls of each that may wait.
    ///
    /// # Errors
    /// [`LaneLimitsError`] where a lane could never move.
    pub const fn new(
        concurrent: usize,
        (boosted, standard): (usize, usize),
        waiting: usize,
    ) -> Result<Self, LaneLimitsError> {
        if concurrent == 0 {
            return Err(LaneLimitsError::NoPlace);
        }
        let fits = boosted < concurrent
            && standard < concurrent
            && boosted.saturating_add(standard) <= concurrent;
        if !fits {
            return Err(LaneLimitsError::NothingLeft {
                concurrent,
                boosted,
                standard,
            });
        }
        Ok(Self {
            concurrent,
            boosted,
            standard,
            waiting,
        })
    }

    /// So many places, a sixteenth of them kept for boosted calls and a quarter for standard ones, rounded
    /// down, but one for each where there are two or more.
    ///
    /// # Errors
    /// [`LaneLimitsError::NoPlace`].
    pub fn of(concurrent: usize, waiting: usize) -> Result<Self, LaneLimitsError> {
        let part = |of: usize| concurrent.checked_div(of).unwrap_or(0);
        let least = usize::from(concurrent > 1);
        Self::new(
            concurrent,
            (part(16).max(least), part(4).max(least)),
            waiting,
        )
    }

    /// How many calls there may be at once.
    pub const fn concurrent(&self) -> usize {
        self.concurrent
    }

    /// How many calls of a lane there may be at once.
    pub const fn most(&self, lane: Lane) -> usize {
        let kept = match lane {
            Lane::Standard => self.boosted,
            Lane::Boosted => self.standard,
        };
        self.concurrent.saturating_sub(kept)
    }
}

/// A call that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What becomes of a call that comes to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It goes at once.
    Goes,
    /// It waits, until [`Lanes::leave`] or [`Lanes::give_up`] lets this ticket go.
    Waits(Ticket),
    /// As many wait as may.
    Full,
}

/// The calls of one lane.
#[derive(Debug, Default)]
struct Traffic {
    running: usize,
    waiting: VecDeque<Ticket>,
}

/// The calls at one channel.
#[derive(Debug)]
pub struct Lanes {
    limits: LaneLimits,
    boosted: Traffic,
    standard: Traffic,
    last: u64,
}

impl Lanes {
    /// A channel without calls.
    pub fn new(limits: LaneLimits) -> Self {
        Self {
            limits,
            boosted: Traffic::default(),
            standard: Traffic::default(),
            last: 0,
        }
    }

    /// A call comes.
    pub fn enter(&mut self, lane: Lane) -> Entry {
        if self.may_go(lane) && self.of(lane).waiting.is_empty() {
            self.start(lane);
            return Entry::Goes;
        }
        let most = self.limits.waiting;
        let ticket = Ticket(self.last.wrapping_add(1));
        let waiting = &mut self.of_mut(lane).waiting;
        if waiting.len() >= most {
            return Entry::Full;
        }
        waiting.push_back(ticket);
        self.last = ticket.0;
        Entry::Waits(ticket)
    }

    /// A call goes at once or not at all: it does not wait.
    pub fn try_enter(&mut self, lane: Lane) -> bool {
        let goes = self.may_go(lane) && self.of(lane).waiting.is_empty();
        if goes {
            self.start(lane);
        }
        goes
    }

    /// A call that went is over. Those that go now are told.
    pub fn leave(&mut self, lane: Lane) -> Vec<Ticket> {
        let traffic = self.of_mut(lane);
        traffic.running = traffic.running.saturating_sub(1);
        self.admit()
    }

    /// A call waits no longer; `false` where it has been let go and must leave instead.
    pub fn give_up(&mut self, lane: Lane, ticket: Ticket) -> bool {
        let waiting = &mut self.of_mut(lane).waiting;
        let place = waiting.iter().position(|waits| *waits == ticket);
        place.and_then(|place| waiting.remove(place)).is_some()
    }

    /// How many calls of a lane are under way.
    pub fn running(&self, lane: Lane) -> usize {
        self.of(lane).running
    }

    /// How many calls of a lane wait.
    pub fn waiting(&self, lane: Lane) -> usize {
        self.of(lane).waiting.len()
    }

    fn admit(&mut self) -> Vec<Ticket> {
        let mut admitted = Vec::new();
        for lane in Lane::ALL {
            while self.may_go(lane) {
                let Some(ticket) = self.of_mut(lane).waiting.pop_front() else {
                    break;
                };
                self.start(lane);
                admitted.push(ticket);
            }
        }
        admitted
    }

    fn may_go(&self, lane: Lane) -> bool {
        let all = self.boosted.running.saturating_add(self.standard.running);
        all < self.limits.concurrent && self.of(lane).running < self.limits.most(lane)
    }

    fn start(&mut self, lane: Lane) {
        let traffic = self.of_mut(lane);
        traffic.running = traffic.running.saturating_add(1);
    }

    const fn of(&self, lane: Lane) -> &Traffic {
        match lane {
            Lane::Boosted => &self.boosted,
            Lane::Standard => &self.standard,
        }
    }

    const fn of_mut(&mut self, lane: Lane) -> &mut Traffic {
        match lane {
            Lane::Boosted => &mut self.boosted,
            Lane::Standard => &mut self.standard,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    use Lane::{Boosted, Standard};

    /// Four places, one kept for each lane, and two of each that may wait.
    fn lanes() -> Lanes {
        Lanes::new(LaneLimits::new(4, (1, 1), 2).unwrap())
    }

    fn ticket(entry: Entry) -> Ticket {
        let Entry::Waits(ticket) = entry else {
            panic!("{entry:?}");
        };
        ticket
    }

    #[test]
    fn a_boosted_call_finds_a_place_however_many_standard_ones_there_are() {
        let mut lanes = lanes();
        for _ in 0..3 {
            assert_eq!(lanes.enter(Standard), Entry::Goes);
        }
        ticket(lanes.enter(Standard));
        ticket(lanes.enter(Standard));
        assert_eq!(lanes.enter(Standard), Entry::Full);
        assert_eq!(lanes.enter(Boosted), Entry::Goes);
    }

    #[test]
    fn standard_calls_are_not_starved() {
        let mut lanes = lanes();
        for _ in 0..3 {
            assert_eq!(lanes.enter(Boosted), Entry::Goes);
        }
        let boosted = ticket(lanes.enter(Boosted));
        assert_eq!(lanes.enter(Standard), Entry::Goes);
        // A place of the boosted goes to the boosted that waits, and the standard's to a standard.
        let standard = ticket(lanes.enter(Standard));
        assert_eq!(lanes.leave(Standard), [standard]);
        assert_eq!(lanes.leave(Boosted), [boosted]);
    }

    #[test]
    fn boosted_calls_go_first_and_each_lane_in_order() {
        let mut lanes = Lanes::new(LaneLimits::new(2, (0, 0), 9).unwrap());
        assert_eq!(lanes.enter(Standard), Entry::Goes);
        assert_eq!(lanes.enter(Standard), Entry::Goes);
        let [first, second] = [(); 2].map(|()| ticket(lanes.enter(Standard)));
        let [third, fourth] = [(); 2].map(|()| ticket(lanes.enter(Boosted)));
        assert_eq!(lanes.leave(Standard), [third]);
        assert_eq!(lanes.leave(Standard), [fourth]);
        assert_eq!(lanes.leave(Boosted), [first]);
        // Who comes now does not go before who waits.
        assert!(!lanes.try_enter(Standard));
        assert_eq!(lanes.leave(Boosted), [second]);
    }

    #[test]
    fn who_gives_up_takes_no_place() {
        let mut lanes = Lanes::new(LaneLimits::new(1, (0, 0), 9).unwrap());
        assert_eq!(lanes.enter(Standard), Entry::Goes);
        let [first, second] = [(); 2].map(|()| ticket(lanes.enter(Standard)));
        assert!(lanes.give_up(Standard, first));
        assert_eq!(lanes.leave(Standard), [second]);
        // It was let go in the same moment: it has a place, and leaves it.
        assert!(!lanes.give_up(Standard, second));
        assert_eq!(lanes.leave(Standard), []);
        assert_eq!((lanes.running(Standard), lanes.waiting(Standard)), (0, 0));
    }

    #[test]
    fn limits_leave_a_place_for_each_lane() {
        let kept = |concurrent| {
            let limits = LaneLimits::of(concurrent, 1).unwrap();
            Lane::ALL.map(|lane| limits.most(lane))
        };
        assert_eq!(kept(1), [1, 1]);
        assert_eq!(kept(2), [1, 1]);
        assert_eq!(kept(40), [30, 38]);
        assert_eq!(LaneLimits::of(0, 1), Err(LaneLimitsError::NoPlace));
        for (boosted, standard) in [(4, 0), (0, 4), (3, 2), (usize::MAX, 1)] {
            let limits = LaneLimits::new(4, (boosted, standard), 1);
            assert!(matches!(limits, Err(LaneLimitsError::NothingLeft { .. })));
        }
    }

    proptest! {
        /// Whatever comes and goes: no more than may be are under way, and nobody waits who may go.
        #[test]
        fn nobody_waits_who_may_go(
            (concurrent, kept, most) in (1_usize..6, (0_usize..3, 0_usize..3), 0_usize..4),
            steps in prop::collection::vec((any::<bool>(), 0_u8..4), 1..200),
        ) {
            let Ok(limits) = LaneLimits::new(concurrent, kept, most) else {
                return Ok(());
            };
            let mut lanes = Lanes::new(limits);
            let mut running: Vec<Lane> = Vec::new();
            let mut waiting: Vec<(Lane, Ticket)> = Vec::new();
            for (is_boosted, step) in steps {
                let lane = if is_boosted { Boosted } else { Standard };
                let mut left = None;
                match step {
                    0 | 1 => match lanes.enter(lane) {
                        Entry::Goes => running.push(lane),
                        Entry::Waits(ticket) => waiting.push((lane, ticket)),
                        Entry::Full => prop_assert_eq!(lanes.waiting(lane), most),
                    },
                    2 => left = running.pop(),
                    _ => {
                        if let Some((lane, ticket)) = waiting.pop() {
                            prop_assert!(lanes.give_up(lane, ticket));
                        }
                    }
                }
                for ticket in left.map(|lane| lanes.leave(lane)).unwrap_or_default() {
                    let place = waiting.iter().position(|(_, waits)| *waits == ticket).unwrap();
                    running.push(waiting.remove(place).0);
                }
                prop_assert!(running.len() <= concurrent);
                for lane in Lane::ALL {
                    let under_way = running.iter().filter(|at| **at == lane).count();
                    prop_assert_eq!(lanes.running(lane), under_way);
                    prop_assert!(under_way <= limits.most(lane));
                    let may_go = running.len() < concurrent && under_way < limits.most(lane);
                    prop_assert!(!may_go || lanes.waiting(lane) == 0);
                }
            }
        }
    }
}
