//! A date that is moved: months of a customer's life in a moment, on every process that has these
//! books open, and only where the configuration says that nothing here is real.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::time::{Duration, Instant};

use acceptance::call::Ask;
use acceptance::control::Control;
use acceptance::gate::Gate;
use acceptance::served::Served;
use reqwest::Method;
use serde_json::{Value, json};

const MOVABLE: &str = "[clock]\nmovable = true\n";
const DAY_S: u64 = 86_400;
/// How long a process may take to hear that the date was moved.
const SOON: Duration = Duration::from_secs(20);

fn run(gate: &Gate, arguments: &[&str]) -> Value {
    let done = gate.run(arguments).unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{arguments:?}: {said}");
    serde_json::from_slice(&done.stdout).unwrap_or(Value::Null)
}

/// A plan that costs 9.00 a month.
fn subscribe(served: &Served) {
    let terms =
        json!({ "currency": "USD", "price": 9_000_000_000_i64, "billing": { "every": "P1M" } });
    let plan = json!({ "code": "pro", "name": "Pro", "terms": terms });
    let file = served.gate.folder().join("pro.json");
    std::fs::write(&file, plan.to_string()).unwrap();
    run(&served.gate, &["plans", "publish", file.to_str().unwrap()]);
    let who = [
        "--account",
        &served.payer.account,
        "--plan",
        "pro",
        "--billed",
    ];
    run(&served.gate, &[&["plans", "subscribe"][..], &who].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_passes_in_a_moment_for_everybody() {
    let served = Served::start(MOVABLE, 100_000_000_000).await.unwrap();
    subscribe(&served);
    // Whoever was signed in for so long is not any more.
    let fees = async || {
        let control = Control::sign_in(&served.gate).await.unwrap();
        let ledger = control.ledger(&served.payer.account).await.unwrap();
        ledger.iter().filter(|txn| txn["kind"] == "fee").count()
    };
    assert_eq!(fees().await, 1);

    let control = &served.control;
    let before = control.get("clock").await.unwrap();
    assert_eq!(
        (&before["ahead_s"], &before["movable"]),
        (&0.into(), &true.into())
    );
    let moved = json!({ "by_s": 20 * DAY_S });
    let moved = control.ask(Method::POST, "clock", None, Some(&moved)).await;
    let (status, moved) = moved.unwrap();
    assert_eq!(status, 200, "{moved}");
    run(&served.gate, &["billing", "run"]);
    assert_eq!(fees().await, 1, "the month is not over");

    // From another process, which the server hears of.
    let shown = run(&served.gate, &["clock", "advance", "--by", "20d", "--json"]);
    assert!(shown["ahead_s"].as_u64().unwrap() >= 40 * DAY_S, "{shown}");
    run(&served.gate, &["billing", "run"]);
    let since = Instant::now();
    loop {
        let control = Control::sign_in(&served.gate).await.unwrap();
        // Between the two it may hear of it, and the session be over.
        let seen = control.get("clock").await;
        if seen.is_ok_and(|seen| seen["now"].as_str() >= shown["now"].as_str()) {
            break;
        }
        assert!(since.elapsed() < SOON, "the server does not hear of it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(fees().await, 2);
    let answer = served.payer.caller.call(&Ask::of("sim/echo")).await;
    assert!(answer.is_complete(), "{answer:?}");
    served.gate.verify_ledger().unwrap();
    let doctor = served.gate.run(&["doctor"]).unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(
        said.contains("moved ahead by") && !said.contains("NTP"),
        "{said}"
    );

    // Whoever opens these books next has their date, whatever its configuration says.
    let served = served.again("").await.unwrap();
    let seen = served.control.get("clock").await.unwrap();
    assert!(seen["ahead_s"].as_u64().unwrap() >= 40 * DAY_S, "{seen}");
    assert_eq!(seen["movable"], false);
    assert!(seen["now"].as_str() >= shown["now"].as_str(), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_goes_forward_only_and_only_where_it_may() {
    let served = Served::start(MOVABLE, 0).await.unwrap();
    let path = "clock";
    for (body, code) in [
        (json!({ "to": "2020-01-01T00:00:00Z" }), "backwards"),
        (json!({ "to": "2999-01-01T00:00:00Z" }), "too_far"),
        (json!({}), "one_of"),
        (json!({ "by_s": 1, "to": "2030-01-01T00:00:00Z" }), "one_of"),
        (json!({ "by_s": -1 }), "not_a_quantity"),
    ] {
        let (status, said) = served
            .control
            .ask(Method::POST, path, None, Some(&body))
            .await
            .unwrap();
        assert_eq!(
            (status, &said["errors"][0]["code"]),
            (422, &code.into()),
            "{said}"
        );
    }
    let back = served
        .gate
        .run(&["clock", "advance", "--to", "2020-01-01"])
        .unwrap();
    assert_eq!(back.status.code(), Some(2));
    assert_eq!(served.control.get(path).await.unwrap()["ahead_s"], 0);

    let served = served.again("").await.unwrap();
    let body = json!({ "by_s": 60 });
    let (status, said) = served
        .control
        .ask(Method::POST, path, None, Some(&body))
        .await
        .unwrap();
    assert_eq!((status, &said["code"]), (409, &"conflict".into()), "{said}");
    let refused = served
        .gate
        .run(&["clock", "advance", "--by", "1d"])
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("clock.movable"), "{why}");
    assert_eq!(served.control.get(path).await.unwrap()["ahead_s"], 0);
}
