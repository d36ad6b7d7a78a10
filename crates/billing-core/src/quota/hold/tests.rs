use std::collections::BTreeMap;

use super::*;
use crate::id::{KeyId, QuotaId};
use crate::money::Exact;
use crate::quota::cover::{Cost, Split};
use proptest::prelude::*;

const WALLET: BudgetScope = BudgetScope::Wallet;
const LIMIT: BudgetScope = BudgetScope::KeyLimit {
    key: KeyId::new(1),
    window_start: 0,
};

const fn quota(id: i64, unit: BudgetUnit) -> BudgetScope {
    BudgetScope::Quota {
        quota: QuotaId::new(id),
        unit,
        window_start: 0,
    }
}

const OWN: [BudgetScope; 2] = [quota(1, BudgetUnit::Calls), quota(2, BudgetUnit::Tokens)];
const ALL: [BudgetScope; 1] = [quota(3, BudgetUnit::Tokens)];
const WORST: Worst = Worst {
    tokens: Amount::new(100),
    money: Amount::new(50),
};

/// Runs a search over budgets with so much free; what is not free is gone for good, or `busy`.
fn search(
    after: AfterQuota,
    payers: &[BudgetScope],
    free: &[(BudgetScope, u64)],
    busy: &[BudgetScope],
) -> Result<Vec<(BudgetScope, u64)>, (BudgetScope, RefusalCause)> {
    let free: BTreeMap<_, _> = free.iter().map(|(s, n)| (*s, Amount::new(*n))).collect();
    let has = |scope: BudgetScope| free.get(&scope).copied().unwrap_or_default();
    let mut search = HoldSearch::new([&OWN[..], &ALL[..]], payers, WORST, after);
    let mut waited: usize = 0;
    while let Some(attempt) = search.next(has).unwrap() {
        waited = usize::from(attempt.may_wait).saturating_add(waited);
        assert!(waited < 2, "a call waits once");
        let short = attempt.demands.iter().find(|(s, n)| has(*s) < *n);
        let Some((scope, needed)) = short else {
            let demands = attempt.demands.into_iter().filter(|(_, n)| !n.is_zero());
            return Ok(demands.map(|(s, n)| (s, n.get())).collect());
        };
        let cause = if busy.contains(scope) {
            RefusalCause::Busy
        } else {
            RefusalCause::Insufficient
        };
        search.refused(Refusal {
            scope: *scope,
            needed: *needed,
            left: has(*scope),
            cause,
        });
    }
    let refusal = search.refusal().unwrap();
    Err((refusal.scope, refusal.cause))
}

#[test]
fn the_first_level_with_room_is_held_alone() {
    let [calls, tokens] = OWN;
    let rich = [(calls, 1), (tokens, 100), (ALL[0], 100), (WALLET, 50)];
    for after in [AfterQuota::Wallet, AfterQuota::Stop] {
        let held = search(after, &[WALLET], &rich, &[]);
        assert_eq!(held, Ok(vec![(calls, 1), (tokens, 100)]));
        // The own level lacks a token; the general one has all.
        let held = search(
            after,
            &[WALLET],
            &[(calls, 1), (tokens, 99), (ALL[0], 100)],
            &[],
        );
        assert_eq!(held, Ok(vec![(ALL[0], 100)]));
    }
}

#[test]
fn what_a_level_has_left_is_taken_with_the_wallet_for_the_rest() {
    let [calls, tokens] = OWN;
    let free = [
        (calls, 1),
        (tokens, 30),
        (ALL[0], 90),
        (WALLET, 50),
        (LIMIT, 50),
    ];
    let held = search(AfterQuota::Wallet, &[WALLET, LIMIT], &free, &[]);
    let parts = vec![(calls, 1), (tokens, 30), (WALLET, 35), (LIMIT, 35)];
    assert_eq!(held, Ok(parts));
    let stopped = search(AfterQuota::Stop, &[WALLET], &free, &[]);
    assert_eq!(stopped, Err((tokens, RefusalCause::Insufficient)));
    // The wallet has too little for the first level's rest, and enough for the second's.
    let free = [(calls, 1), (tokens, 30), (ALL[0], 90), (WALLET, 5)];
    let held = search(AfterQuota::Wallet, &[WALLET], &free, &[]);
    assert_eq!(held, Ok(vec![(ALL[0], 90), (WALLET, 5)]));
    // Nothing left of a quota in calls: its level gives nothing.
    let free = [(tokens, 30), (WALLET, 50)];
    let held = search(AfterQuota::Wallet, &[WALLET], &free, &[]);
    assert_eq!(held, Ok(vec![(WALLET, 50)]));
}

#[test]
fn the_wallet_is_named_where_it_would_have_paid_and_the_quota_where_not() {
    let [calls, tokens] = OWN;
    let free = [(calls, 1), (tokens, 30), (WALLET, 3)];
    let refused = search(AfterQuota::Wallet, &[WALLET], &free, &[]);
    assert_eq!(refused, Err((WALLET, RefusalCause::Insufficient)));
    // Others hold the quota: that is worth waiting for, and what is said in the end.
    let refused = search(AfterQuota::Wallet, &[WALLET], &free, &[tokens]);
    assert_eq!(refused, Err((tokens, RefusalCause::Busy)));
    let refused = search(AfterQuota::Stop, &[WALLET], &free, &[tokens]);
    assert_eq!(refused, Err((tokens, RefusalCause::Busy)));
}

#[test]
fn when_what_was_waited_for_is_gone_the_wallet_is_named_where_it_pays() {
    for (after, named) in [(AfterQuota::Wallet, WALLET), (AfterQuota::Stop, ALL[0])] {
        let mut search = HoldSearch::new([&ALL[..]], &[WALLET], WORST, after);
        let mut cause = RefusalCause::Busy;
        while let Some(attempt) = search.next(|_| Amount::ZERO).unwrap() {
            let (scope, needed) = attempt.demands[0];
            search.refused(Refusal {
                scope,
                needed,
                left: Amount::ZERO,
                cause,
            });
            cause = RefusalCause::Insufficient;
        }
        let refusal = search.refusal().unwrap();
        assert_eq!((refusal.scope, refusal.cause), (named, cause));
    }
}

#[test]
fn where_the_store_is_away_nothing_else_is_tried() {
    let levels = [&OWN[..]];
    let mut search = HoldSearch::new(levels, &[WALLET], WORST, AfterQuota::Wallet);
    search.next(|_| Amount::ZERO).unwrap().unwrap();
    search.refused(Refusal {
        scope: OWN[1],
        needed: Amount::new(1),
        left: Amount::ZERO,
        cause: RefusalCause::Unavailable,
    });
    assert_eq!(search.next(|_| Amount::MAX).unwrap(), None);
    assert_eq!(search.refusal().unwrap().cause, RefusalCause::Unavailable);
}

#[test]
fn a_call_that_no_quota_counts_is_paid_by_the_wallet() {
    let worst = Worst {
        tokens: Amount::ZERO,
        money: Amount::new(50),
    };
    for after in [AfterQuota::Wallet, AfterQuota::Stop] {
        let mut search = HoldSearch::new([&ALL[..]], &[WALLET], worst, after);
        assert!(search.is_uncovered());
        let first = search.next(|_| Amount::MAX).unwrap().unwrap();
        assert_eq!(first.demands, [(WALLET, Amount::new(50))]);
        assert!(first.may_wait);
    }
}

#[test]
fn what_outgrows_its_hold_draws_more_of_its_quotas_before_the_wallet() {
    let more = Worst {
        tokens: Amount::new(150),
        money: Amount::new(75),
    };
    let whole = [(OWN[0], Amount::new(1)), (OWN[1], Amount::new(100))];
    let ways = extensions(&whole, &[WALLET], more, AfterQuota::Wallet).unwrap();
    let of_quotas = vec![(OWN[0], Amount::ZERO), (OWN[1], Amount::new(50))];
    assert_eq!(ways, [of_quotas.clone(), vec![(WALLET, Amount::new(25))]]);
    let ways = extensions(&whole, &[WALLET], more, AfterQuota::Stop).unwrap();
    assert_eq!(ways, [of_quotas]);
    let split = [(OWN[1], Amount::new(50)), (WALLET, Amount::new(25))];
    let ways = extensions(&split, &[WALLET], more, AfterQuota::Wallet).unwrap();
    assert_eq!(ways, [vec![(WALLET, Amount::new(25))]]);
    let none = extensions(&whole, &[WALLET], WORST, AfterQuota::Wallet).unwrap();
    assert_eq!(none, Vec::<Demands>::new());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a call within its worst case comes to: what the wallet holds beside the quotas
    /// is enough.
    #[test]
    fn the_wallet_holds_what_quotas_do_not_give(
        (most_tokens, tokens) in (0..500_u64).prop_flat_map(|m| (Just(m), 0..=m)),
        (most_money, millis) in (0..500_u64).prop_flat_map(|m| (Just(m), 0..=m.saturating_mul(1000))),
        given_tokens in proptest::option::of(1..600_u64),
        given_money in proptest::option::of(1..600_u64),
    ) {
        let worst = Worst { tokens: Amount::new(most_tokens), money: Amount::new(most_money) };
        let of = |n: Option<u64>, most: Amount| n.map(|n| Amount::new(n).min(most));
        let room = Room {
            calls: None,
            tokens: of(given_tokens, worst.tokens),
            money: of(given_money, worst.money),
        };
        // A search never holds a level of which the call counts nothing.
        let counts = room.tokens.is_some_and(|_| most_tokens > 0)
            || room.money.is_some_and(|_| most_money > 0);
        prop_assume!(room.is_nothing() || counts);
        let exact = Exact::new(i128::from(millis).saturating_mul(1_000_000_000_000_000));
        let cost = Cost {
            tokens: Amount::new(tokens),
            exact,
            price: Amount::of(exact.settle().unwrap()),
        };
        let split = if room.is_nothing() {
            Split::uncovered(cost.price)
        } else {
            Split::of(&room, &cost).unwrap()
        };
        let held = worst.left_to_wallet(&room).unwrap();
        let has_tokens = tokens > 0 || room.tokens.is_none() || room.money.is_some();
        if has_tokens {
            prop_assert!(split.due <= held, "{split:?} {held}");
        }
    }
}
