use std::sync::Arc;

use actix_web::http::StatusCode;
use billing_core::adjustment::{Adjustment, CallPart};
use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::{LotId, PriceVersionId};
use billing_core::money::{Currency, Nanos};
use billing_core::port::catalogue::PriceEdition;
use billing_core::price_book::ModelFacts;
use billing_core::tier_schedule::TierSchedule;
use billing_core::wallet::LotKind;
use serde_json::json;
use testkit::world::{NOON, price};
use time::Duration;

use super::price_list::by_calls;
use super::scene::Scene;

#[actix_web::test]
async fn one_figure_stands_on_list_receipt_usage_and_ledger() {
    let scene = Scene::new().await;
    scene.world.top_up(1_000_000).await;
    let call = scene.world.lease_and_settle(5_000, 1_234).await.call.call;
    let account = format!("/api/v1/accounts/{}", scene.account());
    let charge = json!({"amount": "0.000001234", "currency": "USD"});

    let list = scene.get(&format!("{account}/calls"), &scene.member).await;
    assert_eq!(list.body["data"][0]["id"], call.to_string());
    assert_eq!(list.body["data"][0]["charge"], charge, "{}", list.text);
    let receipt = scene
        .get(&format!("{account}/calls/{call}"), &scene.member)
        .await;
    assert_eq!(receipt.body["charge"], charge, "{}", receipt.text);
    assert_eq!(receipt.body["lines"][0]["meter"], "output");
    assert_eq!(receipt.body["freed"]["amount"], "0.000003766");
    assert_eq!(receipt.body["payer"]["lots"][0]["amount"], charge);
    let usage = scene
        .get(&format!("{account}/usage?group_by=model"), &scene.member)
        .await;
    assert_eq!(usage.body["total"]["charge"], charge, "{}", usage.text);
    assert_eq!(usage.body["data"][0]["group"], "m");
    let ledger = scene.get(&format!("{account}/ledger"), &scene.member).await;
    let entries = ledger.body["data"][0]["entries"].as_array().unwrap();
    assert!(
        entries.iter().any(|e| e["amount"] == charge),
        "{}",
        ledger.text
    );
    let unknown = scene
        .get(&format!("{account}/calls/req_0000000000001"), &scene.member)
        .await;
    unknown.is_problem(StatusCode::NOT_FOUND, "not_found");
}

#[actix_web::test]
async fn calls_are_filtered_and_paged() {
    let scene = Scene::new().await;
    scene.world.top_up(1_000_000).await;
    for due in 1..=5 {
        scene.world.lease_and_settle(10, due).await;
    }
    let calls = format!("/api/v1/accounts/{}/calls", scene.account());
    let page = scene.get(&format!("{calls}?limit=3"), &scene.member).await;
    let charges = |page: &super::Reply| -> Vec<String> {
        let data = page.body["data"].as_array().unwrap();
        data.iter()
            .map(|c| c["charge"]["amount"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        charges(&page),
        ["0.000000005", "0.000000004", "0.000000003"]
    );
    let cursor = page.body["next_cursor"].as_str().unwrap();
    let rest = scene
        .get(&format!("{calls}?limit=3&cursor={cursor}"), &scene.member)
        .await;
    assert_eq!(charges(&rest), ["0.000000002", "0.000000001"]);
    assert_eq!(rest.body["has_more"], false);
    for (filter, count) in [
        (format!("key={}", scene.world.key), 5),
        ("key=key_0000000000001".to_owned(), 0),
        ("model=m".to_owned(), 5),
        ("model=other".to_owned(), 0),
        (
            "from=2026-11-22T12:00:00Z&to=2026-11-22T12:00:01Z".to_owned(),
            5,
        ),
        ("to=2026-11-22T12:00:00Z".to_owned(), 0),
    ] {
        let page = scene.get(&format!("{calls}?{filter}"), &scene.member).await;
        assert_eq!(charges(&page).len(), count, "{filter}: {}", page.text);
    }
    let backwards = "from=2026-11-22T12:00:00Z&to=2026-11-21T12:00:00Z";
    let reply = scene
        .get(&format!("{calls}?{backwards}"), &scene.member)
        .await;
    reply.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    let reply = scene
        .get(&format!("{calls}?cursor=acc_0000000000001"), &scene.member)
        .await;
    reply.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
}

#[actix_web::test]
async fn a_probe_says_whether_it_can_serve() {
    let scene = Scene::new().await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(scene.get(path, "").await.status, StatusCode::OK);
    }
}

#[actix_web::test]
async fn the_prices_of_a_model_are_listed_newest_first_and_paged() {
    let scene = Scene::new().await;
    // The oldest of "m" is that of the scene, 900; each is of another day, the last of tomorrow.
    let version = |id, model: &str, days| {
        let from = NOON + Duration::days(days);
        (
            price(PriceVersionId::new(id), model, from),
            ModelFacts::default(),
        )
    };
    let edition = PriceEdition {
        source: "test".to_owned(),
        versions: vec![
            version(901, "m", -3),
            version(902, "m", 1),
            version(903, "m", -1),
            version(904, "lab/m:x", -1),
        ],
        ..PriceEdition::default()
    };
    scene.record(edition).await;
    let ids = |page: &super::Reply| -> Vec<String> {
        let data = page.body["data"].as_array().unwrap();
        data.iter()
            .map(|v| v["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let named = |numbers: &[i64]| -> Vec<String> {
        let ids = numbers.iter().map(|n| PriceVersionId::new(*n).to_string());
        ids.collect()
    };
    let first = scene
        .get("/api/v1/models/m/prices?limit=3", &scene.stranger)
        .await;
    assert_eq!(ids(&first), named(&[902, 900, 903]), "{}", first.text);
    assert_eq!(first.body["has_more"], true);
    let in_effect: Vec<bool> = first.body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["in_effect"].as_bool().unwrap())
        .collect();
    assert_eq!(in_effect, [false, true, false]);
    let rates = json!([
        {"meter": "input", "service_tier": "standard", "threshold": null, "condition": null,
            "per_million_tokens": "0.002"},
        {"meter": "output", "service_tier": "standard", "threshold": null, "condition": null,
            "per_million_tokens": "0.001"},
    ]);
    assert_eq!(first.body["data"][0]["rates"], rates, "{}", first.text);
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let path = format!("/api/v1/models/m/prices?limit=3&cursor={cursor}");
    let rest = scene.get(&path, &scene.stranger).await;
    assert_eq!(ids(&rest), named(&[901]), "{}", rest.text);
    assert_eq!(rest.body["has_more"], false);
    for path in ["lab/m:x", "lab%2Fm%3Ax"] {
        let path = format!("/api/v1/models/{path}/prices");
        let page = scene.get(&path, &scene.member).await;
        assert_eq!(ids(&page), named(&[904]), "{path}: {}", page.text);
    }
    let unknown = scene
        .get("/api/v1/models/no/such/prices", &scene.member)
        .await;
    unknown.is_problem(StatusCode::NOT_FOUND, "not_found");
    let of_another = named(&[904]).remove(0);
    let path = format!("/api/v1/models/m/prices?cursor={of_another}");
    let wrong = scene.get(&path, &scene.member).await;
    wrong.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    assert_eq!(wrong.body["errors"][0]["parameter"], "cursor");
}

/// What was charged stays what it was; what it costs by now stands beside it.
#[actix_web::test]
async fn a_call_that_was_corrected_says_what_it_costs_now() {
    let scene = Scene::new().await;
    let world = &scene.world;
    world.top_up(1_000_000).await;
    let [call, other] = [1_234, 500].map(|due| world.call(5_000, due));
    let ids = [call.call, other.call];
    world.lease(BudgetScope::Wallet, 10_000).await.unwrap();
    world.settle(call).await;
    world.settle(other).await;
    let correct = async |amount, after, note: &str| {
        let adjustment = Adjustment {
            key: note.to_owned(),
            amount: Nanos::new(amount),
            currency: Currency::USD,
            lot: LotId::new(world.number()),
            kind: LotKind::Paid,
            calls: vec![CallPart {
                call: ids[0],
                amount: Nanos::new(amount),
                after,
                window: None,
            }],
            note: note.to_owned(),
            takes_what_is_there: true,
        };
        let adjusted = world.books().adjust(world.account, adjustment, NOON).await;
        adjusted.unwrap().txn.unwrap().to_string()
    };
    let first = correct(-1_000, 0, "prv_1 was wrong").await;
    let second = correct(6, 1, "and so was prv_2").await;
    let account = format!("/api/v1/accounts/{}", scene.account());
    let usd = |amount: &str| json!({"amount": amount, "currency": "USD"});
    let of = |txn: &str, amount: &str, note: &str| {
        json!({"ledger_transaction": txn, "amount": usd(amount), "note": note,
            "booked_at": "2026-11-22T12:00:00Z"})
    };
    let wanted = json!([
        of(&first, "-0.000001", "prv_1 was wrong"),
        of(&second, "0.000000006", "and so was prv_2"),
    ]);
    let [receipt, untouched] = ids.map(|id| format!("{account}/calls/{id}"));
    let receipt = scene.get(&receipt, &scene.member).await;
    assert_eq!(
        receipt.body["charge"],
        usd("0.000001234"),
        "{}",
        receipt.text
    );
    assert_eq!(receipt.body["adjustments"], wanted, "{}", receipt.text);
    assert_eq!(receipt.body["net_charge"], usd("0.00000024"));
    let words = receipt.body["explanation"].as_str().unwrap();
    assert!(words.ends_with("and costs 0.00000024 USD now."), "{words}");
    let untouched = scene.get(&untouched, &scene.member).await.body;
    assert_eq!(untouched["adjustments"], json!([]));
    assert_eq!(untouched["net_charge"], untouched["charge"]);
    let list = scene.get(&format!("{account}/calls"), &scene.member).await;
    let nets: Vec<_> = [1, 0]
        .map(|at: usize| &list.body["data"][at]["net_charge"])
        .into();
    assert_eq!(
        nets,
        [&usd("0.00000024"), &usd("0.0000005")],
        "{}",
        list.text
    );
    assert_eq!(list.body["data"][1]["charge"], usd("0.000001234"));
    let ledger = scene.get(&format!("{account}/ledger"), &scene.member).await;
    let newest = &ledger.body["data"][0];
    assert_eq!(newest["id"], second, "{}", ledger.text);
    assert_eq!(newest["kind"], "adjustment");
    assert_eq!(newest["note"], "and so was prv_2");
}

/// It is the account's, and no call's.
#[actix_web::test]
async fn the_receipt_of_a_call_shows_how_its_window_was_closed() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let volume = json!({"currency": "USD", "measure": "tokens", "window": "month",
        "pricing": {"volume": [{"up_to": "100", "price": {"discount": "0"}},
            {"price": {"discount": "50"}}]}});
    let schedule = TierSchedule {
        terms: Some(Arc::new(serde_json::from_value(volume).unwrap())),
        ..by_calls(7, &json!([{"price": {"discount": "0"}}]))
    };
    let edition = PriceEdition {
        tiers: vec![schedule.clone()],
        ..PriceEdition::default()
    };
    scene.record(edition).await;
    world.top_up(1_000_000).await;
    world.lease(BudgetScope::Wallet, 1_000).await.unwrap();
    let mut call = world.call(500, 300);
    let window = schedule.window(NOON, None, |_| Amount::ZERO);
    call.terms = call.terms.in_tiers(window);
    let id = call.call;
    world.settle(call).await;
    let path = format!("/api/v1/accounts/{}/calls/{id}", scene.account());
    let before = scene.get(&path, &scene.member).await.body;
    assert_eq!(before["window_adjustments"], json!([]), "{before}");
    let open = world.books().open_windows(schedule.id, i64::MAX, 9).await;
    let open = open.unwrap().remove(0);
    let closed = schedule.terms.as_ref().unwrap().close(&open.close).unwrap();
    let lot = LotId::new(world.number());
    let adjustment = open.adjustment(&closed, Currency::USD, lot);
    let done = world.books().close_window(&open, adjustment, NOON).await;
    let txn = done.unwrap().unwrap().txn.unwrap();
    let after = scene.get(&path, &scene.member).await.body;
    let line = &after["window_adjustments"][0];
    assert_eq!(line["ledger_transaction"], txn.to_string(), "{after}");
    assert_eq!(line["amount"]["amount"], "-0.00000015");
    assert_eq!(after["net_charge"], after["charge"]);
    let words = after["explanation"].as_str().unwrap();
    assert!(words.contains("window_adjustments"), "{words}");
}

#[actix_web::test]
async fn every_call_is_in_the_file_once_and_adds_up_to_the_totals() {
    const CALLS: usize = 1_203;
    let scene = Scene::new().await;
    scene.world.top_up(10_000_000).await;
    for due in 1..=i64::try_from(CALLS).unwrap() {
        scene
            .world
            .lease_and_settle(5_000, due.unsigned_abs())
            .await;
    }
    let account = format!("/api/v1/accounts/{}", scene.account());
    let file = scene
        .get(&format!("{account}/calls.csv"), &scene.member)
        .await;
    assert_eq!(file.status, StatusCode::OK, "{}", file.text);
    assert_eq!(file.header("content-type"), "text/csv; charset=utf-8");
    let mut lines = file.text.split_terminator("\r\n");
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let column = |name: &str| names.iter().position(|n| *n == name).unwrap();
    let (id, charge) = (column("id"), column("charge"));
    let lines: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert!(lines.iter().all(|line| line.len() == names.len()));
    let ids: std::collections::BTreeSet<&str> = lines.iter().map(|line| line[id]).collect();
    assert_eq!((lines.len(), ids.len()), (CALLS, CALLS));
    let charged = lines.iter().map(|line| Nanos::parse(line[charge]).unwrap());
    let charged = i64::try_from(Nanos::total(charged)).unwrap();
    assert_eq!(charged, (1..=1_203).sum::<i64>());

    let of_nobody = format!("{account}/calls.csv?to=2020-01-01T00:00:00Z");
    let none = scene.get(&of_nobody, &scene.member).await;
    assert_eq!(none.text.lines().count(), 1, "{}", none.text);
    let stranger = scene.get(&format!("{account}/calls.csv"), "").await;
    stranger.is_problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    let wrong = scene
        .get(&format!("{account}/calls.csv?from=now"), &scene.member)
        .await;
    wrong.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");

    let by_day = format!("{account}/usage?group_by=day&format=csv");
    let totals = scene.get(&by_day, &scene.member).await;
    let charged = Nanos::new(charged).to_string();
    let wanted = format!("2026-11-22,{CALLS},0,");
    let line = totals.text.lines().nth(1).unwrap();
    assert!(line.starts_with(&wanted), "{}", totals.text);
    assert!(
        line.ends_with(&format!(",{charged},USD")),
        "{}",
        totals.text
    );
}

#[actix_web::test]
async fn days_are_cut_in_the_zone_of_the_account() {
    let scene = Scene::new().await;
    let body = json!({"name": "Kiwi", "zone": "Pacific/Auckland"});
    let made = scene.post("/api/v1/accounts", &scene.operator, &body).await;
    let id = made.body["id"].as_str().unwrap();
    let usage = format!("/api/v1/accounts/{id}/usage?group_by=day");
    let usage = scene.get(&usage, &scene.operator).await;
    assert_eq!(usage.body["zone"], "Pacific/Auckland", "{}", usage.text);
    for zone in ["Mars/Olympus", "", "Pacific/Auckland2"] {
        let body = json!({"name": "Nowhere", "zone": zone});
        let refused = scene.post("/api/v1/accounts", &scene.operator, &body).await;
        refused.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
        assert_eq!(
            refused.body["errors"][0]["pointer"], "/zone",
            "{}",
            refused.text
        );
    }
}
