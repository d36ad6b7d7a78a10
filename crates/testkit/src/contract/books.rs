//! Rules of the books.

mod adjustments;
mod circumstances;
mod lapse;
mod leases;
mod quotas;
mod tiers;

use std::sync::Arc;

use billing_core::budget::{Amount, BudgetScope};
use billing_core::call::{Basis, Settlement};
use billing_core::id::{AccountId, CallId};
use billing_core::lease::{LeaseGrant, LeaseReturn};
use billing_core::money::{Currency, MoneyError, Nanos};
use billing_core::port::books::BooksError;
use billing_core::port::reports::UsageGroup;
use billing_core::wallet::{AccountStatus, LotKind};
use time::Duration;
use tokio::task::JoinSet;

use crate::World;
use crate::world::credit;

pub use adjustments::*;
pub use circumstances::*;
pub use lapse::*;
pub use leases::*;
pub use quotas::*;
pub use tiers::*;

/// Every rule of the books, as tests: `testkit::books_contract!(name, opener)`.
#[macro_export]
macro_rules! books_contract {
    ($name:ident, $open:expr) => {
        $crate::rules!($name, $open, books:
            a_settlement_frees_what_was_not_used
            a_repeated_settlement_charges_once
            settlements_of_one_call_that_race_charge_once
            a_call_id_that_comes_again_for_another_call_is_refused
            a_void_call_costs_nothing
            a_charge_beyond_hold_and_funds_is_the_houses
            an_absurd_usage_is_charged_at_its_hold
            absurd_usages_do_not_stop_the_calls_after_them
            given_credit_is_drawn_before_bought
            credit_lapses_once_when_its_time_is_over
            what_a_call_holds_does_not_lapse
            bought_credit_that_lapses_is_income
            another_end_under_the_same_key_is_refused
            a_call_on_credit_is_owed
            settlements_of_many_accounts_share_a_batch
            an_unknown_account_harms_nobody_else
            a_lease_takes_what_is_needed_and_leaves_half_of_the_rest
            who_wants_everything_gets_everything
            a_repeated_ask_grants_once
            a_repeated_return_frees_once
            what_another_node_lacks_is_recalled
            the_oldest_claim_goes_first
            leases_that_race_never_pass_the_balance
            spending_that_races_never_passes_the_balance
            more_than_the_lease_holds_gives_back_the_lease
            a_suspended_account_gets_no_lease
            a_suspended_account_is_told_again_what_it_was_granted
            a_lease_of_a_dead_node_returns_less_what_it_settled
            a_fenced_node_has_no_lease_but_its_settlements_post
            a_key_limit_is_never_passed
            a_budget_that_does_not_exist_is_refused
            credit_is_recorded_once_for_its_key
            credits_that_race_under_one_key_are_recorded_once
            another_amount_under_the_same_key_is_refused
            credit_that_does_not_fit_is_refused
            verify_goes_through_accounts_in_order
            a_call_that_crosses_a_threshold_is_split_at_it
            what_was_used_of_tiers_can_be_looked_up
            calls_that_race_over_thresholds_cost_the_closed_form
            volume_pricing_charges_the_list_until_the_window_is_over
            a_window_by_volume_is_closed_once_and_again_for_late_calls
            a_window_that_others_closed_meanwhile_is_left_to_them
            a_window_is_closed_with_what_its_calls_were_corrected_by
            what_the_house_bore_is_not_given_back_when_a_window_is_closed
            what_the_house_bore_is_not_charged_when_a_window_is_closed
            what_closing_could_not_collect_is_collected_when_there_are_funds
            what_closing_a_window_could_not_collect_is_still_due
            a_window_in_which_nothing_was_used_is_closed_when_it_is_noted
            a_void_or_disbelieved_call_counts_nothing
            what_a_call_costs_the_house_is_on_record
            what_a_plan_takes_off_is_on_record
            what_a_call_was_rated_by_is_on_record_and_rates_it_again
            what_is_given_back_can_be_spent_and_names_its_calls
            a_later_charge_takes_what_is_free_and_no_more
            an_adjustment_is_made_once_for_its_key
            a_later_charge_recalls_what_is_on_lease
            a_quota_gives_what_the_plan_says
            what_is_left_of_a_quota_rolls_over_once
            nothing_rolls_over_that_was_not_given
            a_quota_is_of_those_who_are_subscribed
            a_call_limit_counts_what_was_delivered
            a_call_is_split_between_its_quota_and_the_wallet
            a_call_counts_in_the_window_it_was_authorized_in
            calls_that_race_on_quotas_never_pass_them
            a_disbelieved_call_takes_its_hold_of_each_quota
            a_void_call_takes_nothing_of_a_quota
        );
    };
}

pub(crate) const WALLET: BudgetScope = BudgetScope::Wallet;
const TOTAL: UsageGroup = UsageGroup::Total;

/// What a call held and did not need stays on the node's lease, until that is given back.
pub async fn a_settlement_frees_what_was_not_used(world: World) {
    world.top_up(1000).await;
    let settled = world.lease_and_settle(500, 100).await;
    assert_eq!(settled.call.charge, Nanos::new(100));
    assert_eq!(settled.call.balance_after, Nanos::new(900));
    assert_eq!(world.balance().await, (900, 400));
    let back = back(&world, 400);
    world.books().give_back(back).await.unwrap();
    assert_eq!(world.balance().await, (900, 0));
    world.assert_sound().await;
}

fn back(world: &World, amount: u64) -> LeaseReturn {
    LeaseReturn {
        node: world.node,
        account: world.account,
        scope: WALLET,
        seq: world.seq(),
        amount: Amount::new(amount),
    }
}

/// The same call again answers the same and changes nothing.
pub async fn a_repeated_settlement_charges_once(world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, 500).await.unwrap();
    let call = world.call(500, 100);
    let first = world.settle(call.clone()).await;
    let again = world.settle(call).await;
    assert!(!first.replayed && again.replayed);
    assert_eq!(first.call, again.call);
    assert_eq!(world.balance().await, (900, 400));
    world.assert_sound().await;
}

/// Also when repetitions arrive together, at any handle.
pub async fn settlements_of_one_call_that_race_charge_once(world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, 500).await.unwrap();
    let call = world.call(500, 100);
    let all = settle_at_once(&world, vec![call; 24]).await;
    let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
    assert_eq!(all.iter().filter(|s| !s.replayed).count(), 1);
    assert!(all.iter().all(|s| s.call == all[0].call));
    assert_eq!(world.balance().await, (900, 400));
    world.assert_sound().await;
}

/// Whether it differs in key or start, on record already or in the same batch. Another account has
/// calls of its own.
pub async fn a_call_id_that_comes_again_for_another_call_is_refused(world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, 500).await.unwrap();
    let first = world.call(100, 40);
    let settled = world.settle(first.clone()).await;
    let mut others = vec![first.clone(), first.clone()];
    others[0].key = world.new_key(world.account, None).await;
    others[1].facts.started_at += Duration::seconds(1);
    for other in others.clone() {
        let refused = world.books().settle(Arc::new(other)).await;
        let is_named = matches!(&refused, Err(BooksError::Inconsistent(_)));
        assert!(is_named, "{refused:?}");
    }
    let mut mixed = others;
    mixed.insert(1, first);
    let all = settle_at_once(&world, mixed).await;
    let (told, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    assert_eq!((told.len(), refused.len()), (1, 2));
    assert!(told.iter().flatten().all(|s| s.call == settled.call));
    let one = world.call(50, 10);
    let mut two = one.clone();
    two.facts.started_at += Duration::seconds(1);
    let all = settle_at_once(&world, vec![one, two]).await;
    assert_eq!(all.iter().filter(|a| a.is_ok()).count(), 1, "{all:?}");
    assert_eq!(world.balance().await, (950, 450));
    world.assert_sound().await;
}

async fn settle_at_once(
    world: &World,
    calls: Vec<Settlement>,
) -> Vec<Result<billing_core::port::books::Settled, BooksError>> {
    let mut tasks = JoinSet::new();
    let handles = world.ports.books.iter().cycle();
    for (call, books) in calls.into_iter().zip(handles) {
        let books = Arc::clone(books);
        tasks.spawn(async move { books.settle(Arc::new(call)).await });
    }
    tasks.join_all().await
}

/// Nothing delivered, nothing charged; the call is on record.
pub async fn a_void_call_costs_nothing(world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, 500).await.unwrap();
    let mut call = world.call(500, 100);
    call.basis = Basis::Void;
    let settled = world.settle(call.clone()).await;
    assert!(settled.call.charge.is_zero() && settled.call.overrun.is_zero());
    assert!(world.settle(call).await.replayed);
    assert_eq!(world.balance().await, (1000, 500));
    world.assert_sound().await;
}

/// The balance is never passed, whatever the usage says; the rest is the house's.
pub async fn a_charge_beyond_hold_and_funds_is_the_houses(world: World) {
    world.top_up(1000).await;
    let settled = world.lease_and_settle(600, 5000).await;
    assert_eq!(settled.call.charge, Nanos::new(1000));
    assert_eq!(settled.call.overrun, Nanos::new(4000));
    assert_eq!(world.balance().await, (0, 0));
    world.assert_sound().await;
}

/// A usage beyond the model's bounds is not believed.
pub async fn an_absurd_usage_is_charged_at_its_hold(world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, 300).await.unwrap();
    let mut call = world.call(300, 800);
    call.bounds.answer_tokens = 10;
    let settled = world.settle(call).await;
    assert!(settled.call.quarantined);
    assert_eq!(settled.call.charge, Nanos::new(300));
    world.assert_sound().await;
}

/// One after the other, in the same quarter of an hour: what is not believed counts no tokens.
pub async fn absurd_usages_do_not_stop_the_calls_after_them(world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, 300).await.unwrap();
    for _ in 0..3 {
        let settled = world.settle(world.call(10, u64::MAX)).await;
        assert!(settled.call.quarantined);
    }
    world.settle(world.call(10, 7)).await;
    let (from, to) = (world.now(), world.now() + Duration::hours(1));
    let usage = world.ports.reports.usage(world.account, from, to, TOTAL);
    let line = usage.await.unwrap().remove(0);
    assert_eq!((line.calls, line.answer_tokens), (4, 7));
    assert_eq!(line.charge, Nanos::new(37));
    world.assert_sound().await;
}

/// Lots are drawn in their order, and the draw is on record.
pub async fn given_credit_is_drawn_before_bought(world: World) {
    world.top_up(100).await;
    let mut promo = credit(77, 50, "welcome");
    promo.kind = LotKind::Promo;
    let now = world.now();
    let added = world.books().add_credit(world.account, promo, now).await;
    assert_eq!(added.unwrap().balance, Nanos::new(150));
    let settled = world.lease_and_settle(120, 80).await;
    let drawn: Vec<_> = settled
        .call
        .draws
        .iter()
        .map(|d| (d.kind, d.amount.get()))
        .collect();
    assert_eq!(drawn, [(LotKind::Promo, 50), (LotKind::Paid, 30)]);
    world.assert_sound().await;
}

/// Beyond the lots, as far as the credit limit goes.
pub async fn a_call_on_credit_is_owed(mut world: World) {
    world.account = world.new_account(500).await;
    world.key = world.new_key(world.account, None).await;
    world.top_up(100).await;
    let settled = world.lease_and_settle(600, 450).await;
    assert_eq!(settled.call.on_credit, Nanos::new(350));
    assert_eq!(settled.call.balance_after, Nanos::new(-350));
    world.assert_sound().await;
    world.top_up(1000).await;
    assert_eq!(world.balance().await, (650, 150));
    world.assert_sound().await;
}

/// Each account is charged for its own calls, however they are mixed.
pub async fn settlements_of_many_accounts_share_a_batch(mut world: World) {
    let mut calls = Vec::new();
    let mut accounts = Vec::new();
    for i in 0..20 {
        world.account = world.new_account(0).await;
        world.key = world.new_key(world.account, None).await;
        world.top_up(1000).await;
        world.lease(WALLET, 150).await.unwrap();
        calls.extend((0..5).map(|_| world.call(30, 10 + i)));
        accounts.push((world.account, 1000 - 5 * (10 + i64::try_from(i).unwrap())));
    }
    let all = settle_at_once(&world, calls).await;
    assert!(all.iter().all(Result::is_ok));
    for (account, posted) in accounts {
        let wallet = world.books().wallet(account).await.unwrap();
        assert_eq!(wallet.posted, Nanos::new(posted));
        assert_eq!(wallet.leased.get(), u64::try_from(posted - 850).unwrap());
    }
    world.assert_sound().await;
}

/// A settlement that cannot be booked fails alone.
pub async fn an_unknown_account_harms_nobody_else(world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, 1000).await.unwrap();
    let mut calls: Vec<_> = (0..16).map(|_| world.call(10, 10)).collect();
    calls[7].account = AccountId::new(4_000_000);
    let all = settle_at_once(&world, calls).await;
    let refused = |r: &&Result<_, _>| matches!(r, Err(BooksError::NoSuchBudget));
    assert_eq!(all.iter().filter(refused).count(), 1);
    assert_eq!(all.iter().filter(|r| r.is_ok()).count(), 15);
    assert_eq!(world.balance().await, (850, 850));
    world.assert_sound().await;
}

/// A node that did not hear what it was granted before the account was stopped hears it when it asks
/// again: else nobody would ever give that back.
pub async fn a_suspended_account_is_told_again_what_it_was_granted(world: World) {
    world.top_up(1000).await;
    let ask = world.ask(WALLET, 300, 300);
    let heard = |grant: LeaseGrant| grant.granted.get();
    assert_eq!(heard(world.books().lease(ask).await.unwrap()), 300);
    world
        .set_terms(AccountStatus::Suspended, Amount::ZERO)
        .await
        .unwrap();
    assert_eq!(heard(world.books().lease(ask).await.unwrap()), 300);
    let next = world.ask(WALLET, 300, 300);
    assert_eq!(heard(world.books().lease(next).await.unwrap()), 0);
    assert_eq!(world.balance().await, (1000, 300));
    world.assert_sound().await;
}

/// An operator's stop holds for what was not leased yet.
pub async fn a_suspended_account_gets_no_lease(world: World) {
    world.top_up(1000).await;
    let none = Amount::ZERO;
    world
        .set_terms(AccountStatus::Suspended, none)
        .await
        .unwrap();
    let refused = world.lease(WALLET, 1).await.unwrap();
    assert_eq!((refused.granted, refused.available), (none, none));
    let wallet = world.books().wallet(world.account).await.unwrap();
    assert_eq!(wallet.status, AccountStatus::Suspended);
}

/// What a dead node had settled stays spent; what it had left is free again.
pub async fn a_lease_of_a_dead_node_returns_less_what_it_settled(world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, 600).await.unwrap();
    world.settle(world.call(100, 80)).await;
    assert_eq!(world.balance().await, (920, 520));
    world.join("node").await;
    assert_eq!(world.balance().await, (920, 0));
    world.assert_sound().await;
}

/// A call that a dead node served is charged all the same, from what is free.
pub async fn a_fenced_node_has_no_lease_but_its_settlements_post(world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, 600).await.unwrap();
    world.join("node").await;
    let settled = world.settle(world.call(100, 80)).await;
    assert_eq!(settled.call.charge, Nanos::new(80));
    assert_eq!(world.balance().await, (920, 0));
    world.assert_sound().await;
}

/// Neither by leases that race nor by a usage beyond its hold.
pub async fn a_key_limit_is_never_passed(mut world: World) {
    world.top_up(1000).await;
    world.key = world.new_key(world.account, Some(100)).await;
    let scope = BudgetScope::KeyLimit {
        key: world.key,
        window_start: 0,
    };
    let mut tasks = JoinSet::new();
    let own = world.node;
    world.lease(scope, 90).await.unwrap();
    for (i, books) in (0..8).zip(world.ports.books.iter().cycle()) {
        world.node = world.join(&format!("node {i}")).await;
        let (books, ask) = (Arc::clone(books), world.ask(scope, 30, 30));
        tasks.spawn(async move { books.lease(ask).await.unwrap().granted.get() });
    }
    assert_eq!(tasks.join_all().await.into_iter().sum::<u64>(), 10);
    world.node = own;
    world.lease(WALLET, 500).await.unwrap();
    let mut call = world.call(500, 300);
    call.held.push((scope, Amount::new(60)));
    let settled = world.settle(call).await;
    assert_eq!(settled.call.charge, Nanos::new(60));
    assert_eq!(settled.call.overrun, Nanos::new(240));
    let mut call = world.call(500, 300);
    call.held.push((scope, Amount::new(30)));
    assert_eq!(world.settle(call).await.call.charge, Nanos::new(30));
    let nothing = world.lease(scope, 1).await.unwrap();
    assert!(nothing.granted.is_zero() && nothing.available.is_zero());
    world.assert_sound().await;
}

/// By every method that names an account.
pub async fn a_budget_that_does_not_exist_is_refused(mut world: World) {
    let foreign_key = BudgetScope::KeyLimit {
        key: world.key,
        window_start: 0,
    };
    world.account = world.new_account(100).await;
    let refused = |e| matches!(e, BooksError::NoSuchBudget);
    assert!(refused(world.lease(foreign_key, 1).await.unwrap_err()));
    world.account = AccountId::new(4_000_000);
    assert!(refused(world.lease(WALLET, 1).await.unwrap_err()));
    let books = world.books();
    assert!(refused(books.wallet(world.account).await.unwrap_err()));
    let call = world.call(1, 1);
    assert!(refused(books.settle(Arc::new(call)).await.unwrap_err()));
    let credit = credit(1, 1, "k");
    let added = books.add_credit(world.account, credit, world.now()).await;
    assert!(refused(added.unwrap_err()));
}

/// And answers the same again, also after the balance has moved on.
pub async fn credit_is_recorded_once_for_its_key(world: World) {
    let now = world.now();
    let add = |lot| {
        world
            .books()
            .add_credit(world.account, credit(lot, 500, "pi_1"), now)
    };
    let first = add(1).await.unwrap();
    world.top_up(100).await;
    let again = add(2).await.unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!((first.txn, first.balance), (again.txn, again.balance));
    assert_eq!(world.balance().await, (600, 0));
    world.assert_sound().await;
}

/// P3, for payments.
pub async fn credits_that_race_under_one_key_are_recorded_once(world: World) {
    let mut tasks = JoinSet::new();
    for (lot, books) in (1..=12).zip(world.ports.books.iter().cycle()) {
        let (books, account, now) = (Arc::clone(books), world.account, world.now());
        tasks.spawn(async move {
            let credit = credit(lot, 500, "pi_1");
            books.add_credit(account, credit, now).await.unwrap()
        });
    }
    let all = tasks.join_all().await;
    assert_eq!(all.iter().filter(|c| !c.replayed).count(), 1);
    assert_eq!(world.balance().await, (500, 0));
    world.assert_sound().await;
}

/// A key stands for one content.
pub async fn another_amount_under_the_same_key_is_refused(world: World) {
    let add = |credit| world.books().add_credit(world.account, credit, world.now());
    add(credit(1, 500, "pi_1")).await.unwrap();
    let mut promo = credit(1, 500, "pi_1");
    promo.kind = LotKind::Promo;
    for other in [credit(2, 501, "pi_1"), promo] {
        let refused = add(other).await;
        assert!(matches!(refused, Err(BooksError::KeyReused)), "{refused:?}");
    }
    assert_eq!(world.balance().await, (500, 0));
    world.assert_sound().await;
}

/// Nothing, less than nothing, too much, or other money.
pub async fn credit_that_does_not_fit_is_refused(world: World) {
    world.top_up(1).await;
    let mut yuan = credit(9, 1, "yuan");
    yuan.currency = Currency::CNY;
    let rest = [0, -5, i64::MAX].map(|nanos| credit(9, nanos, "rest"));
    for wrong in std::iter::once(yuan).chain(rest) {
        let refused = world.books().add_credit(world.account, wrong, world.now());
        let error = refused.await.unwrap_err();
        let is_money = matches!(
            error,
            BooksError::Money(MoneyError::CurrencyMismatch(..) | MoneyError::OutOfRange)
        );
        assert!(is_money, "{error:?}");
    }
    assert_eq!(world.balance().await, (1, 0));
    world.assert_sound().await;
}

/// A page at a time, nobody twice.
pub async fn verify_goes_through_accounts_in_order(world: World) {
    let second = world.new_account(0).await;
    world.top_up(100).await;
    world.lease_and_settle(50, 20).await;
    let first = world.books().verify(None, 1).await.unwrap();
    assert_eq!(first[0].account, world.account);
    assert_eq!((first[0].calls, first[0].transactions), (1, 2));
    let rest = world.books().verify(Some(world.account), 10).await.unwrap();
    assert_eq!(rest.iter().map(|p| p.account).collect::<Vec<_>>(), [second]);
}

/// A call of this number.
pub fn numbered(world: &World, id: i64, due: u64) -> Settlement {
    let mut call = world.call(due, due);
    call.call = CallId::new(id);
    call
}
