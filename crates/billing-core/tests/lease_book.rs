//! The lease book against a store, under any order of events: promises P1, P3 and P8 in small.
//!
//! Real books, the real rules of lease and settlement, and a store of maps. A run that breaks a
//! promise shrinks to the shortest script that does.
#![expect(clippy::unwrap_used, reason = "a test may fall over")]

#[path = "lease_book/cases.rs"]
mod cases;
#[path = "lease_book/script.rs"]
mod script;
#[path = "lease_book/store.rs"]
mod store;
#[path = "lease_book/world.rs"]
mod world;

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use script::{Opening, Script, Step, scripts};
use store::Flaw;
use world::{World, run};

/// The same runs each time, unless `PROPTEST_RNG_SEED` or `PROPTEST_CASES` says otherwise.
fn runner() -> TestRunner {
    let mut config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    config.cases = config.cases.max(1_000);
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(7);
    }
    TestRunner::new(config)
}

fn broken(lapses: bool, flaw: Flaw, mut runner: TestRunner) -> Option<(String, Script)> {
    let outcome = runner.run(&scripts(lapses), |script| {
        run(&script, flaw).map_err(TestCaseError::fail)
    });
    match outcome {
        Ok(()) => None,
        Err(TestError::Fail(why, script)) => Some((why.to_string(), script)),
        Err(TestError::Abort(why)) => Some((
            why.to_string(),
            Script {
                seats: 0,
                slice: 0,
                lapses,
                accounts: Vec::new(),
                steps: Vec::new(),
            },
        )),
    }
}

#[test]
fn every_promise_holds_after_every_event() {
    if let Some((why, script)) = broken(false, Flaw::None, runner()) {
        panic!("{why}\n{script:?}");
    }
}

#[test]
fn the_books_hold_when_holds_lapse_under_their_calls() {
    if let Some((why, script)) = broken(true, Flaw::None, runner()) {
        panic!("{why}\n{script:?}");
    }
}

/// The checks can fail: each flaw is found, and the script that shows it is short.
#[test]
fn every_flaw_is_caught() {
    for flaw in [
        Flaw::GrantsBlindly,
        Flaw::SettlesAgain,
        Flaw::FreesTwice,
        Flaw::GivesBackTwice,
        Flaw::DropsTheFence,
        Flaw::IgnoresTheFence,
        Flaw::CountsOnTwoNodes,
        Flaw::KeepsDeadLeases,
        Flaw::ForgetsToRelease,
    ] {
        let caught = broken(false, flaw, runner());
        let (_, script) = caught.unwrap_or_else(|| panic!("{flaw:?} was not caught"));
        assert!(script.steps.len() <= 8, "{flaw:?}: {script:?}");
    }
}

/// Every order of events of two small calls on one and two budgets, to a depth of six.
#[test]
fn every_short_history_keeps_every_promise() {
    let authorize = |on, amount, patience| Step::Authorize {
        seat: 0,
        account: 0,
        on,
        amount,
        patience,
    };
    let events = [
        authorize(0, 2, 0),
        authorize(1, 2, 3),
        Step::Extend {
            pick: 0,
            amount: 1,
            patience: 3,
        },
        Step::Hear { pick: 0 },
        Step::Arrive { pick: 0 },
        Step::Lose {
            pick: 0,
            answer: true,
        },
        Step::Settle {
            pick: 0,
            percent: 50,
        },
        Step::Settle {
            pick: 0,
            percent: 150,
        },
        Step::Acknowledge { pick: 0 },
        Step::Void { pick: 1 },
        Step::Recall {
            seat: 0,
            account: 0,
            limit: false,
            amount: 1,
        },
        Step::Crash { seat: 0 },
    ];
    let opening = Opening {
        paid: 2,
        promo: 1,
        credit: 0,
        limit: 2,
    };
    let start = Script {
        seats: 1,
        slice: 1,
        lapses: false,
        accounts: vec![opening],
        steps: Vec::new(),
    };
    let mut seen = 0_u32;
    explore(&start, &events, 6, &mut seen);
    assert!(seen > 10_000, "only {seen} histories");
}

fn explore(past: &Script, events: &[Step], depth: u32, seen: &mut u32) {
    for event in events {
        let mut world = World::new(past, Flaw::None);
        for step in &past.steps {
            world.apply(*step);
        }
        if !world.apply(*event) {
            continue;
        }
        *seen += 1;
        let mut history = past.clone();
        history.steps.push(*event);
        let kept = world.check().and_then(|()| world.end());
        assert_eq!(kept, Ok(()), "{history:?}");
        if depth > 1 {
            explore(&history, events, depth - 1, seen);
        }
    }
}
