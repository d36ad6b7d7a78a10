//! The simulation in short, and that it finds what is broken: promises P1, P2, P3 and P8 under any
//! order of events. `./just sim` runs it at length.
#![expect(clippy::unwrap_used, reason = "a test may fall over")]

#[path = "simulation/world.rs"]
mod world;

use world::flaw::Flaw;
use world::run;
use world::tally::Tally;

const STEPS: u64 = 1_000;

/// Every promise holds after every event, and the events are those that matter.
#[test]
fn no_seed_breaks_a_promise_and_together_they_reach_everything() {
    let mut total = Tally::default();
    for seed in 0..400 {
        let outcome = run(seed, STEPS, Flaw::None, false);
        assert_eq!(
            outcome.wrong, None,
            "./just sim --seed {seed} --steps {STEPS}"
        );
        total.include(&outcome.tally);
    }
    let never = total.figures().into_iter().filter(|figure| figure.1 == 0);
    let never: Vec<&str> = never.map(|figure| figure.0).collect();
    assert!(never.is_empty(), "never happened: {never:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let course = |seed| {
        let outcome = run(seed, STEPS, Flaw::None, true);
        (outcome.hash, outcome.tally.members(), outcome.lines)
    };
    for seed in [1, 7] {
        assert_eq!(course(seed), course(seed));
    }
    assert_ne!(course(1).0, course(7).0);
}

/// The checks can fail: whatever is broken on purpose is found soon. How soon by the clock, a release
/// says: `./just sim --flaws`.
#[test]
fn every_flaw_is_found() {
    for flaw in Flaw::ALL {
        let found = (0..3_000).find_map(|seed| {
            let wrong = run(seed, STEPS, *flaw, false).wrong;
            wrong.map(|wrong| (seed, wrong))
        });
        let Some((seed, wrong)) = found else {
            panic!("{flaw:?} was not found");
        };
        let (seeds, first) = (seed + 1, wrong.lines().next().unwrap_or_default());
        say(&format!("{flaw:?}: {seeds} seeds: {first}"));
    }
}

#[expect(
    clippy::print_stdout,
    reason = "how soon each was found is worth knowing"
)]
fn say(line: &str) {
    println!("{line}");
}
