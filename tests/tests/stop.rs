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
