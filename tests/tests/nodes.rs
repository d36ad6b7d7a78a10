//! Several nodes on one PostgreSQL: what one is told, the others know within a second; and who may
//! not join is told what to do.

use std::time::{Duration, Instant};

use acceptance::Failure;
use acceptance::call::{Answer, Ask, Caller};
use acceptance::cluster::node::Node;
use acceptance::cluster::place::Place;
use acceptance::cluster::{Cluster, Payer, Shape};
use reqwest::Method;
use tempfile::TempDir;
use tokio::runtime::Handle;

/// What a change may take to reach every node.
const WITHIN: Duration = Duration::from_secs(1);
/// What a refusal may take.
const SOON: Duration = Duration::from_secs(30);
/// Ends every connection that listens, again and again for some seconds.
const NOBODY_LISTENS: &str = "DO $$ BEGIN FOR i IN 1..120 LOOP \
    PERFORM pg_stat_clear_snapshot(); \
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE pid <> pg_backend_pid() AND query LIKE 'LISTEN%'; \
    PERFORM pg_sleep(0.03); END LOOP; END $$";

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_is_told_all_know_within_a_second() {
    let cluster = Cluster::start(Shape::local(2, false).unwrap())
        .await
        .unwrap();
    revoke_at_one(&cluster, "told").await.unwrap();
    top_up_at_one(&cluster).await.unwrap();
    // Where nobody can be told anything, everybody looks.
    tokio::task::block_in_place(|| {
        std::thread::scope(|threads| {
            let deaf = threads.spawn(|| cluster.primary.ask(NOBODY_LISTENS).unwrap());
            for round in 0..3 {
                let name = format!("untold-{round}");
                let revoked = revoke_at_one(&cluster, &name);
                Handle::current().block_on(revoked).unwrap();
            }
            assert!(!deaf.is_finished(), "somebody listened meanwhile");
            deaf.join().unwrap();
        });
    });
    revoke_at_one(&cluster, "told-again").await.unwrap();
    cluster.verify_ledger().unwrap();
}

/// A key that both nodes know is revoked at one of them.
async fn revoke_at_one(cluster: &Cluster, name: &str) -> Result<(), Failure> {
    let control = cluster.control(0).await?;
    let (account, key) = control.funded(name, 1_000_000_000).await?;
    let payer = Payer {
        account: account.clone(),
        secret: key.secret,
        funds: 1_000_000_000,
    };
    let callers = callers(cluster, &payer)?;
    for caller in &callers {
        let answer = caller.call(&Ask::of("sim/echo")).await;
        assert!(answer.is_complete(), "{answer:?}");
    }
    let path = format!("accounts/{account}/keys/{}", key.id);
    let (status, said) = control.ask(Method::DELETE, &path, None, None).await?;
    assert!((200..300).contains(&status), "{status} {said}");
    for caller in &callers {
        until(caller, |answer| answer.status == 401).await;
    }
    Ok(())
}

/// An account whose funds are at their end, at the other node too, gets more.
async fn top_up_at_one(cluster: &Cluster) -> Result<(), Failure> {
    let control = cluster.control(0).await?;
    let payer = Payer::new(&control, "poor", 0).await?;
    let callers = callers(cluster, &payer)?;
    for caller in &callers {
        let answer = caller.call(&Ask::of("sim/echo")).await;
        assert_eq!(answer.status, 402, "{answer:?}");
    }
    let funds = 1_000_000_000;
    control.top_up(&payer.account, funds, "more").await?;
    for caller in &callers {
        until(caller, Answer::is_complete).await;
    }
    Ok(())
}

fn callers(cluster: &Cluster, payer: &Payer) -> Result<Vec<Caller>, Failure> {
    cluster.nodes.iter().map(|n| payer.caller(n)).collect()
}

/// Calls until the answer is as it should be, which every call must be that begins a second later.
async fn until(caller: &Caller, is_right: impl Fn(&Answer) -> bool) {
    let since = Instant::now();
    loop {
        let begun = since.elapsed();
        let answer = caller.call(&Ask::of("sim/echo")).await;
        if is_right(&answer) {
            return;
        }
        assert!(begun < WITHIN, "{begun:?} after the change: {answer:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn who_may_not_join_is_told_what_to_do_and_harms_nobody() {
    let cluster = Cluster::start(Shape::local(1, false).unwrap())
        .await
        .unwrap();
    let control = cluster.control(0).await.unwrap();
    let payer = Payer::new(&control, "a", 1_000_000_000).await.unwrap();
    let caller = payer.caller(&cluster.nodes[0]).unwrap();
    let folder = TempDir::new().unwrap();

    let twin = refused(&cluster, &folder, "twin", "node-1").await.unwrap();
    assert!(twin.contains("another node is running"), "{twin}");
    assert!(
        twin.contains("node.name") && twin.contains("node-1"),
        "{twin}"
    );

    let future = "INSERT INTO seaql_migrations (version, applied_at) \
                  VALUES ('m20991231_000099_wings', 0)";
    cluster.primary.ask(future).unwrap();
    let older = refused(&cluster, &folder, "older", "node-2").await.unwrap();
    assert!(older.contains("newer version of Tollgate"), "{older}");
    assert!(older.contains("m20991231_000099_wings"), "{older}");

    // The one that was there was neither fenced nor held up.
    let answer = caller.call(&Ask::of("sim/echo")).await;
    assert!(answer.is_complete(), "{answer:?}");
    let alive = "SELECT count(*) FROM node WHERE fenced_at IS NULL";
    assert_eq!(cluster.primary.ask(alive).unwrap().trim(), "1");
    let fenced = "SELECT count(*) FROM node WHERE name = 'node-1' AND fenced_at IS NOT NULL \
                  AND left_at IS NULL";
    assert_eq!(cluster.primary.ask(fenced).unwrap().trim(), "0");
}

/// Starts another node; gives what it says when it ends.
async fn refused(
    cluster: &Cluster,
    folder: &TempDir,
    place: &str,
    name: &str,
) -> Result<String, Failure> {
    let url = cluster.url();
    let mut node = Node::new(place.to_owned(), folder.path(), Place::local()?, |place| {
        let address = place.address();
        format!(
            "listen = \"{address}\"\nnode.name = \"{name}\"\n[database]\nurl = \"{url}\"\n\
             [[channel]]\nprotocol = \"simulated\"\nmodels = [\"sim/*\"]\n"
        )
    })?;
    node.start()?;
    let begun = Instant::now();
    loop {
        let said = node.log_end();
        if said.contains("tollgate: ") {
            return Ok(said);
        }
        if begun.elapsed() > SOON {
            return Err(format!("{place} is not refused:\n{said}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
