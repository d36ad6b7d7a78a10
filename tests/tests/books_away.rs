//! The database is away for a while: calls that hold their funds are served, and nothing is lost.
//!
//! Away is a write lock that somebody else holds: reads work, no write does.

use std::time::{Duration, Instant};

use acceptance::Failure;
use acceptance::audit::charge_of;
use acceptance::call::{Answer, Ask};
use acceptance::lock::WriteLock;
use acceptance::proof::Findings;
use acceptance::served::{Payer, Served, fitted, hold};
use tokio::task::JoinSet;

const FUNDS: i128 = 1_000_000_000;
const CALLS: usize = 12;
/// Three words in and six out.
const CHARGE: i128 = 3 * 1_000 + 6 * 4_000;
/// Within this a call ends whose books do not answer: `spool.settle_timeout_ms` and a slow machine.
const PATIENCE: Duration = Duration::from_secs(8);
/// Within this one ends whose books are known to be away.
const AT_ONCE: Duration = Duration::from_millis(1_500);

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

/// For a moment: calls that hold their funds are served. The lease of an account's first call comes when that call has been told already; it is this node's all the same.
#[tokio::test]
async fn calls_are_served_and_a_late_lease_is_not_lost() {
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

/// For long: calls end all the same, the first as soon as the books have not answered for a while,
/// those after them at once. Each is charged once, when the books are back.
#[tokio::test]
async fn calls_end_while_the_books_are_away_and_are_charged_once_they_are_back() {
    let served = Served::start("", FUNDS).await.unwrap();
    let mut findings = Findings::default();
    let first = served.payer.caller.call(&Ask::of("sim/echo")).await;
    assert!(first.is_complete(), "{first:?}");

    let away = lock(&served).unwrap();
    let mut answers = calls(&served.payer).join_all().await;
    let slowest = answers.iter().map(|(_, answer)| answer.took).max();
    findings.check(slowest < Some(PATIENCE), || format!("{slowest:?}"));
    let later = calls(&served.payer).join_all().await;
    let slowest = later.iter().map(|(_, answer)| answer.took).max();
    findings.check(slowest < Some(AT_ONCE), || {
        format!("the books are waited for again and again: {slowest:?}")
    });
    answers.extend(later);
    for (_, answer) in &answers {
        findings.check(
            answer.is_complete() && answer.cost_nanos() == Some(CHARGE),
            || format!("not served, or without its cost: {answer:?}"),
        );
    }
    away.release().unwrap();

    on_record(&served, &answers, &mut findings).await.unwrap();
    let balance = served.control.balance(&served.payer.account).await.unwrap();
    let funds = balance.min(60_000_000);
    let next = fitted(Ask::of("sim/lorem?tokens=5"), funds).unwrap();
    let answer = served.payer.caller.call(&next).await;
    findings.check(answer.is_complete(), || format!("afterwards: {answer:?}"));
    served.end(2 * CALLS + 2, findings).await.unwrap();
}

/// The process is killed while its spool holds calls: the next one charges them before it serves.
#[tokio::test]
async fn a_killed_process_leaves_its_spool_to_the_next() {
    let mut served = Served::start("", FUNDS).await.unwrap();
    let mut findings = Findings::default();
    let first = served.payer.caller.call(&Ask::of("sim/echo")).await;
    assert!(first.is_complete(), "{first:?}");
    let away = lock(&served).unwrap();
    let answers = calls(&served.payer).join_all().await;
    for (_, answer) in &answers {
        findings.check(answer.is_complete(), || format!("not served: {answer:?}"));
    }
    served.gate.kill().unwrap();
    let start = Instant::now();
    // It is let go of while the next process waits for it.
    let (started, released) = tokio::join!(served.gate.start(), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        away.release()
    });
    started.unwrap();
    released.unwrap();
    findings.check(start.elapsed() < Duration::from_secs(20), || {
        format!("the start took {:?}", start.elapsed())
    });
    on_record(&served, &answers, &mut findings).await.unwrap();
    served.end(CALLS + 1, findings).await.unwrap();
}
