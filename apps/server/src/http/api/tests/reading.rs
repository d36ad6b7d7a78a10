use actix_web::http::StatusCode;
use billing_core::id::PriceVersionId;
use billing_core::port::catalogue::PriceEdition;
use billing_core::price_book::ModelFacts;
use serde_json::json;
use testkit::world::{NOON, price};
use time::Duration;

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
