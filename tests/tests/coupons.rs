//! A coupon, from its giving to its end, over the API and the command line of a running gate: less is
//! charged as often as it says, by the invoices that say so.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use acceptance::control::Control;
use acceptance::postgres::Postgres;
use acceptance::served::Served;
use reqwest::Method;
use serde_json::{Value, json};

const MOVABLE: &str = "[clock]\nmovable = true\n";
const FUNDS: i128 = 100_000_000_000;
/// The price of the plan, in nanos, and half of it.
const NINE: i128 = 9_000_000_000;
const HALF: i128 = 4_500_000_000;

fn run(served: &Served, arguments: &[&str]) -> Value {
    let done = served.gate.run(arguments).unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{arguments:?}: {said}");
    serde_json::from_slice(&done.stdout).unwrap_or(Value::Null)
}

async fn post(served: &Served, path: &str, body: Value) -> (u16, Value) {
    let (status, said) = served
        .control
        .ask(Method::POST, path, None, Some(&body))
        .await
        .unwrap();
    (status, said)
}

async fn balance(served: &Served) -> i128 {
    let balance = served.control.balance(&served.payer.account).await;
    balance.unwrap()
}

/// Lets a month pass, and does what is due.
async fn a_month_later(served: Served) -> Served {
    let by = json!({ "by_s": 31 * 86_400 });
    let moved = served.control.send("clock", None, &by).await;
    moved.unwrap();
    run(&served, &["billing", "run"]);
    // Whoever was signed in for so long is not any more.
    let control = Control::sign_in(&served.gate).await.unwrap();
    Served { control, ..served }
}

/// What the newest invoice asks for, and what it takes off.
async fn newest(served: &Served) -> (Value, Value) {
    let invoices = format!("accounts/{}/invoices", served.payer.account);
    let list = served.control.get(&invoices).await.unwrap();
    let number = list["data"][0]["number"].as_str().unwrap();
    let invoice = served.control.get(&format!("{invoices}/{number}")).await;
    let invoice = invoice.unwrap();
    (
        invoice["total"]["amount"].clone(),
        invoice["discounts"].clone(),
    )
}

async fn refusals(served: &Served) {
    let coupons = format!("accounts/{}/coupons", served.payer.account);
    for (code, status, why) in [
        ("NONE", 404, "no_such_coupon"),
        ("SPRING", 409, "coupon_other_plan"),
        ("a b", 422, "invalid"),
    ] {
        let (was, said) = post(served, &coupons, json!({ "code": code })).await;
        assert_eq!((was, &said["code"]), (status, &json!(why)), "{said}");
    }
    let subscription = format!("accounts/{}/subscription", served.payer.account);
    let wrong = json!({ "plan": "pro", "coupon": "NONE" });
    let (status, said) = post(served, &subscription, wrong).await;
    assert_eq!((status, &said["code"]), (404, &json!("no_such_coupon")));
    let redeemed = served.control.get(&coupons).await.unwrap();
    assert_eq!(redeemed["data"], json!([]));
    let found = served.control.ask(Method::GET, &subscription, None, None);
    assert_eq!(found.await.unwrap().0, 404);
    assert_eq!(balance(served).await, FUNDS);
}

async fn a_coupons_life(database: Option<String>) {
    let served = Served::on(database, MOVABLE, FUNDS).await.unwrap();
    let account = served.payer.account.clone();
    let terms = json!({ "currency": "USD", "price": NINE, "billing": { "every": "P1M" } });
    let plan = json!({ "code": "pro", "name": "Pro", "terms": terms });
    assert_eq!(post(&served, "plans", plan).await.0, 201);
    let spring = json!({ "code": "spring", "name": "Spring sale", "percent": "50",
        "duration": "periods", "periods": 2, "plans": ["pro"], "most_redemptions": 1 });
    let (status, given) = post(&served, "coupons", spring.clone()).await;
    assert_eq!((status, &given["code"]), (201, &json!("SPRING")), "{given}");
    assert_eq!(post(&served, "coupons", spring).await, (200, given));
    refusals(&served).await;

    let subscription = format!("accounts/{account}/subscription");
    let with = json!({ "plan": "pro", "coupon": "Spring" });
    let (status, began) = post(&served, &subscription, with).await;
    assert_eq!(
        (status, &began["state"]),
        (201, &json!("active")),
        "{began}"
    );
    assert_eq!(balance(&served).await, FUNDS - HALF);
    let off = json!([{ "code": "SPRING", "name": "Spring sale",
        "amount": { "amount": "4.50", "currency": "USD" } }]);
    assert_eq!(newest(&served).await, (json!("4.50"), off.clone()));
    // Twice is refused, and so is whoever comes after the last.
    let coupons = format!("accounts/{account}/coupons");
    let again = post(&served, &coupons, json!({ "code": "SPRING" })).await;
    assert_eq!(
        (again.0, &again.1["code"]),
        (409, &json!("coupon_redeemed_before"))
    );
    let other = served.payer("another", 0).await.unwrap().account;
    let done = served
        .gate
        .run(&["coupons", "redeem", "SPRING", "--account", &other]);
    let done = done.unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2));
    assert!(said.contains("SPRING is used up"), "{said}");

    let served = a_month_later(served).await;
    assert_eq!(balance(&served).await, FUNDS - 2 * HALF);
    assert_eq!(newest(&served).await, (json!("4.50"), off));
    let served = a_month_later(served).await;
    assert_eq!(balance(&served).await, FUNDS - 2 * HALF - NINE);
    assert_eq!(newest(&served).await, (json!("9.00"), json!([])));
    let redeemed = served.control.get(&coupons).await.unwrap();
    assert_eq!(redeemed["data"][0]["invoices_left"], 0);
    let page = format!("accounts/{account}/invoices/INV-000001/invoice.html");
    let page = served.control.file(&page).await.unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("Spring sale") && page.contains("SPRING"));
    by_command(&served);
    assert_eq!(served.gate.verify_ledger().unwrap()["holds"], true);
}

fn by_command(served: &Served) {
    let account = served.payer.account.as_str();
    let five = [
        "--amount",
        "5.00",
        "--currency",
        "USD",
        "--forever",
        "--json",
    ];
    let create = ["coupons", "create", "FIVE", "--name", "Five off"];
    let given = run(served, &[&create[..], &five].concat());
    assert_eq!(
        (&given["code"], &given["duration"]),
        (&json!("FIVE"), &json!("forever"))
    );
    let listed = run(served, &["coupons", "list", "--json"]);
    let codes = |list: &Value| -> Vec<Value> {
        let all = list["data"].as_array().unwrap().iter();
        all.map(|one| one["code"].clone()).collect()
    };
    assert_eq!(codes(&listed), ["FIVE", "SPRING"]);
    assert_eq!(listed["data"][1]["redemptions"], 1);
    run(served, &["coupons", "redeem", "five", "--account", account]);
    let of = ["coupons", "redeemed", "--account", account, "--json"];
    assert_eq!(codes(&run(served, &of)), ["SPRING", "FIVE"]);
    run(served, &["coupons", "archive", "FIVE"]);
    let shown = run(served, &["coupons", "show", "FIVE"]);
    assert!(shown["archived_at"].is_string(), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_takes_something_off_as_often_as_it_says() {
    a_coupons_life(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_takes_something_off_as_often_as_it_says_on_postgresql() {
    let postgres = Postgres::find_or_start().unwrap();
    a_coupons_life(Some(postgres.database().unwrap())).await;
}
