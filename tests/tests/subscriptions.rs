//! A customer's plan, from the first fee to the end, over the API and the command line of a running
//! gate: what was shown is what is charged, and the books hold.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use acceptance::figure::nanos;
use acceptance::postgres::Postgres;
use acceptance::served::Served;
use reqwest::Method;
use serde_json::{Value, json};

const MOVABLE: &str = "[clock]\nmovable = true\n";
const FUNDS: i128 = 100_000_000_000;

fn plan(code: &str, price: i64) -> Value {
    json!({ "code": code, "name": code, "terms": {
        "currency": "USD", "price": price, "billing": { "every": "P1M" },
    } })
}

/// Runs a command and reads the JSON that it prints.
fn command(served: &Served, arguments: &[&str]) -> (Option<i32>, Value) {
    let who = ["--account", &served.payer.account, "--json"];
    let arguments = [&["plans"], arguments, &who].concat();
    let done = served.gate.run(&arguments).unwrap();
    let said = serde_json::from_slice(&done.stdout);
    (done.status.code(), said.unwrap_or(Value::Null))
}

async fn asked(served: &Served, tail: &str, key: &str, body: Value) -> (u16, Value) {
    let path = format!("accounts/{}/subscription{tail}", served.payer.account);
    let control = &served.control;
    let answer = control.ask(Method::POST, &path, Some(key), Some(&body));
    answer.await.unwrap()
}

async fn stands(served: &Served) -> Value {
    let path = format!("accounts/{}/subscription", served.payer.account);
    served.control.get(&path).await.unwrap()
}

async fn balance(served: &Served) -> i128 {
    let balance = served.control.balance(&served.payer.account).await;
    balance.unwrap()
}

async fn a_customers_life(database: Option<String>) {
    let served = Served::on(database, MOVABLE, FUNDS).await.unwrap();
    let control = &served.control;
    for (code, price) in [("pro", 9_000_000_000), ("team", 30_000_000_000)] {
        control
            .send("plans", None, &plan(code, price))
            .await
            .unwrap();
    }
    let (status, began) = asked(&served, "", "begin", json!({ "plan": "pro" })).await;
    assert_eq!(
        (status, &began["state"]),
        (201, &json!("active")),
        "{began}"
    );
    assert_eq!(balance(&served).await, FUNDS - 9_000_000_000);
    control
        .send("clock", None, &json!({ "by_s": 10 * 86_400 }))
        .await
        .unwrap();
    // Whoever was signed in is so no more after so long.
    let control = acceptance::control::Control::sign_in(&served.gate)
        .await
        .unwrap();
    let served = Served { control, ..served };

    let (status, quote) = asked(&served, "/quote", "", json!({ "plan": "team" })).await;
    assert_eq!(status, 201, "{quote}");
    let total = nanos(&quote["total"]).unwrap();
    assert!(total > 0 && total < 21_000_000_000, "{quote}");
    let (_, shown) = command(&served, &["change", "--plan", "team", "--preview"]);
    assert_eq!(shown["way"], "in_place", "{shown}");
    let before = balance(&served).await;
    let taking = json!({ "quote": quote["id"] });
    // The answer was lost, so the client asks again, from several places at once.
    let same = || asked(&served, "/change", "up", taking.clone());
    let (first, second, third) = tokio::join!(same(), same(), same());
    for (status, done) in [&first, &second, &third] {
        assert_eq!((*status, &done["total"]), (200, &quote["total"]), "{done}");
        assert_eq!(done, &first.1);
    }
    assert_eq!(balance(&served).await, before - total);
    let (status, refused) = asked(&served, "/change", "again", taking).await;
    assert_eq!((status, &refused["code"]), (409, &json!("quote_taken")));
    assert_eq!(stands(&served).await["plan"]["code"], "team");

    by_command(&served).await;
    served.gate.verify_ledger().unwrap();
}

/// Down, back, to rest, up again and to the end.
async fn by_command(served: &Served) {
    let (code, down) = command(served, &["change", "--plan", "pro"]);
    assert_eq!(
        (code, &down["total"]["amount"]),
        (Some(0), &json!("0.00")),
        "{down}"
    );
    assert_eq!(stands(served).await["pending"]["plan"]["code"], "pro");
    let (code, _) = command(served, &["resume"]);
    assert_eq!(code, Some(0));
    assert_eq!(stands(served).await["pending"], Value::Null);
    let (code, _) = command(served, &["resume"]);
    assert_eq!(code, Some(2));
    let (_, rests) = command(served, &["pause"]);
    assert_eq!(rests["subscription"]["state"], "paused", "{rests}");
    let (_, shown) = command(served, &["show"]);
    assert_eq!(
        (&shown["state"], &shown["entitled"]),
        (&json!("paused"), &json!(false))
    );
    let before = balance(served).await;
    let (_, up) = command(served, &["unpause", "--key", "once"]);
    assert_eq!(nanos(&up["total"]).unwrap(), 30_000_000_000, "{up}");
    let (_, again) = command(served, &["unpause", "--key", "once"]);
    assert_eq!(again, up);
    assert_eq!(balance(served).await, before - 30_000_000_000);
    let (_, over) = command(served, &["cancel", "--now", "--credit"]);
    let back = nanos(&over["total"]).unwrap();
    assert!(
        (-30_000_000_000..=-29_900_000_000).contains(&back),
        "{over}"
    );
    assert_eq!(balance(served).await, before - 30_000_000_000 - back);
    let (code, _) = command(served, &["show"]);
    assert_eq!(code, Some(2));
}

/// Runs `plans move` and reads the JSON that it prints.
fn moved(served: &Served, more: &[&str]) -> Value {
    let arguments = [&["plans", "move", "--plan", "pro", "--json"], more].concat();
    let done = served.gate.run(&arguments).unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
    serde_json::from_slice(&done.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_are_moved_to_a_new_version_as_was_shown_when_their_period_is_over() {
    let served = Served::start(MOVABLE, FUNDS).await.unwrap();
    let (control, account) = (&served.control, &served.payer.account);
    control
        .send("plans", None, &plan("pro", 9_000_000_000))
        .await
        .unwrap();
    let (status, _) = asked(&served, "", "begin", json!({ "plan": "pro" })).await;
    assert_eq!(status, 201);
    // One that was given has no period that is paid.
    let (given, _) = control.funded("given", 0).await.unwrap();
    let who = ["plans", "subscribe", "--account", &given, "--plan", "pro"];
    assert!(served.gate.run(&who).unwrap().status.success());
    control
        .send("plans", None, &plan("pro", 12_000_000_000))
        .await
        .unwrap();
    let paid = balance(&served).await;
    assert_eq!(paid, FUNDS - 9_000_000_000);

    let shown = moved(&served, &[]);
    assert_eq!(
        (&shown["preview"], &shown["moves"], &shown["stay"]),
        (&json!(true), &json!(1), &json!({ "given": 1 })),
        "{shown}"
    );
    let lines = shown["subscribers"].as_array().unwrap();
    let mine = lines.iter().find(|line| line["account"] == **account);
    let mine = mine.unwrap();
    assert_eq!(
        (&mine["version"], &mine["fee"], &mine["new_fee"]),
        (&json!(1), &json!("9.00 USD"), &json!("12.00 USD"))
    );
    assert_eq!(stands(&served).await["pending"], Value::Null);

    let done = moved(&served, &["--confirm"]);
    assert_eq!(
        (&done["moves"], &done["subscribers"]),
        (&json!(1), &shown["subscribers"])
    );
    let pending = &stands(&served).await["pending"];
    assert_eq!(pending["plan"]["version"], 2, "{pending}");
    assert_eq!(pending["at"], mine["at"]);
    assert_eq!(balance(&served).await, paid, "nothing is charged before");
    let again = moved(&served, &["--confirm"]);
    assert_eq!(
        (&again["moves"], &again["stay"]),
        (&json!(0), &json!({ "given": 1, "there": 1 }))
    );

    who_chose_otherwise_stays(&served).await;

    let by = ["clock", "advance", "--by", "32d"];
    assert!(served.gate.run(&by).unwrap().status.success());
    assert!(
        served
            .gate
            .run(&["billing", "run"])
            .unwrap()
            .status
            .success()
    );
    let (_, stands) = command(&served, &["show"]);
    assert_eq!(
        (&stands["plan"]["version"], &stands["fee"]["amount"]),
        (&json!(2), &json!("12.00")),
        "{stands}"
    );
    served.gate.verify_ledger().unwrap();
}

async fn who_chose_otherwise_stays(served: &Served) {
    let (status, _) = asked(served, "/resume", "back", json!({})).await;
    assert_eq!(status, 200);
    let (status, _) = asked(served, "/cancel", "ends", json!({})).await;
    assert_eq!(status, 200);
    let ends = moved(served, &["--confirm"]);
    assert_eq!(ends["stay"], json!({ "ends": 1, "given": 1 }), "{ends}");
    let (status, _) = asked(served, "/resume", "on", json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(moved(served, &["--confirm"])["moves"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_shown_is_what_a_plan_costs_on_sqlite() {
    a_customers_life(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_shown_is_what_a_plan_costs_on_postgresql() {
    let postgres = Postgres::find_or_start().unwrap();
    a_customers_life(Some(postgres.database().unwrap())).await;
}
