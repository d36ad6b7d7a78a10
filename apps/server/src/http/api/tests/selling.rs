//! What is sold for more than it costs: the house alone sees what it pays and keeps.

use std::sync::Arc;

use actix_web::http::StatusCode;
use billing_core::budget::BudgetScope;
use billing_core::id::{PriceVersionId, SaleRuleId};
use billing_core::port::catalogue::PriceEdition;
use billing_core::price_book::ModelFacts;
use billing_core::reach::Reach;
use billing_core::sale::SaleRule;
use billing_core::terms::Terms;
use serde_json::{Value, json};
use testkit::world::{NOON, price};
use time::{Duration, OffsetDateTime};

use super::price_list::{ask, new_key};
use super::scene::Scene;

/// A rule from an instant on.
pub(super) fn rule(id: i64, reach: [&str; 2], price: Value, from: OffsetDateTime) -> SaleRule {
    let [models, audience] = reach;
    SaleRule {
        id: SaleRuleId::new(id),
        reach: Reach {
            audience: audience.parse().unwrap(),
            models: models.parse().unwrap(),
        },
        price: serde_json::from_value(price).unwrap(),
        effective_from: from,
    }
}

/// The cost times a factor.
pub(super) fn markup(factor: &str) -> Value {
    json!({"kind": "markup", "factor": factor})
}

/// Whether any field of an answer is called so.
pub(super) fn has_field(value: &Value, name: &str) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(n, v)| n == name || has_field(v, name)),
        Value::Array(items) => items.iter().any(|item| has_field(item, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[actix_web::test]
async fn cost_and_margin_of_a_call_are_shown_to_operators_alone() {
    let scene = Scene::new().await;
    let sold = rule(5, ["m", "everyone"], markup("1.5"), NOON);
    scene
        .record(PriceEdition {
            sales: vec![sold.clone()],
            ..PriceEdition::default()
        })
        .await;
    let world = &scene.world;
    world.top_up(1_000_000).await;
    world.lease(BudgetScope::Wallet, 10_000).await.unwrap();
    let mut call = world.call(10_000, 3_000);
    call.terms = Terms::sold(Arc::clone(&world.price), Some(&sold), None).unwrap();
    let id = world.settle(call).await.call.call;
    let calls = format!("/api/v1/accounts/{}/calls", scene.account());
    let receipt = format!("{calls}/{id}");
    let listed = scene.get(&calls, &scene.operator).await.body["data"][0].clone();
    let read = scene.get(&receipt, &scene.operator).await.body;
    for seen in [&listed, &read] {
        let amounts = ["charge", "cost", "margin"].map(|name| seen[name]["amount"].clone());
        assert_eq!(amounts, ["0.0000045", "0.000003", "0.0000015"], "{seen}");
    }
    assert_eq!(read["price"]["reach"]["models"], "m");
    for path in [&calls, &receipt] {
        let reply = scene.get(path, &scene.member).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
        assert!(reply.text.contains("0.0000045"), "{}", reply.text);
        for name in ["cost", "margin"] {
            assert!(!has_field(&reply.body, name), "{}", reply.text);
        }
    }
}

#[actix_web::test]
async fn price_versions_are_shown_as_they_are_sold() {
    let scene = Scene::new().await;
    let (day, noon) = (Duration::days(1), NOON);
    let version = |id, from| {
        (
            price(PriceVersionId::new(id), "m", from),
            ModelFacts::default(),
        )
    };
    scene
        .record(PriceEdition {
            versions: vec![version(901, noon - day), version(902, noon + day)],
            sales: vec![
                rule(1, ["*", "everyone"], markup("2"), noon - day),
                rule(2, ["*", "everyone"], markup("3"), noon),
                rule(3, ["*", &scene.account()], markup("7"), noon - day),
            ],
            ..PriceEdition::default()
        })
        .await;
    let path = "/api/v1/models/m/prices";
    let input = |reply: &super::Reply, rates: &str| -> Vec<Value> {
        let data = reply.body["data"].as_array().unwrap().iter();
        data.map(|v| v[rates][0]["per_million_tokens"].clone())
            .collect()
    };
    // Each by the rule that held when it was sold last.
    let member = scene.get(path, &scene.member).await;
    assert_eq!(input(&member, "rates"), ["0.006", "0.006", "0.004"]);
    assert!(!has_field(&member.body, "cost"), "{}", member.text);
    let operator = scene.get(path, &scene.operator).await;
    assert_eq!(input(&operator, "rates"), input(&member, "rates"));
    assert_eq!(input(&operator, "cost"), ["0.002", "0.002", "0.002"]);
}

#[actix_web::test]
async fn models_are_listed_at_what_is_asked_of_the_keys_account() {
    let scene = Scene::new().await;
    let key = new_key(&scene).await;
    let prompt = async |path: &str| {
        let body = ask(&scene, path, Some(&key)).await.body;
        let model = body["data"].get(0).cloned().unwrap_or(body);
        assert!(!has_field(&model, "cost"), "{model}");
        model["pricing"]["prompt"].clone()
    };
    let record = async |rule: SaleRule| {
        let sales = vec![rule];
        scene
            .record(PriceEdition {
                sales,
                ..PriceEdition::default()
            })
            .await;
    };
    assert_eq!(prompt("/v1/models").await, "0.000000002");
    // What everybody pays, also from a later instant on, for which nothing is recorded anew.
    record(rule(1, ["*", "everyone"], markup("2"), NOON)).await;
    record(rule(
        2,
        ["*", "everyone"],
        markup("3"),
        NOON + Duration::HOUR,
    ))
    .await;
    for path in ["/v1/models", "/v1/models/m"] {
        assert_eq!(prompt(path).await, "0.000000004", "{path}");
    }
    scene.world.ports.clock.advance(Duration::HOUR);
    assert_eq!(prompt("/v1/models").await, "0.000000006");
    // Another's price changes nothing; the account's own does.
    record(rule(3, ["*", "acc_0000000000009"], markup("5"), NOON)).await;
    assert_eq!(prompt("/v1/models").await, "0.000000006");
    record(rule(4, ["m", &scene.account()], markup("7"), NOON)).await;
    for path in ["/v1/models", "/v1/models/m"] {
        assert_eq!(prompt(path).await, "0.000000014", "{path}");
    }
}
