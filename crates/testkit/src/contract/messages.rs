//! Rules of messages: each step of a subscription is told once, with its facts.

use billing_core::message::{CLAIM_FOR, DeliveryState, Message, MessageKind};
use billing_core::money::Currency;
use billing_core::port::orders::NewOrder;
use billing_core::subscription::EndReason;
use billing_core::subscription_order::Order;
use time::Duration;

use super::subscriptions::{NINE, begin, days, monthly, run};
use crate::World;

/// Every rule of messages, as tests: `testkit::messages_contract!(name, opener)`.
#[macro_export]
macro_rules! messages_contract {
    ($name:ident, $open:expr) => {
        $crate::rules!($name, $open, messages:
            each_step_of_dunning_is_told
            what_is_paid_after_all_is_told_as_that
            several_runs_at_once_tell_each_step_once
            a_trial_that_is_about_to_end_is_told_once
            messages_are_read_page_by_page_by_their_account
            a_message_is_claimed_by_one_sender_at_a_time
            a_message_that_is_not_taken_is_tried_again_and_then_given_up
        );
    };
}

/// All messages of the account, oldest first.
async fn messages(world: &World) -> Vec<Message> {
    let list = world.ports.messages.list(world.account, None, 100).await;
    let mut all = list.unwrap();
    all.reverse();
    all
}

fn kinds(messages: &[Message]) -> Vec<&'static str> {
    messages.iter().map(|message| message.kind.name()).collect()
}

/// From a renewal that nobody pays to the end: each step once, with what is owed and when what comes
/// next comes.
pub async fn each_step_of_dunning_is_told(world: World) {
    world.top_up(NINE).await;
    let id = begin(&world, monthly()).await.id;
    run(&world).await;
    assert_eq!(kinds(&messages(&world).await), ["invoiced", "paid"]);
    days(&world, 30).await;
    let since = world.now();
    days(&world, 20).await;
    let told = messages(&world).await;
    let steps = [
        "invoiced",
        "payment_failed",
        "payment_failed",
        "access_closed",
        "payment_failed",
        "payment_failed",
        "payment_failed",
        "ended",
    ];
    assert_eq!(kinds(&told[2..]), steps);
    assert!(told.iter().all(|message| message.subscription == id));
    assert!(told.windows(2).all(|two| two[0].id < two[1].id));
    let at = |days| Some(since + Duration::days(days));
    for (place, tries, next) in [(3, 1, at(1)), (4, 2, at(4)), (6, 3, at(9)), (8, 5, None)] {
        let facts = &told[place].facts;
        assert_eq!(
            (facts.tries, facts.next_try_at, facts.ends_at),
            (Some(tries), next, at(16)),
            "{place}"
        );
        assert_eq!(
            (facts.amount, facts.currency),
            (Some(900), Some(Currency::USD))
        );
    }
    assert_eq!(told[3].facts.grace_until, at(3));
    assert_eq!(told[6].facts.grace_until, None);
    assert_eq!(told[2].facts.invoice, told[3].facts.invoice);
    assert!(told[2].facts.invoice.is_some());
    let ended = &told[9].facts;
    assert_eq!(
        (ended.ends_at, ended.reason),
        (at(16), Some(EndReason::Unpaid))
    );
}

/// Whoever pays in between is told that all is well.
pub async fn what_is_paid_after_all_is_told_as_that(world: World) {
    world.top_up(NINE).await;
    begin(&world, monthly()).await;
    run(&world).await;
    days(&world, 31).await;
    world.top_up(NINE).await;
    days(&world, 4).await;
    let told = messages(&world).await;
    let steps = [
        "invoiced",
        "payment_failed",
        "payment_failed",
        "access_closed",
        "recovered",
    ];
    assert_eq!(kinds(&told[2..]), steps);
    assert_eq!(told[6].facts.amount, Some(900));
    assert!(told[6].facts.period.is_some());
}

/// However many do a step, it is told once.
pub async fn several_runs_at_once_tell_each_step_once(world: World) {
    world.top_up(NINE).await;
    begin(&world, monthly()).await;
    for _ in 0..34 {
        tokio::join!(run(&world), run(&world), run(&world));
        world.ports.clock.advance(Duration::DAY);
    }
    let steps = [
        "invoiced",
        "paid",
        "invoiced",
        "payment_failed",
        "payment_failed",
        "access_closed",
    ];
    assert_eq!(kinds(&messages(&world).await), steps);
}

/// Three days before its end, once; what the customer asks for then is told too.
pub async fn a_trial_that_is_about_to_end_is_told_once(world: World) {
    let mut terms = monthly();
    terms.trial_days = 14;
    begin(&world, terms).await;
    let ends_at = Some(world.now() + Duration::days(14));
    days(&world, 10).await;
    assert_eq!(kinds(&messages(&world).await), ["trial_began"]);
    days(&world, 2).await;
    let told = messages(&world).await;
    assert_eq!(kinds(&told), ["trial_began", "trial_ending"]);
    assert!(told.iter().all(|message| message.facts.ends_at == ends_at));
    for (order, key) in [(Order::CancelAtEnd, "a"), (Order::Resume, "b")] {
        let made = NewOrder {
            account: world.account,
            order,
            key: key.to_owned(),
            now: world.now(),
        };
        world.ports.orders.place(&made).await.unwrap();
        // The same key again does nothing, and tells nothing.
        world.ports.orders.place(&made).await.unwrap();
    }
    days(&world, 3).await;
    let told = messages(&world).await;
    assert_eq!(kinds(&told[2..]), ["will_end", "resumed", "paused"]);
    assert_eq!(told[2].facts.ends_at, ends_at);
    assert_eq!(told[2].kind, MessageKind::WillEnd);
}

/// Newest first, each once, and nobody else's.
pub async fn messages_are_read_page_by_page_by_their_account(world: World) {
    world.top_up(NINE).await;
    begin(&world, monthly()).await;
    run(&world).await;
    days(&world, 31).await;
    let all = messages(&world).await;
    assert_eq!(all.len(), 5);
    let (mut read, mut before) = (Vec::new(), None);
    loop {
        let page = world.ports.messages.list(world.account, before, 2).await;
        let page = page.unwrap();
        before = page.last().map(|message| message.id);
        if page.is_empty() {
            break;
        }
        read.extend(page);
    }
    read.reverse();
    assert_eq!(read, all);
    let other = world.new_account(0).await;
    let theirs = world.ports.messages.list(other, None, 10).await.unwrap();
    assert_eq!(theirs, []);
}

/// Of several senders at once one has each message; one that is slow loses it to another, and what
/// it says then counts for nothing.
pub async fn a_message_is_claimed_by_one_sender_at_a_time(world: World) {
    world.top_up(NINE).await;
    begin(&world, monthly()).await;
    run(&world).await;
    days(&world, 31).await;
    let port = &world.ports.messages;
    let all = messages(&world).await;
    let claims = tokio::join!(
        port.claim(world.now(), 2),
        port.claim(world.now(), 2),
        port.claim(world.now(), 2),
        port.claim(world.now(), 2),
    );
    let mut claimed = Vec::new();
    for claim in [claims.0, claims.1, claims.2, claims.3] {
        claimed.extend(claim.unwrap());
    }
    // What was locked by another at that moment is had by whoever comes next.
    claimed.extend(port.claim(world.now(), 10).await.unwrap());
    claimed.sort_by_key(|claimed| claimed.message.id);
    let ids: Vec<_> = claimed.iter().map(|claimed| claimed.message.id).collect();
    let told: Vec<_> = all.iter().map(|message| message.id).collect();
    assert_eq!(ids, told);
    assert!(claimed.iter().all(|claimed| claimed.tries == 1));
    assert_eq!(claimed[0].message.facts, all[0].facts);
    assert_eq!(port.claim(world.now(), 10).await.unwrap(), []);

    let sent = DeliveryState::Sent(world.now());
    assert!(port.tried(&claimed[0], sent).await.unwrap());
    assert!(!port.tried(&claimed[0], sent).await.unwrap());
    world.ports.clock.advance(CLAIM_FOR);
    let again = port.claim(world.now(), 10).await.unwrap();
    assert_eq!(again.len(), told.len() - 1);
    assert!(again.iter().all(|claimed| claimed.tries == 2));
    assert!(!port.tried(&claimed[1], sent).await.unwrap(), "it lost it");
    for claimed in &again {
        assert!(port.tried(claimed, sent).await.unwrap());
    }
    let outbox = port.outbox().await.unwrap();
    assert_eq!((outbox.waiting, outbox.given_up), (0, 0));
    let shown = messages(&world).await;
    assert!(shown.iter().all(|message| {
        let delivery = message.delivery.unwrap();
        matches!(delivery.state, DeliveryState::Sent(_))
    }));
}

/// Each time later than the last, under one id; after the last try it is seen that it was given up.
pub async fn a_message_that_is_not_taken_is_tried_again_and_then_given_up(world: World) {
    let mut terms = monthly();
    terms.trial_days = 2;
    begin(&world, terms).await;
    let port = &world.ports.messages;
    let id = messages(&world).await[0].id;
    for tries in 1.. {
        let claimed = port.claim(world.now(), 10).await.unwrap();
        assert_eq!((claimed.len(), claimed[0].message.id), (1, id));
        assert_eq!(claimed[0].tries, tries);
        let state = DeliveryState::after(tries, false, world.now());
        assert!(port.tried(&claimed[0], state).await.unwrap());
        let outbox = port.outbox().await.unwrap();
        match state {
            DeliveryState::Waits(next) => {
                assert_eq!((outbox.waiting, outbox.given_up), (1, 0));
                assert_eq!(port.claim(world.now(), 10).await.unwrap(), []);
                world.ports.clock.advance(next - world.now());
            }
            DeliveryState::GivenUp(_) | DeliveryState::Sent(_) => {
                assert_eq!((outbox.waiting, outbox.given_up), (0, 1));
                break;
            }
        }
    }
    world.ports.clock.advance(Duration::days(30));
    assert_eq!(port.claim(world.now(), 10).await.unwrap(), []);
    let delivery = messages(&world).await[0].delivery.unwrap();
    assert_eq!((delivery.tries, delivery.state.name()), (8, "given_up"));
}
