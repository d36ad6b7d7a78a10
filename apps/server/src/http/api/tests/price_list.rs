//! What models cost: for everybody to see, and for whoever asks as an account.

use std::sync::Arc;

use actix_web::http::{Method, StatusCode};
use billing_core::budget::BudgetScope;
use billing_core::id::{PriceVersionId, TierScheduleId};
use billing_core::port::catalogue::PriceEdition;
use billing_core::price::PriceVersion;
use billing_core::price_book::ModelFacts;
use billing_core::tier_schedule::TierSchedule;
use serde_json::{Value, json};
use testkit::world::{NOON, price};
use time::{Duration, OffsetDateTime};

use super::scene::{Reply, Scene};
use super::selling::{has_field, markup, rule};

const DAY: Duration = Duration::DAY;

fn model(
    id: i64,
    name: &str,
    facts: [&str; 2],
    from: OffsetDateTime,
) -> (PriceVersion, ModelFacts) {
    let [provider, mode] = facts.map(str::to_owned);
    let facts = ModelFacts {
        provider,
        mode,
        ..ModelFacts::default()
    };
    (price(PriceVersionId::new(id), name, from), facts)
}

/// A schedule for everybody over the calls of a month.
pub(super) fn by_calls(id: i64, tiers: &Value) -> TierSchedule {
    let terms = json!({"currency": "USD", "measure": "calls", "window": "month",
        "zone": "Europe/Berlin", "pricing": {"graduated": tiers}});
    TierSchedule {
        id: TierScheduleId::new(id),
        reach: rule(1, ["m*", "everyone"], markup("1"), NOON).reach,
        terms: Some(Arc::new(serde_json::from_value(terms).unwrap())),
        effective_from: NOON - DAY,
    }
}

/// Asks without a session, with an API key or without.
pub(super) async fn ask(scene: &Scene, path: &str, key: Option<&str>) -> Reply {
    let bearer = key.map(|key| format!("Bearer {key}"));
    let headers: Vec<_> = bearer.iter().map(|b| ("authorization", &**b)).collect();
    scene.raw(Method::GET, path, "", &headers, vec![]).await
}

pub(super) async fn new_key(scene: &Scene) -> String {
    let keys = format!("/api/v1/accounts/{}/keys", scene.account());
    let key = json!({"name": "k"});
    let made = scene.post(&keys, &scene.operator, &key).await;
    made.body["secret"].as_str().unwrap().to_owned()
}

fn names(page: &Reply) -> Vec<&str> {
    let data = page.body["data"].as_array().unwrap().iter();
    data.map(|model| model["model"].as_str().unwrap()).collect()
}

async fn shop() -> Scene {
    let scene = Scene::new().await;
    scene
        .record(PriceEdition {
            versions: vec![
                model(1, "lab/Big:x", ["lab", "chat"], NOON - DAY),
                model(2, "lab/small", ["lab", "embedding"], NOON - DAY),
                model(3, "later", ["lab", "chat"], NOON + DAY),
                model(4, "hidden", ["other", "chat"], NOON - DAY),
                model(5, "lab/small", ["lab", "embedding"], NOON + DAY * 3),
            ],
            sales: vec![
                rule(1, ["*", "everyone"], markup("2"), NOON - DAY * 9),
                rule(2, ["lab/small", "everyone"], markup("3"), NOON + DAY * 2),
            ],
            ..PriceEdition::default()
        })
        .await;
    scene
}

#[actix_web::test]
async fn everybody_may_see_what_everybody_pays() {
    let scene = shop().await;
    let list = ask(&scene, "/api/v1/prices", None).await;
    assert_eq!(list.status, StatusCode::OK, "{}", list.text);
    let all = ["hidden", "lab/Big:x", "lab/small", "later", "m"];
    assert_eq!(names(&list), all);
    let data = list.body["data"].as_array().unwrap();
    let available: Vec<&Value> = data.iter().map(|m| &m["available"]).collect();
    assert_eq!(available, [false, true, true, true, true]);
    for name in ["cost", "rule", "yours"] {
        assert!(!has_field(&list.body, name), "{}", list.text);
    }
    let big = &list.body["data"][1];
    assert_eq!(
        big["price"],
        json!({"version": PriceVersionId::new(1).to_string(), "currency": "USD", "tiers": null,
            "effective_from": "2026-11-21T12:00:00Z", "rates": [
            {"meter": "input", "service_tier": "standard", "threshold": null, "condition": null,
                "per_million_tokens": "0.004"},
            {"meter": "output", "service_tier": "standard", "threshold": null, "condition": null,
                "per_million_tokens": "0.002"},
        ]})
    );
    for path in ["lab/Big:x", "lab%2FBig%3Ax"] {
        let one = ask(&scene, &format!("/api/v1/prices/{path}"), None).await;
        assert_eq!(&one.body, big, "{path}: {}", one.text);
    }
    let unknown = ask(&scene, "/api/v1/prices/no/such", None).await;
    unknown.is_problem(StatusCode::NOT_FOUND, "not_found");
}

#[actix_web::test]
async fn a_model_may_be_called_as_what_stands_at_its_address() {
    let scene = shop().await;
    let path = "/api/v1/prices/quote";
    let none = ask(&scene, path, None).await;
    none.is_problem(StatusCode::NOT_FOUND, "not_found");
    let versions = vec![model(6, "quote", ["lab", "chat"], NOON - DAY)];
    let edition = PriceEdition {
        versions,
        ..PriceEdition::default()
    };
    scene.record(edition).await;
    let one = ask(&scene, path, None).await;
    assert_eq!(one.body["model"], "quote", "{}", one.text);
    let list = ask(&scene, "/api/v1/prices?prefix=quote", None).await;
    assert_eq!(list.body["data"][0], one.body);
    let key = new_key(&scene).await;
    let own = ask(&scene, path, Some(&key)).await;
    assert_eq!(own.body["yours"]["account"], scene.account());
    // Quotes are made there all the same.
    let asked = json!({"model": "quote", "usage": {"input": 1}});
    let quoted = scene.post(path, &scene.member, &asked).await;
    assert_eq!(quoted.status, StatusCode::OK, "{}", quoted.text);
    let other = scene.raw(Method::DELETE, path, &scene.member, &[], vec![]);
    let other = other.await;
    assert_eq!(other.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[actix_web::test]
async fn prices_are_filtered_and_paged_by_name() {
    let scene = shop().await;
    let mut path = "/api/v1/prices?limit=2".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = ask(&scene, &path, None).await;
        seen.extend(names(&page).into_iter().map(str::to_owned));
        match page.body["next_cursor"].as_str() {
            Some(cursor) => path = format!("/api/v1/prices?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, ["hidden", "lab/Big:x", "lab/small", "later", "m"]);
    for (query, found) in [
        ("provider=lab", vec!["lab/Big:x", "lab/small", "later"]),
        ("provider=lab&mode=chat", vec!["lab/Big:x", "later"]),
        ("prefix=LAB/b", vec!["lab/Big:x"]),
        ("prefix=%C3%A4", vec![]),
    ] {
        let page = ask(&scene, &format!("/api/v1/prices?{query}"), None).await;
        assert_eq!(names(&page), found, "{query}: {}", page.text);
    }
    let wrong = ask(&scene, "/api/v1/prices?limit=101&sort=price", None).await;
    wrong.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    assert_eq!(wrong.body["errors"][0]["parameter"], "limit");
    assert_eq!(wrong.body["errors"][1]["parameter"], "sort");
}

#[actix_web::test]
async fn the_next_change_is_announced_whatever_changes() {
    let scene = shop().await;
    let read = async |model: &str| {
        ask(&scene, &format!("/api/v1/prices/{model}"), None)
            .await
            .body
    };
    // A rule begins before the next version does.
    let small = read("lab/small").await;
    let output = |price: &Value| price["rates"][1]["per_million_tokens"].clone();
    assert_eq!(output(&small["price"]), "0.002");
    assert_eq!(output(&small["next"]), "0.003");
    assert_eq!(small["next"]["effective_from"], "2026-11-24T12:00:00Z");
    assert_eq!(small["next"]["version"], small["price"]["version"]);
    let later = read("later").await;
    assert_eq!(later["price"], json!(null));
    assert_eq!(later["next"]["effective_from"], "2026-11-23T12:00:00Z");
    assert_eq!(read("m").await["next"], json!(null));
    scene.world.ports.clock.advance(DAY * 3);
    let small = read("lab/small").await;
    assert_eq!(
        small["price"]["version"],
        PriceVersionId::new(5).to_string()
    );
    assert_eq!(small["price"]["effective_from"], "2026-11-25T12:00:00Z");
}

#[actix_web::test]
async fn an_account_sees_its_own_price() {
    let scene = shop().await;
    let own = rule(9, ["lab/*", &scene.account()], markup("1.5"), NOON);
    let edition = PriceEdition {
        sales: vec![own.clone()],
        ..PriceEdition::default()
    };
    scene.record(edition).await;
    let key = new_key(&scene).await;
    let path = "/api/v1/prices/lab/small";
    let by_key = ask(&scene, path, Some(&key)).await;
    let yours = &by_key.body["yours"];
    assert_eq!(yours["account"], scene.account(), "{}", by_key.text);
    assert_eq!(yours["rule"], own.id.to_string());
    assert_eq!(yours["price"]["rates"][1]["per_million_tokens"], "0.0015");
    assert_eq!(yours["price"]["effective_from"], "2026-11-22T12:00:00Z");
    // The rule for everybody that begins in two days does not reach the account; the version does.
    assert_eq!(yours["next"]["effective_from"], "2026-11-25T12:00:00Z");
    assert_eq!(
        by_key.body["price"]["rates"][1]["per_million_tokens"],
        "0.002"
    );
    // A member of one account need not name it.
    for path in [
        path.to_owned(),
        format!("{path}?account={}", scene.account()),
    ] {
        let by_session = scene.get(&path, &scene.member).await;
        assert_eq!(by_session.body, by_key.body, "{}", by_session.text);
    }
    // An operator is nobody's buyer until an account is named.
    let operator = scene.get(path, &scene.operator).await;
    assert!(operator.body.get("yours").is_none(), "{}", operator.text);
    let named = format!("{path}?account={}", scene.account());
    let operator = scene.get(&named, &scene.operator).await;
    assert_eq!(operator.body["yours"], *yours);
    assert!(!has_field(&by_key.body, "cost"), "{}", by_key.text);
    let list = ask(&scene, "/api/v1/prices?prefix=lab/s", Some(&key)).await;
    assert_eq!(list.body["data"][0]["yours"], *yours);
}

#[actix_web::test]
async fn nobody_sees_the_price_of_another_account() {
    let scene = shop().await;
    let named = format!("/api/v1/prices?account={}", scene.account());
    let nobody = ask(&scene, &named, None).await;
    nobody.is_problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    let stranger = scene.get(&named, &scene.stranger).await;
    stranger.is_problem(StatusCode::NOT_FOUND, "not_found");
    let key = new_key(&scene).await;
    let other = "/api/v1/prices?account=acc_0000000000009";
    let other = ask(&scene, other, Some(&key)).await;
    other.is_problem(StatusCode::NOT_FOUND, "not_found");
    for key in ["sk-tg-wrong", ""] {
        let wrong = ask(&scene, "/api/v1/prices", Some(key)).await;
        wrong.is_problem(StatusCode::UNAUTHORIZED, "invalid_api_key");
    }
    // A session that is over is nobody's.
    let over = scene.get("/api/v1/prices/m", "over").await;
    assert_eq!(over.status, StatusCode::OK, "{}", over.text);
    assert!(over.body.get("yours").is_none());
}

#[actix_web::test]
async fn an_account_sees_where_it_stands_in_tiers() {
    let scene = Scene::new().await;
    let tiers = json!([{"up_to": 2, "price": {"discount": "0"}},
        {"up_to": 5, "price": {"discount": "10"}}, {"price": {"discount": "20"}}]);
    let schedule = by_calls(7, &tiers);
    let edition = PriceEdition {
        tiers: vec![schedule.clone()],
        ..PriceEdition::default()
    };
    scene.record(edition).await;
    let world = &scene.world;
    world.top_up(1_000_000).await;
    world.lease(BudgetScope::Wallet, 500_000).await.unwrap();
    let key = new_key(&scene).await;
    for (used, tier, above, left) in [
        ("0", 1, json!("2"), json!("2")),
        ("1", 1, json!("2"), json!("1")),
        ("2", 2, json!("5"), json!("3")),
    ] {
        let reply = ask(&scene, "/api/v1/prices/m", Some(&key)).await;
        let standing = json!({"schedule": schedule.id.to_string(), "measure": "calls",
            "tier": tier, "used": used, "next_tier_above": above, "until_next_tier": left,
            "window_start": "2026-10-31T23:00:00Z", "window_end": "2026-11-30T23:00:00Z"});
        assert_eq!(reply.body["yours"]["standing"], standing, "{}", reply.text);
        let shown = &reply.body["price"]["tiers"];
        assert_eq!(shown["tiers"][1]["above"], "2", "{}", reply.text);
        let mut call = world.call(1_000, 10);
        let window = schedule.window(NOON, None, |_| billing_core::budget::Amount::ZERO);
        call.terms = call.terms.in_tiers(window);
        world.settle(call).await;
    }
}
