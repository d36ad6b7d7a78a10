//! Nodes: the processes that share one store, and how they tell each other apart.

use std::collections::BTreeMap;

use time::{Duration, OffsetDateTime};

use crate::id::NodeId;

/// How many nodes can be alive at once. Each has a number below it, which stands in the ids that
/// it makes, so that no two make one id; the numbers from here on are for processes that do not
/// join.
pub const MOST_NODES: u16 = 512;

/// How far a node's ids may be ahead of the last sign of life that was seen of it.
const AHEAD: Duration = Duration::minutes(1);

/// What changes with each sign of life of a node. Only whether two are equal means anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse(i64);

impl Pulse {
    /// The pulse that is stored as this number.
    pub const fn new(value: i64) -> Self {
        Self(value)
    }

    /// The number it is stored as.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// Whether a node takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// It may take leases.
    Alive,
    /// It was taken for dead then, or said then that it still settles. It may have calls to settle, so its leases are kept for it.
    Fenced(OffsetDateTime),
    /// Since then nothing more is to be settled under its id: it said so, its next life did, or it
    /// was waited for long enough. Its leases are free.
    Left(OffsetDateTime),
}

/// What is on record of a node. Instants are by the store's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its id, another one after each start.
    pub node: NodeId,
    /// Its name, the same after each start.
    pub name: String,
    /// Its number in ids; `None` when an older version joined it.
    pub number: Option<u16>,
    /// When it joined.
    pub started_at: OffsetDateTime,
    /// When it last showed a sign of life.
    pub seen_at: OffsetDateTime,
    /// Its last sign of life.
    pub pulse: Pulse,
    /// Whether it takes part.
    pub state: NodeState,
}

/// A number for the ids of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdNumber {
    /// Below [`MOST_NODES`]; no other living node has it.
    pub number: u16,
    /// Ids that are made with it begin after this instant, so that none of an earlier node comes
    /// again even when the clock of this one is behind; `None` when nobody had it.
    pub after: Option<OffsetDateTime>,
}

/// The number that a new node gets: the lowest that is on nobody's record, else the one whose last
/// node has been gone for longest. `None` when all belong to living nodes.
pub fn free_number<'a>(records: impl IntoIterator<Item = &'a NodeRecord>) -> Option<IdNumber> {
    let mut used: BTreeMap<u16, Option<OffsetDateTime>> = BTreeMap::new();
    for record in records {
        let Some(number) = record.number else {
            continue;
        };
        let until = match record.state {
            NodeState::Alive => None,
            NodeState::Fenced(at) | NodeState::Left(at) => Some(at.max(record.seen_at)),
        };
        let last = used.entry(number).or_insert(until);
        *last = (*last).zip(until).map(|(a, b)| a.max(b));
    }
    let unused = (0..MOST_NODES).find(|number| !used.contains_key(number));
    if let Some(number) = unused {
        return Some(IdNumber {
            number,
            after: None,
        });
    }
    let gone = used
        .into_iter()
        .filter(|(number, _)| *number < MOST_NODES)
        .filter_map(|(number, until)| Some((until?, number)));
    let (until, number) = gone.min()?;
    Some(IdNumber {
        number,
        after: Some(until.saturating_add(AHEAD)),
    })
}

/// The number in the ids of a process that does not join, from random bits.
pub const fn number_of_a_guest(random: u16) -> u16 {
    MOST_NODES | (random & 511)
}

/// By how much at least a clock differs from the store's: positive when it is ahead. The store was
/// asked and answered at the first two instants, by that clock, and said the third. How long the
/// answer took is not held against the clock.
pub fn clock_skew(
    asked: OffsetDateTime,
    answered: OffsetDateTime,
    theirs: OffsetDateTime,
) -> Duration {
    let between = |from: OffsetDateTime, to: OffsetDateTime| {
        let nanos = from
            .unix_timestamp_nanos()
            .saturating_sub(to.unix_timestamp_nanos());
        Duration::nanoseconds(i64::try_from(nanos).unwrap_or(i64::MAX))
    };
    if theirs < asked {
        between(asked, theirs)
    } else if theirs > answered {
        Duration::ZERO.saturating_sub(between(theirs, answered))
    } else {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOON: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

    fn record(number: u16, state: NodeState) -> NodeRecord {
        NodeRecord {
            node: NodeId::new(number.into()),
            name: format!("node {number}"),
            number: Some(number),
            started_at: NOON,
            seen_at: NOON,
            pulse: Pulse::new(0),
            state,
        }
    }

    #[test]
    fn the_lowest_number_that_nobody_had_comes_first() {
        let records = [
            record(0, NodeState::Left(NOON)),
            record(1, NodeState::Alive),
        ];
        let number = free_number(&records);
        assert_eq!(
            number,
            Some(IdNumber {
                number: 2,
                after: None
            })
        );
    }

    #[test]
    fn then_the_one_that_was_given_up_first_and_its_ids_are_not_made_again() {
        let later = NOON + Duration::hours(1);
        let mut records: Vec<_> = (0..MOST_NODES)
            .map(|n| record(n, NodeState::Fenced(later)))
            .collect();
        records[7].state = NodeState::Left(NOON + Duration::seconds(1));
        let first = free_number(&records).unwrap();
        assert_eq!(first.number, 7);
        assert_eq!(first.after, Some(NOON + Duration::seconds(1) + AHEAD));
        // Somebody else has it by now.
        records.push(record(7, NodeState::Alive));
        assert_ne!(free_number(&records).unwrap().number, 7);
    }

    #[test]
    fn there_is_none_when_all_are_alive() {
        let records: Vec<_> = (0..MOST_NODES)
            .map(|n| record(n, NodeState::Alive))
            .collect();
        assert_eq!(free_number(&records), None);
    }

    #[test]
    fn guests_have_numbers_of_their_own() {
        for random in [0, 511, 512, 0xffff] {
            assert!((MOST_NODES..1024).contains(&number_of_a_guest(random)));
        }
    }

    #[test]
    fn a_slow_answer_is_not_a_wrong_clock() {
        let at = |s: i64| NOON + Duration::seconds(s);
        assert_eq!(clock_skew(at(0), at(20), at(19)), Duration::ZERO);
        assert_eq!(clock_skew(at(0), at(1), at(601)), Duration::minutes(-10));
        assert_eq!(clock_skew(at(601), at(602), at(1)), Duration::minutes(10));
    }
}
