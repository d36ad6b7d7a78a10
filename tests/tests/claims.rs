//! What providers claim, and what is made of it where the table of outcomes has no room for it.

use acceptance::Failure;
use acceptance::audit::charge_of;
use acceptance::call::{Answer, Ask, Ending, read};
use acceptance::figure::text;
use acceptance::proof::Findings;
use acceptance::served::{Served, hold};
use serde_json::{Value, json};

const FUNDS: i128 = 10_000_000_000;

async fn receipt_of(served: &Served, answer: &Answer) -> Result<Value, Failure> {
    let id = answer.id.as_ref().ok_or("an answer without an id")?;
    served.receipt(&served.payer, id).await
}

/// The size of a model is that of each text; a batch of them may be larger.
#[tokio::test]
async fn a_batch_of_embeddings_is_charged_by_its_usage() {
    let served = Served::start("", FUNDS).await.unwrap();
    let mut findings = Findings::default();
    let (texts, words) = (20, 10_000);
    let input = vec!["a ".repeat(words); texts];
    let body = json!({ "model": "sim/embedding", "input": input }).to_string();
    let answer = read(served.payer.caller.post("/v1/embeddings").body(body), false).await;
    assert!(answer.is_complete(), "{} {}", answer.status, answer.code());
    let receipt = receipt_of(&served, &answer).await.unwrap();
    // $0.10 for a million tokens, 200,000 of them: beyond the 128,000 of one text.
    let (charge, wanted) = (charge_of(&receipt).unwrap(), 200_000 * 100);
    findings.check(
        charge == wanted && receipt["quarantined"] == false && receipt["source"] == "provider",
        || format!("{} and not {}: {receipt}", text(charge), text(wanted)),
    );
    served.end(1, findings).await.unwrap();
}

/// Two claims of 2⁶⁴ − 1 tokens: no sum of them overflows, and the next call is a call like any.
#[tokio::test]
async fn claims_that_no_sum_can_hold_are_set_aside() {
    let served = Served::start("", FUNDS).await.unwrap();
    let mut findings = Findings::default();
    let ask = Ask::of("sim/absurd-usage?mode=wrapped").at_most(50);
    for _ in 0..2 {
        let answer = served.payer.caller.call(&ask).await;
        assert!(answer.is_complete(), "{answer:?}");
        let receipt = receipt_of(&served, &answer).await.unwrap();
        findings.check(
            charge_of(&receipt).unwrap() == hold(&ask).unwrap() && receipt["quarantined"] == true,
            || format!("not the hold, set aside: {receipt}"),
        );
    }
    let plain = Ask::of("sim/absurd-usage?status=400").at_most(50);
    let refused = served.payer.caller.call(&plain).await;
    findings.check(refused.status == 400, || format!("{refused:?}"));
    let normal = served.payer.caller.call(&Ask::of("sim/echo")).await;
    findings.check(normal.cost_nanos() == Some(3 * 1_000 + 3 * 4_000), || {
        format!("a normal call afterwards: {normal:?}")
    });
    for group in ["total", "model", "key", "day"] {
        let usage = served.control.usage(&served.payer.account, group).await;
        match usage {
            Ok(rows) => findings.check(rows.iter().all(is_sane), || {
                format!("usage by {group}: {rows:?}")
            }),
            Err(error) => findings.check(false, || format!("usage by {group}: {error}")),
        }
    }
    served.end(4, findings).await.unwrap();
}

/// No number in it is one that so few calls cannot have made.
fn is_sane(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_u64().is_some_and(|number| number < 1_000_000),
        Value::Array(list) => list.iter().all(is_sane),
        Value::Object(members) => members.values().all(is_sane),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// A stream that ends when one of two answers is whole has not delivered both.
#[tokio::test]
async fn a_stream_that_ends_between_two_answers_is_not_completed() {
    let served = Served::start("", FUNDS).await.unwrap();
    let mut findings = Findings::default();
    // Two roles, two times three words and the first finish; then nothing more, without an error.
    let body = json!({
        "model": "sim/lorem?tokens=3&end_after=9", "stream": true, "n": 2, "max_tokens": 50,
        "messages": [{ "role": "user", "content": "one two three" }],
    });
    let request = served.payer.caller.post("/v1/chat/completions");
    let answer = read(request.body(body.to_string()), true).await;
    findings.check(
        answer.ending == Ending::Fault && answer.code() == "upstream_broke_off",
        || format!("the caller: {answer:?}"),
    );
    let receipt = receipt_of(&served, &answer).await.unwrap();
    findings.check(
        receipt["outcome"] == "cut_mid_stream"
            && receipt["source"] == "estimated"
            && charge_of(&receipt).unwrap() > 12 * 1_000,
        || format!("{receipt}"),
    );
    served.end(1, findings).await.unwrap();
}

/// Leaves a stream of 40 words after 5,000 tokens of reasoning, and gives the receipt.
async fn left(config: &str) -> Result<Value, Failure> {
    let served = Served::start(config, FUNDS).await?;
    let ask = Ask::of("sim/lorem?tokens=40&reasoning=5000&chunk_ms=50")
        .streamed(true)
        .at_most(6_000);
    let id = served.payer.caller.leave_after(&ask, 4).await?;
    let receipt = served.receipt(&served.payer, &id).await?;
    served.end(1, Findings::default()).await?;
    Ok(receipt)
}

#[tokio::test]
async fn a_stream_that_is_read_on_is_charged_by_the_providers_count() {
    let receipt = left("[limits]\ndrain_ms = 20000\n").await.unwrap();
    assert_eq!(receipt["outcome"], "client_gone_mid_stream", "{receipt}");
    assert_eq!(receipt["source"], "provider", "{receipt}");
    let charge = charge_of(&receipt).unwrap();
    assert_eq!(charge, 3 * 1_000 + 5_040 * 4_000, "{receipt}");
}

#[tokio::test]
async fn a_stream_that_is_left_is_charged_for_what_was_delivered() {
    let receipt = left("").await.unwrap();
    assert_eq!(receipt["outcome"], "client_gone_mid_stream", "{receipt}");
    assert_eq!(receipt["source"], "estimated", "{receipt}");
    let charge = charge_of(&receipt).unwrap();
    // Twelve in by the counter here, and some of forty words out.
    let output = (charge - 12 * 1_000) / 4_000;
    assert!((1..80).contains(&output), "{receipt}");
}
