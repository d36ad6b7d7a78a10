//! The spool in a process: a database that hangs, dies or is another one, and a disk without room.

use std::time::{Duration, Instant};

use acceptance::Failure;
use acceptance::call::{Answer, Ask};
use acceptance::cluster::database::Server;
use acceptance::cluster::place::Place;
use acceptance::gate::{Gate, free_port};
use acceptance::lock::WriteLock;
use acceptance::proof::Findings;
use acceptance::served::Served;
use tokio::task::JoinSet;

const FUNDS: i128 = 1_000_000_000;
const CALLS: usize = 8;
/// Books that do not answer within this are not waited for.
const QUICK: &str = "[spool]\nsettle_timeout_ms = 500\n";
/// Within this a call ends whose database hangs: its own second, the books' half, a slow machine.
const ENDS: Duration = Duration::from_secs(8);

/// A node that reaches its database is never as far behind.
const LATE: Duration = Duration::from_secs(2);
/// Within this of its database's return a node has charged what it had spooled.
const CHARGED: Duration = Duration::from_secs(5);

/// A stream that has begun, and so holds its funds, a second before it ends.
fn stream() -> Ask {
    let ask = Ask::of("sim/slow?first_ms=0&chunk_ms=250&tokens=4");
    ask.streamed(true).at_most(50)
}

/// Begins calls, has something happen to the database in their midst, and sees them end.
async fn calls_while(
    served: &Served,
    happens: impl FnOnce() -> Result<(), Failure>,
) -> Result<Vec<Answer>, Failure> {
    let mut running = JoinSet::new();
    for _ in 0..CALLS {
        running.spawn(served.payer.caller.begin(&stream()).await?);
    }
    happens()?;
    Ok(running.join_all().await)
}

fn all_ended(answers: &[Answer], findings: &mut Findings) {
    for answer in answers {
        findings.check(answer.is_complete() && answer.took < ENDS, || {
            format!("not served in time: {answer:?}")
        });
    }
}

async fn served_by_postgres(config: &str) -> Result<(Server, Served), Failure> {
    let mut server = Server::new(Place::local()?)?;
    server.start()?;
    server.takes_connections().await?;
    let served = Served::on(Some(server.url("postgres")), config, FUNDS).await?;
    let first = served.payer.caller.call(&Ask::of("sim/echo")).await;
    if first.is_complete() {
        return Ok((server, served));
    }
    Err(format!("the first call: {first:?}").into())
}

/// A database that hangs answers nothing and refuses nothing; one that dies refuses. Both in the
/// midst of calls, and each call is charged once what its caller was told.
#[tokio::test]
async fn a_database_that_hangs_and_then_dies_holds_up_no_call_and_loses_none() {
    let (mut server, served) = served_by_postgres(QUICK).await.unwrap();
    let mut findings = Findings::default();
    let silent = || server.set_silent(true);
    let mut answers = calls_while(&served, silent).await.unwrap();
    server.set_silent(false).unwrap();
    served.on_record(&answers, &mut findings).await.unwrap();
    let killed = || server.kill();
    answers.extend(calls_while(&served, killed).await.unwrap());
    server.start().unwrap();
    server.takes_connections().await.unwrap();
    let back = Instant::now();
    all_ended(&answers, &mut findings);
    served.on_record(&answers, &mut findings).await.unwrap();
    findings.check(back.elapsed() < CHARGED, || {
        format!(
            "what was spooled was charged only after {:?}",
            back.elapsed()
        )
    });
    served.end(2 * CALLS + 1, findings).await.unwrap();
}

/// What an operator sees of a node whose database hangs, and of the same node afterwards.
#[tokio::test]
async fn metrics_say_how_far_a_node_is_behind_its_database() {
    let port = free_port().unwrap();
    let config = format!("{QUICK}[metrics]\nlisten = \"127.0.0.1:{port}\"\n");
    let (server, served) = served_by_postgres(&config).await.unwrap();
    let mut findings = Findings::default();
    let page = format!("http://127.0.0.1:{port}/metrics");
    let age = |name: &'static str| seconds(&page, name);
    let ages = [
        "tollgate_node_beat_age_seconds ",
        "tollgate_node_news_age_seconds ",
    ];
    let oldest = "tollgate_spool_oldest_seconds ";
    for name in ages {
        // There is none before the first sign of life.
        becomes(async || Ok(age(name).await.is_ok_and(|age| age < LATE)))
            .await
            .unwrap();
    }
    assert_eq!(age(oldest).await.unwrap(), Duration::ZERO);
    let silent = || server.set_silent(true);
    let answers = calls_while(&served, silent).await.unwrap();
    all_ended(&answers, &mut findings);
    for name in ages.into_iter().chain([oldest]) {
        becomes(async || Ok(age(name).await? > LATE)).await.unwrap();
    }
    server.set_silent(false).unwrap();
    for name in ages.into_iter().chain([oldest]) {
        becomes(async || Ok(age(name).await? < LATE)).await.unwrap();
    }
    let doctor = served.gate.run(&["doctor"]).unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    let says = said.contains("its last sign of life was") && said.contains("sees 0 other nodes");
    findings.check(says, || said.clone());
    served.on_record(&answers, &mut findings).await.unwrap();
    becomes(async || Ok(age(oldest).await? == Duration::ZERO))
        .await
        .unwrap();
    served.end(CALLS + 1, findings).await.unwrap();
}

/// A time on a page of metrics.
async fn seconds(page: &str, name: &str) -> Result<Duration, Failure> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let text = client.get(page).send().await?.text().await?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.ok_or_else(|| format!("no {name}"))?;
    Ok(Duration::try_from_secs_f64(line.trim().parse()?)?)
}

/// Waits until something is so.
async fn becomes(is_so: impl AsyncFn() -> Result<bool, Failure>) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_so().await? {
        if Instant::now() > deadline {
            return Err("it does not become so".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Killed with calls in its spool; the next life begins before the database is back.
#[tokio::test]
async fn a_node_that_is_killed_with_a_full_spool_charges_it_in_its_next_life() {
    let (mut server, mut served) = served_by_postgres(QUICK).await.unwrap();
    let mut findings = Findings::default();
    let killed = || server.kill();
    let answers = calls_while(&served, killed).await.unwrap();
    all_ended(&answers, &mut findings);
    served.gate.kill().unwrap();
    let shown = served.gate.run(&["spool", "show", "--json"]).unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    findings.check(shown["entries"] == CALLS && shown["parked"] == 0, || {
        format!("in the spool: {shown}")
    });
    let doctor = served.gate.run(&["doctor", "--json"]).unwrap();
    let doctor: serde_json::Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let of_spool = doctor
        .as_array()
        .unwrap()
        .iter()
        .find(|f| f["what"] == "spool");
    let detail = of_spool
        .map(|f| f["detail"].to_string())
        .unwrap_or_default();
    findings.check(detail.contains(&format!("{CALLS} calls wait")), || {
        format!("the doctor: {doctor}")
    });
    served.gate.begin().unwrap();
    let waits = |log: &str| log.contains("the database cannot be reached");
    says(&served.gate, waits).await.unwrap();
    server.start().unwrap();
    server.takes_connections().await.unwrap();
    served.gate.comes_up().await.unwrap();
    served.on_record(&answers, &mut findings).await.unwrap();
    served.end(CALLS + 1, findings).await.unwrap();
}

/// Waits until the log says something.
async fn says(gate: &Gate, what: impl Fn(&str) -> bool) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !what(&gate.log()?) {
        if Instant::now() > deadline {
            return Err(format!("it does not say so:\n{}", gate.log()?).into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn lock(served: &Served) -> Result<WriteLock, Failure> {
    WriteLock::take(&served.gate.data().join("tollgate.db"))
}

#[tokio::test]
async fn the_spool_of_another_deployment_is_refused_and_keeps_its_calls() {
    let mut served = Served::start(QUICK, FUNDS).await.unwrap();
    let mut findings = Findings::default();
    let first = served.payer.caller.call(&Ask::of("sim/echo")).await;
    assert!(first.is_complete(), "{first:?}");
    let away = lock(&served).unwrap();
    let answer = served.payer.caller.call(&Ask::of("sim/echo")).await;
    served.gate.kill().unwrap();
    away.release().unwrap();
    let spool = served.gate.data().join("tollgate-spool.db");
    let other = Gate::demo(None).await.unwrap();
    let config = format!("[spool]\npath = \"{}\"\n", spool.display());
    let refused = other.served(&config, &[]).await.unwrap_err().to_string();
    for word in [
        "1 calls of another deployment",
        "tollgate spool show",
        "dep_",
    ] {
        findings.check(refused.contains(word), || format!("{word}: {refused}"));
    }
    served.gate.start().await.unwrap();
    let answers = [answer];
    findings.check(answers[0].is_complete(), || format!("{answers:?}"));
    served.on_record(&answers, &mut findings).await.unwrap();
    served.end(2, findings).await.unwrap();
}

/// New calls are refused while there is no room for what they will cost; those that have begun end.
#[tokio::test]
async fn a_full_spool_refuses_new_calls_until_the_books_are_back() {
    let config = "[spool]\nmax_mb = 1\nsettle_timeout_ms = 200\n";
    let served = Served::start(config, FUNDS).await.unwrap();
    let mut findings = Findings::default();
    let ask = Ask::of("sim/echo").at_most(50);
    let first = served.payer.caller.call(&ask).await;
    assert!(first.is_complete(), "{first:?}");
    let away = lock(&served).unwrap();
    let (mut answers, mut refused) = (Vec::new(), Vec::new());
    let deadline = Instant::now() + Duration::from_mins(2);
    while refused.is_empty() && Instant::now() < deadline {
        let calls: JoinSet<Answer> = (0..32)
            .map(|_| {
                let (caller, ask) = (served.payer.caller.clone(), ask.clone());
                async move { caller.call(&ask).await }
            })
            .collect();
        for answer in calls.join_all().await {
            if answer.is_complete() {
                answers.push(answer);
            } else {
                refused.push(answer);
            }
        }
    }
    findings.check(!refused.is_empty(), || "nothing was refused".to_owned());
    for answer in &refused {
        findings.check(
            (answer.status, answer.code().as_str()) == (503, "spool_full")
                && answer.headers.contains_key("retry-after"),
            || format!("refused otherwise: {answer:?}"),
        );
    }
    away.release().unwrap();
    let last = answers.len().saturating_sub(20);
    served
        .on_record(&answers[last..], &mut findings)
        .await
        .unwrap();
    let again = served.payer.caller.call(&ask).await;
    findings.check(again.is_complete(), || format!("afterwards: {again:?}"));
    served.end(answers.len() + 2, findings).await.unwrap();
}

/// Neither the address nor the spool of a node that runs can be had, and asking for them does the
/// node no harm: it is not fenced.
#[tokio::test]
async fn a_second_process_is_refused_before_it_joins() {
    let served = Served::start("", FUNDS).await.unwrap();
    let mut findings = Findings::default();
    let first = served.payer.caller.call(&Ask::of("sim/echo")).await;
    assert!(first.is_complete(), "{first:?}");
    let same_address = served.gate.run(&["serve"]).unwrap();
    let elsewhere = served
        .gate
        .run(&["serve", "--listen", "127.0.0.1:0"])
        .unwrap();
    for (output, word) in [(same_address, "cannot listen"), (elsewhere, "spool.path")] {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        findings.check(!output.status.success() && said.contains(word), || {
            format!("{word}: {}: {said}", output.status)
        });
    }
    let database = served.gate.data().join("tollgate.db");
    let count = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(\
                 'SELECT count(*) FROM node WHERE fenced_at IS NULL').fetchone()[0])";
    let counted = std::process::Command::new("python3")
        .args(["-c", count])
        .arg(database)
        .output()
        .unwrap();
    let alive = String::from_utf8_lossy(&counted.stdout).trim().to_owned();
    findings.check(alive == "1", || {
        format!("nodes that live: {alive} {counted:?}")
    });
    findings.check(
        !served.gate.log().unwrap().contains("taken for dead"),
        || "the node was fenced".to_owned(),
    );
    served.end(1, findings).await.unwrap();
}
