use billing_core::attribute::{Attribute, Attributes};
use billing_core::meter::{Meter, Usage};
use gateway_core::dialect::{Dialect, StreamEnd};
use gateway_core::metering::Reported;
use gateway_core::provider::collect;
use gateway_core::request;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::openai::OpenAi;

fn call(model: &str, more: &Value) -> UpstreamCall {
    let mut body = json!({"model": model, "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "one two  three"}]},
    ]});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    let body = Bytes::from(body.to_string());
    let head = request::read(Endpoint::ChatCompletions, &body).unwrap();
    let body = OpenAi.encode(&head, &body, model, None);
    UpstreamCall {
        endpoint: Endpoint::ChatCompletions,
        body,
        stream: head.stream,
    }
}

fn embed(more: &Value) -> UpstreamCall {
    let mut body = json!({"model": "sim/embedding", "input": ["one two", "three"]});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    let body = Bytes::from(body.to_string());
    UpstreamCall {
        endpoint: Endpoint::Embeddings,
        body,
        stream: false,
    }
}

async fn send(call: UpstreamCall) -> UpstreamReply {
    SimulatedProvider::default().send(call).await.unwrap()
}

async fn whole(model: &str, more: Value) -> (u16, Bytes) {
    let reply = send(call(model, &more)).await;
    (reply.status, collect(reply.body, usize::MAX).await.unwrap())
}

/// The events that a client would see, what was in the stream, and whether it broke.
async fn streamed(model: &str, mut more: Value) -> (Vec<Value>, StreamEnd, bool) {
    use futures_util::StreamExt;
    more["stream"] = true.into();
    let mut reply = send(call(model, &more)).await;
    let (mut frames, mut out, mut broke) = (OpenAi.frames(), Vec::new(), false);
    while let Some(chunk) = reply.body.next().await {
        match chunk {
            Ok(bytes) => frames.feed(bytes, &mut out),
            Err(_) => broke = true,
        }
    }
    let text = String::from_utf8(out.concat()).unwrap();
    let events = text
        .split_terminator("\n\n")
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap());
    (events.collect(), frames.finish(), broke)
}

fn said(events: &[Value]) -> String {
    events
        .iter()
        .filter_map(|e| e["choices"][0]["delta"]["content"].as_str())
        .collect()
}

fn io(input: u64, output: u64) -> Reported {
    Reported::Given(
        Usage::NONE
            .with(Meter::Input, input)
            .with(Meter::Output, output),
    )
}

#[tokio::test]
async fn echo_says_the_last_user_message() {
    let (status, body) = whole("sim/echo", json!({})).await;
    let json: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, 200);
    assert_eq!(json["choices"][0]["message"]["content"], "one two  three");
    assert_eq!(json["choices"][0]["finish_reason"], "stop");
    assert_eq!(json["model"], "sim/echo");
    let reply = OpenAi.read_reply(Endpoint::ChatCompletions, &body).unwrap();
    assert_eq!(reply.usage, io(5, 3));
    let (events, end, broke) = streamed("sim/echo", json!({})).await;
    assert_eq!(said(&events), "one two  three");
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!((end.usage, end.complete, broke), (io(5, 3), true, false));
    assert_eq!(end.delivered.bytes(), 14);
}

#[tokio::test]
async fn a_limit_cuts_the_answer() {
    let (_, body) = whole("sim/echo", json!({"max_tokens": 2, "n": 2})).await;
    let json: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(json["choices"][1]["message"]["content"], "one two  ");
    assert_eq!(json["choices"][1]["finish_reason"], "length");
    assert_eq!(json["usage"]["completion_tokens"], 4);
    let (events, end, _) = streamed("sim/lorem", json!({"max_tokens": 7, "n": 3})).await;
    assert_eq!(end.usage, io(5, 21));
    assert_eq!(events.len(), 3 * (1 + 7 + 1));
}

#[tokio::test]
async fn lorem_says_as_many_words_as_are_wanted() {
    for (model, limit, words) in [
        ("sim/lorem?tokens=50", None, 50),
        ("sim/lorem", None, 200),
        ("sim/lorem", Some(30), 30),
        ("sim/lorem?tokens=50", Some(30), 30),
    ] {
        let (_, end, _) = streamed(model, json!({"max_tokens": limit})).await;
        assert_eq!(end.usage, io(5, words), "{model} {limit:?}");
    }
    let (_, end, _) = streamed("sim/lorem?tokens=9&cached=2&reasoning=4", json!({})).await;
    let wanted = Usage::NONE
        .with(Meter::Input, 3)
        .with(Meter::CacheRead, 2)
        .with(Meter::Output, 9)
        .with(Meter::Reasoning, 4);
    assert_eq!(end.usage, Reported::Given(wanted));
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer() {
    let (_, a) = whole("sim/lorem?seed=1", json!({})).await;
    assert_eq!(a, whole("sim/lorem?seed=1", json!({})).await.1);
    assert_ne!(a, whole("sim/lorem?seed=2", json!({})).await.1);
}

#[tokio::test(start_paused = true)]
async fn slow_takes_its_time() {
    let began = Instant::now();
    let (_, end, _) = streamed("sim/slow?first_ms=70&chunk_ms=10&tokens=4", json!({})).await;
    assert!(end.complete);
    // A role, four words, a finish, a usage and the end: seven pauses between eight events.
    assert_eq!(began.elapsed().as_millis(), 70 + 7 * 10);
}

#[tokio::test(start_paused = true)]
async fn flaky_fails_as_it_is_told() {
    assert_eq!(whole("sim/flaky?status=500", json!({})).await.0, 500);
    let limited = send(call("sim/flaky?status=429", &json!({}))).await;
    assert_eq!(
        (limited.status, limited.retry_after),
        (429, Some(Duration::from_secs(1)))
    );
    let body = collect(limited.body, 9999).await.unwrap();
    assert_eq!(OpenAi.read_fault(429, &body).kind, "rate_limit_error");
    let hung = SimulatedProvider::default()
        .send(call("sim/flaky?hang=1", &json!({})))
        .await;
    assert_eq!(
        hung.unwrap_err(),
        SendError::Timeout(Duration::from_secs(30))
    );
    let mut seen = [0; 4];
    for seed in 0..60 {
        let model = format!("sim/flaky?seed={seed}");
        let kind = match SimulatedProvider::default()
            .send(call(&model, &json!({})))
            .await
        {
            Ok(reply) => [200, 429, 500]
                .iter()
                .position(|s| *s == reply.status)
                .unwrap(),
            Err(_) => 3,
        };
        seen[kind] += 1;
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    assert_eq!(whole("sim/flaky?rate=0", json!({})).await.0, 200);
}

#[tokio::test]
async fn cut_breaks_off() {
    let (events, end, broke) = streamed("sim/cut?tokens=10", json!({})).await;
    assert!(broke && !end.complete);
    assert_eq!(
        (said(&events).split_whitespace().count(), end.usage),
        (5, Reported::Missing)
    );
    let (events, ..) = streamed("sim/cut?tokens=10&cut_after=0", json!({})).await;
    assert_eq!(said(&events), "");
    let reply = send(call("sim/cut", &json!({}))).await;
    assert!(collect(reply.body, 9999).await.is_err());
}

#[tokio::test]
async fn a_stream_may_end_without_saying_so() {
    let model = "sim/lorem?tokens=3&end_after=9";
    let (events, end, broke) = streamed(model, json!({"n": 2})).await;
    // Two roles, two times three words, and the finish of the first answer only.
    assert_eq!(events.len(), 9);
    assert_eq!(events[8]["choices"][0]["finish_reason"], "stop");
    assert_eq!(
        (end.complete, end.closed, broke, end.usage),
        (true, false, false, Reported::Missing)
    );
}

#[tokio::test]
async fn usage_is_absent_zero_or_absurd_where_it_should_be() {
    for (model, usage) in [
        ("sim/no-usage", Reported::Missing),
        ("sim/zero-usage", Reported::Given(Usage::NONE)),
        ("sim/absurd-usage", io(5, 1_000_000_000_000)),
        ("sim/absurd-usage?mode=wrapped", io(5, u64::MAX)),
        ("sim/absurd-usage?mode=negative", Reported::Malformed),
        ("sim/absurd-usage?mode=fractional", Reported::Malformed),
        ("sim/absurd-usage?mode=text", Reported::Malformed),
    ] {
        let (_, body) = whole(model, json!({})).await;
        let reply = OpenAi.read_reply(Endpoint::ChatCompletions, &body).unwrap();
        assert_eq!(reply.usage, usage, "{model}");
        let (_, end, _) = streamed(model, json!({})).await;
        assert_eq!((end.usage, end.complete), (usage, true), "{model}");
    }
}

#[tokio::test]
async fn region_and_speed_are_stated_as_wanted() {
    let none = Attributes::NONE;
    let us = none.clone().with(Attribute::Region, "us");
    let both = us.clone().with(Attribute::Speed, "fast");
    for (model, attributes) in [
        ("sim/echo", none),
        ("sim/echo?geo=us", us),
        ("sim/echo?geo=us&speed=fast", both),
    ] {
        let (_, body) = whole(model, json!({})).await;
        let reply = OpenAi.read_reply(Endpoint::ChatCompletions, &body).unwrap();
        assert_eq!(reply.attributes, attributes, "{model}");
        let (_, end, _) = streamed(model, json!({})).await;
        assert_eq!(end.attributes, attributes, "{model}");
    }
}

#[tokio::test]
async fn embeddings_are_vectors_in_either_form() {
    let read = |call| async move {
        let body = collect(send(call).await.body, 99_999).await.unwrap();
        let reply = OpenAi.read_reply(Endpoint::Embeddings, &body).unwrap();
        (reply.usage, serde_json::from_slice::<Value>(&body).unwrap())
    };
    let (usage, floats) = read(embed(&json!({}))).await;
    assert_eq!(usage, io(3, 0));
    assert_eq!(floats["data"][1]["embedding"].as_array().unwrap().len(), 64);
    let (_, base64) = read(embed(
        &json!({"encoding_format": "base64", "dimensions": 3}),
    ))
    .await;
    assert_eq!(base64["data"][0]["embedding"].as_str().unwrap().len(), 16);
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused() {
    for (model, status) in [
        ("gpt-5", 404),
        ("sim/echo?x=1", 400),
        ("sim/embedding", 400),
    ] {
        assert_eq!(whole(model, json!({})).await.0, status, "{model}");
    }
    assert_eq!(
        answer::to(Endpoint::ChatCompletions, &Bytes::from_static(b"{")).status,
        400
    );
}
