//! What a lease book decides: readable examples, one sentence a test.
//!
//! That no order of events breaks a promise is shown by the simulation beside it.
#![expect(clippy::panic, reason = "a test may fall over")]

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::{AccountId, CallId, KeyId, NodeId};
use billing_core::lease::{LeaseGrant, LeaseSeq};
use billing_core::lease_book::{
    Decision, Held, HoldAsk, LeaseBook, LeasePolicy, Order, Refusal, RefusalCause, Sizing,
    StaleRule, Staleness,
};
use billing_core::steady::Steady;
use time::Duration;

const ACCOUNT: AccountId = AccountId::new(1);
const WALLET: BudgetScope = BudgetScope::Wallet;
const LIMIT: BudgetScope = BudgetScope::KeyLimit {
    key: KeyId::new(1),
    window_start: 0,
};
const START: Steady = Steady::ORIGIN;
/// The id under which the node takes leases, and the one after it was fenced.
const NODE: NodeId = NodeId::new(1);
const LATER_NODE: NodeId = NodeId::new(2);

fn ask(call: i64, demands: &[(BudgetScope, u64)], patience_s: i64) -> HoldAsk {
    HoldAsk {
        account: ACCOUNT,
        call: CallId::new(call),
        demands: demands.iter().map(|(s, n)| (*s, Amount::new(*n))).collect(),
        wait_until: START.saturating_add(Duration::seconds(patience_s)),
    }
}

const fn under(node: NodeId, parts: &[(BudgetScope, Amount)]) -> Held<'_> {
    Held { node, parts }
}

const fn grant(granted: u64, available: u64, elsewhere: u64) -> LeaseGrant {
    LeaseGrant {
        granted: Amount::new(granted),
        available: Amount::new(available),
        elsewhere: Amount::new(elsewhere),
    }
}

/// The number, need and wish of the only order there is, which asks for a lease of the wallet.
fn asked(book: &mut LeaseBook) -> (LeaseSeq, u64, u64) {
    match book.take_orders()[..] {
        [
            Order::Lease {
                seq,
                needed,
                wanted,
                scope: WALLET,
                ..
            },
        ] => (seq, needed.get(), wanted.get()),
        ref other => panic!("{other:?}"),
    }
}

/// The number and amount of the only order there is, which gives a part of the wallet back.
fn given_back(book: &mut LeaseBook) -> (LeaseSeq, u64) {
    match book.take_orders()[..] {
        [
            Order::GiveBack {
                seq,
                amount,
                scope: WALLET,
                ..
            },
        ] => (seq, amount.get()),
        ref other => panic!("{other:?}"),
    }
}

/// A book that has these leases, and a store that has this much more of each.
fn leased(policy: LeasePolicy, leases: &[(BudgetScope, u64)], more: u64) -> LeaseBook {
    let mut book = LeaseBook::new(policy, NODE);
    book.confirmed(START);
    for (scope, amount) in leases {
        let call = ask(-1, &[(*scope, (*amount).max(1))], 0);
        assert_eq!(book.authorize(call, START), Decision::Waiting);
        let seq = match book.take_orders()[..] {
            [Order::Lease { seq, .. }] => seq,
            ref other => panic!("{other:?}"),
        };
        book.granted(ACCOUNT, *scope, seq, grant(*amount, more, 0), START);
        book.released(ACCOUNT, CallId::new(-1), START);
        book.take_orders();
    }
    book
}

fn plain(leases: &[(BudgetScope, u64)], more: u64) -> LeaseBook {
    leased(LeasePolicy::default(), leases, more)
}

fn refused(cause: RefusalCause, needed: u64, left: u64) -> Decision {
    Decision::Refused(Refusal {
        scope: WALLET,
        needed: Amount::new(needed),
        left: Amount::new(left),
        cause,
    })
}

fn decided(call: i64, decision: Decision) -> Order {
    let call = CallId::new(call);
    Order::Decided { call, decision }
}

#[test]
fn a_hold_is_taken_on_every_budget_or_on_none() {
    let mut book = plain(&[(WALLET, 10), (LIMIT, 5)], 0);
    let both = [(WALLET, 6), (LIMIT, 6)];
    let decision = book.authorize(ask(1, &both, 0), START);
    assert!(matches!(decision, Decision::Refused(_)));
    assert_eq!(book.leased(ACCOUNT, WALLET).1, Amount::ZERO);
}

#[test]
fn a_budget_named_twice_counts_with_the_sum() {
    let mut book = plain(&[(WALLET, 10)], 0);
    let twice = [(WALLET, 6), (WALLET, 6)];
    let decision = book.authorize(ask(1, &twice, 0), START);
    assert_eq!(decision, refused(RefusalCause::Insufficient, 12, 10));
    let decision = book.authorize(ask(2, &[(WALLET, 4), (WALLET, 6)], 0), START);
    assert_eq!(decision, Decision::Held);
    assert_eq!(book.broken_invariant(), None);
}

#[test]
fn what_other_calls_hold_is_worth_waiting_for() {
    let mut book = plain(&[(WALLET, 10)], 0);
    let first = book.authorize(ask(1, &[(WALLET, 8)], 0), START);
    assert_eq!(first, Decision::Held);
    let busy = book.authorize(ask(2, &[(WALLET, 8)], 0), START);
    assert_eq!(busy, refused(RefusalCause::Busy, 8, 10));
    let third = book.authorize(ask(3, &[(WALLET, 8)], 5), START);
    assert_eq!(third, Decision::Waiting);
    let (held, used) = ([(WALLET, Amount::new(8))], [(WALLET, Amount::new(2))]);
    book.settled(ACCOUNT, CallId::new(1), under(NODE, &held), &used, START);
    assert_eq!(book.take_orders(), [decided(3, Decision::Held)]);
}

#[test]
fn what_a_call_holds_itself_is_not_worth_waiting_for() {
    let mut book = plain(&[(WALLET, 10)], 0);
    let first = book.authorize(ask(1, &[(WALLET, 8)], 0), START);
    assert_eq!(first, Decision::Held);
    let more = book.authorize(ask(1, &[(WALLET, 4)], 60), START);
    assert_eq!(more, refused(RefusalCause::Insufficient, 4, 2));
    let less = book.authorize(ask(1, &[(WALLET, 2)], 0), START);
    assert_eq!(less, Decision::Held);
}

#[test]
fn a_stream_that_asks_for_more_stands_before_calls_that_have_not_begun() {
    let mut book = plain(&[(WALLET, 10)], 0);
    for call in [1, 2] {
        let decision = book.authorize(ask(call, &[(WALLET, 5)], 0), START);
        assert_eq!(decision, Decision::Held);
    }
    let new = book.authorize(ask(3, &[(WALLET, 4)], 60), START);
    assert_eq!(new, Decision::Waiting);
    let more = book.authorize(ask(2, &[(WALLET, 4)], 60), START);
    assert_eq!(more, Decision::Waiting);
    book.released(ACCOUNT, CallId::new(1), START);
    assert_eq!(book.take_orders(), [decided(2, Decision::Held)]);
}

#[test]
fn an_ask_says_whether_a_call_under_way_needs_it() {
    let mut book = plain(&[(WALLET, 10)], 90);
    let under_way = |book: &mut LeaseBook| match book.take_orders()[..] {
        [Order::Lease { seq, under_way, .. }] => (seq, under_way),
        ref other => panic!("{other:?}"),
    };
    book.authorize(ask(1, &[(WALLET, 10)], 0), START);
    book.authorize(ask(2, &[(WALLET, 5)], 5), START);
    let (seq, of_new) = under_way(&mut book);
    assert!(!of_new);
    book.granted(ACCOUNT, WALLET, seq, grant(5, 85, 0), START);
    book.take_orders();
    book.authorize(ask(1, &[(WALLET, 5)], 5), START);
    assert!(under_way(&mut book).1);
}

#[test]
fn what_other_nodes_have_on_lease_is_worth_waiting_for() {
    let mut book = LeaseBook::new(LeasePolicy::default(), NODE);
    let call = ask(1, &[(WALLET, 8)], 5);
    assert_eq!(book.authorize(call, START), Decision::Waiting);
    let (seq, ..) = asked(&mut book);
    book.granted(ACCOUNT, WALLET, seq, grant(3, 0, 7), START);
    assert_eq!(book.take_orders(), []);
    // It is asked for again soon, by a call that still waits.
    let later = START.saturating_add(Duration::milliseconds(50));
    book.tick(later);
    let (seq, needed, _) = asked(&mut book);
    assert_eq!(needed, 5);
    book.granted(ACCOUNT, WALLET, seq, grant(5, 0, 2), later);
    assert_eq!(book.take_orders(), [decided(1, Decision::Held)]);
}

#[test]
fn what_others_have_too_little_of_is_not_worth_waiting_for() {
    let mut book = LeaseBook::new(LeasePolicy::default(), NODE);
    let call = ask(1, &[(WALLET, 8)], 5);
    assert_eq!(book.authorize(call, START), Decision::Waiting);
    let (seq, ..) = asked(&mut book);
    book.granted(ACCOUNT, WALLET, seq, grant(3, 0, 4), START);
    let decision = refused(RefusalCause::Insufficient, 8, 7);
    assert_eq!(book.take_orders(), [decided(1, decision)]);
}

#[test]
fn a_lease_given_back_may_be_asked_for_again_once_the_store_has_it() {
    let mut book = plain(&[(WALLET, 10)], 0);
    book.recall(ACCOUNT, WALLET, Amount::MAX, START);
    let (seq, amount) = given_back(&mut book);
    assert_eq!(amount, 10);
    let call = ask(1, &[(WALLET, 8)], 0);
    assert_eq!(book.authorize(call, START), Decision::Waiting);
    assert_eq!(book.take_orders(), []);
    book.returned(ACCOUNT, WALLET, seq, START);
    assert_eq!(asked(&mut book).1, 8);
}

#[test]
fn a_recall_takes_what_is_not_held_and_no_more_than_is_wanted() {
    let mut book = plain(&[(WALLET, 10)], 0);
    let first = book.authorize(ask(1, &[(WALLET, 7)], 0), START);
    assert_eq!(first, Decision::Held);
    book.recall(ACCOUNT, WALLET, Amount::new(2), START);
    let (seq, amount) = given_back(&mut book);
    assert_eq!(amount, 2);
    book.returned(ACCOUNT, WALLET, seq, START);
    book.recall(ACCOUNT, WALLET, Amount::new(9), START);
    assert_eq!(given_back(&mut book).1, 1);
    let (leased, held) = book.leased(ACCOUNT, WALLET);
    assert_eq!((leased.get(), held.get()), (7, 7));
}

#[test]
fn what_a_call_waits_with_is_kept_for_a_while_in_the_order_of_budgets() {
    let short_of = |lacked: BudgetScope, had: BudgetScope| {
        let mut book = plain(&[(had, 10)], 0);
        let both = [(WALLET, 8), (LIMIT, 8)];
        let call = book.authorize(ask(1, &both, 60), START);
        assert_eq!(call, Decision::Waiting);
        let seq = match book.take_orders()[..] {
            [Order::Lease { seq, .. }] => seq,
            ref other => panic!("{other:?}"),
        };
        book.granted(ACCOUNT, lacked, seq, grant(0, 0, 90), START);
        book
    };
    let mut book = short_of(LIMIT, WALLET);
    book.recall(ACCOUNT, WALLET, Amount::new(9), START);
    let (seq, amount) = given_back(&mut book);
    assert_eq!(amount, 2, "the rest is what the call waits with");
    book.returned(ACCOUNT, WALLET, seq, START);
    book.take_orders();
    let late = START.saturating_add(Duration::milliseconds(500));
    book.recall(ACCOUNT, WALLET, Amount::new(9), late);
    let back = |order: &Order| matches!(order, Order::GiveBack { amount, .. } if amount.get() == 8);
    assert!(book.take_orders().iter().any(back), "not for ever");

    let mut book = short_of(WALLET, LIMIT);
    book.recall(ACCOUNT, LIMIT, Amount::new(9), START);
    let all = |order: &Order| matches!(order, Order::GiveBack { amount, .. } if amount.get() == 9);
    assert!(
        book.take_orders().iter().any(all),
        "who lacks the first gives the second"
    );
}

#[test]
fn a_budget_known_to_be_empty_is_asked_again_after_a_while_or_after_news() {
    let mut book = plain(&[(WALLET, 0)], 0);
    let wish = || ask(1, &[(WALLET, 1)], 0);
    let decision = book.authorize(wish(), START);
    assert_eq!(decision, refused(RefusalCause::Insufficient, 1, 0));
    let later = START.saturating_add(Duration::seconds(1));
    assert_eq!(book.authorize(wish(), later), Decision::Waiting);

    let mut book = plain(&[(WALLET, 0)], 0);
    book.changed(ACCOUNT, START);
    assert_eq!(book.authorize(wish(), START), Decision::Waiting);
}

#[test]
fn an_answer_counts_once_and_only_when_it_is_the_one_awaited() {
    let mut book = LeaseBook::new(LeasePolicy::default(), NODE);
    let call = ask(1, &[(WALLET, 8)], 5);
    assert_eq!(book.authorize(call, START), Decision::Waiting);
    let (seq, ..) = asked(&mut book);
    book.granted(ACCOUNT, WALLET, seq.next(), grant(8, 0, 0), START);
    assert_eq!(book.leased(ACCOUNT, WALLET).0, Amount::ZERO);
    for _ in 0..2 {
        book.granted(ACCOUNT, WALLET, seq, grant(8, 0, 0), START);
        assert_eq!(book.leased(ACCOUNT, WALLET).0, Amount::new(8));
    }
}

#[test]
fn what_was_not_answered_is_repeated_under_its_number_at_longer_and_longer_pauses() {
    let mut book = LeaseBook::new(LeasePolicy::default(), NODE);
    let call = ask(1, &[(WALLET, 8)], 5);
    assert_eq!(book.authorize(call, START), Decision::Waiting);
    let first = asked(&mut book);
    let mut now = START;
    for pause_ms in [100, 200, 400] {
        book.unanswered(ACCOUNT, WALLET, first.0, now);
        book.take_orders();
        book.tick(now.saturating_add(Duration::milliseconds(pause_ms - 1)));
        assert_eq!(book.take_orders(), []);
        now = now.saturating_add(Duration::milliseconds(pause_ms));
        book.tick(now);
        assert_eq!(asked(&mut book), first);
    }
    // An answer that comes late is as good as any, and ends it.
    book.granted(ACCOUNT, WALLET, first.0, grant(8, 0, 0), now);
    let next = book.authorize(ask(2, &[(WALLET, 8)], 5), now);
    assert_eq!(next, Decision::Held);
}

#[test]
fn a_store_that_cannot_be_asked_refuses_only_who_lacks_that_budget() {
    let mut book = plain(&[(WALLET, 10)], 90);
    let large = book.authorize(ask(1, &[(WALLET, 50)], 60), START);
    assert_eq!(large, Decision::Waiting);
    let wallet = asked(&mut book).0;
    let limited = book.authorize(ask(2, &[(WALLET, 5), (LIMIT, 5)], 60), START);
    assert_eq!(limited, Decision::Waiting);
    let limit = match book.take_orders()[..] {
        [Order::Lease { seq, .. }] => seq,
        ref other => panic!("{other:?}"),
    };
    book.unanswered(ACCOUNT, WALLET, wallet, START);
    let decision = refused(RefusalCause::Unavailable, 50, 10);
    assert_eq!(book.take_orders(), [decided(1, decision)]);
    // While the store is away nobody waits for it, and what fits goes on.
    let next = book.authorize(ask(3, &[(WALLET, 50)], 60), START);
    assert_eq!(next, refused(RefusalCause::Unavailable, 50, 10));
    let small = book.authorize(ask(4, &[(WALLET, 1)], 0), START);
    assert_eq!(small, Decision::Held);
    book.granted(ACCOUNT, LIMIT, limit, grant(5, 0, 0), START);
    assert_eq!(book.take_orders(), [decided(2, Decision::Held)]);
}

#[test]
fn a_call_without_patience_still_hears_what_the_store_says() {
    let mut book = LeaseBook::new(LeasePolicy::default(), NODE);
    let call = ask(1, &[(WALLET, 8)], 0);
    assert_eq!(book.authorize(call, START), Decision::Waiting);
    let (seq, ..) = asked(&mut book);
    book.tick(START.saturating_add(Duration::seconds(1)));
    assert_eq!(book.take_orders(), []);
    book.granted(ACCOUNT, WALLET, seq, grant(8, 0, 0), START);
    assert_eq!(book.take_orders(), [decided(1, Decision::Held)]);
}

#[test]
fn a_call_that_leaves_while_it_waits_is_forgotten() {
    let mut book = LeaseBook::new(LeasePolicy::default(), NODE);
    let call = ask(1, &[(WALLET, 8)], 5);
    assert_eq!(book.authorize(call, START), Decision::Waiting);
    let (seq, ..) = asked(&mut book);
    book.released(ACCOUNT, CallId::new(1), START);
    book.granted(ACCOUNT, WALLET, seq, grant(8, 0, 0), START);
    assert_eq!(book.take_orders(), []);
    assert_eq!(book.leased(ACCOUNT, WALLET), (Amount::new(8), Amount::ZERO));
}

#[test]
fn a_node_that_is_alone_asks_for_everything_and_one_of_many_for_what_it_is_likely_to_use() {
    let mut book = LeaseBook::new(LeasePolicy::default(), NODE);
    book.authorize(ask(1, &[(WALLET, 8)], 0), START);
    let (_, needed, wanted) = asked(&mut book);
    assert_eq!((needed, wanted), (8, u64::MAX));

    let horizon = Duration::seconds(10);
    let policy = LeasePolicy {
        sizing: Sizing::Demand { horizon },
        ..LeasePolicy::default()
    };
    let mut book = LeaseBook::new(policy, NODE);
    book.authorize(ask(1, &[(WALLET, 8)], 0), START);
    let (seq, needed, wanted) = asked(&mut book);
    // A few calls of this size.
    assert_eq!((needed, wanted), (8, 32));
    book.granted(ACCOUNT, WALLET, seq, grant(8, 900, 0), START);
    book.take_orders();
    let parts = [(WALLET, Amount::new(8))];
    book.settled(ACCOUNT, CallId::new(1), under(NODE, &parts), &parts, START);
    book.authorize(ask(2, &[(WALLET, 8)], 0), START);
    // And what was used in the time ahead's length.
    assert_eq!(asked(&mut book).2, 40);
}

#[test]
fn a_fenced_node_asks_again_for_the_calls_that_wait() {
    let mut book = plain(&[(WALLET, 10)], 0);
    let first = book.authorize(ask(1, &[(WALLET, 8)], 0), START);
    assert_eq!(first, Decision::Held);
    let second = book.authorize(ask(2, &[(WALLET, 8)], 60), START);
    assert_eq!(second, Decision::Waiting);
    book.fenced(LATER_NODE, START);
    assert_eq!(asked(&mut book).1, 8);
    assert_eq!(book.leased(ACCOUNT, WALLET), (Amount::ZERO, Amount::ZERO));
    // What the first call holds is kept for it.
    let parts = [(WALLET, Amount::new(8))];
    let held = book.held_by(ACCOUNT, CallId::new(1));
    assert_eq!(held, Some(under(NODE, &parts)));
    assert_eq!(book.holds_under(NODE), 1);
    assert_eq!(book.broken_invariant(), None);
    book.settled(ACCOUNT, CallId::new(1), under(NODE, &parts), &parts, START);
    assert_eq!(book.holds_under(NODE), 0);
    assert_eq!(book.broken_invariant(), None);
}

#[test]
fn a_call_that_was_told_its_charge_keeps_no_more_than_that() {
    let mut book = plain(&[(WALLET, 10)], 0);
    let first = book.authorize(ask(1, &[(WALLET, 8)], 0), START);
    assert_eq!(first, Decision::Held);
    book.promised(ACCOUNT, CallId::new(1), Amount::new(3), START);
    assert_eq!(book.leased(ACCOUNT, WALLET).1.get(), 3);
    let second = book.authorize(ask(2, &[(WALLET, 7)], 0), START);
    assert_eq!(second, Decision::Held);
    let (held, used) = ([(WALLET, Amount::new(8))], [(WALLET, Amount::new(3))]);
    book.settled(ACCOUNT, CallId::new(1), under(NODE, &held), &used, START);
    let (leased, held) = book.leased(ACCOUNT, WALLET);
    assert_eq!((leased.get(), held.get()), (7, 7));
    assert_eq!(book.broken_invariant(), None);
}

#[test]
fn a_call_of_before_a_fence_gets_no_more() {
    let mut book = plain(&[(WALLET, 10)], 0);
    for call in [1, 3] {
        let held = book.authorize(ask(call, &[(WALLET, 5)], 0), START);
        assert_eq!(held, Decision::Held);
    }
    let more = book.authorize(ask(1, &[(WALLET, 5)], 60), START);
    assert_eq!(more, Decision::Waiting);
    book.take_orders();
    book.fenced(LATER_NODE, START);
    let orders = book.take_orders();
    assert!(
        matches!(
            orders[..],
            [Order::Decided { decision: Decision::Refused(refusal), .. }]
                if refusal.cause == RefusalCause::Unavailable
        ),
        "{orders:?}"
    );
    // Not even where the leases of now have room for it.
    assert_eq!(
        book.authorize(ask(2, &[(WALLET, 5)], 60), START),
        Decision::Waiting
    );
    let (seq, ..) = asked(&mut book);
    book.granted(ACCOUNT, WALLET, seq, grant(20, 0, 0), START);
    let again = book.authorize(ask(1, &[(WALLET, 5)], 60), START);
    assert!(matches!(again, Decision::Refused(_)), "{again:?}");
    // What costs nothing more needs nothing of them.
    assert_eq!(
        book.authorize(ask(1, &[(WALLET, 0)], 0), START),
        Decision::Held
    );
    assert_eq!(book.leased(ACCOUNT, WALLET).1.get(), 5);
    assert_eq!(book.broken_invariant(), None);
}

#[test]
fn what_settles_after_a_fence_is_not_taken_from_the_leases_of_now() {
    let mut book = plain(&[(WALLET, 10)], 0);
    let first = book.authorize(ask(1, &[(WALLET, 8)], 0), START);
    assert_eq!(first, Decision::Held);
    book.fenced(LATER_NODE, START);
    let second = book.authorize(ask(2, &[(WALLET, 5)], 0), START);
    assert_eq!(second, Decision::Waiting);
    let (seq, ..) = asked(&mut book);
    book.granted(ACCOUNT, WALLET, seq, grant(9, 0, 0), START);
    // It was handed in before the fence, and its answer comes after it.
    let parts = [(WALLET, Amount::new(8))];
    book.settled(ACCOUNT, CallId::new(1), under(NODE, &parts), &parts, START);
    let (leased, held) = book.leased(ACCOUNT, WALLET);
    assert_eq!((leased.get(), held.get()), (9, 5));
}

#[test]
fn a_node_that_is_cut_off_admits_what_the_rule_of_each_budget_allows() {
    let staleness = Staleness {
        fresh_for: Duration::seconds(3),
        wallet: StaleRule::UpTo(Amount::new(5)),
        limits: StaleRule::Refuse,
        quotas: StaleRule::Refuse,
    };
    let policy = LeasePolicy {
        staleness: Some(staleness),
        ..LeasePolicy::default()
    };
    let mut book = leased(policy, &[(WALLET, 10), (LIMIT, 10)], 0);
    let late = START.saturating_add(Duration::seconds(3));
    let small = book.authorize(ask(1, &[(WALLET, 4)], 0), late);
    assert_eq!(small, Decision::Held);
    let more = book.authorize(ask(2, &[(WALLET, 2)], 60), late);
    assert_eq!(more, refused(RefusalCause::Unavailable, 2, 10));
    let limited = book.authorize(ask(3, &[(LIMIT, 1)], 60), late);
    assert!(matches!(
        limited,
        Decision::Refused(Refusal {
            cause: RefusalCause::Unavailable,
            scope: LIMIT,
            ..
        })
    ));
    book.confirmed(late);
    let again = book.authorize(ask(4, &[(WALLET, 2), (LIMIT, 1)], 0), late);
    assert_eq!(again, Decision::Held);
}

#[test]
fn a_quiet_account_is_given_back_and_then_forgotten() {
    let mut book = plain(&[(WALLET, 10)], 0);
    let idle = START.saturating_add(Duration::minutes(10));
    book.tick(idle);
    let (seq, amount) = given_back(&mut book);
    assert_eq!(amount, 10);
    // Not before the store has it: it may have to be said again.
    book.unanswered(ACCOUNT, WALLET, seq, idle);
    book.tick(idle.saturating_add(Duration::seconds(1)));
    assert_eq!(given_back(&mut book), (seq, 10));
    book.returned(ACCOUNT, WALLET, seq, idle);
    book.tick(idle.saturating_add(Duration::seconds(2)));
    assert_eq!(book.size().accounts, 0);
}

#[test]
fn an_account_whose_last_call_is_refused_late_is_not_forgotten_with_its_lease() {
    let staleness = Staleness {
        fresh_for: Duration::seconds(3),
        wallet: StaleRule::Refuse,
        limits: StaleRule::Refuse,
        quotas: StaleRule::Refuse,
    };
    let policy = LeasePolicy {
        idle_after: Duration::seconds(5),
        staleness: Some(staleness),
        ..LeasePolicy::default()
    };
    let mut book = LeaseBook::new(policy, NODE);
    book.confirmed(START);
    let call = book.authorize(ask(1, &[(WALLET, 12)], 60), START);
    assert_eq!(call, Decision::Waiting);
    let (seq, ..) = asked(&mut book);
    book.granted(ACCOUNT, WALLET, seq, grant(10, 0, 90), START);
    book.tick(START.saturating_add(Duration::seconds(5)));
    let orders = book.take_orders();
    let back =
        |order: &Order| matches!(order, Order::GiveBack { amount, .. } if amount.get() == 10);
    assert!(orders.iter().any(back), "{orders:?}");
}

#[test]
fn a_node_that_stops_gives_back_what_is_not_held_and_the_rest_when_it_is() {
    let mut book = plain(&[(WALLET, 10)], 0);
    let first = book.authorize(ask(1, &[(WALLET, 4)], 0), START);
    assert_eq!(first, Decision::Held);
    book.give_all_back(START);
    let (seq, amount) = given_back(&mut book);
    assert_eq!(amount, 6);
    book.returned(ACCOUNT, WALLET, seq, START);
    book.released(ACCOUNT, CallId::new(1), START);
    book.give_all_back(START);
    assert_eq!(given_back(&mut book).1, 4);
}

#[test]
fn a_hold_that_nobody_ends_lapses_and_a_waiting_call_gets_it() {
    let mut book = plain(&[(WALLET, 10)], 0);
    let first = book.authorize(ask(1, &[(WALLET, 8)], 0), START);
    assert_eq!(first, Decision::Held);
    let second = book.authorize(ask(2, &[(WALLET, 8)], 9_000), START);
    assert_eq!(second, Decision::Waiting);
    book.tick(START.saturating_add(Duration::hours(2)));
    assert_eq!(book.take_orders().last(), Some(&decided(2, Decision::Held)));
}
