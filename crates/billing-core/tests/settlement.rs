//! Settlement, read like a ledger: what an account had, what calls did, what it has then.
#![expect(clippy::unwrap_used, reason = "a test may fall over")]

use std::collections::BTreeMap;
use std::sync::Arc;

use billing_core::budget::{Amount, BudgetScope, BudgetUnit};
use billing_core::call::{Basis, CallFacts, Settlement, UsageBounds, UsageSource};
use billing_core::id::{
    AccountId, CallId, KeyId, LedgerTxnId, LotId, NodeId, PriceVersionId, QuotaId,
};
use billing_core::ledger::{LedgerCode, LedgerTxn};
use billing_core::meter::{Meter, Usage};
use billing_core::money::{Currency, Nanos};
use billing_core::price::{Attributes, ModelName, PriceVersion, Rate, ServiceTier, UnitPrice};
use billing_core::settlement::{
    AccountState, Booking, BudgetUse, Changes, SettleError, promised, settle,
};
use billing_core::terms::Terms;
use billing_core::wallet::{AccountStatus, Lot, LotKind, Wallet};
use proptest::prelude::*;
use time::OffsetDateTime;

const ACCOUNT: AccountId = AccountId::new(1);
const NODE: NodeId = NodeId::new(1);
const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
const WALLET: BudgetScope = BudgetScope::Wallet;
const LIMIT: BudgetScope = BudgetScope::KeyLimit {
    key: KeyId::new(1),
    window_start: 0,
};

/// The books of an account with these lots, this credit limit, and leases of the one node.
fn books(lots: &[(LotKind, u64)], credit: u64, leases: &[(BudgetScope, u64)]) -> AccountState {
    let lot = |(n, (kind, amount)): (i64, &(LotKind, u64))| Lot {
        id: LotId::new(n),
        kind: *kind,
        priority: 0,
        effective_at: NOW,
        expires_at: None,
        created_at: NOW,
        granted: Amount::new(*amount),
        remaining: Amount::new(*amount),
    };
    let funds: u64 = lots.iter().map(|(_, amount)| amount).sum();
    let leased = leases
        .iter()
        .find(|(s, _)| *s == WALLET)
        .map_or(0, |(_, a)| *a);
    AccountState {
        account: ACCOUNT,
        wallet: Wallet {
            currency: Currency::USD,
            posted: Amount::new(funds).money(),
            leased: Amount::new(leased),
            credit_limit: Amount::new(credit),
            status: AccountStatus::Active,
        },
        lots: (1..).zip(lots).map(lot).collect(),
        uses: BTreeMap::new(),
        leases: leases
            .iter()
            .map(|(s, a)| ((NODE, *s), Amount::new(*a)))
            .collect(),
    }
}

/// The same books with a limit on the budget of which `used` is used.
fn limited(mut books: AccountState, scope: BudgetScope, limit: u64, used: u64) -> AccountState {
    let leased = books
        .leases
        .get(&(NODE, scope))
        .copied()
        .unwrap_or_default();
    let (limit, used) = (Some(Amount::new(limit)), Amount::new(used));
    books.uses.insert(
        scope,
        BudgetUse {
            limit,
            used,
            leased,
        },
    );
    books
}

/// A call that holds so much and used so many tokens, each a nano; `None` for nothing delivered.
fn call(id: i64, held: &[(BudgetScope, u64)], tokens: Option<u64>) -> Settlement {
    let price = price(Meter::Input, "0.000000001".parse().unwrap());
    Settlement {
        call: CallId::new(id),
        account: ACCOUNT,
        key: KeyId::new(1),
        node: NODE,
        model: price.model().clone(),
        terms: Terms::listed(Arc::new(price)),
        tier: ServiceTier::Standard,
        attributes: Attributes::NONE,
        basis: tokens.map_or(Basis::Void, |tokens| Basis::Delivered {
            usage: Usage::NONE.with(Meter::Input, tokens),
            source: UsageSource::Provider,
        }),
        bounds: UsageBounds {
            prompt_tokens: 1_000,
            answer_tokens: 1_000,
        },
        held: held.iter().map(|(s, a)| (*s, Amount::new(*a))).collect(),
        promised: None,
        facts: CallFacts {
            endpoint: "chat.completions".to_owned(),
            outcome: "completed".to_owned(),
            streamed: false,
            status: 200,
            upstream_id: None,
            finish_reason: None,
            started_at: NOW,
            first_byte_ms: None,
            latency_ms: 1,
            attempts: Vec::new(),
            idempotency_key: None,
        },
    }
}

fn price(meter: Meter, price: UnitPrice) -> PriceVersion {
    let rate = Rate {
        meter,
        tier: ServiceTier::Standard,
        above: None,
        price,
    };
    let (id, model) = (PriceVersionId::new(1), ModelName::new("m"));
    PriceVersion::new(id, model, Currency::USD, NOW, vec![rate]).unwrap()
}

fn booked(books: AccountState, batch: &[Settlement]) -> Changes {
    let txn = LedgerTxnId::new(1);
    settle(books, batch, Booking { txn, now: NOW }).unwrap()
}

/// A transaction's legs as text, in order of their codes.
fn legs(txn: Option<&LedgerTxn>) -> String {
    let entries = txn.map(LedgerTxn::entries).unwrap_or_default();
    let legs = entries
        .iter()
        .map(|e| format!("{} {}", e.code.name(), e.amount.get()));
    legs.collect::<Vec<_>>().join(", ")
}

/// One row: what was there, what the call did, what is left.
struct Row {
    case: &'static str,
    books: AccountState,
    call: Settlement,
    charge: i64,
    overrun: i64,
    balance: i64,
    /// What the wallet still has on lease.
    leased: u64,
    legs: &'static str,
}

#[test]
fn one_call() {
    use LotKind::{Paid, Promo};
    let paid = |amount, credit, lease| books(&[(Paid, amount)], credit, &[(WALLET, lease)]);
    let hold = |held, tokens| call(1, &[(WALLET, held)], tokens);
    #[rustfmt::skip]
    let rows = [
        Row { case: "below the hold: the lease keeps the rest", books: paid(100, 0, 60), call: hold(50, Some(30)),
              charge: 30, overrun: 0, balance: 70, leased: 30, legs: "wallet_paid 30, revenue_usage -30" },
        Row { case: "exactly the hold", books: paid(100, 0, 50), call: hold(50, Some(50)),
              charge: 50, overrun: 0, balance: 50, leased: 0, legs: "wallet_paid 50, revenue_usage -50" },
        Row { case: "above the hold, funds are free", books: paid(100, 0, 50), call: hold(50, Some(80)),
              charge: 80, overrun: 0, balance: 20, leased: 0, legs: "wallet_paid 80, revenue_usage -80" },
        Row { case: "above the hold, nothing is free: the house bears it", books: paid(50, 0, 50), call: hold(50, Some(80)),
              charge: 50, overrun: 30, balance: 0, leased: 0, legs: "wallet_paid 50, revenue_usage -80, overrun 30" },
        Row { case: "above the hold, the rest is on lease to others", books: paid(100, 0, 100), call: hold(50, Some(80)),
              charge: 50, overrun: 30, balance: 50, leased: 50, legs: "wallet_paid 50, revenue_usage -80, overrun 30" },
        Row { case: "nothing delivered", books: paid(100, 0, 50), call: hold(50, None),
              charge: 0, overrun: 0, balance: 100, leased: 50, legs: "" },
        Row { case: "nothing used", books: paid(100, 0, 50), call: hold(50, Some(0)),
              charge: 0, overrun: 0, balance: 100, leased: 50, legs: "" },
        Row { case: "fenced: no lease is left, funds are free", books: paid(100, 0, 0), call: hold(50, Some(30)),
              charge: 30, overrun: 0, balance: 70, leased: 0, legs: "wallet_paid 30, revenue_usage -30" },
        Row { case: "fenced: no lease is left, funds are gone", books: paid(10, 0, 0), call: hold(50, Some(30)),
              charge: 10, overrun: 20, balance: 0, leased: 0, legs: "wallet_paid 10, revenue_usage -30, overrun 20" },
        Row { case: "given credit goes before bought", books: books(&[(Paid, 40), (Promo, 20)], 0, &[(WALLET, 60)]),
              call: hold(50, Some(30)), charge: 30, overrun: 0, balance: 30, leased: 30,
              legs: "wallet_paid 10, wallet_promo 20, revenue_usage -30" },
        Row { case: "beyond the balance on credit", books: paid(20, 100, 120), call: hold(50, Some(50)),
              charge: 50, overrun: 0, balance: -30, leased: 70, legs: "wallet_paid 20, unbilled 30, revenue_usage -50" },
        Row { case: "credit ends at its limit", books: paid(20, 10, 30), call: hold(30, Some(50)),
              charge: 30, overrun: 20, balance: -10, leased: 0,
              legs: "wallet_paid 20, unbilled 10, revenue_usage -50, overrun 20" },
        Row { case: "no hold at all: what is free pays", books: paid(100, 0, 0), call: call(1, &[], Some(30)),
              charge: 30, overrun: 0, balance: 70, leased: 0, legs: "wallet_paid 30, revenue_usage -30" },
    ];
    for row in rows {
        let Row { case, .. } = row;
        let changes = booked(row.books, &[row.call]);
        let settled = &changes.calls[0];
        let wallet = changes.state.wallet;
        assert_eq!(settled.charge.get(), row.charge, "{case}");
        assert_eq!(settled.overrun.get(), row.overrun, "{case}");
        assert_eq!(wallet.posted.get(), row.balance, "{case}");
        assert_eq!(settled.balance_after, wallet.posted, "{case}");
        assert_eq!(wallet.leased.get(), row.leased, "{case}");
        assert_eq!(legs(changes.txn.as_ref()), row.legs, "{case}");
    }
}

#[test]
fn a_report_that_is_not_believed_costs_the_hold() {
    let state = || books(&[(LotKind::Paid, 5_000)], 0, &[(WALLET, 50)]);
    let absurd = call(1, &[(WALLET, 50)], Some(1_001));
    let mut unpriced = call(2, &[(WALLET, 50)], Some(1));
    unpriced.terms.price = Arc::new(price(Meter::Output, "1".parse().unwrap()));
    for settlement in [absurd, unpriced] {
        let changes = booked(state(), &[settlement]);
        let settled = &changes.calls[0];
        assert!(settled.quarantined);
        assert_eq!((settled.charge.get(), settled.overrun.get()), (50, 0));
    }
    let believed = booked(state(), &[call(3, &[(WALLET, 50)], Some(1_000))]);
    assert!(!believed.calls[0].quarantined);
    assert_eq!(believed.calls[0].charge.get(), 1_000);
}

#[test]
fn a_free_model_draws_nothing_and_books_nothing() {
    let mut free = call(1, &[], Some(900));
    free.terms.price = Arc::new(price(Meter::Input, UnitPrice::FREE));
    let before = books(&[(LotKind::Paid, 7)], 0, &[]);
    let changes = booked(before.clone(), &[free]);
    assert_eq!(changes.txn, None);
    assert_eq!(changes.calls[0].charge, Nanos::ZERO);
    assert_eq!(changes.state.wallet, before.wallet);
}

#[test]
fn a_key_limit_caps_the_charge_and_is_never_passed() {
    let held = [(WALLET, 20), (LIMIT, 20)];
    let leases = [(WALLET, 20), (LIMIT, 20)];
    let state = limited(books(&[(LotKind::Paid, 500)], 0, &leases), LIMIT, 100, 70);
    let changes = booked(state, &[call(1, &held, Some(90))]);
    let used = changes.state.uses[&LIMIT];
    assert_eq!(
        (
            changes.calls[0].charge.get(),
            changes.calls[0].overrun.get()
        ),
        (30, 60)
    );
    assert_eq!((used.used.get(), used.leased.get()), (100, 0));
    assert_eq!(changes.state.wallet.posted.get(), 470);
}

#[test]
fn a_quota_of_calls_or_tokens_is_never_passed() {
    for (unit, tokens, used) in [
        (BudgetUnit::Calls, 30, 91),
        (BudgetUnit::Tokens, 5, 95),
        (BudgetUnit::Tokens, 30, 100),
    ] {
        let quota = BudgetScope::Quota {
            quota: QuotaId::new(1),
            unit,
            window_start: 0,
        };
        let state = limited(
            books(&[(LotKind::Paid, 500)], 0, &[(quota, 5)]),
            quota,
            100,
            90,
        );
        let changes = booked(state, &[call(1, &[(quota, 5)], Some(tokens))]);
        assert_eq!(changes.state.uses[&quota].used.get(), used, "{unit:?}");
    }
}

#[test]
fn a_call_twice_in_a_batch_is_charged_once() {
    let state = books(&[(LotKind::Paid, 100)], 0, &[(WALLET, 50)]);
    let one = call(1, &[(WALLET, 20)], Some(20));
    let changes = booked(
        state,
        &[one.clone(), call(2, &[(WALLET, 20)], Some(5)), one],
    );
    assert_eq!(changes.state.wallet.posted.get(), 75);
    assert_eq!(changes.calls.len(), 3);
    assert_eq!(changes.calls[0], changes.calls[2]);
}

#[test]
fn a_budget_that_a_hold_names_twice_is_drawn_once() {
    let leases = [(WALLET, 20), (LIMIT, 20)];
    let state = limited(books(&[(LotKind::Paid, 100)], 0, &leases), LIMIT, 100, 0);
    let held = [(WALLET, 10), (LIMIT, 10), (LIMIT, 5), (WALLET, 5)];
    let changes = booked(state, &[call(1, &held, Some(12))]);
    assert_eq!(changes.state.uses[&LIMIT].used.get(), 12);
    assert_eq!(changes.state.wallet.leased.get(), 8);
}

#[test]
fn a_call_of_another_account_is_refused_with_the_whole_batch() {
    let mut foreign = call(2, &[], Some(1));
    foreign.account = AccountId::new(9);
    let batch = [call(1, &[], Some(1)), foreign];
    let txn = LedgerTxnId::new(1);
    let refused = settle(books(&[], 0, &[]), &batch, Booking { txn, now: NOW });
    assert_eq!(refused, Err(SettleError::ForeignCall(CallId::new(2))));
}

/// Calls on the wallet, half of them under the key limit too.
fn batches() -> impl Strategy<Value = Vec<Settlement>> {
    let one = (
        0..60_u64,
        any::<bool>(),
        prop::option::weighted(0.9, 0..1_200_u64),
    );
    prop::collection::vec(one, 1..12).prop_map(|calls| {
        let settlement = |(n, (held, on_limit, tokens)): (i64, (u64, bool, Option<u64>))| {
            let both = [(WALLET, held), (LIMIT, held)];
            call(n, if on_limit { &both } else { &both[..1] }, tokens)
        };
        (1..).zip(calls).map(settlement).collect()
    })
}

/// Books whose leases cover all holds of the batch, or only some.
fn funded(batch: &[Settlement], paid: u64, promo: u64, credit: u64, fenced: bool) -> AccountState {
    let sum = |scope| -> u64 {
        let parts = batch
            .iter()
            .flat_map(|s| &s.held)
            .filter(|(s, _)| *s == scope);
        parts.map(|(_, a)| a.get()).sum()
    };
    let (wallet, limit) = if fenced {
        (0, 0)
    } else {
        (sum(WALLET), sum(LIMIT))
    };
    let lots = [(LotKind::Paid, paid + wallet), (LotKind::Promo, promo)];
    let state = books(&lots, credit, &[(WALLET, wallet), (LIMIT, limit)]);
    limited(state, LIMIT, limit + 150, 0)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(11),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_batch_split_in_two_ends_the_same(
        batch in batches(), (paid, promo, credit) in (0..900_u64, 0..300_u64, 0..300_u64),
        fenced: bool, at in 0..12_usize,
    ) {
        let state = funded(&batch, paid, promo, credit, fenced);
        let whole = booked(state.clone(), &batch);
        let (one, two) = batch.split_at(at.min(batch.len()));
        let first = booked(state, one);
        let second = booked(first.state, two);
        prop_assert_eq!(&second.state, &whole.state);
        let calls: Vec<_> = first.calls.into_iter().chain(second.calls).collect();
        prop_assert_eq!(&calls, &whole.calls);
        let sum = |code| {
            let txns = [&first.txn, &second.txn].into_iter().flatten();
            let parts = txns.flat_map(LedgerTxn::entries).filter(|e| e.code == code);
            Nanos::total(parts.map(|e| e.amount))
        };
        for code in LedgerCode::ALL {
            let entries = whole.txn.iter().flat_map(LedgerTxn::entries);
            let all = Nanos::total(entries.filter(|e| e.code == *code).map(|e| e.amount));
            prop_assert_eq!(sum(*code), all);
        }
    }

    #[test]
    fn the_order_of_a_batch_does_not_change_its_total(
        (batch, shuffled) in batches().prop_flat_map(|b| (Just(b.clone()), Just(b).prop_shuffle())),
        (paid, promo, credit) in (0..900_u64, 0..300_u64, 0..300_u64), fenced: bool,
    ) {
        let state = funded(&batch, paid, promo, credit, fenced);
        let one = booked(state.clone(), &batch);
        let other = booked(state, &shuffled);
        prop_assert_eq!(one.state.wallet, other.state.wallet);
        prop_assert_eq!(legs(one.txn.as_ref()), legs(other.txn.as_ref()));
    }

    #[test]
    fn no_batch_passes_funds_credit_or_limit(
        batch in batches(), (paid, promo, credit) in (0..900_u64, 0..300_u64, 0..300_u64),
        fenced: bool,
    ) {
        let changes = booked(funded(&batch, paid, promo, credit, fenced), &batch);
        let Wallet { posted, leased, credit_limit, .. } = changes.state.wallet;
        let owed = i128::from(credit_limit.get()) - i128::from(leased.get());
        prop_assert!(i128::from(posted.get()) + owed >= 0);
        let limit = changes.state.uses[&LIMIT];
        prop_assert!(limit.used.plus(limit.leased) <= limit.limit.unwrap());
        let lots: u64 = changes.state.lots.iter().map(|l| l.remaining.get()).sum();
        let debts = Nanos::total(changes.calls.iter().map(|c| c.on_credit));
        prop_assert_eq!(i128::from(lots) - debts, i128::from(posted.get()));
    }
}

proptest! {
    /// Whatever else the account has: a call that was told what it costs pays that, when its lease
    /// is still there, and never more.
    #[test]
    fn what_was_promised_is_what_is_charged(
        held in 0_u64..1_500,
        key_held in proptest::option::of(0_u64..1_500),
        tokens in proptest::option::of(0_u64..1_500),
        others in 0_u64..2_000,
        lost in any::<bool>(),
    ) {
        let mut holds = vec![(WALLET, held)];
        holds.extend(key_held.map(|held| (LIMIT, held)));
        let mut settlement = call(1, &holds, tokens);
        let promise = promised(&settlement);
        settlement.promised = Some(Amount::of(promise.charge));
        prop_assert_eq!(promised(&settlement), promise);
        let leases = if lost { &[][..] } else { &holds[..] };
        let funds = if lost { others } else { held + others };
        let mut state = books(&[(LotKind::Paid, funds)], 0, leases);
        if let Some(key_held) = key_held {
            state = limited(state, LIMIT, key_held + others, 0);
        }
        let settled = booked(state, &[settlement]).calls.remove(0);
        if lost {
            prop_assert!(settled.charge <= promise.charge);
        } else {
            prop_assert_eq!(settled.charge, promise.charge);
            prop_assert_eq!(settled.overrun, promise.overrun);
        }
        prop_assert_eq!(settled.quarantined, promise.quarantined);
    }
}
