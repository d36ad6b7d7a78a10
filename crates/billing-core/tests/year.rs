//! A year of subscriptions adds up, whenever the billing run is cut off. `./just year` runs it at
//! length.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test may fall over"
)]

#[path = "year/world.rs"]
mod world;

use billing_core::subscription::FeeKind;
use world::house::{Books, Invoice};
use world::{checks, year};

#[test]
fn a_year_of_subscriptions_adds_up_whenever_the_billing_run_is_cut_off() {
    let (house, figures) = year(1, 60);
    for happened in [
        "changed_in_place",
        "changed_and_reset",
        "paused",
        "paid_by_hand",
    ] {
        assert!(house.books().events.contains_key(happened), "{figures}");
    }
}

/// What is run is decided by the seed alone.
#[test]
fn the_same_seed_is_the_same_year() {
    assert_eq!(year(7, 10).1, year(7, 10).1);
    assert_ne!(year(7, 10).1, year(8, 10).1);
}

/// A check that cannot fail proves nothing: each of these is found.
#[test]
fn what_is_billed_twice_or_lost_is_found() {
    for (flaw, found) in [
        (flawed_twice as fn(&mut Books), "paid for 2 times"),
        (flawed_gap, "stands at"),
        (flawed_ledger, "does not balance"),
    ] {
        let (house, _) = year(3, 5);
        flaw(&mut house.books());
        let broken = checks::all(&house).join("\n");
        assert!(broken.contains(found), "{broken}");
    }
}

fn flawed_twice(books: &mut Books) {
    let plan = |i: &&Invoice| i.fee.kind == FeeKind::Plan && i.fee.amount > 0;
    let twice = books.invoices.iter().find(plan).unwrap();
    let (subscription, fee) = (twice.subscription, twice.fee.clone());
    let subscription = books.subscriptions[&subscription].clone();
    books.invoice(&subscription, &fee);
}

fn flawed_gap(books: &mut Books) {
    books.invoices.remove(2);
}

fn flawed_ledger(books: &mut Books) {
    books.ledger.pop();
}
