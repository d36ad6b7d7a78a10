//! A graceful stop: what was delivered is charged, nothing is left behind, nobody is let in.

use std::time::{Duration, Instant};

use acceptance::Failure;
use acceptance::audit::charge_of;
use acceptance::call::{Answer, Ask, Caller, Ending};
use acceptance::figure::text;
use acceptance::proof::Findings;
use acceptance::served::{Served, fitted, hold};
use tokio::task::JoinSet;

const FUNDS: i128 = 65_000_000;
/// Far shorter than what the supervisor of a service waits before it kills.
const ENOUGH: Duration = Duration::from_secs(30);
/// How long after the signal a call must be told so.
const TOLD: Duration = Duration::from_secs(10);

/// Calls again and again on a connection that is kept, until it is told something else than an answer.
async fn until_refused(caller: &Caller) -> Result<Answer, Failure> {
    let ask = Ask::of("sim/echo");
    let deadline = Instant::now() + TOLD;
    while Instant::now() < deadline {
        let answer = caller.call(&ask).await;
        if answer.status != 200 {
            return Ok(answer);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err("calls are still served".into())
}

#[tokio::test]
async fn a_stream_that_outlasts_the_stop_is_charged_for_what_it_delivered() {
    let mut served = Served::start("", FUNDS).await.unwrap();
    let mut findings = Findings::default();
    let other = served.payer("other", 1_000_000_000).await.unwrap();
    // It would take an hour, and it holds nearly all the funds.
    let long = Ask::of("sim/lorem?chunk_ms=250")
        .streamed(true)
        .at_most(15_900);
    assert!(hold(&long).unwrap() < FUNDS);
    let stream = served.payer.caller.begin(&long).await.unwrap();
    let stream = JoinSet::from_iter([stream]);
    let before = other.caller.call(&Ask::of("sim/echo")).await;
    assert!(before.is_complete(), "{before:?}");
    // On a connection that is open: new ones are not taken any more.
    let refused = tokio::time::timeout(TOLD * 2, until_refused(&other.caller));
    let start = Instant::now();
    let (stopped, refused) = tokio::join!(served.gate.stop(), refused);
    let took = start.elapsed();
    stopped.unwrap();
    findings.check(took < ENOUGH, || format!("the stop took {took:?}"));
    match refused {
        Ok(Ok(refused)) => findings.check(
            (refused.status, refused.code().as_str()) == (503, "stopping"),
            || format!("a call during the stop: {refused:?}"),
        ),
        Ok(Err(error)) => findings.check(false, || format!("a call during the stop: {error}")),
        Err(_) => findings.check(false, || "a call during the stop hangs".to_owned()),
    }
    let stream = stream.join_all().await.remove(0);
    findings.check(stream.ending == Ending::Fault, || {
        format!(
            "the stream does not say that it was cut: {:?}",
            stream.ending
        )
    });
    served.gate.verify_ledger().unwrap();
    // Another node on the same books: a lease that was not given back would not be its own.
    let served = served.again("[node]\nname = \"next\"\n").await.unwrap();
    let id = stream.id.unwrap();
    let receipt = served.receipt(&served.payer, &id).await.unwrap();
    let charge = charge_of(&receipt).unwrap();
    findings.check(receipt["outcome"] == "cut_mid_stream" && charge > 0, || {
        format!("the receipt: {receipt}")
    });
    let balance = served.control.balance(&served.payer.account).await.unwrap();
    findings.check(balance == FUNDS - charge, || {
        format!("{} left after {}", text(balance), text(charge))
    });
    let nearly_all = fitted(Ask::of("sim/lorem?tokens=5"), balance).unwrap();
    let answer = served.payer.caller.call(&nearly_all).await;
    findings.check(answer.is_complete(), || {
        format!("funds were left on lease: {answer:?}")
    });
    served.end(2, findings).await.unwrap();
}

/// Begins a call whose upstream says nothing for an hour; it is under way when this answers.
async fn silent(served: &Served) -> Result<JoinSet<Answer>, Failure> {
    let caller = served.payer.caller.clone();
    let ask = Ask::of("sim/slow?first_ms=3600000").at_most(100);
    let held = hold(&ask)?;
    let call = JoinSet::from_iter([async move { caller.call(&ask).await }]);
    // It holds its funds: what is left of them does not reach for all of them once more.
    let deadline = Instant::now() + TOLD;
    loop {
        let balance = served.control.balance(&served.payer.account).await?;
        let all = fitted(Ask::of("sim/echo"), balance - held / 2)?;
        if served.payer.caller.call(&all).await.status != 200 {
            return Ok(call);
        }
        if Instant::now() > deadline {
            return Err("the call does not begin".into());
        }
    }
}

#[tokio::test]
async fn a_call_whose_upstream_is_silent_is_told_and_costs_nothing() {
    let config = "[limits]\ndrain_s = 1\nfunds_wait_ms = 0\n";
    let mut served = Served::start(config, FUNDS).await.unwrap();
    let mut findings = Findings::default();
    let call = silent(&served).await.unwrap();
    let start = Instant::now();
    served.gate.stop().await.unwrap();
    findings.check(start.elapsed() < TOLD, || {
        format!("the stop took {:?}", start.elapsed())
    });
    let told = call.join_all().await.remove(0);
    findings.check(
        (told.status, told.code().as_str()) == (502, "provider_unavailable"),
        || format!("it is told otherwise: {told:?}"),
    );
    let served = served.again("").await.unwrap();
    let calls = served.control.calls(&served.payer.account).await.unwrap();
    let id = told.id.unwrap_or_default();
    let own = calls.iter().find(|call| call["id"] == id.as_str());
    findings.check(own.is_some(), || format!("it is not on record: {calls:?}"));
    if let Some(own) = own {
        let charge = &own["charge"]["amount"];
        findings.check(charge.as_str().is_some_and(is_nothing), || format!("{own}"));
    }
    let on_record = calls.len();
    served.end(on_record, findings).await.unwrap();
}

fn is_nothing(amount: &str) -> bool {
    amount.chars().all(|c| matches!(c, '0' | '.'))
}

/// The operator who asks twice does not want to wait for streams.
#[tokio::test]
async fn a_second_signal_ends_the_running_calls_at_once() {
    let mut served = Served::start("", FUNDS).await.unwrap();
    let other = served.payer("other", 1_000_000_000).await.unwrap();
    let long = Ask::of("sim/lorem?chunk_ms=250");
    let long = long.streamed(true).at_most(10_000);
    let stream = served.payer.caller.begin(&long).await.unwrap();
    let stream = JoinSet::from_iter([stream]);
    served.gate.signal("TERM").unwrap();
    let told = until_refused(&other.caller).await.unwrap();
    assert_eq!(told.code(), "stopping");
    let start = Instant::now();
    served.gate.signal("TERM").unwrap();
    served.gate.ends().await.unwrap();
    assert!(start.elapsed() < TOLD, "{:?}", start.elapsed());
    let stream = stream.join_all().await.remove(0);
    assert_eq!(stream.ending, Ending::Fault, "{stream:?}");
    served.gate.verify_ledger().unwrap();
}

/// A balancer that asks for readiness has time to turn away: until then calls are served, and their
/// connections closed behind them.
#[tokio::test]
async fn a_stop_says_that_it_is_not_ready_before_it_refuses() {
    let config = "[limits]\nunready_s = 3\n";
    let mut served = Served::start(config, FUNDS).await.unwrap();
    let caller = &served.payer.caller;
    let ready = format!("{}/readyz", served.gate.origin());
    served.gate.signal("TERM").unwrap();
    let deadline = Instant::now() + TOLD;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    while client.get(&ready).send().await.unwrap().status() != 503 {
        assert!(Instant::now() < deadline, "it says that it is ready");
    }
    let answer = caller.call(&Ask::of("sim/echo").at_most(50)).await;
    assert!(answer.is_complete(), "{answer:?}");
    assert_eq!(answer.headers.get("connection").unwrap(), "close");
    served.gate.ends().await.unwrap();
    served.gate.verify_ledger().unwrap();
}

/// A start that waits for its database can be stopped as well.
#[tokio::test]
async fn a_stop_during_the_start_is_heard() {
    let mut served = Served::start("", FUNDS).await.unwrap();
    served.gate.stop().await.unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let file = served.gate.folder().join("tollgate.toml");
    let text = format!(
        "listen = \"127.0.0.1:0\"\n[database]\nurl = \"postgres://x@{address}/x\"\n\
         [spool]\npath = \"waiting.db\"\n"
    );
    std::fs::write(file, text).unwrap();
    served.gate.begin().unwrap();
    let lock = served.gate.folder().join("waiting.db.lock");
    let deadline = Instant::now() + TOLD;
    while !lock.exists() {
        assert!(Instant::now() < deadline, "it does not start");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    served.gate.signal("TERM").unwrap();
    let start = Instant::now();
    served.gate.ends().await.unwrap();
    assert!(start.elapsed() < TOLD, "{:?}", start.elapsed());
}
