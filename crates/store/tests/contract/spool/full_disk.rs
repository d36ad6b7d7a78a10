//! A spool on a disk that is full: a small file system of its own, in a mount namespace.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use billing_core::id::NodeId;
use billing_core::port::spool::{Spool, SpoolError, SpoolPosition};
use store::{SpoolConfig, SpoolFile};
use testkit::world::NOON;

use super::{deployment, record};

/// Where the small disk is; set only inside its namespace.
const DISK: &str = "TOLLGATE_TEST_DISK";
/// Less than what SQLite writes before it first tidies its log up.
const SIZE: &str = "3m";

/// Runs the test of this name again, in a namespace where `DISK` is a small file system. Not every
/// machine lets a process make one; one that does not says so here.
fn on_a_small_disk(test: &str) {
    let folder = tempfile::tempdir().unwrap();
    let namespace = ["--user", "--map-root-user", "--mount", "sh", "-c"];
    let mount = format!("mount -t tmpfs -o size={SIZE} tmpfs \"$0\"");
    let may = Command::new("unshare")
        .args(namespace)
        .arg(&mount)
        .arg(folder.path())
        .status();
    if !may.is_ok_and(|status| status.success()) {
        let why = format!("{test}: NOT RUN: this machine lets no process make a mount namespace\n");
        return std::io::stderr().write_all(why.as_bytes()).unwrap();
    }
    let done = Command::new("unshare")
        .args(namespace)
        .arg(format!("{mount} && exec \"$@\""))
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(DISK, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

fn disk() -> Option<PathBuf> {
    std::env::var_os(DISK).map(PathBuf::from)
}

async fn open(disk: &Path) -> SpoolFile {
    let config = SpoolConfig {
        path: disk.join("s.db"),
        max_bytes: 64 << 20,
    };
    let spool = SpoolFile::open(config).await.unwrap().spool;
    spool.take_for(deployment('1'), "a").await.unwrap();
    spool.set_life(NodeId::new(5), &[]).await.unwrap();
    spool
}

/// Puts calls until there is no room; answers with their places.
async fn fill(spool: &SpoolFile, first: i64) -> Vec<SpoolPosition> {
    let mut places = Vec::new();
    for call in first.. {
        match spool.put(&record(call), NOON).await {
            Ok(place) => places.push(place),
            Err(error) => {
                assert!(matches!(error, SpoolError::Full), "{error:?}");
                break;
            }
        }
    }
    assert!(spool.backlog().full && places.len() > 100, "{places:?}");
    places
}

async fn all(spool: &SpoolFile) -> Vec<SpoolPosition> {
    let waiting = spool.waiting(SpoolPosition::default(), u32::MAX).await;
    waiting.unwrap().iter().map(|w| w.position).collect()
}

/// Not in part, for which there is no room; but when the books have all of it, nothing needs to be
/// made room for, and the disk has its room back.
#[tokio::test]
async fn a_spool_whose_disk_is_full_is_emptied_when_the_books_have_all_of_it() {
    let Some(disk) = disk() else {
        let test = "a_spool_whose_disk_is_full_is_emptied_when_the_books_have_all_of_it";
        return on_a_small_disk(&format!("spool::full_disk::{test}"));
    };
    let spool = open(&disk).await;
    let mut fitted = Vec::new();
    for round in 0..3 {
        let places = fill(&spool, round * 1_000_000 + 1).await;
        assert_eq!(all(&spool).await, places, "what was taken is kept");
        let (some, rest) = places.split_at(places.len() / 2);
        // The first half goes where there is room for that, and stays where there is none.
        let forgot = spool.forget(some).await.is_ok();
        let left = if forgot { rest } else { &places };
        assert_eq!(all(&spool).await, left);
        spool.forget(&places).await.unwrap();
        assert_eq!(all(&spool).await, []);
        assert!(!spool.backlog().full && spool.backlog().entries == 0);
        fitted.push(places.len());
    }
    // It does not wear out.
    assert!(fitted[2] * 10 > fitted[0] * 9, "{fitted:?}");
}

/// A call that the books refuse is set apart on a full disk too, and is kept when the rest goes.
#[tokio::test]
async fn on_a_full_disk_a_call_is_set_apart_and_the_others_are_forgotten() {
    let Some(disk) = disk() else {
        let test = "on_a_full_disk_a_call_is_set_apart_and_the_others_are_forgotten";
        return on_a_small_disk(&format!("spool::full_disk::{test}"));
    };
    let spool = open(&disk).await;
    let places = fill(&spool, 1).await;
    spool
        .park(places[7], "no such account", NOON)
        .await
        .unwrap();
    spool.forget(&places).await.unwrap();
    assert_eq!(all(&spool).await, []);
    assert_eq!(spool.parked(10).await.unwrap()[0].position, places[7]);
    assert!(fill(&spool, 1_000_000).await.len() * 2 > places.len());
}

/// Killed with a full disk, and started again on it.
#[tokio::test]
async fn a_spool_can_be_opened_on_a_full_disk_and_is_emptied_there() {
    let Some(disk) = disk() else {
        let test = "a_spool_can_be_opened_on_a_full_disk_and_is_emptied_there";
        return on_a_small_disk(&format!("spool::full_disk::{test}"));
    };
    let spool = open(&disk).await;
    let places = fill(&spool, 1).await;
    // What is left of the room goes to somebody else, all but that which is kept.
    let filler = vec![1_u8; 4 << 20];
    assert!(std::fs::write(disk.join("filler"), filler).is_err());
    drop(spool);
    let spool = open(&disk).await;
    assert_eq!(all(&spool).await, places);
    spool.forget(&places).await.unwrap();
    assert_eq!(all(&spool).await, []);
    assert!(fill(&spool, 1_000_000).await.len() * 2 > places.len());
}
