//! What a call would cost, before it is made.

use actix_web::http::{Method, StatusCode};
use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::PriceVersionId;
use billing_core::port::catalogue::PriceEdition;
use billing_core::price::{Rate, Variant};
use billing_core::price_book::ModelFacts;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use testkit::world::NOON;

use super::price_list::{by_calls, new_key};
use super::scene::{Reply, Scene};
use super::selling::{has_field, markup, rule};

/// Asks for a quote, with an API key or as nobody.
async fn quote(scene: &Scene, key: Option<&str>, body: &Value) -> Reply {
    let bearer = key.map(|key| format!("Bearer {key}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(bearer.iter().map(|b| ("authorization", &**b)));
    let body = body.to_string().into_bytes();
    let path = "/api/v1/prices/quote";
    scene.raw(Method::POST, path, "", &headers, body).await
}

/// Asserts that the parts of a case are its total.
fn adds_up(case: &Value) {
    let amount = |money: &Value| -> Decimal { money["amount"].as_str().unwrap().parse().unwrap() };
    let lines = case["lines"].as_array().unwrap().iter();
    let list: Decimal = lines.map(|line| amount(&line["amount"])).sum();
    assert_eq!(list, amount(&case["list"]), "{case}");
    let due = match case["tiers"]["lines"].as_array() {
        None => list,
        Some(lines) => {
            let lines = lines.iter();
            lines
                .map(|l| amount(&l["amount"]) + amount(&l["flat"]))
                .sum()
        }
    };
    let total = due + amount(&case["rounding"]);
    assert_eq!(total, amount(&case["total"]), "{case}");
}

#[actix_web::test]
async fn a_usage_costs_what_its_lines_say() {
    let scene = Scene::new().await;
    let sold = rule(3, ["m", "everyone"], markup("1.25"), NOON);
    let edition = PriceEdition {
        sales: vec![sold],
        ..PriceEdition::default()
    };
    scene.record(edition).await;
    let usage = json!({"input": 1001, "reasoning": 3});
    let reply = quote(&scene, None, &json!({"model": "m", "usage": usage})).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    let body = &reply.body;
    adds_up(body);
    // 1001 × 2.5 nanos and 3 × 1.25, half to even.
    assert_eq!(body["list"]["amount"], "0.00000250625");
    assert_eq!(
        body["total"],
        json!({"amount": "0.000002506", "currency": "USD"})
    );
    assert_eq!(body["usage"], usage);
    assert_eq!(body["lines"][0]["price"]["amount"], "0.0025");
    assert_eq!(body["lines"][1]["inherited"], true);
    assert_eq!(
        (&body["account"], &body["tiers"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(body["at"], "2026-11-22T12:00:00Z");
    for name in ["cost", "rule", "reach"] {
        assert!(!has_field(body, name), "{}", reply.text);
    }
    let earlier = json!({"model": "m", "usage": usage, "service_tier": "flex",
        "at": "2026-11-21T12:00:00Z"});
    let reply = quote(&scene, None, &earlier).await;
    reply.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    assert_eq!(reply.body["errors"][0]["code"], "no_price");
}

#[actix_web::test]
async fn an_account_is_quoted_its_price_from_where_it_stands() {
    let scene = Scene::new().await;
    let tiers = json!([{"up_to": 1, "price": {"discount": "0"}},
        {"price": {"discount": "50"}, "flat": "1"}]);
    let schedule = by_calls(7, &tiers);
    let own = rule(3, ["*", &scene.account()], markup("10"), NOON);
    let edition = PriceEdition {
        tiers: vec![schedule.clone()],
        sales: vec![own.clone()],
        ..PriceEdition::default()
    };
    scene.record(edition).await;
    let key = new_key(&scene).await;
    let asked = json!({"model": "m", "usage": {"output": 1000}});
    let first = quote(&scene, Some(&key), &asked).await.body;
    adds_up(&first);
    assert_eq!(first["total"]["amount"], "0.00001", "{first}");
    assert_eq!(first["tiers"]["lines"][0]["tier"], 1);
    assert_eq!(first["account"], scene.account());
    assert_eq!(first["price"]["rule"], own.id.to_string());
    let world = &scene.world;
    world.top_up(1_000_000).await;
    world.lease(BudgetScope::Wallet, 500_000).await.unwrap();
    let mut call = world.call(1_000, 10);
    let window = schedule.window(NOON, None, |_| Amount::ZERO);
    call.terms = call.terms.in_tiers(window);
    world.settle(call).await;
    let next = quote(&scene, Some(&key), &asked).await.body;
    adds_up(&next);
    assert_eq!(next["total"]["amount"], "1.000005", "{next}");
    let words = next["tiers"]["explanation"].as_str().unwrap();
    assert!(
        words.starts_with("Tier 2 since 2 calls this month: 50 %"),
        "{words}"
    );
    // Nobody in particular has used nothing yet, and pays what everybody does.
    let nobody = quote(&scene, None, &asked).await.body;
    adds_up(&nobody);
    assert_eq!(nobody["total"]["amount"], "0.000001", "{nobody}");
}

#[actix_web::test]
async fn a_request_has_a_worst_and_a_likely_case() {
    let scene = Scene::new().await;
    let key = new_key(&scene).await;
    let request = json!({"messages": [{"role": "user", "content": "hello world"}]});
    let asked = json!({"model": "m", "request": request});
    let sent = json!({"model": "m", "messages": request["messages"]}).to_string();
    let reply = quote(&scene, None, &asked).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    let (worst, likely) = (&reply.body["worst_case"], &reply.body["likely_case"]);
    let prompt = sent.len().div_ceil(2) + 32;
    assert_eq!(worst["usage"], json!({"input": prompt, "output": 4096}));
    let held = i64::try_from(prompt).unwrap() * 2 + 4096;
    assert_eq!(
        worst["total"]["amount"],
        billing_core::money::Nanos::new(held).to_string()
    );
    adds_up(likely);
    assert_eq!(likely["usage"]["output"], 4096);
    let words = likely["explanation"].as_str().unwrap();
    assert!(words.contains("assumes where nothing is known"), "{words}");
    // What the account's own calls have answered is the better guess.
    let world = &scene.world;
    world.top_up(1_000_000).await;
    world.lease(BudgetScope::Wallet, 500_000).await.unwrap();
    for tokens in [100, 301] {
        world.settle(world.call(1_000, tokens)).await;
    }
    let reply = quote(&scene, Some(&key), &asked).await;
    let likely = &reply.body["likely_case"];
    assert_eq!(likely["usage"]["output"], 201, "{}", reply.text);
    let words = likely["explanation"].as_str().unwrap();
    assert!(words.contains("the mean of the 2 calls"), "{words}");
    // But never more than the request allows.
    let mut bounded = asked.clone();
    bounded["request"]["max_tokens"] = json!(5);
    bounded["request"]["model"] = json!("m");
    let reply = quote(&scene, Some(&key), &bounded).await;
    assert_eq!(
        reply.body["worst_case"]["usage"]["output"], 5,
        "{}",
        reply.text
    );
    assert_eq!(reply.body["likely_case"]["usage"]["output"], 5);
    let text = json!({"model": "m", "request": {"input": "hello world"}});
    let reply = quote(&scene, None, &text).await;
    assert_eq!(
        reply.body["likely_case"]["usage"],
        json!({"input": 2}),
        "{}",
        reply.text
    );
}

#[actix_web::test]
async fn whatever_cannot_be_quoted_names_its_field() {
    let scene = Scene::new().await;
    let usage = |usage: Value| json!({"model": "m", "usage": usage});
    let request = |request: Value| json!({"model": "m", "request": request});
    for (body, pointer, code) in [
        (json!({"usage": {"input": 1}}), "/model", "required"),
        (json!({"model": "m"}), "/usage", "required"),
        (
            json!({"model": "no/such", "usage": {"input": 1}}),
            "/model",
            "unknown_model",
        ),
        (
            usage(json!({"inputs": 1})),
            "/usage/inputs",
            "unknown_meter",
        ),
        (
            usage(json!({"input": -1})),
            "/usage/input",
            "not_a_quantity",
        ),
        (
            usage(json!({"input": 1.5})),
            "/usage/input",
            "not_a_quantity",
        ),
        (
            usage(json!({"input": "1"})),
            "/usage/input",
            "not_a_quantity",
        ),
        (
            usage(json!({"input": 1_u64 << 63})),
            "/usage/input",
            "not_a_quantity",
        ),
        (usage(json!({"page": 1})), "/usage/page", "no_price"),
        (usage(json!([])), "/usage", "not_an_object"),
        (request(json!("hi")), "/request", "not_an_object"),
        (
            request(json!({})),
            "/request/messages",
            "missing_required_parameter",
        ),
        (
            request(json!({"messages": 1})),
            "/request/messages",
            "invalid_type",
        ),
        (
            request(json!({"messages": [], "model": "n"})),
            "/request/model",
            "another_model",
        ),
        (
            json!({"model": "m", "usage": {}, "service_tier": "cheap"}),
            "/service_tier",
            "unknown_value",
        ),
        (
            json!({"model": "m", "usage": {}, "attributes": {"colour": "blue"}}),
            "/attributes/colour",
            "unknown_attribute",
        ),
        (
            json!({"model": "m", "usage": {}, "at": "noon"}),
            "/at",
            "not_a_time",
        ),
        (
            json!({"model": "m", "request": {"messages": []}, "service_tier": "flex"}),
            "/service_tier",
            "unknown_field",
        ),
        (
            json!({"model": "m", "usage": {}, "request": {}}),
            "/request",
            "one_of",
        ),
    ] {
        let reply = quote(&scene, None, &body).await;
        reply.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
        let error = &reply.body["errors"][0];
        assert_eq!(
            (&error["pointer"], &error["code"]),
            (&json!(pointer), &json!(code)),
            "{body}: {}",
            reply.text
        );
    }
    let most = usage(json!({"input": i64::MAX}));
    let reply = quote(&scene, None, &most).await;
    assert_eq!(
        reply.body["errors"][0]["code"], "out_of_range",
        "{}",
        reply.text
    );
    let wrong = quote(&scene, Some("sk-wrong"), &usage(json!({"input": 1}))).await;
    wrong.is_problem(StatusCode::UNAUTHORIZED, "invalid_api_key");
}

/// What is quoted is what is charged.
#[actix_web::test]
async fn a_quote_of_what_a_call_consumed_is_its_charge() {
    let scene = Scene::new().await;
    let world = &scene.world;
    world.top_up(1_000_000).await;
    world.lease(BudgetScope::Wallet, 500_000).await.unwrap();
    let key = new_key(&scene).await;
    let settled = world.settle(world.call(1_000, 777)).await.call;
    let asked = json!({"model": "m", "usage": {"output": 777}});
    let reply = quote(&scene, Some(&key), &asked).await;
    assert_eq!(reply.body["total"]["amount"], settled.charge.to_string());
}

/// What every upstream of the model gives is likely, and all that a reply may state is set aside.
#[actix_web::test]
async fn a_quote_knows_what_is_known_of_the_upstreams() {
    let scene = Scene::new().await;
    let plain = testkit::world::price(PriceVersionId::new(77), "by-region", NOON);
    let variant = |when: &str, factor: &str| {
        let rates = plain.rates().iter().map(|rate| Rate {
            price: rate.price.scaled(factor.parse().unwrap()).unwrap(),
            ..*rate
        });
        Variant::new(when.parse().unwrap(), rates.collect()).unwrap()
    };
    let variants = [("region=us", "7"), ("region=eu", "3"), ("speed=fast", "10")];
    let variants = variants
        .map(|(when, factor)| variant(when, factor))
        .to_vec();
    let price = plain.with_variants(variants).unwrap();
    let edition = PriceEdition {
        versions: vec![(price, ModelFacts::default())],
        ..PriceEdition::default()
    };
    scene.record(edition).await;
    let request = json!({"max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]});
    let asked = json!({"model": "by-region", "request": request});
    let body = quote(&scene, None, &asked).await.body;
    let (worst, likely) = (&body["worst_case"], &body["likely_case"]);
    let nanos = |factor: i64, usage: &Value| {
        let quantity = |meter: &str| usage[meter].as_i64().unwrap();
        let plain = 2 * quantity("input") + quantity("output");
        billing_core::money::Nanos::new(factor * plain).to_string()
    };
    assert_eq!(
        worst["total"]["amount"],
        nanos(10, &worst["usage"]),
        "{body}"
    );
    assert_eq!(
        likely["total"]["amount"],
        nanos(3, &likely["usage"]),
        "{body}"
    );
    assert_eq!(likely["lines"][0]["condition"], "region=eu");
    assert_eq!(body["attributes"], json!({"region": "eu"}));
    adds_up(likely);
    let us = json!({"model": "by-region", "request": request, "attributes": {"region": "us"}});
    let body = quote(&scene, None, &us).await.body;
    let likely = &body["likely_case"];
    assert_eq!(
        likely["total"]["amount"],
        nanos(7, &likely["usage"]),
        "{body}"
    );
    assert_eq!(body["worst_case"]["total"], worst["total"]);
    let usage = json!({"input": 5, "output": 5});
    let fast = json!({"model": "by-region", "usage": usage, "attributes": {"speed": "fast"}});
    let body = quote(&scene, None, &fast).await.body;
    assert_eq!(body["total"]["amount"], nanos(10, &usage), "{body}");
    assert_eq!(body["attributes"], json!({"speed": "fast"}));
}
