//! Rules of the directory.

use std::sync::Arc;

use billing_core::budget::{Amount, BudgetScope, LimitWindow};
use billing_core::id::{AccountId, KeyId, UserId};
use billing_core::port::directory::{AccountTerms, ChangeSubject, DirectoryError, KeyLimit, Role};
use billing_core::wallet::AccountStatus;
use time::Duration;
use tokio::task::JoinSet;

use crate::World;
use crate::world::{NOON, account, api_key, hash, user};

/// Every rule of the directory, as tests: `testkit::directory_contract!(name, opener)`.
#[macro_export]
macro_rules! directory_contract {
    ($name:ident, $open:expr) => {
        $crate::rules!($name, $open, directory:
            a_key_reads_back_and_is_found_by_its_hash
            a_key_is_of_a_member_or_of_nobody
            a_revoked_key_is_found_and_says_so
            keys_and_accounts_are_paged_in_order
            a_key_of_nobody_is_refused
            a_stopped_account_stops_its_callers
            a_credit_limit_below_what_is_owed_is_refused
            of_changes_that_start_from_the_same_terms_one_wins
            an_email_is_taken_once
            a_member_has_one_role_and_sees_the_account
            a_session_ends
            changes_are_noted_in_order
        );
    };
}

/// With everything that was said of it.
pub async fn a_key_reads_back_and_is_found_by_its_hash(world: World) {
    let directory = &world.ports.directory;
    let mut key = api_key(KeyId::new(world.number()), world.account);
    key.limit = Some(KeyLimit {
        amount: Amount::new(5_000),
        window: LimitWindow::Monthly,
    });
    key.models = vec!["gpt-*".to_owned(), "sim/\"echo\"".to_owned()];
    key.cap_output = true;
    key.expires_at = Some(NOON + Duration::days(1));
    directory.create_key(key.clone(), hash(1)).await.unwrap();
    let caller = directory.caller(hash(1)).await.unwrap().unwrap();
    assert_eq!(caller.key, key);
    assert_eq!(caller.status, AccountStatus::Active);
    assert!(directory.caller(hash(2)).await.unwrap().is_none());
}

/// For good; and of nobody who is no member of the account.
pub async fn a_key_is_of_a_member_or_of_nobody(world: World) {
    let directory = &world.ports.directory;
    let ada = user(UserId::new(world.number()), "ada@example.com");
    directory.create_user(ada.clone(), "hash").await.unwrap();
    let make = async |member| {
        let number = world.number();
        let mut key = api_key(KeyId::new(number), world.account);
        key.member = member;
        let made = directory.create_key(key.clone(), hash(number)).await;
        made.map(|()| key)
    };
    let refused = make(Some(ada.id)).await;
    assert!(matches!(refused, Err(DirectoryError::NotFound)));
    let elsewhere = world.new_account(0).await;
    let added = directory.add_member(elsewhere, ada.id, Role::Owner).await;
    added.unwrap();
    let refused = make(Some(ada.id)).await;
    assert!(matches!(refused, Err(DirectoryError::NotFound)));
    let added = directory.add_member(world.account, ada.id, Role::Member);
    added.await.unwrap();
    let made = [make(Some(ada.id)).await.unwrap(), make(None).await.unwrap()];
    let keys = directory.keys(world.account, Some(world.key), 9).await;
    assert_eq!(keys.unwrap(), made);
}

/// For good: the first instant stands.
pub async fn a_revoked_key_is_found_and_says_so(world: World) {
    let directory = &world.ports.directory;
    let key = api_key(KeyId::new(world.number()), world.account);
    directory.create_key(key.clone(), hash(1)).await.unwrap();
    let later = NOON + Duration::hours(1);
    let revoked = directory
        .revoke_key(world.account, key.id, NOON)
        .await
        .unwrap();
    let again = directory
        .revoke_key(world.account, key.id, later)
        .await
        .unwrap();
    assert_eq!((revoked.revoked_at, &again), (Some(NOON), &revoked));
    let caller = directory.caller(hash(1)).await.unwrap().unwrap();
    assert!(!caller.is_valid_at(NOON));
    let foreign = directory
        .revoke_key(AccountId::new(9_999), key.id, NOON)
        .await;
    assert!(matches!(foreign, Err(DirectoryError::NotFound)));
}

/// By id, after the last seen.
pub async fn keys_and_accounts_are_paged_in_order(world: World) {
    let directory = &world.ports.directory;
    let second = world.new_key(world.account, Some(7)).await;
    let first = directory.keys(world.account, None, 1).await.unwrap();
    assert_eq!(first[0].id, world.key);
    let rest = directory
        .keys(world.account, Some(world.key), 10)
        .await
        .unwrap();
    assert_eq!(rest.iter().map(|k| k.id).collect::<Vec<_>>(), [second]);
    let other = world.new_account(55).await;
    let all = directory.accounts(None, None, 10).await.unwrap();
    assert_eq!(
        all.iter().map(|a| a.id).collect::<Vec<_>>(),
        [world.account, other]
    );
    let rest = directory
        .accounts(None, Some(world.account), 10)
        .await
        .unwrap();
    assert_eq!(rest, [account(other, 55)]);
    assert_eq!(
        directory.account(other).await.unwrap(),
        Some(account(other, 55))
    );
    assert_eq!(
        directory.account(AccountId::new(9_999)).await.unwrap(),
        None
    );
}

/// Somebody must pay.
pub async fn a_key_of_nobody_is_refused(world: World) {
    let key = api_key(KeyId::new(world.number()), AccountId::new(9_999));
    let refused = world.ports.directory.create_key(key, hash(1)).await;
    assert!(
        matches!(refused, Err(DirectoryError::NotFound)),
        "{refused:?}"
    );
}

/// In the same instant as the account itself.
pub async fn a_stopped_account_stops_its_callers(world: World) {
    let directory = &world.ports.directory;
    let key = api_key(KeyId::new(world.number()), world.account);
    directory.create_key(key, hash(1)).await.unwrap();
    let (id, limit) = (world.account, Amount::new(70));
    let updated = world.set_terms(AccountStatus::Suspended, limit).await;
    let updated = updated.unwrap();
    assert_eq!(
        (updated.status, updated.credit_limit),
        (AccountStatus::Suspended, limit)
    );
    let caller = directory.caller(hash(1)).await.unwrap().unwrap();
    assert_eq!(caller.status, AccountStatus::Suspended);
    let wallet = world.books().wallet(id).await.unwrap();
    assert_eq!(
        (wallet.status, wallet.credit_limit),
        (AccountStatus::Suspended, limit)
    );
    let nobody = AccountId::new(9_999);
    let terms = updated.terms();
    let refused = directory.update_account(nobody, terms, terms, NOON).await;
    assert!(matches!(refused, Err(DirectoryError::NotFound)));
}

/// What is on lease is recalled for it, and kept for it when it comes back.
pub async fn a_credit_limit_below_what_is_owed_is_refused(mut world: World) {
    world.account = world.new_account(100).await;
    world.lease_and_settle(90, 50).await;
    let to = |limit| world.set_terms(AccountStatus::Active, Amount::new(limit));
    for low in [0, u64::MAX] {
        let refused = to(low).await;
        assert!(
            matches!(refused, Err(DirectoryError::Conflict(_))),
            "{refused:?}"
        );
    }
    let refused = to(60).await;
    assert!(
        matches!(refused, Err(DirectoryError::OnLease)),
        "{refused:?}"
    );
    let recalls = world.books().recalls(world.node).await.unwrap();
    let wanted: Vec<u64> = recalls.iter().map(|r| r.wanted.get()).collect();
    assert_eq!(wanted, [30]);
    world.give_back(BudgetScope::Wallet, 30).await;
    let kept = world.lease(BudgetScope::Wallet, 15).await.unwrap();
    assert_eq!(kept.granted.get(), 10);
    world.give_back(BudgetScope::Wallet, 10).await;
    assert_eq!(to(60).await.unwrap().credit_limit, Amount::new(60));
    assert_eq!(to(100).await.unwrap().credit_limit, Amount::new(100));
    world.lease(BudgetScope::Wallet, 30).await.unwrap();
    assert_eq!(to(90).await.unwrap().credit_limit, Amount::new(90));
    assert!(
        world
            .lease(BudgetScope::Wallet, 1)
            .await
            .unwrap()
            .granted
            .is_zero()
    );
}

/// The others are told that the account has changed.
pub async fn of_changes_that_start_from_the_same_terms_one_wins(world: World) {
    let directory = &world.ports.directory;
    let before = directory.account(world.account).await.unwrap().unwrap();
    let mut tasks = JoinSet::new();
    for limit in 1..=8 {
        let (directory, id, expected) = (Arc::clone(directory), world.account, before.terms());
        let terms = AccountTerms {
            credit_limit: Amount::new(limit),
            ..expected
        };
        tasks.spawn(async move { directory.update_account(id, expected, terms, NOON).await });
    }
    let (won, lost): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
    let is_stale = |r: &Result<_, _>| matches!(r, Err(DirectoryError::Stale));
    assert!(won.len() == 1 && lost.iter().all(is_stale), "{lost:?}");
    let now = directory.account(world.account).await.unwrap();
    assert_eq!(won.into_iter().flatten().next(), now);
    let status = AccountStatus::Suspended;
    let stale = AccountTerms {
        status,
        ..now.unwrap().terms()
    };
    let refused = directory.update_account(world.account, stale, stale, NOON);
    assert!(is_stale(&refused.await));
}

/// A second user under it is refused.
pub async fn an_email_is_taken_once(world: World) {
    let directory = &world.ports.directory;
    let ada = user(UserId::new(world.number()), "ada@example.org");
    directory
        .create_user(ada.clone(), "$argon2id$…")
        .await
        .unwrap();
    let other = user(UserId::new(world.number()), "ada@example.org");
    let refused = directory.create_user(other, "x").await;
    assert!(
        matches!(refused, Err(DirectoryError::Conflict(_))),
        "{refused:?}"
    );
    let found = directory.user_by_email("ada@example.org").await.unwrap();
    assert_eq!(found, Some((ada, "$argon2id$…".to_owned())));
    assert_eq!(directory.user_by_email("nobody").await.unwrap(), None);
}

/// And sees no other account.
pub async fn a_member_has_one_role_and_sees_the_account(world: World) {
    let directory = &world.ports.directory;
    let ada = user(UserId::new(world.number()), "ada@example.org");
    let id = ada.id;
    directory.create_user(ada, "x").await.unwrap();
    world.new_account(0).await;
    assert_eq!(directory.role(world.account, id).await.unwrap(), None);
    for role in [Role::Member, Role::Owner] {
        directory.add_member(world.account, id, role).await.unwrap();
        assert_eq!(directory.role(world.account, id).await.unwrap(), Some(role));
    }
    let theirs = directory.accounts(Some(id), None, 10).await.unwrap();
    assert_eq!(
        theirs.iter().map(|a| a.id).collect::<Vec<_>>(),
        [world.account]
    );
    let nobody = UserId::new(9_999);
    let refused = directory
        .add_member(world.account, nobody, Role::Owner)
        .await;
    assert!(
        matches!(refused, Err(DirectoryError::NotFound)),
        "{refused:?}"
    );
}

/// By itself, or when it is closed.
pub async fn a_session_ends(world: World) {
    let directory = &world.ports.directory;
    let ada = user(UserId::new(world.number()), "ada@example.org");
    directory.create_user(ada.clone(), "x").await.unwrap();
    let end = NOON + Duration::hours(1);
    directory
        .open_session(hash(5), ada.id, NOON, end)
        .await
        .unwrap();
    directory
        .open_session(hash(6), ada.id, NOON, end)
        .await
        .unwrap();
    assert_eq!(
        directory.session(hash(5), NOON).await.unwrap().as_ref(),
        Some(&ada)
    );
    assert_eq!(directory.session(hash(5), end).await.unwrap(), None);
    assert_eq!(directory.session(hash(7), NOON).await.unwrap(), None);
    directory.close_session(hash(5)).await.unwrap();
    directory.close_session(hash(5)).await.unwrap();
    assert_eq!(directory.session(hash(5), NOON).await.unwrap(), None);
    assert_eq!(directory.session(hash(6), NOON).await.unwrap(), Some(ada));
}

/// Keys, accounts, credit and prices: all that nodes have in memory.
pub async fn changes_are_noted_in_order(world: World) {
    let directory = &world.ports.directory;
    let start = directory.newest_change().await.unwrap();
    let key = world.new_key(world.account, None).await;
    directory
        .revoke_key(world.account, key, NOON)
        .await
        .unwrap();
    directory
        .revoke_key(world.account, key, NOON)
        .await
        .unwrap();
    world.top_up(10).await;
    let edition = billing_core::port::catalogue::PriceEdition::default();
    world.ports.catalogue.record(edition, NOON).await.unwrap();
    let changes = directory.changes(start, 10).await.unwrap();
    let subjects: Vec<_> = changes.iter().map(|c| c.subject).collect();
    let ours = ChangeSubject::Account(world.account);
    assert_eq!(subjects, [ours, ours, ours, ChangeSubject::Prices]);
    assert!(changes.is_sorted_by(|a, b| a.position < b.position));
    let newest = directory.newest_change().await.unwrap();
    assert_eq!(changes.last().unwrap().position, newest);
    let rest = directory.changes(changes[0].position, 1).await.unwrap();
    assert_eq!(rest, changes[1..2]);
}
