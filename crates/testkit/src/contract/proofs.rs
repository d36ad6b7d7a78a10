//! Rules of the proofs.

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::AccountId;
use billing_core::port::directory::{ChangeSubject, DirectoryError};
use billing_core::port::proofs::{Depth, ToProve};
use billing_core::wallet::AccountStatus;
use time::Duration;

use crate::World;
use crate::world::hash;

/// Every rule of the proofs, as tests: `testkit::proofs_contract!(name, opener)`.
#[macro_export]
macro_rules! proofs_contract {
    ($name:ident, $open:expr) => {
        $crate::rules!($name, $open, proofs:
            an_account_is_to_be_proved_when_its_money_has_moved
            accounts_to_prove_come_in_order
            a_parked_account_gets_no_lease_and_its_running_calls_settle
            a_parked_account_says_why_until_it_is_let_go
            a_parked_account_is_let_go_by_nothing_else
            a_suspended_account_that_was_parked_stays_suspended
            proofs_tell_how_they_stand
        );
    };
}

const WALLET: BudgetScope = BudgetScope::Wallet;

async fn to_prove(world: &World) -> ToProve {
    let proofs = &world.ports.proofs;
    let all = proofs.to_prove(None, 100).await.unwrap();
    let mut own = all.into_iter().filter(|a| a.account == world.account);
    own.next().unwrap()
}

async fn prove(world: &World, depth: Depth) {
    let proofs = &world.ports.proofs;
    let accounts = [world.account, AccountId::new(404)];
    let found = proofs.prove(&accounts, depth, world.now()).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].broken, Vec::<String>::new());
}

/// And not when a proof found it as it is.
pub async fn an_account_is_to_be_proved_when_its_money_has_moved(world: World) {
    let before = to_prove(&world).await;
    assert_eq!((before.proved_at, before.moved), (None, true));
    for depth in [Depth::SinceLast, Depth::Full, Depth::FullUpTo(3)] {
        world.top_up(1000).await;
        assert!(to_prove(&world).await.moved);
        prove(&world, depth).await;
        let after = to_prove(&world).await;
        assert_eq!((after.proved_at, after.moved), (Some(world.now()), false));
        world.lease(WALLET, 100).await.unwrap();
        assert!(to_prove(&world).await.moved, "leased");
        prove(&world, depth).await;
        world.settle(world.call(100, 40)).await;
        assert!(to_prove(&world).await.moved, "settled");
    }
}

/// Page by page.
pub async fn accounts_to_prove_come_in_order(world: World) {
    let second = world.new_account(0).await;
    let proofs = &world.ports.proofs;
    let first = proofs.to_prove(None, 1).await.unwrap();
    assert_eq!(first[0].account, world.account);
    let rest = proofs.to_prove(Some(world.account), 10).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].account, second);
}

async fn park(world: &World) -> bool {
    let proofs = &world.ports.proofs;
    let parked = proofs.park(world.account, &why(), world.now()).await;
    parked.unwrap()
}

fn why() -> Vec<String> {
    vec!["wallet balance: \"kept\" 1, derived 2".to_owned()]
}

/// Others go on.
pub async fn a_parked_account_gets_no_lease_and_its_running_calls_settle(world: World) {
    world.top_up(1000).await;
    world.lease(WALLET, 100).await.unwrap();
    let proofs = &world.ports.proofs;
    assert!(park(&world).await);
    let refused = world.lease(WALLET, 10).await.unwrap();
    assert_eq!(refused.granted, Amount::ZERO);
    let settled = world.settle(world.call(100, 40)).await;
    assert_eq!(settled.call.charge.get(), 40);
    world.assert_sound().await;
    assert!(proofs.unpark(world.account, world.now()).await.unwrap());
    let granted = world.lease(WALLET, 10).await.unwrap();
    assert_eq!(granted.granted, Amount::new(10));
}

/// The first findings stand. Nodes hear of both.
pub async fn a_parked_account_says_why_until_it_is_let_go(world: World) {
    let (proofs, directory) = (&world.ports.proofs, &world.ports.directory);
    let key = crate::world::api_key(billing_core::id::KeyId::new(world.number()), world.account);
    directory.create_key(key, hash(1)).await.unwrap();
    assert_eq!(proofs.parked(world.account).await.unwrap(), None);
    assert!(!proofs.unpark(world.account, world.now()).await.unwrap());
    let heard = directory.newest_change().await.unwrap();
    let noted = async || directory.changes(heard, 10).await.unwrap();
    let park = async |why: &[String]| proofs.park(world.account, why, world.now()).await;
    assert!(park(&why()).await.unwrap());
    assert!(!park(&[]).await.unwrap());
    let parked = proofs.parked(world.account).await.unwrap().unwrap();
    assert_eq!((parked.since, parked.why), (world.now(), why()));
    let account = directory.account(world.account).await.unwrap().unwrap();
    assert_eq!(account.status, AccountStatus::Parked);
    let caller = directory.caller(hash(1)).await.unwrap().unwrap();
    assert_eq!(caller.status, AccountStatus::Parked);
    let subject = ChangeSubject::Account(world.account);
    assert_eq!(noted().await.len(), 1);
    assert!(noted().await.iter().all(|change| change.subject == subject));
    prove(&world, Depth::SinceLast).await;
    assert!(proofs.unpark(world.account, world.now()).await.unwrap());
    assert_eq!(noted().await.len(), 2);
    assert_eq!(proofs.parked(world.account).await.unwrap(), None);
    let account = directory.account(world.account).await.unwrap().unwrap();
    assert_eq!(account.status, AccountStatus::Active);
    let begins_anew = to_prove(&world).await;
    assert_eq!((begins_anew.proved_at, begins_anew.moved), (None, true));
}

/// An operator's change of status would forget why.
pub async fn a_parked_account_is_let_go_by_nothing_else(world: World) {
    assert!(park(&world).await);
    for status in [AccountStatus::Active, AccountStatus::Suspended] {
        let refused = world.set_terms(status, Amount::ZERO).await.unwrap_err();
        let is_told = refused.to_string().contains("accounts unpark");
        assert!(is_told, "{refused}");
        assert!(matches!(refused, DirectoryError::Conflict(_)), "{refused}");
    }
    let kept = world.set_terms(AccountStatus::Parked, Amount::new(5)).await;
    assert_eq!(kept.unwrap().credit_limit, Amount::new(5));
}

/// Unparking is no pardon.
pub async fn a_suspended_account_that_was_parked_stays_suspended(world: World) {
    let terms = world.set_terms(AccountStatus::Suspended, Amount::ZERO);
    terms.await.unwrap();
    let proofs = &world.ports.proofs;
    assert!(park(&world).await);
    assert!(proofs.unpark(world.account, world.now()).await.unwrap());
    let account = world.ports.directory.account(world.account).await.unwrap();
    assert_eq!(account.unwrap().status, AccountStatus::Suspended);
}

/// With the latest parked account first.
pub async fn proofs_tell_how_they_stand(world: World) {
    let second = world.new_account(0).await;
    let proofs = &world.ports.proofs;
    let fresh = proofs.standing(10).await.unwrap();
    assert_eq!((fresh.accounts, fresh.proved), (2, 0));
    assert_eq!((fresh.oldest, fresh.newest), (None, None));
    prove(&world, Depth::SinceLast).await;
    let later = world.now() + Duration::seconds(5);
    let both = proofs.prove(&[second], Depth::Full, later).await.unwrap();
    assert_eq!(both.len(), 1);
    for (account, seconds) in [(world.account, 1), (second, 2)] {
        let at = world.now() + Duration::seconds(seconds);
        assert!(proofs.park(account, &why(), at).await.unwrap());
    }
    let standing = proofs.standing(1).await.unwrap();
    assert_eq!((standing.accounts, standing.proved), (2, 2));
    assert_eq!(standing.oldest, Some(world.now()));
    assert_eq!(standing.newest, Some(later));
    assert_eq!(standing.parked_accounts, 2);
    assert_eq!(standing.parked.len(), 1);
    assert_eq!(standing.parked[0].account, second);
}
