//! The database is away for a while: calls wait or are told so, and nothing is lost.
//!
//! Away is a write lock that somebody else holds: reads work, no write does.

use std::time::Duration;

use acceptance::Failure;
use acceptance::audit::charge_of;
use acceptance::call::{Answer, Ask, Ending};
use acceptance::lock::WriteLock;
use acceptance::proof::Findings;
use acceptance::served::{Payer, Served, fitted, hold};
use tokio::task::JoinSet;

const FUNDS: i128 = 1_000_000_000;
const CALLS: usize = 12;
/// Three words in and six out.
const CHARGE: i128 = 3 * 1_000 + 6 * 4_000;

fn lock(served: &Served) -> Result<WriteLock, Failure> {
    WriteLock::take(&served.gate.data().join("tollgate.db"))
}

/// Starts calls of both forms.
fn calls(payer: &Payer) -> JoinSet<(bool, Answer)> {
    (0..CALLS)
        .map(|number| {
            let (caller, stream) = (payer.caller.clone(), number % 2 == 1);
            let ask = Ask::of("sim/lorem?tokens=6").streamed(stream).at_most(50);
            async move { (stream, caller.call(&ask).await) }
        })
        .collect()
}

/// Each of the calls is on record under its id, whole, and charged for what it says.
async fn on_record(
    served: &Served,
    answers: &[(bool, Answer)],
    findings: &mut Findings,
) -> Result<(), Failure> {
    for (_, answer) in answers {
        let id = answer.id.as_ref().ok_or("an answer without an id")?;
        match served.receipt(&served.payer, id).await {
            Ok(receipt) => {
                let charge = charge_of(&receipt)?;
                findings.check(
                    receipt["outcome"] == "completed" && charge == CHARGE,
                    || format!("{id}: {receipt}"),
                );
            }
            Err(error) => findings.check(false, || format!("lost: {error}")),
        }
    }
    Ok(())
}

/// Shorter than a client's patience: calls that hold their funds wait, and are served. The lease of
/// an account's first call comes when that call has been told already; it is this node's all the same.
#[tokio::test]
async fn calls_wait_for_the_books_and_a_late_lease_is_not_lost() {
    let served = Served::start("", FUNDS).await.unwrap();
    let mut findings = Findings::default();
    let first = served.payer.caller.call(&Ask::of("sim/echo")).await;
    assert!(first.is_complete(), "{first:?}");
    let all = Ask::of("sim/lorem?tokens=5").at_most(10_000);
    let late = served.payer("late", hold(&all).unwrap()).await.unwrap();

    let away = lock(&served).unwrap();
    let waiting = calls(&served.payer);
    let told = late.caller.call(&all).await;
    findings.check(
        (told.status, told.code().as_str()) == (503, "books_unavailable"),
        || format!("the first call of an account: {told:?}"),
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    away.release().unwrap();

    let answers = waiting.join_all().await;
    for (_, answer) in &answers {
        findings.check(answer.is_complete(), || format!("not served: {answer:?}"));
    }
    on_record(&served, &answers, &mut findings).await.unwrap();
    for ask in [all, Ask::of("sim/echo").at_most(100)] {
        let answer = late.caller.call(&ask).await;
        findings.check(answer.is_complete(), || {
            format!("the funds of the account are stranded: {answer:?}")
        });
    }
    served.audit(&late, 2, &mut findings).await.unwrap();
    served.end(CALLS + 1, findings).await.unwrap();
}

/// For long: the client of a stream is told once its patience has run out, and has had what it is
/// charged for. A whole answer is not given away before it is paid, so its client waits.
#[tokio::test]
async fn what_was_delivered_while_the_books_were_away_is_charged_once() {
    let served = Served::start("", FUNDS).await.unwrap();
    let mut findings = Findings::default();
    let first = served.payer.caller.call(&Ask::of("sim/echo")).await;
    assert!(first.is_complete(), "{first:?}");

    let away = lock(&served).unwrap();
    let mut running = calls(&served.payer);
    let mut answers = Vec::new();
    while answers.len() < CALLS / 2 {
        let (stream, answer) = running.join_next().await.unwrap().unwrap();
        findings.check(
            stream
                && (&answer.ending, answer.code().as_str())
                    == (&Ending::Fault, "books_unavailable"),
            || format!("not told: {answer:?}"),
        );
        answers.push((stream, answer));
    }
    away.release().unwrap();
    for (stream, answer) in running.join_all().await {
        findings.check(!stream && answer.is_complete(), || {
            format!("not served: {answer:?}")
        });
        answers.push((stream, answer));
    }

    on_record(&served, &answers, &mut findings).await.unwrap();
    let balance = served.control.balance(&served.payer.account).await.unwrap();
    let funds = balance.min(60_000_000);
    let next = fitted(Ask::of("sim/lorem?tokens=5"), funds).unwrap();
    let answer = served.payer.caller.call(&next).await;
    findings.check(answer.is_complete(), || format!("afterwards: {answer:?}"));
    served.end(CALLS + 2, findings).await.unwrap();
}
