//! Single cases: what a book decides, one sentence a test.

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::{AccountId, CallId};
use billing_core::lease_book::{
    Decision, HoldAsk, LeaseBook, LeasePolicy, Order, Refusal, RefusalCause,
};
use billing_core::port::books::LeaseGrant;
use time::{Duration, OffsetDateTime};

use crate::world::limit_of;

const ACCOUNT: AccountId = AccountId::new(1);
const WALLET: BudgetScope = BudgetScope::Wallet;
const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn ask(call: i64, demands: &[(BudgetScope, u64)], patience_s: i64) -> HoldAsk {
    HoldAsk {
        account: ACCOUNT,
        call: CallId::new(call),
        demands: demands.iter().map(|(s, n)| (*s, Amount::new(*n))).collect(),
        wait_until: START + Duration::seconds(patience_s),
    }
}

/// A book that has these leases, and a store that has this much more of each.
fn leased(leases: &[(BudgetScope, u64)], more: u64) -> LeaseBook {
    let mut book = LeaseBook::new(LeasePolicy::default());
    for (scope, amount) in leases {
        let grant = LeaseGrant {
            granted: Amount::new(*amount),
            available: Amount::new(more),
        };
        book.granted(ACCOUNT, *scope, grant, START);
    }
    book
}

fn refused(cause: RefusalCause, needed: u64, left: u64) -> Decision {
    Decision::Refused(Refusal {
        scope: WALLET,
        needed: Amount::new(needed),
        left: Amount::new(left),
        cause,
    })
}

#[test]
fn a_hold_is_taken_on_every_budget_or_on_none() {
    let mut book = leased(&[(WALLET, 10), (limit_of(ACCOUNT), 5)], 0);
    let both = [(WALLET, 6), (limit_of(ACCOUNT), 6)];
    assert!(matches!(
        book.authorize(ask(1, &both, 0), START),
        Decision::Refused(_)
    ));
    assert_eq!(book.leased(ACCOUNT, WALLET).1, Amount::ZERO);
}

#[test]
fn a_budget_named_twice_counts_with_the_sum() {
    let mut book = leased(&[(WALLET, 10)], 0);
    let twice = [(WALLET, 6), (WALLET, 6)];
    let decision = book.authorize(ask(1, &twice, 0), START);
    assert_eq!(decision, refused(RefusalCause::Insufficient, 12, 10));
    assert_eq!(
        book.authorize(ask(2, &[(WALLET, 4), (WALLET, 6)], 0), START),
        Decision::Held
    );
    assert_eq!(book.broken_invariant(), None);
}

#[test]
fn what_other_calls_hold_is_worth_waiting_for() {
    let mut book = leased(&[(WALLET, 10)], 0);
    assert_eq!(
        book.authorize(ask(1, &[(WALLET, 8)], 0), START),
        Decision::Held
    );
    let busy = book.authorize(ask(2, &[(WALLET, 8)], 0), START);
    assert_eq!(busy, refused(RefusalCause::Busy, 8, 10));
    assert_eq!(
        book.authorize(ask(3, &[(WALLET, 8)], 5), START),
        Decision::Waiting
    );
    let (held, used) = ([(WALLET, Amount::new(8))], [(WALLET, Amount::new(2))]);
    book.settled(ACCOUNT, CallId::new(1), &held, &used, START);
    let (call, decision) = (CallId::new(3), Decision::Held);
    assert_eq!(book.take_orders(), [Order::Decided { call, decision }]);
}

#[test]
fn what_a_call_holds_itself_is_not_worth_waiting_for() {
    let mut book = leased(&[(WALLET, 10)], 0);
    assert_eq!(
        book.authorize(ask(1, &[(WALLET, 8)], 0), START),
        Decision::Held
    );
    let more = book.authorize(ask(1, &[(WALLET, 4)], 60), START);
    assert_eq!(more, refused(RefusalCause::Insufficient, 4, 2));
    assert_eq!(
        book.authorize(ask(1, &[(WALLET, 2)], 0), START),
        Decision::Held
    );
}

#[test]
fn a_lease_given_back_may_be_asked_for_again_at_once() {
    let mut book = leased(&[(WALLET, 10)], 0);
    book.recall(ACCOUNT, WALLET, Amount::MAX);
    book.take_orders();
    assert_eq!(
        book.authorize(ask(1, &[(WALLET, 8)], 0), START),
        Decision::Waiting
    );
    assert!(matches!(book.take_orders()[..], [Order::Lease { .. }]));
}

#[test]
fn a_budget_known_to_be_empty_is_asked_again_after_a_while_or_after_news() {
    let mut book = leased(&[(WALLET, 0)], 0);
    let wish = || ask(1, &[(WALLET, 1)], 0);
    assert_eq!(
        book.authorize(wish(), START),
        refused(RefusalCause::Insufficient, 1, 0)
    );
    let later = START + Duration::seconds(1);
    assert_eq!(book.authorize(wish(), later), Decision::Waiting);

    let mut book = leased(&[(WALLET, 0)], 0);
    book.changed(ACCOUNT, START);
    assert_eq!(book.authorize(wish(), START), Decision::Waiting);
}

#[test]
fn a_store_that_cannot_be_asked_refuses_only_who_lacks_that_budget() {
    let limit = limit_of(ACCOUNT);
    let mut book = leased(&[(WALLET, 10)], 90);
    assert_eq!(
        book.authorize(ask(1, &[(WALLET, 50)], 60), START),
        Decision::Waiting
    );
    assert_eq!(
        book.authorize(ask(2, &[(WALLET, 5), (limit, 5)], 60), START),
        Decision::Waiting
    );
    book.take_orders();
    book.lease_failed(ACCOUNT, WALLET);
    let decision = refused(RefusalCause::Unavailable, 50, 10);
    let call = CallId::new(1);
    assert_eq!(book.take_orders(), [Order::Decided { call, decision }]);
    let grant = LeaseGrant {
        granted: Amount::new(5),
        available: Amount::ZERO,
    };
    book.granted(ACCOUNT, limit, grant, START);
    let (call, decision) = (CallId::new(2), Decision::Held);
    assert_eq!(book.take_orders(), [Order::Decided { call, decision }]);
}

#[test]
fn a_call_without_patience_still_hears_what_the_store_says() {
    let mut book = LeaseBook::new(LeasePolicy::default());
    let wish = ask(1, &[(WALLET, 8)], 0);
    assert_eq!(book.authorize(wish, START), Decision::Waiting);
    book.take_orders();
    book.tick(START + Duration::seconds(1));
    assert_eq!(book.take_orders(), []);
    let grant = LeaseGrant {
        granted: Amount::new(8),
        available: Amount::ZERO,
    };
    book.granted(ACCOUNT, WALLET, grant, START);
    let (call, decision) = (CallId::new(1), Decision::Held);
    assert_eq!(book.take_orders(), [Order::Decided { call, decision }]);
}

#[test]
fn a_fenced_node_asks_again_for_the_calls_that_wait() {
    let mut book = leased(&[(WALLET, 10)], 0);
    assert_eq!(
        book.authorize(ask(1, &[(WALLET, 8)], 0), START),
        Decision::Held
    );
    assert_eq!(
        book.authorize(ask(2, &[(WALLET, 8)], 60), START),
        Decision::Waiting
    );
    book.fenced();
    assert!(matches!(book.take_orders()[..], [Order::Lease { .. }]));
    assert_eq!(book.leased(ACCOUNT, WALLET), (Amount::ZERO, Amount::ZERO));
}

#[test]
fn a_quiet_account_is_forgotten_and_its_lease_given_back() {
    let mut book = leased(&[(WALLET, 10)], 0);
    book.tick(START + Duration::minutes(10));
    let (account, scope, amount) = (ACCOUNT, WALLET, Amount::new(10));
    assert_eq!(
        book.take_orders(),
        [Order::GiveBack {
            account,
            scope,
            amount
        }]
    );
    assert_eq!(book.size().accounts, 0);
}

#[test]
fn a_hold_that_nobody_ends_lapses_and_a_waiting_call_gets_it() {
    let mut book = leased(&[(WALLET, 10)], 0);
    assert_eq!(
        book.authorize(ask(1, &[(WALLET, 8)], 0), START),
        Decision::Held
    );
    assert_eq!(
        book.authorize(ask(2, &[(WALLET, 8)], 9_000), START),
        Decision::Waiting
    );
    book.tick(START + Duration::hours(2));
    let (call, decision) = (CallId::new(2), Decision::Held);
    assert_eq!(book.take_orders(), [Order::Decided { call, decision }]);
}
