//! Rules of the books for what plans give.

use billing_core::budget::{Amount, BudgetRow, BudgetScope, BudgetUnit};
use billing_core::call::{Basis, Settlement, UsageSource};
use billing_core::id::AccountId;
use billing_core::meter::{Meter, Usage};
use billing_core::money::Nanos;
use billing_core::plan::Subscribed;
use billing_core::port::books::BooksError;
use billing_core::quota::{QuotaTerms, QuotaWindow};
use time::Duration;

use super::{WALLET, settle_at_once};
use crate::World;
use crate::contract::plans::{quota, subscribe, subscription, terms};

/// The account on a plan with these quotas.
async fn on_plan(world: &World, quotas: Vec<QuotaTerms>) -> Subscribed {
    subscribe(world, world.account, terms(quotas)).await
}

/// The budgets of the quotas that cover the model now.
fn open(world: &World, subscribed: &Subscribed) -> Vec<BudgetScope> {
    let open = subscribed.open("m", world.now());
    open.iter().flatten().map(|quota| quota.scope).collect()
}

fn held(call: Settlement, parts: &[(BudgetScope, u64)]) -> Settlement {
    let held = parts.iter().map(|(s, n)| (*s, Amount::new(*n))).collect();
    Settlement { held, ..call }
}

async fn used(world: &World, scope: BudgetScope) -> u64 {
    let used = world.ports.reports.used(world.account, &[scope]).await;
    used.unwrap()[0].get()
}

/// What is left of a window comes on top in the next, once, up to what rolls over; and what was on
/// lease then comes when it is given back.
pub async fn what_is_left_of_a_quota_rolls_over_once(world: World) {
    let mut daily = quota("m", BudgetUnit::Tokens, 100, QuotaWindow::Daily);
    daily.rollover = Amount::new(50);
    let subscribed = on_plan(&world, vec![daily]).await;
    let first = open(&world, &subscribed)[0];
    assert_eq!(world.lease(first, 1_000).await.unwrap().granted.get(), 100);
    world.settle(held(world.call(0, 30), &[(first, 30)])).await;
    world.give_back(first, 20).await;
    // Seventy are left, of which a node has fifty on lease.
    world.ports.clock.advance(Duration::days(1));
    let second = open(&world, &subscribed)[0];
    assert_ne!(first, second);
    let granted = world.lease(second, 1_000).await.unwrap();
    assert_eq!((granted.granted.get(), granted.elsewhere.get()), (120, 30));
    // Of what it has of the older window it is asked for what would come.
    let recalls = world.books().recalls(world.node).await.unwrap();
    let recalls: Vec<_> = recalls.iter().map(|r| (r.scope, r.wanted.get())).collect();
    assert_eq!(recalls, [(first, 30)]);
    world.give_back(first, 50).await;
    assert_eq!(world.lease(second, 1_000).await.unwrap().granted.get(), 30);
    assert_eq!(world.lease(first, 1_000).await.unwrap().granted.get(), 20);
    assert_eq!(world.lease(second, 1_000).await.unwrap().granted.get(), 0);
    let windows = [first, second];
    let counted = world.ports.reports.counted(world.account, &windows).await;
    let counted = counted.unwrap();
    assert_eq!((counted[0].used.get(), counted[0].went.get()), (30, 50));
    assert_eq!((counted[1].came.get(), counted[1].went.get()), (50, 0));
    world
        .settle(held(world.call(0, 150), &[(second, 150)]))
        .await;
    assert_eq!(used(&world, second).await, 150);
    world.give_back(first, 20).await;
    world.assert_sound().await;

    // What was never asked for is left whole; of what is older nothing comes, nor of what came.
    world.ports.clock.advance(Duration::days(5));
    let later = open(&world, &subscribed)[0];
    assert_eq!(world.lease(later, 1_000).await.unwrap().granted.get(), 150);
    world.give_back(later, 150).await;
    world.ports.clock.advance(Duration::days(1));
    let last = open(&world, &subscribed)[0];
    assert_eq!(world.lease(last, 1_000).await.unwrap().granted.get(), 150);
    world.give_back(last, 150).await;
    world.assert_sound().await;
}

/// Nothing rolls over from before the subscription, nor from another to the same version.
pub async fn nothing_rolls_over_that_was_not_given(world: World) {
    let mut daily = quota("m", BudgetUnit::Tokens, 100, QuotaWindow::Daily);
    daily.rollover = Amount::new(100);
    let subscribed = on_plan(&world, vec![daily]).await;
    let first = open(&world, &subscribed)[0];
    assert_eq!(world.lease(first, 1_000).await.unwrap().granted.get(), 100);
    world.give_back(first, 100).await;
    world.ports.clock.advance(Duration::days(3));
    let plans = &world.ports.plans;
    assert!(plans.end(world.account, world.now()).await.unwrap());
    let again = subscription(&world, world.account, subscribed.version);
    plans.subscribe(again).await.unwrap();
    let again = plans.subscribed(world.account).await.unwrap().unwrap();
    let scope = open(&world, &again)[0];
    assert_eq!(world.lease(scope, 1_000).await.unwrap().granted.get(), 100);
    world.give_back(scope, 100).await;
    world.ports.clock.advance(Duration::days(1));
    let next = open(&world, &again)[0];
    assert_eq!(world.lease(next, 1_000).await.unwrap().granted.get(), 200);
    world.give_back(next, 200).await;
    world.assert_sound().await;
}

/// No more is granted of a quota than the plan gives, times how many of it there are.
pub async fn a_quota_gives_what_the_plan_says(world: World) {
    let quotas = vec![quota("m", BudgetUnit::Tokens, 100, QuotaWindow::Daily)];
    let scope = open(&world, &on_plan(&world, quotas).await)[0];
    let first = world.lease(scope, 70).await.unwrap();
    assert_eq!((first.granted.get(), first.available.get()), (70, 30));
    let second = world.lease(scope, 50).await.unwrap();
    assert_eq!((second.granted.get(), second.available.get()), (30, 0));
    let settled = world.settle(held(world.call(0, 60), &[(scope, 70)])).await;
    assert_eq!(settled.call.charge, Nanos::ZERO);
    assert_eq!(settled.call.covered, Some(Nanos::new(60)));
    assert_eq!(settled.call.used_after, [(scope, Amount::new(60))]);
    world.give_back(scope, 40).await;
    assert_eq!(used(&world, scope).await, 60);
    let rest = world.lease(scope, 100).await.unwrap();
    assert_eq!(rest.granted.get(), 40);
    world.assert_sound().await;
}

/// A limit of calls counts each that delivered something, whatever pays it, and no other.
pub async fn a_call_limit_counts_what_was_delivered(world: World) {
    let mut limited = terms(vec![quota(
        "m",
        BudgetUnit::Tokens,
        100,
        QuotaWindow::Daily,
    )]);
    limited.call_limit = Some(3);
    let subscribed = subscribe(&world, world.account, limited).await;
    let limit = subscribed.call_limit(world.now()).unwrap();
    assert_eq!(limit.amount, Amount::new(3));
    let (calls, tokens) = (limit.scope, open(&world, &subscribed)[0]);
    world.top_up(1_000).await;
    world.lease(WALLET, 500).await.unwrap();
    world.lease(tokens, 100).await.unwrap();
    let granted = world.lease(calls, 10).await.unwrap();
    assert_eq!((granted.granted.get(), granted.available.get()), (3, 0));
    let by_quota = held(world.call(0, 60), &[(tokens, 60), (calls, 1)]);
    let settled = world.settle(by_quota).await;
    assert_eq!(settled.call.covered, Some(Nanos::new(60)));
    let by_wallet = held(world.call(0, 40), &[(WALLET, 40), (calls, 1)]);
    let settled = world.settle(by_wallet).await;
    assert_eq!(
        (settled.call.charge, settled.call.covered),
        (Nanos::new(40), None)
    );
    let mut void = held(world.call(0, 0), &[(WALLET, 40), (calls, 1)]);
    void.basis = Basis::Void;
    world.settle(void).await;
    assert_eq!(used(&world, calls).await, 2);
    world.give_back(calls, 1).await;
    assert_eq!(world.lease(calls, 5).await.unwrap().granted.get(), 1);
    world.assert_sound().await;
    // A plan without a limit has no such budget.
    let unlimited = subscribe(&world, world.new_account(0).await, terms(Vec::new())).await;
    assert_eq!(unlimited.call_limit(world.now()), None);
    let none = BudgetScope::CallLimit {
        version: unlimited.version,
        window_start: 0,
    };
    let refused = world.lease(none, 1).await;
    assert!(matches!(refused, Err(BooksError::NoSuchBudget)));
}

/// Without a live subscription to the version there is no such budget, and not under another unit.
pub async fn a_quota_is_of_those_who_are_subscribed(mut world: World) {
    let quotas = vec![quota("*", BudgetUnit::Calls, 5, QuotaWindow::Monthly)];
    let subscribed = on_plan(&world, quotas).await;
    let scope = open(&world, &subscribed)[0];
    let row = BudgetRow {
        unit: BudgetUnit::Tokens.code(),
        ..scope.row()
    };
    let other_unit = BudgetScope::of_row(row).unwrap();
    let refused = world.lease(other_unit, 1).await;
    assert!(matches!(refused, Err(BooksError::NoSuchBudget)));
    let account = world.account;
    world.account = world.new_account(0).await;
    let refused = world.lease(scope, 1).await;
    assert!(matches!(refused, Err(BooksError::NoSuchBudget)));
    world.account = account;
    assert_eq!(world.lease(scope, 1).await.unwrap().granted.get(), 1);
    let ended = world.ports.plans.end(account, world.now()).await;
    assert!(ended.unwrap());
    let refused = world.lease(scope, 1).await;
    assert!(matches!(refused, Err(BooksError::NoSuchBudget)));
    world.assert_sound().await;
}

/// One settlement takes a part of a call from a quota and the rest from the wallet; again it changes
/// nothing, and the record says who paid what.
pub async fn a_call_is_split_between_its_quota_and_the_wallet(mut world: World) {
    world.top_up(1000).await;
    world.key = world.new_key(world.account, Some(500)).await;
    let limit = BudgetScope::KeyLimit {
        key: world.key,
        window_start: 0,
    };
    let quotas = vec![
        quota("m", BudgetUnit::Calls, 3, QuotaWindow::Daily),
        quota("m", BudgetUnit::Tokens, 60, QuotaWindow::Daily),
    ];
    let subscribed = on_plan(&world, quotas).await;
    let [calls, tokens]: [_; 2] = open(&world, &subscribed).try_into().unwrap();
    let parts = [(calls, 1), (tokens, 60), (WALLET, 40), (limit, 40)];
    for (scope, amount) in parts {
        world.lease(scope, amount).await.unwrap();
    }
    let call = held(world.call(0, 90), &parts);
    let first = world.settle(call.clone()).await;
    assert_eq!(first.call.charge, Nanos::new(30));
    assert_eq!(first.call.covered, Some(Nanos::new(60)));
    let again = world.settle(call.clone()).await;
    assert!(again.replayed);
    assert_eq!(
        (again.call.charge, again.call.covered),
        (first.call.charge, first.call.covered)
    );
    assert_eq!(again.call.used, first.call.used);
    assert_eq!(world.balance().await, (970, 10));
    // The key is charged what the wallet is.
    for (scope, taken) in [(calls, 1), (tokens, 60), (limit, 30)] {
        assert_eq!(used(&world, scope).await, taken, "{scope:?}");
    }
    let detail = world.ports.reports.call(world.account, call.call).await;
    let detail = detail.unwrap().unwrap();
    assert_eq!(detail.covered, Some(Nanos::new(60)));
    assert_eq!(detail.used, first.call.used);
    let again = detail.split(billing_core::money::Exact::of(Nanos::new(90)).unwrap());
    assert_eq!(again.unwrap().due, Amount::new(30));
    world.assert_sound().await;
}

/// A call counts in the window in which it was authorized, also when that is over, and the
/// subscription too.
pub async fn a_call_counts_in_the_window_it_was_authorized_in(world: World) {
    let quotas = vec![quota("m", BudgetUnit::Tokens, 100, QuotaWindow::Daily)];
    let subscribed = on_plan(&world, quotas).await;
    let today = open(&world, &subscribed)[0];
    world.lease(today, 80).await.unwrap();
    let call = held(world.call(0, 80), &[(today, 80)]);
    world.ports.clock.advance(Duration::days(1));
    let tomorrow = open(&world, &subscribed)[0];
    assert_ne!(today, tomorrow);
    assert_eq!(world.lease(tomorrow, 100).await.unwrap().granted.get(), 100);
    world.give_back(tomorrow, 100).await;
    assert!(
        world
            .ports
            .plans
            .end(world.account, world.now())
            .await
            .unwrap()
    );
    let settled = world.settle(call).await;
    assert_eq!(settled.call.covered, Some(Nanos::new(80)));
    assert_eq!(
        (used(&world, today).await, used(&world, tomorrow).await),
        (80, 0)
    );
    // Nothing of it is left to a settlement that has no lease: the house bears what is beyond.
    let late = held(world.call(0, 80), &[(today, 80)]);
    let settled = world
        .settle(Settlement {
            promised: Some(Amount::ZERO),
            ..late
        })
        .await;
    assert_eq!(used(&world, today).await, 100);
    assert_eq!(settled.call.covered, Some(Nanos::new(20)));
    assert_eq!(settled.call.overrun, Nanos::new(60));
    world.assert_sound().await;
}

/// Whoever asks and settles when: no more is drawn than there is, and what is drawn is on record.
pub async fn calls_that_race_on_quotas_never_pass_them(mut world: World) {
    const CALLS: u64 = 40;
    let quotas = vec![
        quota("m", BudgetUnit::Calls, 30, QuotaWindow::Monthly),
        quota("m", BudgetUnit::Tokens, 200, QuotaWindow::Monthly),
    ];
    let subscribed = on_plan(&world, quotas).await;
    let [of_calls, of_tokens]: [_; 2] = open(&world, &subscribed).try_into().unwrap();
    let mut calls = Vec::new();
    for n in 0..4 {
        world.node = world.join(&format!("node {n}")).await;
        let mut leased = [0, 0];
        for (scope, leased) in [of_calls, of_tokens].into_iter().zip(&mut leased) {
            *leased = world.lease(scope, 60).await.unwrap().granted.get();
        }
        let count = CALLS / 4;
        for _ in 0..count {
            // They hold more, all together, than the node has on lease.
            let parts = [(of_calls, 1), (of_tokens, leased[1].div_ceil(count) + 5)];
            calls.push(held(world.call(0, 9), &parts));
        }
    }
    let ids: Vec<_> = calls.iter().map(|call| call.call).collect();
    let settled = settle_at_once(&world, calls).await;
    assert!(settled.iter().all(Result::is_ok));
    let mut drawn = [0, 0];
    for id in ids {
        let detail = world.ports.reports.call(world.account, id).await;
        let detail = detail.unwrap().unwrap();
        for (scope, taken) in &detail.used {
            let at = usize::from(*scope == of_tokens);
            drawn[at] += if scope.is_payer() { 0 } else { taken.get() };
        }
        let parts = [detail.covered.unwrap(), detail.charge, detail.overrun];
        assert_eq!(parts.iter().map(|n| n.get()).sum::<i64>(), 9);
    }
    let counted = [used(&world, of_calls).await, used(&world, of_tokens).await];
    assert_eq!(drawn, counted);
    assert!(counted[0] <= 30 && counted[1] <= 200, "{counted:?}");
    world.assert_sound().await;
}

/// What is not believed is charged at the hold, in each budget.
pub async fn a_disbelieved_call_takes_its_hold_of_each_quota(world: World) {
    world.top_up(100).await;
    let quotas = vec![quota("*", BudgetUnit::Tokens, 100, QuotaWindow::Hourly)];
    let scope = open(&world, &on_plan(&world, quotas).await)[0];
    world.lease(scope, 30).await.unwrap();
    world.lease(WALLET, 20).await.unwrap();
    let mut call = held(world.call(0, 0), &[(scope, 30), (WALLET, 20)]);
    call.basis = Basis::Delivered {
        usage: Usage::NONE.with(Meter::Output, u64::MAX),
        source: UsageSource::Provider,
    };
    let settled = world.settle(call).await;
    assert!(settled.call.quarantined);
    assert_eq!(settled.call.charge, Nanos::new(20));
    assert_eq!(used(&world, scope).await, 30);
    world.assert_sound().await;
}

/// A call of which nothing was delivered takes nothing.
pub async fn a_void_call_takes_nothing_of_a_quota(world: World) {
    let quotas = vec![quota("*", BudgetUnit::Calls, 2, QuotaWindow::Daily)];
    let scope = open(&world, &on_plan(&world, quotas).await)[0];
    world.lease(scope, 1).await.unwrap();
    let mut call = held(world.call(0, 5), &[(scope, 1)]);
    call.basis = Basis::Void;
    let settled = world.settle(call).await;
    assert_eq!(settled.call.covered, Some(Nanos::ZERO));
    assert_eq!(used(&world, scope).await, 0);
    let nobody = AccountId::new(77);
    let none = world.ports.plans.subscribed(nobody).await.unwrap();
    assert!(none.is_none());
    world.assert_sound().await;
}
