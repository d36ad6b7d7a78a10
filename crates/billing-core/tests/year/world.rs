//! A year of subscriptions: accounts that try, pay, forget to pay, change, cancel and come back, in
//! many zones, over fourteen months, with a billing run that is cut off at any point and run by
//! several nodes.

#[path = "checks.rs"]
pub(crate) mod checks;
#[path = "house.rs"]
pub(crate) mod house;
#[path = "people.rs"]
mod people;
#[path = "../simulation/rng.rs"]
mod rng;
#[path = "run.rs"]
mod run;

use billing_core::port::subscriptions::RecordError;
use billing_core::subscription::Dunning;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use house::House;
use rng::Rng;

const START: OffsetDateTime = datetime!(2027-12-28 09:00 UTC);
/// Fourteen months, with a 29 February in them.
const DAYS: i64 = 426;

/// Runs the year and says what happened in it.
pub(crate) fn year(seed: u64, accounts: u64) -> (House, String) {
    let mut rng = Rng::new(seed);
    let house = House::new(seed);
    let mut people = people::move_in(accounts, &mut rng);
    let dunning = Dunning::default();
    let mut cut_off = 0_u64;
    for hour in 0..DAYS * 4 {
        // Runs are not on the hour, and some are late by days.
        let now = START + Duration::hours(hour * 6) + Duration::seconds(rng.span(0, 3_000));
        for person in &mut people {
            person.act(&house, now, &mut rng);
        }
        if rng.below(20) == 0 {
            continue;
        }
        loop {
            house.cut_after(rng.below(60));
            match at_once::run(run::all(&house, &dunning, now)) {
                Ok(()) => break,
                Err(RecordError::Unavailable(_)) => cut_off += 1,
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
        // It looks at everything, so it looks now and then.
        if rng.chance(60) {
            checks::entitled(&house, now);
        }
    }
    let broken = checks::all(&house);
    assert_eq!(broken, Vec::<String>::new(), "seed {seed}");
    assert_eq!(house.books().parked, [], "seed {seed}");
    let figures = format!(
        "{{\"year\":{{\"seed\":{seed},\"accounts\":{accounts},\"cut_off\":{cut_off},{}}}}}",
        house.figures()
    );
    (house, figures)
}

/// Futures that never wait need no runtime.
pub(crate) mod at_once {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
        let mut context = Context::from_waker(Waker::noop());
        match pin!(future).poll(&mut context) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("nothing in here waits"),
        }
    }
}
