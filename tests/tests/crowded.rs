//! More calls than there are places for: who comes too many is told so at once, and charged nothing.

use std::time::{Duration, Instant};

use acceptance::call::Ask;
use acceptance::proof::Findings;
use acceptance::served::Served;

const CONFIG: &str = "[limits]\ncalls_in_flight = 2\n";
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn who_finds_no_place_is_asked_to_try_again() {
    let served = Served::start(CONFIG, 1_000_000_000).await.unwrap();
    let mut findings = Findings::default();
    let caller = &served.payer.caller;
    // They outlast the test.
    let long = Ask::of("sim/lorem?chunk_ms=250")
        .streamed(true)
        .at_most(900);
    let first = caller.begin(&long).await.unwrap();
    let second = caller.begin(&long).await.unwrap();
    for streamed in [false, true] {
        let refused = caller.call(&Ask::of("sim/echo").streamed(streamed)).await;
        findings.check(
            (refused.status, refused.code().as_str()) == (503, "overloaded"),
            || format!("a third call: {refused:?}"),
        );
        let again = refused.headers.get("retry-after");
        findings.check(again.is_some_and(|seconds| seconds == "1"), || {
            format!("when to come again: {refused:?}")
        });
    }
    // A client that leaves gives its place to the next.
    drop(first);
    let deadline = Instant::now() + SOON;
    let served_again = loop {
        let answer = caller.call(&Ask::of("sim/echo")).await;
        if answer.is_complete() || Instant::now() > deadline {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    findings.check(served_again.is_complete(), || {
        format!("after one has left: {served_again:?}")
    });
    drop(second);
    assert!(findings.is_empty(), "{:?}", findings.list());
}
