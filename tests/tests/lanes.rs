//! Channels that take so many calls at once: boosted calls go first, nobody waits for ever, and what
//! was not served is not charged.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use acceptance::call::{Answer, Ask, Caller};
use acceptance::served::{Payer, Served};
use serde_json::Value;
use std::time::{Duration, Instant};

const FUNDS: i128 = 1_000_000_000;
const SOON: Duration = Duration::from_secs(20);

fn channel(name: &str, more: &str) -> String {
    format!(
        "[[channel]]\nname = \"{name}\"\nprotocol = \"simulated\"\nmodels = [\"sim/*\"]\n{more}\n"
    )
}

/// A call that outlasts the test unless it is dropped.
fn long() -> Ask {
    Ask::of("sim/lorem?chunk_ms=250")
        .streamed(true)
        .at_most(900)
}

async fn boosted(served: &Served) -> Payer {
    let payer = served.payer("boosted", FUNDS).await.unwrap();
    served.boost(&payer).unwrap();
    payer
}

/// The attempts on the receipt of a call: the channel and what came of each.
async fn attempts(served: &Served, payer: &Payer, answer: &Answer) -> Vec<[String; 2]> {
    let receipt = served.receipt(payer, answer.id.as_deref().unwrap()).await;
    let receipt = receipt.unwrap();
    let attempts = receipt["attempts"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    attempts
        .map(|one| [&one["channel"], &one["outcome"]].map(text))
        .collect()
}

/// Until the plan of a caller is known, its calls are standard ones.
async fn until_served(caller: &Caller, ask: &Ask) -> Answer {
    let since = Instant::now();
    loop {
        let answer = caller.call(ask).await;
        if answer.is_complete() || since.elapsed() > SOON {
            return answer;
        }
    }
}

#[tokio::test]
async fn a_boosted_call_finds_the_place_that_is_kept_for_it() {
    let lanes = "lanes = { concurrent = 2, boosted = 1, standard = 1, waiting = 1, wait_ms = 50 }";
    let served = Served::start(&channel("only", lanes), FUNDS).await.unwrap();
    let fast = boosted(&served).await;
    let standard = &served.payer.caller;
    let first = standard.begin(&long()).await.unwrap();
    let ask = Ask::of("sim/echo");
    let refused = standard.call(&ask).await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "no_place"));
    let missed = attempts(&served, &served.payer, &refused).await;
    assert_eq!(missed, [["only", "no_place"].map(str::to_owned)]);
    let answer = until_served(&fast.caller, &ask).await;
    assert!(answer.is_complete(), "{answer:?}");
    // A client that leaves gives its place to the next.
    drop(first);
    let answer = until_served(standard, &ask).await;
    assert!(answer.is_complete(), "{answer:?}");
    served.gate.verify_ledger().unwrap();
}

#[tokio::test]
async fn who_waited_is_served_and_the_receipt_says_so() {
    let lanes = "lanes = { concurrent = 1, boosted = 0, standard = 0, wait_ms = 20000 }";
    let served = Served::start(&channel("only", lanes), FUNDS).await.unwrap();
    let caller = &served.payer.caller;
    let slow = Ask::of("sim/echo?first_ms=400");
    let (first, second) = tokio::join!(caller.call(&slow), caller.call(&slow));
    assert!(
        first.is_complete() && second.is_complete(),
        "{first:?} {second:?}"
    );
    let mut all = Vec::new();
    for answer in [&first, &second] {
        all.push(attempts(&served, &served.payer, answer).await);
    }
    all.sort_by_key(Vec::len);
    let only = |outcome: &str| ["only".to_owned(), outcome.to_owned()];
    assert_eq!(all, [vec![only("ok")], vec![only("waited"), only("ok")]]);
    served.gate.verify_ledger().unwrap();
}

#[tokio::test]
async fn a_channel_for_boosted_calls_serves_nobody_else() {
    let fast = channel("fast", "priority = 1\nboosted_only = true");
    let config = fast + &channel("slow", "");
    let served = Served::start(&config, FUNDS).await.unwrap();
    let payer = boosted(&served).await;
    let ask = Ask::of("sim/echo");
    let standard = served.payer.caller.call(&ask).await;
    let tried = attempts(&served, &served.payer, &standard).await;
    assert_eq!(tried, [["slow", "ok"].map(str::to_owned)]);
    let since = Instant::now();
    loop {
        let answer = payer.caller.call(&ask).await;
        let tried = attempts(&served, &payer, &answer).await;
        if tried == [["fast", "ok"].map(str::to_owned)] {
            break;
        }
        assert!(since.elapsed() < SOON, "{tried:?}");
    }
}
