use std::sync::Arc;

use billing_core::id::TierScheduleId;
use billing_core::reach::{Audience, Reach};
use billing_core::tier_schedule::GRACE;
use serde_json::json;
use testkit::world::NOON;
use testkit::{ManualClock, Memory, Ports, World};

use super::*;

/// An account owes this much of a currency's unit a window, whether or not it calls.
fn minimum(number: i64, account: AccountId, window: &str, nanos: i64) -> TierSchedule {
    let terms = json!({
        "currency": "USD", "measure": "calls", "window": window, "minimum": nanos,
        "pricing": {"graduated": [{"price": {"discount": "0"}}]},
    });
    TierSchedule {
        id: TierScheduleId::new(number),
        reach: Reach {
            audience: Audience::Account(account),
            models: "*".parse().unwrap(),
        },
        terms: Some(Arc::new(serde_json::from_value(terms).unwrap())),
        effective_from: NOON,
    }
}

async fn world() -> (World, Ids) {
    let clock = ManualClock::at(NOON);
    let memory = Arc::new(Memory::new(Arc::new(clock.clone())));
    let world = World::new(Ports::of(memory, clock.clone(), ())).await;
    let ids = Ids::new(1, Arc::new(clock));
    (world, ids)
}

fn closer<'a>(world: &'a World, ids: &'a Ids, grace: time::Duration) -> Closer<'a> {
    Closer {
        books: world.books(),
        clock: &world.ports.clock,
        ids,
        grace,
        is_booked: true,
    }
}

#[tokio::test]
async fn an_account_that_cannot_be_charged_keeps_no_other_from_its_closing() {
    let (world, ids) = world().await;
    let nobody = AccountId::new(1);
    assert!(nobody < world.account);
    let book = PriceBook::default().with_tiers([
        minimum(1, nobody, "day", 1_000),
        minimum(2, world.account, "day", 2_000),
    ]);
    world.ports.clock.advance(time::Duration::days(1));
    let closings = closer(&world, &ids, GRACE).close_all(&book).await;
    let closed: Vec<_> = closings.dues.iter().map(|due| due.account).collect();
    assert_eq!(closed, [world.account]);
    let [failed] = closings.failed.as_slice() else {
        panic!("{:?}", closings.failed);
    };
    assert!(matches!(failed.why, BooksError::NoSuchBudget), "{failed:?}");
}

#[tokio::test]
async fn the_command_takes_no_grace_and_says_what_every_window_would_come_to() {
    let (world, ids) = world().await;
    let book = PriceBook::default().with_tiers([minimum(2, world.account, "day", 2_000)]);
    // Half an hour after the first midnight.
    world
        .ports
        .clock
        .advance(time::Duration::minutes(12 * 60 + 30));
    for (grace, windows) in [(GRACE, 0), (time::Duration::ZERO, 1)] {
        let dry = Closer {
            is_booked: false,
            ..closer(&world, &ids, grace)
        };
        assert_eq!(dry.close_all(&book).await.dues.len(), windows);
    }
    // More than are read at a time, once they are noted.
    let days = i64::from(PAGE) * 3 + 7;
    world.ports.clock.advance(time::Duration::days(days));
    let schedule = &book.tiers().iter().next().unwrap();
    let starts: Vec<i64> = (0..days)
        .map(|day| (NOON.unix_timestamp() / 86_400 + day) * 86_400)
        .collect();
    let noted = world.books().note_windows(world.account, schedule, &starts);
    noted.await.unwrap();
    let dry = Closer {
        is_booked: false,
        ..closer(&world, &ids, time::Duration::ZERO)
    };
    let closings = dry.close_all(&book).await;
    assert_eq!(i64::try_from(closings.dues.len()).unwrap(), days + 1);
    assert!(closings.failed.is_empty());
}
