//! Credit that has an end, and statements, on a live system: what calls did not use lapses once, and what
//! is stated is what the wallet has.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use acceptance::call::Ask;
use acceptance::control::Control;
use acceptance::figure::nanos;
use acceptance::postgres::Postgres;
use acceptance::served::Served;
use reqwest::Method;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

const MOVABLE: &str = "[clock]\nmovable = true\n";
const FUNDS: i128 = 5_000_000_000;
const GIVEN: i128 = 1_000_000_000;
const DAY_S: i64 = 86_400;

/// Gives a dollar that lapses in three days of the house's date.
async fn give(served: &Served) {
    let clock = served.control.get("clock").await.unwrap();
    let now = clock["now"].as_str().unwrap();
    let now = OffsetDateTime::parse(now, &Rfc3339).unwrap();
    let end = (now + Duration::days(3)).format(&Rfc3339).unwrap();
    let path = format!("accounts/{}/top-ups", served.payer.account);
    let body = json!({
        "amount": { "amount": "1", "currency": "USD" }, "kind": "promo", "note": "welcome",
        "expires_at": end,
    });
    let given = served
        .control
        .ask(Method::POST, &path, Some("welcome"), Some(&body));
    let (status, said) = given.await.unwrap();
    assert_eq!(status, 201, "{said}");
}

/// What some calls cost together.
async fn calls(served: &Served) -> i128 {
    let mut cost = 0;
    for _ in 0..3 {
        let answer = served.payer.caller.call(&Ask::of("sim/echo")).await;
        let one = answer.cost_nanos().unwrap();
        assert!(one > 0, "{answer:?}");
        cost += one;
    }
    cost
}

/// Runs what is due; says what lapsed.
fn run(served: &Served, more: &[&str]) -> i128 {
    let arguments = [&["billing", "run", "--json"], more].concat();
    let done = served.gate.run(&arguments).unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
    let ran: Value = serde_json::from_slice(&done.stdout).unwrap();
    let lapsed = ran["lapsed"].as_array().unwrap();
    lapsed.iter().map(|of| nanos(&of["amount"]).unwrap()).sum()
}

/// Every statement of the account, the oldest first.
async fn statements(served: &Served) -> Vec<Value> {
    let list = format!("accounts/{}/statements", served.payer.account);
    let months = served.control.get(&list).await.unwrap();
    let mut all = Vec::new();
    for month in months["data"].as_array().unwrap().iter().rev() {
        let path = format!("{list}/{}", month["month"].as_str().unwrap());
        all.push(served.control.get(&path).await.unwrap());
        let pdf = served.control.file(&format!("{path}/statement.pdf")).await;
        assert!(pdf.unwrap().starts_with(b"%PDF"));
    }
    all
}

/// What the statements say moved, by kind.
fn moved(statements: &[Value], kind: &str) -> i128 {
    let movements = statements.iter().map(|of| of["movements"].as_array());
    let movements = movements.flat_map(Option::unwrap);
    let of_kind = movements.filter(|movement| movement["kind"] == kind);
    of_kind
        .map(|movement| nanos(&movement["amount"]).unwrap())
        .sum()
}

async fn what_is_not_used_lapses(database: Option<String>) {
    let served = Served::on(database, MOVABLE, FUNDS).await.unwrap();
    give(&served).await;
    let cost = calls(&served).await;
    let wallet = format!("accounts/{}/wallet", served.payer.account);
    let lots = served.control.get(&wallet).await.unwrap()["lots"].take();
    assert_eq!(lots[0]["kind"], "promo", "{lots}");
    assert_eq!(nanos(&lots[0]["remaining"]).unwrap(), GIVEN - cost);
    assert_eq!(run(&served, &[]), 0, "nothing is over yet");
    let ahead = json!({ "by_s": 4 * DAY_S });
    served.control.send("clock", None, &ahead).await.unwrap();
    // Whoever was signed in is so no more after so long.
    let control = Control::sign_in(&served.gate).await.unwrap();
    let served = Served { control, ..served };
    // The node may have been first with it.
    let here = run(&served, &[]);
    assert!([0, GIVEN - cost].contains(&here), "{here}");
    assert_eq!(run(&served, &[]), 0, "it lapses once");
    assert_eq!(run(&served, &["--dry-run"]), 0);
    let account = &served.payer.account;
    let balance = served.control.balance(account).await.unwrap();
    assert_eq!(balance, FUNDS);

    let stated = statements(&served).await;
    assert_eq!(moved(&stated, "top_up"), FUNDS);
    assert_eq!(moved(&stated, "promo"), GIVEN);
    assert_eq!(moved(&stated, "usage"), -cost);
    assert_eq!(moved(&stated, "expiry"), cost - GIVEN);
    let mut before = 0;
    for of in &stated {
        assert_eq!(nanos(&of["opening"]).unwrap(), before);
        before = nanos(&of["closing"]).unwrap();
    }
    assert_eq!(before, balance);
    served.gate.verify_ledger().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_calls_did_not_use_lapses_once_on_sqlite() {
    what_is_not_used_lapses(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_calls_did_not_use_lapses_once_on_postgresql() {
    let postgres = Postgres::find_or_start().unwrap();
    what_is_not_used_lapses(Some(postgres.database().unwrap())).await;
}
