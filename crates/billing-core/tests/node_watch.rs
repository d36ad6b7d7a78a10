//! Who is taken for dead: nobody who lives, everybody who does not.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use billing_core::id::NodeId;
use billing_core::node::Pulse;
use billing_core::node_watch::{NodeWatch, WatchPolicy};
use billing_core::steady::Steady;
use proptest::prelude::*;
use time::Duration;

const SILENCE: i64 = 10_000;
const GAP: i64 = 3_000;
const PEER: NodeId = NodeId::new(7);

fn watch() -> NodeWatch {
    NodeWatch::new(WatchPolicy {
        silence: ms(SILENCE),
        gap: ms(GAP),
    })
}

fn ms(ms: i64) -> Duration {
    Duration::milliseconds(ms)
}

fn at(millis: i64) -> Steady {
    Steady::at(ms(millis))
}

/// One look at the store that took no time.
fn look(watch: &mut NodeWatch, when: i64, pulse: i64) -> bool {
    let dead = watch.saw(at(when), at(when), [(PEER, Pulse::new(pulse))]);
    !dead.is_empty()
}

#[test]
fn a_pulse_that_stands_still_is_silence() {
    let mut watch = watch();
    let first = (0..=20).find(|s| look(&mut watch, s * 1000, 5));
    assert_eq!(first, Some(10));
}

#[test]
fn a_gap_in_sight_begins_the_watch_anew() {
    let mut watch = watch();
    assert!((0..10).all(|s| !look(&mut watch, s * 1000, 5)));
    // The store was away for an hour, for everybody.
    let back = 3_600_000;
    let first = (0..=20).find(|s| look(&mut watch, back + s * 1000, 5));
    assert_eq!(first, Some(10));
}

#[test]
fn a_slow_answer_does_not_make_silence_longer() {
    let mut watch = watch();
    let peer = || [(PEER, Pulse::new(5))];
    // What the first answer says was true somewhere between 0 and 2.5 s.
    assert!(watch.saw(at(0), at(2500), peer()).is_empty());
    for s in [4, 6, 8, 10, 12] {
        let dead = watch.saw(at(s * 1000), at(s * 1000 + 500), peer());
        assert!(dead.is_empty(), "after {s} s");
    }
    assert_eq!(watch.saw(at(12_500), at(12_600), peer()).len(), 1);
}

#[test]
fn the_verdict_names_the_pulse_that_was_seen() {
    let mut watch = watch();
    let other = NodeId::new(8);
    let mut said = Vec::new();
    for s in 0..=10 {
        let peers = [(PEER, Pulse::new(5)), (other, Pulse::new(s))];
        said = watch.saw(at(s * 1000), at(s * 1000), peers);
    }
    assert_eq!(said, [(PEER, Pulse::new(5))]);
}

/// The instants at which something happens that happens at least every `most` ms.
fn instants(most: i64) -> impl Strategy<Value = Vec<i64>> {
    prop::collection::vec(1..=most, 10..120).prop_map(|steps| {
        let sum = |at: &mut i64, step: i64| {
            *at += step;
            Some(*at)
        };
        steps.into_iter().scan(0, sum).collect()
    })
}

/// How often the peer had beaten at an instant.
fn beaten(beats: &[i64], at: i64) -> i64 {
    i64::try_from(beats.iter().filter(|beat| **beat <= at).count()).unwrap()
}

proptest! {
    /// However looks and beats fall, and whatever the watcher missed.
    #[test]
    fn who_beats_in_time_is_never_taken_for_dead(
        looks in instants(2 * GAP),
        beats in instants(SILENCE - 1),
        origin in -1_000_000_i64..1_000_000,
    ) {
        let mut watch = watch();
        let end = *beats.last().unwrap();
        for at in looks.into_iter().take_while(|at| *at <= end) {
            let pulse = beaten(&beats, at);
            prop_assert!(!look(&mut watch, origin + at, pulse), "at {}", at);
        }
    }

    /// As long as the watcher reaches the store.
    #[test]
    fn who_stops_beating_is_found_in_time(
        looks in instants(GAP),
        beats in instants(2000),
    ) {
        let mut watch = watch();
        let died = *beats.last().unwrap();
        let first_after = looks.iter().copied().find(|at| *at >= died);
        let mut verdict = None;
        for at in &looks {
            if look(&mut watch, *at, beaten(&beats, *at)) {
                verdict = verdict.or(Some(*at));
            }
        }
        if let Some(first) = first_after {
            let due = first + SILENCE;
            let should = looks.iter().copied().find(|at| *at >= due);
            if should.is_some() {
                prop_assert!(verdict.is_some_and(|v| v <= should.unwrap()));
                prop_assert!(verdict.unwrap() >= died.min(first) + SILENCE);
            }
        }
    }

    /// After the store was away for everybody: `silence` to come back, for each.
    #[test]
    fn nobody_is_fenced_before_everybody_could_come_back(
        before in instants(GAP),
        away in (GAP + 1)..100_000_000_i64,
        after in instants(GAP),
    ) {
        let mut watch = watch();
        for at in &before {
            // It beats as long as the store is there.
            prop_assert!(!look(&mut watch, *at, *at));
        }
        let last = *before.last().unwrap();
        let back = last + away;
        for at in after {
            let dead = look(&mut watch, back + at, last);
            prop_assert!(!dead || at >= SILENCE, "{} ms after it came back", at);
        }
    }
}
