//! The spool's file: what outlives a process, and who may have it.

#[path = "spool/full_disk.rs"]
mod full_disk;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use billing_core::call::{Basis, CallFacts, Settlement, UsageBounds};
use billing_core::call_record::CallRecord;
use billing_core::id::{AccountId, CallId, KeyId, NodeId, PriceVersionId};
use billing_core::port::spool::{Spool, SpoolPosition};
use billing_core::price::{Attributes, ModelName, ServiceTier};
use billing_core::terms::Terms;
use store::{DeploymentId, EarlierLife, Opened, SpoolConfig, SpoolFile, SpoolOpenError, SpoolView};
use testkit::contract::spool::SpoolCase;
use testkit::world::{NOON, price};

async fn open() -> SpoolCase {
    let folder = tempfile::tempdir().unwrap();
    let opened = SpoolFile::open(config(&folder)).await.unwrap();
    SpoolCase {
        spool: Arc::new(opened.spool),
        keep: Box::new(folder),
    }
}

testkit::spool_contract!(on_disk, super::open);

fn config(folder: &tempfile::TempDir) -> SpoolConfig {
    SpoolConfig {
        path: folder.path().join("spool").join("s.db"),
        max_bytes: 1 << 20,
    }
}

async fn reopened(folder: &tempfile::TempDir) -> Opened {
    SpoolFile::open(config(folder)).await.unwrap()
}

fn record(call: i64) -> CallRecord {
    let price = Arc::new(price(PriceVersionId::new(1), "m", NOON));
    CallRecord::of(&Settlement {
        call: CallId::new(call),
        account: AccountId::new(1),
        key: KeyId::new(2),
        node: NodeId::new(3),
        model: ModelName::new("m"),
        terms: Terms::listed(price),
        tier: ServiceTier::Standard,
        attributes: Attributes::NONE,
        basis: Basis::Void,
        bounds: UsageBounds {
            prompt_tokens: 1,
            answer_tokens: 1,
        },
        held: Vec::new(),
        promised: None,
        facts: CallFacts {
            endpoint: "chat.completions".to_owned(),
            outcome: "completed".to_owned(),
            streamed: false,
            status: 200,
            upstream_id: None,
            finish_reason: None,
            started_at: NOON,
            first_byte_ms: None,
            latency_ms: 1,
            attempts: Vec::new(),
            idempotency_key: None,
        },
    })
    .unwrap()
}

fn deployment(last: char) -> DeploymentId {
    format!("dep_{last:0>32}").parse().unwrap()
}

async fn in_it(spool: &SpoolFile) -> usize {
    let waiting = spool.waiting(SpoolPosition::default(), 100).await;
    waiting.unwrap().len()
}

/// Nothing is flushed by an orderly end: whoever has the file next finds what was answered.
#[tokio::test]
async fn what_was_put_outlives_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let first = reopened(&folder).await.spool;
    first.take_for(deployment('1'), "a").await.unwrap();
    first.put(&record(7), NOON).await.unwrap();
    let parked = first.put(&record(8), NOON).await.unwrap();
    first.park(parked, "why", NOON).await.unwrap();
    let crashed: PathBuf = folder.path().join("crashed");
    std::fs::create_dir(&crashed).unwrap();
    for ending in ["", "-wal"] {
        let from = format!("{}{ending}", first.path().display());
        std::fs::copy(from, crashed.join(format!("s.db{ending}"))).unwrap();
    }
    let copy = SpoolConfig {
        path: crashed.join("s.db"),
        max_bytes: 1 << 20,
    };
    let second = SpoolFile::open(copy).await.unwrap().spool;
    assert_eq!(in_it(&second).await, 1);
    let backlog = second.backlog();
    assert_eq!(
        (backlog.entries, backlog.parked, backlog.oldest),
        (1, 1, Some(NOON))
    );
}

#[tokio::test]
async fn it_is_for_one_process_and_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let spool = reopened(&folder).await.spool;
    spool.put(&record(7), NOON).await.unwrap();
    for ending in ["", "-wal", ".lock"] {
        let file = format!("{}{ending}", spool.path().display());
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let refused = SpoolFile::open(config(&folder)).await.unwrap_err();
    let SpoolOpenError::InUse { by, .. } = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(*by, Some(std::process::id()));
    let said = refused.to_string();
    assert!(
        said.contains("s.db") && said.contains("spool.path"),
        "{said}"
    );
    let seen = SpoolView::of(&config(&folder)).await.unwrap().unwrap();
    assert_eq!(seen.backlog.entries, 1);
    assert_eq!(seen.waiting(10).await.unwrap()[0].call, CallId::new(7));
    spool.close().await;
    drop(spool);
    reopened(&folder).await;
}

#[tokio::test]
async fn calls_of_another_deployment_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let spool = reopened(&folder).await.spool;
    spool.take_for(deployment('1'), "node-a").await.unwrap();
    let place = spool.put(&record(7), NOON).await.unwrap();
    drop(spool);
    let spool = reopened(&folder).await.spool;
    let refused = spool.take_for(deployment('2'), "node-b").await.unwrap_err();
    let said = refused.to_string();
    for word in [
        "1 calls",
        "\"node-a\"",
        "tollgate spool show",
        "dep_",
        "s.db",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(in_it(&spool).await, 1);
    spool.take_for(deployment('1'), "node-b").await.unwrap();
    spool.forget(&[place]).await.unwrap();
    drop(spool);
    // An empty one holds nobody's calls.
    let spool = reopened(&folder).await.spool;
    spool.take_for(deployment('2'), "node-b").await.unwrap();
}

#[tokio::test]
async fn the_lock_proves_that_the_life_before_is_over_and_a_copy_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let first = reopened(&folder).await;
    assert_eq!(first.earlier_life, None);
    first.spool.take_for(deployment('1'), "a").await.unwrap();
    let earlier = [NodeId::new(3), NodeId::new(4)];
    let spool = &first.spool;
    spool.set_life(NodeId::new(5), &earlier).await.unwrap();
    drop(first);
    let mut before = EarlierLife {
        node: NodeId::new(5),
        earlier: earlier.to_vec(),
        name: Some("a".to_owned()),
        is_over: true,
    };
    let second = reopened(&folder).await;
    assert_eq!(second.earlier_life.as_ref(), Some(&before));
    // Somebody deletes the lock of a process that runs: the next one cannot know that it does.
    std::fs::rename(
        folder.path().join("spool/s.db.lock"),
        folder.path().join("spool/kept"),
    )
    .unwrap();
    before.is_over = false;
    assert_eq!(reopened(&folder).await.earlier_life, Some(before));
}

#[tokio::test]
async fn another_file_is_not_written_into() {
    let folder = tempfile::tempdir().unwrap();
    let books = folder.path().join("books.db");
    let clock = testkit::ManualClock::at(NOON);
    let url = format!("sqlite://{}", books.display());
    crate::open::store(&url, &clock).await.close().await;
    let wrong = SpoolConfig {
        path: books,
        max_bytes: 1 << 20,
    };
    let refused = SpoolFile::open(wrong).await.unwrap_err();
    assert!(
        matches!(refused, SpoolOpenError::NotASpool(_)),
        "{refused:?}"
    );
    let text = SpoolConfig {
        path: folder.path().join("text"),
        max_bytes: 1 << 20,
    };
    std::fs::write(
        &text.path,
        "this is no database, but long enough to be read as one: ".repeat(20),
    )
    .unwrap();
    let refused = SpoolFile::open(text).await.unwrap_err().to_string();
    assert!(refused.contains("move the file aside"), "{refused}");
}

/// What a later version wrote is told apart, with the reason, and the rest goes on.
#[tokio::test]
async fn a_record_that_cannot_be_read_does_not_hide_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let spool = reopened(&folder).await.spool;
    spool.put(&record(7), NOON).await.unwrap();
    spool.put(&record(8), NOON).await.unwrap();
    let damage = "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); \
                  d.execute(\"UPDATE entry SET record = '{}' WHERE call_id = 7\"); d.commit()";
    let done = std::process::Command::new("python3")
        .args(["-c", damage])
        .arg(spool.path())
        .status()
        .unwrap();
    assert!(done.success());
    let waiting = spool.waiting(SpoolPosition::default(), 10).await.unwrap();
    let readable: Vec<bool> = waiting.iter().map(|w| w.record.is_ok()).collect();
    assert_eq!(readable, [false, true]);
    assert_eq!(waiting[0].call, CallId::new(7));
}

#[tokio::test]
async fn a_deployment_keeps_its_id_and_differs_from_others() {
    let folder = tempfile::tempdir().unwrap();
    let clock = testkit::ManualClock::at(NOON);
    let url = crate::open::sqlite_url(&folder);
    let one = crate::open::store(&url, &clock).await;
    let id = one.deployment(NOON).await.unwrap();
    assert_eq!(one.deployment(NOON).await.unwrap(), id);
    one.close().await;
    let again = crate::open::store(&url, &clock).await;
    assert_eq!(again.deployment(NOON).await.unwrap(), id);
    let postgres = testkit::postgres::database();
    let (a, b) = (
        crate::open::store(postgres.url(), &clock).await,
        crate::open::store(postgres.url(), &clock).await,
    );
    let (a, b) = tokio::join!(a.deployment(NOON), b.deployment(NOON));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a, b, "nodes that start together");
    assert_ne!(a, id);
}
