//! Rules of the read models for what was corrected later.

use billing_core::adjustment::{Adjustment, CallPart};
use billing_core::budget::BudgetScope;
use billing_core::id::{AccountId, CallId, LotId};
use billing_core::money::{Currency, Nanos};
use billing_core::port::reports::AdjustmentLine;
use billing_core::wallet::LotKind;
use time::Duration;

use crate::World;
use crate::world::NOON;

/// Adjusts calls, each by its part, that were adjusted so often before.
async fn adjust(world: &World, parts: &[(CallId, i64)], after: u32, note: &str) -> AdjustmentLine {
    let amount = Nanos::new(parts.iter().map(|(_, part)| *part).sum());
    let part = |(call, part): &(CallId, i64)| CallPart {
        call: *call,
        amount: Nanos::new(*part),
        after,
        window: None,
    };
    let adjustment = Adjustment {
        key: format!("correct:{}", world.number()),
        amount,
        currency: Currency::USD,
        lot: LotId::new(world.number()),
        kind: LotKind::Paid,
        calls: parts.iter().map(part).collect(),
        note: note.to_owned(),
        takes_what_is_there: true,
    };
    let now = world.now();
    let adjusted = world.books().adjust(world.account, adjustment, now).await;
    AdjustmentLine {
        txn: adjusted.unwrap().txn.unwrap(),
        amount,
        booked_at: now,
        note: note.to_owned(),
    }
}

/// Each its own part, with the transaction that booked it, oldest first; nobody else's.
pub async fn a_call_shows_what_it_was_adjusted_by(world: World) {
    world.top_up(1000).await;
    world.lease(BudgetScope::Wallet, 500).await.unwrap();
    let calls = [world.call(100, 60), world.call(100, 40), world.call(100, 7)];
    let [one, two, never] = calls.each_ref().map(|call| call.call);
    for call in calls {
        world.settle(call).await;
    }
    let both = adjust(&world, &[(one, -20), (two, -10)], 0, "a wrong price").await;
    world.ports.clock.advance(Duration::hours(1));
    let again = adjust(&world, &[(one, 5)], 1, "a wrong correction").await;
    let reports = &world.ports.reports;
    let asked = [one, two, never, CallId::new(7)];
    let found = reports.call_adjustments(world.account, &asked).await;
    let part = |amount| AdjustmentLine {
        amount: Nanos::new(amount),
        ..both.clone()
    };
    let wanted = [(one, vec![part(-20), again]), (two, vec![part(-10)])];
    assert_eq!(found.unwrap(), wanted.into());
    assert_eq!(both.booked_at, NOON);
    for (account, calls) in [
        (world.account, &asked[2..]),
        (AccountId::new(9_999), &asked[..]),
    ] {
        let found = reports.call_adjustments(account, calls).await.unwrap();
        assert!(found.is_empty(), "{found:?}");
    }
    // The record of the calls, and what they were charged, stays as it is.
    let call = reports.call(world.account, one).await.unwrap().unwrap();
    assert_eq!(call.charge, Nanos::new(60));
    world.assert_sound().await;
}
