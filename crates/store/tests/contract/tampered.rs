//! The proof of the books must be able to fail: each way of tampering is found, and named.

use std::sync::Arc;

use billing_core::adjustment::{Adjustment, CallPart};
use billing_core::budget::{Amount, BudgetScope, BudgetUnit};
use billing_core::id::{AccountId, CallId, LotId};
use billing_core::money::{Currency, Nanos};
use billing_core::port::books::AccountProof;
use billing_core::port::clock::Clock;
use billing_core::port::proofs::Depth;
use billing_core::quota::QuotaWindow;
use billing_core::wallet::LotKind;
use sea_orm::{ConnectionTrait, Database};
use store::{Store, StoreConfig};
use testkit::contract::plans::{quota, subscribe, terms};
use testkit::{Ports, World};

/// Whether what was settled is in its account's lists when it is tampered with.
#[derive(Debug, Clone, Copy)]
enum Lists {
    Empty,
    Filled,
}

/// Books in which everything that is proved has happened, made once and copied for each way.
struct Sample {
    folder: tempfile::TempDir,
    clock: testkit::ManualClock,
    account: AccountId,
}

impl Sample {
    async fn new(lists: Lists) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = testkit::ManualClock::at(testkit::world::NOON);
        let store = crate::open::store(&crate::open::sqlite_url(&folder), &clock).await;
        let lister = store.clone();
        let ports = crate::open::ports(&[store], clock.clone(), ());
        let mut world = World::new(ports).await;
        world.top_up(1000).await;
        world.key = world.new_key(world.account, Some(500)).await;
        let scope = BudgetScope::KeyLimit {
            key: world.key,
            window_start: 0,
        };
        world.lease(scope, 100).await.unwrap();
        world.lease(BudgetScope::Wallet, 100).await.unwrap();
        let mut call = world.call(60, 40);
        call.held.push((scope, Amount::new(60)));
        let id = call.call;
        world.settle(call).await;
        correct(&world, id).await;
        split(&world).await;
        if matches!(lists, Lists::Filled) {
            lister.list_settled(100).await.unwrap();
        }
        world.assert_sound().await;
        // All of it is final for the next proof.
        clock.advance(time::Duration::hours(2));
        prove(&world.ports, world.account, Depth::SinceLast).await;
        let account = world.account;
        drop(world);
        lister.close().await;
        Self {
            folder,
            clock,
            account,
        }
    }

    /// What is found in a copy of which rows were changed behind the store: by a whole proof, by one
    /// of a small account, by one since the last.
    async fn tamper(&self, change: &str) -> [Vec<String>; 3] {
        let folder = tempfile::tempdir().unwrap();
        let books = folder.path().join("books");
        std::fs::create_dir(&books).unwrap();
        for file in std::fs::read_dir(self.folder.path().join("books")).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), books.join(file.file_name())).unwrap();
        }
        let url = crate::open::sqlite_url(&folder);
        let back_door = Database::connect(&url).await.unwrap();
        let pragmas = "PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF;";
        let text = format!("{pragmas} {change}");
        back_door.execute_unprepared(&text).await.unwrap();
        let mut config = StoreConfig::new(&url, Arc::new(self.clock.clone()));
        config.connections = 4;
        let store = Store::open(config).await.unwrap();
        let ports = crate::open::ports(&[store], self.clock.clone(), folder);
        let all = ports.books[0].verify(None, 10).await.unwrap();
        let small = prove(&ports, self.account, Depth::FullUpTo(1000)).await;
        let since = prove(&ports, self.account, Depth::SinceLast).await;
        [all, small, since].map(|proofs| proofs.into_iter().flat_map(|p| p.broken).collect())
    }
}

/// Gives back a part of what a call was charged.
async fn correct(world: &World, call: CallId) {
    let amount = Nanos::new(-5);
    let adjustment = Adjustment {
        key: "correct".to_owned(),
        amount,
        currency: Currency::USD,
        lot: LotId::new(world.number()),
        kind: LotKind::Paid,
        calls: vec![CallPart {
            call,
            amount,
            after: 0,
            window: None,
        }],
        note: "a wrong price".to_owned(),
        takes_what_is_there: true,
    };
    let now = world.ports.clock.now();
    let adjusted = world.books().adjust(world.account, adjustment, now);
    adjusted.await.unwrap();
}

/// A call that a quota of tokens covers a part of.
async fn split(world: &World) {
    let quota = quota("*", BudgetUnit::Tokens, 50, QuotaWindow::Subscription);
    let subscribed = subscribe(world, world.account, terms(vec![quota])).await;
    let scope = subscribed.all_open(world.now())[0].scope;
    world.lease(scope, 20).await.unwrap();
    world.lease(BudgetScope::Wallet, 20).await.unwrap();
    let mut call = world.call(20, 40);
    call.held.push((scope, Amount::new(20)));
    call.promised = Some(Amount::new(20));
    call.terms.plan = Some(subscribed.version);
    world.settle(call).await;
}

async fn prove(ports: &Ports, account: AccountId, depth: Depth) -> Vec<AccountProof> {
    let now = ports.clock.now();
    ports.proofs.prove(&[account], depth, now).await.unwrap()
}

/// What is changed, and a word that must stand in the findings.
const WAYS: &[(&str, &str)] = &[
    (
        "UPDATE call SET covered = covered + 1 WHERE covered > 0",
        "covered by its plan",
    ),
    (
        "UPDATE call SET covered = NULL WHERE covered > 0",
        "covered by its plan",
    ),
    (
        "UPDATE call SET uses = REPLACE(uses, ',20]', ',19]') WHERE covered > 0",
        "rated again",
    ),
    (
        "UPDATE quota_usage SET used = used + 1 WHERE kind = 3",
        "used by calls",
    ),
    ("UPDATE plan_quota SET amount = 19", "its limit is 19"),
    ("DELETE FROM plan_quota", "has no plan"),
    ("UPDATE wallet SET posted = posted + 1", "wallet balance"),
    ("UPDATE wallet SET leased = leased - 1", "wallet on lease"),
    ("UPDATE wallet SET leased = 5000", "overspent"),
    ("UPDATE lot SET remaining = remaining + 1", "in the journal"),
    ("UPDATE lot SET granted = granted + 1", "as it was granted"),
    ("UPDATE lot SET id = id + 1", "does not exist"),
    ("UPDATE ledger_entry SET code = 'nonsense'", "\"nonsense\""),
    (
        "UPDATE ledger_txn SET code = 'nonsense' WHERE code IS NOT NULL",
        "\"nonsense\"",
    ),
    (
        "UPDATE wallet SET currency = 'nonsense'",
        "wallet cannot be read",
    ),
    ("UPDATE lot SET remaining = 2000", "holds 2000 of 1000"),
    ("DELETE FROM lot", "does not exist"),
    (
        "UPDATE adjustment SET amount = amount - 1",
        "corrects calls by what it books",
    ),
    (
        "UPDATE adjustment SET ledger_txn_id = ledger_txn_id + 1",
        "corrects calls by what it books",
    ),
    (
        "UPDATE ledger_entry SET amount = amount + 1 WHERE code = 'payment_clearing'",
        "sums to zero",
    ),
    (
        "DELETE FROM ledger_entry WHERE code = 'wallet_paid'",
        "sums to zero",
    ),
    (
        "UPDATE ledger_txn SET amount = amount + 1",
        "does not book what its calls are due",
    ),
    (
        "UPDATE ledger_txn SET lot_id = lot_id + 1",
        "does not exist",
    ),
    ("UPDATE ledger_txn SET amount = NULL", "no head or no legs"),
    (
        "DELETE FROM ledger_txn WHERE kind = 'settlement'",
        "does not book what its calls are due",
    ),
    (
        "DELETE FROM ledger_txn WHERE kind = 'top_up'",
        "no head or no legs",
    ),
    ("DELETE FROM ledger_entry", "no head or no legs"),
    ("UPDATE call SET charge = charge - 1", "rated again"),
    (
        "UPDATE call SET charge = charge - 1",
        "does not book what its calls are due",
    ),
    ("UPDATE call SET usage = '{\"output\":39}'", "rated again"),
    ("UPDATE call SET draws = NULL", "paid by lots"),
    (
        "UPDATE call SET ledger_txn_id = NULL",
        "names no ledger transaction",
    ),
    ("UPDATE call SET uses = NULL", "used by calls"),
    (
        "UPDATE call SET usage_source = NULL",
        "is void and has a charge",
    ),
    ("UPDATE call SET price_version_id = 1", "not on record"),
    ("DELETE FROM call", "does not book what its calls are due"),
    ("UPDATE rate SET price = '0.000000003'", "rated again"),
    ("UPDATE usage_rollup SET charge = charge + 1", "roll-up"),
    ("UPDATE usage_rollup SET calls = calls + 1", "roll-up"),
    ("DELETE FROM usage_rollup", "is missing"),
    (
        "UPDATE plan_rollup SET drawn = drawn + 1 WHERE quota_id > 0",
        "and quo_",
    ),
    (
        "UPDATE plan_rollup SET covered = covered - 1 WHERE quota_id = -1",
        "with any quota",
    ),
    ("DELETE FROM plan_rollup", "is missing"),
    ("UPDATE call SET plan_version_id = NULL", "roll-up"),
    ("UPDATE quota_usage SET used = 0", "used by calls"),
    ("UPDATE quota_usage SET leased = 0", "on lease"),
    ("DELETE FROM quota_usage", "without a row"),
    ("DELETE FROM lease", "on lease"),
    (
        "UPDATE api_key SET limit_amount = 99 WHERE limit_amount = 500",
        "its limit is 99",
    ),
    ("DELETE FROM api_key WHERE limit_amount = 500", "has no key"),
    (
        "INSERT INTO ledger_entry SELECT account_id, -7, leg, 'revenue_usage', amount, lot_id \
         FROM ledger_entry WHERE code = 'payment_clearing'",
        "no head or no legs",
    ),
    (
        "INSERT INTO ledger_entry SELECT account_id, 9223372036854775807, leg, 'revenue_usage', \
         amount, lot_id FROM ledger_entry WHERE code = 'payment_clearing'",
        "no head or no legs",
    ),
];

/// What can be lost before it is listed.
const UNLISTED: &[(&str, &str)] = &[
    ("DELETE FROM call_unlisted", "does not book what they drew"),
    (
        "UPDATE txn_listed SET upto = 9223372036854775807",
        "does not book what its calls are due",
    ),
];

/// And after it.
const LISTED: &[(&str, &str)] = &[
    ("DELETE FROM account_call", "does not book what they drew"),
    (
        "DELETE FROM account_txn",
        "does not book what its calls are due",
    ),
    (
        "DELETE FROM account_txn WHERE txn_id = (SELECT MIN(txn_id) FROM account_txn)",
        "no head or no legs",
    ),
];

/// The tables that hold no history: every proof reads them whole.
const KEPT: &[&str] = &["wallet", "lot", "quota_usage", "lease", "api_key"];

#[test]
fn verify_finds_every_way_of_tampering() {
    testkit::contract::run(async {
        for (ways, lists) in [
            (WAYS, Lists::Empty),
            (WAYS, Lists::Filled),
            (UNLISTED, Lists::Empty),
            (LISTED, Lists::Filled),
        ] {
            let sample = Sample::new(lists).await;
            for (change, word) in ways {
                let [all, small, since] = sample.tamper(change).await;
                for broken in [all, small] {
                    let is_named = broken.iter().any(|b| b.contains(word));
                    assert!(
                        is_named,
                        "{change}, lists {lists:?}: no \"{word}\" in {broken:#?}"
                    );
                }
                let table = change.split([' ', ',']).find(|word| KEPT.contains(word));
                assert!(table.is_none() || !since.is_empty(), "{change} is not seen");
            }
        }
    });
}
