//! Calls that wait for funds which other calls hold.

use std::time::Duration;

use acceptance::call::Ask;
use acceptance::proof::Findings;
use acceptance::served::{Served, hold};
use tokio::task::JoinSet;

/// How many leave while they wait.
const LEAVERS: usize = 8;

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_for_funds_leaves_nothing_behind() {
    let wanted = Ask::of("sim/lorem?tokens=5").at_most(1_000);
    // It has begun, and so holds its funds, seconds before it ends.
    let holder = Ask::of("sim/slow?first_ms=0&chunk_ms=600&tokens=4")
        .streamed(true)
        .at_most(900);
    // Three words in and four out.
    let spent = 3 * 1_000 + 4 * 4_000;
    let funds = hold(&wanted).unwrap() + spent;
    let served = Served::start("", funds).await.unwrap();
    let mut findings = Findings::default();
    let held = served.payer.caller.begin(&holder).await.unwrap();
    let held = JoinSet::from_iter([held]);
    let mut leavers = JoinSet::new();
    for number in 0..LEAVERS {
        let caller = served.payer.caller.clone();
        let ask = wanted.clone().at_most(900).streamed(number % 2 == 1);
        leavers.spawn(async move {
            caller
                .leave_before_answer(&ask, Duration::from_millis(500))
                .await
        });
    }
    for left in leavers.join_all().await {
        left.unwrap();
    }
    let first = held.join_all().await.remove(0);
    findings.check(first.cost_nanos() == Some(spent), || {
        format!("the call that held the funds: {first:?}")
    });
    // It fits exactly: a hold of any of them would be in its way.
    let answer = served.payer.caller.call(&wanted).await;
    findings.check(answer.is_complete(), || {
        format!("the call that fits exactly: {answer:?}")
    });
    findings.check(answer.took < Duration::from_secs(2), || {
        format!("it waited for {:?}", answer.took)
    });
    served.end(2, findings).await.unwrap();
}
